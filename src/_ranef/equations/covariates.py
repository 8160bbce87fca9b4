"""Columns of the design as the products of variables that they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from _ranef.design import registered
from _ranef.design.expression_values import Factor, Logical, Numeric, Value, as_factor
from _ranef.equations import tree
from _ranef.equations.tree import Atom, Indicator, Literal, Negative, Power, Product, Quotient, Sum, Variable
from _ranef.formula import Name, Node, Number, Term, label, parse_formula
from _ranef.formula.tree import Binary, Call, Unary
from _ranef.spec import ModelSpec, TermSpec

__all__ = ["Covariate", "Piece", "counted", "fixed_covariates", "random_covariates", "response"]

#: functions that mathematics writes as we do
MATHEMATICAL = {"log", "log2", "log10", "log1p", "exp", "sqrt", "sin", "cos", "tan"}

#: functions that say how a factor is coded
CODINGS = {"C", "as.factor", "factor", "ordered", "relevel"}

# what coding adds to the name of a factor or of a function of several columns
_SUFFIX = r"(|\[.*\]|\.[LQC]|\^\d+)"


@dataclass(frozen=True)
class Piece:
    """One variable of an interaction: an expression and what its coding added to the name (``[T.b]``, ``.L``)."""

    node: Node
    suffix: str


@dataclass(frozen=True)
class Covariate:
    """One column of X or Z.

    Attributes
    ----------
    name : str
        The column's name.
    pieces : tuple of Piece
        Variables whose product it is; none for the intercept, and where the name could not be taken apart.
    """

    name: str
    pieces: tuple[Piece, ...]

    @property
    def is_intercept(self) -> bool:
        """Whether it is the column of ones."""
        return self.name == "Intercept" and not self.pieces

    def factors(self, spec: ModelSpec, at: Atom = "i") -> tuple[tree.Node, ...]:
        """The variables in a row or for a level, to be multiplied; empty for the intercept."""
        if self.is_intercept:
            return ()
        if not self.pieces:
            return (Variable(self.name, at),)
        templates = spec.design.encoding.templates
        return tuple(_piece(piece, templates[piece.node], at) for piece in self.pieces)


def fixed_covariates(spec: ModelSpec) -> tuple[Covariate, ...]:
    """The columns of X."""
    design = spec.design
    terms = design.encoding.fixed.terms
    return tuple(
        Covariate(name, _split(name, terms[k - 1 : k]) if k else ())
        for name, k in zip(design.fixed_names, design.assign.tolist(), strict=True)
    )


def random_covariates(spec: ModelSpec, term: TermSpec) -> tuple[Covariate, ...]:
    """The columns of one random term."""
    effects = spec.design.encoding.random[term.source].effects
    return tuple(
        Covariate(name, () if effects.intercept and i == 0 else _split(name, effects.terms))
        for i, name in enumerate(term.columns)
    )


def response(spec: ModelSpec, at: Atom = "i") -> tree.Node:
    """The response in a row; of ``cbind(successes, failures)`` the first."""
    node = _response_node(spec)
    return _expression(node.args[0] if isinstance(node, Call) and node.function == "cbind" else node, at)


def counted(spec: ModelSpec) -> bool:
    """Whether the response is a pair of counts."""
    node = _response_node(spec)
    return isinstance(node, Call) and node.function == "cbind"


def _response_node(spec: ModelSpec) -> Node:
    encoding = spec.design.encoding
    return parse_formula(encoding.source, functions={*registered(), *encoding.transforms}).response


def _split(name: str, terms: Sequence[Term]) -> tuple[Piece, ...]:
    for term in terms:
        pattern = ":".join(re.escape(label(factor)) + _SUFFIX for factor in term.shown)
        if found := re.fullmatch(pattern, name, flags=re.DOTALL):
            return tuple(Piece(f, suffix) for f, suffix in zip(term.shown, found.groups(), strict=True))
    return ()


def _piece(piece: Piece, value: Value, at: Atom) -> tree.Node:
    if isinstance(value, Numeric) and not piece.suffix:
        return _expression(piece.node, at)
    level = _level(piece.suffix, value)
    if level is None:
        return Variable(label(piece.node) + piece.suffix, at)
    return Indicator(_expression(_coded(piece.node), at), "=", tree.Name(level))


def _level(suffix: str, value: Value) -> str | None:
    """The level whose indicator a column is, or None for the columns of other contrasts."""
    if not isinstance(value, Factor | Logical):
        return None
    levels = as_factor(value).levels if isinstance(value, Logical) else value.levels
    inside = suffix[1:-1]
    return next((level for level in (inside, inside.removeprefix("T.")) if level in levels), None)


def _coded(node: Node) -> Node:
    """The variable that ``C(x, ...)``, ``factor(x)`` and their like only code."""
    if isinstance(node, Call) and node.function in CODINGS and node.args and isinstance(node.args[0], Name):
        return node.args[0]
    return node


def _expression(node: Node, at: Atom) -> tree.Node:
    """An expression in a row; what mathematics does not write is shown as its formula says it."""

    def of(part: Node) -> tree.Node:
        return _expression(part, at)

    match node:
        case Name():
            return Variable(node.name, at)
        case Number():
            return Literal(node.text)
        case Call("I", (inner,), ()):
            return of(inner)
        case Call(function, (inner,), ()) if function in MATHEMATICAL:
            return tree.Call(function, (of(inner),))
        case Binary("+", left, right):
            return Sum((of(left), of(right)))
        case Binary("-", left, right):
            return Sum((of(left), Negative(of(right))))
        case Binary("*", left, right):
            return Product((of(left), of(right)))
        case Binary("/", left, right):
            return Quotient(of(left), of(right))
        case Binary("^", left, Number(text=exponent)):
            return Power(of(left), Literal(exponent))
        case Unary("-", inner):
            return Negative(of(inner))
    return Variable(label(node), at)
