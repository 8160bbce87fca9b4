"""Coverage of the five kinds of intervals of random effects, by number of groups.

    python benchmarks/effect_intervals.py [--sims 1000] [--groups 3 4 5 8 20] [--kinds henderson corrected]

A group has five rows and errors variance one; so have intercepts, in the second design half that sd, and in the third
slopes have it. ``once`` is ``"corrected"`` with the first-order correction once, as glmmTMB has it.
"""

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

import ranef
from _ranef.inference import EFFECT_INTERVALS

ROWS, Z = 5, 1.959964

#: formula and standard deviations of the effects of a group, by design
DESIGNS = {
    "intercepts": ("y ~ 1 + (1 | g)", [1.0]),
    "small": ("y ~ 1 + (1 | g)", [0.5]),
    "slopes": ("y ~ x + (x | g)", [1.0, 0.5]),
}


def covered(design: str, groups: int, sims: int, kinds: Sequence[str]) -> pd.DataFrame:
    """Coverage, mean width and variance of intervals of 95 %, the squared error and share of fits on the boundary."""
    formula, sds = DESIGNS[design]
    rng, g = np.random.default_rng(groups), np.repeat(np.arange(groups), ROWS)
    x = np.tile(np.arange(ROWS) - 2.0, groups)
    found = []
    for seed in range(sims):
        b = rng.standard_normal((groups, len(sds))) * sds
        mean = b[g, 0] + (b[g, 1] * x if len(sds) > 1 else 0.0)
        data = {"y": mean + rng.standard_normal(len(g)), "x": x, "g": [f"g{k:03d}" for k in g]}
        fit = ranef.Model(formula, data).fit()
        error = ((fit.ranef()["estimate"] - b.ravel()) ** 2).mean()
        for kind, ends in intervals(fit, kinds, seed).items():
            inside = (ends["lower"] <= b.ravel()) & (b.ravel() <= ends["upper"])
            width = (ends["upper"] - ends["lower"]).mean()
            found.append((kind, inside.mean(), width, (ends["sd"] ** 2).mean(), error, fit.is_singular))
    frame = pd.DataFrame(found, columns=["interval", "coverage", "width", "variance", "error", "singular"])
    return frame.groupby("interval", sort=False).mean().round(3)


def intervals(fit: ranef.EmpiricalBayesFit, kinds: Sequence[str], seed: int) -> dict[str, pd.DataFrame]:
    """``sd, lower, upper`` by kind; a kind is left out of a fit that has none (few levels, or several effects)."""
    out = {}
    for kind in kinds:
        try:
            out[kind] = fit.ranef(interval=kind, n=200, seed=seed).rename(columns={EFFECT_INTERVALS[kind]: "sd"})
        except ranef.NotAvailableError:  # too few levels for the data to say anything, or several effects
            continue
    if {"henderson", "corrected"} <= set(out):
        center = out["henderson"]["estimate"]
        sd = np.sqrt(0.5 * (out["henderson"]["sd"] ** 2 + out["corrected"]["sd"] ** 2))
        out["once"] = pd.DataFrame({"sd": sd, "lower": center - Z * sd, "upper": center + Z * sd})
    return out


if __name__ == "__main__":
    warnings.simplefilter("ignore", ranef.RanefWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--sims", type=int, default=1000)
    parser.add_argument("--groups", type=int, nargs="+", default=[3, 4, 5, 8, 20])
    parser.add_argument("--kinds", nargs="+", default=list(EFFECT_INTERVALS), choices=list(EFFECT_INTERVALS))
    asked = parser.parse_args()
    for design in DESIGNS:
        for groups in asked.groups:
            print(f"{design}, {groups} groups\n{covered(design, groups, asked.sims, asked.kinds)}\n", flush=True)
