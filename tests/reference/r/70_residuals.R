# Residual variances and correlations that 10_public.R leaves out: nlme's gls and lme, and from their estimates and from
# several other starts the dense marginal likelihood below, polished by Newton steps. A variance of the fitted values is
# that at the fixed point, where they are the fitted values of the fit that reads them.
# Rscript tests/reference/r/70_residuals.R FOLDER [DATA] [ID ...] writes one JSON a case.
suppressMessages({ library(nlme); library(jsonlite); library(numDeriv) })
args <- commandArgs(TRUE); out <- args[1]; bundle <- if (length(args) > 1) args[2] else "src/ranef/datasets/data"
only <- args[-(1:2)]
A <- function(x) I(as.vector(unname(x)))
MAT <- function(m) { m <- as.matrix(m); lapply(seq_len(nrow(m)), function(i) I(as.vector(m[i, ]))) }
VERS <- list(R = R.version.string, nlme = as.character(packageVersion("nlme")))

load_data <- function(name) {
  meta <- fromJSON(file.path(bundle, paste0(name, ".meta.json")), simplifyVector = FALSE)
  d <- read.csv(file.path(bundle, paste0(name, ".csv")), colClasses = "character", na.strings = "", check.names = FALSE)
  for (col in meta$columns) {
    x <- d[[col$name]]
    d[[col$name]] <- switch(col$type, numeric = , integer = as.numeric(x), factor = factor(x, unlist(col$levels)),
      ordered = factor(x, unlist(col$levels), ordered = TRUE), logical = x == "TRUE", x)
  }
  d
}

# -- the laws, by parameters without bounds --------------------------------------------------------------------------
strata_of <- function(v, d) do.call(paste, c(lapply(v$group, function(g) as.character(d[[g]])), sep = "*"))
sds_of <- function(v, par, d, fitted) {
  if (is.null(v)) return(rep(1, nrow(d)))
  x <- if (is.null(v$covariate)) fitted else eval(parse(text = v$covariate), d)
  k <- length(v$levels) - 1
  switch(v$type,
    varIdent = exp(c(0, par))[match(strata_of(v, d), v$levels)],
    varPower = abs(x)^par, varExp = exp(par * x), varConstPower = exp(par[1]) + abs(x)^par[2], varFixed = sqrt(x),
    varIdentPower = exp(c(0, par[seq_len(k)]))[match(strata_of(v, d), v$levels)] * abs(x)^par[k + 1])
}
n_sds <- function(v) if (is.null(v)) 0 else switch(v$type, varFixed = 0, varIdent = length(v$levels) - 1,
  varConstPower = 2, varIdentPower = length(v$levels), 1)
partials <- function(r) { out <- numeric(); for (a in r) out <- c(out - a * rev(out), a); out }
cor_of <- function(s, par, place) {
  n <- nrow(place); if (is.null(s)) return(diag(n))
  far <- as.matrix(dist(place)); if (!is.null(s$nugget)) share <- if (s$nugget) plogis(par[2]) else 0
  by_distance <- function(f) { C <- (1 - share) * f(far / exp(par[1])); diag(C) <- 1; C }
  switch(s$type,
    corAR1 = tanh(par)^far, corCAR1 = plogis(par)^far,
    corCompSymm = { l <- -1 / (s$largest - 1); C <- matrix(l + (1 - l) * plogis(par), n, n); diag(C) <- 1; C },
    corARMA = { ar <- partials(tanh(par[seq_len(s$p)])); ma <- -partials(tanh(par[s$p + seq_len(s$q)]))
      ac <- ARMAacf(ar, ma, lag.max = max(1, far)); matrix(ac[far + 1], n) },
    corSymm = { k <- length(s$occasions); R <- matrix(0, k, k); z <- tanh(par); at <- 0
      for (i in 1:k) { rest <- 1; for (j in seq_len(i - 1)) { at <- at + 1; R[i, j] <- z[at] * rest; rest <- rest * sqrt(1 - z[at]^2) }; R[i, i] <- rest }
      o <- match(place[, 1], s$occasions); (R %*% t(R))[o, o, drop = FALSE] },
    corExp = by_distance(function(u) exp(-u)), corGaus = by_distance(function(u) exp(-u^2)),
    corSpher = by_distance(function(u) ifelse(u < 1, 1 - 1.5 * u + 0.5 * u^3, 0)))
}
n_cor <- function(s) if (is.null(s)) 0 else switch(s$type, corARMA = s$p + s$q, corExp = , corGaus = , corSpher = 1 + s$nugget,
  corSymm = choose(length(s$occasions), 2), 1)
