"""Coverage of intervals of conditional modes beside posterior ones: responses of zeros and ones, by rows of a cluster.

    python benchmarks/conditional_modes.py [--sims 200 60] [--clusters 10 40] [--rows 1 2 5 10 30] [--trials 1 10]
        [--csv modes.csv] [--figure modes.png]

logit(p) = -0.5 + b of each cluster, b ~ N(0, 1), each row one trial or ten. The intervals of 95 % are those of
``fit.ranef()``, a normal one round the mode at θ̂ and β̂, and the equal-tailed one of 400 draws of the posterior with
default priors. One-sided clusters are those of failures alone, or successes alone. Standard errors are those of means
over simulations, which are what is independent; `--csv` keeps every cell, `--figure` alone draws it again.
"""

import argparse
import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import ranef

INTERCEPT, SD = -0.5, 1.0

#: means over clusters of one simulation, of each engine
MEASURES = ("coverage", "width", "below", "above")

COLOURS = {"plug-in": "#0072B2", "posterior": "#D55E00"}


def simulated(rng: np.random.Generator, clusters: int, rows: int, trials: int) -> tuple[dict, np.ndarray]:
    """A data set, and the true effects of its clusters."""
    b, g = SD * rng.standard_normal(clusters), np.repeat(np.arange(clusters), rows)
    k = rng.binomial(trials, 1.0 / (1.0 + np.exp(-INTERCEPT - b[g])))
    return {"k": k, "n": np.full(len(g), trials), "g": [f"g{j:03d}" for j in g]}, b


def measured(ends: pd.DataFrame, b: np.ndarray, one_sided: np.ndarray) -> dict[str, float]:
    """Of the intervals of one fit; the truth is `below` the lower ends, or `above` the upper."""
    below, above = b < ends["lower"].to_numpy(), b > ends["upper"].to_numpy()
    inside = ~(below | above)
    return {
        "coverage": inside.mean(),
        "width": float((ends["upper"] - ends["lower"]).mean()),
        "below": below.mean(),
        "above": above.mean(),
        "one_sided": inside[one_sided].mean() if one_sided.any() else np.nan,
    }


def cell(clusters: int, rows: int, trials: int, sims: int) -> pd.DataFrame:
    """One row for each engine: means of the measures over simulations, and standard errors of the coverage."""
    rng, found = np.random.default_rng([clusters, rows, trials]), []
    for seed in range(sims):
        data, b = simulated(rng, clusters, rows, trials)
        total = pd.Series(data["k"]).groupby(data["g"]).sum().to_numpy()
        one_sided = (total == 0) | (total == rows * trials)
        try:
            model = ranef.Model("cbind(k, n - k) ~ 1 + (1 | g)", data, family="binomial")
            fit = model.fit()
        except ranef.FitError:  # all rows of all clusters are alike
            continue
        posterior = model.sample(draws=400, warmup=300, chains=1, seed=seed, init=fit, progress=False)
        own = {"share_one_sided": one_sided.mean(), "zero_variance": fit.is_singular}
        for name, what in (("plug-in", fit), ("posterior", posterior)):
            found.append({"interval": name, **own, **measured(what.ranef(), b, one_sided)})
    frame = pd.DataFrame(found)
    by = frame.groupby("interval")
    out = by.mean(numeric_only=False).astype(float)
    out["coverage_se"] = by["coverage"].std() / np.sqrt(by["coverage"].count())
    out["one_sided_se"] = by["one_sided"].std() / np.sqrt(by["one_sided"].count())
    out["sims"] = by.size()
    return out.reset_index().assign(clusters=clusters, rows=rows, trials=trials)


