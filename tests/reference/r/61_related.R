# A known covariance K among levels, by lme4's own machine: Z is multiplied by the Cholesky factor of K before the
# deviance function is made (as pedigreemm does; Bates and Vazquez 2014). Rscript 61_related.R FOLDER
suppressMessages({ library(lme4); library(jsonlite) })
out <- commandArgs(TRUE)[1]
A <- function(x) I(as.vector(unname(x)))
MAT <- function(m) { m <- as.matrix(m); dimnames(m) <- NULL; lapply(seq_len(nrow(m)), function(i) I(as.vector(m[i, ]))) }
related <- function(id, formula, data, group, rho, reml) {
  lev <- levels(factor(data[[group]])); K <- rho^abs(outer(seq_along(lev), seq_along(lev), "-"))
  lf <- lFormula(formula, data, REML = reml, control = lmerControl(check.nobs.vs.nlev = "ignore", check.nobs.vs.nRE = "ignore"))
  k <- match(group, names(lf$reTrms$flist)); rows <- seq(lf$reTrms$Gp[k] + 1, lf$reTrms$Gp[k + 1]); p <- length(rows) / length(lev)
  R <- kronecker(chol(K), diag(p))
  lf$reTrms$Zt[rows, ] <- as(R %*% as.matrix(lf$reTrms$Zt[rows, ]), "CsparseMatrix")
  fn <- do.call(mkLmerDevfun, lf); start <- lf$reTrms$theta; best <- NULL
  for (s in c(1, 0.3, 3)) { o <- nlminb(s * start, fn, lower = lf$reTrms$lower, control = list(rel.tol = 1e-14, eval.max = 5000, iter.max = 5000))
    if (is.null(best) || o$objective < best$objective) best <- o }
  fn(best$par); pp <- environment(fn)$pp; resp <- environment(fn)$resp
  n <- nrow(data); df <- n - if (reml) length(pp$delb) else 0
  sigma <- sqrt((resp$wrss() + pp$sqrL(1)) / df)
  b <- (t(pp$Lambdat) %*% pp$u(1))[rows]; b <- t(R) %*% b
  ref <- list(id = id, kind = "related", formula = deparse(formula), group = group, rho = rho, levels = A(lev), REML = reml,
    versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4"))), theta = A(best$par), criterion = best$objective,
    sigma = sigma, fixef = A(pp$beta(1)), b = MAT(matrix(b, ncol = p, byrow = TRUE)))
  cat(id, ref$criterion, ref$sigma, "\n")
  writeLines(toJSON(ref, auto_unbox = TRUE, digits = NA), file.path(out, paste0(id, ".json")))
}
for (reml in c(TRUE, FALSE)) { end <- if (reml) "reml" else "ml"
  related(paste0("related_sleep_ri_", end), Reaction ~ Days + (1 | Subject), sleepstudy, "Subject", 0.7, reml)
  related(paste0("related_sleep_rs_", end), Reaction ~ Days + (Days | Subject), sleepstudy, "Subject", 0.7, reml)
  related(paste0("related_penicillin_", end), diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin, "sample", 0.5, reml)
}
