"""The effects of a random term as nobody's coding has them: of every cell of its factors, and slopes within cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from _ranef.design.coding import Coded, code_terms, fully_coded
from _ranef.design.expression_values import Array, Codes, Factor, Mask, Numeric, Value, as_factor
from _ranef.design.records import Encoding
from _ranef.formula import Name, Node, Terms, label, walk

__all__ = ["Cells", "margins_of", "term_cells"]

#: levels of a factor that is always a slope, from the one to the other
STEP = 2

#: a square matrix with a larger condition number is no change of coordinates
WORST = 1e8


@dataclass(frozen=True, eq=False)
class Cells:
    """Coordinates of the p effects of a term that are the same for every coding of its factors.

    Attributes
    ----------
    rows : ndarray of float64
        Shape (p, p): of effects b by columns as written, the coordinates are ``rows @ b``.
    names : tuple of str
        The p names: ``f[A]`` is the effect where f is A, ``f[A]:x`` the slope of x there; that of a column where the
        coordinate is its effect.
    parts : ndarray of intp
        Shape (p,): which product of numeric predictors, and of factors in steps, each is the slope of.
    margins : tuple of tuple of int
        For each of those products, the others that are its margins.
    cells : ndarray of intp
        Shape (p,): the cell of each coordinate, -1 where it is of none.
    plain : ndarray of bool
        Shape (p,): whether it is the effect in a cell itself, and no slope.
    coded : tuple of str
        Names of those that are contrasts of factors as coded, of which no cells and no steps could be made.
    """

    rows: Array
    names: tuple[str, ...]
    parts: Codes
    margins: tuple[tuple[int, ...], ...]
    cells: Codes
    plain: Mask
    coded: tuple[str, ...]


def term_cells(terms: Terms, encoding: Encoding, *, saturate: bool = True) -> Cells:
    """Find the coordinates of a term's effects.

    A factor of two levels is a slope, from the one to the other. Where the factors beside some product of numeric
    predictors are added and not crossed (``f1 + f2``), so are all of them: steps from the level whose label sorts
    first, which no coding and no order of levels changes. Unless `saturate` columns stay as they are written.
    """
    nodes = list(dict.fromkeys(f for t in terms.terms for f in t.factors))
    values = {node: encoding.templates[node] for node in nodes}
    sets: list[tuple[Node, ...]] = [()] if terms.intercept else []
    sets += [t.factors for t in terms.terms]
    numeric = {n for n in nodes if isinstance(values[n], Numeric)}
    signatures = list(dict.fromkeys(frozenset(s) & numeric for s in sets))
    plain = _coded(terms, values, {}, {})
    owner = [frozenset(sets[a if terms.intercept else a - 1]) & numeric for a in plain.assign]
    factors = [n for n in nodes if n not in numeric]
    pairs = [n for n in factors if len(as_factor(values[n]).levels) == STEP]
    terms_full = zip(terms.terms, fully_coded(terms, values), strict=True)
    contrasts = [False, *(bool(set(t.factors) & set(factors) - full - set(pairs)) for t, full in terms_full)]
    found: dict[frozenset[Node], _Saturated | None] = {}
    for in_steps in (pairs, factors) if saturate else ():
        for own in signatures:
            at = np.array([j for j, s in enumerate(owner) if s == own], dtype=np.intp)
            products = [frozenset(s) - numeric for s in sets if frozenset(s) & numeric == own]
            found[own] = _saturated(terms, values, products, [n for n in nodes if n in own], in_steps, at)
        if None not in found.values():
            break
    rows, names, cells = np.eye(len(owner)), list(plain.names), np.full(len(owner), -1, dtype=np.intp)
    parts, coded = [tuple(s) for s in owner], list[str]()
    for own in signatures:
        at = np.array([j for j, s in enumerate(owner) if s == own], dtype=np.intp)
        new = found.get(own)
        if new is None:
            coded += [names[j] for j in at if contrasts[plain.assign[j]]]
            continue
        rows[np.ix_(at, at)] = new.rows
        for k, j in enumerate(at):
            written = np.flatnonzero(new.rows[k])
            alone = new.cells[k] < 0 and len(written) == 1 and new.rows[k, written[0]] == 1.0
            names[j] = plain.names[at[written[0]]] if alone else new.names[k]
            cells[j], parts[j] = new.cells[k], (*own, *new.steps[k])
    kinds = list(dict.fromkeys(map(frozenset, parts)))
    places = np.array([kinds.index(frozenset(s)) for s in parts], dtype=np.intp)
    plain_cells = np.array([not s for s in parts], dtype=bool) & (cells >= 0)
    margins = margins_of([tuple(s) for s in kinds])
    return Cells(rows, tuple(names), places, margins, cells, plain_cells, tuple(coded))


@dataclass(frozen=True, eq=False)
class _Saturated:
    """Coordinates of q columns: rows (q, q), names, cells, and the factors each is a step of."""

    rows: Array
    names: list[str]
    cells: list[int]
    steps: list[tuple[Node, ...]]


def _saturated(
    terms: Terms,
    values: Mapping[Node, Value],
    products: Sequence[frozenset[Node]],
    slopes: Sequence[Node],
    in_steps: Sequence[Node],
    at: Codes,
) -> _Saturated | None:
    """Of the q columns at `at`, those of `products` of factors; None where effects and columns are not as many."""
    factors = list(dict.fromkeys(n for n in values if any(n in p for p in products)))
    levels = {n: as_factor(values[n]).levels for n in factors}
    columns = list(product(*(range(len(_suffixes(values[n]))) for n in slopes)))
    effects = list(_effects(levels, _crossed_with(products, in_steps), factors))
    if len(effects) * len(columns) != len(at):
        return None
    out = _Saturated(np.zeros((len(at), len(at))), [], [], [])
    for effect in effects:
        for column in columns:
            unit = dict(zip(slopes, column, strict=True))
            row = out.rows[len(out.names)]
            for sign, level in effect.contrast():
                row += sign * _coded(terms, values, level, unit).matrix[0, at]
            names = [f"{label(n)}[{levels[n][i]}]" for n, i in effect.levels.items()]
            names += [f"{label(n)}[{levels[n][i]} - {levels[n][base]}]" for n, (base, i) in effect.steps.items()]
            names += [label(n) + _suffixes(values[n])[i] for n, i in unit.items()]
            out.names.append(":".join(names) or "Intercept")
            out.cells.append(effect.cell)
            out.steps.append(tuple(effect.steps))
    return out if np.linalg.cond(out.rows) < WORST else None


@dataclass(frozen=True)
class _Effect:
    """An effect in the cell of some factors' levels, or a step of others there: from a level to another, by factor."""

    levels: Mapping[Node, int]
    steps: Mapping[Node, tuple[int, int]]
    cell: int

    def contrast(self) -> Iterator[tuple[float, dict[Node, int]]]:
        """Signs and the levels of all factors, of the rows whose signed sum it is."""
        for on in product((0, 1), repeat=len(self.steps)):
            ends = {n: step[i] for i, (n, step) in zip(on, self.steps.items(), strict=True)}
            yield (-1.0) ** (len(on) - sum(on)), {**self.levels, **ends}


