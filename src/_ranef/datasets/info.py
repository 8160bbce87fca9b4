"""What is known about a data set: where it comes from and what its columns are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from _ranef.errors import DesignError, suggestion

__all__ = ["COLUMN_TYPES", "Column", "DatasetInfo", "info_from_frame", "info_from_meta"]

COLUMN_TYPES = ("numeric", "integer", "factor", "ordered", "character", "date", "logical")
LEVELS_SHOWN = 4


@dataclass(frozen=True)
class Column:
    """One column of a data set.

    Parameters
    ----------
    name : str
        The name in the file's header.
    type : str
        One of numeric, integer, factor, ordered, character, date, logical.
    description : str
        What was measured, with the unit where there is one; empty where nobody said.
    levels : tuple of str, optional
        The levels of a factor, in order; None for other types.
    n_missing : int, optional
        How many values are missing; None where the meta file does not say.

    Examples
    --------
    >>> from ranef import datasets
    >>> datasets.describe("pulp").columns[1].levels
    ('a', 'b', 'c', 'd')
    """

    name: str
    type: str
    description: str = ""
    levels: tuple[str, ...] | None = None
    n_missing: int | None = None

    @property
    def kind(self) -> str:
        """The type in words, with the first few levels of a factor."""
        if self.levels is None:
            return self.type
        shown = ", ".join(self.levels[:LEVELS_SHOWN]) + (", ..." if len(self.levels) > LEVELS_SHOWN else "")
        return f"{self.type}, {len(self.levels)} levels ({shown})"


@dataclass(frozen=True)
class DatasetInfo:
    """The provenance and the columns of a data set; ``print`` shows it as a page.

    Parameters
    ----------
    name : str
        The canonical name.
    n_rows, n_columns : int
        The shape of the frame.
    source, reference, about, licence : str
        Where the file was taken from, the first publication, one sentence, and the terms of use.
    sha256 : str
        Checksum of the csv file as it is stored (compressed, if it ends in ``.gz``).
    columns : tuple of Column
        The columns in the order of the file.

    Examples
    --------
    >>> from ranef import datasets
    >>> info = datasets.describe("Dyestuff")
    >>> info.n_rows, info.licence
    (30, 'GPL (>= 2)')
    """

    name: str
    n_rows: int
    n_columns: int
    source: str
    reference: str
    about: str
    licence: str
    sha256: str
    columns: tuple[Column, ...]

    def __str__(self) -> str:
        facts = {
            "about": self.about,
            "reference": self.reference,
            "source": self.source,
            "licence": self.licence,
            "sha256": self.sha256,
        }
        name_width = max((len(c.name) for c in self.columns), default=0)
        kind_width = max((len(c.kind) for c in self.columns), default=0)
        return "\n".join(
            [
                f"{self.name}: {self.n_rows} rows, {self.n_columns} columns",
                *(_fact(word, text) for word, text in facts.items() if text),
                *(f"  {c.name:<{name_width}}  {c.kind:<{kind_width}}  {c.description}".rstrip() for c in self.columns),
            ]
        )


def _fact(word: str, text: str) -> str:
    return textwrap.fill(text, width=100, initial_indent=f"{word:<11}", subsequent_indent=" " * 11)


def info_from_meta(meta: Mapping[str, Any], name: str, sha256: str) -> DatasetInfo:
    """Read the content of a ``NAME.meta.json`` file.

    Parameters
    ----------
    meta : mapping
        The parsed file; ``columns``, ``n_rows`` and each column's ``name`` and ``type`` are required.
    name : str
        The file's stem, which must be the name that the meta file gives.
    sha256 : str
        Checksum of the csv file.

    Raises
    ------
    DesignError
        If a required entry is absent, a type is unknown, or the names differ.
    """
    try:
        stated, n_rows, entries = meta["name"], meta["n_rows"], list(meta["columns"])
        columns = tuple(_column(entry, name) for entry in entries)
    except (KeyError, TypeError) as error:
        raise DesignError(
            f"{name}.meta.json cannot be used ({type(error).__name__}: {error}). It needs 'name', 'n_rows' and "
            "'columns', and each column needs 'name' and 'type'. Copy the form of a bundled meta file, or delete "
            "it to have the csv file read with pandas' defaults."
        ) from error
    if stated != name:
        raise DesignError(
            f"{name}.meta.json says that its data set is called {stated!r}, but a data set is called by its file's "
            f"name. Rename the files to {stated}.csv and {stated}.meta.json, or correct 'name'."
        )
    texts = {key: str(meta.get(key, "")) for key in ("source", "reference", "about", "licence")}
    return DatasetInfo(name=name, n_rows=n_rows, n_columns=len(columns), sha256=sha256, columns=columns, **texts)


def _column(entry: Mapping[str, Any], dataset: str) -> Column:
    name, kind, levels = str(entry["name"]), entry["type"], entry.get("levels")
    if kind not in COLUMN_TYPES:
        raise DesignError(
            f"{dataset}.meta.json gives column {name!r} the type {kind!r}; the types are {', '.join(COLUMN_TYPES)}."
            f"{suggestion(str(kind), COLUMN_TYPES)} Correct 'type' of that column."
        )
    if kind not in ("factor", "ordered"):
        levels = None
    elif levels is None:
        raise DesignError(
            f"{dataset}.meta.json gives column {name!r} the type {kind!r} without 'levels'. The order of levels "
            "decides the contrasts, so it is not guessed: add the list 'levels', or use the type 'character'."
        )
    return Column(
        name=name,
        type=kind,
        description=str(entry.get("description", "")),
        levels=None if levels is None else tuple(str(level) for level in levels),
        n_missing=entry.get("n_missing"),
    )


def info_from_frame(frame: pd.DataFrame, name: str, source: str, sha256: str) -> DatasetInfo:
    """Describe a frame that came without a meta file; types are what pandas inferred."""
    columns = tuple(
        Column(str(label), _inferred_type(values), n_missing=int(values.isna().sum()))
        for label, values in frame.items()
    )
    return DatasetInfo(
        name=name,
        n_rows=frame.shape[0],
        n_columns=frame.shape[1],
        source=source,
        reference="",
        about="No meta file: column types are pandas' guesses.",
        licence="not stated",
        sha256=sha256,
        columns=columns,
    )


def _inferred_type(values: pd.Series[Any]) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "logical"
    if pd.api.types.is_integer_dtype(values):
        return "integer"
    return "numeric" if pd.api.types.is_numeric_dtype(values) else "character"
