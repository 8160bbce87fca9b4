"""Default posteriors against the truth and REML over everyday designs; simulation-based calibration cannot see a bad
default, for it draws its truths from it.

``python benchmarks/default_posteriors.py --sims 100 --out docs/default-posteriors.md`` writes the table. In every
simulation ten rows for each of 5 to 50 groups, y = (μ + b₀) + (β + b₁)(x − x̄) + ε in a unit drawn between 1e-6 and
1e6, with sds 1 of intercepts at the mean of x, 0.5 of slopes for each sd of x (0.25 in half of the simulations) and 1
of residuals, correlation 0.3, and the model ``y ~ x + (x | g)`` of the covariate as it was measured.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

import ranef

ROWS = 10
GROUPS = (5, 10, 20, 50)

#: covariates in the units people measure them in, a value for each row
COVARIATES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "calendar year": lambda rng, n: 2000.0 + np.tile(np.arange(ROWS), n // ROWS),
    "age in years": lambda rng, n: rng.uniform(20.0, 80.0, n).round(),
    "height in metres": lambda rng, n: rng.normal(1.7, 0.1, n).round(2),
    "percent": lambda rng, n: rng.uniform(90.0, 100.0, n).round(1),
    "0/1": lambda rng, n: rng.permutation(np.arange(n) % 2).astype(float),
}


def simulate(name: str, groups: int, seed: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Data, and the true values in the unit of the data; intercepts are those at the mean of x."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), ROWS)
    x = COVARIATES[name](rng, len(g))
    unit, spread = 10.0 ** rng.uniform(-6, 6), x.std()
    slope = (0.5, 0.25)[seed % 2]
    root = np.array([[1.0, 0.0], [0.3 * slope, slope * np.sqrt(1 - 0.09)]])
    b = rng.normal(size=(groups, 2)) @ root.T
    beta, mean = rng.normal(0.0, 0.5), rng.normal(0.0, 10.0)
    standard = (x - x.mean()) / spread
    y = unit * (mean + b[g, 0] + (beta + b[g, 1]) * standard + rng.normal(size=len(g)))
    truth = {"sd(Intercept)": unit, "sd(x)": unit * slope / spread, "beta(x)": unit * beta / spread, "sigma": unit}
    return pd.DataFrame({"y": y, "x": x, "g": g.astype(str)}), truth


def drawn(model: ranef.Model, seed: int) -> ranef.PosteriorFit:
    """Independent draws where they are to be had, else those of chains."""
    try:
        return model.sample(seed=seed, sampler="direct", progress=False)
    except ranef.FitError:
        return model.sample(seed=seed, sampler="nutpie", progress=False)


def once(name: str, groups: int, seed: int) -> list[dict[str, object]]:
    data, truth = simulate(name, groups, seed)
    model = ranef.Model("y ~ x + (x | g)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eb = model.fit()
        fb = drawn(model, seed)
    reml, mean = eb.varcorr["sdcor"].to_numpy(), float(data["x"].mean())
    theta, sigma = fb.draws.theta, fb.draws.sigma
    # by the root of D at the mean, which sums of squares of numbers of 1e6 would lose
    draws = {
        "sd(Intercept)": np.hypot(theta[..., 0] + mean * theta[..., 1], mean * theta[..., 2]) * sigma,
        "sd(x)": np.hypot(theta[..., 1], theta[..., 2]) * sigma,
        "beta(x)": fb.draws.beta[..., 1],
        "sigma": sigma,
    }
    t = eb.estimates.theta
    there = np.hypot(t[0] + mean * t[1], mean * t[2]) * eb.sigma
    found = {"sd(Intercept)": there, "sd(x)": reml[1], "beta(x)": eb.fixef["x"], "sigma": eb.sigma}
    rows = []
    for what, x in draws.items():
        low, middle, high = np.quantile(x, [0.025, 0.5, 0.975])
        scale = abs(truth[what]) if what != "beta(x)" else truth["sd(x)"]
        rows.append(
            {
                "covariate": name,
                "groups": groups,
                "parameter": what,
                "covered": low <= truth[what] <= high,
                "posterior": (middle - truth[what]) / scale,
                "REML": (found[what] - truth[what]) / scale,
                "ok": fb.ok,
            }
        )
    return rows


def table(results: pd.DataFrame) -> str:
    """Markdown: coverage of 95 % intervals and median relative errors, a row for each covariate and size."""
    grouped = results.groupby(["covariate", "groups", "parameter"], sort=False)
    cells = {
        "coverage": grouped["covered"].mean().map("{:.0%}".format),
        "error": grouped["posterior"].median().map("{:+.0%}".format),
        "REML": grouped["REML"].median().map("{:+.0%}".format),
    }
    shown = {"sd(x)": list(cells), "sd(Intercept)": list(cells), "beta(x)": ["coverage"], "sigma": ["coverage"]}
    head = ["covariate", "groups", *(f"{name}: {what}" for name, whats in shown.items() for what in whats)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for covariate, groups in dict.fromkeys(zip(results["covariate"], results["groups"], strict=True)):
        own = [cells[what][covariate, groups, name] for name, whats in shown.items() for what in whats]
        lines.append(f"| {' | '.join([covariate, str(groups), *own])} |")
    return "\n".join(lines)


HEADER = """# Default posteriors against the truth and REML

Simulation-based calibration draws its truths from the prior, so it cannot see a bad one. Here the truths are everyday
ones: `y ~ x + (x | g)` with ten rows for each group, x in the unit people measure it in, and y in a unit drawn between
1e-6 and 1e6. At the mean of x intercepts have sd 1, slopes 0.5 for each sd of x (0.25 in half of the simulations),
their correlation is 0.3, and residuals have sd 1, all in that unit.

*coverage* is the share of {sims} simulations in which the posterior's equal-tailed 95 % interval holds the truth (the
Monte-Carlo error of a cell is {error:.0%}); *error* the median error of the posterior median, and *REML* that of the
estimate, as a share of the truth. Intercepts are those at the mean of x. Over all cells the intervals hold {overall}.

Made by `python benchmarks/default_posteriors.py --sims {sims} --out docs/default-posteriors.md` with ranef {version},
{today} (4000 independent draws, `sampler="direct"`, and by nutpie where that refuses).

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sims", type=int, default=100)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results = []
    for name in COVARIATES:
        for groups in GROUPS:
            own = [row for seed in range(given.sims) for row in once(name, groups, seed)]
            results += own
            print(name, groups, f"ok {np.mean([r['ok'] for r in own]):.0%}", flush=True)
    frame = pd.DataFrame(results)
    whole = frame.groupby("parameter", sort=False)["covered"].mean()
    overall = ", ".join(f"{name} in {share:.1%}" for name, share in whole.items())
    error = np.sqrt(0.95 * 0.05 / given.sims)
    text = HEADER.format(
        sims=given.sims, overall=overall, error=error, version=ranef.__version__, today=date.today()
    ) + table(frame)
    if given.out:
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
