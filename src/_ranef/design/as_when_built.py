"""Columns of new data, read as what they were when the model was built."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from _ranef.design.expression_values import (
    Factor,
    Logical,
    Numeric,
    Value,
    as_factor,
    kind_of,
    missing,
    scatter,
    with_levels,
)
from _ranef.design.table import Table
from _ranef.errors import DesignError

__all__ = ["conform"]


def conform(column: Value, known: Value, name: str, table: Table) -> Value:
    """Read a column of new data as what it was; levels that are new stand after the known ones.

    Parameters
    ----------
    column : Value
        The column as it is.
    known : Value
        What it was; only its kind and levels count.
    name : str
        Its name, for messages.
    table : Table
        The new data, for messages.

    Raises
    ------
    DesignError
        If it cannot be read so.
    """
    if isinstance(known, Factor):
        factor = as_factor(column)
        seen = set(known.levels)
        levels = (*known.levels, *(level for level in factor.levels if level not in seen))
        return replace(with_levels(factor, levels), ordered=known.ordered)
    present = ~missing(column)
    if not present.any():
        return scatter(known, np.empty(0, dtype=np.intp), table.n)
    if isinstance(column, Factor):
        raise _changed(name, known, column, int(present.argmax()), table)
    if isinstance(known, Numeric):
        return Numeric(column.values)
    strange = present & (column.values != 0) & (column.values != 1)
    if strange.any():
        raise _changed(name, known, column, int(strange.argmax()), table)
    return Logical(column.values)


def _changed(name: str, known: Value, column: Value, row: int, table: Table) -> DesignError:
    entry = column.levels[column.codes[row]] if isinstance(column, Factor) else float(column.values[row])
    return DesignError(
        f"Column {name!r} was {kind_of(known)} when the model was built, and is {entry!r} in {table.row(row)} of the "
        "new data. Convert it to the same type."
    )
