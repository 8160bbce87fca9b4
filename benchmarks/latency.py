"""How long a user waits: CPU seconds of fresh processes, side by side with that of importing pandas.

``python benchmarks/latency.py`` prints the table of benchmarks/README.md. Each case is run several times, in turn with
the others, and the least is kept; bytecode and what ranef compiles are there from a run before. ``--cold`` adds the
first runs of an installation: no compiled code of ranef's, no list of matplotlib's fonts. Small fits stand beside those
of ``glmm`` (Rust; ``pip install glmm``) where it is there, in one process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
FORMULA = "Reaction ~ Days + (Days | Subject)"
MODEL = f'import ranef; model = ranef.Model({FORMULA!r}, ranef.datasets.load("sleepstudy"))'
PAGE = ["compare", "sleepstudy", FORMULA, "--sampler", "direct", "--overwrite", "--html"]

#: what a process runs before the clock starts, and what is timed; the command line where there is no code
CASES = {
    "import pandas": ("", "import pandas"),
    "import ranef": ("", "import ranef"),
    "first fit": ('import ranef; data = ranef.datasets.load("sleepstudy")', f"ranef.Model({FORMULA!r}, data).fit()"),
    "posterior, printed": ("", f"{MODEL}; print(model.sample(sampler='direct', seed=1))"),
    "first NUTS": ("", f"{MODEL}; model.sample(seed=1, progress=False)"),
    "first nutpie": ("", f"{MODEL}; model.sample(sampler='nutpie', seed=1, progress=False)"),
    "compare, page": None,
}


#: data sets of R, and their usual models
SMALL = {
    "sleepstudy": FORMULA,
    "penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "pastes": "strength ~ 1 + (1 | batch/cask)",
    "pulp": "bright ~ 1 + (1 | operator)",
    "orthodont": "distance ~ age + (age | Subject)",
    "oats": "yield ~ nitro + Variety + (1 | Block/Variety)",
}


def small_fits(repeats: int) -> None:
    """Print CPU milliseconds from formula and frame to a complete fit."""
    import glmm  # not the file beside this one

    import ranef

    for name, formula in SMALL.items():
        data, ours, theirs = ranef.datasets.load(name), [], []
        for _ in range(repeats):
            ours.append(_timed(lambda formula=formula, data=data: ranef.Model(formula, data).fit()))
            theirs.append(_timed(lambda formula=formula, data=data: glmm.fit(data, formula)))
        a, b = 1e3 * min(ours), 1e3 * min(theirs)
        print(f"{name:20s} {a:8.2f} ms    glmm {b:8.2f} ms {a / b:8.1f}", flush=True)


def _timed(work) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def seconds(case: str, environment: dict[str, str]) -> tuple[float, float]:
    """CPU and elapsed seconds of one run."""
    with tempfile.TemporaryDirectory() as folder:
        if CASES[case] is None:
            command = [sys.executable, "-m", "ranef.cli", *PAGE, f"{folder}/page.html"]
        else:
            before, timed = CASES[case]
            clock = "import time, json; start = time.process_time(), time.perf_counter()"
            end = "print(json.dumps([time.process_time() - start[0], time.perf_counter() - start[1]]))"
            command = [sys.executable, "-c", "\n".join([before, clock, timed, end])]
        begin, used = time.perf_counter(), _children()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        whole = _children() - used, time.perf_counter() - begin
    return whole if CASES[case] is None else tuple(json.loads(done.stdout.splitlines()[-1]))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--repeats", type=int, default=7)
    asked.add_argument("--cold", action="store_true")
    asked.add_argument("--cases", nargs="*", default=list(CASES))
    options = asked.parse_args()
    here = os.environ | {"PYTHONPATH": str(SOURCE), "MPLBACKEND": "Agg"}
    here.pop("PYTHONDONTWRITEBYTECODE", None)
    if options.cold:
        with tempfile.TemporaryDirectory() as empty:
            for case in options.cases:
                fresh = {name: f"{empty}/{case}/{name}" for name in ("RANEF_CACHE_DIR", "MPLCONFIGDIR")}
                cpu, elapsed = seconds(case, here | fresh)
                print(f"{case:20s} cold {cpu:8.3f} CPU s {elapsed:8.3f} s", flush=True)
    for case in options.cases:
        seconds(case, here)
    least = dict.fromkeys(options.cases, (float("inf"), float("inf")))
    for _ in range(options.repeats):
        for case in options.cases:
            least[case] = tuple(map(min, least[case], seconds(case, here)))
    pandas = least.get("import pandas", (1.0, 1.0))[0]
    for case, (cpu, elapsed) in least.items():
        print(f"{case:20s} {cpu:8.3f} CPU s {elapsed:8.3f} s {cpu / pandas:8.2f} of import pandas", flush=True)
    sys.path.remove(str(Path(__file__).parent))
    if importlib.util.find_spec("glmm"):
        small_fits(options.repeats)


if __name__ == "__main__":
    main()
