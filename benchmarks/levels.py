"""Levels of tests: how often each rejects at 5 per cent what is true, by number of groups.

    python benchmarks/levels.py [--sims 1000] [--groups 3 5 10 20] [--jobs 2]

Designs are small and unbalanced, as studies with few groups are: 2 to 8 rows a group, an intraclass correlation of a
third. Tested are a coefficient of groups (a treatment given to whole groups), the mean of random slopes, and a variance
that is zero. A level of 0.05 from 1000 simulations has a Monte Carlo standard error of 0.007.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pandas as pd

import ranef

LEVEL = 0.05

#: simulated ratios of each bootstrap
BOOTSTRAP = 199


def design(J: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of J groups, half of them treated."""
    g = np.repeat(np.arange(J), rng.integers(2, 9, J))
    return pd.DataFrame({"g": g, "z": (g % 2).astype(float), "x": rng.normal(size=len(g))})


def coefficient(J: int, seed: int) -> dict[str, float]:
    """P-values of a treatment of groups that does nothing."""
    rng = np.random.default_rng([1, J, seed])
    data = design(J, rng)
    data["y"] = np.sqrt(0.5) * rng.normal(size=J)[data["g"]] + rng.normal(size=len(data))
    model = ranef.Model("y ~ z + (1 | g)", data)
    large = model.fit()
    pair = ranef.Model("y ~ 1 + (1 | g)", data).fit("ML"), model.fit("ML")
    out = {name: large.test("z", ddf=ddf)["p"][0] for name, ddf in (("Wald", None), ("residual", "residual"))}
    out["Satterthwaite"] = large.test("z", ddf="satterthwaite")["p"][0]
    out["Kenward-Roger"] = large.test("z", ddf="kenward-roger")["p"][0]
    out["CR2"] = large.test("z", vcov="CR2")["p"][0]
    out["LRT"] = ranef.anova(*pair)["p"][1]
    out["bootstrap"] = ranef.anova(*pair, test="bootstrap", nsim=BOOTSTRAP, seed=seed)["p"][1]
    return out


def slope(J: int, seed: int) -> dict[str, float]:
    """P-values of a mean slope of zero, slopes varying by group."""
    rng = np.random.default_rng([2, J, seed])
    data = design(J, rng)
    while len(data) <= 2 * J:  # as many effects as rows
        data = design(J, rng)
    b = rng.normal(size=(J, 2)) * [0.7, 0.5]
    data["y"] = b[data["g"], 0] + b[data["g"], 1] * data["x"] + rng.normal(size=len(data))
    model = ranef.Model("y ~ x + (x | g)", data)
    large = model.fit()
    out = {"Wald": large.test("x")["p"][0], "Satterthwaite": large.test("x", ddf="satterthwaite")["p"][0]}
    out["Kenward-Roger"] = large.test("x", ddf="kenward-roger")["p"][0]
    out["CR2"] = large.test("x", vcov="CR2")["p"][0]
    out["LRT"] = ranef.anova(ranef.Model("y ~ 1 + (x | g)", data).fit("ML"), model.fit("ML"))["p"][1]
    return out


def variance(J: int, seed: int) -> dict[str, float]:
    """P-values of a variance between groups that is zero."""
    rng = np.random.default_rng([3, J, seed])
    data = design(J, rng)
    data["y"] = rng.normal(size=len(data))
    small, large = (ranef.Model(f"y ~ x{bar}", data).fit() for bar in ("", " + (1 | g)"))
    frame = ranef.anova(small, large)
    boot = ranef.anova(small, large, test="bootstrap", nsim=BOOTSTRAP, seed=seed)
    return {"LRT": frame["p"][1], "mixture": frame["p_mixture"][1], "bootstrap": boot["p"][1]}


TESTED = {"treatment of groups": coefficient, "mean of slopes": slope, "variance of zero": variance}


def _quietly(what: str, J: int, seed: int) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return TESTED[what](J, seed)


def levels(what: str, J: int, sims: int, jobs: int = 1) -> pd.Series:
    """Share of p-values at or below 5 per cent, by test."""
    run = partial(_quietly, what, J)
    if jobs == 1:
        found = [run(seed) for seed in range(sims)]
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(run, range(sims), chunksize=20))
    return (pd.DataFrame(found) <= LEVEL).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sims", type=int, default=1000)
    parser.add_argument("--groups", type=int, nargs="+", default=[3, 5, 10, 20])
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    for what in TESTED:
        found = {}
        for J in options.groups:
            found[J] = levels(what, J, options.sims, options.jobs)
            print(f"{what}, {J} groups: {found[J].to_dict()}", file=sys.stderr, flush=True)
        table = pd.DataFrame(found)
        table.columns.name = what
        print(table.round(3).to_string(), "\n", flush=True)


if __name__ == "__main__":
    main()
