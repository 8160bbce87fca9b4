"""Columns of any data frame, by name: each one that is asked for is converted once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Number, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from _ranef.design.expression_values import (
    Array,
    Codes,
    Factor,
    Logical,
    Numeric,
    Value,
    all_finite,
    factor_of,
    label_of,
    with_levels,
)
from _ranef.design.lazy import LazyModule
from _ranef.errors import DesignError, suggestion

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw
else:
    nw = LazyModule("narwhals.stable.v2")

__all__ = ["EXACT_INTEGER", "Table", "are_rows", "column_names", "need_column", "numbered_table", "read_table"]

_SHOWN = 12
EXACT_INTEGER = 2**53
_TEXT = {"string", "empty"}
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}


@dataclass(frozen=True, eq=False)
class Table:
    """A data frame seen by its column names.

    Attributes
    ----------
    names : tuple of str
        The columns.
    n : int
        The number of rows.
    index : pandas.Index
        The data's own index for pandas, else positions.
    source : Any
        The frame of pandas or narwhals, or the mapping of columns; never changed.
    first : int
        The position of the first row among all of the data; not 0 for a later chunk.
    """

    names: tuple[str, ...]
    n: int
    index: pd.Index[Any]
    source: Any
    first: int = 0
    _converted: dict[str, Value] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def column(self, name: str) -> Value:
        """Convert one column, or give it again.

        Raises
        ------
        DesignError
            For a column that holds no numbers, logicals, text or categories, or an infinite number.
        """
        if name not in self._converted:
            self._converted[name] = _encodable(name, lambda: self._read(name))
        return self._converted[name]

    def _read(self, name: str) -> Value:
        column = self.source[name]
        value = _of_pandas(column, name, self) if isinstance(column, pd.Series) else None
        return _convert(_series(name, column), name, self) if value is None else value

    def declares_categories(self, name: str) -> bool:
        """Whether a column is of a type that says that it holds categories."""
        if name not in self.names:
            return False
        column = self.source[name]
        if isinstance(column, pd.Series) and isinstance(column.dtype, np.dtype | pd.CategoricalDtype):
            return isinstance(column.dtype, pd.CategoricalDtype)
        return _series(name, column).dtype in (nw.Categorical, nw.Enum)

    def taken(self, rows: Codes) -> Table:
        """A table of some of the rows."""
        held = self.source
        if isinstance(held, Mapping):
            held = {name: _series(name, held[name])[rows] for name in self.names}
        else:
            held = held.iloc[rows] if isinstance(held, pd.DataFrame) else held[rows]
        return Table(self.names, len(rows), self.index[rows], held)

    def row(self, position: int) -> str:
        """Name a row in a message: its position counted from 0, and its index label where that differs."""
        label, place = self.index[position], self.first + position
        same = isinstance(label, int | np.integer) and label == place
        return f"row {place}" if same else f"row {place} (index {label!r})"


def numbered_table(data: Any, before: int) -> Table:
    """A frame of which `before` rows of others come first; labels that only count go on from there."""
    table = read_table(data)
    numbered = isinstance(table.index, pd.RangeIndex) and table.index.start == 0
    index = pd.RangeIndex(before, before + table.n) if numbered else table.index
    return replace(table, first=before, index=index)


def read_table(data: Any) -> Table:
    """See `data` as a table.

    Parameters
    ----------
    data : Any
        A data frame of pandas or polars, a pyarrow table, a mapping of column names to sequences, or a list of rows,
        each a mapping of column names to values.

    Raises
    ------
    DesignError
        If it is none of these, is empty, or its columns have equal names or unequal lengths.

    Examples
    --------
    >>> from _ranef.design.table import read_table
    >>> table = read_table({"g": ["b", "a", "b"]})
    >>> table.column("g").levels, table.column("g").codes.tolist()
    (('a', 'b'), [1, 0, 1])
    """
    if isinstance(data, Mapping):
        return _not_empty(_read_mapping(data))
    if are_rows(data):
        data = pd.DataFrame.from_records(data)
    if isinstance(data, pd.DataFrame):
        data = _named_by_text(data)
        if data.columns.is_unique:
            return _not_empty(Table(tuple(data.columns), len(data), data.index, data))
    try:
        frame = nw.from_native(data, eager_only=True)
        names = tuple(frame.columns)
    except nw.exceptions.DuplicateError as error:
        which = ", ".join(line.removeprefix("- ") for line in str(error).splitlines()[1:])
        raise DesignError(
            f"The data have more than one column of a name: {which}. Rename or drop the others."
        ) from error
    except TypeError as error:
        raise DesignError(
            f"The data are of type {type(data).__name__}; expected is a data frame of pandas or polars, a "
            "pyarrow Table, or a dict of columns; or what need not fit in memory: a relation of DuckDB, a table of "
            "Ibis, a frame of Dask, a LazyFrame, a pyarrow dataset, a list of frames, or a function that returns an "
            "iterator of frames. A file is read first, as by pd.read_csv(path)."
        ) from error
    native = frame.to_native()
    index = native.index if isinstance(native, pd.DataFrame) else pd.RangeIndex(len(frame))
    return _not_empty(Table(names, len(frame), index, frame))


def are_rows(data: Any) -> bool:
    """Whether data are a list of rows, as of JSON: mappings of names to single values, where chunks hold columns."""
    if not (isinstance(data, list | tuple) and data and all(isinstance(row, Mapping) for row in data)):
        return False
    return all(
        isinstance(value, str | bytes) or not hasattr(value, "__len__") for row in data for value in row.values()
    )


def _named_by_text(data: pd.DataFrame) -> pd.DataFrame:
    """The frame with names that a formula can hold: those that are no text are written as text."""
    if data.columns.nlevels > 1:
        shown = ", ".join(map(str, data.columns[:3].tolist()))
        raise DesignError(
            f"The names of the data's columns have {data.columns.nlevels} levels (a MultiIndex: {shown}, ...). Join "
            "them: data.columns = ['_'.join(map(str, name)) for name in data.columns]."
        )
    names = data.columns.tolist()
    return data if all(isinstance(name, str) for name in names) else data.set_axis([str(n) for n in names], axis=1)


def column_names(table: Table) -> str:
    """List the columns for a message, cut off where they are many."""
    shown = ", ".join(str(name) for name in table.names[:_SHOWN])
    return f"{shown}, ... ({len(table.names)} in all)" if len(table.names) > _SHOWN else shown


def _read_mapping(data: Mapping[Any, Any]) -> Table:
    if not all(isinstance(name, str) for name in data):
        data = {str(name): column for name, column in data.items()}
    for name, column in data.items():
        if isinstance(column, str | bytes) or not hasattr(column, "__len__") or getattr(column, "shape", None) == ():
            raise DesignError(
                f"Column {name!r} of the data is {column!r}; expected is a sequence with one entry for each row."
            )
    lengths = {name: len(column) for name, column in data.items()}
    if len(set(lengths.values())) > 1:
        first = next(iter(lengths))
        other = next(name for name, length in lengths.items() if length != lengths[first])
        raise DesignError(
            f"The columns of the data have unequal lengths: {first!r} has {lengths[first]}, {other!r} has "
            f"{lengths[other]}. Give every column one entry for each row."
        )
    n = next(iter(lengths.values()), 0)
    return Table(tuple(data), n, pd.RangeIndex(n), data)


def _not_empty(table: Table) -> Table:
    if not table.n or not table.names:
        raise DesignError(
            f"The data are empty: {table.n} rows and {len(table.names)} columns. Check the step that reads or filters "
            "them."
        )
    return table


def _series(name: str, column: Any) -> nw.Series[Any]:
    if isinstance(column, nw.Series):
        return column
    series = nw.from_native(column, series_only=True, pass_through=True)
    if isinstance(series, nw.Series):
        return series
    if np.ndim(column) > 1 and isinstance(column, np.ndarray):
        raise DesignError(f"Column {name!r} has shape {column.shape}; expected is one entry for each row, shape (n,).")
    return nw.from_native(pd.Series(column), series_only=True)


def _of_pandas(column: pd.Series[Any], name: str, table: Table) -> Value | None:
    """A column of numpy's numbers and logicals, of objects, text or categories of pandas, as it stands; else None."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(dtype.categories.tolist(), column.cat.codes, bool(dtype.ordered), name)
    if isinstance(dtype, pd.StringDtype):
        return factor_of(column.to_numpy())
    if not isinstance(dtype, np.dtype) or dtype.kind not in "fiubO":
        return None
    raw = column.to_numpy()
    if dtype.kind == "O":
        return _object(raw, name, table)
    if dtype.kind == "b":
        return Logical(raw.astype(np.float64))
    if dtype.kind in "iu" and len(raw):
        _check_digits(raw.min(), raw.max(), name)
    return Numeric(_checked(raw.astype(np.float64), name, table))  # a copy: the frame may be written to


