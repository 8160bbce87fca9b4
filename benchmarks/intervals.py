"""Profiles, exact tests and bootstraps, beside lme4 in the same run where R is present.

python benchmarks/intervals.py [--large]
"""

import argparse
import shutil
import subprocess
import time
import warnings
from pathlib import Path

import ranef

SLEEP = Path(ranef.datasets.__file__).parent / "data" / "sleepstudy.csv"
R = f"""
suppressMessages(library(lme4))
d <- read.csv("{SLEEP}"); d$Subject <- factor(d$Subject)
m <- lmer(Reaction ~ Days + (Days | Subject), d, REML = FALSE)
say <- function(what, t) cat(sprintf("lme4   %-46s %8.2f s\\n", what, t[["elapsed"]]))
say("confint(profile), sleepstudy", system.time(suppressMessages(confint(m, quiet = TRUE))))
s <- function(m) c(fixef(m), as.data.frame(VarCorr(m))$sdcor)
say("100 bootstrap refits, sleepstudy", system.time(suppressMessages(bootMer(m, s, nsim = 100, seed = 1))))
"""


def timed(what, call):
    start = time.perf_counter()
    call()
    print(f"ranef  {what:46s} {time.perf_counter() - start:8.2f} s", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ranef.RanefWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true", help="profile InstEval's variance parameters, too")
    large = parser.parse_args().large
    sleep = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit("ML")
    plain = ranef.Model("Reaction ~ Days + (1 | Subject)", ranef.datasets.load("sleepstudy")).fit()
    timed("confint(profile), sleepstudy", lambda: sleep.confint(method="profile"))
    timed("1000 bootstrap refits with BCa, sleepstudy", lambda: sleep.bootstrap(1000).confint(interval="bca"))
    timed("100 bootstrap refits of a statistic, sleepstudy", lambda: sleep.bootstrap(100, lambda fit: fit.r2()))
    timed("exact RLRT, 100 000 simulations, sleepstudy", lambda: ranef.exact_rlrt(plain))
    timed("ranef(interval='bootstrap'), sleepstudy", lambda: sleep.ranef(interval="bootstrap"))
    if large:
        model = ranef.Model("y ~ 1 + service + (1|s) + (1|d) + (1|dept)", ranef.datasets.load("InstEval"))
        fit = model.fit()
        sds = [name for name in fit.bootstrap(1).estimates.index if name.startswith(("sd(", "sigma"))]
        timed("confint(profile) of sds, InstEval", lambda: fit.confint(method="profile", parameters=sds))
    if shutil.which("Rscript"):
        subprocess.run(["Rscript", "-e", R], check=False)
