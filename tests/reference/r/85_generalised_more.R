# Generalised responses by glmer (nAGQ 1 to 25), glmmTMB (t, nb2 with slopes, nb1, beta) and clmm, on data sets that the
# other scripts leave. Inverse Gaussian responses by sums over a grid and optim(), for glmer estimates no dispersion by
# maximum likelihood: what it has for one, and for the variance of the effects, is kept beside (glmer_inverse_gaussian).
# Rscript 85_generalised_more.R DATA_BUNDLE OUT_FOLDER
suppressMessages({library(lme4); library(glmmTMB); library(ordinal); library(jsonlite)})
argv <- commandArgs(TRUE)
data(list = c("sleepstudy", "cbpp", "grouseticks", "Arabidopsis", "VerbAgg", "cake"), package = "lme4")
school <- transform(read.csv(file.path(argv[1], "MathAchieve.csv")), Sex = factor(Sex, levels = c("Male", "Female")))
chem <- transform(read.csv(gzfile(file.path(argv[1], "Chem97.csv.gz"))), gender = factor(gender, levels = c("M", "F")))
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
  list(dataset = dataset, formula = formula, family = word, link = link, points = 1, engine = "glmmTMB",
       loglik = as.numeric(logLik(m)), beta = unname(fixef(m)$cond), names = names(fixef(m)$cond),
       se = unname(sqrt(diag(vcov(m)$cond))), components = components(VarCorr(m)$cond), dispersion = sigma(m))
}
by_clmm <- function(dataset, formula, link, points = 1) {
  d <- sets[[dataset]]; d$score <- if (dataset == "Chem97") factor(d$score, ordered = TRUE) else d$score
  m <- clmm(as.formula(formula), data = d, link = link, nAGQ = points, control = clmm.control(gradTol = 1e-7))
  list(dataset = dataset, formula = formula, family = "ordinal", link = link, points = points, engine = "clmm",
       loglik = as.numeric(logLik(m)), thresholds = unname(m$alpha), beta = unname(m$beta), names = names(m$beta),
       components = components(VarCorr(m)))
}
by_grid <- function(dataset, response, x, group, inverse, start, link, formula) { # sums over a grid of each effect
  d <- sets[[dataset]]; y <- d[[response]] / 1000; g <- split(seq_along(y), d[[group]]); u <- seq(-8, 8, length.out = 801)
  criterion <- function(p) -2 * sum(sapply(g, function(of) {
    mu <- inverse(outer(p[1] + p[2] * d[[x]][of], exp(p[3]) * u, "+"))
    at <- colSums(-0.5 * (log(2 * pi) + p[4] + 3 * log(y[of])) - (y[of] - mu)^2 / (2 * exp(p[4]) * mu^2 * y[of])) + dnorm(u, log = TRUE)
    max(at) + log(sum(exp(at - max(at))) * (u[2] - u[1]))
  }))
  for (i in 1:4) { o <- optim(start, criterion, control = list(reltol = 1e-15, maxit = 3000)); start <- o$par }
  H <- optimHess(start, criterion, control = list(ndeps = rep(1e-4, 4)))
  list(dataset = dataset, formula = formula, family = "inverse gaussian", link = link, points = 25, engine = "grid",
       loglik = -o$value / 2, beta = o$par[1:2], se = sqrt(diag(solve(H / 2)))[1:2],
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
  fruits_nb2 = by_tmb("Arabidopsis", "total.fruits ~ amd + status + (nutrient | gen)", nbinom2, "negative binomial", "log"),
  fruits_nb1 = by_tmb("Arabidopsis", "total.fruits ~ amd + status + (1 | popu/gen)", nbinom1, "negative binomial 1", "log"),
  angles_beta = by_tmb("cake", "I(angle / 100) ~ recipe + temp + (1 | recipe:replicate)", beta_family(), "beta", "logit"),
  t_slopes = by_tmb("sleepstudy", "Reaction ~ Days + (Days | Subject)", t_family(), "t", "identity"),
  t_nested = by_tmb("cake", "angle ~ temp + recipe + (1 | recipe:replicate)", t_family(), "t", "identity"),
  angers_probit = by_clmm("VerbAgg", "resp ~ Anger + mode + (1 | id)", "probit", 9),
  scores = by_clmm("Chem97", "score ~ gcsecnt + gender + (1 | school)", "logit"),
  inverse_gaussian = by_grid("sleepstudy", "Reaction", "Days", "Subject", exp, c(-1.37, 0.034, -2, -4), "log", "I(Reaction / 1000) ~ Days + (1 | Subject)")
)
g <- glmer(I(Reaction / 1000) ~ Days + (1 | Subject), sleepstudy, inverse.gaussian("log"), control = tight)
glmers <- list(beta = unname(fixef(g)), sd = sqrt(unlist(VarCorr(g))), sigma2 = sigma(g)^2, loglik = as.numeric(logLik(g)), theta = getME(g, "theta"))
out <- list(kind = "outputs", R = R.version.string, lme4 = as.character(packageVersion("lme4")),
  glmmTMB = as.character(packageVersion("glmmTMB")), ordinal = as.character(packageVersion("ordinal")), cases = cases, glmer_inverse_gaussian = glmers)
write(toJSON(out, auto_unbox = TRUE, digits = 12), file.path(argv[2], "generalised_more.json"))
