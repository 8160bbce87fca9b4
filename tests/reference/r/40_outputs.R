# Deletion diagnostics (lme4::influence), leverages under weights, and standard errors of variance components (nlme).
# Run in tests/reference: Rscript r/40_outputs.R > outputs.json
suppressMessages({ library(lme4); library(nlme); library(jsonlite) })
exact <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e5), check.conv.grad = "ignore")
A <- function(x) unname(as.vector(x))
M <- function(x) unname(as.matrix(x))

deleted <- function(m, groups, data, p = length(fixef(m))) {
  labels <- unique(as.character(data[[groups]]))
  fits <- lapply(labels, function(l) update(m, data = data[data[[groups]] != l, ]))
  beta <- matrix(unlist(lapply(fits, fixef)), ncol = p, byrow = TRUE)
  change <- sweep(-beta, 2, fixef(m), "+")
  se <- matrix(unlist(lapply(fits, function(f) sqrt(diag(as.matrix(vcov(f)))))), ncol = p, byrow = TRUE)
  list(group = groups, labels = labels, fixef = M(beta), sigma = A(sapply(fits, sigma)), dfbetas = M(change / se),
       theta = M(t(matrix(sapply(fits, getME, "theta"), ncol = length(fits)))),
       cooks = A(rowSums((change %*% solve(as.matrix(vcov(m)))) * change) / p),
       lme4_cooks = A(cooks.distance(influence(m, groups = groups))))
}

sleepstudy$w <- 1 + (seq_len(nrow(sleepstudy)) %% 3)
weighted <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy, weights = w, control = exact)
sleep <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy, control = exact)
pastes <- lmer(strength ~ 1 + (1 | batch / cask), Pastes, control = exact)
penicillin <- lmer(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin, control = exact)

ap <- function(f) {
  V <- f$apVar
  list(names = rownames(V), estimate = A(attr(V, "Pars")), se = A(sqrt(diag(V))))
}
lme_sleep <- lme(Reaction ~ Days, random = ~ Days | Subject, data = sleepstudy, control = lmeControl(msTol = 1e-12, tolerance = 1e-12))
lme_penicillin <- lme(diameter ~ 1, random = ~ 1 | plate, data = Penicillin)

cat(toJSON(list(
  kind = "outputs", versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4")), nlme = as.character(packageVersion("nlme"))),
  influence_sleep = deleted(sleep, "Subject", sleepstudy),
  influence_sleep_weighted = deleted(weighted, "Subject", sleepstudy),
  influence_penicillin = deleted(penicillin, "sample", Penicillin),
  leverage_weighted = list(hatvalues = A(hatvalues(weighted)), cooks_distance = A(cooks.distance(weighted))),
  leverage_nested = list(hatvalues = A(hatvalues(pastes)), cooks_distance = A(cooks.distance(pastes))),
  leverage_crossed = list(hatvalues = A(hatvalues(penicillin)), cooks_distance = A(cooks.distance(penicillin))),
  apvar_sleep = ap(lme_sleep), apvar_penicillin = ap(lme_penicillin)
), digits = NA, auto_unbox = TRUE, pretty = FALSE), "\n")
