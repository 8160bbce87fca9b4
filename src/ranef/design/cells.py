"""The effects of a random term as nobody's coding has them: of every cell of its factors, and slopes within cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod

import numpy as np

from ranef.design.coding import Coded, code_terms
from ranef.design.records import Encoding
from ranef.design.values import Array, Codes, Factor, Mask, Numeric, Value, as_factor
from ranef.formula import Name, Node, Terms, label, walk

__all__ = ["Cells", "coded_columns", "margins_of", "term_cells"]

#: levels of a factor that is a slope, from the one to the other
STEP = 2

#: a square matrix with a larger condition number is no change of coordinates
WORST = 1e8


@dataclass(frozen=True, eq=False, slots=True)
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
        Shape (p,): which product of numeric predictors, and of factors of two levels, each is the slope of.
    margins : tuple of tuple of int
        For each of those products, the others that are its margins.
    cells : ndarray of intp
        Shape (p,): the cell of each coordinate, -1 where it is of none.
    plain : ndarray of bool
        Shape (p,): whether it is the effect in a cell itself, and no slope.
    """

    rows: Array
    names: tuple[str, ...]
    parts: Codes
    margins: tuple[tuple[int, ...], ...]
    cells: Codes
    plain: Mask


def term_cells(terms: Terms, encoding: Encoding, *, saturate: bool = True) -> Cells:
    """Find the coordinates of a term's effects.

    A factor of two levels is a slope, from the one to the other. Where the factors beside some product of numeric
    predictors are not saturated (``f1 + f2``), and everywhere unless `saturate`, columns stay as they are written.
    """
    nodes = list(dict.fromkeys(f for t in terms.terms for f in t.factors))
    values = {node: encoding.templates[node] for node in nodes}
    sets: list[tuple[Node, ...]] = [()] if terms.intercept else []
    sets += [t.factors for t in terms.terms]
    numeric = {n for n in nodes if isinstance(values[n], Numeric)}
    signatures = list(dict.fromkeys(frozenset(s) & numeric for s in sets))
    plain = _coded(terms, values, {}, {})
    owner = [frozenset(sets[a if terms.intercept else a - 1]) & numeric for a in plain.assign]
    rows, names, cells = np.eye(len(owner)), list(plain.names), np.full(len(owner), -1, dtype=np.intp)
    parts = [tuple(s) for s in owner]
    for signature in signatures:
        at = np.array([j for j, s in enumerate(owner) if s == signature], dtype=np.intp)
        products = [frozenset(s) - numeric for s in sets if frozenset(s) & numeric == signature]
        found = _saturated(terms, values, products, [n for n in nodes if n in signature], at) if saturate else None
        if found is None:
            continue
        rows[np.ix_(at, at)] = found.rows
        for k, j in enumerate(at):
            written = np.flatnonzero(found.rows[k])
            alone = found.cells[k] < 0 and len(written) == 1 and found.rows[k, written[0]] == 1.0
            names[j] = plain.names[at[written[0]]] if alone else found.names[k]
            cells[j], parts[j] = found.cells[k], (*signature, *found.steps[k])
    kinds = list(dict.fromkeys(map(frozenset, parts)))
    places = np.array([kinds.index(frozenset(s)) for s in parts], dtype=np.intp)
    plain_cells = np.array([not s for s in parts], dtype=bool) & (cells >= 0)
    return Cells(rows, tuple(names), places, margins_of([tuple(s) for s in kinds]), cells, plain_cells)


def coded_columns(terms: Terms, encoding: Encoding) -> tuple[str, ...]:
    """Names of the columns of factors of three levels and more that stay as they are written."""
    found = term_cells(terms, encoding)
    values = {node: encoding.templates[node] for term in terms.terms for node in term.factors}
    large = [label(n) for n, v in values.items() if not isinstance(v, Numeric) and len(as_factor(v).levels) > STEP]
    columns = zip(found.names, found.cells.tolist(), strict=True)
    return tuple(name for name, cell in columns if cell < 0 and any(f"{f}[" in name for f in large))


@dataclass(frozen=True, eq=False, slots=True)
class _Saturated:
    """Coordinates of q columns: rows (q, q), names, cells, and the factors of two levels each is a step of."""

    rows: Array
    names: list[str]
    cells: list[int]
    steps: list[tuple[Node, ...]]


def _saturated(
    terms: Terms, values: Mapping[Node, Value], products: Sequence[frozenset[Node]], slopes: Sequence[Node], at: Codes
) -> _Saturated | None:
    """Of the q columns at `at`, those of `products` of factors; None where effects and columns are not as many."""
    factors = list(dict.fromkeys(n for n in values if any(n in p for p in products)))
    levels = {n: as_factor(values[n]).levels for n in factors}
    pairs = [n for n in factors if len(levels[n]) == STEP]
    columns = list(product(*(range(len(_suffixes(values[n]))) for n in slopes)))
    crossed = _crossed_with(products, pairs)
    sizes = [prod(len(levels[n]) for n in beside) for beside in crossed.values()]
    if not factors or sum(sizes) * len(columns) != len(at):
        return None
    out = _Saturated(np.zeros((len(at), len(at))), [], [], [])
    for steps, beside in crossed.items():
        cells = [n for n in factors if n in beside]
        for cell, choice in enumerate(product(*(range(len(levels[n])) for n in cells))):
            here = dict(zip(cells, choice, strict=True))
            for column in columns:
                unit = dict(zip(slopes, column, strict=True))
                row = out.rows[len(out.names)]
                for on in product((0, 1), repeat=len(steps)):
                    level = here | dict(zip(steps, on, strict=True))
                    sign = (-1.0) ** (len(steps) - sum(on))
                    row += sign * _coded(terms, values, level, unit).matrix[0, at]
                names = [f"{label(n)}[{levels[n][i]}]" for n, i in here.items()]
                names += [f"{label(n)}[{levels[n][1]} - {levels[n][0]}]" for n in steps]
                names += [label(n) + _suffixes(values[n])[i] for n, i in unit.items()]
                out.names.append(":".join(names) or "Intercept")
                out.cells.append(cell if cells else -1)
                out.steps.append(steps)
    return out if np.linalg.cond(out.rows) < WORST else None


def _crossed_with(
    products: Sequence[frozenset[Node]], pairs: Sequence[Node]
) -> dict[tuple[Node, ...], frozenset[Node]]:
    """For every product of factors of two levels (`pairs`) that is a term or a margin of one, the others beside it."""
    out: dict[tuple[Node, ...], frozenset[Node]] = {}
    for own in products:
        stepped = [n for n in pairs if n in own]
        for size in range(len(stepped) + 1):
            for steps in combinations(stepped, size):
                out[steps] = out.get(steps, frozenset()) | (own - frozenset(pairs))
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
