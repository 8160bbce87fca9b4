"""Tree to terms: R's term algebra (Wilkinson and Rogers 1973, as R's ``terms.formula`` does it)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from _ranef.errors import FormulaError
from _ranef.formula.tree import Bar, Binary, Call, Name, Node, Number, Span, Unary, error_at, label

__all__ = ["RightSide", "Term", "Terms", "expand"]

_MAX_PAIRS = 250_000
_MAX_TERMS = 100_000

_TOO_MANY = "This expands into too many terms: name the interactions that you want."

# a term is the set of its factors, as bits numbered by first appearance; with the place of each
_Set: TypeAlias = dict[int, Span]

# "term": joined by + at the top; "summand": by + or - further in; "operand": by an interaction operator
_Role: TypeAlias = Literal["term", "summand", "operand"]


@dataclass(frozen=True)
class Term:
    """An interaction of factors; one factor is a main effect.

    Attributes
    ----------
    factors : tuple of Node
        In the order in which the part of the formula names them, which is that of the columns.
    span : Span
        The place in the source.
    named : tuple of Node
        The same factors in the order in which names show them; that of `factors` where it is empty.

    Examples
    --------
    >>> from _ranef.formula import parse_formula
    >>> term = parse_formula("y ~ a:b", functions=()).fixed.terms[0]
    >>> term.name, term.degree
    ('a:b', 2)
    """

    factors: tuple[Node, ...]
    span: Span = field(compare=False)
    named: tuple[Node, ...] = field(default=(), compare=False)

    @property
    def shown(self) -> tuple[Node, ...]:
        """The factors in the order of names."""
        return self.named or self.factors

    @property
    def name(self) -> str:
        """R's label of the term."""
        return ":".join(map(label, self.shown))

    @property
    def degree(self) -> int:
        """The number of factors."""
        return len(self.factors)


@dataclass(frozen=True)
class Terms:
    """An intercept or none, and terms sorted by degree, within a degree by first appearance."""

    intercept: bool
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class RightSide:
    """What a sum of terms holds: fixed terms, offsets, random terms not yet read, notes to the user."""

    terms: Terms
    offsets: tuple[Node, ...]
    bars: tuple[Bar | Call, ...]
    notes: tuple[str, ...]


def expand(source: str, node: Node, *, in_bar: bool = False) -> RightSide:
    """Expand a right-hand side, or a bar's effects, into terms.

    Parameters
    ----------
    source : str
        The whole formula, for messages.
    node : Node
        The expression to expand.
    in_bar : bool, default False
        Whether `node` is the effects of a bar, which hold neither bars nor offsets.

    Returns
    -------
    RightSide
        The terms, and what stood beside them.

    Raises
    ------
    FormulaError
        For anything that is no term.

    Examples
    --------
    >>> from _ranef.formula.parse import parse_sides
    >>> from _ranef.formula.terms import expand
    >>> source = "y ~ f + x:f - 1"
    >>> [term.name for term in expand(source, parse_sides(source, ())[1]).terms.terms]
    ['f', 'f:x']
    """
    algebra = _Algebra(source, in_bar)
    masks = algebra.expand(node, "term")
    terms = Terms(algebra.intercept, algebra.terms(masks))
    return RightSide(terms, tuple(algebra.offsets), tuple(algebra.bars), tuple(algebra.notes))


