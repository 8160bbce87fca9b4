"""Speed of generalised responses, beside lme4, glmmTMB, glmm (Rust) and bambi in the same run where they are there.

    python benchmarks/glmm.py [--only fits|posteriors] [--large] [--samplers NAMES] [--bambi PYTHON] [CASE ...]

CPU seconds from data frame to fit with standard errors: the median of three after one that compiles, here and in R. The
deviances are printed beside, for a fit that stops early is quick. ``--large`` adds InstEval as a binary response and as
an ordinal one with two crossed factors, and a million rows of ten thousand groups. Then posteriors: 4000 draws by our
samplers, and by nutpie and NumPyro of bambi under its own priors, where a Python that has it is named (``--bambi``, or
``RANEF_BAMBI`` in the environment): the least effective sample size of coefficients and standard deviations, by CPU
second from model to draws, after a run of few draws that compiles what is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import ranef

R = r"""
a <- commandArgs(TRUE); suppressMessages(library(lme4))
d <- read.csv(a[1], stringsAsFactors = TRUE); for (n in strsplit(a[4], ",")[[1]]) d[[n]] <- factor(d[[n]])
f <- as.formula(a[2]); fam <- eval(parse(text = a[3]))
say <- function(what, e) { t <- c(); for (i in 1:as.integer(a[5]))
  t[i] <- sum(system.time(m <- suppressWarnings(suppressMessages(eval(e))))[c(1, 2)])
  cat(what, median(t), -2 * as.numeric(logLik(m)), "\n") }
say("lme4", quote(glmer(f, d, family = fam)))
if (requireNamespace("glmmTMB", quietly = TRUE)) say("glmmTMB", quote(glmmTMB::glmmTMB(f, d, family = fam)))
"""

#: what bambi's Python runs; its formula of cbpp has p() for cbind()
BAMBI = r"""
import json, sys, time, warnings
warnings.simplefilter("ignore")
import arviz, bambi, pandas as pd
path, formula, family, factors, sampler = sys.argv[1:]
data = pd.read_csv(path)
for name in filter(None, factors.split(",")):
    data[name] = data[name].astype("category")
options = {"inference_method": sampler, "random_seed": 1, "chains": 4, "progressbar": False}
for draws, tune in ((1, 1), (1000, 1000)):
    start = time.process_time()
    fit = bambi.Model(formula, data, family=family).fit(draws=draws, tune=tune, **options)
    seconds = time.process_time() - start
names = [v for v in fit.posterior.data_vars if "|" not in v or v.endswith("_sigma")]
ess = arviz.ess(fit.posterior[names])
print("RESULT", seconds, min(float(ess[v].min()) for v in ess.data_vars))
"""

#: seconds that a sampler of bambi may take
LIMIT = 300

#: our samplers by short names
SAMPLERS: Mapping[str, dict[str, str]] = {
    "direct": {"sampler": "direct"},
    "nutpie": {"sampler": "nutpie"},
    "marginal": {"sampler": "nutpie", "parameterization": "marginal"},
    "numpyro": {"sampler": "numpyro"},
}


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes
    ----------
    data : callable
    formula, family : str
    factors : tuple of str
        Columns that R is to read as factors.
    """

    data: Callable[[], pd.DataFrame]
    formula: str
    family: str
    factors: tuple[str, ...]


def contraception() -> pd.DataFrame:
    """As large as the contraception data: 2 000 rows in 60 groups."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": rng.integers(0, 60, 2000), "x": rng.normal(size=2000), "urban": rng.integers(0, 2, 2000)})
    effects = rng.normal(size=(60, 2)) * [0.5, 0.4]
    eta = -0.5 + 0.3 * data["x"] + 0.7 * data["urban"] + effects[data["g"], 0] + effects[data["g"], 1] * data["urban"]
    return data.assign(y=rng.binomial(1, 1 / (1 + np.exp(-eta))))


def million() -> pd.DataFrame:
    """A million rows in ten thousand groups."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": rng.integers(0, 10_000, 1_000_000), "x": rng.normal(size=1_000_000)})
    eta = -1.0 + 0.5 * data["x"] + 0.8 * rng.normal(size=10_000)[data["g"]]
    return data.assign(y=rng.binomial(1, 1 / (1 + np.exp(-eta))))


