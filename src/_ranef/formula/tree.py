"""Nodes of a parsed expression, each with its place in the source text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from _ranef.errors import FormulaError

__all__ = ["Bar", "Binary", "Call", "Name", "Node", "Number", "Span", "String", "Unary", "label", "walk"]


@dataclass(frozen=True)
class Span:
    """A half-open range of characters of the source text."""

    start: int
    end: int


@dataclass(frozen=True)
class Name:
    """A column (or constant) by its raw name, without backquotes."""

    name: str
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Number:
    """A number literal; `text` is how the source wrote it."""

    value: float | int
    text: str = field(compare=False)
    span: Span = field(compare=False)


@dataclass(frozen=True)
class String:
    """A string literal, escapes resolved."""

    value: str
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Call:
    """A call of a registered function, of ``offset``, or of a covariance structure round a bar."""

    function: str
    args: tuple[Node, ...]
    kwargs: tuple[tuple[str, Node], ...]
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Unary:
    """A prefix operator: ``-``, ``+`` or ``!``."""

    op: str
    operand: Node
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Binary:
    """An infix operator with its two operands."""

    op: str
    left: Node
    right: Node
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Bar:
    """A random term ``(effects | group)``, or ``(effects || group)`` where `double`."""

    double: bool
    effects: Node
    group: Node
    span: Span = field(compare=False)


Node: TypeAlias = Name | Number | String | Call | Unary | Binary | Bar

_LEVELS = (
    ("|", "||"),
    ("&", "&&"),
    ("!",),
    ("==", "!=", "<", "<=", ">", ">="),
    ("+", "-"),
    ("*", "/"),
    ("%in%", "%%", "%/%"),
    (":",),
    ("unary",),
    ("^",),
)
PRECEDENCE = {op: level for level, ops in enumerate(_LEVELS, start=1) for op in ops}
COMPARISONS = frozenset(_LEVELS[3])
_ATOM = len(_LEVELS) + 1
_UNSPACED = frozenset({"^", ":", "/", "%%", "%/%"})
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def error_at(source: str, span: Span, message: str) -> FormulaError:
    """Make the error that says `message` and underlines `span`."""
    return FormulaError(message, source, span.start, span.end)


def starts_name(char: str) -> bool:
    """Tell whether a name without backquotes may begin with `char`."""
    return char == "." or char.isidentifier()


def continues_name(char: str) -> bool:
    """Tell whether `char` may stand inside a name without backquotes."""
    # isidentifier, not \w: combining marks belong to names, superscript digits do not
    return char == "." or ("_" + char).isidentifier()


def is_syntactic(name: str) -> bool:
    """Tell whether `name` can be written without backquotes."""
    is_number = name[0] == "." and name[1:2] in set("0123456789")
    return bool(name.strip(".")) and starts_name(name[0]) and all(map(continues_name, name)) and not is_number


def quoted(name: str) -> str:
    """Write a column's name as a formula has it: in backquotes where it needs them."""
    return name if is_syntactic(name) else f"`{name}`"


def children(node: Node) -> tuple[Node, ...]:
    """Give the direct parts of `node`, left to right."""
    match node:
        case Call():
            return node.args + tuple(value for _, value in node.kwargs)
        case Unary():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Bar():
            return (node.effects, node.group)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and every node below it, depth first, left to right.

    Parameters
    ----------
    node : Node
        Where to start.

    Yields
    ------
    Node
        Parents before their parts.

    Examples
    --------
    >>> from _ranef.formula import Name, parse_formula, walk
    >>> response = parse_formula("log(a + b) ~ 1", functions={"log"}).response
    >>> [part.name for part in walk(response) if isinstance(part, Name)]
    ['a', 'b']
    """
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(children(current)))


def label(node: Node) -> str:
    """Write `node` as canonical text, so that equal nodes have equal labels.

    Parameters
    ----------
    node : Node
        Any node. A bare `Name` gives its raw name; inside anything larger a name that is not syntactic is backquoted.

    Returns
    -------
    str
        Text that parses back to an equal node (in backquotes, for a bare name that is not syntactic).

    Examples
    --------
    >>> from _ranef.formula import label, parse_formula
    >>> parsed = parse_formula("y ~ poly(Days,2)+I((age-11)**2)", functions={"poly", "I"})
    >>> [label(term.factors[0]) for term in parsed.fixed.terms]
    ['poly(Days, 2)', 'I((age - 11)^2)']
    """
    return node.name if isinstance(node, Name) else _text(node)


def _text(node: Node) -> str:
    match node:
        case Name():
            return _quoted(node.name)
        case Number():
            return _number_text(node.value)
        case String():
            return f'"{node.value.translate(_ESCAPES)}"'
        case Call():
            named = [f"{_quoted(key)} = {_text(value)}" for key, value in node.kwargs]
            return f"{_quoted(node.function)}({', '.join([*map(_text, node.args), *named])})"
        case Unary():
            return node.op + _wrapped(node.operand, _level(node))
        case Binary():
            return _binary_text(node)
        case Bar():
            return f"{_wrapped(node.effects, 1)} {'||' if node.double else '|'} {_wrapped(node.group, 1)}"


def _binary_text(node: Binary) -> str:
    level = _level(node)
    left = _wrapped(node.left, level + (node.op == "^" or node.op in COMPARISONS))
    right = _wrapped(node.right, level + (node.op != "^") if _level(node.right) != PRECEDENCE["unary"] else 0)
    return f"{left}{node.op}{right}" if node.op in _UNSPACED else f"{left} {node.op} {right}"


def _wrapped(node: Node, floor: int) -> str:
    return f"({_text(node)})" if _level(node) < floor else _text(node)


def _level(node: Node) -> int:
    match node:
        case Bar():
            return 0
        case Binary():
            return PRECEDENCE[node.op]
        case Unary():
            return PRECEDENCE["!" if node.op == "!" else "unary"]
    return _ATOM


def _quoted(name: str) -> str:
    return name if is_syntactic(name) else f"`{name}`"


def _number_text(value: float | int) -> str:
    """Write as R does: fixed unless that is longer than scientific; digits enough to read back exactly."""
    number = Decimal(repr(value)).normalize()
    first, *rest = (str(digit) for digit in number.as_tuple().digits)
    mantissa = f"{first}.{''.join(rest)}" if rest else first
    scientific = f"{mantissa}e{number.adjusted():+03d}"
    fixed = format(number, "f")
    return fixed if len(fixed) <= len(scientific) else scientific
