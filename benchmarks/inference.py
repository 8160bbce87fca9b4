"""Speed of tests and intervals, beside R in the same run where it is there.

    python benchmarks/inference.py [--large]

CPU seconds of ranef, the median of three after one that compiles; seconds of R, once. R's are lme4's ``simulate`` with
``refit``, ``drop1``, ``confint`` and ``bootMer``, and pbkrtest's covariance where it is installed. ``--large`` adds the
variance parameters of InstEval, and the bootstrapped ratio of the soybean pair where ``RANEF_DATA`` has those data.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import ranef

R = r"""
suppressMessages(library(lme4)); a <- commandArgs(TRUE)
say <- function(what, e) cat(what, "\t", system.time(suppressMessages(e))[["elapsed"]], "\n", sep = "")
d <- read.csv(file.path(a[1], "pulp.csv")); d$operator <- factor(d$operator)
m <- suppressMessages(lmer(bright ~ 1 + (1 | operator), d, REML = FALSE)); n <- lm(bright ~ 1, d)
say("anova(test='bootstrap'), 1000, pulp", for (y in simulate(n, 1000, seed = 1)) {
  s <- suppressMessages(refit(m, y)); 2 * (logLik(s) - logLik(lm(y ~ 1))) })
o <- read.csv(file.path(a[1], "oats.csv"))
f <- lmer(yield ~ nitro * Variety + (1 | Block/Variety), o, REML = FALSE)
say("drop1, oats", drop1(f, test = "Chisq"))
s <- read.csv(file.path(a[1], "sleepstudy.csv")); s$Subject <- factor(s$Subject)
p <- lmer(Reaction ~ Days + (Days | Subject), s, REML = FALSE)
say("confint('profile'), sleepstudy", confint(p, quiet = TRUE))
say("bootstrap, 1000, sleepstudy", bootMer(p, function(m) c(fixef(m), as.data.frame(VarCorr(m))$sdcor), 1000, seed = 1))
w <- read.csv(file.path(a[1], "wide.csv"))
if (requireNamespace("pbkrtest", quietly = TRUE)) {
  g <- lmer(y ~ x * f + (x | g), w); say("Kenward and Roger, 5000 rows in 500 groups", pbkrtest::vcovAdj(g)) }
"""

Work = Iterator[tuple[str, Callable[[], object]]]


def timed(work: Callable[[], object]) -> float:
    """Median CPU seconds of three, after one that compiles and imports."""
    work()
    found = []
    for _ in range(3):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return statistics.median(found)


def wide() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    g = rng.integers(0, 500, 5000)
    data = pd.DataFrame({"g": g, "x": rng.normal(size=5000), "f": rng.choice(list("abc"), 5000)})
    data["y"] = (1 + rng.normal(size=500)[g]) * data["x"] + rng.normal(size=500)[g] + rng.normal(size=5000)
    return data


def again(fit: ranef.EmpiricalBayesFit) -> ranef.EmpiricalBayesFit:
    """The fit without what it has worked out."""
    return ranef.EmpiricalBayesFit(fit.spec, fit.estimates, fit.products)


def of_tests(pulp: pd.DataFrame, oats: pd.DataFrame, data: pd.DataFrame) -> Work:
    small, large = (ranef.Model(f"bright ~ 1{bar}", pulp).fit("ML") for bar in ("", " + (1 | operator)"))
    yield (
        "anova(test='bootstrap'), 1000, pulp",
        lambda: ranef.anova(small, large, test="bootstrap", nsim=1000, seed=1),
    )
    split = ranef.Model("yield ~ nitro * Variety + (1 | Block/Variety)", oats).fit("ML")
    yield "drop1, oats", lambda: again(split).drop1()
    first = ranef.Model("y ~ x * f + (x | g)", data).fit()
    yield "Kenward and Roger, 5000 rows in 500 groups", lambda: again(first).tidy(ddf="kenward-roger")
    yield "Satterthwaite, 5000 rows in 500 groups", lambda: again(first).tidy(ddf="satterthwaite")
    yield "CR2, 5000 rows in 500 groups", lambda: again(first).tidy(vcov="CR2")


def of_intervals(data: pd.DataFrame) -> Work:
    sleep = ranef.Model("Reaction ~ Days + (Days | Subject)", data).fit("ML")
    plain = ranef.Model("Reaction ~ Days + (1 | Subject)", data).fit()
    yield "confint('profile'), sleepstudy", lambda: again(sleep).confint(method="profile")
    yield "bootstrap, 1000, sleepstudy", lambda: sleep.bootstrap(1000, seed=1).confint()
    yield "bootstrap with BCa, 1000, sleepstudy", lambda: sleep.bootstrap(1000, seed=1).confint(interval="bca")
    yield "bootstrap of a statistic, 100, sleepstudy", lambda: sleep.bootstrap(100, lambda fit: fit.r2(), seed=1)
    yield "exact_rlrt, 100 000, sleepstudy", lambda: ranef.exact_rlrt(plain, seed=1)
    yield "ranef(interval='bootstrap'), sleepstudy", lambda: sleep.ranef(interval="bootstrap")
    yield "r2('bootstrap'), 1000, sleepstudy", lambda: sleep.r2("bootstrap", seed=1)
    yield (
        "predict(uncertainty='bootstrap'), sleepstudy",
        lambda: sleep.predict(interval="prediction", uncertainty="bootstrap"),
    )
    yield "power, 1000, sleepstudy", lambda: ranef.power(sleep, "Days", n_sim=1000, seed=1)


def of_large() -> Work:
    if os.environ.get("RANEF_DATA"):
        base, data = "mAqE ~ C(ID, contr.sum) + Date_num + I(Date_num^2)", ranef.datasets.load("soybean")
        small, large = (ranef.Model(f"{base}{bar}", data).fit("ML") for bar in ("", " + (1 | plot_number_year)"))
        yield (
            "anova(test='bootstrap'), 1000, soybean",
            lambda: ranef.anova(small, large, test="bootstrap", nsim=1000, seed=1),
        )
    fit = ranef.Model("y ~ 1 + service + (1|s) + (1|d) + (1|dept)", ranef.datasets.load("InstEval")).fit()
    sds = [name for name in fit.bootstrap(1).estimates.index if name.startswith(("sd(", "sigma"))]
    yield "confint('profile') of sds, InstEval", lambda: again(fit).confint(method="profile", parameters=sds)


def theirs(frames: dict[str, pd.DataFrame]) -> dict[str, float]:
    if shutil.which("Rscript") is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        for name, frame in frames.items():
            frame.to_csv(Path(folder) / f"{name}.csv", index=False)
        done = subprocess.run(["Rscript", "-e", R, folder], capture_output=True, text=True, check=True)
    return {name: float(seconds) for name, seconds in (line.split("\t") for line in done.stdout.splitlines())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true", help="profile InstEval's variance parameters, too")
    large = parser.parse_args().large
    warnings.simplefilter("ignore", ranef.RanefWarning)
    frames = {name.lower(): ranef.datasets.load(name) for name in ("pulp", "Oats", "sleepstudy")} | {"wide": wide()}
    work = [*of_tests(frames["pulp"], frames["oats"], frames["wide"]), *of_intervals(frames["sleepstudy"])]
    found = {what: timed(call) for what, call in [*work, *(of_large() if large else ())]}
    print(pd.DataFrame({"ranef": found, "R": theirs(frames)}).reindex(found).round(4).to_string(na_rep=""))


if __name__ == "__main__":
    main()
