# Satterthwaite's degrees of freedom of terms with several columns, by lmerTest, in three codings of one factor.
#   Rscript 81_codings.R ../../../src/ranef/datasets/data/crossed_small.csv > ../codings.json
suppressMessages(library(lmerTest))
d <- read.csv(commandArgs(TRUE)[1], stringsAsFactors = TRUE)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.1, rhoend = 1e-11, maxfun = 1e5))
told <- function(levels, contrast) {
  d$f <- factor(d$f, levels = levels)
  fit <- lmer(y ~ f * x + (1 | a), d, contrasts = list(f = contrast), control = tight)
  types <- lapply(1:3, function(type) {
    found <- as.data.frame(anova(fit, type = type))
    list(type = type, term = rownames(found), statistic = found$`F value`, ddf = found$DenDF, p = found$`Pr(>F)`)
  })
  list(levels = levels, contrast = contrast, anova = types)
}
cases <- list(told(c("lo", "mid", "hi"), "contr.treatment"), told(c("hi", "lo", "mid"), "contr.treatment"),
              told(c("lo", "mid", "hi"), "contr.sum"))
versions <- list(R = paste(R.version$major, R.version$minor, sep = "."), lmerTest = as.character(packageVersion("lmerTest")))
cat(jsonlite::toJSON(list(cases = cases, versions = versions), digits = 12, auto_unbox = TRUE))
