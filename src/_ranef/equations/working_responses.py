"""What stands in the place of y and V where the response has a link: weights and working responses at the mode.

Newton's steps towards the conditional mode are those of a Gaussian model of z with the weights ω (penalised iteratively
reweighted least squares); ω is minus the second derivative of the log density of a row in η, observed, not expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from _ranef.equations.covariates import counted, response
from _ranef.equations.generalised_rows import response_symbols, row_mean, trials
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import (
    Diagonal,
    Line,
    Literal,
    Negative,
    Node,
    Phrase,
    Product,
    Quotient,
    Sum,
    Symbol,
    Words,
    said,
    squared,
)
from _ranef.spec import Generalised

__all__ = ["working_lines", "working_response", "working_weight"]

#: entries of W up to which all are written
SHOWN = 6

NO_COVARIANCE_OF_Y = (
    "The responses have no V in closed form: their covariance averages over b, through the link. What stands in its "
    "place is that of the working response z, normal with the weights ω held as they are at the conditional mode"
)


def working_weight(row: int | None = None) -> Symbol:
    """Entry of W: of row i, or of one row by its number."""
    return Symbol("ω", ("i" if row is None else str(row + 1),), ("working weight", *(() if row is None else (row,))))


def working_response(row: int | None = None) -> Symbol:
    """The working response of row i, or of one row."""
    return Symbol("z", ("i" if row is None else str(row + 1),), ("working response", *(() if row is None else (row,))))


def working_lines(s: Symbols, W: Symbol, entries: tuple[Node, ...]) -> list[Line]:
    """W by its entries, and the working response, by the family's own formulas where these are short."""
    family = s.spec.family
    assert isinstance(family, Generalised)
    lines = [*said(NO_COVARIANCE_OF_Y), Line(W, "=", Diagonal(entries, most=SHOWN))]
    own = _FORMULAS.get((family.word, family.link))
    eta = Symbol("η", ("i",), ("predictor",))
    if own is None:
        words = Words(": minus the second derivative of the log density of a row in η")
        weighed = Line(None, "", None, Phrase((working_weight(), words)))
        step: Node = Quotient(Symbol("g", ("i",), ("slope",)), working_weight())
    else:
        weight, step = own(s)
        weighed = Line(working_weight(), "=", weight)
    return [*lines, weighed, Line(working_response(), "=", Sum((eta, step)))]


def _response(s: Symbols) -> Node:
    """The response of a row as its mean is: a proportion where it is binomial."""
    own = response(s.spec)
    return Quotient(own, trials()) if counted(s.spec) else own


def _weighted(s: Symbols, factors: tuple[Node, ...]) -> Node:
    """A product of the trials, or of the prior weight, of a row, where it has some."""
    first: tuple[Node, ...] = ()
    if s.spec.design.weights is not None:
        first = (trials() if s.spec.family.word == "binomial" else s.weight,)
    every = (*first, *factors)
    return every[0] if len(every) == 1 else Product(every)


def _binomial(s: Symbols) -> tuple[Node, Node]:
    p = row_mean(s)
    spread = (p, Sum((Literal("1"), Negative(p))))
    return _weighted(s, spread), Quotient(_left(s), Product(spread))


def _poisson(s: Symbols) -> tuple[Node, Node]:
    return _weighted(s, (row_mean(s),)), Quotient(_left(s), row_mean(s))


def _gamma(s: Symbols) -> tuple[Node, Node]:
    y, own = _response(s), _dispersion(s)
    return Quotient(_weighted(s, (y,)), Product((row_mean(s), own))), Quotient(_left(s), y)


def _negative_binomial(s: Symbols) -> tuple[Node, Node]:
    mu, y, size = row_mean(s), _response(s), _dispersion(s)
    above, total = Sum((y, size)), Sum((mu, size))
    weight = Quotient(_weighted(s, (above, mu, size)), squared(total))
    return weight, Quotient(Product((_left(s), total)), Product((above, mu)))


def _left(s: Symbols) -> Node:
    """Y − μ."""
    return Sum((_response(s), Negative(row_mean(s))))


def _dispersion(s: Symbols) -> Node:
    return response_symbols(s)[-1]


#: weight of a row, and how far its working response is from η, by family and link
_FORMULAS: Mapping[tuple[str, str], Callable[[Symbols], tuple[Node, Node]]] = {
    ("binomial", "logit"): _binomial,
    ("poisson", "log"): _poisson,
    ("gamma", "log"): _gamma,
    ("negative binomial", "log"): _negative_binomial,
}
