"""Whether two specs are one model of the same data, and what fits of it are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from _ranef.errors import DesignError
from _ranef.spec import ModelSpec

__all__ = ["check_names", "default_names", "difference", "formula_names", "require_same_model"]

SAME_MODEL = "Make both fits from the same ranef.Model."

#: what fits of each engine are called where there is one of either kind
PAIR = {"REML": "eb", "ML": "eb", "NUTS": "fb", "direct": "fb"}


def difference(first: ModelSpec, second: ModelSpec) -> str | None:
    """Why two specs are not the same model of the same data: a sentence, its likely cause and a next step; or None.

    Of designs that were read in chunks, whose rows are not held, only names, levels and the number of rows are looked
    at. Families of the response may differ; priors and parameterisations are no part of a spec.
    """
    if first is second:
        return None
    return _other_structure(first, second) or _other_data(first, second)


def _other_structure(first: ModelSpec, second: ModelSpec) -> str | None:
    a, b = first.design, second.design
    formulas = f"The fits are of different models, {a.formula!r} and {b.formula!r}"
    if a.fixed_names != b.fixed_names:
        return f"{formulas}: the coefficients {_only(a.fixed_names, b.fixed_names)}. {SAME_MODEL}"
    if first.theta_names != second.theta_names:
        return f"{formulas}: the random effects {_only(first.theta_names, second.theta_names)}. {SAME_MODEL}"
    if first.sigma != second.sigma:
        known = [f"known to be {s:g}" if s is not None else "estimated" for s in (first.sigma, second.sigma)]
        return (
            f"The fits are of different models: σ is {known[0]} in one and {known[1]} in the other. Give sigma= to "
            "both or to neither."
        )
    return None


def _only(first: Sequence[str], second: Sequence[str]) -> str:
    """Which of two lists of names has what the other lacks."""
    parts = [
        f"{', '.join(map(repr, own))} {'is' if len(own) == 1 else 'are'} in the {which} only"
        for which, own in (
            ("first", [n for n in first if n not in second]),
            ("second", [n for n in second if n not in first]),
        )
        if own
    ]
    return " and ".join(parts) or "stand in another order"


def _other_data(first: ModelSpec, second: ModelSpec) -> str | None:
    a, b = first.design, second.design
    if first.n_obs != second.n_obs:
        return (
            f"The fits are to different data: {first.n_obs} and {second.n_obs} rows are used. Rows with missing values "
            f"that only one of the models drops are the usual cause. {SAME_MODEL}"
        )
    for g, h in zip(first.groupings, second.groupings, strict=True):
        if not np.array_equal(g.levels, h.levels):
            return (
                f"The fits are to different data: {g.name!r} has {g.n_levels} levels in one and {h.n_levels} in the "
                f"other, or other ones, or in another order. {SAME_MODEL}"
            )
    if a.stream is not None or b.stream is not None:
        return None
    if not np.array_equal(a.y, b.y):
        return (
            f"The fits are to different data: the responses, {a.response!r} and {b.response!r}, are other numbers. A "
            f"transformation, another subset or another order of the rows are the usual causes. {SAME_MODEL}"
        )
    if (words := _residuals(first)) != (others := _residuals(second)):
        return f"The fits are of different models: residuals are {words} in one and {others} in the other. {SAME_MODEL}"
    for name, x, y in _columns(first, second):
        if not _equal(x, y):
            return (
                f"The fits are to different data: {name} of one are not those of the other. Contrasts, transforms or "
                f"scales that differ under the same names are the usual cause. {SAME_MODEL}"
            )
    return None


def _residuals(spec: ModelSpec) -> str:
    """Variances and correlations of residuals, as they were asked for."""
    return ", ".join(spec.residual.calls) or "independent with one standard deviation"


def _columns(first: ModelSpec, second: ModelSpec) -> list[tuple[str, Any, Any]]:
    """What has to be the same row by row, with its name."""
    a, b = first.design, second.design
    out: list[tuple[str, Any, Any]] = [
        ("the fixed-effect columns", a.X, b.X),
        ("the weights", a.weights, b.weights),
        ("the offsets", a.offset, b.offset),
    ]
    for g, h in zip(first.groupings, second.groupings, strict=True):
        out += [(f"the levels of {g.name!r}", g.codes, h.codes), (f"the columns of {g.name!r}", g.Z, h.Z)]
    return out


def _equal(x: Any, y: Any) -> bool:
    if x is None or y is None:
        return x is y
    return np.array_equal(x, y)


def require_same_model(specs: Mapping[str, ModelSpec]) -> None:
    """Refuse fits that are not of one model and data.

    Raises
    ------
    DesignError
        With the reason.
    """
    (name, first), *others = specs.items()
    for other, spec in others:
        if (reason := difference(first, spec)) is not None:
            raise DesignError(f"{name!r} and {other!r} cannot stand side by side. {reason}")


def default_names(engines: Sequence[str]) -> tuple[str, ...]:
    """Names of fits by their engines: ``eb`` and ``fb`` for one of each kind, else the engines, numbered if repeated.

    Examples
    --------
    >>> from _ranef.comparison import default_names
    >>> default_names(["NUTS", "REML"])
    ('fb', 'eb')
    >>> default_names(["REML", "NUTS", "NUTS"])
    ('REML', 'NUTS_1', 'NUTS_2')
    """
    if len(engines) == 2 and len({PAIR[e] for e in engines}) == 2:
        return tuple(PAIR[e] for e in engines)
    counts, seen = Counter(engines), Counter[str]()
    out = []
    for engine in engines:
        seen[engine] += 1
        out.append(engine if counts[engine] == 1 else f"{engine}_{seen[engine]}")
    return tuple(out)


def formula_names(specs: Sequence[ModelSpec]) -> list[str]:
    """Names of models by their formulas and residual structures, with their number where one occurs twice."""
    names = [", ".join([spec.design.formula, *spec.residual.calls]) for spec in specs]
    return [name if names.count(name) == 1 else f"{name} [{i}]" for i, name in enumerate(names, 1)]


def check_names(names: Sequence[object]) -> None:
    """Refuse names of fits that could not head columns.

    Raises
    ------
    DesignError
        If a name is no text, or empty.
    """
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise DesignError(
                f"The fits of a mapping are named by its keys, and {name!r} is not a name: it must be a string that is "
                "not empty, as in compare({'default priors': fb, 'wide priors': wide})."
            )
