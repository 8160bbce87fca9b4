# Generalised responses of more designs: crossed, nested, slopes, offsets, weights; standard errors of sds and
# probabilities of classes. glmmTMB's and ordinal's optima, by tight tolerances.
# Rscript 84_generalised_designs.R OUT_FOLDER
suppressMessages({library(glmmTMB); library(ordinal); library(jsonlite); library(emmeans)})
argv <- commandArgs(TRUE)
data(list = c("sleepstudy", "grouseticks", "VerbAgg", "Penicillin", "Pastes", "cbpp"), package = "lme4")
sets <- list(sleepstudy = transform(sleepstudy, w = 1 + Days %% 3), Penicillin = Penicillin, Pastes = Pastes, VerbAgg = VerbAgg,
             grouseticks = transform(grouseticks, h = cHEIGHT / 100), cbpp = cbpp)
control <- glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4, rel.tol = 1e-14))

tmb <- function(dataset, formula, family, word, link, weights = NULL, squared = FALSE) {
  d <- sets[[dataset]]; d$weights_ <- if (is.null(weights)) 1 else d[[weights]]
  m <- suppressWarnings(glmmTMB(as.formula(formula), d, family = family, control = control, weights = weights_))
  cov <- m$sdr$cov.fixed; own <- rownames(cov) == "theta"; theta <- m$sdr$par.fixed[names(m$sdr$par.fixed) == "theta"]
  sds <- unlist(lapply(VarCorr(m)$cond, function(v) attr(v, "stddev")))
  q <- length(sds) # logarithms of sds stand first in every term; correlations behind them are left out here
  single <- length(theta) == q
  list(dataset = dataset, formula = formula, family = word, link = link, weights = weights, loglik = as.numeric(logLik(m)),
       beta = unname(fixef(m)$cond), se = unname(sqrt(diag(vcov(m)$cond))), sd = unname(sds),
       sd_se = if (single) unname(sds * sqrt(diag(cov))[own]) else if (q == 2) unname(sds * sqrt(diag(cov))[own][1:2]),
       dispersion = if (squared) sigma(m)^2 else sigma(m), fitted = unname(head(predict(m, type = "response"), 5)),
       modes = unname(unlist(ranef(m)$cond[[1]])[1:5]))
}
cases <- list(
  gamma_crossed = tmb("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", Gamma("log"), "gamma", "log", squared = TRUE),
  gamma_nested = tmb("Pastes", "strength ~ 1 + (1 | batch/cask)", Gamma("log"), "gamma", "log", squared = TRUE),
  gamma_slopes = tmb("sleepstudy", "Reaction ~ Days + (Days | Subject)", Gamma("log"), "gamma", "log", squared = TRUE),
  gamma_inverse = tmb("sleepstudy", "I(Reaction / 1000) ~ Days + (1 | Subject)", Gamma("inverse"), "gamma", "inverse", squared = TRUE),
  nb1_nested_offset = tmb("grouseticks", "TICKS ~ YEAR + offset(-2 * h) + (1 | LOCATION/BROOD)", nbinom1, "negative binomial 1", "log"),
  nb2_crossed = tmb("grouseticks", "TICKS ~ YEAR + h + (1 | LOCATION) + (1 | BROOD)", nbinom2, "negative binomial", "log"),
  beta_weights = tmb("sleepstudy", "I(Reaction / 500) ~ Days + (1 | Subject)", beta_family(), "beta", "logit", "w"),
  beta_diag = tmb("sleepstudy", "I(Reaction / 500) ~ Days + diag(Days | Subject)", beta_family("cloglog"), "beta", "cloglog"),
  gaussian_log_slopes = tmb("sleepstudy", "Reaction ~ Days + (Days | Subject)", gaussian("log"), "gaussian", "log"),
  cloglog_crossed = tmb("VerbAgg", "r2 ~ Anger + btype + (1 | id) + (1 | item)", binomial("cloglog"), "binomial", "cloglog"),
  probit_shares = tmb("cbpp", "I(incidence / size) ~ period + (1 | herd)", binomial("probit"), "binomial", "probit", "size"),
  poisson_slopes = tmb("grouseticks", "TICKS ~ YEAR + h + (h | LOCATION) + (1 | BROOD)", poisson, "poisson", "log")
)

classes <- clmm(resp ~ Anger + Gender + btype + (1 | id), data = VerbAgg, control = clmm.control(gradTol = 1e-7))
cumulative <- function(formula, link) {
  m <- clmm(as.formula(formula), data = VerbAgg, link = link, control = clmm.control(gradTol = 1e-6))
  list(dataset = "VerbAgg", formula = formula, family = "ordinal", link = link, loglik = as.numeric(logLik(m)),
       thresholds = unname(m$alpha), beta = unname(m$beta), sd = unname(sapply(VarCorr(m), function(v) attr(v, "stddev"))))
}
cases$clmm_crossed <- cumulative("resp ~ Anger + btype + (1 | id) + (1 | item)", "logit")
p <- summary(emmeans(classes, ~ resp | btype * Gender, mode = "prob"), level = 0.95)
out <- list(kind = "outputs", R = R.version.string, glmmTMB = as.character(packageVersion("glmmTMB")),
            ordinal = as.character(packageVersion("ordinal")), cases = cases,
            classes = list(class = as.character(p$resp), btype = as.character(p$btype), gender = as.character(p$Gender), prob = p$prob, se = p$SE,
                           anger = mean(VerbAgg$Anger)))
write(toJSON(out, auto_unbox = TRUE, digits = 12), file.path(argv[1], "generalised_designs.json"))
