"""REML fits side by side with lme4, statsmodels and pyarrow on the same data in the same run.

    python benchmarks/reml.py [NAME ...] [--repeats 5] [--patience 30]

Every case runs in a process of its own. Wall time is from formula and frame to a complete fit: `cold` the first one in
the process, imports apart, `warm` the median of the following ones. lme4 (through Rscript, where it is installed) gets
the columns as binary files and is timed from data frame to fit, without the derivatives that its default adds; it is
stopped when it has taken `patience` times as long as ranef (and a minute at least), and then the ratio is a lower
bound. statsmodels runs where it is importable. The last column is our criterion less the other's at its own estimates.
Compare only numbers of one run: machines are noisy.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

import ranef
from _ranef.likelihood import evaluate, products_of, read_responses


@dataclass(frozen=True)
class Case:
    formula: str
    data: Callable[[], pd.DataFrame]
    other: str = "lme4"
    responses: int = 0


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


def ratings(rows: int, users: int, items: int) -> pd.DataFrame:
    """The shape of the 32-million-row set of ratings of films: long tails of users and of films, each pair once.

    Users have 16 ratings and more, a hundred in the middle and thousands at most; a fiftieth of films has a quarter.
    """
    rng = np.random.default_rng(7)
    eager = 20.0 + np.minimum(rng.lognormal(np.log(0.5 * rows / users), 1.2, users), items / 2)
    known = rng.lognormal(0.0, 2.0, items)
    pairs = np.zeros(0, dtype=np.int64)
    while len(pairs) < rows:
        missing = int(1.1 * (rows - len(pairs))) + 1000
        u, i = (np.searchsorted(np.cumsum(w / w.sum()), rng.random(missing)) for w in (eager, known))
        pairs = np.union1d(pairs, np.minimum(u, users - 1) * items + np.minimum(i, items - 1))
    pairs = np.sort(rng.choice(pairs, rows, replace=False))
    u, i = (pairs // items).astype(np.int32), (pairs % items).astype(np.int32)
    y = 3.5 + 0.43 * rng.normal(size=users)[u] + 0.5 * rng.normal(size=items)[i] + 0.85 * rng.normal(size=rows)
    return pd.DataFrame({"y": y, "u": u, "i": i})


def bundled(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: ranef.datasets.load(name)


def dietox(groups: int = 1000, times: int = 12) -> pd.DataFrame:
    """The shape of statsmodels' example of pigs weighed every week, with more pigs."""
    rng = np.random.default_rng(5)
    pig, week = np.repeat(np.arange(groups), times), np.tile(np.arange(1.0, times + 1), groups)
    u = rng.normal(size=(groups, 2)) @ np.array([[4.4, 0.1], [0.0, 0.6]])
    weight = 15.7 + 6.9 * week + u[pig, 0] + u[pig, 1] * week + 2.5 * rng.normal(size=pig.size)
    return pd.DataFrame({"weight": weight, "week": week, "pig": pig})


CASES = {
    "pulp": Case("bright ~ 1 + (1 | operator)", bundled("pulp")),
    "sleepstudy": Case("Reaction ~ Days + (Days | Subject)", bundled("sleepstudy")),
    "penicillin": Case("diameter ~ 1 + (1 | plate) + (1 | sample)", bundled("penicillin")),
    "pastes": Case("strength ~ 1 + (1 | sample) + (1 | batch)", bundled("pastes")),
    "insteval": Case("y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)", bundled("insteval")),
    "insteval-service": Case("y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept:service)", bundled("insteval")),
    "maximal": Case("y ~ a * b + (a * b | s) + (a * b | i)", maximal),
    "slopes-1e6": Case("y ~ x + (x | g)", slopes),
    "nested-1e6": Case("y ~ 1 + (1 | c) + (1 | s) + (1 | d)", nested),
    "lexical-2.75e6": Case("y ~ x + (1 | s) + (1 | w)", lexical),
    "ratings/16": Case("y ~ 1 + (1 | u) + (1 | i)", lambda: ratings(1_970_000, 12_559, 4_008)),
    "ratings": Case("y ~ 1 + (1 | u) + (1 | i)", lambda: ratings(31_500_000, 200_947, 16_034)),
    "dietox": Case("weight ~ week + (week | pig)", dietox, other="statsmodels"),
    "refit-pulp": Case("bright ~ 1 + (1 | operator)", bundled("pulp"), responses=1000),
    "refit-penicillin": Case("diameter ~ 1 + (1 | plate) + (1 | sample)", bundled("penicillin"), responses=1000),
    "refit-sleepstudy": Case("Reaction ~ Days + (Days | Subject)", bundled("sleepstudy"), responses=1000),
    "chunks-2e7": Case("y ~ x + (x | g)", slopes, other="pyarrow"),
}

