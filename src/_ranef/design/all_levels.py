"""The model matrix with a column for every level of every factor, as combinations of the columns of X.

No row of the data is needed: how levels are coded says it, and which columns of X were left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from _ranef.design.coding import code_terms, fully_coded
from _ranef.design.expression_values import Array, Codes, Factor, Mask, Numeric, Value, as_factor
from _ranef.design.records import Encoding
from _ranef.formula import Node, Terms

__all__ = ["EveryLevel", "every_level", "levels_of"]

#: combinations of levels beyond which rows are drawn, this many for each column
MOST_CELLS, ROWS = 20_000, 20


@dataclass(frozen=True, eq=False)
class EveryLevel:
    """m columns F = XK for p columns X.

    Attributes
    ----------
    K : ndarray of float64
        Shape (p, m).
    assign : ndarray of intp
        Shape (m,): 0 for the intercept, k for a column of the k-th term.
    treatment : ndarray of bool
        Shape (m,): which columns a coding against the first levels has, whatever that of X.
    inside : tuple of tuple of int
        For each term the terms that contain it: they have the same numeric predictors, and more factors.
    """

    K: Array
    assign: Codes
    treatment: Mask
    inside: tuple[tuple[int, ...], ...]


def every_level(encoding: Encoding) -> EveryLevel:
    """The columns of the fixed effects, as combinations of those that were kept."""
    coded = levels_of(encoding.fixed, encoding.templates)
    return replace(coded, K=_kept(encoding, len(coded.K)) @ coded.K)


def levels_of(terms: Terms, values: Mapping[Node, Value]) -> EveryLevel:
    """The columns of some terms, as combinations of those that they are coded by."""
    numeric = [frozenset(f for f in t.factors if isinstance(values[f], Numeric)) for t in terms.terms]
    factors = [frozenset(t.factors) - own for t, own in zip(terms.terms, numeric, strict=True)]
    full = fully_coded(terms, values)
    row = {node: _rows(value, [0]) for t in terms.terms for node in t.factors for value in (values[node],)}
    coded, whole = code_terms(terms, row, 1, full=full), code_terms(terms, row, 1, full=factors)
    K = np.zeros((len(coded.names), len(whole.names)))
    for own in dict.fromkeys([*([frozenset[Node]()] if terms.intercept else []), *numeric]):
        at = [i for i, sort in enumerate(numeric) if sort == own]
        some = Terms(terms.intercept and not own, tuple(terms.terms[i] for i in at))
        found = _map(some, values, [full[i] for i in at], [factors[i] for i in at])
        mine = [i + 1 for i in at] + [0] * some.intercept
        K[np.ix_(np.isin(coded.assign, mine), np.isin(whole.assign, mine))] = found
    plain = [np.ones(1, dtype=bool)] * terms.intercept
    plain += [_not_first(t.factors, values, own) for t, own in zip(terms.terms, full, strict=True)]
    inside = tuple(
        tuple(j for j in range(len(factors)) if numeric[j] == numeric[i] and factors[i] < factors[j])
        for i in range(len(factors))
    )
    return EveryLevel(K, whole.assign, np.concatenate([np.zeros(0, bool), *plain]), inside)


def _kept(encoding: Encoding, width: int) -> Array:
    """All columns (p, width) of the coding as combinations of those kept."""
    out = np.zeros((len(encoding.kept), width))
    out[np.arange(len(encoding.kept)), encoding.kept] = 1.0
    if encoding.aliases is not None:
        out[:, np.setdiff1d(np.arange(width), encoding.kept)] = encoding.aliases
    return out


def _map(
    terms: Terms, values: Mapping[Node, Value], full: Sequence[frozenset[Node]], every: Sequence[frozenset[Node]]
) -> Array:
    """Columns of every level from those coded, for terms with the same numeric predictors."""
    nodes = list(dict.fromkeys(f for t in terms.terms for f in t.factors))
    sizes = [_n_rows(values[node]) for node in nodes]
    if np.prod(sizes, dtype=float) <= MOST_CELLS:
        cells = np.array(list(product(*map(range, sizes))), dtype=np.intp).reshape(int(np.prod(sizes)), len(nodes))
    else:
        widths = [np.prod([size for n, size in zip(nodes, sizes, strict=True) if n in t.factors]) for t in terms.terms]
        draw = np.random.default_rng(0).integers
        cells = np.stack([draw(0, size, ROWS * int(sum(widths))) for size in sizes], axis=1)
    rows = {node: _rows(values[node], cells[:, i]) for i, node in enumerate(nodes)}
    X, F = (code_terms(terms, rows, len(cells), full=which).matrix for which in (full, every))
    found = np.linalg.lstsq(X, F, rcond=None)[0]
    return np.where(np.abs(found) > 1e-10, found, 0.0)


def _n_rows(value: Value) -> int:
    """Levels of a factor, columns of a numeric predictor."""
    if isinstance(value, Numeric):
        return 1 if value.values.ndim == 1 else value.values.shape[1]
    return len(as_factor(value).levels)


def _rows(value: Value, codes: Sequence[int] | Codes) -> Value:
    """Rows with these levels, and of a numeric predictor with 1 in that column."""
    at = np.asarray(codes, dtype=np.intp)
    if isinstance(value, Factor):
        return Factor(at, value.levels, value.ordered, value.contrast)
    if not isinstance(value, Numeric):
        return type(value)(at.astype(float))
    return Numeric(np.ones(len(at))) if value.values.ndim == 1 else Numeric(np.eye(_n_rows(value))[at], value.suffixes)


def _not_first(factors: Sequence[Node], values: Mapping[Node, Value], full: frozenset[Node]) -> Mask:
    """Of the columns of a term with all levels, those where no factor coded by contrasts is at its first."""
    out = np.ones(1, dtype=bool)
    for node in factors:
        own = np.ones(_n_rows(values[node]), dtype=bool)
        own[0] = isinstance(values[node], Numeric) or node in full
        out = (own[:, None] & out[None, :]).ravel()
    return out
