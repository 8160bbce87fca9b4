"""What all renderings of a tree have in common: brackets, signs, dots and the breaks of long lines."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from _ranef.equations.tree import (
    Absolute,
    Atom,
    Call,
    Chain,
    Diagonal,
    Dots,
    Entries,
    Identity,
    Indicator,
    Inverse,
    Kronecker,
    Law,
    Line,
    Listed,
    Literal,
    Matrix,
    Name,
    Named,
    Negative,
    Node,
    Number,
    Phrase,
    Power,
    Product,
    Quotient,
    Related,
    Run,
    Sum,
    Symbol,
    Times,
    Transposed,
    Variable,
    Words,
)

__all__ = ["WIDTH", "Writer", "four_digits", "places"]

#: characters of the right-hand side, as plain text, before a line is broken
WIDTH = 84

#: how tightly parts hold together; what holds less than it must is put in brackets
LEVELS: dict[type[Node], int] = {Chain: 0, Sum: 1, Negative: 2, Quotient: 3, Kronecker: 4, Product: 5, Times: 5}
LEVELS |= {Power: 6, Inverse: 6, Transposed: 6}
ATOM = 7

#: rows or columns at the beginning that are shown of a long matrix; of the end it is one
SHOWN = 3


def level(node: Node) -> int:
    """How tightly a part holds together."""
    if isinstance(node, Named):
        return level(node.inner)
    if (isinstance(node, Number) and node.value < 0) or (isinstance(node, Literal) and node.text.startswith("-")):
        return LEVELS[Negative]
    return LEVELS.get(type(node), ATOM)


def unsigned(node: Node) -> tuple[bool, Node]:
    """Whether a summand begins with a minus sign, and the rest of it."""
    match node:
        case Number(value, decimals) if value < 0:
            return True, Number(-value, decimals)
        case Literal(text) if text.startswith("-"):
            return True, Literal(text[1:])
        case Negative(inner):
            return True, inner
        case Product((first, *rest)):
            negative, own = unsigned(first)
            return negative, Product((own, *rest))
    return False, node


class Writer(ABC):
    """A language of equations; every method gives a finished piece of text."""

    #: whether the place of an exponent brackets it
    raised = True

    def node(self, node: Node) -> str:
        """A part of an equation."""
        match node:
            case Literal(text):
                return self.literal(text)
            case Number(value, decimals):
                return self.number(value, decimals)
            case Symbol(letter, below):
                return self.symbol(letter, below)
            case Variable(name, at):
                return self.variable(name, at)
            case Name(text):
                return self.name(text)
            case Named(inner):
                return self.node(inner)
            case Sum(terms):
                return self.joined([(s, p) for s, p in self.signed(terms)])
            case Negative(inner):
                return self.joined([("-", self.held(inner, 4))])
            case Product(factors):
                dotted = any(isinstance(f, Literal | Number) for f in factors[1:])
                return self.product([self.held(f, 4 if k else 3) for k, f in enumerate(factors)], dotted)
            case Times(factors):
                return self.times([self.held(f, 6) for f in factors])
            case Quotient(above, below):
                return self.quotient(self.held(above, 4), self.held(below, 6))
            case Kronecker(left, right, sign):
                return self.between(sign, [self.held(left, 6), self.held(right, 6)])
            case Power(base, exponent):
                return self.power(base, exponent)
            case Transposed(inner):
                return self.raised_to(self.held(inner, ATOM), "⊤")
            case Inverse(inner):
                return self.raised_to(self.held(inner, ATOM), "-1")
            case Call(function, arguments):
                return self.call(function, [self.node(a) for a in arguments])
            case Absolute(inner):
                return self.absolute(self.node(inner))
            case Indicator(left, relation, right):
                return self.indicator(self.between(relation, [self.node(left), self.node(right)]))
            case Related(left, relation, right):
                return self.between(relation, [self.node(left), self.node(right)])
            case Law(name, arguments):
                return self.law(name, [self.node(a) for a in arguments])
            case Phrase(parts):
                return self.phrase([self.node(p) for p in parts])
            case Words(text):
                return self.words(text)
            case Dots():
                return self.dots("…")
            case Chain(parts):
                return self.between("=", [self.node(p) for p in parts])
        return self.array(node)

    def array(self, node: Node) -> str:
        """A vector or matrix."""
        match node:
            case Identity(size):
                return self.symbol("I", (str(size),))
            case Run():
                return self.listed(self.ends(node))
            case Entries(values, most):
                rows, cols = values.shape
                return self.shortened(rows, cols, most, lambda i, j: self.entry(float(values[i, j])))
            case Matrix(rows, most):
                return self.shortened(len(rows), len(rows[0]), most, lambda i, j: self.node(rows[i][j]))
            case Listed(entries, most):
                shown = [self.dots("…") if k is None else self.node(entries[k]) for k in places(len(entries), most)]
                return self.raised_to(self.listed(shown), "⊤")
            case Diagonal(entries, whole, most):
                at = places(len(entries), len(entries) if most is None else most)
                dots = "⋱" if whole else "…"
                shown = [t for k in at for t in ([self.dots(dots)] if k is None else self.ends(entries[k], dots))]
                return self.blocks(shown) if whole else self.call("diag", shown)
        raise TypeError(f"{type(node).__name__} cannot be written")

    def ends(self, node: Node, dots: str = "…") -> list[str]:
        """A run by its first and last; anything else as it is."""
        if not isinstance(node, Run):
            return [self.node(node)]
        first, last = (self.symbol(node.symbol.letter, (*node.symbol.below, str(k))) for k in (1, node.last))
        return [first] if node.last == 1 else [first, last] if node.last == 2 else [first, self.dots(dots), last]

    def blocks(self, diagonal: Sequence[str]) -> str:
        """A matrix of blocks with zeros beside its diagonal."""
        zero, n = self.literal("0"), len(diagonal)
        return self.matrix([[diagonal[i] if i == j else zero for j in range(n)] for i in range(n)])

    def shortened(self, n: int, k: int, most: int, entry: Callable[[int, int], str]) -> str:
        """A matrix with dots for what is between its first rows and columns and the last."""
        rows, cols = places(n, most), places(k, most)

        def shown(i: int | None, j: int | None) -> str:
            if i is None or j is None:
                return self.dots("⋱" if i is j else "⋮" if i is None else "⋯")
            return entry(i, j)

        return self.matrix([[shown(i, j) for j in cols] for i in rows])

    def held(self, node: Node, least: int) -> str:
        """A part, in brackets where it holds together less than it must."""
        text = self.node(node)
        return self.bracketed(text) if level(node) < least else text

    def signed(self, terms: Sequence[Node]) -> list[tuple[str, str]]:
        """Summands with their signs."""
        split = [unsigned(t) for t in terms]
        return [("-" if negative else "+", self.held(rest, 2)) for negative, rest in split]

    def power(self, base: Node, exponent: Node) -> str:
        """A power; an exponent that nothing brackets is put in brackets."""
        return self.raised_to(self.held(base, ATOM), self.node(exponent) if self.raised else self.held(exponent, ATOM))

    def entry(self, value: float) -> str:
        """A number of the data."""
        whole = value == round(value) and abs(value) < 1e7
        return (
            self.literal(f"{value:.0f}".replace("-0", "0") if value == 0 else f"{value:.0f}")
            if whole
            else (self.number(value))
        )

    @cached_property
    def width(self) -> Callable[[Node], int]:
        """How wide a summand is."""
        return lambda node: len(self.node(node))

    def rows(self, right: Node, width: Callable[[Node], int]) -> list[str]:
        """The right-hand side in rows of limited width."""
        if not isinstance(right, Sum):
            return [self.node(right)]
        held: list[list[tuple[str, str]]] = [[]]
        filled = 0
        for term, signed in zip(right.terms, self.signed(right.terms), strict=True):
            own = width(term) + 3
            if held[0] and filled + own > WIDTH:
                held.append([])
                filled = 0
            held[-1].append(signed)
            filled += own
        return [self.joined(part, leading=k > 0) for k, part in enumerate(held)]

    def breaks(self, line: Line) -> list[tuple[str, str]]:
        """Relation and text of every row of the right-hand side: equal parts and long sums stand below each other."""
        assert line.right is not None
        parts = line.right.parts if isinstance(line.right, Chain) else (line.right,)
        if sum(map(self.plain_width, parts)) <= WIDTH // 2:
            parts = (line.right,)
        out = []
        for k, part in enumerate(parts):
            rows = self.rows(part, self.plain_width)
            out += [(line.relation if not k else "=", rows[0]), *(("", row) for row in rows[1:])]
        return out

    @abstractmethod
    def plain_width(self, node: Node) -> int:
        """How wide a part is as plain text."""

    @abstractmethod
    def literal(self, text: str) -> str:
        """Digits."""

    @abstractmethod
    def number(self, value: float, decimals: int = 0) -> str:
        """A number with four significant digits, and `decimals` at least."""

    @abstractmethod
    def symbol(self, letter: str, below: Sequence[Atom] = ()) -> str:
        """A letter with indices."""

    @abstractmethod
    def variable(self, name: str, at: Atom) -> str:
        """A variable in a row, or for a level."""

    @abstractmethod
    def name(self, text: str) -> str:
        """A name from the data, upright, whatever characters it has."""

    @abstractmethod
    def words(self, text: str) -> str:
        """A sentence."""

    @abstractmethod
    def joined(self, parts: Sequence[tuple[str, str]], *, leading: bool = False) -> str:
        """A sum by its signs; the first plus sign is written where it is `leading`."""

    @abstractmethod
    def product(self, parts: Sequence[str], dotted: bool) -> str:
        """A product of numbers, with dots where one of them is written in digits."""

    @abstractmethod
    def times(self, parts: Sequence[str]) -> str:
        """A product of matrices."""

    @abstractmethod
    def quotient(self, above: str, below: str) -> str:
        """A quotient on one line."""

    @abstractmethod
    def between(self, sign: str, parts: Sequence[str]) -> str:
        """Parts with a sign between them."""

    @abstractmethod
    def raised_to(self, base: str, exponent: str) -> str:
        """A power, a transpose or an inverse."""

    @abstractmethod
    def bracketed(self, text: str) -> str:
        """In brackets."""

    @abstractmethod
    def call(self, function: str, arguments: Sequence[str]) -> str:
        """A function of its arguments."""

    @abstractmethod
    def absolute(self, text: str) -> str:
        """A size."""

    @abstractmethod
    def indicator(self, condition: str) -> str:
        """One where a condition holds."""

    @abstractmethod
    def law(self, name: str, arguments: Sequence[str]) -> str:
        """A distribution."""

    @abstractmethod
    def phrase(self, parts: Sequence[str]) -> str:
        """One after the other."""

    @abstractmethod
    def dots(self, kind: str) -> str:
        """What is left out: … ⋯ ⋮ ⋱."""

    @abstractmethod
    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        """A matrix."""

    @abstractmethod
    def listed(self, entries: Sequence[str]) -> str:
        """Entries in brackets, with commas."""

    @abstractmethod
    def page(self, lines: Sequence[Line]) -> str:
        """All lines, aligned at their relations."""

    def aligned(self, line: Line, signs: Mapping[str, str], *, at: str, gap: str, newline: str) -> str:
        """A line with the mark `at` before its relations, written by `signs`; a `gap` before words and what goes on."""
        words = "" if line.words is None else self.node(line.words)
        if line.right is None:
            return f"{at}{words}"
        left = "" if line.left is None else f"{self.node(line.left)} "
        first, *more = ((signs.get(sign, sign), text) for sign, text in self.breaks(line))
        rest = [f"{at}{sign or gap} {text}" for sign, text in more]
        body = newline.join([f"{left}{at}{first[0]} {first[1]}", *rest])
        return f"{body} {gap} {words}" if words else body


def places(n: int, most: int) -> list[int | None]:
    """Rows that are shown; None for the dots."""
    return list(range(n)) if n <= most else [*range(min(SHOWN, most - 2)), None, n - 1]


def four_digits(value: float, decimals: int = 0) -> str:
    """Four significant digits and `decimals` at least, all before the point, no exponent between 1e-4 and 1e7."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-0", "0")
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3e}"
    return f"{value:.{max(decimals, 3 - math.floor(math.log10(abs(value))))}f}"