def _convert(series: nw.Series[Any], name: str, table: Table) -> Value:
    dtype = series.dtype
    if dtype.is_numeric():
        return _numeric(series, name, table)
    if dtype == nw.Boolean:
        return Logical(series.cast(nw.Float64).to_numpy().astype(np.float64, copy=False))
    if dtype == nw.String:
        return factor_of(series.to_numpy())
    if dtype in (nw.Categorical, nw.Enum):
        return _categorical(series, name)
    if dtype.is_nested():  # to_numpy() would make numbers of some
        raw = _entries(series.to_list())
        raise _unreadable(name, f"{_NESTED[type(dtype).__name__]} in each row", _first_present(raw), raw, table)
    raw = np.asarray(series.to_numpy())
    if raw.dtype.kind in "fiu":
        return Numeric(_checked(raw.astype(np.float64), name, table))
    if raw.dtype == object:
        return _object(raw, name, table)
    raise _unreadable(name, str(dtype) if dtype != nw.Unknown else str(raw.dtype), _first_present(raw), raw, table)


def _numeric(series: nw.Series[Any], name: str, table: Table) -> Numeric:
    if series.dtype.is_integer():
        _check_digits(series.min(), series.max(), name)
    values = series.cast(nw.Float64).to_numpy().astype(np.float64, copy=False)
    return Numeric(_checked(values, name, table))


