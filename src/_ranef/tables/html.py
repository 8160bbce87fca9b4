"""Tables as HTML that stands in any page or file: ASCII, with the few styles it needs."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from _ranef.tables.blocks import Grid

__all__ = ["STYLE", "ascii_html", "table_html"]

STYLE = """<style>
.ranef-table { border-collapse: collapse; border: solid #a8a8a8; border-width: 2px 0; margin: .75rem 0; }
.ranef-table { font-size: .9rem; line-height: 1.2; font-variant-numeric: tabular-nums; text-align: right; }
.ranef-table caption { caption-side: top; text-align: left; padding: .25rem .4rem; font-size: 1.2em; }
.ranef-table caption span { display: block; font-size: .8em; }
.ranef-table th, .ranef-table td { padding: .3rem .5rem; border: 0; border-top: 1px solid #d3d3d3; text-align: right; }
.ranef-table th { font-weight: 400; vertical-align: bottom; }
.ranef-table tbody { border: solid #a8a8a8; border-width: 2px 0; }
.ranef-table .spanner { text-align: center; border-bottom: 1px solid #a8a8a8; }
.ranef-table .name, .ranef-table .note { text-align: left; }
.ranef-table .note { font-size: .9em; border: 0; }
</style>
"""


def table_html(
    title: str,
    subtitle: str,
    grid: Grid,
    header: Sequence[str],
    columns: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> str:
    """One table, with names to the left in their columns and numbers to the right, and the notes at its foot."""
    under = f"<span>{_text(subtitle)}</span>" if subtitle else ""
    caption = [f"<caption>{_text(title)}{under}</caption>"] if title else []
    sides = ["name" if j < grid.labels else "" for j in range(len(header))]
    head = map(_row, _heads(header, sides, grid.spanners))
    body = (_row(map(_cell, row, sides)) for row in zip(*columns, strict=True))
    foot = (_row([f'<td class="note" colspan="{len(header)}">{_text(note)}</td>']) for note in notes)
    parts = [*_part("thead", head), *_part("tbody", body), *_part("tfoot", foot)]
    return "\n".join(['<table class="ranef-table">', *caption, *parts, "</table>"])


def _part(name: str, rows: Iterable[str]) -> list[str]:
    lines = list(rows)
    return [f"<{name}>", *lines, f"</{name}>"] if lines else []


def ascii_html(source: str) -> str:
    """The same source, right in a file of any encoding."""
    return source.encode("ascii", "xmlcharrefreplace").decode()


def _heads(header: Sequence[str], sides: Sequence[str], spanners: Sequence[tuple[str, int, int]]) -> list[list[str]]:
    """Cells of one row of names or, under spanners, of two."""
    if not spanners:
        return [[_head(name, side) for name, side in zip(header, sides, strict=True)]]
    first = {start: (label, stop) for label, start, stop in spanners}
    under = {j for _, start, stop in spanners for j in range(start, stop)}
    above = [
        f'<th class="spanner" colspan="{first[j][1] - j}" scope="colgroup">{_text(first[j][0])}</th>'
        if j in first
        else _head(name, sides[j], ' rowspan="2"')
        for j, name in enumerate(header)
        if j in first or j not in under
    ]
    return [above, [_head(header[j], sides[j]) for j in sorted(under)]]


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _head(name: str, side: str, spans: str = "") -> str:
    return f'<th{_class(side)}{spans} scope="col">{_text(name)}</th>'


def _cell(words: str, side: str) -> str:
    return f"<td{_class(side)}>{_text(words)}</td>"


def _class(side: str) -> str:
    return f' class="{side}"' if side else ""


def _text(words: str) -> str:
    return html.escape(words, quote=False)
