"""One table model, several renderings: text, HTML, LaTeX and Markdown."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from _ranef.errors import DesignError
from _ranef.results import DOUBT
from _ranef.tables.blocks import Block, Grid, Text
from _ranef.tables.export import great_tables, html_source, latex_source, markdown_source

if TYPE_CHECKING:
    from great_tables import GT

__all__ = ["Block", "Document", "Grid", "Text"]


@dataclass(frozen=True)
class Document:
    r"""Blocks in order; prints as text, renders as HTML in a notebook, and goes into papers.

    ``document["Fixed effects"]`` is a document of that table alone.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> print(fit.summary()["Fixed effects"].to_markdown())
    **Fixed effects**
    <BLANKLINE>
    |           | Estimate | Std. Error | t value |
    | :-------- | -------: | ---------: | ------: |
    | Intercept |  60.4000 |     0.1494 |   404.2 |
    <BLANKLINE>
    >>> fit.summary().to_latex()[:16], "<table" in fit.summary().to_html(), len(fit.summary().to_great_tables())
    ('% needs \\usepack', True, 3)
    """

    blocks: tuple[Block, ...]

    def __getitem__(self, title: str) -> Document:
        """Find one table by its title.

        Raises
        ------
        DesignError
            If no table has that title; the message lists those there are.
        """
        grids = {block.title.rstrip(" :"): block for block in self.blocks if isinstance(block, Grid) and block.title}
        if not isinstance(title, str) or title not in grids:
            there = ", ".join(map(repr, grids)) or "none with a title; use the document itself"
            raise DesignError(f"No table is called {title!r}. Tables here: {there}.")
        return Document((grids[title],))

    def to_latex(self) -> str:
        r"""LaTeX of all tables, by great_tables: one ``table`` each (``longtable`` from 46 rows).

        Special characters of names are escaped, Greek letters and matrix formulas written as mathematics, decimals
        aligned. It compiles with pdflatex and ``\usepackage{booktabs,caption,longtable}``. Words before and between
        the tables become titles and notes.
        """
        return latex_source(self.blocks)

    def to_html(self) -> str:
        """HTML of all tables: ASCII with its styles inside, to be put into any page or file."""
        return html_source(self.blocks)

    def to_markdown(self) -> str:
        """Markdown of all tables, as GitHub, Jupyter, Quarto and pandoc read it."""
        return markdown_source(self.blocks)

    def to_great_tables(self) -> list[GT]:
        """One ``great_tables.GT`` for each table, to be styled further."""
        return great_tables(self.blocks)

    def _doubted(self) -> Document:
        """The same after a line that says that it should not be trusted."""
        return Document((Text((DOUBT,)), *self.blocks))

    def __str__(self) -> str:
        return "\n\n".join(_text(block) for block in self.blocks)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<div class="ranef">{"".join(_html(block) for block in self.blocks)}</div>'


def _text(block: Block) -> str:
    title = [block.title] if block.title else []
    if isinstance(block, Text):
        return "\n".join([*title, *block.lines])
    cells = [block.header, *block.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(block.header))]
    lines = [
        " ".join(
            c.ljust(w) if i < block.labels else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([*title, *(f" {line}" for line in lines), *block.notes])


def _html(block: Block) -> str:
    title = f"<p><strong>{html.escape(block.title)}</strong></p>" if block.title else ""
    if isinstance(block, Text):
        return f"{title}<p>{'<br>'.join(html.escape(line) for line in block.lines)}</p>"
    head = "".join(f"<th>{html.escape(c)}</th>" for c in block.header)
    body = "".join(f"<tr>{''.join(_cell(c, i < block.labels) for i, c in enumerate(row))}</tr>" for row in block.rows)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in block.notes)
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _cell(text: str, label: bool) -> str:
    align = "left" if label else "right"
    return f'<td style="text-align:{align}">{html.escape(text)}</td>'
