"""Tidy frames that print as R's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from _ranef.tables.model import Block, Document, Grid
from _ranef.tables.numbers import aligned, p_values, with_decimals

__all__ = ["ResultFrame", "grid", "result_frame"]

#: columns of counts where they are whole, and of numbers with two decimals
COUNTS, PARTS = ("npar", "df", "ndf"), ("ddf", "aic", "aicc", "bic", "loglik", "deviance")


class ResultFrame(pd.DataFrame):
    """A tidy frame that prints, in a notebook too, as the table that R has of it.

    Whatever is taken out of it is a plain DataFrame, and so is ``pandas.DataFrame(result)``.

    Attributes
    ----------
    document : Document
        What is printed; goes into papers by ``to_latex()``, ``to_markdown()`` and ``to_html()``.
    rows : DataFrame, optional
        What stands behind a test of several hypotheses, one row each.
    """

    _metadata = ["document", "rows"]  # noqa: RUF012 - what pandas reads

    document: Document
    rows: pd.DataFrame | None

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __copy__(self, deep: bool = True) -> ResultFrame:
        out = ResultFrame(pd.DataFrame(self).copy(deep=deep))
        out.document, out.rows = self.document, self.rows
        return out

    def __deepcopy__(self, memo: Any = None) -> ResultFrame:
        return self.__copy__()

    def _doubted(self) -> ResultFrame:
        """The same, which prints after a line that says that it should not be trusted."""
        self.document = self.document._doubted()
        return self

    def __repr__(self) -> str:
        return str(self.document)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return self.document._repr_html_()


def result_frame(frame: pd.DataFrame, blocks: Sequence[Block], rows: pd.DataFrame | None = None) -> ResultFrame:
    """The frame with what it prints as."""
    out = ResultFrame(frame)
    out.document, out.rows = Document(tuple(blocks)), rows
    return out


def grid(frame: pd.DataFrame, headers: Mapping[str, str], title: str = "", notes: Sequence[str] = ()) -> Grid:
    """The columns of `headers` that the frame has, under R's names; what is text before the numbers is left-aligned."""
    columns = [c for c in headers if c in frame]
    labels = next((i for i, c in enumerate(columns) if is_numeric_dtype(frame[c])), len(columns))
    cells = [_cells(c, frame[c]) for c in columns]
    rows = tuple(zip(*cells, strict=True))
    return Grid(tuple(headers[c] for c in columns), rows, title, labels=labels, notes=tuple(notes))


def _cells(name: str, column: pd.Series[Any]) -> list[str]:
    if not is_numeric_dtype(column):
        return [str(v) for v in column]
    values = [float(v) for v in column]
    if name.startswith("p") and not name.startswith("npar"):
        return p_values(values)
    if name in COUNTS and all(v != v or v == round(v) for v in values):
        return with_decimals(values, 0, [float("inf")] * len(values))
    return with_decimals(values, 2, [float("inf")] * len(values)) if name in (*PARTS, *COUNTS) else aligned(values)
