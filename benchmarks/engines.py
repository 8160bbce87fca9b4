"""REML of rows in Parquet files beside DuckDB's own GROUP BY of the same five products, in one run.

    python benchmarks/engines.py [--rows 1e6 1e7 1e8 1e9] [--groups 100000] [--folder DIR] [--csv FILE]
    python benchmarks/engines.py --figure engines.png --csv FILE

The model is y ~ x + (1 + x | g). Files of the asked size are made in `folder` where there are none (8 bytes each for x
and y, 4 for g), a hundred million rows at most in each, written by DuckDB from its own random numbers, never in memory:
20 GB for a billion rows. The fit is everything from the relation to standard errors: levels, sums, search. Beside it is
DuckDB's query `SELECT g, count(*), sum(x), sum(y), sum(x*x), sum(x*y), sum(y*y) ... GROUP BY g` fetched as Arrow, the
better of `--runs` of each in turn, in seconds and in seconds of CPU, which other work on the machine does not lengthen.
Every size has a process of its own, whose `memory` is the greatest that was resident, all of Python and DuckDB
included. `--csv` keeps the numbers, from which `--figure` alone draws.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

import ranef

FIVE = "SELECT g, count(*), sum(x), sum(y), sum(x * x), sum(x * y), sum(y * y) FROM rows GROUP BY g"


#: rows of one file
PART = 100_000_000


def made(folder: Path, rows: int, groups: int) -> str:
    """The files, written where there are none, as DuckDB reads them."""
    place = folder / f"rows_{rows}_{groups}"
    place.mkdir(parents=True, exist_ok=True)
    for part, first in enumerate(range(0, rows, PART)):
        path, partial = place / f"{part}.parquet", place / "partial"
        if not path.exists():
            print(f"writing {path}", flush=True)
            normal = "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())"
            duckdb.sql(
                f"""COPY (
                  WITH drawn AS (
                    SELECT (random() * {groups})::INTEGER % {groups} AS g, {normal} AS x, {normal} AS e
                    FROM range({min(PART, rows - first)})
                  )
                  SELECT g, x, 5 + x / 2 + sin(g * 1.7) + cos(g * 2.3) * x / 2 + e AS y FROM drawn
                ) TO '{partial}' (FORMAT parquet)"""
            )
            partial.rename(path)
    return str(place / "*.parquet")


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, seconds, and seconds of CPU."""
    begin, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - begin, time.process_time() - cpu


def grouped(files: str) -> object:
    return duckdb.sql(FIVE.replace("rows", f"'{files}'", 1)).to_arrow_table()


def fitted(files: str) -> ranef.EmpiricalBayesFit:
    return ranef.Model("y ~ x + (1 + x | g)", duckdb.read_parquet(files)).fit()


def measured(files: str, rows: int, runs: int) -> dict[str, float]:
    """One row of the table, of this process."""
    duckdb.sql("SET memory_limit = '3GB'")
    found: dict[str, float] = {"rows": rows}
    best = {"": np.inf, "_cpu": np.inf}
    times = {what: dict(best) for what in ("group_by", "fit")}
    for _ in range(runs):
        for what, work in (("group_by", grouped), ("fit", fitted)):
            fit, *seconds = timed(partial(work, files))
            times[what] = {kind: min(own, times[what][kind]) for kind, own in zip(best, seconds, strict=True)}
    found |= {what + kind: own for what, kinds in times.items() for kind, own in kinds.items()}
    sds = zip(("sd_intercept", "sd_slope", "cor", "sigma"), fit.varcorr["sdcor"], strict=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found | {"memory": peak, **dict(sds)}


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Seconds, ratio and memory over rows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (times, ratio, memory) = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    rows = frame["rows"]
    for what, name, colour in (("group_by", "GROUP BY", "#0072B2"), ("fit", "model and fit", "#D55E00")):
        times.plot(rows, frame[f"{what}_cpu"], "o-", color=colour, label=name)
    times.set(title="Seconds of CPU", yscale="log")
    times.legend(frameon=False)
    for kind, name, style in (("_cpu", "CPU", "o-"), ("", "clock", "s--")):
        ratio.plot(rows, frame[f"fit{kind}"] / frame[f"group_by{kind}"], style, color="#009E73", label=name)
    ratio.axhline(2, color="0.6", lw=1)
    ratio.set(title="Ratio, fit to GROUP BY", ylim=(0, None))
    ratio.legend(frameon=False)
    memory.plot(rows, frame["memory"] / 1024, "o-", color="#CC79A7")
    memory.axhline(4, color="0.6", lw=1)
    memory.set(title="Peak memory of the process, GB", ylim=(0, 4.5))
    for axes in (times, ratio, memory):
        axes.set(xscale="log", xlabel="rows")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--groups", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--figure", type=Path, help="draw what --csv holds, and measure nothing")
    given = parser.parse_args()
    if given.figure is not None:
        draw(pd.read_csv(given.csv), given.figure)
        return
    found = []
    for rows in map(int, given.rows):
        files = made(given.folder, rows, given.groups)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
            found.append(own.submit(measured, files, rows, given.runs).result())
        frame = pd.DataFrame(found)
        frame["ratio"], frame["ratio_cpu"] = frame["fit"] / frame["group_by"], frame["fit_cpu"] / frame["group_by_cpu"]
        print(frame.tail(1).round(4).to_string(index=False), flush=True)
        if given.csv is not None:
            frame.to_csv(given.csv, index=False)


if __name__ == "__main__":
    main()
