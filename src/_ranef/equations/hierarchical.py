"""The model as it is taught: coefficients of rows, and what they are made of at the levels above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from _ranef.design import rows_elsewhere
from _ranef.equations.covariates import Covariate
from _ranef.equations.effects import effect_line, effect_lines
from _ranef.equations.generalised_rows import predicted
from _ranef.equations.residual_structure import row_lines
from _ranef.equations.scalar import times
from _ranef.equations.symbols import COEFFICIENTS, Symbols
from _ranef.equations.tree import Atom, Chain, Line, Node, Of, Product, Sum, Symbol, Variable, mapped, said
from _ranef.spec import ModelSpec, TermSpec
from _ranef.support.arrays import Floats

__all__ = ["Levels", "combined", "hierarchical"]

#: relative difference up to which a column counts as constant within levels
CONSTANT = 1e-9

Unit = tuple[int, ...]
"""Groupings over whose levels a coefficient varies; several where they cross."""


@dataclass(frozen=True)
class Varying:
    """A coefficient that varies.

    Attributes
    ----------
    covariate : Covariate
        What it multiplies in row i.
    sources : tuple of (TermSpec, int)
        The random effects of this column, one for each grouping factor that has it.
    units : tuple of Unit
        From the finest to the coarsest.
    """

    covariate: Covariate
    sources: tuple[tuple[TermSpec, int], ...]
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class Home:
    """Where a fixed coefficient stands: in the line of a varying coefficient, at one of its units; else in level 1."""

    varying: int
    unit: int
    rest: Covariate


@dataclass(frozen=True, eq=False)
class _Numbered(Symbols):
    """Coefficients γ by the coefficient of the rows that they are a part of, and their place there."""

    gammas: tuple[tuple[str, ...], ...] = ()

    def coefficient(self, k: int) -> Symbol:
        """γ of a column of X."""
        return Symbol("γ", self.gammas[k], ("fixef", k))


def hierarchical(s: Symbols) -> list[Line]:
    """Level 1, then the coefficients and random effects of every level above.

    A fixed effect of a variable that is constant within the levels of a grouping factor, or of its product with a
    variable whose slope varies, is written where it acts: at that level.
    """
    levels = Levels(replace(s, levelled=True))
    own = levels.symbols
    lines = [*said("Level 1: rows"), levels.first(), *row_lines(own)]
    told: set[int] = set()
    for unit in levels.units:
        names = " and ".join(own.spec.groupings[k].name for k in unit)
        lines += said(f"Level {levels.rank(unit)}: {names}")
        lines += levels.of_unit(unit)
        lines += [effect_line(own, t) for t in own.spec.terms if t.grouping in unit and t.grouping not in told]
        told.update(unit)
    return lines


def combined(s: Symbols) -> list[Line]:
    """The equations of all levels put into that of the rows, and multiplied out term by term."""
    levels = Levels(replace(s, levelled=True))
    own = levels.symbols
    line = levels.first()
    assert isinstance(line.right, Sum)
    inserted = tuple(levels.inserted(term) for term in line.right.terms)
    out = tuple(term for part in inserted for term in _multiplied(part))
    fixed = [t for t in out if _is_fixed(t)]
    model = Chain((Sum(inserted), Sum((*fixed, *(t for t in out if t not in fixed)))))
    return [Line(line.left, "=", model), *effect_lines(own), *row_lines(own)]


@dataclass(frozen=True, eq=False)
class Levels:
    """The coefficients of rows and what they are made of.

    Attributes
    ----------
    given : Symbols
    """

    given: Symbols

    @cached_property
    def _spec(self) -> ModelSpec:
        """With rows, which say what varies within levels; where they are elsewhere, all columns count as varying."""
        spec = self.given.spec
        return spec if self._sums is not None else spec.held

    @property
    def _sums(self) -> Any:
        """Those that stand for rows which are elsewhere; None where there are rows."""
        spec = self.given.spec
        return spec.summed.sums if spec.summed is not None and rows_elsewhere(spec.design) else None

    @cached_property
    def symbols(self) -> Symbols:
        """The symbols, with γ numbered."""
        counts = dict.fromkeys(range(len(self.varying)), 0)
        first = 0 if self.varying and self.varying[0].covariate.is_intercept else 1
        free = len(self.varying) + first
        gammas: list[tuple[str, ...]] = []
        for x, home in zip(self.given.fixed, self.homes, strict=True):
            if home is None:
                gammas.append((str(free), "0"))
                free += 1
                continue
            own = x.name == self.varying[home.varying].covariate.name
            counts[home.varying] += not own
            gammas.append((str(home.varying + first), "0" if own else str(counts[home.varying])))
        return _Numbered(self.given.spec, True, tuple(gammas))

    @cached_property
    def varying(self) -> tuple[Varying, ...]:
        """The coefficients that vary: the intercept, then in the order of the fixed effects, then the others."""
        sources: dict[str, list[tuple[TermSpec, int, Covariate]]] = {}
        for term, columns in zip(self.given.spec.terms, self.given.random, strict=True):
            for i, z in enumerate(columns):
                sources.setdefault(z.name, []).append((term, i, z))
        found = [
            Varying(own[0][2], tuple((t, i) for t, i, _ in own), self._chain([t.grouping for t, _, _ in own]))
            for own in sources.values()
        ]
        place = {x.name: k for k, x in enumerate(self.given.fixed)}
        return tuple(
            sorted(found, key=lambda v: (not v.covariate.is_intercept, place.get(v.covariate.name, len(place))))
        )

    def _chain(self, groupings: Sequence[int]) -> tuple[Unit, ...]:
        if all(self._nested(fine, coarse) for fine, coarse in pairwise(groupings)):
            return tuple((k,) for k in groupings)
        return (tuple(dict.fromkeys(groupings)),)

    def _nested(self, k: int, l: int) -> bool:
        """Whether every level of one factor lies within one level of the other."""
        fine, coarse = self._spec.groupings[k], self._spec.groupings[l]
        if k == l:
            return True
        if self._sums is not None:
            return len(self._sums.pairs[min(k, l), max(k, l)].rows) == fine.n_levels
        return bool(np.unique(fine.codes * coarse.n_levels + coarse.codes).size == fine.n_levels)

    @cached_property
    def units(self) -> list[Unit]:
        """From the lowest level up."""
        return sorted(dict.fromkeys(u for v in self.varying for u in v.units), key=self.rank)

    def rank(self, unit: Unit) -> int:
        """Its level, counted from the rows, which are level 1."""
        own = len(self._spec.groupings)
        return 2 + max(sum(k != other and self._nested(other, k) for other in range(own)) for k in unit)

    @cached_property
    def homes(self) -> tuple[Home | None, ...]:
        """Where every fixed coefficient stands."""
        return tuple(self._home(k) for k in range(len(self.given.fixed)))

    def _home(self, k: int) -> Home | None:
        x, d = self.given.fixed[k], self._spec.design
        values = None if d.stream is not None else d.X[:, k]
        for m, v in sorted(enumerate(self.varying), key=lambda item: -len(item[1].covariate.pieces)):
            if x.name == v.covariate.name:
                return Home(m, len(v.units) - 1, Covariate("Intercept", ()))
            inner = set(v.covariate.pieces)
            rest = tuple(piece for piece in x.pieces if piece not in inner)
            if not rest or len(rest) + len(inner) != len(x.pieces) or (not inner and not v.covariate.is_intercept):
                continue
            for at in reversed(range(len(v.units))):
                if len(v.units[at]) == 1 and values is not None and self._constant(values, v, v.units[at][0]):
                    return Home(m, at, Covariate(x.name, rest))
        return None

    def _constant(self, values: Floats, varying: Varying, grouping: int) -> bool:
        """Whether a column is z times something that depends on the level only."""
        term, i = varying.sources[0]
        z = self._spec.groupings[term.grouping].Z[:, term.start + i]
        codes = self._spec.groupings[grouping].codes
        square = np.bincount(codes, z * z)
        slope = np.bincount(codes, z * values) / np.where(square > 0, square, 1.0)
        return bool(np.abs(values - z * slope[codes]).max() <= CONSTANT * np.abs(values).max())

    def first(self) -> Line:
        """The equation of the rows."""
        s, by_name = self.symbols, {v.covariate.name: m for m, v in enumerate(self.varying)}
        fixed_names = {x.name for x in s.fixed}

        def random(m: int) -> Node:
            v = self.varying[m]
            return times(self.coefficient(m, v.units[0], row="i"), v.covariate.factors(s.spec))

        alone = [m for name, m in by_name.items() if name not in fixed_names]
        terms = [random(m) for m in alone if self.varying[m].covariate.is_intercept]
        for k, (x, home) in enumerate(zip(s.fixed, self.homes, strict=True)):
            if x.name in by_name:
                terms.append(random(by_name[x.name]))
            elif home is None:
                terms.append(times(s.coefficient(k), x.factors(s.spec)))
        terms += [random(m) for m in alone if not self.varying[m].covariate.is_intercept]
        left, noise = predicted(s)
        return Line(left, "=", Sum((*terms, *s.offset, *noise)))

    def of_unit(self, unit: Unit) -> list[Line]:
        """The coefficients that vary over a unit, and what they are made of."""
        return [Line(self.coefficient(m, unit), "=", self.made_of(m, unit)) for m, v in self._of(unit)]

    def _of(self, unit: Unit) -> list[tuple[int, Varying]]:
        return [(m, v) for m, v in enumerate(self.varying) if unit in v.units]

    def made_of(self, m: int, unit: Unit) -> Sum:
        """What a coefficient is made of at a unit: that of the unit above, fixed coefficients, random effects."""
        s, v = self.symbols, self.varying[m]
        at = v.units.index(unit)
        own = s.letter(unit[0])
        above = [self.coefficient(m, u, row=own) for u in v.units[at + 1 : at + 2]]
        fixed = [
            times(s.coefficient(k), home.rest.factors(s.spec, own))
            for k, home in enumerate(self.homes)
            if home is not None and (home.varying, home.unit) == (m, at)
        ]
        random = [s.effect(term, i) for term, i in v.sources if term.grouping in unit]
        return Sum((*above, *fixed, *random))

    def coefficient(self, m: int, unit: Unit, row: str = "") -> Symbol:
        """A coefficient that varies: of a level, or of the level of a row or of a finer level."""
        s, v = self.symbols, self.varying[m]
        letter = COEFFICIENTS[min(v.units.index(unit), len(COEFFICIENTS) - 1)]
        first = 0 if self.varying[0].covariate.is_intercept else 1
        where: tuple[Atom, ...] = tuple(s.of_row(k, row) if row else s.letter(k) for k in unit)
        over = " and ".join(s.spec.groupings[k].name for k in unit)
        words = f"coefficient of {v.covariate.name} that varies over {over}"
        if v.covariate.is_intercept:
            words = f"intercept that varies over {over}"
        return Symbol(letter, (str(m + first), *where), ("coefficient", m, v.units.index(unit), words))

    def inserted(self, term: Node) -> Node:
        """A summand of the rows with what its coefficient is made of in its place."""

        def put(node: Node) -> Node | None:
            if isinstance(node, Symbol) and node.key[:1] == ("coefficient",):
                m, at = int(node.key[1]), int(node.key[2])
                inner = mapped(self.made_of(m, self.varying[m].units[at]), self._row)
                parts = mapped(inner, put)
                assert isinstance(parts, Sum)
                flat = tuple(t for p in parts.terms for t in (p.terms if isinstance(p, Sum) else (p,)))
                return flat[0] if len(flat) == 1 else Sum(flat)
            return None

        return mapped(term, put)

    def _row(self, node: Node) -> Node | None:
        """A symbol of a level as that of the level of row i."""
        letters = {self.symbols.letter(k) for k in range(len(self.symbols.spec.groupings))}

        def of(atom: Atom) -> Atom:
            if isinstance(atom, Of):
                return Of(atom.letter, "i")
            return Of(atom, "i") if isinstance(atom, str) and atom in letters else atom

        if isinstance(node, Symbol):
            return replace(node, below=tuple(map(of, node.below)))
        return replace(node, at=of(node.at)) if isinstance(node, Variable) else None


def _multiplied(term: Node) -> tuple[Node, ...]:
    """A product of a sum and variables as a sum of products."""
    match term:
        case Sum(terms):
            return tuple(t for part in terms for t in _multiplied(part))
        case Product((Sum(terms), *rest)):
            return tuple(_joined(part, tuple(rest)) for part in terms)
    return (term,)


def _joined(part: Node, rest: tuple[Node, ...]) -> Node:
    return Product((*(part.factors if isinstance(part, Product) else (part,)), *rest))


def _is_fixed(term: Node) -> bool:
    """Whether a summand is a fixed coefficient's, or the offset."""
    head = term.factors[0] if isinstance(term, Product) else term
    return isinstance(head, Symbol) and head.key[:1] in (("fixef",), ("offset",))
