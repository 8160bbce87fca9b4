# Families and links of generalised responses: glmmTMB's and ordinal's optima, by tight tolerances.
# Rscript 83_families.R DATA_FOLDER OUT_FOLDER
suppressMessages({library(glmmTMB); library(ordinal); library(jsonlite); library(lme4)})
argv <- commandArgs(TRUE)
data(list = c("sleepstudy", "grouseticks", "VerbAgg"), package = "lme4")
sets <- list(sleepstudy = sleepstudy, grouseticks = grouseticks, VerbAgg = VerbAgg)
control <- glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4, rel.tol = 1e-14))

tmb <- function(dataset, formula, family, word, link) {
  m <- suppressWarnings(glmmTMB(as.formula(formula), sets[[dataset]], family = family, control = control))
  sds <- unlist(lapply(VarCorr(m)$cond, function(v) attr(v, "stddev")))
  list(dataset = dataset, formula = formula, family = word, link = link, loglik = as.numeric(logLik(m)),
       beta = unname(fixef(m)$cond), se = unname(sqrt(diag(vcov(m)$cond))), sd = unname(sds), dispersion = sigma(m))
}
cumulative <- function(dataset, formula, link) {
  m <- clmm(as.formula(formula), data = sets[[dataset]], link = link, control = clmm.control(gradTol = 1e-7))
  list(dataset = dataset, formula = formula, family = "ordinal", link = link, loglik = as.numeric(logLik(m)),
       thresholds = unname(m$alpha), beta = unname(m$beta), se = unname(sqrt(diag(vcov(m)))[names(m$beta)]),
       sd = unname(sapply(VarCorr(m), function(v) attr(v, "stddev"))))
}
cases <- list(
  nb1 = tmb("grouseticks", "TICKS ~ YEAR + (1 | BROOD)", nbinom1, "negative binomial 1", "log"),
  nb1_sqrt = tmb("grouseticks", "TICKS ~ YEAR + (1 | BROOD)", nbinom1("sqrt"), "negative binomial 1", "sqrt"),
  beta = tmb("sleepstudy", "I(Reaction / 500) ~ Days + (Days | Subject)", beta_family(), "beta", "logit"),
  beta_probit = tmb("sleepstudy", "I(Reaction / 500) ~ Days + (1 | Subject)", beta_family("probit"), "beta", "probit"),
  gamma_log = tmb("sleepstudy", "Reaction ~ Days + (1 | Subject)", Gamma("log"), "gamma", "log"),
  gaussian_log = tmb("sleepstudy", "Reaction ~ Days + (1 | Subject)", gaussian("log"), "gaussian", "log"),
  clmm_logit = cumulative("VerbAgg", "resp ~ Anger + Gender + btype + (1 | id)", "logit"),
  clmm_probit = cumulative("VerbAgg", "resp ~ Anger + Gender + btype + (1 | id)", "probit")
)
cases$gamma_log$dispersion <- cases$gamma_log$dispersion^2 # sigma() of glmmTMB is the coefficient of variation
out <- list(kind = "outputs", R = R.version.string, glmmTMB = as.character(packageVersion("glmmTMB")),
            ordinal = as.character(packageVersion("ordinal")), cases = cases)
write(toJSON(out, auto_unbox = TRUE, digits = 12), file.path(argv[2], "generalised_families.json"))
