"""Unicode text for a terminal: indices as small digits, levels in brackets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from _ranef.equations.tree import Atom, Label, Line, Node, Of, Symbol
from _ranef.equations.writing import Writer, four_digits
from _ranef.support.escaped_names import printable

__all__ = ["PLAIN"]

_SMALL = str.maketrans("0123456789in", "₀₁₂₃₄₅₆₇₈₉ᵢₙ")
# a matrix within text, until the text is spread over lines
OPEN, NEXT, NEXT_ROW, CLOSE = "\ue000\ue001\ue002\ue003"

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class _Plain(Writer):
    raised = False

    def plain_width(self, node: Node) -> int:
        return len(spread(self.node(node))[0][0])

    def literal(self, text: str) -> str:
        return text

    def number(self, value: float, decimals: int = 0) -> str:
        return four_digits(value, decimals)

    def symbol(self, letter: str, below: Sequence[Atom] = ()) -> str:
        small, groups = self._indices(below)
        return f"{letter}{small}{groups}"

    def _indices(self, below: Sequence[Atom]) -> tuple[str, str]:
        """Digits and rows in small letters, then levels and names in brackets."""
        small = [a for a in below if isinstance(a, str) and (a.isdigit() or a[0] == "i" or a == "n")]
        large = [self._atom(a) for a in below if a not in small]
        comma = "," if any(len(a) > 1 and a.isdigit() for a in small) else ""
        return comma.join(small).translate(_SMALL), f"[{', '.join(large)}]" if large else ""

    def _atom(self, atom: Atom) -> str:
        match atom:
            case Label(text):
                return self.name(text)
            case Of(letter, row):
                return f"{letter}[{row}]"
        return str(atom)

    def variable(self, name: str, at: Atom) -> str:
        small, groups = self._indices((at,))
        return f"{self.name(name)}{small}{groups}"

    def name(self, text: str) -> str:
        clean = re.sub(r"\s", " ", printable(text))
        return f"`{clean}`" if " " in clean else clean

    def words(self, text: str) -> str:
        return printable(text)

    def joined(self, parts: Sequence[tuple[str, str]], *, leading: bool = False) -> str:
        (sign, first), *rest = parts
        head = f"{sign} {first}" if leading else f"{sign.replace('+', '')}{first}"
        return "".join([head, *(f" {s} {part}" for s, part in rest)])

    def product(self, parts: Sequence[str], dotted: bool) -> str:
        return "·".join(parts)

    def times(self, parts: Sequence[str]) -> str:
        return ("·" if any(len(p) > 4 for p in parts) else "").join(parts)

    def quotient(self, above: str, below: str) -> str:
        return f"{above} / {below}"

    def between(self, sign: str, parts: Sequence[str]) -> str:
        return f" {sign} ".join(parts)

    def power(self, base: Node, exponent: Node) -> str:
        text = self.node(exponent)
        if isinstance(base, Symbol) and text.isdigit():
            small, groups = self._indices(base.below)
            return f"{base.letter}{small}{text.translate(_RAISED)}{groups}"
        return super().power(base, exponent)

    def raised_to(self, base: str, exponent: str) -> str:
        if exponent.isdigit():
            return base + exponent.translate(_RAISED)
        return base + {"⊤": "ᵀ", "-1": "⁻¹"}.get(exponent, f"^{exponent}")

    def bracketed(self, text: str) -> str:
        return f"({text})"

    def call(self, function: str, arguments: Sequence[str]) -> str:
        return f"{function}({', '.join(arguments)})"

    def absolute(self, text: str) -> str:
        return f"|{text}|"

    def indicator(self, condition: str) -> str:
        return f"1[{condition}]"

    def law(self, name: str, arguments: Sequence[str]) -> str:
        return f"{name}({', '.join(arguments)})"

    def phrase(self, parts: Sequence[str]) -> str:
        return "".join(parts)

    def dots(self, kind: str) -> str:
        return "…" if kind == "⋯" else kind

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        return f"{OPEN}{NEXT_ROW.join(NEXT.join(row) for row in rows)}{CLOSE}"

    def listed(self, entries: Sequence[str]) -> str:
        return f"({', '.join(entries)})"

    def page(self, lines: Sequence[Line]) -> str:
        indent = max((self.plain_width(line.left) for line in lines if line.left is not None), default=0)
        rows = [row for line in lines for row in self._line(line, indent)]
        return "\n".join(row.rstrip() for row in rows)

    def _line(self, line: Line, indent: int) -> list[str]:
        words = "" if line.words is None else self.node(line.words)
        if line.right is None:
            return spread(words)[0]
        left = "" if line.left is None else self.node(line.left)
        rows = self.breaks(line)
        out = []
        for k, (sign, text) in enumerate(rows):
            head = " " * (indent - len(spread(left)[0][0])) + left if not k else " " * indent
            last = f"   {words}" if words and k == len(rows) - 1 else ""
            out += spread(f"{head} {sign:1} {text}{last}")[0]
        return out


def spread(text: str) -> tuple[list[str], int]:
    """Text in which matrices stand on several lines, all equally long, and the line on which the rest stands."""
    blocks = [(list(part.split("\n")), 0) if isinstance(part, str) else _block(part) for part in _parsed(text)]
    above = max(base for _, base in blocks)
    below = max(len(rows) - base for rows, base in blocks)
    out = [""] * (above + below)
    for rows, base in blocks:
        width = len(rows[0])
        for k in range(len(out)):
            at = k - above + base
            out[k] += rows[at] if 0 <= at < len(rows) else " " * width
    return out, above


def _parsed(text: str) -> list[str | list[list[str]]]:
    """Text and matrices, by rows and cells, one after the other."""
    out: list[str | list[list[str]]] = []
    depth, held = 0, ""
    for c in text:
        depth -= c == CLOSE
        if c == OPEN and depth == 0:
            out.append(held)
            held = ""
        elif c == CLOSE and depth == 0:
            out.append([_at_top(row, NEXT) for row in _at_top(held, NEXT_ROW)])
            held = ""
        else:
            held += c
        depth += c == OPEN
    return [*out, held]


def _at_top(text: str, mark: str) -> list[str]:
    """Parts between marks that are in no matrix within."""
    parts, depth = [""], 0
    for c in text:
        depth += (c == OPEN) - (c == CLOSE)
        if c == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def _block(cells: list[list[str]]) -> tuple[list[str], int]:
    """A matrix in brackets."""
    boxes = [[spread(cell) for cell in row] for row in cells]
    widths = [max(len(box[0][0]) for box in column) for column in zip(*boxes, strict=True)]
    lines = []
    for row in boxes:
        above = max(base for _, base in row)
        below = max(len(rows) - base for rows, base in row)
        for k in range(above + below):
            inside = [
                (rows[k - above + base] if 0 <= k - above + base < len(rows) else "").center(width)
                for (rows, base), width in zip(row, widths, strict=True)
            ]
            lines.append("  ".join(inside))
    last = len(lines) - 1
    edges = [("[", "]")] if not last else [("⎡", "⎤"), *[("⎢", "⎥")] * (last - 1), ("⎣", "⎦")]
    return [f"{a}{line}{b}" for (a, b), line in zip(edges, lines, strict=True)], last // 2


PLAIN: Writer = _Plain()
