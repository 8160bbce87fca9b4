"""The pieces of a model that every style needs, in one notation and with symbols or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from _ranef.equations.covariates import Covariate, fixed_covariates, random_covariates, response
from _ranef.equations.notation import Line, Notation
from _ranef.spec import ModelSpec, TermSpec

__all__ = ["Parts", "Values"]

#: columns of an unstructured term up to which its covariance matrix is written out in symbols
WRITTEN_OUT = 5

Values = tuple["pd.Series[float]", pd.DataFrame]
"""Coefficients, and variance components in the layout of ``varcorr``."""


@dataclass(frozen=True)
class Parts:
    """A model in one notation.

    Attributes
    ----------
    spec : ModelSpec
    notation : Notation
    values : (Series, DataFrame) or None
        Numbers to put in place of symbols.
    """

    spec: ModelSpec
    notation: Notation
    values: Values | None = None

    @cached_property
    def response(self) -> str:
        """The response in row i."""
        return response(self.spec, self.notation)

    @cached_property
    def fixed(self) -> tuple[Covariate, ...]:
        """Columns of X."""
        return fixed_covariates(self.spec)

    @cached_property
    def random(self) -> tuple[tuple[Covariate, ...], ...]:
        """Columns of every random term."""
        return tuple(random_covariates(self.spec, t) for t in self.spec.terms)

    def coefficient(self, k: int) -> str:
        """β_k or its number; without an intercept they count from one."""
        if self.values is not None:
            return self.notation.number(float(self.values[0].iloc[k]))
        first = 0 if self.fixed and self.fixed[0].is_intercept else 1
        return self.notation.symbol("β", str(k + first))

    def product(self, head: str, covariate: Covariate) -> str:
        """A coefficient times the variables of its column."""
        return self.notation.times([head, *covariate.factors(self.spec, self.notation)])

    def index(self, term: TermSpec, column: int) -> str:
        """Number of a random effect among those of its grouping factor; none where it is the only one."""
        alone = len(self.spec.groupings[term.grouping].columns) == 1
        return "" if alone else str(term.start + column)

    def effect(self, term: TermSpec, column: int, *, of_row: bool = False) -> str:
        """A random effect b."""
        return self.notation.symbol("b", self.index(term, column), (term.group,), of_row=of_row)

    def offset(self) -> list[str]:
        """The offset as a summand, if there is one."""
        return [] if self.spec.design.offset is None else [self.notation.symbol("o", "i")]

    def residual_variance(self) -> str:
        """σ² as symbol or number."""
        if self.values is not None:
            return self.notation.number(float(self.values[1]["vcov"].iloc[-1]))
        return self.notation.squared("σ")

    def residual_line(self) -> Line:
        """Distribution of the residual of one row."""
        n = self.notation
        variance = self.residual_variance()
        own = variance if self.spec.variance is None else f"{variance} {n.squared('h', 'i')}"
        weighted = f"{own} / {n.symbol('w', 'i')}" if self.spec.residual.weighted else own
        rows = n.prose(f"for {self.spec.n_obs} rows ") + n.symbol("i")
        return Line(n.symbol("ε", "i"), "~", (n.normal("0", weighted),), rows)

    def effect_line(self, term: TermSpec) -> Line:
        """Distribution of the random effects of one term."""
        n, p = self.notation, len(term.columns)
        if self.spec.groupings[term.grouping].root is not None:
            return self._related_line(term)
        effects = [self.effect(term, i) for i in range(p)]
        levels = self.spec.groupings[term.grouping].n_levels
        words = n.prose(f"for {levels} levels of ") + n.name(term.group)
        left, mean = (effects[0], "0") if p == 1 else (n.column(effects), n.symbol("0"))
        return Line(left, "~", (n.normal(mean, self.covariance(term)),), words)

    def _related_line(self, term: TermSpec) -> Line:
        """The same of all levels together, where they are related."""
        n, levels = self.notation, self.spec.groupings[term.grouping].n_levels
        p, K = len(term.columns), self.among(term)
        left = n.symbol("b", "" if p > 1 else self.index(term, 0), (term.group,))
        own = self.covariance(term)
        variance = n.times([own, K]) if p == 1 else n.kronecker(K, own)
        words = n.prose(f"for {levels} levels of ") + n.name(term.group) + n.prose(" together")
        return Line(left, "~", (n.normal(n.symbol("0"), variance),), words)

    def among(self, term: TermSpec) -> str:
        """What relates the levels of a term: K where it is known, the identity where they are independent."""
        n, g = self.notation, self.spec.groupings[term.grouping]
        return n.identity(g.n_levels) if g.root is None else n.symbol("K", "", (term.group,))

    def notes(self) -> list[Line]:
        """What letters stand for: large covariance matrices, weights, offset, a known σ."""
        n, design = self.notation, self.spec.design
        said = [
            self.block(t) + n.prose(f": {self._kind(t)}, {len(t.columns)} × {len(t.columns)}")
            for t in self.spec.terms
            if not self.written_out(t)
        ]
        said += [
            n.symbol("K", "", (g.name,)) + n.prose(f": known covariance, {g.n_levels} × {g.n_levels}")
            for g in self.spec.groupings
            if g.root is not None
        ]
        if self.spec.residual.weighted:
            said.append(n.symbol("w", "i") + n.prose(": prior weight"))
        if self.spec.variance is not None:
            said.append(n.symbol("h", "i") + n.words(f": {self.spec.variance.meaning}"))
        if self.spec.correlation is not None:
            said.append(n.words(f"the correlation of two rows {self.spec.correlation.meaning}"))
        if design.offset is not None:
            said.append(n.symbol("o", "i") + n.prose(": offset, known"))
        if self.spec.sigma is not None:
            said.append(f"{n.symbol('σ')} = {self.spec.sigma:g}" + n.prose(", known"))
        return [Line("", "", (), words) for words in said]

    def _kind(self, term: TermSpec) -> str:
        """Words for a covariance matrix that is not written out."""
        if not term.structure.shapes:
            return "any covariance matrix"
        return f"covariance matrix of effects that are {term.structure.meaning}"

    def covariance(self, term: TermSpec) -> str:
        """Covariance matrix of one level's effects, by the structure of the term."""
        n, p = self.notation, len(term.columns)
        entries = self._numbers(term) if self.values is not None else self._symbols(term)
        if p == 1:
            return entries[0][0]
        if term.structure.shared and not term.structure.pairs:
            return n.times([entries[0][0], n.identity(p)])
        if not term.structure.pairs:
            return n.diagonal([entries[i][i] for i in range(p)])
        if not self.written_out(term):
            return self.block(term)
        return n.matrix(entries)

    def block(self, term: TermSpec) -> str:
        """Name of the covariance matrix of one level's effects."""
        several = [t.source for t in self.spec.terms if t.group == term.group and len(t.columns) > 1]
        index = str(several.index(term.source) + 1) if len(several) > 1 else ""
        return self.notation.symbol("Σ", index, (term.group,))

    def written_out(self, term: TermSpec) -> bool:
        """Whether the covariance matrix of a term is shown entry by entry."""
        return self.values is not None or not term.structure.pairs or len(term.columns) <= WRITTEN_OUT

    def _symbols(self, term: TermSpec) -> list[list[str]]:
        n, p = self.notation, len(term.columns)
        index = ["" if term.structure.shared else self.index(term, i) for i in range(p)]
        # a bare σ is the residual's; with an index it can only belong to the one grouping factor
        group = () if all(index) and len(self.spec.groupings) == 1 else (term.group,)

        def entry(i: int, j: int) -> str:
            if i == j:
                return n.squared("σ", index[i], group)
            a, b = sorted((i, j))
            if term.structure.shared:
                sds = [n.squared("σ", "", group)]
            else:
                sds = [n.symbol("σ", index[k], group) for k in (a, b)]
            return n.times([self._correlation(term, a, b, index[a] + index[b], group), *sds])

        return [[entry(i, j) for j in range(p)] for i in range(p)]

    def _correlation(self, term: TermSpec, a: int, b: int, index: str, group: tuple[str, ...]) -> str:
        """ρ of columns a < b: one of its own, or a power of one of the few that the structure has."""
        n, few = self.notation, term.structure.correlation(b, a)
        if few is None:
            return n.symbol("ρ", index, group)
        number, power = few
        several = len(term.structure.shapes) > 1
        own = (term.group,) if not several or len(self.spec.groupings) > 1 else group
        rho = n.symbol("ρ", str(number) if several else "", own)
        return rho if power == 1 else n.power(rho, str(power))

    def _numbers(self, term: TermSpec) -> list[list[str]]:
        n, p = self.notation, len(term.columns)
        rows = iter(self._component_rows(term))
        out = [[n.number(0.0)] * p for _ in range(p)]
        for i in range(p):
            out[i][i] = n.number(next(rows))
        for i, j in term.structure.pairs:
            out[i][j] = out[j][i] = n.number(next(rows))
        return out

    def _component_rows(self, term: TermSpec) -> Sequence[float]:
        """Rows of ``varcorr`` that belong to a term: its variances, then its covariances."""
        assert self.values is not None
        start = sum(_n_rows(t) for t in self.spec.terms if t.theta.start < term.theta.start)
        return [float(v) for v in self.values[1]["vcov"].iloc[start : start + _n_rows(term)]]


def _n_rows(term: TermSpec) -> int:
    return len(term.columns) + len(term.structure.pairs)
