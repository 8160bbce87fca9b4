"""Rows of a generalised response: its distribution, and the link of its mean to the linear predictor."""

from __future__ import annotations

from _ranef.equations.covariates import counted, response
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Call, Law, Line, Literal, Node, Phrase, Product, Quotient, Symbol, Words, squared
from _ranef.spec import Generalised

__all__ = ["linked_line", "linked_mean", "predicted", "row_mean", "trials"]


def predicted(s: Symbols) -> tuple[Node, tuple[Node, ...]]:
    """What the linear predictor is of, and the residual beside it where there is one."""
    if s.linked:
        return linked_mean(s), ()
    return s.response, (s.epsilon,)


def linked_mean(s: Symbols) -> Node:
    """The link of the mean of row i."""
    assert isinstance(s.spec.family, Generalised)
    mean, link = row_mean(s), s.spec.family.link
    if link == "identity" or s.spec.family.classes:
        return mean
    if link in ("inverse", "1/mu^2"):
        return Quotient(Literal("1"), mean if link == "inverse" else squared(mean))
    return Call(link, (mean,))


def linked_line(s: Symbols) -> Line:
    """The distribution of the response of row i round its mean."""
    family, mean = s.spec.family, row_mean(s)
    words = Phrase((Words(f"for {s.spec.n_obs} rows "), s.row))
    assert isinstance(family, Generalised)
    own = tuple(Symbol(family.symbols.get(name, "φ"), (), ("dispersion", name)) for name in family.dispersions)
    left = response(s.spec)
    if family.word != "binomial":
        return Line(left, "~", Law(family.law, (mean, *own)), words)
    if s.spec.design.weights is None:
        return Line(left, "~", Law("Bernoulli", (mean,)), words)
    successes = left if counted(s.spec) else Product((trials(), left))
    return Line(successes, "~", Law("Binomial", (trials(), mean)), words)


def trials() -> Symbol:
    """Trials of row i."""
    return Symbol("n", ("i",), ("trials",))


def row_mean(s: Symbols, row: int | None = None) -> Symbol:
    """The mean of row i, or of one row by its number."""
    family = s.spec.family
    letter = "η" if isinstance(family, Generalised) and family.classes else "p" if family.word == "binomial" else "μ"
    return Symbol(letter, ("i",), ("mean",)) if row is None else Symbol(letter, (str(row + 1),), ("mean", row))
