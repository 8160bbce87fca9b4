"""A matrix to look at: with the names of its rows and columns, and dots where it is long."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import pandas as pd

from _ranef.equations.latex import LATEX
from _ranef.equations.mathml import MATHML
from _ranef.equations.plain import PLAIN
from _ranef.equations.tree import Entries, Line, Symbol
from _ranef.equations.typst import TYPST
from _ranef.equations.writing import places
from _ranef.spec import NamedMatrix
from _ranef.support.escaped_names import printable

__all__ = ["MatrixView", "shown"]

#: letters of matrices by the names under which they are asked for
SYMBOLS = {"Lambda": Symbol("Λ"), "X_i": Symbol("X", ("r",)), "Z_i": Symbol("Z", ("r",)), "template": Symbol("λ")}
SYMBOLS |= {"R_ZX": Symbol("R", ("ZX",)), "R_X": Symbol("R", ("X",))}

_STYLE = "border-collapse: collapse; border-left: 2px solid; border-right: 2px solid; font-size: .85em"
_CELL = "padding: .1em .45em; text-align: right; border: none; font-weight: normal"


def shown(matrix: NamedMatrix, most: int = 8) -> MatrixView:
    """A matrix to look at, of at most `most` rows and columns."""
    return MatrixView(matrix, most)


@dataclass(frozen=True, eq=False, repr=False)
class MatrixView:
    """A matrix with names: ``print`` shows it as text, a notebook as a table, and it is LaTeX, MathML and Typst.

    Made by ``matrices.show("Z")``.

    Attributes
    ----------
    matrix : NamedMatrix
        ``name, values, rows, columns``.
    most : int
        Rows and columns up to which all are shown; of more the first and the last, with dots.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> print(model.matrices.show("Z", most=5))
    Z: 20 × 4
        operator[a].Intercept  operator[b].Intercept  operator[c].Intercept  operator[d].Intercept
     0                      1                      .                      .                      .
     1                      1                      .                      .                      .
     2                      1                      .                      .                      .
     ⋮                      ⋮                      ⋮                      ⋮                      ⋮
    19                      .                      .                      .                      1
    """

    matrix: NamedMatrix
    most: int = 8

    @property
    def frame(self) -> pd.DataFrame:
        """The whole of it, labelled; of sparse columns where it has many entries."""
        return self.matrix.frame

    @cached_property
    def _line(self) -> Line:
        symbol = SYMBOLS.get(self.matrix.name, Symbol(self.matrix.name))
        return Line(symbol, "=", Entries(self.matrix.values, self.most))

    @property
    def latex(self) -> str:
        """As Z = (…), in an ``aligned`` environment."""
        return LATEX.page([self._line])

    @property
    def mathml(self) -> str:
        """The same as a ``math`` element."""
        return MATHML.page([self._line])

    @property
    def typst(self) -> str:
        """The same for Typst."""
        return TYPST.page([self._line])

    @property
    def text(self) -> str:
        """With names, for a terminal."""
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([self._title, *lines])

    @property
    def _title(self) -> str:
        m, k = self.matrix.values.shape
        return f"{PLAIN.node(SYMBOLS.get(self.matrix.name, Symbol(self.matrix.name)))}: {m} × {k}"

    def _cells(self) -> list[list[str]]:
        """Names and entries that are shown; what is zero by structure is a point."""
        values: Any = self.matrix.values
        rows, cols = (places(size, self.most) for size in values.shape)

        def entry(i: int | None, j: int | None) -> str:
            if i is None or j is None:
                return "⋱" if i is j else "⋮" if i is None else "…"
            return PLAIN.entry(float(values[i, j])) if values[i, j] != 0 else "."

        head = ["", *("…" if j is None else printable(self.matrix.columns[j]) for j in cols)]
        names = ["⋮" if i is None else printable(self.matrix.rows[i]) for i in rows]
        return [head, *([name, *(entry(i, j) for j in cols)] for name, i in zip(names, rows, strict=True))]

    def __repr__(self) -> str:
        return self.text

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def _repr_html_(self) -> str:
        head, *rows = self._cells()
        top = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in head)
        body = "".join(
            f'<tr><th style="{_CELL}">{escape(name)}</th>'
            + "".join(f'<td style="{_CELL}{"; opacity: .4" if c == "." else ""}">{c}</td>' for c in cells)
            + "</tr>"
            for name, *cells in rows
        )
        return (
            f'<div class="ranef-matrix" style="overflow-x: auto"><p>{escape(self._title)}</p>'
            f'<table style="{_STYLE}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
        )
