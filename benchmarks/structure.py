"""Residual structures: what strata and a pedigree cost beside the model without, and correlations beside nlme.

    python benchmarks/structure.py [--quick] [--limit 600]

Ours are timed in this process after one fit, from frame and formula to a complete fit, as the median of three; nlme's
`lme` runs in one process of `Rscript`, and what is timed is the call alone. All are CPU seconds. `criterion` is ours
less the other's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy

import ranef

SCRIPT = """
suppressMessages(library(nlme)); a <- commandArgs(TRUE); d <- read.csv(a[1]); d$g <- factor(d$g)
m <- NULL; s <- sum(system.time(m <- tryCatch(lme(y ~ x, d, ~1 | g, correlation = eval(parse(text = a[2]))),
  error = function(e) conditionMessage(e)))[c("user.self", "sys.self")])
if (is.character(m)) cat(sprintf('{"seconds": %.6f, "error": "%s"}', s, gsub('"', "", m))) else
  cat(sprintf('{"seconds": %.6f, "criterion": %.8f}', s, -2 * as.numeric(logLik(m))))
"""


def strata(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of 1000 groups and five strata whose standard deviations differ."""
    g, s = rng.integers(0, 1000, n), rng.integers(0, 5, n)
    x = rng.normal(size=n)
    y = 1 + 0.3 * x + 0.7 * rng.normal(size=1000)[g] + np.array([0.6, 0.8, 1.0, 1.3, 1.7])[s] * rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": g.astype(str), "s": np.array(list("abcde"))[s]})


def series(groups: int, size: int, rng: np.random.Generator, *, irregular: bool) -> pd.DataFrame:
    """Groups of rows with an autocorrelation of 0.6 a unit of time apart."""
    gaps = rng.uniform(0.2, 2.0, (groups, size)) if irregular else np.ones((groups, size))
    noise = rng.normal(size=(groups, size))
    for k in range(1, size):
        phi = 0.6 ** gaps[:, k]
        noise[:, k] = phi * noise[:, k - 1] + np.sqrt(1 - phi**2) * noise[:, k]
    x = rng.normal(size=(groups, size))
    y = 1 + 0.3 * x + 0.8 * rng.normal(size=(groups, 1)) + noise
    t = gaps.cumsum(axis=1) if irregular else np.tile(np.arange(size), (groups, 1))
    g = np.repeat(np.arange(groups), size).astype(str)
    return pd.DataFrame({"y": y.ravel(), "x": x.ravel(), "t": t.ravel(), "g": g})


def pedigree(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, ranef.Precision]:
    """Two rows of each of n animals in ten generations, a twentieth of each sires, and their inverse relationships."""
    size, rows, cols = n // 10, [], []
    for child in range(size, n):
        first = (child // size - 1) * size
        rows += [child, child]
        cols += [first + rng.integers(size // 20), first + size // 20 + rng.integers(size // 2)]
    T = scipy.sparse.eye_array(n) - scipy.sparse.coo_array((np.full(len(rows), 0.5), (rows, cols)), shape=(n, n))
    weights = np.where(np.arange(n) < size, 1.0, 2.0)
    b = scipy.sparse.linalg.spsolve(scipy.sparse.csc_array(T), rng.normal(size=n) / np.sqrt(weights))
    g, x = np.repeat(np.arange(n), 2), rng.normal(size=2 * n)
    y = 1 + 0.3 * x + 0.8 * b[g] + rng.normal(size=2 * n)
    P = scipy.sparse.csr_array(T.T @ scipy.sparse.diags_array(weights) @ T)
    return pd.DataFrame({"y": y, "x": x, "g": g.astype(str)}), ranef.Precision(P, range(n))


def nuts(sampler: str) -> tuple[float, float]:
    """Seconds of a sampling of the size of sleepstudy with strata and without, in turn, compiled code at hand."""
    data = ranef.datasets.load("sleepstudy")
    data["half"] = np.where(data["Days"] < 5, "first", "second")
    seconds: tuple[list[float], list[float]] = ([], [])
    for seed in range(8):
        for own, variance in zip(seconds, (ranef.VarIdent("half"), None), strict=True):
            model = ranef.Model("Reaction ~ Days + (Days | Subject)", data, variance=variance)
            begin = time.process_time()
            model.sample(seed=seed, sampler=sampler, progress=False)
            own.append(time.process_time() - begin)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def ours(data: pd.DataFrame, **structure: Any) -> tuple[float, float]:
    """Seconds and criterion."""
    seconds, fit = [], None
    for _ in range(4):
        begin = time.process_time()
        fit = ranef.Model("y ~ x + (1 | g)", data, **structure).fit()
        seconds.append(time.process_time() - begin)
    assert fit is not None
    return statistics.median(seconds[1:]), fit.criterion


def nlme(data: pd.DataFrame, correlation: str, limit: float) -> dict[str, Any]:
    """Seconds and criterion, or an error."""
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder, "data.csv"), Path(folder, "fit.R")
        data.to_csv(path, index=False)
        script.write_text(SCRIPT)
        command = ["Rscript", str(script), str(path), correlation]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError, FileNotFoundError) as error:
            return {"seconds": limit, "error": type(error).__name__}
        return json.loads(run.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which nlme is stopped")
    args = parser.parse_args()
    less, rng = 10 if args.quick else 1, np.random.default_rng(1)
    print(f"{'case':26s}{'rows':>9s}{'ours':>9s}{'other':>10s}  {'ratio':22s}{'criterion':>10s}")

    data = strata(1_000_000 // less, rng)
    plain, own = ours(data)[0], ours(data, variance=ranef.VarIdent("s"))[0]
    row = f"{'VarIdent, 5 strata':26s}{len(data):9d}{own:9.3f}{plain:10.3f}"
    print(f"{row}  {f'{own / plain:.1f} times without':22s}", flush=True)

    data, known = pedigree(5000 // less, rng)
    own, plain = ours(data, cov={"g": known})[0], ours(data)[0]
    row = f"{'pedigree, sparse inverse':26s}{len(data):9d}{own:9.3f}{plain:10.3f}"
    print(f"{row}  {f'{own / plain:.1f} times without':22s}", flush=True)

    for sampler in ("numpyro", "nutpie"):
        own, plain = nuts(sampler)
        row = f"{f'VarIdent by {sampler}':26s}{180:9d}{own:9.3f}{plain:10.3f}"
        print(f"{row}  {f'{own / plain:.1f} times without':22s}", flush=True)

    cases = {
        "AR1, 2000 groups of 50": (2000, 50, ranef.AR1("t", group="g"), "corAR1(form = ~ t | g)"),
        "CAR1, 200 groups of 10": (200, 10, ranef.CAR1("t", group="g"), "corCAR1(form = ~ t | g)"),
        "CAR1, 2000 groups of 50": (2000, 50, ranef.CAR1("t", group="g"), "corCAR1(form = ~ t | g)"),
    }
    for name, (groups, size, structure, theirs) in cases.items():
        data = series(groups // less, size, rng, irregular=isinstance(structure, ranef.CAR1))
        own, criterion = ours(data, correlation=structure)
        other = nlme(data, theirs, args.limit)
        row = f"{name:26s}{len(data):9d}{own:9.3f}{other['seconds']:10.3f}"
        ratio = f"{other['seconds'] / own:.1f} times faster"
        print(
            f"{row}  {ratio:22s}{other.get('error') or format(criterion - other['criterion'], '+.1e'):>10s}", flush=True
        )


if __name__ == "__main__":
    main()
