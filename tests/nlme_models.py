"""References of nlme as models of ours: what its structures are called here."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np

import ranef
import registry

#: nlme's class, and what makes it of its record
VARIANCES = {
    "varIdent": lambda s: ranef.VarIdent(joined(s["group"])),
    "varPower": lambda s: ranef.VarPower(s.get("covariate")),
    "varExp": lambda s: ranef.VarExp(s["covariate"]),
    "varConstPower": lambda s: ranef.VarConstPower(s["covariate"]),
    "varFixed": lambda s: ranef.VarFixed(s["covariate"]),
    "varIdentPower": lambda s: ranef.VarIdent(s["group"]) * ranef.VarPower(s["covariate"]),
}
CORRELATIONS = {
    "corAR1": lambda s: ranef.AR1(s.get("time"), group=s["group"]),
    "corCAR1": lambda s: ranef.CAR1(s["time"], group=s["group"]),
    "corCompSymm": lambda s: ranef.CompSymm(group=joined(s["group"])),
    "corSymm": lambda s: ranef.Symm(s["time"], group=s["group"]),
    "corARMA": lambda s: ranef.ARMA(s["p"], s["q"], s.get("time"), group=s["group"]),
    "corExp": lambda s: ranef.Exponential(s["time"], s["group"], s["nugget"]),
    "corGaus": lambda s: ranef.Gaussian(s["time"], s["group"], s["nugget"]),
    "corSpher": lambda s: ranef.Spherical(s["time"], s["group"], s["nugget"]),
}
BLOCKS = {"pdSymm": "({} | {})", "pdDiag": "diag({} | {})", "pdIdent": "(1 | {})"}

CASES = {p.stem: p for p in sorted(registry.FOLDER.glob("*.json")) if p.stem != "index"}
CASES = {name: p for name, p in CASES.items() if json.loads(p.read_text()).get("package") == "nlme"}

#: pdCompSymm is a structure of effects; a stratum of irrigation has no residual variance, so that there is no minimum
APART = ("machines_pdCompSymm", "irrigation_varIdent")


@cache
def reference(case: str) -> dict[str, Any]:
    return json.loads(CASES[case].read_text())


def joined(names: str | list[str]) -> str:
    """The combinations of several factors."""
    return names if isinstance(names, str) else ":".join(names)


def bars(structure: dict[str, Any]) -> list[str]:
    """The random part: nlme's groups are nested, and one level of all rows with identical effects is a factor."""
    out, outer = [], ""
    for level in structure["random_outer_to_inner"]:
        for block in level["blocks"]:
            form = block["form"].removeprefix("~")
            if block["type"] == "pdIdent":
                factor = form.removeprefix("0+").removesuffix("-1")
                out.append(f"(1 | {factor if level['group'] == 'ones' else level['group'] + ':' + factor})")
            else:
                out.append(BLOCKS[block["type"]].format(form, outer + level["group"]))
        outer = outer if level["group"] == "ones" else f"{outer}{level['group']}:"
    return out


@cache
def model(case: str) -> ranef.Model:
    ref = reference(case)
    s = ref["structure"]
    return ranef.Model(
        " + ".join([s["fixed"], *bars(s)]),
        registry.data_of(ref),
        variance=s["variance"] and VARIANCES[s["variance"]["type"]](s["variance"]),
        correlation=s["correlation"] and CORRELATIONS[s["correlation"]["type"]](s["correlation"]),
    )


@cache
def fit(case: str) -> ranef.EmpiricalBayesFit:
    return model(case).fit(reference(case)["method"])


def natural(ref: dict[str, Any]) -> np.ndarray:
    """Its parameters of variance and correlation: sds of strata without the first, powers, correlations by rows."""
    variance, correlation = ref.get("residual_variance") or {}, ref.get("residual_correlation") or {}
    out = list(variance.get("ratio_to_first", [])[1:])
    out += [v for name, v in variance.items() if name not in ("strata", "ratio_to_first", "sd")]
    if "corr" in correlation:
        matrix = np.array(correlation["corr"])
        return np.array([*out, *(matrix[i, j] for i in range(len(matrix)) for j in range(i))])
    return np.array([*out, *(v for values in correlation.values() for v in np.atleast_1d(values))])
