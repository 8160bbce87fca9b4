"""The symbols of one model, each with what it is of; and what they mean in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from _ranef.equations.covariates import Covariate, fixed_covariates, random_covariates, response
from _ranef.equations.tree import (
    Atom,
    Key,
    Label,
    Literal,
    Named,
    Node,
    Of,
    Phrase,
    Power,
    Product,
    Symbol,
    Words,
    squared,
)
from _ranef.spec import Generalised, ModelSpec, TermSpec

__all__ = ["Symbols"]

#: letters of the levels of grouping factors, in their order; further ones are numbered
LETTERS = "jklm"

#: how many coefficients with letters of their own a chain of nested levels has, from the finest
COEFFICIENTS = "βαπη"


@dataclass(frozen=True, eq=False)
class Symbols:
    """The symbols of a model.

    Attributes
    ----------
    spec : ModelSpec
    levelled : bool
        Whether coefficients are called γ and random effects U, as models are written level by level.
    """

    spec: ModelSpec
    levelled: bool = False

    @property
    def linked(self) -> bool:
        """Whether the response has a link, and no residual."""
        return isinstance(self.spec.family, Generalised)

    @cached_property
    def response(self) -> Node:
        """The response in row i."""
        return response(self.spec)

    @cached_property
    def fixed(self) -> tuple[Covariate, ...]:
        """Columns of X."""
        return fixed_covariates(self.spec)

    @cached_property
    def random(self) -> tuple[tuple[Covariate, ...], ...]:
        """Columns of every random term."""
        return tuple(random_covariates(self.spec, t) for t in self.spec.terms)

    @cached_property
    def numbers(self) -> tuple[tuple[str, ...], ...]:
        """The indices of the coefficients: from 0 where the first is the intercept, else from 1."""
        first = 0 if self.fixed and self.fixed[0].is_intercept else 1
        return tuple((str(k + first),) for k in range(len(self.fixed)))

    def coefficient(self, k: int) -> Symbol:
        """β of a column of X."""
        return Symbol("β", self.numbers[k], ("fixef", k))

    def letter(self, grouping: int) -> str:
        """The letter of the levels of a grouping factor."""
        return LETTERS[grouping] if grouping < len(LETTERS) else f"j{grouping}"

    def number(self, term: TermSpec, column: int) -> tuple[str, ...]:
        """Number of a random effect among those of its grouping factor; none where it is the only one."""
        alone = len(self.spec.groupings[term.grouping].columns) == 1
        return () if alone and not self.levelled else (str(term.start + column),)

    def effect(self, term: TermSpec, column: int, at: Atom | None = None) -> Symbol:
        """A random effect, of level j or of the level `at`."""
        where = self.letter(term.grouping) if at is None else at
        letter = "U" if self.levelled else "b"
        return Symbol(letter, (*self.number(term, column), where), ("ranef", term.grouping, term.start + column))

    def of_row(self, grouping: int, row: str = "i") -> Of:
        """j[i]."""
        return Of(self.letter(grouping), row)

    @property
    def epsilon(self) -> Symbol:
        """The residual of row i."""
        return Symbol("ε", ("i",), ("residual",))

    @property
    def offset(self) -> tuple[Node, ...]:
        """The offset of row i as a summand, if there is one."""
        return () if self.spec.design.offset is None else (Symbol("o", ("i",), ("offset",)),)

    @property
    def weight(self) -> Symbol:
        """The prior weight of row i."""
        return Symbol("w", ("i",), ("weight",))

    @property
    def sigma(self) -> Symbol:
        """σ."""
        return Symbol("σ", (), ("sd",))

    @property
    def residual_variance(self) -> Node:
        """σ²."""
        return Named(squared(self.sigma), ("variance",))

    def group(self, term: TermSpec, index: Sequence[str]) -> tuple[Label, ...]:
        """The factor among the indices of σ or ρ: left out where an index and a single factor tell it."""
        return () if index and len(self.spec.groupings) == 1 else (Label(term.group),)

    def sd(self, term: TermSpec, column: int) -> Symbol:
        """Standard deviation of a random effect."""
        shared = term.structure.shared
        alone = len(self.spec.groupings[term.grouping].columns) == (len(term.columns) if shared else 1)
        index = () if alone else (str(term.start + (0 if shared else column)),)
        own = 0 if shared else column
        return Symbol("σ", (*index, *self.group(term, index)), ("sd", term.grouping, term.start + own))

    def correlation(self, term: TermSpec, a: int, b: int) -> tuple[Symbol, int]:
        """ρ of columns a < b, and the power in which it stands: one of its own, or of the few that there are."""
        few = term.structure.correlation(b, a)
        if few is None:
            index = tuple(str(term.start + k) for k in (a, b))
            return Symbol("ρ", (*index, *self.group(term, index)), ("cor", *self._pair(term, a, b))), 1
        number, power = few
        several = [t for t in self.spec.terms if t.grouping == term.grouping and t.structure.shapes]
        index = (str(number),) if number else ()
        index = (*((str(several.index(term) + 1),) if len(several) > 1 else ()), *index)
        return Symbol("ρ", (*index, Label(term.group)), ("cor", *self._pair(term, *self._first(term, number)))), power

    def _first(self, term: TermSpec, number: int) -> tuple[int, int]:
        """The first two columns whose correlation is that one itself."""
        pairs = ((j, i) for i, j in term.structure.pairs if term.structure.correlation(i, j) == (number, 1))
        return next(pairs)

    def _pair(self, term: TermSpec, a: int, b: int) -> Key:
        return term.grouping, term.start + a, term.start + b

    def variance(self, term: TermSpec, column: int) -> Node:
        """σ² of a random effect."""
        return Named(squared(self.sd(term, column)), ("variance", term.grouping, term.start + column))

    def covariance(self, term: TermSpec, i: int, j: int) -> Node:
        """Covariance of two random effects of a level."""
        if i == j:
            return self.variance(term, i)
        a, b = sorted((i, j))
        if (b, a) not in term.structure.pairs:
            return Literal("0")
        rho, power = self.correlation(term, a, b)
        first: Node = rho if power == 1 else Power(rho, Literal(str(power)))
        first_sd, second_sd = self.sd(term, a), self.sd(term, b)
        sds: tuple[Node, ...] = (squared(first_sd),) if first_sd == second_sd else (first_sd, second_sd)
        return Named(Product((first, *sds)), ("covariance", *self._pair(term, a, b)))

    def block(self, term: TermSpec) -> Symbol:
        """Σ: covariance matrix of one level's effects."""
        several = [t for t in self.spec.terms if t.grouping == term.grouping and len(t.columns) > 1]
        index = (str(several.index(term) + 1),) if len(several) > 1 else ()
        return Symbol("Σ", (*index, Label(term.group)), ("block", self.spec.terms.index(term)))

    def among(self, grouping: int) -> Symbol:
        """K: known covariance among levels."""
        return Symbol("K", (Label(self.spec.groupings[grouping].name),), ("known", grouping))

    def levels(self, grouping: int) -> Node:
        """For j = 1, …, J levels."""
        g = self.spec.groupings[grouping]
        return Phrase((Words(f"for {g.n_levels} levels "), self.level(grouping), Words(f" of {g.name}")))

    def level(self, grouping: int) -> Symbol:
        """J."""
        return Symbol(self.letter(grouping), (), ("level", grouping))

    @property
    def row(self) -> Symbol:
        """I."""
        return Symbol("i", (), ("row",))
