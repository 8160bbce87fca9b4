"""Where default priors stand: coordinates of β and of random effects that no origin, unit or coding changes.

Functions of the rows are vectors of a triangle R with RᵀR the mean products of [1, columns] (`Moments`), so that
lengths are root mean squares and projections are least squares over the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import TypeAlias

import numpy as np

from _ranef.design import Cells, fully_coded, margins_of, n_columns, term_cells
from _ranef.formula import Node
from _ranef.spec.column_moments import Moments
from _ranef.spec.model import ModelSpec, TermSpec
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = [
    "Directions",
    "TermColumns",
    "coding_notes",
    "fixed_directions",
    "inward_theta",
    "outward_theta",
    "plain_columns",
    "term_columns",
]

#: coordinates by group and first column of a term
Columns: TypeAlias = "Mapping[tuple[str, int], TermColumns]"

#: length, beside that of a column, of what is rounding
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class TermColumns:
    """Coordinates b* of a term's random effects, b = outward b*, whose sds and correlations have priors.

    Attributes
    ----------
    columns : tuple of str
        The p columns as written.
    names : tuple of str
        The p names of the coordinates.
    outward : array (p, p)
    sizes : array (p,)
        How much y moves for a unit of each coordinate, where it applies.
    where : tuple of str
        By coordinate, where it is taken, as ``" (at the mean of x)"``; empty where there is nothing to say.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    outward: Floats
    sizes: Floats
    where: tuple[str, ...]


def plain_columns(term: TermSpec, sizes: Floats) -> TermColumns:
    """The effects of the columns as they are written."""
    p = len(term.columns)
    return TermColumns(term.columns, term.columns, np.eye(p), sizes, ("",) * p)


def term_columns(spec: ModelSpec, term: TermSpec, about: Moments, *, named: Collection[str] = ()) -> TermColumns:
    """The coordinates of a term.

    In an unstructured one factors stand for the effects in their cells and numeric columns are freed of their margins,
    as x of its mean where there is an intercept: Σ = T Σ* Tᵀ. Other structures would not survive that: there only the
    unit of a column counts. Columns that are `named`, to give their standard deviations priors, are meant as written,
    and stand for themselves among the coordinates of the others.
    """
    R = about.Z[term.grouping][:, [0, *range(1 + term.where.start, 1 + term.where.stop)]]
    written = plain_columns(term, _spreads(R, R[:, 1:]))
    if term.structure.shapes:
        return plain_columns(term, np.where(_indicators(R), 1.0, written.sizes))
    if not term.structure.free:
        return written
    encoding = spec.design.encoding
    effects = encoding.random[term.source].effects
    found = _freed_columns(term_cells(effects, encoding), R, written)
    plain = {name for name, moved in zip(found.names, found.where, strict=True) if not moved}
    if plain.issuperset(named):
        return found
    return _with_written(_freed_columns(term_cells(effects, encoding, saturate=False), R, written), written, named)


def _freed_columns(own: Cells, R: Floats, written: TermColumns) -> TermColumns:
    """Cells whose slopes are freed of their margins."""
    inward = np.linalg.inv(own.rows)
    columns = R[:, 1:] @ inward
    away = np.eye(len(inward))
    constant = _constant(R, columns) & (own.cells < 0)  # an intercept, by whatever name
    for j, part in enumerate(own.parts):
        level = constant & (own.parts != part) & (own.cells[j] < 0) & ~constant[j]
        margin = np.flatnonzero(np.isin(own.parts, own.margins[part]) | level)
        away[margin, j] -= _slopes(columns[:, margin], columns[:, j])
    freed = columns @ away
    noise = ROUNDING * np.linalg.norm(R[:, 1:], axis=0) @ np.abs(inward @ away)
    gone = np.linalg.norm(freed, axis=0) <= noise  # a slope within a cell where the covariate is constant
    away[:, gone], freed[:, gone] = np.eye(len(away))[:, gone], 0.0
    sizes = _sizes(R, columns, freed, own)
    for j in np.flatnonzero(gone).tolist():
        alike = sizes[(own.parts == own.parts[j]) & ~gone]
        sizes[j] = np.sqrt((alike**2).mean()) if len(alike) else written.sizes[j]
    return TermColumns(written.columns, own.names, inward @ away, sizes, _where(own, away))


def _with_written(found: TermColumns, written: TermColumns, named: Collection[str]) -> TermColumns:
    """The coordinates with those that are `named` as the columns they are; all as written where that is no basis."""
    inward, where = np.linalg.inv(found.outward), list(found.where)
    for j in (j for j, c in enumerate(written.columns) if c in named):
        inward[j], where[j] = np.eye(len(inward))[j], ""
    if np.linalg.matrix_rank(inward / np.linalg.norm(inward, axis=1)[:, None]) < len(inward):
        return written
    return TermColumns(found.columns, found.names, np.linalg.inv(inward), found.sizes, tuple(where))


