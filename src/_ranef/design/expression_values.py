"""What an expression can be worth: numbers, logicals, factors, and constants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "MOST_COLUMNS",
    "Array",
    "Codes",
    "Constant",
    "Contrast",
    "Factor",
    "Logical",
    "Mask",
    "Numeric",
    "Value",
    "all_finite",
    "as_factor",
    "blank",
    "drop_unused",
    "factor_of",
    "gaps_of",
    "kind_of",
    "label_of",
    "labels_of",
    "missing",
    "rows_of",
    "scatter",
    "take",
    "with_levels",
]

Array: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]

#: columns of one matrix beyond which nothing is built
MOST_COLUMNS = 10_000

_EXACT = 1e15


@dataclass(frozen=True)
class Contrast:
    """A contrast coding to be used for a factor: its kind, and the base level where the kind has one."""

    kind: str
    base: str | None = None


@dataclass(frozen=True, eq=False)
class Numeric:
    """Numbers.

    Attributes
    ----------
    values : ndarray of float64
        Shape (n,) or (n, k); NaN where missing.
    suffixes : tuple of str
        One for each of the k columns, as ``[1]``; empty for shape (n,).
    """

    values: Array
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Logical:
    """Truth values as float64 of shape (n,): 1, 0, or NaN where missing."""

    values: Array


@dataclass(frozen=True, eq=False)
class Factor:
    """A categorical variable.

    Attributes
    ----------
    codes : ndarray of intp
        Shape (n,): positions in `levels`, -1 where missing.
    levels : tuple of str
        Distinct labels in their order.
    ordered : bool
        Whether the order carries meaning, which makes polynomial contrasts the default.
    contrast : Contrast, optional
        The coding asked for by ``C()`` or ``relevel()``.
    numbers : bool
        Whether the levels were numbers, and are in their order.
    """

    codes: Codes
    levels: tuple[str, ...]
    ordered: bool = False
    contrast: Contrast | None = None
    numbers: bool = False


Value: TypeAlias = Numeric | Logical | Factor
"""Something with one entry for each row."""

Constant: TypeAlias = float | bool | str | Contrast | tuple[float | bool | str, ...] | None
"""Something that knows no rows; ``None`` is R's NULL."""

_V = TypeVar("_V", bound=Value)


def missing(value: Value) -> Mask:
    """Tell for each row whether `value` is missing there; shape (n,)."""
    if isinstance(value, Factor):
        return value.codes < 0
    if all_finite(value.values):
        return np.zeros(len(value.values), dtype=bool)
    gaps: Mask = np.isnan(value.values)
    return np.logical_or.reduce(gaps, axis=1) if gaps.ndim == 2 else gaps


def all_finite(values: Array) -> bool:
    """Tell quickly whether there is no NaN and no infinity; sums that overflow are taken for one."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum()))


def gaps_of(values: Iterable[Value]) -> Mask | None:
    """Where any of the values is missing, or None where nothing is."""
    found: Mask | None = None
    for value in values:
        if not isinstance(value, Factor) and all_finite(value.values):
            continue
        mask = missing(value)
        if mask.any():
            found = mask if found is None else found | mask
    return found


def take(value: _V, rows: NDArray[Any]) -> _V:
    """Keep some rows: positions, or a mask."""
    if isinstance(value, Factor):
        return replace(value, codes=value.codes[rows])
    return replace(value, values=value.values[rows])


def scatter(value: _V, rows: NDArray[np.intp], n: int) -> _V:
    """Put a value known at positions `rows` among `n` rows, missing elsewhere."""
    if isinstance(value, Factor):
        codes = np.full(n, -1, dtype=np.intp)
        codes[rows] = value.codes
        return replace(value, codes=codes)
    values = np.full((n, *value.values.shape[1:]), np.nan)
    values[rows] = value.values
    return replace(value, values=values)


def blank(value: _V) -> _V:
    """Keep what a value is, and none of its rows."""
    return take(value, np.empty(0, dtype=np.intp))


def kind_of(value: Value) -> str:
    """Name the kind of a value: numeric, logical or factor."""
    return type(value).__name__.lower()


def label_of(level: object) -> str:
    """Write a level as text; an integer-valued float as the integer, ``308.0`` as ``'308'``."""
    if isinstance(level, float | np.floating):
        number = float(level)
        return str(int(number)) if number.is_integer() and abs(number) < _EXACT else repr(number)
    return str(level)


def labels_of(levels: Any) -> tuple[str, ...]:
    """Write an array of levels as text, as :func:`label_of` does one by one."""
    if levels.dtype.kind == "f" and levels.size and (np.abs(levels) < _EXACT).all() and (levels % 1 == 0).all():
        return tuple(map(str, levels.astype(np.int64).tolist()))
    return tuple(map(label_of, levels.tolist()))


def factor_of(raw: Any) -> Factor:
    """Make a factor of an array of shape (n,) of text or numbers: the distinct ones, sorted, are the levels."""
    codes, uniques = pd.factorize(raw, sort=True)
    levels = np.asarray(uniques)
    return Factor(codes.astype(np.intp, copy=False), labels_of(levels), numbers=levels.dtype.kind in "iuf")


def as_factor(value: Value) -> Factor:
    """Read any value of one column as a factor; a logical has the levels ``False`` and ``True``."""
    if isinstance(value, Factor):
        return value
    if isinstance(value, Logical):
        codes = np.where(np.isnan(value.values), -1, value.values).astype(np.intp)
        return Factor(codes, ("False", "True"))
    if value.values.ndim == 2:
        raise TypeError("expected one column")
    return factor_of(value.values)


def drop_unused(factor: Factor) -> Factor:
    """Leave out the levels that no row has."""
    used = np.bincount(factor.codes[factor.codes >= 0], minlength=len(factor.levels)) > 0
    if used.all():
        return factor
    lookup = np.where(used, np.cumsum(used) - 1, -1).astype(np.intp)
    levels = tuple(level for level, kept in zip(factor.levels, used, strict=True) if kept)
    return replace(factor, codes=np.where(factor.codes < 0, -1, lookup[factor.codes]), levels=levels)


def rows_of(factor: Factor) -> dict[str, int]:
    """How many rows each level has, in the order of the levels."""
    counts = np.bincount(factor.codes[factor.codes >= 0], minlength=len(factor.levels))
    return dict(zip(factor.levels, counts.tolist(), strict=True))


def with_levels(factor: Factor, levels: Iterable[str]) -> Factor:
    """Recode to the given levels; the code is -1 where the level is not among them."""
    levels = tuple(levels)
    if factor.levels == levels:
        return factor
    # the last entry serves the code -1
    lookup = np.append(pd.Index(levels, dtype=object).get_indexer(pd.Index(factor.levels, dtype=object)), -1)
    return replace(factor, codes=lookup[factor.codes].astype(np.intp), levels=levels, numbers=False)