root_of <- function(type, par, k) switch(type, pdIdent = exp(par) * diag(k), pdDiag = diag(exp(par), k),
  pdSymm = { L <- diag(exp(par[1:k]), k); L[lower.tri(L)] <- par[-(1:k)]; L })
n_root <- function(type, k) switch(type, pdIdent = 1, pdDiag = k, pdSymm = k * (k + 1) / 2)

# -- the dense criterion with σ profiled, block by block of rows that share nothing ----------------------------------
setup <- function(cs, d) {
  m <- list(X = model.matrix(as.formula(cs$fixed), d), y = eval(as.formula(cs$fixed)[[2]], d), d = d, v = cs[["v"]], s = cs[["s"]])
  path <- NULL
  m$levels <- lapply(cs$random, function(r) { path <<- c(path, r$group)
    Z <- model.matrix(as.formula(r$form), d)
    list(Z = Z, k = ncol(Z), type = r$type, g = do.call(paste, lapply(path, function(p) d[[p]])), group = r$group) })
  if (!is.null(m$s)) {
    m$g <- if (is.null(m$s$group)) rep(1, nrow(d)) else do.call(paste, lapply(m$s$group, function(p) d[[p]]))
    m$place <- if (is.null(m$s$time)) cbind(ave(seq_along(m$g), m$g, FUN = seq_along)) else sapply(m$s$time, function(p) as.numeric(as.character(d[[p]])))
    m$s$largest <- max(table(m$g)); if (m$s$type == "corSymm") m$s$occasions <- sort(unique(m$place[, 1]))
  }
  if (!is.null(m$v$group)) m$v$levels <- unique(strata_of(m$v, d))
  m$blocks <- split(seq_len(nrow(d)), if (length(m$levels)) m$levels[[1]]$g else if (is.null(m$s)) seq_len(nrow(d)) else m$g)
  m$sizes <- c(sapply(m$levels, function(l) n_root(l$type, l$k)), n_sds(m$v), n_cor(m$s)); m$sizes <- unlist(m$sizes)
  m
}
crit <- function(par, m, reml, fitted = NULL, full = FALSE) {
  own <- split(par, factor(rep(seq_along(m$sizes), m$sizes), seq_along(m$sizes))); q <- length(m$levels)
  roots <- lapply(seq_len(q), function(i) root_of(m$levels[[i]]$type, own[[i]], m$levels[[i]]$k))
  sds <- sds_of(m$v, own[[q + 1]], m$d, fitted); ld <- 0; WX <- 0 * m$X; Wy <- 0 * m$y; R <- list()
  if (any(!is.finite(sds)) || any(sds <= 0)) return(1e10)
  for (j in seq_along(m$blocks)) { r <- m$blocks[[j]]
    C <- if (is.null(m$s)) diag(length(r)) else cor_of(m$s, own[[q + 2]], m$place[r, , drop = FALSE]) * outer(m$g[r], m$g[r], "==")
    V <- C * outer(sds[r], sds[r])
    for (i in seq_len(q)) { half <- m$levels[[i]]$Z[r, , drop = FALSE] %*% roots[[i]]; V <- V + half %*% t(half) * outer(m$levels[[i]]$g[r], m$levels[[i]]$g[r], "==") }
    L <- tryCatch(chol(V), error = function(e) NULL); if (is.null(L)) return(1e10)
    ld <- ld + 2 * sum(log(diag(L))); R[[j]] <- L
    WX[r, ] <- backsolve(L, m$X[r, , drop = FALSE], transpose = TRUE); Wy[r] <- backsolve(L, m$y[r], transpose = TRUE)
  }
  Q <- qr(WX); n <- length(m$y) - if (reml) ncol(m$X) else 0; rss <- sum(qr.resid(Q, Wy)^2); s2 <- rss / n
  value <- n * (log(2 * pi * s2) + 1) + ld + if (reml) 2 * sum(log(abs(diag(qr.R(Q))))) else 0
  if (!full) return(if (is.finite(value)) value else 1e10)
  beta <- qr.coef(Q, Wy); fixed <- as.vector(m$X %*% beta); fit <- fixed
  for (j in seq_along(m$blocks)) { r <- m$blocks[[j]]; left <- backsolve(R[[j]], backsolve(R[[j]], (m$y - fixed)[r], transpose = TRUE))
    for (i in seq_len(q)) { l <- m$levels[[i]]; half <- l$Z[r, , drop = FALSE] %*% roots[[i]]; fit[r] <- fit[r] + (half %*% t(half) * outer(l$g[r], l$g[r], "==")) %*% left } }
  list(criterion = value, beta = beta, vcov = solve(crossprod(WX)) * s2, sigma = sqrt(s2), roots = roots, sds = sds, own = own, fitted = fit, fixed = fixed)
}
search <- function(m, reml, fitted, starts) {
  fn <- function(x) crit(x, m, reml, fitted); best <- NULL
  if (!sum(m$sizes)) return(list(par = numeric(), objective = fn(numeric()), gradient = 0))
  for (x in starts) {
    o <- tryCatch(nlminb(x, fn, control = list(iter.max = 500, eval.max = 1500, rel.tol = 1e-12)), error = function(e) NULL)
    if (!is.null(o) && (is.null(best) || o$objective < best$objective)) best <- o
  }
  for (round in 1:6) {                                                               # Newton steps
    g <- grad(fn, best$par); if (max(abs(g)) < 1e-8) break
    ahead <- tryCatch(best$par - solve(hessian(fn, best$par), g), error = function(e) NULL)
    if (is.null(ahead) || fn(ahead) > best$objective) break
    best <- list(par = ahead, objective = fn(ahead))
  }
  c(best, list(gradient = max(abs(grad(fn, best$par)))))
}
optimum <- function(cs, m) {
  reml <- cs$method == "REML"; n <- sum(m$sizes); set.seed(1)
  starts <- c(list(rep(0.1, n)), lapply(1:5, function(i) rnorm(n, 0, 0.7)))
  if (!isTRUE(cs$fitted_covariate)) return(c(search(m, reml, NULL, starts), list(fitted = NULL)))
  plain <- m; plain$v <- NULL; k <- length(m$levels); plain$sizes[k + 1] <- 0
  x <- search(plain, reml, NULL, lapply(starts, function(s) s[seq_len(sum(plain$sizes))]))
  read <- crit(x$par, plain, reml, full = TRUE)$fitted; now <- NULL
  for (round in 1:500) {
    now <- search(m, reml, read, if (is.null(now)) starts else list(now$par))
    fit <- crit(now$par, m, reml, read, TRUE)$fitted; moved <- max(abs(fit - read)) / sd(read)
    read <- if (moved < 1e-10) read else read + (if (round < 12) 1 else 0.5) * (fit - read)
    if (moved < 1e-10) break
  }
  c(now, list(fitted = read, rounds = round, moved = moved))
}

