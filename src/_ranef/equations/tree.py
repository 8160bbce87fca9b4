"""The symbols of an equation as a tree, which :mod:`writing` renders and :mod:`evaluating` computes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

from _ranef.support.arrays import Floats

__all__ = [
    "Absolute",
    "Atom",
    "Call",
    "Chain",
    "Diagonal",
    "Dots",
    "Entries",
    "Identity",
    "Indicator",
    "Inverse",
    "Key",
    "Kronecker",
    "Label",
    "Law",
    "Line",
    "Listed",
    "Literal",
    "Matrix",
    "Name",
    "Named",
    "Negative",
    "Node",
    "Number",
    "Of",
    "Phrase",
    "Power",
    "Product",
    "Quotient",
    "Related",
    "Run",
    "Sum",
    "Symbol",
    "Times",
    "Transposed",
    "Variable",
    "Words",
    "column",
    "mapped",
    "said",
    "squared",
    "symbols_in",
]

#: characters of a line of words alone
WORDS = 96

Key: TypeAlias = tuple[str | int, ...]
"""What a symbol is of, as ``("fixef", 1)``: numbers and words are found by it."""


@dataclass(frozen=True)
class Label:
    """An index that is a name of the data."""

    text: str


@dataclass(frozen=True)
class Of:
    """The level ``letter`` of a row, as j[i]."""

    letter: str
    row: str


Atom: TypeAlias = str | Label | Of
"""One index: digits or a letter, a name, or the level of a row."""


@dataclass(frozen=True)
class Node:
    """A part of an equation."""


@dataclass(frozen=True)
class Literal(Node):
    """A number as the formula has it."""

    text: str


@dataclass(frozen=True)
class Number(Node):
    """A number that is shown with four significant digits, and `decimals` at least."""

    value: float
    decimals: int = 0


@dataclass(frozen=True)
class Symbol(Node):
    """A letter with indices."""

    letter: str
    below: tuple[Atom, ...] = ()
    key: Key = ()


@dataclass(frozen=True)
class Variable(Node):
    """The value of a variable of the data in a row, or for a level."""

    name: str
    at: Atom = "i"


@dataclass(frozen=True)
class Name(Node):
    """A level of a factor."""

    text: str


@dataclass(frozen=True)
class Named(Node):
    """An expression that is one parameter: a number may take its place."""

    inner: Node
    key: Key


@dataclass(frozen=True)
class Sum(Node):
    """Summands."""

    terms: tuple[Node, ...]


@dataclass(frozen=True)
class Product(Node):
    """A product of numbers, or of a number and a matrix."""

    factors: tuple[Node, ...]


@dataclass(frozen=True)
class Times(Node):
    """A product of matrices."""

    factors: tuple[Node, ...]


@dataclass(frozen=True)
class Negative(Node):
    """Minus something."""

    inner: Node


@dataclass(frozen=True)
class Quotient(Node):
    """A quotient, on one line."""

    above: Node
    below: Node


@dataclass(frozen=True)
class Power(Node):
    """A power."""

    base: Node
    exponent: Node


@dataclass(frozen=True)
class Call(Node):
    """A function of its arguments."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Absolute(Node):
    """A size."""

    inner: Node


@dataclass(frozen=True)
class Indicator(Node):
    """One where a variable has a level, or one of two relations holds; else zero."""

    left: Node
    relation: str
    right: Node


@dataclass(frozen=True)
class Related(Node):
    """An event: that two things stand in a relation."""

    left: Node
    relation: str
    right: Node


@dataclass(frozen=True)
class Matrix(Node):
    """A matrix of entries or blocks; past `most` rows or columns dots stand for those between."""

    rows: tuple[tuple[Node, ...], ...]
    most: int = 6


@dataclass(frozen=True, eq=False)
class Entries(Node):
    """A matrix (m, k) of known numbers, shown with dots where it is long."""

    values: Floats
    most: int = 6


