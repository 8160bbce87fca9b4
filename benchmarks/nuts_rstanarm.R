# stan_lmer in a process of its own: a child of nuts.py, which hands it a folder.
folder <- commandArgs(TRUE)[1]
now <- function() as.numeric(Sys.time())
job <- jsonlite::fromJSON(file.path(folder, "job.json"), simplifyVector = FALSE)
begin <- now()
suppressMessages(library(rstanarm))
imported <- now()
data <- as.data.frame(lapply(job$columns, function(m) {
  v <- readBin(file.path(folder, m$file), "double", job$rows)
  if (m$factor) factor(v) else v
}))
names(data) <- sapply(job$columns, function(m) m$name)
slopes <- job$fixef[names(job$fixef) != "Intercept"]
take <- function(k) sapply(slopes, function(p) p[[k]], USE.NAMES = FALSE)
coefficients <- if (length(slopes)) normal(take(1), take(2), autoscale = FALSE) else normal()
intercept <- normal(job$fixef$Intercept[[1]], job$fixef$Intercept[[2]], autoscale = FALSE)
aux <- student_t(job$sigma[[1]], 0, job$sigma[[2]], autoscale = FALSE)
built <- now()
for (k in 0:job$repeats) {
  start <- now()
  fit <- suppressWarnings(suppressMessages(stan_lmer(
    as.formula(job$formula), data,
    prior = coefficients, prior_intercept = intercept, prior_aux = aux, prior_covariance = decov(),
    chains = job$chains, cores = job$cores, iter = job$warmup + job$draws, warmup = job$warmup,
    seed = k + 1, refresh = 0
  )))
  end <- now()
  draws <- as.array(fit)
  writeBin(as.vector(draws), file.path(folder, paste0(k, ".draws")))
  write(jsonlite::toJSON(dimnames(draws)[[3]]), file.path(folder, paste0(k, ".names")))
  times <- list(import = imported - begin, build = built - imported, sample = end - start, total = end - job$started)
  cat(jsonlite::toJSON(times, auto_unbox = TRUE, digits = 6), "\n", sep = "")
}
