"""Posterior sampling side by side with bambi and rstanarm on the same data, under the same priors, in the same run.

    python benchmarks/nuts.py [--only 1,3] [--insteval] [--quick] [--repeats 3] [--limit 300] [--others-python PYTHON]

What counts is the smallest bulk ESS over β, sds, correlations, σ and b, per second, computed by ArviZ from everybody's
draws in the same way. Every sampler runs in processes of its own: `first` is the wall time from the start of a process
to the end of its first sampling, imports, data and compilation included, where the caches of compiled code (ours and
pytensor's) are empty; `cold` the same in a second process, which finds them filled; `warm` the median of further calls
in that second process (one where the first took over a minute; where it took over 150 s, it stands for all three). A
process is stopped after `--limit` seconds a call (ours after twice that); bambi and rstanarm then get a second chance
with a tenth of the draws and of the warm-up. Where R-hat is above 1.1 there is no posterior yet, and the ESS flatters
whoever has it: such rows are marked.

Priors are ranef's defaults, handed to the others as numbers. bambi centres its columns as ranef does, and its `(x | g)`
has no correlation: it is compared with `(x || g)`. rstanarm gets all but the one of sds and correlations, for which it
has its own family (`decov()`). They run 4 chains on 2 cores, with their default tuning and target acceptance, and
bambi's numpyro sees four devices, so that its chains run side by side. Compare only numbers of one run: machines are
noisy.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

import ranef

HERE = Path(__file__).parent
OURS = ("ranef/numpyro", "ranef/nutpie")
BAMBI = ("bambi/pymc", "bambi/nutpie", "bambi/numpyro")
CORES = 2

#: seconds of the first process beyond which there is one warm call, and beyond which there is no second process
LONG, TOO_LONG = 60.0, 150.0


@dataclass(frozen=True)
class Case:
    formula: str
    data: Callable[[], pd.DataFrame]
    bambi: str | None = None
    rstanarm: str | None = None
    draws: int = 1000
    warmup: int = 1000
    optional: bool = False


def bundled(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: ranef.datasets.load(name)


def slopes(n: int, groups: int) -> Callable[[], pd.DataFrame]:
    """One factor with independent intercepts and slopes."""

    def simulate() -> pd.DataFrame:
        rng = np.random.default_rng(7)
        g, x = rng.integers(0, groups, n), rng.normal(size=n)
        u = rng.normal(size=(groups, 2)) * [1.0, 0.5]
        return pd.DataFrame({"y": 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=n), "x": x, "g": g})

    return simulate


def classes() -> pd.DataFrame:
    """60 schools of five classes of ten, with intercepts and slopes of both."""
    rng = np.random.default_rng(5)
    c, h = np.repeat(np.arange(300), 10), rng.normal(size=3000)
    s = c // 5
    u, v = rng.normal(size=(60, 2)) * [1.0, 0.5], rng.normal(size=(300, 2)) * [0.7, 0.3]
    y = 1 + 0.5 * h + u[s, 0] + u[s, 1] * h + v[c, 0] + v[c, 1] * h + rng.normal(size=len(c))
    return pd.DataFrame({"y": y, "h": h, "school": s, "cls": c})


DAYS = "Reaction ~ Days + (Days {} Subject)"
CROSSED = "diameter ~ 1 + (1 | plate) + (1 | sample)"
CASES = {
    "1": Case(DAYS.format("||"), bundled("sleepstudy"), bambi=DAYS.format("|"), rstanarm=DAYS.format("||")),
    "2": Case(DAYS.format("|"), bundled("sleepstudy"), rstanarm=DAYS.format("|")),
    "3": Case("y ~ x + (x || g)", slopes(100_000, 200), bambi="y ~ x + (x | g)"),
    "4": Case("y ~ x + (x | g)", slopes(1_000_000, 1000)),
    "5": Case(CROSSED, bundled("penicillin"), bambi=CROSSED, rstanarm=CROSSED),
    # ranef's own default of warm-up steps, for nobody else is in this case
    "6": Case(
        "y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)", bundled("insteval"), draws=500, warmup=200, optional=True
    ),
    "7": Case("y ~ h + (h | school)", classes, optional=True),
    "8": Case("y ~ h + (h | school/cls)", classes, optional=True),
}


@dataclass(frozen=True)
class Quality:
    """Smallest bulk ESS and of what, largest R-hat, and over how many numbers."""

    ess: float
    where: str
    rhat: float
    size: int


@dataclass(frozen=True)
class Result:
    """What one sampler did with one case; a measurement that was not made is NaN."""

    case: str
    sampler: str
    first: float = np.nan
    cold: float = np.nan
    imported: float = np.nan
    warm: float = np.nan
    rate_first: float = np.nan
    rate_cold: float = np.nan
    rate_warm: float = np.nan
    quality: Quality = Quality(np.nan, "", np.nan, 0)
    note: str = ""


COLUMNS = (
    ("case", -4),
    ("sampler", -14),
    ("first", 8),
    ("cold", 8),
    ("import", 7),
    ("warm", 8),
    ("ESS", 7),
    ("of", -26),
    ("R-hat", 6),
    ("numbers", 7),
    ("ESS/s first", 11),
    ("ESS/s cold", 11),
    ("ESS/s warm", 11),
    ("", -1),
)


def aligned(cells: list[str]) -> str:
    widths = [width for _, width in COLUMNS]
    return " ".join(c.ljust(-w) if w < 0 else c.rjust(w) for c, w in zip(cells, widths, strict=True)).rstrip()


def line(r: Result) -> str:
    q = r.quality
    numbers = [(r.first, ".2f"), (r.cold, ".2f"), (r.imported, ".2f"), (r.warm, ".3f"), (q.ess, ".0f")]
    rates = [(r.rate_first, ".4g"), (r.rate_cold, ".4g"), (r.rate_warm, ".4g")]
    cells = [r.case, r.sampler, *shown(numbers), q.where, *shown([(q.rhat, ".3f")]), f"{q.size or ''}", *shown(rates)]
    mixed = not q.rhat > 1.1
    return aligned([*cells, "; ".join(filter(None, [r.note, "" if mixed else "not converged"]))])


def shown(numbers: list[tuple[float, str]]) -> list[str]:
    return ["" if np.isnan(x) else format(x, spec) for x, spec in numbers]


# -- one process -------------------------------------------------------------------------------------------------


def write_data(case: Case, folder: Path) -> dict[str, object]:
    """Columns as binary files, which R and Python read alike, and the numbers of the priors."""
    data = case.data()
    model = ranef.Model(case.formula, data)
    grouping = {name for t in model.spec.terms for name in t.group.split(":")}
    used = [name for name in data.columns if name in re.findall(r"\w+", case.formula)]
    columns = []
    for k, name in enumerate(used):
        is_factor = name in grouping or not pd.api.types.is_numeric_dtype(data[name])
        values = pd.factorize(data[name], sort=True)[0] if is_factor else data[name]
        np.asarray(values, dtype=float).tofile(folder / f"{k}.bin")
        columns.append({"name": name, "file": f"{k}.bin", "factor": is_factor})
    priors = model.priors()
    return {
        "rows": len(data),
        "columns": columns,
        "fixef": {name: [p.loc, p.scale] for name, p in priors.fixef.items()},
        "sd": [[group, column, p.df, p.scale] for (group, column), p in priors.sd.items()],
        "sigma": [priors.sigma.df, priors.sigma.scale],
        "cores": CORES,
    }


def run(command: list[str], limit: float, environment: dict[str, str]) -> tuple[list[dict[str, float]], str]:
    """The records that a process printed, and why it ended early; it is stopped with all its processes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env=os.environ | environment, start_new_session=True
        )
        note = ""
        try:
            if process.wait(timeout=limit):
                err.seek(0)
                note = (err.read().strip().splitlines() or [f"exit status {process.returncode}"])[-1][:100]
        except subprocess.TimeoutExpired:
            note = f"stopped after {limit:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        return [json.loads(text) for text in out if text.startswith("{")], note


def draws_of(folder: Path, k: int, chains: int, draws: int) -> dict[str, np.ndarray]:
    """Draws (chain, draw, ...) by name that the k-th call of a child has written."""
    if (folder / f"{k}.npz").exists():
        with np.load(folder / f"{k}.npz") as arrays:
            return dict(arrays)
    names = json.loads((folder / f"{k}.names").read_text())
    values = np.fromfile(folder / f"{k}.draws").reshape(len(names), chains, draws)
    return standard_deviations(dict(zip(names, values, strict=True)))


def standard_deviations(draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """rstanarm's draws with standard deviations and correlations in place of variances and covariances."""
    out = {}
    for name, x in draws.items():
        if found := re.fullmatch(r"Sigma\[(.+):(.+),(.+)\]", name):
            group, one, two = found.groups()
            v, w = (draws[f"Sigma[{group}:{c},{c}]"] for c in (one, two))
            out[f"sd({one} | {group})" if one == two else f"cor({one}, {two} | {group})"] = (
                np.sqrt(v) if one == two else x / np.sqrt(v * w)
            )
        else:
            out[name] = x
    return out


def quality(draws: dict[str, np.ndarray]) -> Quality:
    from arviz_stats.base import array_stats

    ess, rhat, where = [], [], []
    for name, x in draws.items():
        flat = x.reshape(*x.shape[:2], -1)
        ess.append(array_stats.ess(flat, chain_axis=0, draw_axis=1, method="bulk"))
        rhat.append(array_stats.rhat(flat, chain_axis=0, draw_axis=1))
        where += [name + (f"[{','.join(map(str, i))}]" if i else "") for i in np.ndindex(x.shape[2:])]
    all_ess = np.concatenate(ess)
    k = int(np.nanargmin(all_ess))
    return Quality(float(all_ess[k]), where[k], float(np.nanmax(np.concatenate(rhat))), all_ess.size)


def measure(number: str, sampler: str, options: argparse.Namespace) -> Result:
    """One sampler on one case, from process to process."""
    case = CASES[number]
    library = sampler.partition("/")[0]
    missing = absent(sampler, options)
    if missing:
        return Result(number, sampler, note=missing)
    draws = max(case.draws // 10, 10) if options.quick else case.draws
    warmup = 100 if options.quick else case.warmup
    limit = options.limit * (2 if library == "ranef" else 1)
    if case.optional:
        limit = max(limit, 3600.0)
    result = attempt(number, sampler, draws, warmup, limit, options)
    if library != "ranef" and np.isnan(result.first) and result.note.startswith("stopped"):
        print(line(result), flush=True)
        fewer = attempt(number, sampler, max(draws // 10, 10), max(warmup // 10, 10), limit, options)
        return replace(fewer, note=f"{max(draws // 10, 10)} draws; {fewer.note}".removesuffix("; "))
    return result


def absent(sampler: str, options: argparse.Namespace) -> str:
    library, _, name = sampler.partition("/")
    if library == "ranef":
        known = name == "numpyro" or "sampler" in inspect.signature(ranef.Model.sample).parameters
        return "" if known else "absent: this ranef has no sampler="
    if library == "bambi":
        return "" if shutil.which(options.others_python) else f"absent: no {options.others_python}"
    return "" if shutil.which("Rscript") else "absent: no Rscript"


def attempt(number: str, sampler: str, draws: int, warmup: int, limit: float, options: argparse.Namespace) -> Result:
    case = CASES[number]
    library, _, name = sampler.partition("/")
    formula = {"ranef": case.formula, "bambi": case.bambi, "rstanarm": case.rstanarm}[library]
    python = sys.executable if library == "ranef" else options.others_python
    child = [python, str(HERE / "nuts_child.py")]
    if library == "rstanarm":
        child = ["Rscript", str(HERE / "nuts_rstanarm.R")]
    job = {"library": library, "sampler": name, "formula": formula, "draws": draws, "warmup": warmup, "chains": 4}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = {
            "RANEF_CACHE_DIR": f"{folder}/ranef",
            "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor",
            "PYTHONWARNINGS": "ignore",
        }
        if sampler == "bambi/numpyro":
            environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
        job |= write_data(case, folder)

        def process(repeats: int) -> tuple[list[dict[str, float]], str]:
            seconds = limit * (repeats + 1)
            (folder / "job.json").write_text(json.dumps({**job, "repeats": repeats, "started": time.time()}))
            return run([*child, temporary], seconds, environment)

        def measured(k: int) -> Quality:
            return quality(draws_of(folder, k, 4, draws))

        records, note = process(0)
        if not records:
            return Result(number, sampler, note=note)
        first, q = records[0], measured(0)
        found = Result(number, sampler, first=first["total"], rate_first=q.ess / first["total"], quality=q)
        if first["total"] > TOO_LONG:  # compilation hardly matters
            found = replace(found, cold=first["total"], imported=first["import"], warm=first["sample"])
            rates = {"rate_cold": q.ess / first["total"], "rate_warm": q.ess / first["sample"]}
            return replace(found, **rates, note="one call")
        records, note = process(options.repeats if first["total"] < LONG else 1)
        if not records:
            return replace(found, note=note)
        cold, q = records[0], measured(0)
        found = replace(found, cold=cold["total"], imported=cold["import"], rate_cold=q.ess / cold["total"], note=note)
        warm = [r["sample"] for r in records[1:]]
        if not warm:
            return found
        qualities = [measured(k) for k in range(1, len(records))]
        rate = statistics.median(q.ess / t for q, t in zip(qualities, warm, strict=True))
        worst = min(qualities, key=lambda q: q.ess)
        worst = replace(worst, rhat=max(q.rhat for q in qualities))
        return replace(found, warm=statistics.median(warm), rate_warm=rate, quality=worst)


# -- cold to a posterior -----------------------------------------------------------------------------------------

SCRIPT = """
import ranef
model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
fit = model.sample(draws={draws}, warmup={warmup}, chains=4, seed=1, progress=False{sampler})
print(fit.summary())
"""


def cold_to_posterior(options: argparse.Namespace) -> Iterator[str]:
    """Wall time of a script that samples sleepstudy and prints the summary, without and with compiled code cached."""
    draws, warmup = (100, 100) if options.quick else (1000, 1000)
    for sampler in OURS:
        if missing := absent(sampler, options):
            yield f"{sampler:14} {missing}"
            continue
        has_argument = "sampler" in inspect.signature(ranef.Model.sample).parameters
        argument = f", sampler={sampler.partition('/')[2]!r}" if has_argument else ""
        script = SCRIPT.format(draws=draws, warmup=warmup, sampler=argument)
        times = []
        with tempfile.TemporaryDirectory() as cache:
            for _ in range(options.repeats + 1):
                begin = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", script],
                    env=os.environ | {"RANEF_CACHE_DIR": cache},
                    capture_output=True,
                    text=True,
                )
                times.append(time.perf_counter() - begin)
                if done.returncode:
                    break
        if done.returncode:
            yield f"{sampler:14} {done.stderr.strip().splitlines()[-1][:100]}"
        else:
            yield f"{sampler:14} empty cache {times[0]:6.2f} s   filled {statistics.median(times[1:]):6.2f} s"


# -- what the issue asks -----------------------------------------------------------------------------------------


def verdicts(results: list[Result]) -> Iterator[str]:
    """Our rates over those of the others, with the aim of each."""
    by = {(r.case, r.sampler): r for r in results}

    def row(case: str, ours: str, what: str, value: float, aim: str, met: bool) -> str:
        number = "     –" if np.isnan(value) else f"{value:6.3g}"
        verdict = "not measured" if np.isnan(value) else "" if not aim else "met" if met else "NOT MET"
        return f"{case:4} {ours:14} {what:34} {number:>8}   {aim:24} {verdict}".rstrip()

    for case in sorted({r.case for r in results}):
        groups = {"best bambi": [by[case, s] for s in BAMBI if (case, s) in by]}
        groups["rstanarm"] = [by[case, "rstanarm"]] if (case, "rstanarm") in by else []
        for sampler in OURS:
            r = by.get((case, sampler))
            if r is None or np.isnan(r.first):
                continue
            for other, theirs in groups.items():
                for kind, least in aims(case, sampler, other):
                    rates = [x for t in theirs if not np.isnan(x := getattr(t, f"rate_{kind}"))]
                    ratio = getattr(r, f"rate_{kind}") / max(rates) if rates else np.nan
                    if rates or theirs:
                        aim = f"at least {least:g}" if least else ""
                        yield row(case, sampler, f"ESS/s {kind}, over {other}", ratio, aim, ratio >= least)
            theirs = [t for group in groups.values() for t in group]
            for kind in ("first", "cold"):
                best = min((x for t in theirs if not np.isnan(x := getattr(t, kind))), default=np.nan)
                if theirs:
                    value = getattr(r, kind)
                    best = np.inf if np.isnan(best) else best
                    limit = min(best, 5.0) if sampler == "ranef/nutpie" and case in "12" else best
                    aim = f"below {limit:.2f}"
                    yield row(case, sampler, f"seconds {kind}", value, aim, value < limit)
    for sampler in OURS:
        for small, large, most in (("3", "4", 2), ("7", "8", 3)):
            one, other = by.get((small, sampler)), by.get((large, sampler))
            if one and other and not np.isnan(other.first):
                ratio, what = other.warm / one.warm, f"warm seconds, over those of case {small}"
                yield row(large, sampler, what, ratio, f"at most {most}", ratio <= most)
        if (r := by.get(("6", sampler))) and not np.isnan(r.first):
            yield row("6", sampler, "seconds cold", r.cold, "below 1200 on 2 cores", r.cold < 1200)
            yield row("6", sampler, "R-hat", r.quality.rhat, "below 1.01", r.quality.rhat < 1.01)


def aims(case: str, sampler: str, other: str) -> list[tuple[str, float]]:
    """How many times the other's rate the issue asks for; 0 where it asks for nothing."""
    if case == "3":
        return [("first", 100.0), ("cold", 100.0), ("warm", 100.0)]
    if other == "rstanarm":
        return [("cold", 0.0), ("warm", 20.0 if case in "12" else 0.0)]
    return [("cold", 0.0), ("warm", 10.0 if sampler == "ranef/nutpie" else 3.0)]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that children are stopped with us
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="numbers of cases, as 1,3; 0 is cold to a posterior")
    parser.add_argument("--samplers", default="", help="as ranef/numpyro,bambi/pymc,rstanarm; all by default")
    parser.add_argument("--insteval", action="store_true", help="case 6 too")
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws: does it run at all?")
    parser.add_argument("--repeats", type=int, default=3, help="warm calls")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that a process of the others may take")
    parser.add_argument("--others-python", default="/opt/vb/bin/python", help="a Python that has bambi")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else ["0", *(n for n, c in CASES.items() if not c.optional)]
    chosen += ["6"] if options.insteval and "6" not in chosen else []
    if unknown := set(chosen) - {"0", *CASES}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    wanted = options.samplers.split(",") if options.samplers else [*OURS, *BAMBI, "rstanarm"]
    for number in chosen:
        if number != "0":
            print(f"{number}  {CASES[number].formula}")
    if "0" in chosen:
        print("\nCold to a posterior: sleepstudy, from python to the printed summary")
        for text in cold_to_posterior(options):
            print(text, flush=True)
        chosen.remove("0")
    if not chosen:
        return
    print("\n" + aligned([name for name, _ in COLUMNS]))
    results = []
    for number in chosen:
        case = CASES[number]
        samplers = [*OURS, *(BAMBI if case.bambi else ()), *(("rstanarm",) if case.rstanarm else ())]
        for sampler in samplers:
            if sampler in wanted:
                results.append(measure(number, sampler, options))
                print(line(results[-1]), flush=True)
    print("\nRatios and what the issue asks")
    for text in verdicts(results):
        print(text)


if __name__ == "__main__":
    main()
