"""REML of rows in a Parquet file beside DuckDB's own GROUP BY of the same five products, in one run.

    python benchmarks/engines.py [--rows 1e6 1e7 1e8] [--groups 100000] [--folder DIR]

The model is y ~ x + (1 + x | g). A file of the asked size is made in `folder` where there is none (8 bytes each for x
and y, 4 for g), written by DuckDB from its own random numbers, never in memory. `ratio` is the time from the relation
to a complete fit, levels, sums, search and standard errors included, over that of DuckDB's query `SELECT g, count(*),
sum(x), sum(y), sum(x*x), sum(x*y), sum(y*y) ... GROUP BY g` fetched as Arrow, the better of two runs of each. `memory`
is the growth of this process's resident set during the fit, its peak less what was there before.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb

import ranef

FIVE = "SELECT g, count(*), sum(x), sum(y), sum(x * x), sum(x * y), sum(y * y) FROM rows GROUP BY g"


def made(folder: Path, rows: int, groups: int) -> Path:
    """The file, written where there is none."""
    path = folder / f"rows_{rows}_{groups}.parquet"
    if not path.exists():
        print(f"writing {path}", flush=True)
        normal = "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())"
        duckdb.sql(
            f"""COPY (
              WITH drawn AS (
                SELECT (random() * {groups})::INTEGER % {groups} AS g, {normal} AS x, {normal} AS e FROM range({rows})
              )
              SELECT g, x, 5 + x / 2 + sin(g * 1.7) + cos(g * 2.3) * x / 2 + e AS y FROM drawn
            ) TO '{path}' (FORMAT parquet)"""
        )
    return path


def better(work: Callable[[], object]) -> tuple[float, object]:
    """The shorter time of two runs, and what the last gave."""
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - begin)
    return min(times), found


def grouped(path: Path) -> object:
    return duckdb.sql(FIVE.replace("rows", f"'{path}'", 1)).to_arrow_table()


def fitted(path: Path) -> ranef.EmpiricalBayesFit:
    return ranef.Model("y ~ x + (1 + x | g)", duckdb.read_parquet(str(path))).fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--groups", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    print(f"{'rows':>14} {'GROUP BY, s':>12} {'fit, s':>8} {'ratio':>6} {'memory, MB':>11}  sds and σ")
    for rows in map(int, given.rows):
        path = made(given.folder, rows, given.groups)
        fitted(path)  # whatever is loaded late
        own, _ = better(partial(grouped, path))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        took, fit = better(partial(fitted, path))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert isinstance(fit, ranef.EmpiricalBayesFit)
        sds = ", ".join(f"{sd:.4f}" for sd in fit.varcorr["sdcor"])
        print(f"{rows:>14,} {own:>12.2f} {took:>8.2f} {took / own:>6.1f} {grown:>11.0f}  {sds}", flush=True)


if __name__ == "__main__":
    main()