def insteval() -> pd.DataFrame:
    """Whether a rating is above three."""
    data = ranef.datasets.load("InstEval")
    return data.assign(good=(data["y"].astype(float) > 3).astype(int))


def verbagg() -> pd.DataFrame:
    """0 and 1 in the place of levels, which R reads in the order of the alphabet."""
    data = ranef.datasets.load("VerbAgg")
    return data.assign(r2=(data["r2"].astype(str) == "Y").astype(int))


CASES: Mapping[str, Case] = {
    "cbpp": Case(
        lambda: ranef.datasets.load("cbpp"),
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        "binomial",
        ("period", "herd"),
    ),
    "grouseticks": Case(
        lambda: ranef.datasets.load("grouseticks"),
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        "poisson",
        ("YEAR", "BROOD", "INDEX", "LOCATION"),
    ),
    "VerbAgg": Case(verbagg, "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", "binomial", ("id", "item")),
    "2000 rows": Case(contraception, "y ~ x + urban + (urban | g)", "binomial", ("g",)),
}

LARGE: Mapping[str, Case] = {
    "InstEval": Case(insteval, "good ~ 1 + service + (1 | s) + (1 | d)", "binomial", ("s", "d")),
    "InstEval, 1-5": Case(
        lambda: ranef.datasets.load("InstEval"), "y ~ 1 + service + (1 | s) + (1 | d)", "ordinal", ("s", "d")
    ),
    "1000000 rows": Case(million, "y ~ x + (1 | g)", "binomial", ("g",)),
}


def timed(case: Case, data: pd.DataFrame, repeats: int) -> tuple[float, float]:
    """Median CPU seconds, and −2 log L."""
    found = []
    for _ in range(repeats + 1):
        start = time.process_time()
        fit = ranef.Model(case.formula, data, family=case.family).fit()
        found.append(time.process_time() - start)
    return statistics.median(found[1:] if repeats > 1 else found), fit.criterion


def in_r(case: Case, data: pd.DataFrame, repeats: int) -> list[tuple[str, float, float]]:
    """Package, CPU seconds and −2 log L."""
    if shutil.which("Rscript") is None or case.family == "ordinal":
        return []
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder) / "data.csv", Path(folder) / "run.R"
        data.to_csv(path, index=False)
        script.write_text(R)
        arguments = [str(path), case.formula, case.family, ",".join(case.factors), str(repeats)]
        run = subprocess.run(["Rscript", str(script), *arguments], capture_output=True, text=True, check=False)
    lines = [line.split() for line in run.stdout.splitlines()]
    return [(name, float(seconds), float(deviance)) for name, seconds, deviance in lines]


def in_rust(case: Case, data: pd.DataFrame, repeats: int) -> list[tuple[str, float, float]]:
    """The same of glmm, where it is installed."""
    sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]  # that has this module
    if importlib.util.find_spec("glmm") is None or case.family == "ordinal":
        return []
    glmm, found = importlib.import_module("glmm"), []
    data, cbpp = data.assign(**{name: data[name].astype(str) for name in case.factors}), "size - inc" in case.formula
    formula = case.formula.replace("size - incidence", "rest")  # cbind() takes names of columns alone
    for _ in range(repeats + 1):
        start = time.process_time()
        fit = glmm.fit(
            data.assign(rest=data["size"] - data["incidence"]) if cbpp else data, formula, family=case.family
        )
        found.append(time.process_time() - start)
    return [("glmm", statistics.median(found[1:]), -2.0 * fit.loglik)]