def _effects(
    levels: Mapping[Node, tuple[str, ...]], crossed: Mapping[tuple[Node, ...], frozenset[Node]], factors: Sequence[Node]
) -> Iterator[_Effect]:
    """For every product of steps, and every cell of the factors beside it, the effects there."""
    first = {n: min(range(len(own)), key=own.__getitem__) for n, own in levels.items()}
    first |= {n: 0 for n, own in levels.items() if len(own) == STEP}
    for steps, beside in crossed.items():
        cells = [n for n in factors if n in beside]
        for cell, choice in enumerate(product(*(range(len(levels[n])) for n in cells))):
            ends = [[(first[n], i) for i in range(len(levels[n])) if i != first[n]] for n in steps]
            for taken in product(*ends):
                yield _Effect(
                    dict(zip(cells, choice, strict=True)), dict(zip(steps, taken, strict=True)), cell if cells else -1
                )


def _crossed_with(
    products: Sequence[frozenset[Node]], in_steps: Sequence[Node]
) -> dict[tuple[Node, ...], frozenset[Node]]:
    """For every product of the factors `in_steps` that is a term or a margin of one, the others beside it."""
    out: dict[tuple[Node, ...], frozenset[Node]] = {}
    for own in products:
        stepped = [n for n in in_steps if n in own]
        for size in range(len(stepped) + 1):
            for steps in combinations(stepped, size):
                out[steps] = out.get(steps, frozenset()) | (own - frozenset(in_steps))
    return dict(sorted(out.items(), key=lambda item: len(item[0])))


def _suffixes(value: Value) -> tuple[str, ...]:
    return value.suffixes or ("",) if isinstance(value, Numeric) else ("",)


def _coded(terms: Terms, values: Mapping[Node, Value], levels: Mapping[Node, int], units: Mapping[Node, int]) -> Coded:
    """One row in which factors have the `levels`, and of numeric predictors one column is 1, those of `units`."""
    row: dict[Node, Value] = {}
    for node, value in values.items():
        level = levels.get(node, 0)
        if isinstance(value, Factor):
            row[node] = Factor(np.array([level]), value.levels, value.ordered, value.contrast)
        elif not isinstance(value, Numeric):
            row[node] = type(value)(np.array([float(level)]))
        elif value.values.ndim == 1:
            row[node] = Numeric(np.array([float(node in units)]))
        else:
            one = np.zeros((1, len(value.suffixes)))
            if node in units:
                one[0, units[node]] = 1.0
            row[node] = Numeric(one, value.suffixes)
    return code_terms(terms, row, 1)


def margins_of(sets: Sequence[Sequence[Node]]) -> tuple[tuple[int, ...], ...]:
    """For each product of predictors, the others that are its margins: x, z and nothing are those of x:z.

    x itself and earlier functions of it are margins of a function of x, as of ``I(x^2)``.
    """
    order = {node: i for i, node in enumerate(dict.fromkeys(n for s in sets for n in s))}

    def under(a: Node, b: Node) -> bool:
        if a == b:
            return True
        same = _variables(a) == _variables(b) and not isinstance(b, Name)
        return same and (isinstance(a, Name) or order[a] < order[b])

    def margin(a: Sequence[Node], b: Sequence[Node]) -> bool:
        return set(a) != set(b) and all(any(under(x, y) for y in b) for x in a)

    return tuple(tuple(j for j, a in enumerate(sets) if margin(a, b)) for b in sets)


def _variables(node: Node) -> frozenset[str]:
    return frozenset(part.name for part in walk(node) if isinstance(part, Name))