def _slopes(X: Floats, y: Floats) -> Floats:
    """Least-squares coefficients (p,) of y on X (m, p), whatever the lengths of its columns."""
    length = np.linalg.norm(X, axis=0)
    length = np.where(length > 0, length, 1.0)
    return np.asarray(np.linalg.lstsq(X / length, y, rcond=ROUNDING)[0] / length)


def _indicators(R: Floats) -> Bools:
    """Which columns are 0 or 1, or are so on average: their mean is that of their squares."""
    mean, square = R[0, 0] * R[0, 1:], (R[:, 1:] ** 2).sum(axis=0)
    return np.asarray(np.abs(mean - square) <= 1e-9 * square)


def _spreads(R: Floats, columns: Floats) -> Floats:
    """Standard deviations of columns, as vectors; the root mean square of a constant one, and 1 of one of zeros."""
    length = np.linalg.norm(columns, axis=0)
    size = np.where(_constant(R, columns), length, _about_means(R, columns))
    return np.where(size > 0, size, 1.0)


def _about_means(R: Floats, columns: Floats) -> Floats:
    one = R[:, :1] / (np.linalg.norm(R[:, 0]) or 1.0)
    return np.asarray(np.linalg.norm(columns - one @ (one.T @ columns), axis=0))


def _constant(R: Floats, columns: Floats) -> Bools:
    """Which columns, as vectors, are one number on all rows."""
    return np.asarray(_about_means(R, columns) <= ROUNDING * np.linalg.norm(columns, axis=0))


def _sizes(R: Floats, columns: Floats, freed: Floats, own: Cells) -> Floats:
    """Of an effect in a cell 1, and of a slope in a cell its spread there; of others spreads over all rows."""
    sizes = _spreads(R, freed)
    share = dict(zip(own.cells[own.plain].tolist(), (columns[:, own.plain] ** 2).sum(axis=0), strict=True))
    for j in np.flatnonzero(own.cells >= 0):
        sizes[j] = 1.0 if own.plain[j] else sizes[j] / np.sqrt(share.get(int(own.cells[j]), 1.0))
    return sizes


def _where(own: Cells, away: Floats) -> tuple[str, ...]:
    """Of each coordinate, the columns that are at their means there."""
    out = []
    for j in range(len(away)):
        moved = [own.names[i] for i in range(len(away)) if i != j and away[j, i] != 0.0]
        several = " (at the means of the other columns)" if moved else ""
        out.append(f" (at the mean of {moved[0]})" if len(moved) == 1 else several)
    return tuple(out)


def coding_notes(spec: ModelSpec) -> tuple[str, ...]:
    """Sentences on terms whose default priors are of columns as coded, of which no cells or steps are made."""
    out, encoding = [], spec.design.encoding
    for t in (t for t in spec.terms if t.structure.free):
        coded = term_cells(encoding.random[t.source].effects, encoding).coded
        if coded:
            shown = ", ".join(coded[:3]) + (", …" if len(coded) > 3 else "")
            out.append(
                f"In {t.text} the default priors are of the columns as coded ({shown}), and depend on the reference "
                "level: its columns are not those of all cells of factors, nor of steps between their levels."
            )
    return tuple(out)


def outward_theta(spec: ModelSpec, columns: Columns, inner: Floats) -> Floats:
    """θ (..., n_theta) of the columns as written, from that of the coordinates `columns`."""
    return _mapped(spec, columns, inner, inward=False)


def inward_theta(spec: ModelSpec, columns: Columns, theta: Floats) -> Floats:
    """Inverse of :func:`outward_theta`."""
    return _mapped(spec, columns, theta, inward=True)


def _mapped(spec: ModelSpec, columns: Columns, theta: Floats, *, inward: bool) -> Floats:
    out = theta.copy()
    for t in spec.terms:
        own = columns.get((t.group, t.start))
        if own is None or np.array_equal(own.outward, np.eye(len(own.outward))):
            continue
        lam = t.structure.root(theta[..., t.theta])
        root = np.linalg.solve(own.outward, lam) if inward else own.outward @ lam
        out[..., t.theta] = t.structure.closest(root)
    return out


@dataclass(frozen=True, eq=False, repr=False)
class Directions:
    """Coordinates c = Cβ with independent normal priors.

    Attributes
    ----------
    C : array (p, p)
    loc, scale : array (p,)
    blocks : array of int (p,)
        Of each coefficient and each coordinate: coordinates of a block are replaced together. 0 is the intercept's.
    mean, sd : array (p,)
        Of each coefficient under them; of an intercept those of its coordinate, the mean response.
    """

    C: Floats
    loc: Floats
    scale: Floats
    blocks: Ints
    mean: Floats
    sd: Floats


