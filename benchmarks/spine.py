"""Time what everybody meets first: import, a large crossed fit, sampling; lme4 beside it where R is at hand.

    python benchmarks/spine.py

Timings are medians of fresh processes (import) or of repeats in one process; compare only numbers of one run.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ranef

FORMULA = "y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)"

LME4 = """
suppressMessages(library(lme4)); data <- read.csv("{csv}", colClasses = c(s="factor", d="factor", dept="factor",
service="factor")); t <- system.time(m <- lmer({formula}, data))[["elapsed"]]; cat(t, sprintf("%.6f", REMLcrit(m)))
"""


def seconds_of(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def median_of(repeats: int, run) -> float:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    bare = statistics.median(seconds_of([sys.executable, "-c", "pass"]) for _ in range(5))
    loaded = statistics.median(seconds_of([sys.executable, "-c", "import ranef"]) for _ in range(5))
    pandas = statistics.median(seconds_of([sys.executable, "-c", "import pandas"]) for _ in range(5))
    print(f"import ranef          {loaded - bare:6.2f} s   (pandas alone {pandas - bare:.2f} s)")

    data = ranef.datasets.load("insteval")
    ours = median_of(3, lambda: ranef.Model(FORMULA, data).fit())
    fit = ranef.Model(FORMULA, data).fit()
    print(f"InstEval, ranef       {ours:6.2f} s   criterion {fit.criterion:.6f}, {fit.optimizer.n_evaluations} steps")
    if shutil.which("Rscript"):
        with tempfile.TemporaryDirectory() as folder:
            csv = Path(folder) / "insteval.csv"
            data.to_csv(csv, index=False)
            script = LME4.format(csv=csv, formula=FORMULA)
            out = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True).stdout.split()
        print(f"InstEval, lme4        {float(out[0]):6.2f} s   criterion {out[1]}   ratio {float(out[0]) / ours:.1f}")

    model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    model.sample(seed=1, progress=False)
    warm = median_of(3, lambda: model.sample(seed=2, progress=False))
    print(f"sleepstudy, NUTS warm {warm:6.2f} s   (4 chains of 1000 + 1000)")


if __name__ == "__main__":
    main()
