"""Which rows of the data a model can use, and the arguments that run beside the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from _ranef.design.expression_values import Array, Codes, Factor, Mask, Numeric, Value, drop_unused, kind_of, take
from _ranef.design.table import Table, need_column, read_table
from _ranef.design.text_like_numbers import look_of
from _ranef.errors import DesignError

__all__ = ["Extra", "complete_rows", "on_rows", "read_extra"]


@dataclass(frozen=True, eq=False)
class Extra:
    """Weights or an offset given as an argument.

    Attributes
    ----------
    values : ndarray of float64
        Shape (rows of the data,).
    column : str, optional
        The column it was named by.
    """

    values: Array
    column: str | None


def read_extra(what: str, given: Any, data: Any, table: Table) -> Extra:
    """Read the argument `what`: the name of a column, or one entry for each row.

    Raises
    ------
    DesignError
        For an unknown column, another length, another index or what is not numbers.
    """
    if isinstance(given, str):
        return Extra(_numbers(need_column(table, given, what), what, given), given)
    if isinstance(given, pd.Series) and isinstance(data, pd.DataFrame) and not given.index.equals(data.index):
        raise DesignError(
            f"The index of {what} is not that of the data. Give the name of a column, or an array in the order of the "
            "rows."
        )
    if hasattr(given, "columns") or isinstance(given, Mapping):
        raise DesignError(f"{what} is a {type(given).__name__}. Give the name of a column, or one array.")
    n = len(given) if hasattr(given, "__len__") else None
    if n != table.n:
        found = f"has {n} entries" if n is not None else f"is {given!r}"
        raise DesignError(f"{what} {found}, and the data have {table.n} rows. Give one entry for each row of the data.")
    return Extra(_numbers(read_table({what: given}).column(what), what, what), None)


def _numbers(value: Value, what: str, name: str) -> Array:
    if isinstance(value, Factor) and (look := look_of(value.levels)) is not None:
        raise DesignError(f"{what} must be numbers, and is text that looks like {look.words}: {look.advice(name)}.")
    if not isinstance(value, Numeric):
        raise DesignError(f"{what} must be numbers; a {kind_of(value)} column was given. Convert it to numbers.")
    return value.values


def complete_rows(gaps: Iterable[tuple[str, Mask]], table: Table, na_action: str) -> Codes:
    """Find the rows where nothing is missing.

    Parameters
    ----------
    gaps : iterable of (str, ndarray of bool)
        For each thing that the model uses its name, and where it is missing: shape (rows of the data,).
    table : Table
        The data, for messages.
    na_action : str
        ``omit`` or ``error``.

    Returns
    -------
    ndarray of intp
        Shape (n,): positions, ascending.

    Raises
    ------
    DesignError
        If a row is incomplete and `na_action` is ``error``, or if every row is.
    """
    gaps = list(gaps)
    incomplete = np.zeros(table.n, dtype=bool)
    for _, mask in gaps:
        incomplete |= mask
    if na_action == "error" and incomplete.any():
        row = int(incomplete.argmax())
        name = next(name for name, mask in gaps if mask[row])
        raise DesignError(
            f"Values are missing in {incomplete.sum()} of {table.n} rows, first {name} in {table.row(row)}, and "
            "na_action='error' refuses them. Fill them in, or drop those rows, as na_action='omit' does."
        )
    if incomplete.all():
        most, mask = max(gaps, key=lambda gap: int(gap[1].sum()))
        raise DesignError(
            f"No row is complete: each of the {table.n} rows misses a value that the model uses, most often {most} "
            f"({mask.sum()} rows). Leave out the variables that are rarely there."
        )
    return np.flatnonzero(~incomplete).astype(np.intp)


def on_rows(values: Mapping[Any, Value], rows: Codes, n: int) -> dict[Any, Value]:
    """Keep `rows` of `n` in every value, and of a factor the levels that are then used."""
    kept = values if len(rows) == n else {key: take(value, rows) for key, value in values.items()}
    return {key: drop_unused(value) if isinstance(value, Factor) else value for key, value in kept.items()}
