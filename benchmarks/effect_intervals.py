"""Coverage of the five kinds of intervals of random effects, by number of groups.

    python benchmarks/effect_intervals.py [--sims 300]

Effects and errors have variance one; a group has five rows.
"""

import argparse
import warnings

import numpy as np
import pandas as pd

import ranef
from _ranef.inference import EFFECT_INTERVALS

ROWS = 5


def covered(groups: int, sims: int) -> pd.DataFrame:
    """Coverage and mean width of intervals of 95 %."""
    rng, g = np.random.default_rng(0), np.repeat(np.arange(groups), ROWS)
    found = []
    for seed in range(sims):
        b = rng.standard_normal(groups)
        data = {"y": b[g] + rng.standard_normal(len(g)), "g": [f"g{k:03d}" for k in g]}
        fit = ranef.Model("y ~ 1 + (1 | g)", data).fit()
        for kind in EFFECT_INTERVALS:
            ends = fit.ranef(interval=kind, n=100, seed=seed)
            inside = (ends["lower"] <= b) & (b <= ends["upper"])
            found.append((kind, inside.mean(), (ends["upper"] - ends["lower"]).mean()))
    frame = pd.DataFrame(found, columns=["interval", "coverage", "width"])
    return frame.groupby("interval", sort=False).mean().round(3)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ranef.RanefWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--sims", type=int, default=300)
    sims = parser.parse_args().sims
    for groups in (4, 8, 20):
        print(f"{groups} groups\n{covered(groups, sims)}\n", flush=True)
