"""The model as it is taught: coefficients of rows, and what they are made of at the levels above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from _ranef.equations.covariates import Covariate
from _ranef.equations.notation import Line
from _ranef.equations.parts import Parts
from _ranef.spec import Grouping, TermSpec
from _ranef.support.arrays import Floats

__all__ = ["hierarchical"]

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


def hierarchical(parts: Parts) -> list[Line]:
    """Level 1, then the coefficients and random effects of every level above.

    A fixed effect of a variable that is constant within the levels of a grouping factor, or of its product with a
    variable whose slope varies, is written where it acts: at that level.
    """
    n, spec = parts.notation, parts.spec
    varying = _ordered(parts, _varying(parts))
    homes = [_home(parts, k, varying) for k in range(spec.n_fixed)]
    lines = [Line("", "", (), n.prose("Level 1: rows")), _first_level(parts, varying, homes), parts.residual_line()]
    told: set[int] = set()
    for unit in _units(parts, varying):
        names = n.prose(" and ").join(n.name(spec.groupings[k].name) for k in unit)
        lines.append(Line("", "", (), n.prose(f"Level {_rank(parts, unit)}: ") + names))
        lines += [_upper_line(parts, varying, homes, m, unit) for m, v in enumerate(varying) if unit in v.units]
        lines += [parts.effect_line(t) for t in spec.terms if t.grouping in unit and t.grouping not in told]
        told.update(unit)
    return [*lines, *parts.notes()]


def _varying(parts: Parts) -> list[Varying]:
    sources: dict[str, list[tuple[TermSpec, int, Covariate]]] = {}
    for term, columns in zip(parts.spec.terms, parts.random, strict=True):
        for i, z in enumerate(columns):
            sources.setdefault(z.name, []).append((term, i, z))
    return [
        Varying(found[0][2], tuple((t, i) for t, i, _ in found), _chain(parts, [t.grouping for t, _, _ in found]))
        for found in sources.values()
    ]


def _ordered(parts: Parts, varying: list[Varying]) -> list[Varying]:
    """The intercept first, then in the order of the fixed effects, then those that have none."""
    place = {x.name: k for k, x in enumerate(parts.fixed)}
    return sorted(varying, key=lambda v: (not v.covariate.is_intercept, place.get(v.covariate.name, len(place))))


def _chain(parts: Parts, groupings: Sequence[int]) -> tuple[Unit, ...]:
    found = [parts.spec.groupings[k] for k in groupings]
    if all(_nested(fine, coarse) for fine, coarse in pairwise(found)):
        return tuple((k,) for k in groupings)
    return (tuple(groupings),)


def _nested(fine: Grouping, coarse: Grouping) -> bool:
    """Whether every level of one factor lies within one level of the other."""
    return bool(np.unique(fine.codes * coarse.n_levels + coarse.codes).size == fine.n_levels)


def _units(parts: Parts, varying: Sequence[Varying]) -> list[Unit]:
    units = dict.fromkeys(u for v in varying for u in v.units)
    return sorted(units, key=lambda unit: _rank(parts, unit))


def _rank(parts: Parts, unit: Unit) -> int:
    groupings = parts.spec.groupings
    return 2 + max(
        sum(k != other and _nested(groupings[other], groupings[k]) for other in range(len(groupings))) for k in unit
    )


def _home(parts: Parts, k: int, varying: Sequence[Varying]) -> Home | None:
    x, values = parts.fixed[k], parts.spec.design.X[:, k]
    by_degree = sorted(enumerate(varying), key=lambda item: -len(item[1].covariate.pieces))
    for m, v in by_degree:
        if x.name == v.covariate.name:
            return Home(m, len(v.units) - 1, Covariate("Intercept", ()))
        inner = set(v.covariate.pieces)
        rest = tuple(piece for piece in x.pieces if piece not in inner)
        if not rest or len(rest) + len(inner) != len(x.pieces) or (not inner and not v.covariate.is_intercept):
            continue
        for at in reversed(range(len(v.units))):
            if len(v.units[at]) == 1 and _constant(parts, values, v, v.units[at][0]):
                return Home(m, at, Covariate(x.name, rest))
    return None


def _constant(parts: Parts, values: Floats, varying: Varying, grouping: int) -> bool:
    """Whether a column is z times something that depends on the level only."""
    term, i = varying.sources[0]
    z = parts.spec.groupings[term.grouping].Z[:, term.start + i]
    codes = parts.spec.groupings[grouping].codes
    square = np.bincount(codes, z * z)
    slope = np.bincount(codes, z * values) / np.where(square > 0, square, 1.0)
    return bool(np.abs(values - z * slope[codes]).max() <= CONSTANT * np.abs(values).max())


def _first_level(parts: Parts, varying: Sequence[Varying], homes: Sequence[Home | None]) -> Line:
    n = parts.notation
    by_name = {v.covariate.name: m for m, v in enumerate(varying)}
    fixed_names = {x.name for x in parts.fixed}

    def random(m: int) -> str:
        return parts.product(_alpha(parts, varying, m, varying[m].units[0], of_row=True), varying[m].covariate)

    alone = [m for name, m in by_name.items() if name not in fixed_names]
    summands = [random(m) for m in alone if varying[m].covariate.is_intercept]
    for k, (x, home) in enumerate(zip(parts.fixed, homes, strict=True)):
        if x.name in by_name:
            summands.append(random(by_name[x.name]))
        elif home is None:
            summands.append(parts.product(parts.coefficient(k), x))
    summands += [random(m) for m in alone if not varying[m].covariate.is_intercept]
    return Line(parts.response, "=", (*summands, *parts.offset(), n.symbol("ε", "i")))


def _upper_line(parts: Parts, varying: Sequence[Varying], homes: Sequence[Home | None], m: int, unit: Unit) -> Line:
    v = varying[m]
    at = v.units.index(unit)
    above = [_alpha(parts, varying, m, u) for u in v.units[at + 1 : at + 2]]
    here = parts if len(unit) > 1 else _at_level(parts, unit[0])
    fixed = [
        here.product(here.coefficient(k), home.rest)
        for k, home in enumerate(homes)
        if home is not None and (home.varying, home.unit) == (m, at)
    ]
    random = [parts.effect(term, i) for term, i in v.sources if term.grouping in unit]
    return Line(_alpha(parts, varying, m, unit), "=", (*above, *fixed, *random))


def _alpha(parts: Parts, varying: Sequence[Varying], m: int, unit: Unit, *, of_row: bool = False) -> str:
    names = tuple(parts.spec.groupings[k].name for k in unit)
    return parts.notation.symbol("α", str(m) if len(varying) > 1 else "", names, of_row=of_row)


def _at_level(parts: Parts, grouping: int) -> Parts:
    return replace(parts, notation=replace(parts.notation, unit=parts.spec.groupings[grouping].name))
