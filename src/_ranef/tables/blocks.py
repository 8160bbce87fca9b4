"""What a document is made of: lines of words, and tables of cells that are text already."""

from __future__ import annotations

from dataclasses import dataclass

from _ranef.support.escaped_names import printable

__all__ = ["Block", "Grid", "Text"]


@dataclass(frozen=True)
class Text:
    """Lines of prose or of key and value; `title` stands above.

    A line that is indented more than the first one continues the line before it.
    """

    lines: tuple[str, ...]
    title: str = ""

    def __post_init__(self) -> None:
        """Write names that would break lines so that they do not."""
        object.__setattr__(self, "lines", tuple(map(printable, self.lines)))


@dataclass(frozen=True)
class Grid:
    """A table whose cells are text already; numbers are right-aligned, the first `labels` columns left.

    Attributes
    ----------
    header : tuple of str
    rows : tuple of tuple of str
    title : str
    labels : int
        Number of leading columns that hold words.
    notes : tuple of str
        Lines under the table.
    spanners : tuple of (str, int, int)
        Words that stand over the columns from the first number up to, and without, the second. A column of `header`
        that has the spanner's own words holds its estimates. Plain text shows `header` alone.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    labels: int = 1
    notes: tuple[str, ...] = ()
    spanners: tuple[tuple[str, int, int], ...] = ()

    def __post_init__(self) -> None:
        """Write names that would break lines so that they do not."""
        object.__setattr__(self, "header", tuple(map(printable, self.header)))
        object.__setattr__(self, "rows", tuple(tuple(map(printable, row)) for row in self.rows))


Block = Text | Grid