COLUMNS = (
    ("case", -17),
    ("rows", 9),
    ("cold", 8),
    ("warm", 8),
    ("evals", 5),
    ("GB", 5),
    ("other", 12),
    ("seconds", 8),
    ("evals", 5),
    ("ratio", 7),
    ("criterion", 9),
)

LME4 = """
suppressMessages(library(lme4))
meta <- jsonlite::fromJSON("{folder}/meta.json", simplifyVector = FALSE)
read <- function(file, n) readBin(file.path("{folder}", file), "double", n)
data <- as.data.frame(lapply(meta$columns, function(m) {{
  v <- read(m$file, meta$rows)
  if (m$factor) factor(v) else v
}}))
names(data) <- sapply(meta$columns, function(m) m$name)
control <- lmerControl(calc.derivs = FALSE)
fit <- function() suppressMessages(lmer({formula}, data, control = control))
if (meta$responses == 0) {{
  times <- c()
  for (i in seq_len({repeats})) {{
    gc(FALSE); times <- c(times, system.time(m <- fit())[["elapsed"]])
  }}
  cat(median(times), m@optinfo$feval, sprintf("%.8f", REMLcrit(m)), "\n")
}} else {{
  m <- fit()
  Y <- matrix(read("responses.bin", meta$rows * meta$responses), meta$rows)
  theta <- matrix(0, length(getME(m, "theta")), meta$responses)
  again <- function(y) getME(suppressMessages(suppressWarnings(refit(m, y, control = control))), "theta")
  time <- system.time(for (i in seq_len(meta$responses)) theta[, i] <- again(Y[, i]))[["elapsed"]]
  cat(time, 0, sprintf("%.12f", theta), "\n")
}}
"""


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float, object]:
    """Seconds of the first call, the median of the following ones, and what the last one gave."""
    times: list[float] = []
    result: object = None
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begin)
    return times[0], statistics.median(times[1:]) if repeats else times[0], result


def ours(name: str, repeats: int, folder: Path) -> dict[str, object]:
    """What a child process measures of ranef."""
    case = CASES[name]
    if case.other == "pyarrow":
        return ours_in_chunks(case, folder, repeats)
    data = case.data()
    if case.responses:
        fit = ranef.Model(case.formula, data).fit()
        Y = np.asfortranarray(fit.simulate(case.responses, seed=1))
        Y.ravel(order="F").tofile(folder / "responses.bin")
        cold, warm, many = timed(lambda: fit.refit(Y), repeats)
        criterion, evaluations = many.criterion.tolist(), 0
    else:
        cold, warm, fit = timed(lambda: ranef.Model(case.formula, data).fit(), repeats)
        criterion, evaluations = fit.criterion, fit.optimizer.n_evaluations
    return {
        "rows": len(data),
        "cold": cold,
        "warm": warm,
        "criterion": criterion,
        "evaluations": evaluations,
        "gigabytes": peak(),
    }


def peak() -> float:
    status = Path("/proc/self/status").read_text()  # ru_maxrss is inherited from the parent process
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def ours_in_chunks(case: Case, folder: Path, repeats: int) -> dict[str, object]:
    import pyarrow.dataset as ds

    data = ds.dataset(folder / "data.parquet")
    cold, warm, fit = timed(lambda: ranef.Model(case.formula, data).fit(), repeats)
    return {
        "rows": fit.spec.n_obs,
        "cold": cold,
        "warm": warm,
        "criterion": fit.criterion,
        "evaluations": fit.optimizer.n_evaluations,
        "gigabytes": peak(),
    }


