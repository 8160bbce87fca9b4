"""One row: what it is the sum of."""

from __future__ import annotations

from _ranef.equations.effects import effect_lines
from _ranef.equations.generalised_rows import linked_lines, linked_mean, predicted
from _ranef.equations.residual_structure import residual_structure, row_law, row_lines
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Line, Node, Phrase, Product, Sum, Symbol, Words

__all__ = ["distribution_of_rows", "predictor", "scalar", "times"]


def scalar(s: Symbols) -> list[Line]:
    """One row i, as lme4's users write it: coefficients, then random effects by grouping factor."""
    left, noise = predicted(s)
    return [Line(left, "=", Sum((*predictor(s), *noise))), *effect_lines(s), *row_lines(s)]


def distribution_of_rows(s: Symbols) -> list[Line]:
    """The same as distributions: of a row given the random effects, and of these."""
    if s.linked:
        return [*linked_lines(s), Line(linked_mean(s), "=", Sum(predictor(s))), *effect_lines(s)]
    mu = Symbol("μ", ("i",), ("mean",))
    words = Phrase((Words(f"for {s.spec.n_obs} rows "), s.row))
    rows = Line(s.response, "~", row_law(s, mu), words)
    mean = Line(mu, "=", Sum(predictor(s)))
    return [rows, mean, *effect_lines(s), *residual_structure(s)]


def predictor(s: Symbols) -> tuple[Node, ...]:
    """The summands of row i but the residual."""
    fixed = [times(s.coefficient(k), x.factors(s.spec)) for k, x in enumerate(s.fixed)]
    random = [
        times(s.effect(term, i, s.of_row(term.grouping)), z.factors(s.spec))
        for term, columns in zip(s.spec.terms, s.random, strict=True)
        for i, z in enumerate(columns)
    ]
    return (*fixed, *s.offset, *random)


def times(head: Node, factors: tuple[Node, ...]) -> Node:
    """A coefficient times the variables of its column."""
    return Product((head, *factors)) if factors else head
