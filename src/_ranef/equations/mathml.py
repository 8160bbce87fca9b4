"""MathML Core, which browsers typeset by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from _ranef.equations.plain import PLAIN
from _ranef.equations.tree import Atom, Label, Line, Node, Of
from _ranef.equations.writing import Writer, four_digits
from _ranef.support.escaped_names import printable

__all__ = ["MATHML"]

#: columns of a system are aligned at the relation: MathML Core has no attribute for it, but the styles of pages hold
_ALIGNED = ("text-align: right; text-align: -webkit-right; padding: .25em 0", "padding: .25em .3em")
_LEFT = "text-align: left; text-align: -webkit-left; padding: .25em 0"


class _MathML(Writer):
    def plain_width(self, node: Node) -> int:
        return PLAIN.plain_width(node)

    def literal(self, text: str) -> str:
        return f"<mn>{text}</mn>"

    def number(self, value: float, decimals: int = 0) -> str:
        text = four_digits(value, decimals)
        mantissa, _, exponent = text.lstrip("-").partition("e")
        own = f"<mn>{mantissa.replace('inf', '∞')}</mn>"
        if exponent:
            own += f"<mo>×</mo><msup><mn>10</mn>{_row(_minus(int(exponent)))}</msup>"
        return _row(f"<mo>−</mo>{own}") if text.startswith("-") else _row(own) if exponent else own

    def symbol(self, letter: str, below: Sequence[Atom] = ()) -> str:
        base = f"<mi>{escape(letter)}</mi>"
        return self._below(base, below) if below else base

    def _below(self, base: str, below: Sequence[Atom]) -> str:
        atoms = [self._atom(a) for a in below]
        digits = all(isinstance(a, str) and len(a) == 1 and a.isdigit() for a in below)
        return f"<msub>{base}{_row(('' if digits else '<mo>,</mo>').join(atoms))}</msub>"

    def _atom(self, atom: Atom) -> str:
        match atom:
            case Label(text):
                return self.name(text)
            case Of(letter, row):
                return f"<mi>{letter}</mi>{_fixed('[')}{self._atom(row)}{_fixed(']')}"
        text = str(atom)
        if text.endswith("′"):
            return f"<mi>{text[:-1]}</mi><mo>′</mo>"
        return f"<mn>{text}</mn>" if text.isdigit() else f"<mi>{text}</mi>"

    def variable(self, name: str, at: Atom) -> str:
        return self._below(self.name(name), (at,))

    def name(self, text: str) -> str:
        clean = escape(printable(text))
        plain = text.isidentifier() and len(text) > 1
        return f"<mi>{clean}</mi>" if plain else f"<mtext>{clean.replace(' ', '&#160;')}</mtext>"

    def words(self, text: str) -> str:
        return f"<mtext>{escape(printable(text)).replace(' ', '&#160;')}</mtext>"

    def joined(self, parts: Sequence[tuple[str, str]], *, leading: bool = False) -> str:
        signs = ["" if not k and sign == "+" and not leading else sign for k, (sign, _) in enumerate(parts)]
        form = ' form="infix"' if leading else ""
        marks = [f"<mo{form}>{s.replace('-', '−')}</mo>" if s else "" for s in signs]
        return _row("".join(mark + part for mark, (_, part) in zip(marks, parts, strict=True)))

    def product(self, parts: Sequence[str], dotted: bool) -> str:
        return _row(("<mo>⋅</mo>" if dotted else '<mspace width="0.17em"/>').join(parts))

    def times(self, parts: Sequence[str]) -> str:
        return _row("<mo>&#x2062;</mo>".join(parts))

    def quotient(self, above: str, below: str) -> str:
        return _row(f"{above}<mo>/</mo>{below}")

    def between(self, sign: str, parts: Sequence[str]) -> str:
        return _row(f"<mo>{escape(sign)}</mo>".join(parts))

    def raised_to(self, base: str, exponent: str) -> str:
        marks = {"⊤": "<mo>⊤</mo>", "-1": _row(_minus(-1)), "2": "<mn>2</mn>"}
        raised = marks.get(exponent, _row(exponent))
        if base.startswith("<msub>") and base.find("</msub>") == len(base) - len("</msub>"):
            return f"<msubsup>{base.removeprefix('<msub>').removesuffix('</msub>')}{raised}</msubsup>"
        return f"<msup>{_row(base)}{raised}</msup>"

    def bracketed(self, text: str) -> str:
        if "<mtable" in text:
            return _row(f"<mo>(</mo>{text}<mo>)</mo>")
        return _row(f"{_fixed('(')}{text}{_fixed(')')}")

    def call(self, function: str, arguments: Sequence[str]) -> str:
        inside = "<mo>,</mo>".join(arguments)
        if function == "sqrt":
            return f"<msqrt>{inside}</msqrt>"
        base = function.rstrip("0123456789")
        head = f"<mi>{base}</mi>"
        if base != function and base == "log":
            head = f"<msub>{head}<mn>{function.removeprefix(base)}</mn></msub>"
        return _row(f"{head}<mo>&#x2061;</mo>{self.bracketed(inside)}")

    def absolute(self, text: str) -> str:
        return _row(f"{_fixed('|')}{text}{_fixed('|')}")

    def indicator(self, condition: str) -> str:
        return _row(f"<mn>𝟏</mn>{_fixed('[')}{condition}{_fixed(']')}")

    def law(self, name: str, arguments: Sequence[str]) -> str:
        head = "<mi>𝒩</mi>" if name == "N" else f"<mi>{escape(name)}</mi>"
        return _row(f"{head}{self.bracketed('<mo>,</mo>'.join(arguments))}")

    def phrase(self, parts: Sequence[str]) -> str:
        return _row("".join(parts))

    def dots(self, kind: str) -> str:
        return f"<mo>{kind}</mo>"

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        body = "".join(f"<mtr>{''.join(f'<mtd>{cell}</mtd>' for cell in row)}</mtr>" for row in rows)
        return self.bracketed(f"<mtable>{body}</mtable>")

    def listed(self, entries: Sequence[str]) -> str:
        return self.bracketed("<mo>,</mo>".join(entries))

    def page(self, lines: Sequence[Line]) -> str:
        body = "".join(map(self._line, lines))
        space = "http://www.w3.org/1998/Math/MathML"
        return f'<math xmlns="{space}" display="block"><mtable displaystyle="true">{body}</mtable></math>'

    def _line(self, line: Line) -> str:
        words = "" if line.words is None else self.node(line.words)
        if line.right is None:
            return f'<mtr><mtd columnspan="3" style="{_LEFT}">{words}</mtd></mtr>'
        left = "" if line.left is None else self.node(line.left)
        rows = self.breaks(line)
        out = []
        for k, (sign, text) in enumerate(rows):
            last = f'<mspace width="1em"/>{words}' if words and k == len(rows) - 1 else ""
            cells = (left if not k else "", f"<mo>{sign}</mo>" if sign else "", f"{_row(text)}{last}")
            styles = (*_ALIGNED, _LEFT)
            out.append("".join(f'<mtd style="{s}">{_row(c)}</mtd>' for s, c in zip(styles, cells, strict=True)))
        return "".join(f"<mtr>{row}</mtr>" for row in out)


def _fixed(bracket: str) -> str:
    """A bracket that does not grow with what it holds."""
    return f'<mo stretchy="false">{bracket}</mo>'


def _row(inside: str) -> str:
    return f"<mrow>{inside}</mrow>"


def _minus(value: int) -> str:
    return f"<mo>−</mo><mn>{-value}</mn>" if value < 0 else f"<mn>{value}</mn>"


MATHML: Writer = _MathML()
