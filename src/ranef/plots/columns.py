"""Which columns of a design depend on a covariate, and how: what lines along it need to know.

A design holds columns rather than the data they were made from, so a covariate is one of its columns, or values that
the user gives; and the partner of a covariate in an interaction is their quotient, known where the covariate is not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ranef.arrays import Floats, Ints
from ranef.design.coding import code_terms
from ranef.design.values import Numeric
from ranef.errors import DesignError, suggestion
from ranef.formula import Name, Node, Span, Terms, label, walk
from ranef.spec import ModelSpec

__all__ = ["BENT", "FREE", "TIMES", "Covariate", "choose_covariate", "dependence"]

#: a column that does not depend on the covariate; is the covariate times something that does not; depends otherwise
FREE, TIMES, BENT = 0, 1, 2

#: factors of the term behind a column; none for the intercept
Factors = tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Covariate:
    """What the lines run along.

    Attributes
    ----------
    name : str
        As the design calls it, or of the series that was given.
    values : array (n_obs,)
    fixed : array of int (p,)
    random : tuple of array of int (p_k,)
        How the columns of X, and of Z by grouping, depend on it: ``FREE``, ``TIMES`` or ``BENT``.
    """

    name: str
    values: Floats
    fixed: Ints
    random: tuple[Ints, ...]


def choose_covariate(spec: ModelSpec, x: object, group: str | None) -> Covariate | None:
    """The covariate that `x` names or holds, or the one that most likely is meant; None if there is no numeric one.

    By default it is the first numeric covariate of the random effects (of `group`), else of the fixed ones.

    Raises
    ------
    DesignError
        If the design has no numeric column of that name, or a series has not as many numbers as there are rows.
    """
    known = numeric_columns(spec, group)
    if x is None:
        name = next(iter(known), None)
        return None if name is None else _covariate(spec, name, *known[name])
    if isinstance(x, str):
        if x not in known:
            raise DesignError(
                f"x={x!r} is no numeric covariate of the model.{suggestion(x, list(known))} It has: "
                f"{', '.join(map(repr, known)) or 'none'}. For another variable give its values, as x=data[{x!r}]."
            )
        return _covariate(spec, x, *known[x])
    return _given(spec, x)


def numeric_columns(spec: ModelSpec, group: str | None) -> dict[str, tuple[Node, Floats]]:
    """Main effects that are one numeric column, those of the random effects first: node and values (n_obs,) by name."""
    design = spec.design
    found: dict[str, tuple[Node, Floats]] = {}
    blocks = [
        (factors, g.Z)
        for g, factors in zip(spec.groupings, random_factors(spec), strict=True)
        if group is None or g.name == group
    ]
    for factors, matrix in [*blocks, (fixed_factors(spec), design.X)]:
        for j, own in enumerate(factors):
            if len(own) == 1 and _is_numeric(spec, own[0]):
                found.setdefault(label(own[0]), (own[0], matrix[:, j]))
    return found


def fixed_factors(spec: ModelSpec) -> list[Factors]:
    """Factors of the term behind every column of X."""
    terms = spec.design.encoding.fixed.terms
    return [terms[k - 1].factors if k > 0 else () for k in spec.design.assign]


def random_factors(spec: ModelSpec) -> list[list[Factors]]:
    """Factors of the term behind every column of Z, by grouping."""
    encoding = spec.design.encoding
    out: list[list[Factors]] = [[()] * len(g.columns) for g in spec.groupings]
    for t in spec.terms:
        effects: Terms = encoding.random[t.source].effects
        assign = code_terms(effects, encoding.templates, 0).assign
        out[t.grouping][t.where] = [effects.terms[k - 1].factors if k > 0 else () for k in assign]
    return out


def dependence(columns: Sequence[Factors], node: Node) -> Ints:
    """How columns (p,) depend on the variables of `node`: ``FREE``, ``TIMES`` or ``BENT``."""
    names = _names(node)
    out = np.full(len(columns), FREE, dtype=np.intp)
    for j, factors in enumerate(columns):
        touched = [f for f in factors if _names(f) & names]
        if touched:
            out[j] = TIMES if [label(f) for f in touched] == [label(node)] else BENT
    return out


def _covariate(spec: ModelSpec, name: str, node: Node, values: Floats) -> Covariate:
    random = tuple(dependence(factors, node) for factors in random_factors(spec))
    return Covariate(name, values, dependence(fixed_factors(spec), node), random)


def _given(spec: ModelSpec, x: Any) -> Covariate:
    design = spec.design
    if isinstance(x, pd.Series) and design.index.isin(x.index).all() and x.index.is_unique:
        values: Any = x.loc[design.index]
    else:
        values = np.asarray(x)[design.rows] if len(x) == spec.n_obs + design.n_dropped else np.asarray(x)
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise DesignError(f"x= does not hold numbers: {error}. Give a numeric column of the data.") from error
    if numbers.shape != (spec.n_obs,):
        raise DesignError(f"x= holds {numbers.shape} numbers; the model used {spec.n_obs} rows. Give a column of data.")
    name = str(getattr(x, "name", None) or "x")
    return _covariate(spec, name, Name(name, Span(0, 0)), numbers)


def _names(node: Node) -> set[str]:
    return {part.name for part in walk(node) if isinstance(part, Name)}


def _is_numeric(spec: ModelSpec, node: Node) -> bool:
    template = spec.design.encoding.templates.get(node)
    return isinstance(template, Numeric) and template.values.ndim == 1
