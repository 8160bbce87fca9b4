"""Direct draws of the posterior beside NUTS by nutpie and by NumPyro, on the same data in the same run.

    python benchmarks/direct.py [--only 1,3] [--repeats 5]

`warm` are CPU seconds of `model.sample()` in this process, the least of some runs that take turns, for 4000 draws kept;
`ratio` what the other takes over what direct draws take; `per draw` the same for the smallest effective sample size of
what a summary shows. `read` is the making of the model and its cross-products, which all share. `k̂` and the efficiency
are those of the weights. InstEval, which takes NUTS a quarter of an hour, is drawn once and directly. Then, of new
processes, wall seconds from their start until the summary is printed, least of three, `import` the part that is
`import ranef`, and `pandas` that of pandas alone. Compare only numbers of one run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

import ranef

OTHERS = ("nutpie", "numpyro")


def bundled(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: ranef.datasets.load(name)


def slopes() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    g, x = rng.integers(0, 1000, 1_000_000), rng.normal(size=1_000_000)
    u = rng.normal(size=(1000, 2)) * [1.0, 0.5]
    return pd.DataFrame({"y": 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=len(x)), "x": x, "g": g})


@dataclass(frozen=True)
class Case:
    formula: str
    data: Callable[[], pd.DataFrame]
    arguments: dict[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = OTHERS


CASES = {
    "sleepstudy": Case("Reaction ~ Days + (Days | Subject)", bundled("sleepstudy")),
    "pulp": Case("bright ~ 1 + (1 | operator)", bundled("pulp")),
    "penicillin": Case("diameter ~ 1 + (1 | plate) + (1 | sample)", bundled("Penicillin")),
    "orthodont": Case("distance ~ age + (age | Subject)", bundled("Orthodont")),
    "pastes": Case("strength ~ 1 + (1 | batch / cask)", bundled("Pastes")),
    "machines": Case("score ~ Machine + (Machine | Worker)", bundled("Machines")),
    "strata": Case("score ~ Machine + (1 | Worker)", bundled("Machines"), {"variance": ranef.VarIdent("Machine")}),
    "slopes-1e6": Case("y ~ x + (x | g)", slopes),
    "insteval": Case("y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)", bundled("insteval"), beside=()),
}

SUMMARY = """
import ranef
model = ranef.Model({formula!r}, ranef.datasets.load({name!r}))
print(model.sample(seed=1, sampler={sampler!r}, progress=False).summary())
"""


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    out = run()
    return time.process_time() - begin, out


def least_ess(fit: ranef.PosteriorFit) -> float:
    return float(fit.glance()["ess_min"].item())


def warm(name: str, case: Case, repeats: int) -> None:
    read, model = timed(lambda: ranef.Model(case.formula, case.data(), **case.arguments))
    model.priors()
    read += timed(lambda: model.products)[0]
    samplers, seconds, fits = ("direct", *case.beside), {}, {}
    for s in samplers:
        seconds[s], fits[s] = timed(lambda s=s: model.sample(seed=1, sampler=s, progress=False))
    for i in range(repeats if case.beside else 0):
        for s in samplers:
            seconds[s] = min(seconds[s], timed(lambda s=s, i=i: model.sample(seed=2 + i, sampler=s, progress=False))[0])
    found, own = fits["direct"].draws.importance, seconds["direct"]
    shares = [f"{seconds[s]:7.3f} {seconds[s] / own:6.1f}" for s in case.beside]
    worth = [least_ess(fits["direct"]) / own / (least_ess(fits[s]) / seconds[s]) for s in case.beside]
    print(
        f"{name:12s} {read:6.3f} {own:7.3f} {found.pareto_k:6.2f} {found.efficiency:6.0%} {found.effective:6.0f}  "
        + "  ".join(f"{share} {w:8.1f}" for share, w in zip(shares, worth, strict=True)),
        flush=True,
    )


def process(script: str) -> float:
    best = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
        best = min(best, time.perf_counter() - begin)
    return best


def cold() -> None:
    print(f"\n{'new process':12s} {'pandas':>7s} {'import':>7s} {'direct':>7s}  {'nutpie':>7s} {'ratio':>6s}")
    alone, imported = process("import pandas"), process("import ranef")
    for name in ("sleepstudy", "pulp"):
        scripts = [SUMMARY.format(formula=CASES[name].formula, name=name, sampler=s) for s in ("direct", "nutpie")]
        ours, theirs = map(process, scripts)
        print(f"{name:12s} {alone:7.2f} {imported:7.2f} {ours:7.2f}  {theirs:7.2f} {theirs / ours:6.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="numbers of the cases")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    chosen = {int(i) for i in options.only.split(",") if i} or set(range(1, len(CASES) + 1))
    heads = "  ".join(f"{s:>7s} {'ratio':>6s} {'per draw':>8s}" for s in OTHERS)
    print(f"{'case':12s} {'read':>6s} {'warm':>7s} {'k̂':>7s} {'effic.':>6s} {'worth':>6s}  {heads}")
    for i, (name, case) in enumerate(CASES.items(), 1):
        if i in chosen:
            warm(name, case, options.repeats)
    cold()


if __name__ == "__main__":
    main()