# -- what is written -------------------------------------------------------------------------------------------------
told_sds <- function(m, e) { v <- m$v; if (is.null(v)) return(NULL); par <- e$own[[length(m$levels) + 1]]; k <- length(v$levels) - 1
  strata <- function(r) list(strata = A(v$levels), ratio_to_first = A(exp(c(0, r))), sd = A(e$sigma * exp(c(0, r))))
  switch(v$type, varIdent = strata(par), varPower = list(power = par), varExp = list(expon = par), varFixed = setNames(list(), character()),
    varConstPower = list(const = exp(par[1]), power = par[2]), varIdentPower = c(strata(par[seq_len(k)]), list(power = par[k + 1]))) }
told_cor <- function(m, e) { s <- m$s; if (is.null(s)) return(NULL); par <- e$own[[length(m$levels) + 2]]
  switch(s$type, corAR1 = list(Phi = tanh(par)), corCAR1 = list(Phi = plogis(par)),
    corCompSymm = { l <- -1 / (s$largest - 1); list(Rho = l + (1 - l) * plogis(par)) },
    corARMA = { o <- list(); if (s$p) o$Phi <- A(partials(tanh(par[seq_len(s$p)]))); if (s$q) o$Theta <- A(-partials(tanh(par[s$p + seq_len(s$q)]))); o },
    corSymm = list(times = A(s$occasions), corr = MAT(cor_of(s, par, cbind(s$occasions)))),
    c(list(range = exp(par[1])), if (s$nugget) list(nugget = plogis(par[2])))) }