@dataclass(frozen=True)
class Listed(Node):
    """A column vector that is written on one line, with dots past `most` entries."""

    entries: tuple[Node, ...]
    most: int = 6


@dataclass(frozen=True)
class Diagonal(Node):
    """A diagonal of numbers or of blocks; `whole` shows the zeros beside it; past `most` entries it has dots."""

    entries: tuple[Node, ...]
    whole: bool = False
    most: int | None = None


@dataclass(frozen=True)
class Run(Node):
    """One symbol with all values of an index from 1 on: the first, dots, and the last."""

    symbol: Symbol
    last: int


@dataclass(frozen=True)
class Identity(Node):
    """An identity matrix."""

    size: int


@dataclass(frozen=True)
class Kronecker(Node):
    """⊗, or by rows of the transposed ⊙."""

    left: Node
    right: Node
    sign: str = "⊗"


@dataclass(frozen=True)
class Transposed(Node):
    """A transpose."""

    inner: Node


@dataclass(frozen=True)
class Inverse(Node):
    """An inverse."""

    inner: Node


@dataclass(frozen=True)
class Law(Node):
    """A distribution with its arguments."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Dots(Node):
    """What is left out."""


@dataclass(frozen=True)
class Words(Node):
    """A sentence, which may hold names of the data."""

    text: str


@dataclass(frozen=True)
class Phrase(Node):
    """Words and mathematics one after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Chain(Node):
    """Expressions that are equal to each other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Line:
    """One line of a system of equations.

    Attributes
    ----------
    left : Node, optional
        None where the line goes on from the one above, or has words alone.
    relation : str
        ``"="``, ``"~"`` or empty.
    right : Node, optional
    words : Node, optional
        What stands after the formula, or alone.
    """

    left: Node | None
    relation: str
    right: Node | None
    words: Node | None = None

    @property
    def parts(self) -> tuple[Node, ...]:
        """What is there."""
        return tuple(part for part in (self.left, self.right, self.words) if part is not None)

    def mapped(self, change: Callable[[Node], Node | None]) -> Line:
        """The same with every part changed by :func:`mapped`."""
        left, right, words = (
            None if part is None else mapped(part, change) for part in (self.left, self.right, self.words)
        )
        return Line(left, self.relation, right, words)


def column(entries: Sequence[Node], most: int = 6) -> Node:
    """A column vector."""
    return Matrix(tuple((entry,) for entry in entries), most)


def said(text: str) -> list[Line]:
    """Lines of words alone."""
    return [Line(None, "", None, Words(part)) for part in textwrap.wrap(text, WORDS)]


def squared(node: Node) -> Power:
    """The square."""
    return Power(node, Literal("2"))


def mapped(node: Node, change: Callable[[Node], Node | None]) -> Node:
    """The tree with what `change` gives in the place of a part; where that is None, its parts are changed."""
    found = change(node)
    return found if found is not None else _rebuilt(node, lambda part: mapped(part, change))


def _rebuilt(node: Node, change: Callable[[Node], Node]) -> Node:
    moved = {f.name: _each(getattr(node, f.name), change) for f in fields(node)}
    moved = {name: value for name, value in moved.items() if value is not getattr(node, name)}
    return replace(node, **moved) if moved else node


def _each(value: object, change: Callable[[Node], Node]) -> object:
    """What a field holds, with every node of it changed."""
    if isinstance(value, Node):
        return change(value)
    if isinstance(value, tuple) and value and isinstance(value[0], Node | tuple):
        return tuple(_each(part, change) for part in value)
    return value


def symbols_in(node: Node) -> Iterator[Symbol | Variable | Run]:
    """Symbols, variables and runs of a tree in the order in which they are read."""
    if isinstance(node, Symbol | Variable | Run):
        yield node
        return
    for f in fields(node):
        yield from _within(getattr(node, f.name))


def _within(value: object) -> Iterator[Symbol | Variable | Run]:
    if isinstance(value, Node):
        yield from symbols_in(value)
    elif isinstance(value, tuple):
        for part in value:
            yield from _within(part)
