"""One table model, several renderings: text and HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Document", "Grid", "Text", "aligned", "decimals_for", "with_decimals"]


@dataclass(frozen=True)
class Text:
    """Lines of prose or of key and value; `title` stands above."""

    lines: tuple[str, ...]
    title: str = ""


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
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    labels: int = 1
    notes: tuple[str, ...] = ()


Block = Text | Grid


@dataclass(frozen=True)
class Document:
    """Blocks in order; prints as text, renders as HTML in a notebook."""

    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return "\n\n".join(_text(block) for block in self.blocks)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<div class="ranef">{"".join(_html(block) for block in self.blocks)}</div>'


def with_decimals(values: Sequence[float], decimals: int) -> list[str]:
    """Numbers with `decimals` decimals; NaN is empty."""
    return ["" if v != v else f"{v:.{decimals}f}" for v in values]


def decimals_for(estimates: Sequence[float], sds: Sequence[float]) -> int:
    """Decimals that show four digits of a typical estimate and three of a typical standard deviation."""
    wanted = [digits - 1 - e for values, digits in ((estimates, 4), (sds, 3)) if (e := _exponent(values)) is not None]
    return max(0, min(8, max(wanted, default=4)))


def _exponent(values: Sequence[float]) -> int | None:
    """Power of ten of the middle one of the absolute values, NaN and zero left out."""
    sizes = sorted(abs(v) for v in values if v == v and v not in (0.0, float("inf"), float("-inf")))
    return int(f"{sizes[len(sizes) // 2]:e}".split("e")[1]) if sizes else None


def aligned(values: Sequence[float], significant: int = 4) -> list[str]:
    """Numbers of one column with a common number of decimals, as R's format does: `significant` digits at least."""
    finite = [abs(v) for v in values if v == v and v not in (float("inf"), float("-inf")) and v != 0]
    if not finite:
        return ["" if v != v else f"{v:g}" for v in values]
    if max(finite) >= 1e9 or min(finite) < 1e-7:
        return ["" if v != v else f"{v:.{significant}g}" for v in values]
    decimals = max(_decimals(v, significant) for v in finite)
    return ["" if v != v else f"{v:.{decimals}f}" for v in values]


def _decimals(value: float, significant: int) -> int:
    text = f"{value:.{significant - 1}e}"
    mantissa, exponent = text.split("e")
    digits = len(mantissa.rstrip("0").replace(".", ""))
    return max(0, min(10, digits - 1 - int(exponent)))


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
