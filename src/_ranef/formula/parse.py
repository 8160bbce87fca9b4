"""Tokens to tree: a Pratt parser with R's precedence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from _ranef.errors import FormulaError, suggestion
from _ranef.formula.tokens import Token, tokenize
from _ranef.formula.tree import (
    COMPARISONS,
    PRECEDENCE,
    Bar,
    Binary,
    Call,
    Name,
    Node,
    Number,
    Span,
    String,
    Unary,
    children,
    error_at,
)

__all__ = ["STRUCTURES", "parse_expression", "parse_sides"]

#: what may stand before a bar, and the word of the structure that it means
STRUCTURES = {
    "us": "us",
    "diag": "diag",
    "ident": "ident",
    "homdiag": "ident",
    "cs": "cs",
    "homcs": "homcs",
    "ar1": "ar1",
    "hetar1": "hetar1",
    "toep": "toep",
}
"""Covariance structures by the name written round a bar."""

# every recursive function of this package stays far below Python's recursion limit with these
_MAX_NESTING = 50
_MAX_HEIGHT = 100

_BARS = ("|", "||")
_FORMULA_OPERATORS = frozenset({"+", "-", "*", "/", ":", "%in%", "^"})
_WANTED = "a column, a number, a call or '('"


def parse_sides(source: str, functions: Collection[str]) -> tuple[Node, Node]:
    """Parse ``response ~ right side``.

    Parameters
    ----------
    source : str
        The formula.
    functions : collection of str
        Names that may be called.

    Returns
    -------
    response, right : Node
        The two sides; on the right `Bar` nodes stand for random terms.

    Raises
    ------
    FormulaError
        Where the text is not a formula, with the place underlined.

    Examples
    --------
    >>> from _ranef.formula import label
    >>> from _ranef.formula.parse import parse_sides
    >>> response, right = parse_sides("log(y) ~ x + (1 | g)", {"log"})
    >>> label(response), label(right)
    ('log(y)', 'x + (1 | g)')
    """
    response, right = _Parser(source, functions).sides()
    _refuse_height(source, response, in_formula=False)
    _refuse_height(source, right, in_formula=True)
    return response, right


def parse_expression(source: str, functions: Collection[str]) -> Node:
    """Parse an expression of columns that stands alone, such as ``log(x)``.

    Raises
    ------
    FormulaError
        Where the text is none, with the place underlined.
    """
    parser = _Parser(source, functions)
    node = parser.expression()
    if not parser.ended():
        raise parser.unexpected("an operator or the end of the expression")
    _refuse_height(source, node, in_formula=False)
    return node


def _refuse_height(source: str, root: Node, *, in_formula: bool) -> None:
    """Refuse a tree too tall to recurse into; sums of terms may be long, as they are read in a loop."""
    stack = [(root, 0, in_formula)]
    while stack:
        node, height, in_formula = stack.pop()
        if height > _MAX_HEIGHT:
            raise error_at(source, root.span, _too_deep("operators", _MAX_HEIGHT))
        is_sum = in_formula and isinstance(node, Binary) and node.op in ("+", "-")
        in_formula = isinstance(node, Bar) or (in_formula and not isinstance(node, Call))
        for index, child in enumerate(children(node)):
            step = 0 if is_sum and index == 0 else 1
            stack.append((child, height + step, in_formula))


def _too_deep(what: str, limit: int) -> str:
    return f"The formula nests {what} more than {limit} deep: compute part of it as a column beforehand."


class _Parser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self.source = source
        self.functions = functions
        self.tokens = tokenize(source)
        self.position = 0
        self.depth = 0
        # True inside a call and in the response, where operators are arithmetic
        self.arithmetic = True

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def advance(self) -> Token:
        token = self.token
        self.position += 1
        return token

    def at(self, *operators: str) -> bool:
        return self.token.kind == "operator" and self.token.text in operators

    def ended(self) -> bool:
        return self.token.kind == "end"

    def error(self, span: Span, message: str) -> FormulaError:
        return error_at(self.source, span, message)

    def sides(self) -> tuple[Node, Node]:
        if self.ended():
            raise self.error(self.token.span, "The formula is empty. Expected for example 'y ~ x + (1 | g)'.")
        if self.at("~"):
            message = "A response is needed before '~': write for example 'y ~ x + (1 | g)'."
            raise self.error(self.token.span, message)
        response = self.expression()
        if not self.at("~"):
            raise self.unexpected("'~' between the response and the terms")
        self.advance()
        self.arithmetic = False
        right = self.expression()
        if self.at(*_BARS):
            message = "A random term needs parentheses: write '(effects | group)', for example 'y ~ x + (1 | g)'."
            raise self.error(self.token.span, message)
        if not self.ended():
            raise self.unexpected("an operator or the end of the formula")
        return response, right

    def expression(self, floor: int = 1) -> Node:
        self.depth += 1
        if self.depth > _MAX_NESTING:
            raise self.error(self.token.span, _too_deep("expressions", _MAX_NESTING))
        left = self.prefix()
        while (level := self.infix_level()) >= floor:
            left = self.infix(left, level)
        self.depth -= 1
        return left

    def infix_level(self) -> int:
        """Give the precedence of the operator here, 0 where no operator continues the expression."""
        if self.token.kind != "operator" or self.token.text not in PRECEDENCE or self.at("!"):
            return 0
        if self.arithmetic and self.at(":", "%in%"):
            raise self.error(self.token.span, self.not_arithmetic())
        if not self.arithmetic and self.at(*_BARS):
            return 0
        if not self.arithmetic and self.token.text not in _FORMULA_OPERATORS:
            raise self.error(self.token.span, self.needs_call())
        return PRECEDENCE[self.token.text]

    def infix(self, left: Node, level: int) -> Node:
        op = self.advance().text
        right = self.expression(level if op == "^" else level + 1)
        if op in COMPARISONS and self.at(*COMPARISONS):
            message = "Comparisons cannot be chained: join two of them by &."
            raise self.error(self.token.span, message)
        return Binary(op, left, right, Span(left.span.start, right.span.end))

    def prefix(self) -> Node:
        token = self.token
        if self.at("("):
            return self.parenthesised()
        if self.at("!") and not self.arithmetic:
            raise self.error(token.span, self.needs_call())
        if self.at("+", "-", "!"):
            return self.unary()
        if token.kind in ("operator", "end"):
            raise self.unexpected(_WANTED)
        self.advance()
        if token.kind == "number":
            return Number(self.number(token), token.text, token.span)
        if token.kind == "string":
            return String(token.text, token.span)
        return self.call(token) if self.at("(") else Name(token.text, token.span)

    def unary(self) -> Node:
        token = self.advance()
        operand = self.expression(PRECEDENCE["!" if token.text == "!" else "unary"])
        return Unary(token.text, operand, Span(token.span.start, operand.span.end))

    def number(self, token: Token) -> float | int:
        # R's numbers are doubles, which hold every integer of 15 digits
        if token.text.isdecimal() and len(token.text) <= 15:
            return int(token.text)
        value = float(token.text)
        if value == float("inf"):
            raise self.error(token.span, "This number is too large: at most about 1.8e308 is expected.")
        return value

    def parenthesised(self) -> Node:
        opening = self.advance()
        inner = self.barred()
        closing = self.close(opening, "an operator or ')'")
        return replace(inner, span=Span(opening.span.start, closing.span.end))

    def barred(self) -> Node:
        """Parse an expression, or where formula operators hold ``effects | group``."""
        effects = self.expression()
        if self.arithmetic or not self.at(*_BARS):
            return effects
        double = self.advance().text == "||"
        group = self.expression()
        if self.at(*_BARS):
            message = "A random term has one bar: write a second term, '(effects | group) + (effects | other)'."
            raise self.error(self.token.span, message)
        return Bar(double, effects, group, Span(effects.span.start, group.span.end))

    def close(self, opening: Token, wanted: str) -> Token:
        if self.ended():
            raise self.error(opening.span, "This '(' is never closed: add the missing ')'.")
        if not self.at(")"):
            raise self.unexpected(wanted)
        return self.advance()

    def call(self, name: Token) -> Node:
        if not self.arithmetic and name.text in STRUCTURES and self.bar_ahead():
            return self.structure(name)
        if name.text not in self.functions and (self.arithmetic or name.text != "offset"):
            raise self.error(name.span, self.unknown(name.text))
        outside, self.arithmetic = self.arithmetic, True
        opening = self.advance()
        args, kwargs = self.arguments()
        closing = self.close(opening, "an operator, ',' or ')'")
        self.arithmetic = outside
        return Call(name.text, args, kwargs, Span(name.span.start, closing.span.end))

    def arguments(self) -> tuple[tuple[Node, ...], tuple[tuple[str, Node], ...]]:
        args: list[Node] = []
        kwargs: dict[str, Node] = {}
        if self.at(")"):
            return (), ()
        while True:
            if self.token.kind == "name" and self.tokens[self.position + 1].text == "=":
                self.keyword(kwargs)
            elif kwargs and not self.at(")", ","):
                message = "An argument without a name follows one with a name: put it before the named ones."
                raise self.error(self.token.span, message)
            else:
                args.append(self.expression())
            if not self.at(","):
                return tuple(args), tuple(kwargs.items())
            self.advance()

    def keyword(self, kwargs: dict[str, Node]) -> None:
        name = self.advance()
        if name.text in kwargs:
            raise self.error(name.span, f"The argument {name.text!r} is given twice: keep one of the two.")
        self.advance()
        kwargs[name.text] = self.expression()

    def structure(self, name: Token) -> Node:
        opening = self.advance()
        inner = self.barred()
        if not isinstance(inner, Bar) or self.at(","):
            message = f"{name.text}() takes one random term and nothing else: {name.text}(effects | group)."
            raise self.error(self.token.span if self.at(",") else inner.span, message)
        closing = self.close(opening, "an operator or ')'")
        return Call(name.text, (inner,), (), Span(name.span.start, closing.span.end))

    def bar_ahead(self) -> bool:
        """Tell whether the parentheses that open here hold a bar that is not inside a further call."""
        opened: list[bool] = []
        for index in range(self.position, len(self.tokens)):
            token = self.tokens[index]
            if token.kind != "operator":
                continue
            if token.text == "(":
                opened.append(bool(opened) and self.tokens[index - 1].kind == "name")
            elif token.text == ")":
                opened.pop()
                if not opened:
                    return False
            elif token.text in _BARS and not any(opened):
                return True
        return False

    def unknown(self, name: str) -> str:
        structures = ", ".join(sorted(STRUCTURES))
        if name == "offset":
            return "offset() cannot stand inside a call or in the response: add it to the right side with '+'."
        if self.arithmetic and name in STRUCTURES and self.bar_ahead():
            return "A random term cannot stand inside a call or in the response: add it to the right side with '+'."
        if not self.arithmetic and name in STRUCTURES:
            return f"{name}() is the covariance structure of a random term and needs a bar: {name}(effects | group)."
        if not self.arithmetic and self.bar_ahead():
            near = suggestion(name, STRUCTURES)
            return f"{name!r} is not a covariance structure.{near} Those that may stand round a bar: {structures}."
        near = suggestion(name, sorted(self.functions))
        known = ", ".join(sorted(self.functions)) or "none"
        return f"Unknown function {name!r}.{near} Registered: {known}. transforms={{'name': function}} adds one."

    def needs_call(self) -> str:
        return (
            f"The operator {self.token.text!r} is no formula operator: "
            "wrap the expression in I(...), where operators mean arithmetic and logic."
        )

    def not_arithmetic(self) -> str:
        return (
            f"The operator {self.token.text!r} joins terms, and only arithmetic is expected inside a call or in the "
            "response: put it between terms on the right side."
        )

    def unexpected(self, wanted: str) -> FormulaError:
        token = self.token
        if self.ended():
            message = f"The formula ends where {wanted} was expected."
        elif self.at("("):
            message = f"Only a function's name can be called: expected {wanted} before this '('."
        elif self.at("~"):
            message = f"'~' stands once, between the response and the terms; expected {wanted} here."
        elif self.at("="):
            message = f"'=' only names an argument of a call: expected {wanted}. A comparison is written '=='."
        else:
            found = {"string": "a string", "name": f"the name {token.text!r}"}.get(token.kind, repr(token.text))
            message = f"Expected {wanted}, but found {found}."
        return self.error(token.span, message)
