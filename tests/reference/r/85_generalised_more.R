# Generalised responses by glmer (nAGQ 1 to 25), glmmTMB (t, nb2 with slopes, beta) and clmm, on data sets that the
# other scripts leave; inverse Gaussian responses by R's integrate() and optim(), for glmer takes its dispersion otherwise.
# Rscript 85_generalised_more.R DATA_BUNDLE OUT_FOLDER
suppressMessages({library(lme4); library(glmmTMB); library(ordinal); library(jsonlite)})
argv <- commandArgs(TRUE)
data(list = c("sleepstudy", "cbpp", "grouseticks", "Arabidopsis", "VerbAgg", "cake"), package = "lme4")
school <- read.csv(file.path(argv[1], "MathAchieve.csv"))
chem <- read.csv(gzfile(file.path(argv[1], "Chem97.csv.gz")))
sets <- list(sleepstudy = sleepstudy, cbpp = transform(cbpp, second = as.numeric(period == "2")),
  grouseticks = transform(grouseticks, h = cHEIGHT / 100), Arabidopsis = Arabidopsis, VerbAgg = VerbAgg, cake = cake,
  MathAchieve = transform(school, minority = as.numeric(Minority == "Yes")), Chem97 = subset(chem, as.numeric(lea) <= 6))
tight <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13, optCtrl = list(rhoend = 1e-9, maxfun = 1e5))
control <- glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4, rel.tol = 1e-14))
components <- function(m) lapply(m, function(v) list(sd = unname(attr(v, "stddev")), cor = unname(attr(v, "correlation"))[lower.tri(v)]))

