"""Coverage of intervals of parameters, and the level of exact tests, in small one-way designs.

    python benchmarks/interval_coverage.py [--sims 300] [--groups 3 6 12 20]

Five rows a group; σ is one, the sd of the intercepts 0.7, and a covariate differs from row to row.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd

import ranef

ROWS, TRUE = 5, {"Intercept": 1.0, "x": 0.5, "sd(Intercept | g)": 0.7, "sigma": 1.0}
KINDS = ("percentile", "basic", "normal", "bca", "shortest")


def simulated(rng, groups, sd):
    g = np.repeat(np.arange(groups), ROWS)
    x = rng.standard_normal(len(g))
    y = TRUE["Intercept"] + TRUE["x"] * x + sd * rng.standard_normal(groups)[g] + rng.standard_normal(len(g))
    return {"y": y, "x": x, "g": [f"g{k:03d}" for k in g]}


def intervals(fit, seed):
    """Every kind of interval of every parameter that it is of."""
    boot = fit.bootstrap(200, seed=seed)
    return {
        "wald": fit.confint(),
        "profile": fit.confint(method="profile"),
        **{f"bootstrap {kind}": boot.confint(interval=kind) for kind in KINDS},
    }


def covered(groups, sims):
    rng, found = np.random.default_rng(groups), []
    for seed in range(sims):
        fit = ranef.Model("y ~ x + (1 | g)", simulated(rng, groups, TRUE["sd(Intercept | g)"])).fit()
        for kind, ends in intervals(fit, seed).items():
            for name, (lower, upper) in ends.iterrows():
                found.append((kind, name, lower <= TRUE[name] <= upper))
    frame = pd.DataFrame(found, columns=["interval", "parameter", "covered"])
    return frame.pivot_table("covered", "interval", "parameter", sort=False)[list(TRUE)]


def level(groups, sims):
    """Share of exact tests at the 5 % level that reject where there is no variance."""
    rng = np.random.default_rng(1000 + groups)
    p = [
        [
            ranef.exact_rlrt(ranef.Model("y ~ x + (1 | g)", data).fit(method), nsim=5000, seed=seed).p_value
            for method in ("REML", "ML")
        ]
        for seed, data in ((seed, simulated(rng, groups, 0.0)) for seed in range(sims))
    ]
    return (np.array(p) < 0.05).mean(axis=0)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ranef.RanefWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--sims", type=int, default=300)
    parser.add_argument("--groups", type=int, nargs="*", default=[3, 6, 12, 20])
    asked = parser.parse_args()
    for groups in asked.groups:
        start = time.time()
        print(f"{groups} groups\n{covered(groups, asked.sims).round(3).to_string()}")
        exact, ml = level(groups, 2 * asked.sims)
        print(f"level of the exact RLRT {exact:.3f}, LRT {ml:.3f}   ({time.time() - start:.0f} s)\n", flush=True)
