## Inference of glmer fits: emmeans on both scales, profiles, deletions of terms. PIRLS to 1e-13, so that lme4's Hessian
## by differences is that of the criterion (at its default of 1e-7 standard errors are off by half a
## per cent, and so they are for columns of very different sizes: heights are in hundreds).
## Rscript 82_generalised.R > ../generalised_inference.json
suppressMessages({library(lme4); library(emmeans); library(jsonlite)})
tight <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13, optCtrl = list(rhoend = 1e-9))
logit <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, control = tight)
g <- transform(grouseticks, cHEIGHT = cHEIGHT / 100)
log_ <- glmer(TICKS ~ YEAR * cHEIGHT + (1 | BROOD), g, poisson, control = tight)
frame <- function(x) as.data.frame(summary(x, infer = c(TRUE, TRUE)))
both <- function(e) list(means = frame(e), response = as.data.frame(summary(e, type = "response")),
  pairs = frame(pairs(e)), ratios = as.data.frame(summary(pairs(e), type = "response", infer = c(TRUE, TRUE))))
profiled <- function(m) { p <- confint(profile(m, signames = FALSE, devtol = 1e-7)); list(names = rownames(p), ends = unname(p)) }
out <- list(
  kind = "outputs", versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4")), emmeans = as.character(packageVersion("emmeans"))),
  emmeans = list(cbpp = both(emmeans(logit, "period")), grouseticks = both(emmeans(log_, "YEAR")),
    trends = list(means = frame(emtrends(log_, "YEAR", var = "cHEIGHT")), pairs = frame(pairs(emtrends(log_, "YEAR", var = "cHEIGHT"))))),
  profile = list(cbpp = profiled(logit)),
  drop1 = list(cbpp = as.data.frame(drop1(logit, test = "Chisq")), grouseticks = as.data.frame(drop1(log_, test = "Chisq"))),
  vcov = list(cbpp = unname(as.matrix(vcov(logit))), grouseticks = unname(as.matrix(vcov(log_)))))
tmb <- glmmTMB::glmmTMB(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, family = binomial)
out$sdreport <- list(cbpp = sqrt(TMB::sdreport(tmb$obj)$diag.cov.random)) # with the uncertainty of all parameters
out$sdreport$predict <- predict(tmb, se.fit = TRUE, type = "link")$se.fit
cat(toJSON(out, digits = 12, auto_unbox = TRUE, dataframe = "columns", na = "string"))