write_case <- function(cs) {
  d <- load_data(cs$dataset); for (name in names(cs$derive_r)) d[[name]] <- eval(parse(text = cs$derive_r[[name]]), d)
  if (!is.null(cs$subset)) d <- d[eval(parse(text = cs$subset), d), ]
  d <- d[complete.cases(d[intersect(all.vars(as.formula(cs$fixed)), names(d))]), ]
  m <- setup(cs, d); o <- optimum(cs, m); reml <- cs$method == "REML"; e <- crit(o$par, m, reml, o$fitted, TRUE)
  gls_ <- is.null(cs$random); call <- parse(text = cs$call)[[1]]; call$data <- quote(d); call$method <- cs$method
  call$control <- if (gls_) quote(glsControl(maxIter = 500, msMaxIter = 500, tolerance = 1e-9, msTol = 1e-10)) else quote(lmeControl(maxIter = 500, msMaxIter = 500, tolerance = 1e-9, msTol = 1e-10))
  fit <- tryCatch(eval(call), error = function(err) conditionMessage(err)); df <- length(o$par) + ncol(m$X) + 1
  reported <- if (is.character(fit)) list(error = fit) else { l <- as.numeric(logLik(fit)); b <- if (gls_) coef(fit) else fixef(fit)
    list(logLik = l, df = attr(logLik(fit), "df"), AIC = AIC(fit), BIC = BIC(fit), sigma = fit$sigma, fixef = A(b), logLik_deficit_vs_reference = -e$criterion / 2 - l,
      max_rel_diff_fixef = max(abs(b - e$beta) / pmax(abs(e$beta), 1e-8))) }
  pearson <- (m$y - e$fitted) / (e$sigma * e$sds); se <- sqrt(diag(e$vcov)); n <- nrow(d); s <- cs[["s"]]
  record <- list(id = cs$id, set = "public", kind = if (gls_) "gls" else "lme", why = cs$why, dataset = cs$dataset, derive = cs[["derive"]], subset = cs$subset,
    delicate = cs$delicate, fixed = cs$fixed, method = cs$method, contrasts = list(unordered = "contr.treatment", ordered = "contr.poly"), versions = VERS, package = "nlme", nlme_call = cs$call,
    structure = list(fixed = cs$fixed, random_outer_to_inner = lapply(cs$random, function(r) list(group = r$group, blocks = list(list(type = r$type, form = r$form)))),
      variance = if (is.null(cs[["v"]])) NA else lapply(cs[["v"]], function(x) if (length(x) > 1) A(x) else x), correlation = if (is.null(s)) NA else lapply(s, function(x) if (length(x) > 1) A(x) else x)),
    dims = list(n = n, p = ncol(m$X), n_cov_parameters = length(o$par) + 1), REML = reml, fixef = list(names = A(colnames(m$X)), estimate = A(e$beta), se = A(se), t = A(e$beta / se)), vcov = MAT(e$vcov),
    varcorr = lapply(seq_along(m$levels), function(i) { D <- e$sigma^2 * e$roots[[i]] %*% t(e$roots[[i]]); list(group = m$levels[[i]]$group, pd_class = m$levels[[i]]$type, names = A(colnames(m$levels[[i]]$Z)), sd = A(sqrt(diag(D))), cov = MAT(D)) }),
    sigma = e$sigma, residual_variance = told_sds(m, e), residual_correlation = told_cor(m, e), logLik = -e$criterion / 2, criterion = e$criterion, criterion_kind = if (reml) "REML" else "minus2logL",
    df_logLik = df, AIC = e$criterion + 2 * df, BIC_n = e$criterion + df * log(n),
    optim = Filter(Negate(is.null), list(max_abs_gradient = o$gradient, method = "dense marginal likelihood of this script, Newton-polished; six starts", rounds_of_fitted = o$rounds, last_change_of_fitted = o$moved)),
    residuals_pearson = list(n = n, first = A(head(pearson, 10)), sum = sum(pearson), sumsq = sum(pearson^2)), nlme_reported = reported)
  record <- Filter(Negate(is.null), record)
  writeLines(toJSON(record, auto_unbox = TRUE, digits = 15, na = "null", null = "null"), file.path(out, paste0(cs$id, ".json")))
  cat(sprintf("%-28s %16.8f  gradient %8.1e  nlme stops short by %s\n", cs$id, e$criterion, o$gradient, if (is.character(fit)) fit else format(2 * reported$logLik_deficit_vs_reference, digits = 3)))
}

