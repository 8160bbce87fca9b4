"""Which columns of a design depend on a covariate, and how: what lines along it need to know.

A design holds columns rather than the data they were made from, so a covariate is one of its columns, or values that
the user gives; and the partner of a covariate in an interaction is their quotient, known where the covariate is not 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from _ranef.design.coding import code_terms
from _ranef.design.expression_values import Factor, Numeric, as_factor
from _ranef.errors import DesignError, suggestion
from _ranef.formula import Name, Node, Span, Term, Terms, label, walk
from _ranef.spec import ModelSpec, moments
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "BENT",
    "FREE",
    "TIMES",
    "Covariate",
    "choose_covariate",
    "constant_factor",
    "dependence",
    "random_covariates",
]

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
        Of a factor the places of its categories.
    fixed : array of int (p,)
    random : tuple of array of int (p_k,)
        How the columns of X, and of Z by grouping, depend on it: ``FREE``, ``TIMES`` or ``BENT``.
    categories : tuple of str
        Of a factor; empty for numbers.
    """

    name: str
    values: Floats
    fixed: Ints
    random: tuple[Ints, ...]
    categories: tuple[str, ...] = ()


def choose_covariate(spec: ModelSpec, x: object, group: str | None) -> Covariate | None:
    """The covariate that `x` names or holds, or the one that most likely is meant; None if there is none.

    By default it is the first numeric one of the random effects (of `group`), else their first factor; else the first
    numeric one of the fixed effects, or their first factor that differs between rows of one level.

    Raises
    ------
    DesignError
        If the design has no column or factor of that name, or a series has not as many numbers as there are rows.
    """
    if x is None:
        return next((c for c in _likely(spec, group)), None)
    numeric, factors = numeric_columns(spec, group), factor_columns(spec, group)
    name = x if isinstance(x, str) else getattr(x, "name", None)
    if isinstance(name, str) and name in factors:
        return factors[name]
    if isinstance(x, str):
        if x not in numeric:
            known = [*numeric, *factors]
            raise DesignError(
                f"x={x!r} is no covariate of the model with a column or factor of its own.{suggestion(x, known)} It "
                f"has: {', '.join(map(repr, known)) or 'none'}. For another variable give its values, as x=data[{x!r}]."
            )
        return _covariate(spec, x, *numeric[x])
    return _given(spec, x)


def _likely(spec: ModelSpec, group: str | None) -> Iterator[Covariate]:
    numeric, factors = numeric_columns(spec, group), factor_columns(spec, group)
    along = {name: _covariate(spec, name, *found) for name, found in numeric.items()}
    varying = [c for c in (*along.values(), *factors.values()) if any((k != FREE).any() for k in c.random)]
    yield from (c for c in varying if group is None or _varies_in(spec, group, c))
    yield from along.values()
    yield from (c for c in factors.values() if _differs_within(spec, group, c))


def _varies_in(spec: ModelSpec, group: str, covariate: Covariate) -> bool:
    """Whether effects of a grouping factor depend on the covariate."""
    places = [i for i, g in enumerate(spec.groupings) if g.name == group]
    return any((covariate.random[i] != FREE).any() for i in places)


def _differs_within(spec: ModelSpec, group: str | None, covariate: Covariate) -> bool:
    """Whether rows of one level of a grouping factor (of any, where none is named) differ in the covariate."""
    values = pd.Series(covariate.values)
    return any(
        bool((values.groupby(g.codes).nunique() > 1).any()) for g in spec.held.groupings if group in (None, g.name)
    )


def constant_factor(spec: ModelSpec, group: str) -> Covariate | None:
    """The first factor that is constant within the levels of a grouping factor, and not the same for all."""
    found = factor_columns(spec, None).values()
    return next((c for c in found if not _differs_within(spec, group, c) and np.ptp(c.values) > 0), None)


def random_covariates(spec: ModelSpec, k: int, q: int) -> tuple[str, ...]:
    """Names of the covariates in column `q` of the random effects of grouping `k`; none in an intercept."""
    return tuple(label(node) for node in random_factors(spec)[k][q])


def numeric_columns(spec: ModelSpec, group: str | None) -> dict[str, tuple[Node, Floats]]:
    """Main effects that are one numeric column, those of the random effects first: node and values (n_obs,) by name."""
    found: dict[str, tuple[Node, Floats]] = {}
    for factors, matrix in _blocks(spec, group):
        for j, own in enumerate(factors):
            if len(own) == 1 and _is_numeric(spec, own[0]):
                found.setdefault(label(own[0]), (own[0], matrix[:, j]))
    return found


def numeric_means(spec: ModelSpec) -> dict[str, float]:
    """Means over the rows of main effects that are one numeric column, by name."""
    own, found = moments(spec), dict[str, float]()
    for factors, R in [*zip(random_factors(spec), own.Z, strict=True), (fixed_factors(spec), own.X)]:
        for node, mean in zip(factors, R[0, 0] * R[0, 1:], strict=True):
            if len(node) == 1 and _is_numeric(spec, node[0]):
                found.setdefault(label(node[0]), float(mean))
    return found


def factor_columns(spec: ModelSpec, group: str | None) -> dict[str, Covariate]:
    """Main effects of factors, those of the random effects first, by name: their categories in every row.

    Columns say which category a row has, whatever their coding: they are compared with those of each category.
    """
    found: dict[str, Covariate] = {}
    for factors, matrix in _blocks(spec, group):
        for node in dict.fromkeys(own[0] for own in factors if len(own) == 1 and not _is_numeric(spec, own[0])):
            own = [j for j, f in enumerate(factors) if f == (node,)]
            value = spec.design.encoding.templates[node]
            if label(node) in found or isinstance(value, Numeric):
                continue
            factor = as_factor(value)
            codes = _categories(matrix[:, own], node, factor)
            if codes is not None:
                found[label(node)] = _factor_covariate(spec, node, codes, factor.levels)
    return found


def _categories(columns: Floats, node: Node, factor: Factor) -> Ints | None:
    """Category (n,) of each row by the columns (n, p) of a factor; None where columns were left out."""
    K = len(factor.levels)
    coded = np.eye(K)
    if columns.shape[1] == K - 1:
        each = {node: replace(factor, codes=np.arange(K))}
        coded = code_terms(Terms(True, (Term((node,), Span(0, 0)),)), each, K).matrix[:, 1:]
    if columns.shape[1] != coded.shape[1]:
        return None
    distance = np.stack([np.abs(columns - row).max(axis=1) for row in coded])
    return np.asarray(distance.argmin(axis=0))


def _factor_covariate(spec: ModelSpec, node: Node, codes: Ints, levels: tuple[str, ...]) -> Covariate:
    """A factor: all columns that it is part of are as they are in the rows of each category."""
    fixed, *random = (
        np.where(dependence(columns, node) == FREE, FREE, BENT)
        for columns in (fixed_factors(spec), *random_factors(spec))
    )
    return Covariate(label(node), codes.astype(float), fixed, tuple(random), levels)


def _blocks(spec: ModelSpec, group: str | None) -> list[tuple[list[Factors], Floats]]:
    """Factors behind the columns, and the columns (n_obs, p): of the random effects (of `group`), then of X."""
    spec = spec.held
    found = [
        (factors, g.Z)
        for g, factors in zip(spec.groupings, random_factors(spec), strict=True)
        if group is None or g.name == group
    ]
    return [*found, (fixed_factors(spec), spec.design.X)]


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
    design = spec.held.design
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
