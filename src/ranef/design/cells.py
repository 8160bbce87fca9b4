"""The effects of a random term as nobody's coding has them: of every cell of its factors, and slopes within cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from ranef.design.coding import Coded, code_terms
from ranef.design.records import Encoding
from ranef.design.values import Array, Codes, Factor, Numeric, Value, as_factor, label_of
from ranef.formula import Name, Node, Terms, label, walk

__all__ = ["Cells", "margins_of", "numeric_nodes", "term_cells"]

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
        The p names: ``f[A]`` is the effect where f is A, ``f[A]:x`` the slope of x there.
    parts : ndarray of intp
        Shape (p,): which product of numeric predictors each coordinate is the slope of.
    margins : tuple of tuple of int
        For each of those products, the others that are its margins.
    cells : ndarray of intp
        Shape (p,): the cell of each coordinate, -1 where the factors have none because they are not saturated.
    """

    rows: Array
    names: tuple[str, ...]
    parts: Codes
    margins: tuple[tuple[int, ...], ...]
    cells: Codes


def numeric_nodes(terms: Terms, encoding: Encoding) -> dict[Node, str]:
    """The numeric predictors of one column, with the name of that column."""
    nodes = dict.fromkeys(f for t in terms.terms for f in t.factors)
    values = {node: encoding.templates[node] for node in nodes}
    return {n: label(n) for n, v in values.items() if isinstance(v, Numeric) and v.values.ndim == 1}


def term_cells(terms: Terms, encoding: Encoding, pairs: Mapping[Node, tuple[float, float]]) -> Cells:
    """Find the coordinates of a term's effects; `pairs` are the numeric predictors that take two values only.

    Where the factors beside some product of numeric predictors are not saturated (``f1 + f2``), its columns stay as
    they are written.
    """
    nodes = list(dict.fromkeys(f for t in terms.terms for f in t.factors))
    values = {node: encoding.templates[node] for node in nodes}
    groups = [n for n in nodes if n in pairs or not isinstance(values[n], Numeric)]
    sets: list[tuple[Node, ...]] = [()] if terms.intercept else []
    sets += [t.factors for t in terms.terms]
    signatures = list(dict.fromkeys(frozenset(s) - set(groups) for s in sets))
    plain = _coded(terms, values, {}, {}, pairs)
    owner = [signatures.index(frozenset(sets[a if terms.intercept else a - 1]) - set(groups)) for a in plain.assign]
    p = len(owner)
    rows, names, cells = np.eye(p), list(plain.names), np.full(p, -1, dtype=np.intp)
    for k, signature in enumerate(signatures):
        at = np.flatnonzero(np.array(owner) == k)
        own = [n for n in groups if any(n in s for s in sets if frozenset(s) - set(groups) == signature)]
        found = _saturated(terms, values, own, [n for n in nodes if n in signature], at, pairs)
        if found is None:
            continue
        block, labels, which = found
        rows[np.ix_(at, at)] = block
        cells[at] = which
        for place, name in zip(at, labels, strict=True):
            names[place] = name
    return Cells(rows, tuple(names), np.array(owner, dtype=np.intp), margins_of([tuple(s) for s in signatures]), cells)


def _saturated(
    terms: Terms,
    values: Mapping[Node, Value],
    groups: Sequence[Node],
    slopes: Sequence[Node],
    at: Codes,
    pairs: Mapping[Node, tuple[float, float]],
) -> tuple[Array, list[str], list[int]] | None:
    """Rows (q, q) for the q columns at `at`, names and cells; None where factors and columns are not as many."""
    levels = [_levels(values[n], n, pairs) for n in groups]
    columns = [_suffixes(values[n]) for n in slopes]
    if not groups or prod(map(len, levels)) * prod(map(len, columns)) != len(at):
        return None
    block, names, cells = [], [], []
    for cell, choice in enumerate(product(*(range(len(own)) for own in levels))):
        fixed = dict(zip(groups, choice, strict=True))
        parts = [f"{label(n)}[{own[i]}]" for n, own, i in zip(groups, levels, choice, strict=True)]
        for column in product(*(range(len(own)) for own in columns)):
            one = _coded(terms, values, fixed, dict(zip(slopes, column, strict=True)), pairs)
            block.append(one.matrix[0, at])
            more = [label(n) + own[i] for n, own, i in zip(slopes, columns, column, strict=True)]
            names.append(":".join([*parts, *more]))
            cells.append(cell)
    rows = np.array(block)
    return (rows, names, cells) if np.linalg.cond(rows) < WORST else None


def _levels(value: Value, node: Node, pairs: Mapping[Node, tuple[float, float]]) -> tuple[str, ...]:
    return tuple(map(label_of, pairs[node])) if isinstance(value, Numeric) else as_factor(value).levels


def _suffixes(value: Value) -> tuple[str, ...]:
    return value.suffixes or ("",) if isinstance(value, Numeric) else ("",)


def _coded(
    terms: Terms,
    values: Mapping[Node, Value],
    levels: Mapping[Node, int],
    units: Mapping[Node, int],
    pairs: Mapping[Node, tuple[float, float]],
) -> Coded:
    """One row in which factors have the `levels`, and of numeric predictors one column is 1, those of `units`."""
    row: dict[Node, Value] = {}
    for node, value in values.items():
        level = levels.get(node, 0)
        if isinstance(value, Factor):
            row[node] = Factor(np.array([level]), value.levels, value.ordered, value.contrast)
        elif not isinstance(value, Numeric):
            row[node] = type(value)(np.array([float(level)]))
        elif node in pairs:
            row[node] = Numeric(np.array([pairs[node][level]]))
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