class _Algebra:
    def __init__(self, source: str, in_bar: bool) -> None:
        self.source, self.in_bar = source, in_bar
        self.bits: dict[Node, int] = {}
        self.intercept = True
        self.adding = True
        self.offsets: list[Node] = []
        self.bars: list[Bar | Call] = []
        self.notes: list[str] = []
        self.operators: dict[str, Callable[[Binary], _Set]] = {
            ":": self.interaction,
            "*": self.crossing,
            "/": self.nesting,
            "%in%": self.within,
            "^": self.power,
        }

    def error(self, node: Node, message: str) -> FormulaError:
        return error_at(self.source, node.span, message)

    def text(self, node: Node) -> str:
        return self.source[node.span.start : node.span.end]

    def terms(self, masks: _Set) -> tuple[Term, ...]:
        factors = list(self.bits)
        ordered = sorted((mask for mask in masks if mask), key=int.bit_count)
        return tuple(Term(tuple(factors[bit] for bit in _bits(mask)), masks[mask]) for mask in ordered)

    def expand(self, node: Node, role: _Role = "operand") -> _Set:
        if isinstance(node, Binary):
            return self.sum(node, role) if node.op in ("+", "-") else self.operators[node.op](node)
        if isinstance(node, Bar) or (isinstance(node, Call) and any(isinstance(arg, Bar) for arg in node.args)):
            return self.bar(node, role)
        if isinstance(node, Call) and node.function == "offset":
            return self.offset(node, role)
        if isinstance(node, Number):
            return self.constant(node, role)
        if isinstance(node, Unary):
            return self.signed(node, role)
        if isinstance(node, Name | Call):
            return {1 << self.bits.setdefault(node, len(self.bits)): node.span}
        raise self.error(node, "A string is not a term: name a column; backquotes hold unusual names, `my column`.")

    def sum(self, node: Node, role: _Role) -> _Set:
        role = "term" if role == "term" else "summand"
        operands: list[tuple[str, Node]] = []
        # a loop down the left side: a sum may have more terms than Python's recursion limit
        while isinstance(node, Binary) and node.op in ("+", "-"):
            operands.append((node.op, node.right))
            node = node.left
        total = self.expand(node, role)
        for op, right in reversed(operands):
            if op == "+":
                total = _union(total, self.expand(right, role))
            else:
                self.delete(total, right)
        return total

    def signed(self, node: Unary, role: _Role) -> _Set:
        if role == "operand":
            message = f"A sign cannot stand inside an interaction: put '{self.text(node)}' in I(...) for arithmetic."
            raise self.error(node, message)
        if node.op == "+":
            return self.expand(node.operand, role)
        self.delete({}, node.operand)
        return {}

    def delete(self, total: _Set, node: Node) -> None:
        self.adding = not self.adding
        deleted = self.expand(node, "summand")
        self.adding = not self.adding
        if deleted and total.keys().isdisjoint(deleted):
            self.notes.append(f"'- {self.text(node)}' removes nothing: it is not among the terms before it.")
        for mask in deleted:
            total.pop(mask, None)

    def constant(self, node: Number, role: _Role) -> _Set:
        if role == "operand":
            message = "A number cannot be part of an interaction: only '+' and '-' take 0 or 1, I(...) is arithmetic."
            raise self.error(node, message)
        if node.value not in (0, 1):
            message = f"The number {node.text} is not a term: expected 1 or 0 for the intercept, I(...) for arithmetic."
            raise self.error(node, message)
        self.intercept = (node.value == 1) == self.adding
        return {}

    def bar(self, node: Bar | Call, role: _Role) -> _Set:
        if self.in_bar:
            raise self.error(node, "A random term cannot stand inside another: write one after the other with '+'.")
        if role != "term":
            message = "A random term can only be added: join it to the right side with '+', or leave it out."
            raise self.error(node, message)
        self.bars.append(node)
        return {}

    def offset(self, node: Call, role: _Role) -> _Set:
        if self.in_bar or role != "term":
            where = "inside a random term" if self.in_bar else "in an interaction or after '-'"
            raise self.error(node, f"offset() cannot stand {where}: add it to the right side with '+'.")
        if len(node.args) != 1 or node.kwargs:
            raise self.error(node, "offset() takes one expression: offset(log(exposure)), for example.")
        self.offsets.append(node.args[0])
        return {}

    def interaction(self, node: Binary) -> _Set:
        return self.products(self.expand(node.left), self.expand(node.right), node)

    def crossing(self, node: Binary) -> _Set:
        left, right = self.expand(node.left), self.expand(node.right)
        crossed = _union(_union(dict(left), right), self.products(left, right, node))
        if len(crossed) > _MAX_TERMS:
            raise self.error(node, _TOO_MANY)
        return crossed

    def nesting(self, node: Binary) -> _Set:
        left, right = self.expand(node.left), self.expand(node.right)
        return _union(dict(left), self.products({_joined(left): node.left.span}, right, node))

    def within(self, node: Binary) -> _Set:
        left, right = self.expand(node.left), self.expand(node.right)
        return self.products(left, {_joined(right): node.right.span}, node)

    def power(self, node: Binary) -> _Set:
        exponent = node.right.value if isinstance(node.right, Number) else None
        if not isinstance(exponent, int) or exponent < 1:
            message = "Outside a call '^' crosses terms: a positive integer is expected after it; I(...) is arithmetic."
            raise self.error(node.right, message)
        base = self.expand(node.left)
        if len(base) == 1 and exponent > 1:
            advice = f"I({self.text(node)})"
            self.notes.append(f"'{self.text(node)}' is the term {self.text(node.left)}: write {advice} for arithmetic.")
        total = dict(base)
        for _ in range(1, exponent):
            size = len(total)
            _union(total, self.products(total, base, node))
            if len(total) == size:
                break
        return total

    def products(self, left: _Set, right: _Set, node: Node) -> _Set:
        if len(left) * len(right) > _MAX_PAIRS:
            raise self.error(node, _TOO_MANY)
        return {one | other: node.span for one in left for other in right}


def _union(total: _Set, more: _Set) -> _Set:
    """Add `more` to `total` in place; the first place of a term is kept."""
    for mask, span in more.items():
        total.setdefault(mask, span)
    return total


def _joined(masks: _Set) -> int:
    joined = 0
    for mask in masks:
        joined |= mask
    return joined


def _bits(mask: int) -> list[int]:
    bits = []
    while mask:
        low = mask & -mask
        bits.append(low.bit_length() - 1)
        mask ^= low
    return bits