def draw(table: pd.DataFrame, path: Path) -> None:
    """A panel for each number of clusters and of trials: coverage by rows of a cluster, with two standard errors."""
    from matplotlib import pyplot as plt

    cells = table.groupby(["trials", "clusters"], sort=True)
    figure, axes = plt.subplots(
        table["trials"].nunique(), table["clusters"].nunique(), figsize=(8.6, 6.2), sharex=True, sharey=True
    )
    for ax, ((trials, clusters), part) in zip(np.ravel(axes), cells, strict=True):
        ax.axhline(95, color="black", linewidth=0.9, linestyle="--")
        for (name, colour), mark in zip(COLOURS.items(), "os", strict=True):
            own = part[part["interval"] == name].sort_values("rows")
            x = own["rows"].to_numpy() * (0.97 if mark == "o" else 1.03)
            ax.errorbar(
                x, 100 * own["coverage"], 200 * own["coverage_se"], color=colour, marker=mark, capsize=3, label=name
            )
            ax.plot(x, 100 * own["one_sided"], color=colour, marker=mark, markerfacecolor="white", linestyle=":")
        ax.set_xscale("log")
        ticks = sorted(table["rows"].unique())
        ax.set_xticks(ticks, map(str, ticks))
        ax.minorticks_off()
        what = "zeros and ones" if trials == 1 else f"{trials} trials a row"
        ax.set_title(f"{clusters} clusters, {what}", fontsize="medium")
    for ax in np.atleast_2d(axes)[-1]:
        ax.set_xlabel("rows of a cluster")
    for ax in np.atleast_2d(axes)[:, 0]:
        ax.set_ylabel("% of true effects inside")
    first = np.ravel(axes)[0]
    first.plot([], [], color="grey", linestyle=":", marker="o", markerfacecolor="white", label="one-sided clusters")
    first.legend(frameon=False, fontsize="small", loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def shown(table: pd.DataFrame) -> str:
    """The table in Markdown, coverages in percent with their standard errors."""
    keys = ["trials", "clusters", "rows"]
    lines = [
        "| trials | clusters | rows | one-sided | σ̂ = 0 | plug-in % | posterior % | of one-sided: plug-in | posterior "
        "| width: plug-in | posterior |",
        "| --- " * 11 + "|",
    ]
    for key, part in table.groupby(keys):
        own = part.set_index("interval")
        a, b = own.loc["plug-in"], own.loc["posterior"]
        coverages = [f"{100 * x['coverage']:.1f} ± {100 * x['coverage_se']:.1f}" for x in (a, b)]
        of_one = [
            f"{100 * x['one_sided']:.0f} ± {100 * x['one_sided_se']:.0f}" if x["one_sided_se"] > 0 else "–"
            for x in (a, b)
        ]
        shares = [f"{100 * a['share_one_sided']:.0f} %", f"{100 * a['zero_variance']:.0f} %"]
        widths = [f"{x['width']:.2f}" for x in (a, b)]
        lines.append("| " + " | ".join([*map(str, key), *shares, *coverages, *of_one, *widths]) + " |")
    return "\n".join(lines)


def run(sims: Sequence[int], clusters: Sequence[int], rows: Sequence[int], trials: Sequence[int]) -> pd.DataFrame:
    """All cells, told as they end; `sims` by number of clusters."""
    out = []
    for J, n in zip(clusters, sims, strict=True):
        for m, t in product(rows, trials):
            if m * t > 1:  # of single zeros and ones a variance is not identified
                out.append(cell(J, m, t, n))
                print(shown(out[-1]).splitlines()[-1], flush=True)
    return pd.concat(out, ignore_index=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ranef.RanefWarning)
    parser = argparse.ArgumentParser()
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--sims", type=int, nargs="+", default=[200, 60], help="simulations, for each of --clusters")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 5, 10, 30])
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--csv", type=Path, default=None)
    parser.add_argument("--figure", type=Path, default=None)
    asked = parser.parse_args()
    if asked.csv is not None and asked.csv.exists() and asked.figure is not None:
        frame = pd.read_csv(asked.csv)
    else:
        frame = run(asked.sims, asked.clusters, asked.rows, asked.trials)
        if asked.csv is not None:
            frame.to_csv(asked.csv, index=False)
    print(shown(frame))
    if asked.figure is not None:
        draw(frame, asked.figure)
