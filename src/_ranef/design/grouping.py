"""Grouping factors: level codes and labels, from one column or the interaction of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.design.expression_values import Codes, Factor, Numeric, Value, as_factor, drop_unused, with_levels
from _ranef.design.levels import number_lookup
from _ranef.errors import DesignError
from _ranef.formula import Node, label

__all__ = ["Grouping", "group_codes", "grouping_of_cells", "make_grouping"]

_MOST_CELLS, _EXACT = 2**62, 2**53


@dataclass(frozen=True, eq=False)
class Grouping:
    """The levels of a grouping factor.

    Attributes
    ----------
    parts : tuple of tuple of str
        For each factor that is crossed, its levels.
    cells : ndarray of intp
        Shape (J,), ascending: the combinations that are present, numbered with the last factor fastest.
    levels : ndarray of object
        Shape (J,): their labels, joined by ``:``.
    """

    parts: tuple[tuple[str, ...], ...]
    cells: Codes
    levels: NDArray[np.object_]


def make_grouping(nodes: Sequence[Node], values: Sequence[Value]) -> tuple[Grouping, Codes]:
    """Make the grouping factor of complete rows.

    Parameters
    ----------
    nodes : sequence of Node
        The factors whose interaction groups.
    values : sequence of Value
        Their values, without missing entries; numbers and logicals are read as factors.

    Returns
    -------
    grouping : Grouping
        The levels that are present.
    codes : ndarray of intp
        Shape (n,): the level of each row.

    Raises
    ------
    DesignError
        If an expression has several columns, or two levels would get the same label.
    """
    factors = [drop_unused(_one_column(node, value)) for node, value in zip(nodes, values, strict=True)]
    parts = tuple(factor.levels for factor in factors)
    if len(factors) == 1:
        levels = np.array(parts[0], dtype=object)
        return Grouping(parts, np.arange(len(levels)), levels), factors[0].codes
    codes, cells = pd.factorize(_combined(factors, nodes), sort=True)
    return grouping_of_cells(parts, cells.astype(np.intp), nodes), codes.astype(np.intp)


def grouping_of_cells(parts: tuple[tuple[str, ...], ...], cells: Codes, nodes: Sequence[Node]) -> Grouping:
    """The grouping whose levels are the given cells, ascending, of several crossed factors.

    Raises
    ------
    DesignError
        If two levels would get the same label.
    """
    labels = _labels(parts, cells)
    if len(set(labels)) < len(labels):
        name = ":".join(map(label, nodes))
        raise DesignError(
            f"Different levels of {name} have the same label, because a level itself holds ':'. Rename it."
        )
    return Grouping(parts, cells, labels)


def group_codes(grouping: Grouping, nodes: Sequence[Node], values: Sequence[Value]) -> tuple[Codes, tuple[str, ...]]:
    """Find the level of each row of new data.

    Returns
    -------
    codes : ndarray of intp
        Shape (m,): a known level below J, an unseen one from J on, -1 where it is missing.
    unseen : tuple of str
        Labels of the unseen levels, in order of appearance.
    """
    if len(values) == 1 and isinstance(values[0], Numeric) and values[0].values.ndim == 1:
        codes = number_lookup(grouping.parts[0]).codes(values[0].values)
        if not ((codes < 0) & ~np.isnan(values[0].values)).any():
            return codes, ()
    own = [_one_column(node, value) for node, value in zip(nodes, values, strict=True)]
    factors = [with_levels(factor, levels) for factor, levels in zip(own, grouping.parts, strict=True)]
    codes = factors[0].codes.copy() if len(factors) == 1 else _cell_codes(grouping, factors, nodes)
    new = (codes < 0) & np.all([factor.codes >= 0 for factor in own], axis=0)
    parts = [np.array(factor.levels, dtype=object)[factor.codes[new]] for factor in own]
    numbers, unseen = pd.factorize(np.array([":".join(row) for row in zip(*parts, strict=True)], dtype=object))
    codes[new] = len(grouping.levels) + numbers
    return codes, tuple(unseen)


def _cell_codes(grouping: Grouping, factors: Sequence[Factor], nodes: Sequence[Node]) -> Codes:
    combined = _combined(factors, nodes)
    found = np.searchsorted(grouping.cells, combined)
    found[found == len(grouping.cells)] = 0
    absent = np.any([factor.codes < 0 for factor in factors], axis=0)
    return np.where(absent | (grouping.cells[found] != combined), -1, found).astype(np.intp)


def _one_column(node: Node, value: Value) -> Factor:
    if isinstance(value, Numeric) and value.values.ndim == 2:
        raise DesignError(
            f"{label(node)} has {value.values.shape[1]} columns and cannot group rows: name one column with a level "
            "for each row."
        )
    if isinstance(value, Numeric) and np.abs(value.values).max(initial=0.0) > _EXACT:
        raise DesignError(
            f"{label(node)} groups rows by numbers beyond 2^53, as long identifiers are, which lose digits: levels "
            "that differ would be one. Read the column as text, as by pandas.read_csv(..., dtype={'id': str})."
        )
    return as_factor(value)


def _combined(factors: Sequence[Factor], nodes: Sequence[Node]) -> Codes:
    if prod(len(factor.levels) for factor in factors) > _MOST_CELLS:
        raise DesignError(
            f"{':'.join(map(label, nodes))} has too many possible combinations of levels. Make one column that holds "
            "the combination as text, and group by it."
        )
    total = factors[0].codes
    for factor in factors[1:]:
        total = total * len(factor.levels) + factor.codes
    return total


def _labels(parts: tuple[tuple[str, ...], ...], cells: Codes) -> NDArray[np.object_]:
    texts = []
    for levels in reversed(parts):
        cells, codes = np.divmod(cells, len(levels))
        texts.append(np.array(levels, dtype=object)[codes])
    return np.array([":".join(row) for row in zip(*reversed(texts), strict=True)], dtype=object)
