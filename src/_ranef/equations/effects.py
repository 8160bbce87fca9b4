"""What random effects are distributed as: their covariance within a level, and among levels."""

from __future__ import annotations

from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import (
    Diagonal,
    Identity,
    Kronecker,
    Law,
    Line,
    Listed,
    Literal,
    Matrix,
    Node,
    Phrase,
    Product,
    Symbol,
    Words,
)
from _ranef.spec import TermSpec

__all__ = ["among_levels", "block_of_levels", "effect_line", "effect_lines", "level_covariance"]

ZERO = Literal("0")


def effect_lines(s: Symbols) -> list[Line]:
    """Distributions of the random effects, term by term."""
    return [effect_line(s, t) for t in s.spec.terms]


def effect_line(s: Symbols, term: TermSpec) -> Line:
    """Distribution of the random effects of one term: of a level, or of all where levels are related."""
    grouping, p = term.grouping, len(term.columns)
    if s.spec.groupings[grouping].among is not None:
        whole = Symbol("U" if s.levelled else "b", _whole(s, term), ("all effects", s.spec.terms.index(term)))
        words = Phrase((s.levels(grouping), Words(" together")))
        return Line(whole, "~", Law("N", (Symbol("0"), block_of_levels(s, term))), words)
    effects = tuple(s.effect(term, i) for i in range(p))
    left, mean = (effects[0], ZERO) if p == 1 else (Listed(effects), Symbol("0"))
    return Line(left, "~", Law("N", (mean, level_covariance(s, term))), s.levels(grouping))


def _whole(s: Symbols, term: TermSpec) -> tuple[str, ...]:
    """The index of all effects of a term, where there are several terms."""
    return (str(s.spec.terms.index(term) + 1),) if len(s.spec.terms) > 1 else ()


def level_covariance(s: Symbols, term: TermSpec) -> Node:
    """Covariance matrix of one level's effects, by the structure of the term."""
    p, structure = len(term.columns), term.structure
    if p == 1:
        return s.variance(term, 0)
    if structure.shared and not structure.pairs:
        return Product((s.variance(term, 0), Identity(p)))
    if not structure.pairs:
        return Diagonal(tuple(s.variance(term, i) for i in range(p)))
    return Matrix(tuple(tuple(s.covariance(term, i, j) for j in range(p)) for i in range(p)))


def among_levels(s: Symbols, grouping: int) -> Node:
    """What relates levels: K where it is known, the identity where they are independent."""
    g = s.spec.groupings[grouping]
    return Identity(g.n_levels) if g.among is None else s.among(grouping)


def block_of_levels(s: Symbols, term: TermSpec, *, named: bool = False) -> Node:
    """The block of D of a term, with Σ by name or written out."""
    among = among_levels(s, term.grouping)
    if len(term.columns) == 1:
        return Product((s.variance(term, 0), among))
    return Kronecker(among, s.block(term) if named else level_covariance(s, term))
