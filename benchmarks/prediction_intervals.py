"""Coverage of prediction intervals by what they count as uncertain, by number of groups.

    python benchmarks/prediction_intervals.py [--sims 1000] [--groups 3 5 10 20] [--posterior]

`y ~ x + (1 | g)`, five rows a group; errors and effects have variance one. Predicted are the mean of a known group, a
new response in it, and one of a new group.
"""

import argparse
import warnings

import numpy as np
import pandas as pd

import ranef

ROWS, LAYERS = 5, ("plugin", "fixef", "corrected", "bootstrap")


def covered(groups: int, sims: int, *, posterior: bool = False) -> pd.DataFrame:
    """Coverage of 95 % intervals: rows are layers, columns what is predicted."""
    rng, g, found = np.random.default_rng(groups), np.repeat(np.arange(groups), ROWS), []
    for seed in range(sims):
        b, x = rng.standard_normal(groups), rng.standard_normal(len(g))
        names = np.array([f"g{k:03d}" for k in g])
        y = 1.0 + 0.5 * x + b[g] + rng.standard_normal(len(g))
        model = ranef.Model("y ~ x + (1 | g)", {"y": y, "x": x, "g": names})
        fit, new = model.fit(), {"x": [0.5, 0.5], "g": ["g000", "new"]}
        known, fresh = 1.25 + b[0], 1.25 + rng.standard_normal()
        truth = {"mean": [known, np.nan], "response": [known + rng.standard_normal(), fresh + rng.standard_normal()]}
        asked = [(fit, layer) for layer in LAYERS]
        if posterior:
            asked.append(
                (model.sample(draws=250, warmup=250, seed=seed, sampler="nutpie", progress=False), "posterior")
            )
        for own, layer in asked:
            for interval, name in (("confidence", "mean"), ("prediction", "response")):
                ends = own.predict(new, interval=interval, uncertainty=layer, n=200, seed=seed)
                inside = (ends["lower"] <= truth[name]) & (truth[name] <= ends["upper"])
                found += [(layer, name, inside[0])] + (
                    [(layer, "response of a new group", inside[1])] if name != "mean" else []
                )
    frame = pd.DataFrame(found, columns=["uncertainty", "predicted", "covered"])
    return frame.pivot_table("covered", "uncertainty", "predicted", sort=False).astype(float).round(3)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ranef.RanefWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--sims", type=int, default=1000)
    parser.add_argument("--groups", type=int, nargs="+", default=[3, 5, 10, 20])
    parser.add_argument("--posterior", action="store_true")
    options = parser.parse_args()
    for groups in options.groups:
        print(f"{groups} groups\n{covered(groups, options.sims, posterior=options.posterior)}\n", flush=True)