def fixed_directions(spec: ModelSpec, about: Moments, width: float) -> Directions:
    """Coordinates of β in which every term, freed of its margins, has unit mean square.

    Each is Normal(0, `width` s) with s the standard deviation of the response, so that a term moves y as much in every
    direction, however it is coded; the mean response, where a constant is among the columns' combinations, is
    Normal(mean y, `width` s). For one numeric column that is a coefficient ~ Normal(0, `width` s / sd of the column).
    """
    R, constant = about.X[:, 1:], about.X[:, :1]
    blocks, W, mean_at = _term_bases(spec, R, constant)
    C = np.linalg.lstsq(W, R, rcond=None)[0]
    C = np.where(np.abs(C) > ROUNDING**1.5 * np.linalg.norm(R, axis=0), C, 0.0)
    at = np.arange(len(C)) == mean_at
    diagonal = np.diag(C)
    size = np.where(np.abs(diagonal) > ROUNDING * np.abs(C).max(axis=1, initial=0.0), diagonal, 1.0)
    C = C / size[:, None]
    unit = width * (about.y_sd if mean_at >= 0 else about.y_rms)
    loc, scale = np.where(at, about.y_mean, 0.0) / size, unit / np.abs(size)
    back = np.linalg.inv(C)
    mean, sd = back @ loc, np.sqrt((back**2) @ scale**2)
    mean = np.where(np.abs(mean) > ROUNDING * sd, mean, 0.0)
    if spec.design.has_intercept:
        mean[0], sd[0] = loc[0], scale[0]
    return Directions(C, loc, scale, blocks, mean, sd)


def _term_bases(spec: ModelSpec, R: Floats, constant: Floats) -> tuple[Ints, Floats, int]:
    """Blocks (p,), a basis (p + 1, p) of the columns R by blocks, and the place of the constant in it, or -1."""
    d = spec.design
    blocks = np.array(d.assign, dtype=np.intp)
    held = bool(len(blocks)) and (d.has_intercept or not _freed(constant, R).shape[1])
    mean = constant if held else constant[:, :0]
    if d.has_intercept:  # columns about their means, which are exact, have all their digits for the others
        R = R.copy()
        R[0, 1:] = 0.0
    parts = [part for k in range(1, blocks.max(initial=0) + 1) for part in _parts(spec, k, R[:, blocks == k])]
    found: dict[int, list[Floats]] = {0: [mean]} if d.has_intercept else {}
    for part, margins in zip(parts, margins_of([p.factors for p in parts]), strict=True):
        lower = [mean, R[:, blocks == 0], *(parts[m].columns for m in margins)]
        found.setdefault(part.block, []).append(_freed(part.columns, np.column_stack(lower)))
    bases = {k: np.column_stack(own) for k, own in found.items()}
    short = [k for k, basis in bases.items() if basis.shape[1] < (blocks == k).sum()]
    if held and not d.has_intercept and len(short) == 1:
        bases[short[0]] = np.column_stack([mean, bases[short[0]]])
    elif short or (held and not d.has_intercept):
        # several terms make the constant together: one block
        blocks = np.where(blocks == 0, 0, 1)
        rest = _freed(R[:, blocks == 1], mean)
        bases = {0: mean, 1: rest} if d.has_intercept else {1: np.column_stack([mean, rest])}
        short = [1]
    W = np.empty_like(R)
    for k, basis in bases.items():
        W[:, blocks == k] = basis
    place = -1 if not held else 0 if d.has_intercept else int(np.flatnonzero(blocks == short[0])[0])
    return blocks, W, place


@dataclass(frozen=True, eq=False)
class _Part:
    """What a product of predictors adds to X: the block it stands in, its predictors and columns (m, k)."""

    block: int
    factors: tuple[Node, ...]
    columns: Floats


def _parts(spec: ModelSpec, block: int, columns: Floats) -> list[_Part]:
    """A term, after the margins with all its numeric predictors that it holds too, as x in x:f beside no x."""
    encoding = spec.design.encoding
    factors = encoding.fixed.terms[block - 1].factors
    full = fully_coded(encoding.fixed, encoding.templates)[block - 1]
    widths = [n_columns(encoding.templates[f], full=f in full) for f in factors]
    out = [_Part(block, factors, columns)] if columns.shape[1] else []
    if full and len(full) < len(factors) and columns.shape[1] == prod(widths):
        table = columns.reshape(len(columns), *widths[::-1])  # the first factor's columns move fastest
        for size in range(1, len(full) + 1):
            for summed in combinations([f for f in factors if f in full], size):
                axes = tuple(len(factors) - factors.index(f) for f in summed)
                margin = table.sum(axis=axes).reshape(len(columns), -1)
                out.insert(0, _Part(block, tuple(f for f in factors if f not in summed), margin))
    return out


def _freed(columns: Floats, below: Floats) -> Floats:
    """An orthonormal basis of what `columns` (m, k) add to the span of `below`, one by one where all add something."""
    lengths = np.linalg.norm(columns, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)
    left = columns / lengths
    for _ in range(2):  # once more, for the rounding of the first
        left = left - np.column_stack([below @ _slopes(below, column) for column in left.T] or [left])
    Q, T = np.linalg.qr(left)
    if (np.abs(np.diag(T)) > ROUNDING).all() and Q.shape[1] == columns.shape[1]:
        return np.asarray(Q * np.where(np.diag(T) < 0, -1.0, 1.0))
    U, s, _ = np.linalg.svd(left, full_matrices=False)
    return np.asarray(U[:, s > ROUNDING])