by_glmer <- function(dataset, formula, family, word, link, points = 1) {
  m <- suppressWarnings(suppressMessages(glmer(as.formula(formula), sets[[dataset]], family, nAGQ = points, control = tight)))
  saturated <- 0 # of several points, lme4 leaves the log likelihood of the saturated model out
  if (points > 1) { y <- m@resp$y; w <- m@resp$weights
    saturated <- if (word == "binomial") sum(dbinom(round(w * y), round(w), y, log = TRUE)) else sum(dpois(y, y, log = TRUE)) }
  list(dataset = dataset, formula = formula, family = word, link = link, points = points, engine = "glmer",
       loglik = as.numeric(logLik(m)) + saturated, beta = unname(fixef(m)), names = names(fixef(m)),
       se = unname(sqrt(diag(vcov(m, use.hessian = TRUE)))), components = components(VarCorr(m)),
       modes = unname(as.matrix(ranef(m)[[1]])[1:3, 1]))
}
by_tmb <- function(dataset, formula, family, word, link) {
  m <- suppressWarnings(glmmTMB(as.formula(formula), sets[[dataset]], family = family, control = control))
  out <- list(dataset = dataset, formula = formula, family = word, link = link, points = 1, engine = "glmmTMB",
       loglik = as.numeric(logLik(m)), beta = unname(fixef(m)$cond), names = names(fixef(m)$cond),
       se = unname(sqrt(diag(vcov(m)$cond))), components = components(VarCorr(m)$cond), dispersion = sigma(m))
  if (word == "t") out$nu <- unname(m$fit$par[names(m$fit$par) == "thetaf"])
  out
}
by_clmm <- function(dataset, formula, link, points = 1) {
  d <- sets[[dataset]]; d$score <- if (dataset == "Chem97") factor(d$score, ordered = TRUE) else d$score
  m <- clmm(as.formula(formula), data = d, link = link, nAGQ = points, control = clmm.control(gradTol = 1e-7))
  list(dataset = dataset, formula = formula, family = "ordinal", link = link, points = points, engine = "clmm",
       loglik = as.numeric(logLik(m)), thresholds = unname(m$alpha), beta = unname(m$beta), names = names(m$beta),
       components = components(VarCorr(m)))
}
by_integrals <- function(dataset, response, x, group, inverse, start, link, formula) {
  d <- sets[[dataset]]; y <- d[[response]] / 1000; g <- split(seq_along(y), d[[group]])
  density <- function(y, mu, phi) -0.5 * log(2 * pi * phi * y^3) - (y - mu)^2 / (2 * phi * mu^2 * y)
  criterion <- function(p) -2 * sum(sapply(g, function(of) {
    at <- Vectorize(function(u) sum(density(y[of], inverse(p[1] + p[2] * d[[x]][of] + exp(p[3]) * u), exp(p[4]))) + dnorm(u, log = TRUE))
    top <- optimize(at, c(-6, 6), maximum = TRUE, tol = 1e-10)
    top$objective + log(integrate(function(u) exp(at(u) - top$objective), top$maximum - 5, top$maximum + 5, rel.tol = 1e-11)$value)
  }))
  for (i in 1:4) { o <- optim(start, criterion, control = list(reltol = 1e-15, maxit = 3000)); start <- o$par }
  o <- optim(start, criterion, method = "BFGS", hessian = TRUE, control = list(reltol = 1e-15, ndeps = rep(1e-5, 4)))
  list(dataset = dataset, formula = formula, family = "inverse gaussian", link = link, points = 25, engine = "integrate",
       loglik = -o$value / 2, beta = o$par[1:2], se = sqrt(diag(solve(o$hessian / 2)))[1:2],
       components = list(list(sd = exp(o$par[3]), cor = list())), dispersion = exp(o$par[4]))
}
herds <- "cbind(incidence, size - incidence) ~ period + (1 | herd)"
cases <- list(
  cloglog_25 = by_glmer("cbpp", herds, binomial("cloglog"), "binomial", "cloglog", 25),
  probit_9 = by_glmer("cbpp", herds, binomial("probit"), "binomial", "probit", 9),
  logit_2 = by_glmer("cbpp", herds, binomial, "binomial", "logit", 2),
  aliased = by_glmer("cbpp", "cbind(incidence, size - incidence) ~ period + second + (1 | herd)", binomial, "binomial", "logit", 3),
  minority_15 = by_glmer("MathAchieve", "minority ~ Sex + SES + (1 | School)", binomial, "binomial", "logit", 15),
  fruits_7 = by_glmer("Arabidopsis", "total.fruits ~ amd + status + (1 | gen)", poisson, "poisson", "log", 7),
  fruits_slopes = by_glmer("Arabidopsis", "total.fruits ~ amd + status + (amd | gen) + (1 | popu)", poisson, "poisson", "log"),
  ticks_exposure = by_glmer("grouseticks", "TICKS ~ YEAR + offset(0.3 * h) + (h | LOCATION) + (1 | BROOD)", poisson, "poisson", "log"),
  behaviours = by_glmer("VerbAgg", "r2 ~ Anger + situ + (1 + situ | item) + (1 | id)", binomial, "binomial", "logit"),
  fruits_nb2 = by_tmb("Arabidopsis", "total.fruits ~ amd + status + (amd | gen)", nbinom2, "negative binomial", "log"),
  fruits_nb1 = by_tmb("Arabidopsis", "total.fruits ~ amd + status + (1 | popu/gen)", nbinom1, "negative binomial 1", "log"),
  angles_beta = by_tmb("cake", "I(angle / 100) ~ recipe + temp + (1 | recipe:replicate)", beta_family(), "beta", "logit"),
  ticks_roots = by_tmb("grouseticks", "TICKS ~ YEAR + (1 | BROOD)", poisson("sqrt"), "poisson", "sqrt"),
  t_slopes = by_tmb("sleepstudy", "Reaction ~ Days + (Days | Subject)", t_family(), "t", "identity"),
  t_log = by_tmb("cake", "angle ~ temp + (1 | recipe:replicate)", t_family("log"), "t", "log"),
  angers_probit = by_clmm("VerbAgg", "resp ~ Anger + mode + (1 | id)", "probit", 9),
  scores = by_clmm("Chem97", "score ~ gcsecnt + gender + (1 | school)", "logit"),
  inverse_gaussian = by_integrals("sleepstudy", "Reaction", "Days", "Subject", exp, c(-1.37, 0.034, -2, -4), "log", "I(Reaction / 1000) ~ Days + (1 | Subject)"),
  inverse_gaussian_inverse = by_integrals("sleepstudy", "Reaction", "Days", "Subject", function(e) 1 / pmax(e, 1e-3), c(4, -0.1, -1, -4), "inverse", "I(Reaction / 1000) ~ Days + (1 | Subject)")
)
g <- glmer(I(Reaction / 1000) ~ Days + (1 | Subject), sleepstudy, inverse.gaussian("log"), control = tight)
glmers <- list(beta = unname(fixef(g)), sd = sqrt(unlist(VarCorr(g))), sigma2 = sigma(g)^2, loglik = as.numeric(logLik(g)), theta = getME(g, "theta"))
out <- list(kind = "outputs", R = R.version.string, lme4 = as.character(packageVersion("lme4")),
  glmmTMB = as.character(packageVersion("glmmTMB")), ordinal = as.character(packageVersion("ordinal")), cases = cases, glmer_inverse_gaussian = glmers)
write(toJSON(out, auto_unbox = TRUE, digits = 12), file.path(argv[2], "generalised_more.json"))
