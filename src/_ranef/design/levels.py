"""The levels of factors whose rows are seen chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd

from _ranef.design.expression_values import Array, Codes, Numeric, Value, as_factor, drop_unused, labels_of

__all__ = ["Levels", "NumberLookup", "Seen", "levels_seen", "number_lookup"]

#: a table of codes by number is used up to this many entries for each level
SPARSEST = 64


@dataclass(frozen=True, eq=False)
class Seen:
    """The levels of one factor in one chunk.

    Attributes
    ----------
    declared : tuple of str, or ndarray
        All levels, used or not; of a column of numbers the distinct ones, ascending.
    used : tuple of str
        The levels that rows have; empty for numbers.
    """

    declared: tuple[str, ...] | Array
    used: tuple[str, ...] = ()


def levels_seen(value: Value) -> Seen:
    """The levels in a chunk's rows, which must be complete."""
    if isinstance(value, Numeric):
        return Seen(_distinct_numbers(value.values))
    factor = as_factor(value)
    used = drop_unused(factor).levels
    return Seen(np.array(used, dtype=np.float64)) if factor.numbers else Seen(factor.levels, used)


@dataclass(eq=False, repr=False)
class Levels:
    """The levels of one factor over all chunks, in the order that one frame of all rows would give them."""

    _numbers: list[Array] = field(default_factory=list)
    _declared: list[tuple[str, ...]] = field(default_factory=list)
    _used: dict[str, None] = field(default_factory=dict)

    def add(self, seen: Seen) -> None:
        """Add those of a chunk."""
        if isinstance(seen.declared, np.ndarray):
            if not self._numbers or not np.array_equal(seen.declared, self._numbers[-1]):
                self._numbers.append(seen.declared)
            return
        self._used.update(dict.fromkeys(seen.used))
        if seen.declared not in self._declared:
            self._declared.append(seen.declared)

    def labels(self) -> tuple[str, ...]:
        """Numbers ascending; categories in their own order; text, or categories that differ, sorted or as met."""
        if self._numbers:
            return labels_of(np.unique(np.concatenate(self._numbers)))
        if len(self._declared) > 1 and all(list(levels) == sorted(levels) for levels in self._declared):
            return tuple(sorted(self._used))
        order = dict.fromkeys(level for levels in self._declared for level in levels)
        return tuple(level for level in order if level in self._used)


def _distinct_numbers(values: Array) -> Array:
    """The distinct entries, ascending; whole numbers that lie close together are marked in a table."""
    low, high = values.min(), values.max()
    if _dense(low, high, values.shape[0]):
        whole = values.astype(np.intp)
        if np.array_equal(whole, values):
            seen = np.zeros(int(high - low) + 1, dtype=bool)
            seen[whole - int(low)] = True
            return np.asarray(np.flatnonzero(seen) + low)
    return np.asarray(np.unique(values))


def _dense(low: float, high: float, n: int) -> bool:
    return bool(high - low < SPARSEST * n and abs(low) < 2**52 and abs(high) < 2**52)


class NumberLookup:
    """Finds the codes of numbers among the labels of levels.

    Parameters
    ----------
    levels : sequence of str
    """

    def __init__(self, levels: Sequence[str]) -> None:
        numbers = _numbers(levels)
        known = np.flatnonzero(~np.isnan(numbers))
        whole = known.size > 0 and bool((numbers[known] == np.round(numbers[known])).all())
        self._low = self._high = 0
        self._table: Codes | None = None
        if whole and _dense(numbers[known].min(), numbers[known].max(), known.size):
            self._low, self._high = int(numbers[known].min()), int(numbers[known].max())
            self._table = np.full(self._high - self._low + 1, -1, dtype=np.intp)
            self._table[numbers[known].astype(np.intp) - self._low] = known
        self._consecutive = self._table is not None and np.array_equal(self._table, np.arange(len(self._table)))
        self._index = pd.Index(numbers[known])
        self._known = np.append(known, -1)

    def codes(self, values: Array) -> Codes:
        """The code of each number (n,); −1 where it is no level."""
        if self._table is not None:
            with np.errstate(invalid="ignore"):  # of what is missing or too large, which is then no level
                whole = values.astype(np.intp)
            places = whole - self._low
            if places.min() >= 0 and places.max() <= self._high - self._low and np.array_equal(whole, values):
                return places if self._consecutive else self._table[places]
            inside = (whole == values) & (places >= 0) & (places <= self._high - self._low)
            return np.where(inside, np.take(self._table, places, mode="clip"), -1)
        return np.asarray(self._known[self._index.get_indexer(pd.Index(values))], dtype=np.intp)


def _numbers(levels: Sequence[str]) -> Array:
    """The numbers that are written as `levels`, NaN for what is no number or not written so."""
    numbers = np.array([_number(level) for level in levels])
    written = np.array([found == level for found, level in zip(labels_of(numbers), levels, strict=True)], dtype=bool)
    return np.where(written, numbers, np.nan)


def _number(level: str) -> float:
    try:
        return float(level)
    except ValueError:
        return float("nan")


@lru_cache(maxsize=16)
def number_lookup(levels: tuple[str, ...]) -> NumberLookup:
    """The lookup for a tuple of levels, made once."""
    return NumberLookup(levels)
