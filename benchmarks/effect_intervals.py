"""Coverage of the five kinds of intervals of random effects, by number of groups.

    python benchmarks/effect_intervals.py [--sims 1000] [--groups 3 4 5 8 20]

A group has five rows and errors variance one; so have intercepts, and in the second design slopes of half their sd.
"""

import argparse
import warnings

import numpy as np
import pandas as pd

import ranef
from _ranef.inference import EFFECT_INTERVALS

ROWS = 5

#: formula and standard deviations of the effects of a group, by design
DESIGNS = {"intercepts": ("y ~ 1 + (1 | g)", [1.0]), "slopes": ("y ~ x + (x | g)", [1.0, 0.5])}


def covered(design: str, groups: int, sims: int) -> pd.DataFrame:
    """Coverage and mean width of intervals of 95 %; the share of fits on the boundary beside them."""
    formula, sds = DESIGNS[design]
    rng, g = np.random.default_rng(groups), np.repeat(np.arange(groups), ROWS)
    x = np.tile(np.arange(ROWS) - 2.0, groups)
    found = []
    for seed in range(sims):
        b = rng.standard_normal((groups, len(sds))) * sds
        mean = b[g, 0] + (b[g, 1] * x if len(sds) > 1 else 0.0)
        data = {"y": mean + rng.standard_normal(len(g)), "x": x, "g": [f"g{k:03d}" for k in g]}
        fit = ranef.Model(formula, data).fit()
        for kind in EFFECT_INTERVALS if len(sds) == 1 else list(EFFECT_INTERVALS)[:4]:
            try:
                ends = fit.ranef(interval=kind, n=200, seed=seed)
            except ranef.NotAvailableError:  # too few levels for the data to say anything
                found.append((kind, 1.0, np.nan, fit.is_singular))
                continue
            inside = (ends["lower"] <= b.ravel()) & (b.ravel() <= ends["upper"])
            found.append((kind, inside.mean(), (ends["upper"] - ends["lower"]).mean(), fit.is_singular))
    frame = pd.DataFrame(found, columns=["interval", "coverage", "width", "singular"])
    return frame.groupby("interval", sort=False).mean().round(3)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ranef.RanefWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--sims", type=int, default=1000)
    parser.add_argument("--groups", type=int, nargs="+", default=[3, 4, 5, 8, 20])
    asked = parser.parse_args()
    for design in DESIGNS:
        for groups in asked.groups:
            print(f"{design}, {groups} groups\n{covered(design, groups, asked.sims)}\n", flush=True)
