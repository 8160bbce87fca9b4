"""REML fits side by side with lme4, on the same data in the same run: ratios, evaluations, criterion, peak memory.

    python benchmarks/reml.py [NAME ...] [--repeats 5] [--lme4-limit 600]

Every model runs in a process of its own. Wall time is from formula and frame to a complete fit, after one warm-up fit
for the small ones. lme4 (through Rscript, where it is installed) gets the columns as binary files, and is timed from
data frame to fit. Compare only numbers of one run: the machine is noisy.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import ranef


@dataclass(frozen=True)
class Case:
    formula: str
    data: Callable[[], pd.DataFrame]
    warm: bool = False


def maximal(subjects: int = 200, items: int = 100) -> pd.DataFrame:
    """Subjects crossed with items, four random columns each: 20 variance parameters."""
    rng = np.random.default_rng(1)
    s, i = (v.ravel() for v in np.meshgrid(np.arange(subjects), np.arange(items), indexing="ij"))
    n = s.size
    a, b = rng.choice([-0.5, 0.5], n), rng.choice([-0.5, 0.5], n)
    X = np.column_stack([np.ones(n), a, b, a * b])
    effects = [rng.normal(size=(k, 4)) @ rng.normal(size=(4, 4)) * 0.4 for k in (subjects, items)]
    y = X @ [1.0, 0.5, 0.3, 0.2] + (X * effects[0][s]).sum(1) + (X * effects[1][i]).sum(1) + rng.normal(size=n)
    return pd.DataFrame({"y": y, "a": a, "b": b, "s": s, "i": i})


def slopes(n: int = 1_000_000, groups: int = 10_000) -> pd.DataFrame:
    """One factor with intercept and slope."""
    rng = np.random.default_rng(2)
    g, x = rng.integers(0, groups, n), rng.normal(size=n)
    u = rng.normal(size=(groups, 2)) @ np.array([[1.0, 0.3], [0.0, 0.5]])
    return pd.DataFrame({"y": 1 + x + u[g, 0] + u[g, 1] * x + rng.normal(size=n), "x": x, "g": g})


def nested(n: int = 1_000_000) -> pd.DataFrame:
    """Classes in schools in districts: 100 000, 10 000 and 500."""
    rng = np.random.default_rng(3)
    c = rng.permutation(np.arange(n) % 100_000)
    s, d = c // 10, c // 200
    y = rng.normal(size=100_000)[c] + rng.normal(size=10_000)[s] + rng.normal(size=500)[d] + rng.normal(size=n)
    return pd.DataFrame({"y": y, "c": c, "s": s, "d": d})


def lexical(n: int = 2_750_000, subjects: int = 80_000, words: int = 800) -> pd.DataFrame:
    """The shape of a crowd-sourced lexical-decision study: many subjects, few words each."""
    rng = np.random.default_rng(4)
    s, w = np.sort(rng.integers(0, subjects, n)), rng.integers(0, words, n)
    x = rng.normal(size=n)
    y = 0.2 * x + 0.5 * rng.normal(size=subjects)[s] + 0.3 * rng.normal(size=words)[w] + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "s": s, "w": w})


def bundled(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: ranef.datasets.load(name)


CASES = {
    "pulp": Case("bright ~ 1 + (1 | operator)", bundled("pulp"), warm=True),
    "sleepstudy": Case("Reaction ~ Days + (Days | Subject)", bundled("sleepstudy"), warm=True),
    "penicillin": Case("diameter ~ 1 + (1 | plate) + (1 | sample)", bundled("penicillin"), warm=True),
    "pastes": Case("strength ~ 1 + (1 | sample) + (1 | batch)", bundled("pastes"), warm=True),
    "insteval": Case("y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)", bundled("insteval")),
    "insteval-service": Case("y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept:service)", bundled("insteval")),
    "maximal": Case("y ~ a * b + (a * b | s) + (a * b | i)", maximal),
    "slopes-1e6": Case("y ~ x + (x | g)", slopes),
    "nested-1e6": Case("y ~ 1 + (1 | c) + (1 | s) + (1 | d)", nested),
    "lexical-2.75e6": Case("y ~ x + (1 | s) + (1 | w)", lexical),
}

LME4 = """
suppressMessages(library(lme4))
meta <- jsonlite::fromJSON("{folder}/meta.json", simplifyVector = FALSE)
data <- as.data.frame(lapply(meta$columns, function(m) {{
  v <- readBin(file.path("{folder}", m$file), "double", meta$rows)
  if (m$factor) factor(v) else v
}}))
names(data) <- sapply(meta$columns, function(m) m$name)
times <- c()
for (i in seq_len({repeats})) {{
  gc(FALSE); t <- system.time(m <- lmer({formula}, data, control = lmerControl(calc.derivs = FALSE)))[["elapsed"]]
  times <- c(times, t)
}}
cat(median(times), sprintf("%.8f", REMLcrit(m)), m@optinfo$feval, "\\n")
"""


def ours(name: str, repeats: int) -> dict[str, float]:
    case = CASES[name]
    data = case.data()
    if case.warm:
        ranef.Model(case.formula, data).fit()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        fit = ranef.Model(case.formula, data).fit()
        times.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "seconds": statistics.median(times),
        "criterion": fit.criterion,
        "evaluations": fit.optimizer.n_evaluations,
        "gigabytes": peak,
    }


def lme4(name: str, repeats: int, limit: float) -> tuple[float, float, int] | None:
    case = CASES[name]
    data = case.data()
    bars = case.formula.split("|")[1:]
    groups = {name for bar in bars for name in bar.split(")")[0].replace(":", " ").split()}
    with tempfile.TemporaryDirectory() as folder:
        columns = []
        for k, column in enumerate(data.columns):
            is_factor = column in groups or not pd.api.types.is_numeric_dtype(data[column])
            values = pd.factorize(data[column], sort=True)[0] if is_factor else data[column]
            np.asarray(values, dtype=float).tofile(Path(folder) / f"{k}.bin")
            columns.append({"name": column, "file": f"{k}.bin", "factor": is_factor})
        (Path(folder) / "meta.json").write_text(json.dumps({"rows": len(data), "columns": columns}))
        script = LME4.format(folder=folder, formula=case.formula, repeats=repeats)
        command = ["Rscript", "-e", script]
        try:
            out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return None
    seconds, criterion, evaluations = out.stdout.split()[-3:]
    return float(seconds), float(criterion), int(evaluations)


def report(name: str, repeats: int, limit: float) -> str:
    command = [sys.executable, __file__, name, "--repeats", str(repeats), "--child"]
    record = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    line = f"{name:17s} {record['seconds']:9.4f} {record['evaluations']:6.0f} {record['gigabytes']:6.2f}"
    if not shutil.which("Rscript"):
        return line
    theirs = lme4(name, repeats, limit)
    if theirs is None:
        return f"{line}  lme4 did not finish in {limit:.0f} s"
    seconds, criterion, evaluations = theirs
    excess = record["criterion"] - criterion
    return f"{line} {seconds:9.4f} {evaluations:6d} {seconds / record['seconds']:7.1f} {excess:+.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*CASES, []], default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lme4-limit", type=float, default=600.0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(ours(options.names[0], options.repeats)))
        return
    heads = zip(("ranef s", "evals", "GB", "lme4 s", "evals", "ratio"), (9, 6, 6, 9, 6, 7), strict=True)
    print(f"{'model':17s} {' '.join(h.rjust(w) for h, w in heads)} criterion - lme4's")
    for name in options.names:
        print(report(name, options.repeats, options.lme4_limit), flush=True)


if __name__ == "__main__":
    main()