def write_parquet(folder: Path, rows: int = 20_000_000, groups: int = 50_000) -> None:
    """Twenty million rows, written a million at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, writer = np.random.default_rng(6), None
    u = rng.normal(size=(groups, 2)) @ np.array([[1.0, 0.3], [0.0, 0.5]])
    for _ in range(rows // 1_000_000):
        g, x = rng.integers(0, groups, 1_000_000), rng.normal(size=1_000_000)
        y = 1 + x + u[g, 0] + u[g, 1] * x + rng.normal(size=g.size)
        table = pa.table({"y": y, "x": x, "g": g})
        writer = writer or pq.ParquetWriter(folder / "data.parquet", table.schema)
        writer.write_table(table)
    writer.close()


def pyarrow_sums(folder: Path) -> object:
    """Read the columns of the chunks and sum two of them by group."""
    import pyarrow.dataset as ds

    table = ds.dataset(folder / "data.parquet").to_table(columns=["y", "x", "g"])
    return table.group_by("g").aggregate([("y", "sum"), ("x", "sum")])


def statsmodels_fit(case: Case, repeats: int) -> tuple[float, float, float]:
    """Seconds of MixedLM, and our criterion at its estimates."""
    import statsmodels.formula.api as smf

    data = case.data()
    fixed, bar = case.formula.split(" + (")
    columns, group = (part.strip(" )") for part in bar.split("|"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not always converge; the criterion shows it
        _, seconds, result = timed(
            lambda: smf.mixedlm(fixed, data, groups=data[group], re_formula=f"~{columns}").fit(reml=True), repeats
        )
    m = ranef.Model(case.formula, data)
    root = np.linalg.cholesky(np.asarray(result.cov_re) / result.scale)
    return seconds, 0, evaluate(m.products, m.products.scaling.inward((root,)), "REML").criterion


def lme4(name: str, repeats: int, limit: float, folder: Path) -> tuple[float, int, list[float]] | None:
    case = CASES[name]
    data = case.data()
    bars = case.formula.split("|")[1:]
    groups = {name for bar in bars for name in bar.split(")")[0].replace(":", " ").split()}
    columns = []
    for k, column in enumerate(data.columns):
        is_factor = column in groups or not pd.api.types.is_numeric_dtype(data[column])
        values = pd.factorize(data[column], sort=True)[0] if is_factor else data[column]
        np.asarray(values, dtype=float).tofile(folder / f"{k}.bin")
        columns.append({"name": column, "file": f"{k}.bin", "factor": is_factor})
    meta = {"rows": len(data), "columns": columns, "responses": case.responses}
    (folder / "meta.json").write_text(json.dumps(meta))
    script = LME4.format(folder=folder, formula=case.formula, repeats=repeats)
    try:
        out = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    seconds, evaluations, *numbers = out.stdout.split()
    found = [float(number) for number in numbers]
    # the criterion that lme4 1.1-31 prints after refit() is not that of its θ
    return float(seconds), int(evaluations), criteria_at(case, folder, found) if case.responses else found


def criteria_at(case: Case, folder: Path, thetas: list[float]) -> list[float]:
    """Our criterion of every response at the θ that was found for it."""
    model = ranef.Model(case.formula, case.data())
    spec, products = model.spec, model.products
    Y = np.fromfile(folder / "responses.bin").reshape(case.responses, spec.n_obs).T
    responses = read_responses(spec, products, Y)
    return [
        evaluate(products_of(products, responses, b), products.scaling.inward(spec.lambdas(theta)), "REML").criterion
        for b, theta in enumerate(np.reshape(thetas, (case.responses, spec.n_theta)))
    ]


def report(name: str, repeats: int, patience: float) -> list[str]:
    """One line of the table."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if case.other == "pyarrow":
            write_parquet(folder)
        command = [sys.executable, __file__, name, "--repeats", str(repeats), "--child", temporary]
        record = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        line = [name, str(record["rows"]), *(f"{record[k]:.4f}" for k in ("cold", "warm"))]
        line += [f"{record['evaluations'] or ''}", f"{record['gigabytes']:.2f}"]
        if case.other == "pyarrow":
            seconds = timed(lambda: pyarrow_sums(folder), repeats)[1]
            return [*line, "pyarrow", f"{seconds:.4f}", "", f"1/{record['warm'] / seconds:.1f}", ""]
        if case.other == "statsmodels":
            if find_spec("statsmodels") is None:
                return line
            found = statsmodels_fit(case, repeats)
            return [*line, "statsmodels", *compared(record, found[0], 0, [found[2]])]
        if not shutil.which("Rscript"):
            return line
        limit = max(60.0, patience * record["warm"])
        # a slow model is fitted by lme4 once, within the limit
        theirs = lme4(name, repeats if record["rows"] < 10_000 else 1, limit, folder)
        if theirs is None:
            return [*line, "lme4", f"> {limit:.0f}", "", f"> {limit / record['warm']:.0f}", ""]
        return [*line, "lme4", *compared(record, *theirs)]


def compared(record: dict[str, object], seconds: float, evaluations: int, criteria: list[float]) -> list[str]:
    excess = np.max(np.atleast_1d(record["criterion"]) - np.array(criteria))
    return [f"{seconds:.4f}", f"{evaluations or ''}", f"{seconds / record['warm']:.1f}", f"{excess:+.1e}"]


def aligned(cells: list[str]) -> str:
    padded = [*cells, *[""] * (len(COLUMNS) - len(cells))]
    widths = [width for _, width in COLUMNS]
    return " ".join(c.ljust(-w) if w < 0 else c.rjust(w) for c, w in zip(padded, widths, strict=True)).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(CASES) + "; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--patience", type=float, default=30.0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(CASES):
        parser.error(f"unknown: {', '.join(unknown)}")
    if options.child:
        print(json.dumps(ours(options.names[0], options.repeats, Path(options.child))))
        return
    print(aligned([name for name, _ in COLUMNS]))
    for name in options.names or CASES:
        print(aligned(report(name, options.repeats, options.patience)), flush=True)


if __name__ == "__main__":
    main()