def _check_digits(low: Any, high: Any, name: str) -> None:
    if max((abs(int(extreme)) for extreme in (low, high) if not pd.isna(extreme)), default=0) > EXACT_INTEGER:
        raise DesignError(
            f"Column {name!r} holds integers beyond 2^53, which lose digits as floating-point numbers: make it "
            "text if they are identifiers, or rescale it if they are numbers."
        )


def _encodable(name: str, read: Callable[[], Value]) -> Value:
    """What `read` gives, unless it has halves of letters, which no file and no other frame can hold."""
    try:
        value = read()
        if isinstance(value, Factor):
            "".join(value.levels).encode()
    except UnicodeEncodeError as error:
        odd = error.object[max(error.start - 9, 0) : error.end + 9]
        raise DesignError(
            f"Column {name!r} is no valid Unicode by {odd!a}: bytes that were read in another encoding, perhaps with "
            "errors='surrogateescape'. Read the file in its own encoding."
        ) from None
    return value


def _checked(values: Array, name: str, table: Table) -> Array:
    if not all_finite(values) and (infinite := np.isinf(values)).any():
        row = int(infinite.argmax())
        raise DesignError(
            f"Column {name!r} is {values[row]} in {table.row(row)}. Replace infinite values, or make them missing so "
            "that their rows are dropped."
        )
    return values


def _categorical(series: nw.Series[Any], name: str) -> Factor:
    native = series.to_native()
    arrow = native.array.__arrow_array__() if isinstance(getattr(native, "dtype", None), pd.ArrowDtype) else native
    if isinstance(native, pd.Series) and isinstance(native.dtype, pd.CategoricalDtype):
        return _categories(native.cat.categories.tolist(), native.cat.codes, bool(native.cat.ordered), name)
    if hasattr(arrow, "unify_dictionaries"):
        whole = arrow.unify_dictionaries().combine_chunks()
        codes = whole.indices.cast("int64").fill_null(-1)  # indices may be unsigned
        return _categories(whole.dictionary.to_pylist(), codes, bool(whole.type.ordered), name)
    factor = factor_of(series.cast(nw.String).to_numpy())
    # an Enum has an order of its own; other categories of polars are numbered as the process met them
    return with_levels(factor, series.dtype.categories) if isinstance(series.dtype, nw.Enum) else factor


def _categories(categories: list[Any], codes: Any, ordered: bool, name: str) -> Factor:
    """A factor of codes, −1 where missing, and what they stand for."""
    levels = tuple(label_of(category) for category in categories)
    if len(set(levels)) < len(levels):
        raise DesignError(
            f"Two categories of column {name!r} have the same text: {', '.join(levels[:_SHOWN])}. Rename one of them."
        )
    return Factor(np.asarray(codes).astype(np.intp), levels, ordered)


def _object(raw: Any, name: str, table: Table) -> Value:
    present = ~pd.isna(raw)
    if not present.any():
        return Numeric(np.full(len(raw), np.nan))
    raw = np.where(present, raw, None)  # whatever stands for what is missing, as pandas' NaT beside text
    kind = pd.api.types.infer_dtype(raw, skipna=True)
    if kind in _TEXT:
        return factor_of(raw)
    if kind == "boolean" or kind in _NUMBERS:
        if kind == "integer":
            _check_digits(raw[present].min(), raw[present].max(), name)
        values = np.full(len(raw), np.nan)
        values[present] = raw[present].astype(np.float64)
        return Logical(values) if kind == "boolean" else Numeric(_checked(values, name, table))
    kinds = {_kind(entry) for entry in raw[present]}
    if kinds == {Number} and all(isinstance(entry, Real) for entry in raw[present]):  # fractions, and numpy's of old
        return Numeric(_checked(np.where(present, raw, np.nan).astype(np.float64), name, table))
    row = _first_strange(raw, present)
    raise _unreadable(name, _held(kind, kinds, raw[present][0], raw[row]), row, raw, table)


