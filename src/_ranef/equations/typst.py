"""Typst's mathematics."""

from __future__ import annotations

import json
from collections.abc import Sequence

from _ranef.equations.plain import PLAIN
from _ranef.equations.tree import Atom, Label, Line, Node, Of
from _ranef.equations.writing import Writer, four_digits
from _ranef.support.escaped_names import printable

__all__ = ["TYPST"]

_LETTERS = {"ŷ": "hat(y)", "ỹ": "tilde(y)", "~": "tilde.op", "…": "dots.h", "⋯": "dots.h.c", "⋮": "dots.v"}
_LETTERS |= {"⋱": "dots.down"}
_MATHEMATICAL = ("log", "exp", "sin", "cos", "tan")


class _Typst(Writer):
    def plain_width(self, node: Node) -> int:
        return PLAIN.plain_width(node)

    def literal(self, text: str) -> str:
        return text

    def number(self, value: float, decimals: int = 0) -> str:
        mantissa, _, exponent = four_digits(value, decimals).partition("e")
        plain = mantissa.replace("inf", "infinity").replace("nan", '"NaN"')
        return f"{mantissa} times 10^({int(exponent)})" if exponent else plain

    def symbol(self, letter: str, below: Sequence[Atom] = ()) -> str:
        base = _LETTERS.get(letter, letter)
        return f"{base}_({self._indices(below)})" if below else base

    def _indices(self, below: Sequence[Atom]) -> str:
        digits = all(isinstance(a, str) and len(a) == 1 and a.isdigit() for a in below)
        return ("" if digits else ", ").join(map(self._atom, below))

    def _atom(self, atom: Atom) -> str:
        match atom:
            case Label(text):
                return self.name(text)
            case Of(letter, row):
                return f"{letter}[{row}]"
        return str(atom)

    def variable(self, name: str, at: Atom) -> str:
        return f"{self.name(name)}_({self._atom(at)})"

    def name(self, text: str) -> str:
        return f"upright({_quoted(text)})"

    def words(self, text: str) -> str:
        return _quoted(text)

    def joined(self, parts: Sequence[tuple[str, str]], *, leading: bool = False) -> str:
        return PLAIN.joined(parts, leading=leading)

    def product(self, parts: Sequence[str], dotted: bool) -> str:
        return (" dot " if dotted else " thin ").join(parts)

    def times(self, parts: Sequence[str]) -> str:
        return " ".join(parts)

    def quotient(self, above: str, below: str) -> str:
        return rf"{above} \/ {below}"

    def between(self, sign: str, parts: Sequence[str]) -> str:
        return f" {_LETTERS.get(sign, sign)} ".join(parts)

    def raised_to(self, base: str, exponent: str) -> str:
        return f"{base}^({exponent})"

    def bracketed(self, text: str) -> str:
        return f"({text})"

    def call(self, function: str, arguments: Sequence[str]) -> str:
        inside = ", ".join(arguments)
        if function == "sqrt":
            return f"sqrt({inside})"
        base = function.rstrip("0123456789")
        if base in _MATHEMATICAL:
            rest = function.removeprefix(base)
            return f"{base}{f'_{rest}' if rest else ''} ({inside})"
        return f"op({_quoted(function)}) ({inside})"

    def absolute(self, text: str) -> str:
        return f"abs({text})"

    def indicator(self, condition: str) -> str:
        return f"bold(1)[{condition}]"

    def law(self, name: str, arguments: Sequence[str]) -> str:
        head = "cal(N)" if name == "N" else f"op({_quoted(name)})"
        return f"{head} ({', '.join(arguments)})"

    def phrase(self, parts: Sequence[str]) -> str:
        return " ".join(parts)

    def dots(self, kind: str) -> str:
        return _LETTERS[kind]

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        return f"mat({'; '.join(', '.join(row) for row in rows)})"

    def listed(self, entries: Sequence[str]) -> str:
        return f"({', '.join(entries)})"

    def page(self, lines: Sequence[Line]) -> str:
        return " \\\n".join(map(self._line, lines))

    def _line(self, line: Line) -> str:
        return self.aligned(line, _LETTERS, at="& ", gap="quad", newline=" \\\n")


def _quoted(text: str) -> str:
    return json.dumps(printable(text), ensure_ascii=False)


TYPST: Writer = _Typst()
