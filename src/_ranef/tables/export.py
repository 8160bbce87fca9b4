"""Documents as tables of a paper: through great_tables to LaTeX, and as HTML and Markdown."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from _ranef.support.interrupts import load
from _ranef.tables.blocks import Block, Grid, Text
from _ranef.tables.html import STYLE, ascii_html, table_html
from _ranef.tables.latex import escaped, from_unicode, guarded

if TYPE_CHECKING:
    from great_tables import GT

__all__ = ["Panel", "great_tables", "html_source", "latex_source", "markdown_source", "panels"]

#: a table of more rows than this breaks across pages in LaTeX
LONGEST = 45

#: size of type (points) and room between columns, by the greatest number of columns: a table should fit a page
SIZES = ((6, 10, ""), (9, 9, ""), (10**6, 7, "\\setlength{\\tabcolsep}{2pt}\n"))

PREAMBLE = r"% needs \usepackage{booktabs,caption,longtable}"

#: spaces as wide as a digit and as a point
DIGIT, POINT = "\u2007", "\u2008"

NUMBER = re.compile(r"[-−]?\d+(\.\d*)?")


@dataclass(frozen=True)
class Panel:
    """One table with everything that is said about it.

    Attributes
    ----------
    title, subtitle : str
    grid : Grid
    notes : tuple of str
        One paragraph each.
    """

    title: str
    subtitle: str
    grid: Grid
    notes: tuple[str, ...]


def panels(blocks: Sequence[Block]) -> list[Panel]:
    """Tables of a document in their order.

    The first words become the title and subtitle of the first table, all others notes: of the table before them, or
    of the first one.
    """
    heading: list[str] = []
    opening: list[str] = []
    if len(blocks) > 1 and isinstance(blocks[0], Text) and blocks[0].title and isinstance(blocks[1], Text):
        opening, blocks = paragraphs(blocks[0]), blocks[1:]  # words before the title
    if blocks and isinstance(blocks[0], Text) and not blocks[0].title:
        heading, blocks = paragraphs(blocks[0]), blocks[1:]
    grids = [block for block in blocks if isinstance(block, Grid)]
    notes = [paragraphs(Text(grid.notes)) for grid in grids]
    seen = 0
    for block in blocks:
        if isinstance(block, Grid):
            seen += 1
        elif grids:
            notes[max(seen - 1, 0)] += paragraphs(block)
    if grids:
        notes[0] = [*opening, *notes[0], *heading[2:]]
    out = []
    for i, (grid, words) in enumerate(zip(grids, notes, strict=True)):
        above = [*(heading[:1] if i == 0 else []), *([_bare(grid.title)] if grid.title else [])]
        subtitle = "".join(heading[1:2]) if i == 0 else ""
        out.append(Panel(": ".join(above), subtitle, grid, tuple(words)))
    return out


def paragraphs(text: Text) -> list[str]:
    """Title and lines of a block, lines that continue others joined to them."""
    out = [text.title] if text.title else []
    margin = min((_indent(line) for line in text.lines), default=0)
    for i, line in enumerate(text.lines):
        if i and _indent(line) > margin:
            out[-1] += f" {line.strip()}"
        else:
            out.append(line.strip())
    return [" ".join(line.split()) for line in out]


def great_tables(blocks: Sequence[Block]) -> list[GT]:
    """One great_tables object for each table of a document."""
    return [_great_table(panel) for panel in panels(blocks)]


def html_source(blocks: Sequence[Block]) -> str:
    """HTML of all tables, in ASCII with its own styles: right in a page of any encoding, and needing nothing else."""
    found = panels(blocks)
    if not found:
        return ascii_html("".join(f"<p>{html.escape(line)}</p>" for line in _words(blocks)))
    return ascii_html(STYLE + "\n".join(map(_html_table, found)))


def latex_source(blocks: Sequence[Block]) -> str:
    """LaTeX of all tables, for pdflatex with the packages that its first line names."""
    found = panels(blocks)
    if not found:
        return "\n\n".join(from_unicode(escaped(line)) for line in _words(blocks))
    out = []
    for panel in found:
        table = _great_table(_guarded(panel))
        size, room = next((s, r) for columns, s, r in SIZES if len(panel.grid.header) <= columns)
        table = table.tab_options(table_font_size=f"{size}pt")
        long = len(panel.grid.rows) > LONGEST
        source = table.as_latex(use_longtable=long, tbl_pos=None if long else "htbp")
        out.append(from_unicode(source.replace("\\selectfont\n", f"\\selectfont\n{room}", 1)))
    return "\n".join([PREAMBLE, *out])


def markdown_source(blocks: Sequence[Block]) -> str:
    """Markdown of all tables, with pipes and other marks escaped."""
    found = panels(blocks)
    parts = [] if found else ["\n\n".join(_markdown(line) for line in _words(blocks))]
    for panel in found:
        parts += [f"**{_markdown(panel.title)}**"] if panel.title else []
        parts += [_markdown(panel.subtitle)] if panel.subtitle else []
        parts.append(_pipes(panel.grid))
        parts += [_markdown(note) for note in panel.notes]
    return "\n\n".join(parts) + "\n"


def _html_table(panel: Panel) -> str:
    columns = _columns(panel.grid, DIGIT, POINT)
    return table_html(panel.title, panel.subtitle, panel.grid, _under_spanners(panel.grid), columns, panel.notes)


def _great_table(panel: Panel) -> GT:
    gt = load("great_tables")  # heavy: of use only where a table leaves for a paper

    grid = panel.grid
    ids = [f"c{j}" for j in range(len(grid.header))]
    frame = pd.DataFrame(list(zip(*_columns(grid, DIGIT, POINT), strict=True)), columns=ids, dtype=object)
    table = gt.GT(frame, id=f"ranef-{hashlib.sha256(repr(panel).encode()).hexdigest()[:8]}")
    table = table.cols_label(dict(zip(ids, _under_spanners(grid), strict=True)))
    table = table.cols_align("left", ids[: grid.labels]).cols_align("right", ids[grid.labels :])
    for k, (label, first, stop) in enumerate(grid.spanners):
        table = table.tab_spanner(label, columns=ids[first:stop], id=f"s{k}")
    if panel.title:
        table = table.tab_header(panel.title, panel.subtitle or None)
    for note in panel.notes:
        table = table.tab_source_note(note)
    css = "td { font-variant-numeric: tabular-nums; }"
    styled: GT = table.tab_options(heading_align="left", table_additional_css=[css])
    return styled


def _under_spanners(grid: Grid) -> list[str]:
    header = list(grid.header)
    for label, first, stop in grid.spanners:
        header[first:stop] = ["estimate" if h == label else h for h in header[first:stop]]
    return header


def _columns(grid: Grid, digit: str, point: str) -> list[list[str]]:
    """Cells by column: numbers with a minus for a hyphen, and padded to have their points below each other."""
    columns = [[row[j] for row in grid.rows] for j in range(len(grid.header))]
    return [c if j < grid.labels else _aligned(c, digit, point) for j, c in enumerate(columns)]


def _aligned(cells: list[str], digit: str, point: str) -> list[str]:
    cells = [re.sub(r"-(?=\d|inf)", "−", c) for c in cells]
    if not all(NUMBER.fullmatch(c) for c in cells if c):
        return cells
    deepest = max((len(c.partition(".")[2]) for c in cells), default=0)
    return [c and c + ("" if "." in c or not deepest else point) + digit * _missing(c, deepest) for c in cells]


def _missing(cell: str, decimals: int) -> int:
    return decimals - len(cell.partition(".")[2])


def _guarded(panel: Panel) -> Panel:
    """The same panel for LaTeX: characters that great_tables lets through stand as private ones."""
    grid = panel.grid
    cells = tuple(tuple(guarded(c) for c in row) for row in grid.rows)
    header = tuple(guarded(h) for h in grid.header)
    spanners = tuple((guarded(label), first, stop) for label, first, stop in grid.spanners)
    return Panel(
        guarded(panel.title),
        guarded(panel.subtitle),
        replace(grid, header=header, rows=cells, spanners=spanners),
        tuple(guarded(note) for note in panel.notes),
    )


def _pipes(grid: Grid) -> str:
    header = list(grid.header)
    for label, first, stop in grid.spanners:
        header[first:stop] = [h if h == label else f"{label} {h}" for h in header[first:stop]]
    columns = [[_markdown(h), *map(_markdown, c)] for h, c in zip(header, _columns(grid, " ", " "), strict=True)]
    widths = [max(3, *map(len, column)) for column in columns]
    rules = [f":{'-' * (w - 1)}" if j < grid.labels else f"{'-' * (w - 1)}:" for j, w in enumerate(widths)]
    lines = [
        [c.ljust(w) if j < grid.labels else c.rjust(w) for j, (c, w) in enumerate(zip(row, widths, strict=True))]
        for row in zip(*columns, strict=True)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], rules, *lines[1:]])


def _markdown(text: str) -> str:
    """Text with the marks of Markdown, of its tables and of its mathematics escaped."""
    text = re.sub(r"([\\`*_|<>~^$]|\](?=[(\[:]))", r"\\\1", text)
    return re.sub(r"^([-+#=]|\d+[.)](?=\s))", lambda m: f"{m.group()[:-1]}\\{m.group()[-1]}", text)


def _words(blocks: Sequence[Block]) -> list[str]:
    return [line for block in blocks if isinstance(block, Text) for line in paragraphs(block)]


def _bare(title: str) -> str:
    return title.rstrip(" :")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