# -- the cases -------------------------------------------------------------------------------------------------------
ri <- function(g) list(list(group = g, type = "pdSymm", form = "~1"))
OV <- "follicles ~ sin(2*pi*Time) + cos(2*pi*Time)"; OR <- "distance ~ age * Sex"; SL <- "Reaction ~ Days"; BW <- "weight ~ Time * Diet"; BB <- "bdi ~ time + treatment"
grid <- list(derive = list(east = "Days % 4", north = "Days // 4"), derive_r = list(east = "Days %% 4", north = "Days %/% 4"))
CASES <- list(
  list(id = "residuals_gls_fitted", dataset = "BodyWeight", fixed = BW, method = "REML", v = list(type = "varPower"), fitted_covariate = TRUE, why = "a power of the fitted values, without random effects",
    call = "gls(weight ~ Time * Diet, weights = varPower())"),
  list(id = "residuals_fitted_ml", dataset = "sleepstudy", fixed = SL, method = "ML", random = ri("Subject"), v = list(type = "varPower"), fitted_covariate = TRUE, why = "a power of the innermost fitted values",
    call = "lme(Reaction ~ Days, random = ~1 | Subject, weights = varPower())"),
  list(id = "residuals_fixed", dataset = "sleepstudy", fixed = SL, method = "REML", random = list(list(group = "Subject", type = "pdSymm", form = "~1+Days")), v = list(type = "varFixed", covariate = "Days + 1"), why = "known relative variances",
    call = "lme(Reaction ~ Days, random = ~Days | Subject, weights = varFixed(~ I(Days + 1)))"),
  list(id = "residuals_comb", dataset = "Orthodont", fixed = OR, method = "REML", random = ri("Subject"), v = list(type = "varIdentPower", group = "Sex", covariate = "age"), why = "a product of two variance functions",
    call = "lme(distance ~ age * Sex, random = ~1 | Subject, weights = varComb(varIdent(form = ~1 | Sex), varPower(form = ~age)))"),
  list(id = "residuals_constpower_ml", dataset = "Soybean_nlme", fixed = "weight ~ Time + I(Time^2)", method = "ML", random = ri("Plot"), v = list(type = "varConstPower", covariate = "Time / 50"), why = "a constant and a power",
    call = "lme(weight ~ Time + I(Time^2), random = ~1 | Plot, weights = varConstPower(form = ~ I(Time / 50)))"),
  list(id = "residuals_two_factors_ml", dataset = "Orthodont", fixed = OR, method = "ML", random = ri("Subject"), v = list(type = "varIdent", group = c("Sex", "age")), why = "strata of two factors",
    call = "lme(distance ~ age * Sex, random = ~1 | Subject, weights = varIdent(form = ~1 | Sex * age))"),
  list(id = "residuals_ar1_gaps", dataset = "sleepstudy_na", fixed = SL, method = "REML", random = ri("Subject"), s = list(type = "corAR1", time = "Days", group = "Subject"), why = "occasions are missing within groups",
    call = "lme(Reaction ~ Days, random = ~1 | Subject, correlation = corAR1(form = ~ Days | Subject))"),
  list(id = "residuals_ar1_strata_ml", dataset = "BodyWeight", fixed = BW, method = "ML", random = ri("Rat"), v = list(type = "varIdent", group = "Diet"), s = list(type = "corAR1", group = "Rat"), why = "AR(1) in strata",
    call = "lme(weight ~ Time * Diet, random = ~1 | Rat, weights = varIdent(form = ~1 | Diet), correlation = corAR1(form = ~ 1 | Rat))"),
  list(id = "residuals_car1_ml", dataset = "Ovary", fixed = OV, method = "ML", random = ri("Mare"), s = list(type = "corCAR1", time = "Time", group = "Mare"), why = "irregular times, close together",
    call = "lme(follicles ~ sin(2*pi*Time) + cos(2*pi*Time), random = ~1 | Mare, correlation = corCAR1(form = ~ Time | Mare))"),
  list(id = "residuals_ar2", dataset = "Ovary", fixed = OV, method = "REML", s = list(type = "corARMA", p = 2, q = 0, group = "Mare"), why = "autoregression of second order",
    call = "gls(follicles ~ sin(2*pi*Time) + cos(2*pi*Time), correlation = corARMA(form = ~ 1 | Mare, p = 2, q = 0))"),
  list(id = "residuals_ma1_ml", dataset = "Ovary", fixed = OV, method = "ML", random = ri("Mare"), s = list(type = "corARMA", p = 0, q = 1, group = "Mare"), why = "a moving average",
    call = "lme(follicles ~ sin(2*pi*Time) + cos(2*pi*Time), random = ~1 | Mare, correlation = corARMA(form = ~ 1 | Mare, p = 0, q = 1))"),
  list(id = "residuals_arma21_ml", dataset = "Ovary", fixed = OV, method = "ML", s = list(type = "corARMA", p = 2, q = 1, group = "Mare"), why = "both parts",
    call = "gls(follicles ~ sin(2*pi*Time) + cos(2*pi*Time), correlation = corARMA(c(0.7, -0.1, -0.1), form = ~ 1 | Mare, p = 2, q = 1))"),
  list(id = "residuals_cs_in_blocks", dataset = "Oats", fixed = "yield ~ nitro + Variety", method = "REML", random = ri("Block"), s = list(type = "corCompSymm", group = c("Block", "Variety")), why = "compound symmetry within a coarser random effect",
    call = "lme(yield ~ nitro + Variety, random = ~1 | Block, correlation = corCompSymm(form = ~ 1 | Block/Variety))"),
  list(id = "residuals_symm_gaps", dataset = "BtheB_long", fixed = BB, method = "REML", v = list(type = "varIdent", group = "time"), s = list(type = "corSymm", time = "time", group = "subject"), derive_r = list(visit = "match(time, sort(unique(time)))"), why = "unstructured, with visits missed",
    call = "gls(bdi ~ time + treatment, correlation = corSymm(form = ~ visit | subject), weights = varIdent(form = ~1 | time))"),
  list(id = "residuals_exp_nugget_ml", dataset = "BodyWeight", fixed = BW, method = "ML", random = ri("Rat"), s = list(type = "corExp", time = "Time", group = "Rat", nugget = TRUE), why = "decay with time, and a nugget",
    call = "lme(weight ~ Time * Diet, random = ~1 | Rat, correlation = corExp(form = ~ Time | Rat, nugget = TRUE))"),
  c(list(id = "residuals_gaus_plane", dataset = "sleepstudy", fixed = SL, method = "REML", s = list(type = "corGaus", time = c("east", "north"), group = "Subject", nugget = TRUE), why = "two dimensions and a nugget; the places are made up",
    call = "gls(Reaction ~ Days, correlation = corGaus(form = ~ east + north | Subject, nugget = TRUE))"), grid),
  c(list(id = "residuals_exp_plane", dataset = "sleepstudy", fixed = SL, method = "ML", v = list(type = "varExp", covariate = "Days"), s = list(type = "corExp", time = c("east", "north"), group = "Subject", nugget = FALSE), why = "two dimensions; the places are made up",
    call = "gls(Reaction ~ Days, correlation = corExp(form = ~ east + north | Subject), weights = varExp(form = ~ Days))"), grid),
  list(id = "residuals_spher", dataset = "BodyWeight", fixed = BW, method = "REML", random = ri("Rat"), v = list(type = "varIdent", group = "Diet"), s = list(type = "corSpher", time = "Time", group = "Rat", nugget = FALSE), why = "a range beyond which nothing is shared, in strata",
    call = "lme(weight ~ Time * Diet, random = ~1 | Rat, correlation = corSpher(10, form = ~ Time | Rat), weights = varIdent(form = ~1 | Diet))"),
  list(id = "residuals_spher_nugget", dataset = "sleepstudy_na", fixed = SL, method = "REML", s = list(type = "corSpher", time = "Days", group = "Subject", nugget = TRUE), why = "the same with a nugget and gaps",
    call = "gls(Reaction ~ Days, correlation = corSpher(c(9, 0.1), form = ~ Days | Subject, nugget = TRUE))")
)
for (cs in CASES) if (!length(only) || cs$id %in% only) tryCatch(write_case(cs), error = function(e) cat(cs$id, "FAILED:", conditionMessage(e), "\n"))
