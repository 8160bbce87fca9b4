"""Speed of tests, beside R in the same run where it is there.

    python benchmarks/tests.py

Bootstrapped likelihood ratios of pulp (1000), degrees of freedom of 5000 rows in 500 groups, and the model of a split
plot without each term. R's are lme4's ``simulate`` with ``refit``, and ``drop1``; lmerTest's and pbkrtest's degrees of
freedom only where those are installed. Process CPU seconds, the median of three.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import ranef

R = r"""
suppressMessages(library(lme4)); a <- commandArgs(TRUE)
say <- function(what, e) cat(what, system.time(e)[["elapsed"]], "\n")
d <- read.csv(file.path(a[1], "pulp.csv")); d$operator <- factor(d$operator)
m <- suppressMessages(lmer(bright ~ 1 + (1 | operator), d, REML = FALSE)); n <- lm(bright ~ 1, d)
say("bootstrap-pulp", for (y in simulate(n, 1000, seed = 1)) {
  s <- suppressMessages(refit(m, y)); 2 * (logLik(s) - logLik(lm(y ~ 1))) })
o <- read.csv(file.path(a[1], "oats.csv"))
f <- lmer(yield ~ nitro * Variety + (1 | Block/Variety), o, REML = FALSE)
say("drop1-oats", drop1(f, test = "Chisq"))
w <- read.csv(file.path(a[1], "wide.csv"))
if (requireNamespace("pbkrtest", quietly = TRUE)) {
  g <- lmer(y ~ x * f + (x | g), w); say("kenward-roger-5000", pbkrtest::vcovAdj(g)) }
"""


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


def ours(pulp: pd.DataFrame, oats: pd.DataFrame, data: pd.DataFrame) -> dict[str, float]:
    small, large = (ranef.Model(f"bright ~ 1{bar}", pulp).fit("ML") for bar in ("", " + (1 | operator)"))
    split = ranef.Model("yield ~ nitro * Variety + (1 | Block/Variety)", oats)
    model = ranef.Model("y ~ x * f + (x | g)", data)
    first = model.fit()

    def again() -> ranef.EmpiricalBayesFit:  # without what the fit has worked out
        return ranef.EmpiricalBayesFit(first.spec, first.estimates, first.products)

    return {
        "bootstrap-pulp": timed(lambda: ranef.anova(small, large, test="bootstrap", nsim=1000, seed=1)),
        "drop1-oats": timed(lambda: split.fit("ML").drop1()),
        "kenward-roger-5000": timed(lambda: again().tidy(ddf="kenward-roger")),
        "satterthwaite-5000": timed(lambda: again().tidy(ddf="satterthwaite")),
        "cr2-5000": timed(lambda: again().tidy(vcov="CR2")),
    }


def theirs(pulp: pd.DataFrame, oats: pd.DataFrame, data: pd.DataFrame) -> dict[str, float]:
    if shutil.which("Rscript") is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        for name, frame in (("pulp", pulp), ("oats", oats), ("wide", data)):
            frame.to_csv(Path(folder) / f"{name}.csv", index=False)
        done = subprocess.run(["Rscript", "-e", R, folder], capture_output=True, text=True, check=True)
    return {name: float(seconds) for name, seconds in (line.split() for line in done.stdout.splitlines())}


def main() -> None:
    data = ranef.datasets.load("pulp"), ranef.datasets.load("Oats"), wide()
    table = pd.DataFrame({"ranef": ours(*data), "R": theirs(*data)})
    print(table.round(4).to_string(na_rep=""))


if __name__ == "__main__":
    main()
