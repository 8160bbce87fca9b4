# Covariance structures of random effects: glmmTMB's cs, ar1 and toep, nlme's pdCompSymm, and for all of them (hetar1 and
# homcs too, which this glmmTMB has not) the dense marginal likelihood below, minimised from several starts.
# Rscript tests/reference/r/60_structures.R FOLDER writes one JSON a case.
suppressMessages({ library(nlme); library(glmmTMB); library(jsonlite); library(numDeriv) })
out <- commandArgs(TRUE)[1]
A <- function(x) I(as.vector(unname(x)))
MAT <- function(m) { m <- as.matrix(m); dimnames(m) <- NULL; lapply(seq_len(nrow(m)), function(i) I(as.vector(m[i, ]))) }
VERS <- list(R = R.version.string, nlme = as.character(packageVersion("nlme")), glmmTMB = as.character(packageVersion("glmmTMB")))

n_shape <- function(kind, p) switch(kind, toep = p - 1, 1)
sds <- function(kind, p, t) exp(if (kind %in% c("homcs", "ar1")) rep(t[1], p) else t[1:p])
cor_of <- function(kind, p, u) {
  lag <- abs(outer(1:p, 1:p, "-"))
  switch(kind,
    cs = , homcs = { l <- -1 / (p - 1); r <- l + (1 - l) * plogis(u); (1 - r) * diag(p) + r },
    ar1 = , hetar1 = tanh(u / 2)^lag,
    toep = { k <- tanh(u / 2); r <- k[1]; phi <- k[1]; v <- 1 - k[1]^2       # Durbin and Levinson, forwards
      for (m in seq_len(p - 1)[-1]) { new <- k[m] * v + sum(phi * rev(r)); r <- c(r, new); phi <- c(phi - k[m] * rev(phi), k[m]); v <- v * (1 - k[m]^2) }
      toeplitz(c(1, r)) })
}
crit <- function(par, kind, p, y, X, Z, g, reml) {
  m <- if (kind %in% c("homcs", "ar1")) 1 else p
  s <- sds(kind, p, par[1:m]); R <- cor_of(kind, p, par[m + seq_len(n_shape(kind, p))]); D <- s * t(s * R)
  s2 <- exp(2 * par[length(par)]); ld <- 0; XX <- 0; Xy <- 0; yy <- 0
  for (j in split(seq_along(y), g)) {
    L <- tryCatch(chol(Z[j, , drop = FALSE] %*% D %*% t(Z[j, , drop = FALSE]) + s2 * diag(length(j))), error = function(e) NULL)
    if (is.null(L)) return(1e10)
    a <- backsolve(L, X[j, , drop = FALSE], transpose = TRUE); b <- backsolve(L, y[j], transpose = TRUE)
    ld <- ld + 2 * sum(log(diag(L))); XX <- XX + crossprod(a); Xy <- Xy + crossprod(a, b); yy <- yy + sum(b^2)
  }
  beta <- tryCatch(solve(XX, Xy), error = function(e) NULL); if (is.null(beta)) return(1e10)
  n <- length(y) - if (reml) ncol(X) else 0
  v <- n * log(2 * pi) + ld + yy - sum(Xy * beta) + if (reml) as.numeric(determinant(XX)$modulus) else 0
  structure(v, beta = beta, XX = XX, D = D)
}

