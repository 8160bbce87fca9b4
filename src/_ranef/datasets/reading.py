"""From the bytes of a csv file to a typed frame."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

import pandas as pd

from _ranef.datasets.csv_dialect import HEAD, find_dialect
from _ranef.datasets.info import Column, DatasetInfo
from _ranef.errors import DesignError

__all__ = ["read_guessed", "read_typed"]

LOGICAL = {"TRUE": True, "FALSE": False}


def read_guessed(content: bytes, file: str) -> pd.DataFrame:
    """Read a csv file as it seems to be written: see :func:`~_ranef.datasets.csv_dialect.find_dialect`.

    Parameters
    ----------
    content : bytes
        The file as stored; gzip is recognised by the name's ending.
    file : str
        The file's name, also for error messages.

    Raises
    ------
    DesignError
        If the file is not a csv file in UTF-8.
    """
    return _parsed(content, file, guess=True)


def read_typed(content: bytes, file: str, info: DatasetInfo) -> pd.DataFrame:
    """Read a csv file by the column types of its meta file.

    Parameters
    ----------
    content : bytes
        The file as stored; gzip is recognised by the name's ending. An empty field is a missing value, and
        nothing else is: ``NA`` may be a level.
    file : str
        The file's name, also for error messages.
    info : DatasetInfo
        What the meta file says.

    Returns
    -------
    pandas.DataFrame
        numeric is float64; integer is int64, or float64 where values are missing; factor and ordered are
        categorical; logical is bool, or boolean where values are missing; date is datetime64.

    Raises
    ------
    DesignError
        If the file cannot be read or its rows, columns, levels or numbers of missing values are not those of
        the meta file.
    """
    # All is read as text: the level "01" must not become the number 1, and numbers are converted exactly
    # (read_csv's own converter could be off in the last digit before pandas 3.1).
    raw = _parsed(
        content,
        file,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        skip_blank_lines=False,
        index_col=False,
    )
    _check(file, "columns", list(raw.columns), [column.name for column in info.columns])
    _check(file, "number of rows", len(raw), info.n_rows)
    frame = pd.DataFrame({column.name: _typed(raw[column.name], column, file) for column in info.columns})
    for column in info.columns:
        if column.n_missing is not None:
            _check(
                file,
                f"missing values in column {column.name!r}",
                int(frame[column.name].isna().sum()),
                column.n_missing,
            )
    return frame


def _parsed(content: bytes, file: str, *, guess: bool = False, **options: Any) -> pd.DataFrame:
    try:
        text = gzip.decompress(content) if file.endswith(".gz") else content
        if guess:
            options |= find_dialect(text[:HEAD], whole=len(text) <= HEAD).options()
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(text), **options)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DesignError(
            f"{file} cannot be read as a csv file ({error}). Expected are UTF-8, a header and commas between fields"
            f"{', compressed by gzip' if file.endswith('.gz') else ''}; correct or replace the file."
        ) from error
    return frame


def _check(file: str, what: str, found: object, stated: object) -> None:
    if found != stated:
        raise DesignError(
            f"{file} and its meta file disagree on the {what}: the meta file says {stated!r}, the csv file has "
            f"{found!r}. Either the csv file is incomplete or the meta file is out of date; correct one of them."
        )


def _typed(raw: pd.Series[Any], column: Column, file: str) -> pd.Series[Any]:
    try:
        match column.type:
            case "factor" | "ordered":
                return _categorical(raw, column, file)
            case "numeric":
                return raw.astype("float64")
            case "integer":
                return _integers(raw)
            case "logical":
                _check_values(raw, column, tuple(LOGICAL), file)
                return raw.map(LOGICAL).astype("boolean" if raw.isna().any() else "bool")
            case "date":
                return pd.to_datetime(raw, format="ISO8601")
            case _:
                return raw
    except DesignError:
        raise
    except ValueError as error:
        raise DesignError(
            f"Column {column.name!r} of {file} is of type {column.type!r} by its meta file, but a value is not "
            f"({error}). Write numbers with a decimal point and dates as 2026-01-31, or correct the meta file."
        ) from error


def _integers(raw: pd.Series[Any]) -> pd.Series[Any]:
    whole = raw.dropna().astype("int64")
    return whole if len(whole) == len(raw) else whole.astype("float64").reindex(raw.index)


def _categorical(raw: pd.Series[Any], column: Column, file: str) -> pd.Series[Any]:
    levels = column.levels or ()
    _check_values(raw, column, levels, file)
    dtype = pd.CategoricalDtype(list(levels), ordered=column.type == "ordered")
    return raw.astype(dtype)


def _check_values(raw: pd.Series[Any], column: Column, allowed: tuple[str, ...], file: str) -> None:
    strange = sorted(set(raw.dropna().unique()) - set(allowed))
    if strange:
        raise DesignError(
            f"Column {column.name!r} of {file} holds {', '.join(map(repr, strange[:5]))}, which its meta file does not "
            f"allow: a column of type {column.type} may hold {', '.join(map(repr, allowed[:10]))}"
            f"{', ...' if len(allowed) > 10 else ''} or an empty field. "
            "Correct the csv file, or add the value to 'levels'."
        )