def _held(kind: str, kinds: set[type], first: object, strange: object) -> str:
    """What an object column holds, in words; `kind` is pandas' word."""
    if not kind.startswith("mixed"):
        return kind
    if len(kinds) > 1:
        return f"a mixture, {type(first).__name__} and {type(strange).__name__}"
    if isinstance(first, np.ndarray):
        return f"an array of shape {first.shape} in each row"
    if isinstance(first, list | tuple | set | dict):
        return f"a {type(first).__name__} in each row"
    return f"objects of type {type(first).__name__}"


def _first_strange(raw: Any, present: Any) -> int:
    """Find the first entry whose kind is not that of the first one; the first one where all are of one kind."""
    rows = np.flatnonzero(present)
    first = _kind(raw[rows[0]])
    return int(next((row for row in rows if _kind(raw[row]) is not first), rows[0]))


def _kind(entry: object) -> type:
    for kind in (bool, Number, str):
        if isinstance(entry, kind):
            return kind
    return type(entry)


def _first_present(raw: Any) -> int:
    present = ~pd.isna(raw) if raw.ndim == 1 else np.ones(len(raw), dtype=bool)
    return int(present.argmax())


def _entries(values: list[Any]) -> Any:
    """An object array of shape (n,) whose entries may be lists."""
    raw = np.empty(len(values), dtype=object)
    raw[:] = [None if value is None else _Shown(value) for value in values]
    return raw


class _Shown:
    """An entry that numpy must not look into."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __str__(self) -> str:
        return str(self.value)


def _unreadable(name: str, held: str, row: int, raw: Any, table: Table) -> DesignError:
    column = f"data[{name!r}]"
    advice = next((text for words, text in _ADVICE.items() if any(word in held for word in words)), _PLAIN_ADVICE)
    return DesignError(
        f"Column {name!r} holds {held}; the first such value is {raw[row]!s} in {table.row(row)}. Numbers, logicals, "
        f"text and categories can be used. {advice.format(x=column)}"
    )


_NESTED = {"List": "a list", "Array": "an array", "Struct": "a record"}

_PLAIN_ADVICE = "Convert the column: {x}.astype(str) makes a factor of it."
_ADVICE = {
    ("Datetime", "datetime"): (
        "Make numbers of dates, for example days since the first one, ({x} - {x}.min()).dt.days in pandas, or their "
        "years, {x}.dt.year; {x}.astype(str) makes a factor."
    ),
    ("Date", "date"): (
        "Make numbers of dates, for example days since the first one: with d = pd.to_datetime({x}), "
        "(d - d.min()).dt.days; {x}.astype(str) makes a factor."
    ),
    ("Duration", "timedelta"): "Make numbers of durations, for example days: {x}.dt.total_seconds() / 86400 in pandas.",
    ("period",): "Make numbers of periods, for example {x}.dt.year; {x}.astype(str) makes a factor.",
    ("Time", "time"): "Make numbers of times, for example hours: {x}.map(lambda t: t.hour + t.minute / 60).",
    ("interval",): "Take their middles, {x}.map(lambda i: i.mid), or {x}.astype(str) for a factor.",
    ("complex",): "Take the real or imaginary part, or the absolute value: {x}.abs().",
    ("in each row",): (
        "Expected is one number or text in each row: make a column of each element, as "
        "pd.DataFrame({x}.tolist(), index=data.index) does."
    ),
    ("bytes", "|S"): "Make text of bytes: {x}.str.decode('utf-8').",
    ("mixture",): (
        "Give it one type: pd.to_numeric({x}, errors='coerce') makes numbers, with gaps for what is none, and "
        "{x}.astype(str) a factor."
    ),
}


def need_column(table: Table, name: str, what: str) -> Value:
    """Convert the column that the argument `what` names.

    Raises
    ------
    DesignError
        If there is no such column, with the nearest name.
    """
    if name not in table:
        raise DesignError(
            f"{what}={name!r} names no column of the data.{suggestion(name, map(str, table.names))} Columns: "
            f"{column_names(table)}."
        )
    return table.column(name)
