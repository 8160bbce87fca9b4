"""Outside references from R, and the fits to hold against them, each made once and reused by every test."""

from __future__ import annotations

import json
import os
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import ranef

FOLDER = Path(__file__).parent / "reference"

#: references whose data may not be committed stand beside the folder that RANEF_DATA names
LOCAL = Path(os.environ["RANEF_DATA"]).parent.parent / "reference" if os.environ.get("RANEF_DATA") else None


def _cases(folder: Path, kind: str) -> dict[str, Path]:
    found = (p for p in sorted(folder.glob("*.json")) if p.stem != "index")
    return {p.stem: p for p in found if re.search(f'"kind": ?"{kind}"', p.read_text()[:600])}


def _with_local(kind: str) -> dict[str, Path]:
    own = _cases(FOLDER, kind)
    return {**(_cases(LOCAL, kind) if LOCAL is not None and LOCAL.is_dir() else {}), **own}


BUNDLED = _cases(FOLDER, "lmer")
CASES = _with_local("lmer")
#: chains of models of one data set
COMPARISONS = _with_local("compare")
REFUSED = [k for k, p in CASES.items() if "expected_error" in json.loads(p.read_text())]
FITTED = [k for k in CASES if k not in REFUSED]


@cache
def reference(case: str) -> dict[str, Any]:
    return json.loads((CASES.get(case) or COMPARISONS[case]).read_text())


def rows_of(case: str) -> int:
    """How many rows the reference was fitted to."""
    ref = reference(case)
    return int(ref.get("nobs") or ref["n"])


def data_of(ref: dict[str, Any]) -> pd.DataFrame:
    data = ranef.datasets.load(ref["dataset"])
    for name, expression in ref.get("derive", {}).items():
        data[name] = data.eval(expression)
    for name in np.atleast_1d(ref.get("as_factor", [])):
        data[name] = data[name].map("{:g}".format).astype("category")
    if "subset" in ref:
        column, bound = re.fullmatch(r"(\w+) >= (\d+)", ref["subset"]).groups()
        data = data[data[column] >= float(bound)].reset_index(drop=True)
    return data


def formula_of(ref: dict[str, Any], data: pd.DataFrame) -> str:
    """The reference's formula, with sum contrasts written out where R had them as its default."""
    formula = ref["formula"]
    if ref["contrasts"]["unordered"] != "contr.sum":
        return formula
    fixed, bars = re.fullmatch(r"(.*?)((?:\+ *\(.*)?)", formula).groups()
    response, right = fixed.split("~")
    for name in data.columns:
        if isinstance(data[name].dtype, pd.CategoricalDtype):
            right = re.sub(rf"\b{name}\b", f"C({name}, contr.sum)", right)
    return f"{response}~{right}{bars}"


@cache
def model(case: str) -> ranef.Model:
    ref = reference(case)
    data = data_of(ref)
    return ranef.Model(formula_of(ref, data), data, weights=ref.get("weights"), offset=ref.get("offset"))


@cache
def compared(case: str, method: str) -> dict[str, ranef.EmpiricalBayesFit]:
    """The fits of a chain, by name."""
    ref = reference(case)
    data = data_of(ref)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        formulas = {name: formula_of({**ref, "formula": formula}, data) for name, formula in ref["models"].items()}
        return {name: ranef.Model(formula, data).fit(method) for name, formula in formulas.items()}


@cache
def fit(case: str) -> ranef.EmpiricalBayesFit:
    """The fit, some of whose variance parameters may not be determined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return model(case).fit("REML" if reference(case)["REML"] else "ML")
