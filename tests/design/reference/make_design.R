# Model matrices of R 4.2.2 and lme4 1.1-31, for tests/design/test_against_r.py. Run in the repository's root:
#   Rscript tests/design/reference/make_design.R
# No model is fitted: lFormula() gives X and Z. Of every matrix: some rows, the column sums, and sums weighted by row number.
suppressMessages({library(lme4); library(jsonlite)})
options(contrasts = c("contr.treatment", "contr.poly"))

read_typed <- function(name) {
  folder <- "src/ranef/datasets/data"
  meta <- fromJSON(file.path(folder, paste0(name, ".meta.json")), simplifyVector = FALSE)
  d <- read.csv(file.path(folder, meta$file), colClasses = "character", na.strings = "", check.names = FALSE)
  for (column in meta$columns) {
    x <- d[[column$name]]
    d[[column$name]] <- switch(column$type, factor = factor(x, levels = unlist(column$levels)),
      ordered = factor(x, levels = unlist(column$levels), ordered = TRUE), integer = as.integer(x),
      numeric = as.numeric(x), logical = as.logical(x), x)
  }
  d
}

cases <- list(
  sleep_poly = c("sleepstudy", "Reaction ~ poly(Days, 2) + (poly(Days, 2) | Subject)"),
  sleep_raw = c("sleepstudy", "Reaction ~ poly(Days, 3, raw = TRUE) + (1 | Subject)"),
  sleep_scale = c("sleepstudy", "scale(Reaction) ~ scale(Days) + (scale(Days) | Subject)"),
  sleep_bs = c("sleepstudy", "Reaction ~ splines::bs(Days, df = 5) + (1 | Subject)", "Reaction ~ bs(Days, df = 5) + (1 | Subject)"),
  sleep_bs_knots = c("sleepstudy", "Reaction ~ splines::bs(Days, knots = c(2, 5.5), degree = 2, intercept = TRUE) - 1 + (1 | Subject)",
    "Reaction ~ bs(Days, knots = c(2, 5.5), degree = 2, intercept = TRUE) - 1 + (1 | Subject)"),
  sleep_days = c("sleepstudy", "Reaction ~ I(Days > 1) * factor(Days %% 3) + (0 + I(Days > 4) | Subject)"),
  sleep_arithmetic = c("sleepstudy", "log(Reaction) ~ I(Days^2 / 2 - 1) + pmin(Days, 5) + pmax(0, Days - 5) + ifelse(Days > 3, sqrt(Days), -1) + (Days || Subject)"),
  sleep_factor_slope = c("sleepstudy_aug", "Reaction ~ Phase + (Phase | Subject)"),
  sleep_interact = c("sleepstudy_aug", "Reaction ~ Days * sex + (Days | Subject)"),
  sleep_no_intercept = c("sleepstudy_aug", "Reaction ~ 0 + Phase + sex + (0 + Phase + sex | Subject)"),
  sleep_numeric_first = c("sleepstudy_aug", "Reaction ~ 0 + Days + sex:Phase + Days:sex + (1 | Subject)"),
  sleep_unspanned = c("sleepstudy_aug", "Reaction ~ Phase:Days + sex:Days + (Phase:sex | Subject)"),
  sleep_relevel = c("sleepstudy_aug", "Reaction ~ relevel(Phase, 'early') + (1 | Subject)"),
  sleep_rankdef = c("sleepstudy_aug", "Reaction ~ Days + Days2 + (Days | Subject)"),
  sleep_rankdef_factor = c("sleepstudy_aug", "Reaction ~ Phase + I(Days > 1) + empty + (1 | Subject)"),
  sleep_phase_nested = c("sleepstudy_aug", "Reaction ~ Phase + (1 | Subject/Phase)"),
  sleep_na = c("sleepstudy_na", "Reaction ~ Days + grp2 + (Days | Subject)"),
  sleep_na_scale = c("sleepstudy_na", "Reaction ~ scale(Days) + grp2 + (Days | Subject)"),
  cake_main = c("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
  cake_ordered_slope = c("cake", "angle ~ 0 + recipe:temperature + (temperature | replicate)"),
  cake_helmert = c("cake", "angle ~ C(recipe, contr.helmert) + C(temperature, contr.SAS) + (1 | replicate)"),
  cake_base = c("cake", "angle ~ C(recipe, contr.treatment(3, base = 2)) + (1 | replicate)", "angle ~ C(recipe, contr.treatment(\"B\")) + (1 | replicate)"),
  cake_sdif = c("cake", "angle ~ C(temperature, MASS::contr.sdif) + (1 | replicate)", "angle ~ C(temperature, contr.sdif) + (1 | replicate)"),
  crossed_in = c("crossed_small", "y ~ f + x:f - 1 + (1 | b) + (1 | a)"),
  crossed_nestfixed = c("crossed_small", "y ~ f/x + (1 | a)"),
  crossed_star = c("crossed_small", "y ~ (x + f)^2 + (1 | a:b)"),
  crossed_three = c("crossed_small", "y ~ f * a * x + (f:x | b)"),
  crossed_slope = c("crossed_small", "y ~ 1 + (x:f + f | b) + (1 | a:b)"),
  orthodont_dummy = c("Orthodont", "distance ~ age * Sex + (0 + dummy(Sex, 'Male') | Subject) + (0 + dummy(Sex, 'Female') | Subject)"),
  ovary = c("Ovary", "follicles ~ sin(2*pi*Time) + cos(2*pi*Time) + (sin(2*pi*Time) || Mare)"),
  oats_factor = c("Oats", "yield ~ factor(nitro) * Variety + (1 | Block) + (1 | Block:Variety)"),
  oats_ordered = c("Oats", "yield ~ ordered(nitro) + (1 | Block)"),
  ergostool_sum = c("ergoStool", "effort ~ C(Type, contr.sum) + (1 | Subject)"),
  hetero_D_factor = c("hetero_sim", "log(VarH) ~ log(Var2) + log(Var3) + Var4 + Var5 + (Var8f - 1 || Var6)"),
  exam_quad = c("Exam", "normexam ~ standLRT + I(standLRT^2) + sex + (standLRT + sex | school)"),
  penicillin = c("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)")
)

probe <- function(M, rows) {
  M <- as.matrix(M); n <- nrow(M)
  list(rows = unname(lapply(rows, function(i) I(as.numeric(M[i, ])))), sums = I(unname(colSums(M))),
    weighted = I(as.numeric(crossprod(M, seq_len(n) / n))))
}
term <- function(re, k, rows) {
  J <- nlevels(re$flist[[attr(re$flist, "assign")[k]]]); p <- length(re$cnms[[k]])
  block <- as.matrix(re$Zt[re$Gp[k] + seq_len(J * p), , drop = FALSE])
  g <- as.integer(re$flist[[attr(re$flist, "assign")[k]]])
  values <- t(sapply(seq_along(g), function(i) block[(g[i] - 1) * p + seq_len(p), i]))
  if (p == 1) values <- t(values)
  c(list(group = names(re$cnms)[k], columns = I(re$cnms[[k]]), n_levels = J,
    levels = I(head(levels(re$flist[[attr(re$flist, "assign")[k]]]), 60)), codes = I(g[rows] - 1L), codes_sum = sum(g - 1)), probe(values, rows))
}
made <- list()
for (id in names(cases)) {
  case <- cases[[id]]; d <- read_typed(case[1])
  if (case[1] == "Exam") d <- d[seq(1, nrow(d), by = 20), ]
  f <- suppressMessages(suppressWarnings(lFormula(as.formula(case[2]), d, control = lmerControl(check.nobs.vs.nRE = "ignore", check.nobs.vs.nlev = "ignore", check.nobs.vs.rankZ = "ignore"))))
  n <- nrow(f$X); rows <- unique(round(seq(1, n, length.out = 25)))
  ours <- if (length(case) > 2) case[3] else case[2]
  made[[id]] <- list(dataset = case[1], formula = ours, r_formula = case[2], n = n, rows = I(rows - 1), columns = I(colnames(f$X)),
    dropped = I(as.character(names(attr(f$X, "col.dropped")))), assign = I(attr(f$X, "assign")), y = probe(model.response(f$fr), rows), X = probe(f$X, rows),
    random = unname(lapply(seq_along(f$reTrms$cnms), function(k) term(f$reTrms, k, rows))))
}
# one line for each case
lines <- sapply(names(made), function(id) paste0("  \"", id, "\": ", toJSON(made[[id]], auto_unbox = TRUE, digits = 17, null = "null")))
writeLines(c("{", paste(lines, collapse = ",\n"), "}"), "tests/design/reference/design.json")
