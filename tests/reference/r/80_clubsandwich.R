# Cluster-robust covariances by clubSandwich, with Satterthwaite's degrees of freedom and Hotelling's T2.
#   Rscript 80_clubsandwich.R > ../clubsandwich.json
suppressMessages({
  library(lme4)
  library(nlme)
  library(clubSandwich)
})
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.1, rhoend = 1e-11, maxfun = 1e5), calc.derivs = FALSE)
data(sleepstudy, package = "lme4")
data(Oats, Machines, Orthodont, package = "nlme")

told <- function(fit, data, formula, constraint, options = list()) {
  k <- length(if (inherits(fit, "lmerMod")) fixef(fit) else coef_CS(fit))
  out <- list(data = data, formula = formula, options = options)
  for (type in c("CR0", "CR1", "CR2")) {
    V <- vcovCR(fit, type = type)
    tests <- as.data.frame(coef_test(fit, vcov = V, test = "Satterthwaite"))
    out[[type]] <- list(vcov = unname(as.matrix(V)), df = tests$df, p = tests$p_Satt)
    if (type == "CR2") {
      wald <- as.data.frame(Wald_test(fit, constraints = constrain_zero(constraint), vcov = V, test = "HTZ"))
      out[[type]]$joint <- list(rows = constraint, statistic = wald$Fstat, ndf = wald$df_num, ddf = wald$df_denom,
                                p = wald$p_val)
    }
  }
  out
}
coef_CS <- function(fit) if (inherits(fit, "lme")) fixef(fit) else coef(fit)

cases <- list(
  sleepstudy = told(lmer(Reaction ~ Days + (Days | Subject), sleepstudy, control = tight),
                    "sleepstudy", "Reaction ~ Days + (Days | Subject)", 1:2),
  oats = told(lmer(yield ~ nitro * factor(Variety, ordered = FALSE) + (1 | Block), Oats, control = tight),
              "Oats", "yield ~ nitro * Variety + (1 | Block)", 5:6),
  machines = told(lmer(score ~ Machine + (1 | Worker/Machine), Machines, control = tight),
                  "Machines", "score ~ Machine + (1 | Worker/Machine)", 2:3),
  orthodont = told(lme(distance ~ age * Sex, random = ~ 1 | Subject, data = Orthodont,
                       weights = varIdent(form = ~ 1 | Sex), control = lmeControl(msTol = 1e-12, tolerance = 1e-12)),
                   "Orthodont", "distance ~ age * Sex + (1 | Subject)", 3:4, list(variance = "Sex"))
)
cases$versions <- list(R = paste(R.version$major, R.version$minor, sep = "."),
                       clubSandwich = as.character(packageVersion("clubSandwich")),
                       lme4 = as.character(packageVersion("lme4")), nlme = as.character(packageVersion("nlme")))
cat(jsonlite::toJSON(cases, digits = 12, auto_unbox = TRUE, pretty = TRUE), "\n")