def posteriors(name: str, case: Case, samplers: list[str], python: str | None) -> None:
    """Print a line for each sampler."""
    data = case.data()
    model = ranef.Model(case.formula, data, family=case.family)
    for sampler in samplers:
        with contextlib.suppress(ranef.FitError):
            few = (200, None) if sampler == "direct" else (1, 1)
            model.sample(*few, seed=1, progress=False, **SAMPLERS[sampler])
        start = time.process_time()
        try:
            again = ranef.Model(case.formula, data, family=case.family)
            fit = again.sample(seed=1, progress=False, **SAMPLERS[sampler])
        except ranef.FitError as error:
            seconds = time.process_time() - start
            print(f"{name:14s} {sampler:16s} {seconds:9.2f}  refused: {str(error)[:70]}", flush=True)
            continue
        seconds, k = time.process_time() - start, fit.draws.importance
        told = "" if k is None else f"k̂ {k.pareto_k:.2f}"
        _say(name, sampler, seconds, float(fit.diagnostics["ess_bulk"].min()), told)
    for sampler in ("nutpie", "numpyro") if python else ():
        found = in_bambi(str(python), case, data, sampler)
        _say(name, f"bambi {sampler}", *found, "" if np.isfinite(found[0]) else f"no draws within {LIMIT} s")


def _say(name: str, sampler: str, seconds: float, ess: float, told: str) -> None:
    print(f"{name:14s} {sampler:16s} {seconds:9.2f} {ess:8.0f} {ess / seconds:9.1f} a second  {told}", flush=True)


def in_bambi(python: str, case: Case, data: pd.DataFrame, sampler: str) -> tuple[float, float]:
    """CPU seconds and the least effective sample size; NaN where it has none."""
    formula = case.formula.replace("cbind(incidence, size - incidence)", "p(incidence, size)")
    family = "bernoulli" if case.family == "binomial" and "p(" not in formula else case.family
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder) / "data.csv", Path(folder) / "run.py"
        data.to_csv(path, index=False)
        script.write_text(BAMBI)
        arguments = [python, str(script), str(path), formula, family, ",".join(case.factors), sampler]
        try:
            run = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return np.nan, np.nan
    lines = [line.split() for line in run.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        print(run.stderr[-500:], file=sys.stderr)
    return (float(lines[0][1]), float(lines[0][2])) if lines else (np.nan, np.nan)


def fits(name: str, case: Case, *, without_r: bool) -> None:
    """Print a line for each package."""
    data, repeats = case.data(), 1 if name in LARGE else 3
    seconds, deviance = timed(case, data, repeats)
    print(f"{name:14s} {'ranef':8s} {seconds:9.3f} {1:10.1f} {deviance:16.6f}", flush=True)
    others = in_rust(case, data, repeats) + ([] if without_r else in_r(case, data, repeats))
    for package, other, theirs in others:
        print(f"{'':14s} {package:8s} {other:9.3f} {other / seconds:10.1f} {theirs:16.6f}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("fits", "posteriors"))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--without-r", action="store_true")
    parser.add_argument("--samplers", default="direct,nutpie", help=f"ours, with commas between: {', '.join(SAMPLERS)}")
    parser.add_argument("--bambi", metavar="PYTHON", default=os.environ.get("RANEF_BAMBI"), help="one that has bambi")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ranef.RanefWarning)
    chosen = {**CASES, **(LARGE if options.large else {})}
    chosen = {name: chosen[name] for name in options.cases or chosen}
    if options.only != "posteriors":
        print(f"{'':14s} {'':8s} {'CPU s':>9s} {'times ours':>10s} {'-2 log L':>16s}")
        for name, case in chosen.items():
            fits(name, case, without_r=options.without_r)
    if options.only != "fits":
        print(f"{'':14s} {'':16s} {'CPU s':>9s} {'ESS':>8s}")
        for name, case in chosen.items():
            if name not in LARGE:
                posteriors(name, case, options.samplers.split(","), options.bambi)


if __name__ == "__main__":
    main()
