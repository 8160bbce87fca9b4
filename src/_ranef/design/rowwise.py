"""Whether the user's functions work row by row: one that does not gives other rows other values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _ranef.design.evaluate import evaluate
from _ranef.design.expression_values import Factor, Value, take
from _ranef.design.newdata import scope_of
from _ranef.design.records import Encoding
from _ranef.design.table import Table
from _ranef.errors import RanefError
from _ranef.formula import Call, Node, walk

__all__ = ["not_row_by_row"]


def not_row_by_row(nodes: Iterable[Node], encoding: Encoding, table: Table) -> list[Call]:
    """The calls of the user's functions that give a row of `table` another value when they see half of its rows."""
    found = []
    for node in nodes:
        calls = [part for part in walk(node) if isinstance(part, Call) and part.function in encoding.transforms]
        if calls and not _alike(node, encoding, table):
            found.append(calls[0])
    return found


def _alike(node: Node, encoding: Encoding, table: Table) -> bool:
    half = np.arange((table.n + 1) // 2)
    try:
        whole, some = (evaluate(node, scope_of(encoding, rows)) for rows in (table, table.taken(half)))
    except RanefError:  # it cannot do with fewer rows, or they have no value
        return False
    return _same(_entries(take(whole, half)), _entries(some))


def _entries(value: Value) -> NDArray[Any]:
    """The entries of a value, numbers or levels; missing ones are equal to each other."""
    if isinstance(value, Factor):
        return np.array([*value.levels, None], dtype=object)[value.codes]
    return np.nan_to_num(value.values, nan=np.inf)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether entries are equal, numbers up to what the order of a sum may change."""
    if one.shape != other.shape:
        return False
    if one.dtype == object or other.dtype == object:
        return np.array_equal(one, other)
    return bool(np.allclose(one, other, rtol=1e-12, atol=0.0))