case <- function(id, dataset, data, kind, fixed, f, group, why, reml = TRUE, tmb = NULL, extra = NULL) {
  y <- data[[all.vars(fixed)[1]]]; X <- model.matrix(fixed, data); Z <- model.matrix(as.formula(paste("~ 0 +", f)), data)
  g <- as.character(data[[group]]); p <- ncol(Z); m <- if (kind %in% c("homcs", "ar1")) 1 else p; k <- n_shape(kind, p)
  fn <- function(x) as.numeric(crit(x, kind, p, y, X, Z, g, reml))
  s0 <- log(sd(resid(lm(fixed, data)))); best <- NULL
  set.seed(1)
  for (start in 1:6) {
    x <- c(rep(s0 - 0.3, m) + if (start > 1) rnorm(m, 0, 0.5) else 0, if (start > 1) rnorm(k, 0, 1) else rep(0.5, k), s0 - 0.7)
    o <- optim(x, fn, method = "BFGS", control = list(maxit = 2000, reltol = 1e-14))
    o <- nlminb(o$par, fn, control = list(iter.max = 2000, eval.max = 4000, rel.tol = 1e-14))
    if (is.null(best) || o$objective < best$objective) best <- o
  }
  x <- best$par
  for (i in 1:8) { gr <- numDeriv::grad(fn, x); H <- numDeriv::hessian(fn, x); st <- tryCatch(solve(H, gr), error = function(e) 0 * x)
    if (fn(x - st) <= fn(x) + 1e-12) x <- x - st else break }
  at <- crit(x, kind, p, y, X, Z, g, reml); D <- attr(at, "D"); s <- sqrt(diag(D))
  # standard errors of log sds and log sigma, and of the shapes' coordinates
  V <- tryCatch(2 * solve(numDeriv::hessian(fn, x)), error = function(e) NULL)
  names <- sub(f, "", colnames(Z), fixed = TRUE)
  ref <- list(id = id, kind = "structure", why = why, dataset = dataset, fixed = deparse(fixed), factor = f, group = group, structure = kind, REML = reml,
    versions = VERS, dims = list(n = length(y), p = ncol(X), columns = p, n_groups = length(unique(g)), n_cov_parameters = m + k + 1),
    levels = A(names), fixef = list(names = A(colnames(X)), estimate = A(attr(at, "beta")), se = A(sqrt(diag(solve(attr(at, "XX")))))),
    sd = A(s), corr = MAT(D / outer(s, s)), sigma = exp(x[length(x)]), criterion = as.numeric(at),
    se_coordinates = if (is.null(V)) NULL else A(sqrt(diag(V))), max_abs_gradient = max(abs(numDeriv::grad(fn, x))),
    criterion_from_starts = best$objective)
  if (!is.null(tmb)) {
    fit <- suppressWarnings(glmmTMB(as.formula(tmb), data = data, REML = reml))
    vc <- VarCorr(fit)$cond[[1]]
    ref$glmmTMB <- list(call = paste0("glmmTMB(", tmb, ", REML = ", reml, ")"), criterion = -2 * as.numeric(logLik(fit)), df = attr(logLik(fit), "df"),
      sd = A(attr(vc, "stddev")), corr = MAT(attr(vc, "correlation")), sigma = sigma(fit), fixef = A(fixef(fit)$cond),
      ranef = MAT(as.matrix(ranef(fit)$cond[[1]])), ranef_levels = A(rownames(ranef(fit)$cond[[1]])), convergence = fit$fit$convergence)
  }
  if (!is.null(extra)) ref <- c(ref, extra)
  cat(id, ref$criterion, if (!is.null(tmb)) ref$glmmTMB$criterion, ref$max_abs_gradient, "\n")
  writeLines(toJSON(ref, auto_unbox = TRUE, digits = NA, na = "null", null = "null"), file.path(out, paste0(id, ".json")))
}

mach <- as.data.frame(Machines); mach$Machine <- factor(as.character(mach$Machine)); mach$Worker <- as.character(mach$Worker)
ort <- as.data.frame(Orthodont); ort$Subject <- as.character(ort$Subject); ort$age_f <- factor(ort$age)
slp <- lme4::sleepstudy; slp$Days_f <- factor(slp$Days); slp$Subject <- as.character(slp$Subject)
for (reml in c(TRUE, FALSE)) {
  end <- if (reml) "reml" else "ml"
  case(paste0("structure_machines_cs_", end), "Machines", mach, "cs", score ~ Machine, "Machine", "Worker", "one correlation, own sds", reml, "score ~ Machine + cs(0 + Machine | Worker)")
  fit <- lme(score ~ Machine, random = list(Worker = pdCompSymm(~ Machine - 1)), data = mach, method = if (reml) "REML" else "ML")
  case(paste0("structure_machines_homcs_", end), "Machines", mach, "homcs", score ~ Machine, "Machine", "Worker", "nlme's pdCompSymm", reml,
    extra = list(nlme = list(call = "lme(score ~ Machine, random = list(Worker = pdCompSymm(~ Machine - 1)))", criterion = -2 * as.numeric(logLik(fit)), sigma = fit$sigma)))
  case(paste0("structure_orthodont_ar1_", end), "Orthodont", ort, "ar1", distance ~ age, "age_f", "Subject", "one row a level and time", reml, "distance ~ age + ar1(0 + age_f | Subject)")
  case(paste0("structure_sleep_ar1_", end), "sleepstudy", slp, "ar1", Reaction ~ Days, "Days_f", "Subject", "ten times", reml, "Reaction ~ Days + ar1(0 + Days_f | Subject)")
  case(paste0("structure_sleep_hetar1_", end), "sleepstudy", slp, "hetar1", Reaction ~ Days, "Days_f", "Subject", "ten sds", reml)
  case(paste0("structure_machines_toep_", end), "Machines", mach, "toep", score ~ Machine, "Machine", "Worker", "a correlation for each lag", reml, "score ~ Machine + toep(0 + Machine | Worker)")
  case(paste0("structure_machines_hetar1_", end), "Machines", mach, "hetar1", score ~ Machine, "Machine", "Worker", "own sds, few levels", reml)
}
