"""Linear predictors of levels along a covariate.

What does not depend on the covariate is held at the mean over the level's own rows (columns of X and Z, offset, effects
of other grouping factors), and so is the partner of the covariate in an interaction. Where the covariate enters through
curves, there is the mean of the level's own rows at each of its values, and so along a factor at each category.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.inference.covariates import FREE, TIMES, Covariate
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["Cells", "level_cells", "level_means", "predictor", "predictor_draws"]

#: posterior draws taken, evenly chosen
DRAWS = 1000

#: numbers held at once when draws are evaluated
MOST = 20_000_000


@dataclass(frozen=True)
class Cells:
    """Pairs of a level and a value of the covariate.

    Attributes
    ----------
    level : array of int (m,)
        Place among the levels shown.
    x : array (m,)
    X, Z : array (m, p) and tuple of array (m, p_k)
        Columns of the design there.
    shares : tuple of sparse array (levels, J_k)
        Share of the levels of every grouping factor in the rows of each level shown.
    offset : array (m,)
    rows, place : array of int (r,)
        Rows of the levels shown, and the place of each one's level among them.
    """

    level: Ints
    x: Floats
    X: Floats
    Z: tuple[Floats, ...]
    shares: tuple[scipy.sparse.csr_array, ...]
    offset: Floats
    rows: Ints
    place: Ints


def level_cells(spec: ModelSpec, k: int, covariate: Covariate | None, shown: Ints) -> Cells:
    """The distinct values of the covariate in every level `shown` of grouping `k`, with the design's columns there."""
    spec = spec.held
    design, grouping = spec.design, spec.groupings[k]
    places = np.full(grouping.n_levels, -1, dtype=np.intp)
    places[shown] = np.arange(len(shown))
    place = places[grouping.codes]
    rows = np.flatnonzero(place >= 0)
    place = place[rows]
    x = np.zeros(len(rows)) if covariate is None else covariate.values[rows]
    distinct, rank = np.unique(x, return_inverse=True)
    pairs, cell = np.unique(place * len(distinct) + rank, return_inverse=True)
    level, at = pairs // len(distinct), distinct[pairs % len(distinct)]
    at_cells = _Spread(x, place, len(shown), cell, level, at)
    none = tuple(np.full(len(g.columns), FREE) for g in spec.groupings)
    fixed, random = (np.full(spec.n_fixed, FREE), none) if covariate is None else (covariate.fixed, covariate.random)
    Z = tuple(at_cells.columns(g.Z[rows], how) for g, how in zip(spec.groupings, random, strict=True))
    offset = np.zeros(len(level)) if design.offset is None else at_cells.held(design.offset[rows, None])[:, 0]
    shares = tuple(_shares(place, g.codes[rows], (len(shown), g.n_levels)) for g in spec.groupings)
    return Cells(level, at, at_cells.columns(design.X[rows], fixed), Z, shares, offset, rows, place)


@dataclass(frozen=True)
class _Spread:
    """From rows to cells: covariate, level and cell of each row (n,); level and covariate of each cell (m,)."""

    x: Floats
    place: Ints
    n_levels: int
    cell: Ints
    level: Ints
    at: Floats

    def columns(self, values: Floats, how: Ints) -> Floats:
        """Columns (n, p) of rows as columns (m, p) of cells, by their dependence on the covariate."""
        out = np.empty((len(self.at), values.shape[1]))
        moves = self.x != 0
        partner = np.divide(values, self.x[:, None], out=np.zeros(values.shape), where=moves[:, None])
        for j, kind in enumerate(how):
            if kind == FREE:
                out[:, j] = self.held(values[:, [j]])[:, 0]
            elif kind == TIMES:
                out[:, j] = self.at * level_means(partner[moves, j], self.place[moves], self.n_levels)[self.level]
            else:
                out[:, j] = level_means(values[:, j], self.cell, len(self.at))
        return out

    def held(self, values: Floats) -> Floats:
        """Columns (n, p) at their means by level."""
        means = [level_means(values[:, j], self.place, self.n_levels)[self.level] for j in range(values.shape[1])]
        return np.column_stack(means)


def _shares(place: Ints, codes: Ints, shape: tuple[int, int]) -> scipy.sparse.csr_array:
    weight = 1.0 / np.bincount(place, minlength=shape[0])[place]
    return scipy.sparse.csr_array((weight, (place, codes)), shape=shape)


def predictor(cells: Cells, beta: Floats, effects: Sequence[Floats] | None = None) -> Floats:
    """The linear predictor (m,) at β̂ and effects (J_k, p_k) by grouping; without these that of the population.

    Effects of other grouping factors are the mean over the level's own rows.
    """
    fixed = cells.X @ beta + cells.offset
    if effects is None:
        return np.asarray(fixed)
    random = np.zeros(len(cells.x))
    for Z, share, b in zip(cells.Z, cells.shares, effects, strict=True):
        random += np.einsum("mp,mp->m", Z, (share @ b)[cells.level])
    return np.asarray(fixed + random)


def predictor_draws(cells: Cells, draws: PosteriorDraws) -> Floats:
    """Posterior draws (S, m) of the linear predictor."""
    total = draws.sigma.size
    S = max(2, min(total, DRAWS, MOST // max(1, len(cells.x) * max([1, *(Z.shape[1] for Z in cells.Z)]))))
    kept = np.unique(np.linspace(0, total - 1, min(total, S)).round().astype(np.intp))
    out = draws.beta.reshape(total, -1)[kept] @ cells.X.T + cells.offset
    for Z, share, b in zip(cells.Z, cells.shares, draws.b, strict=True):
        J, p = b.shape[2:]
        flat = b.reshape(total, J, p)[kept].transpose(1, 0, 2).reshape(J, -1)
        mixed = (share @ flat).reshape(-1, len(kept), p)[cells.level]
        out += np.einsum("mp,msp->sm", Z, mixed)
    return np.asarray(out)


def level_means(values: Floats, codes: Ints, n: int) -> Floats:
    """Means (n,) of values by code; zero where there are none."""
    count = np.bincount(codes, minlength=n)
    return np.asarray(np.bincount(codes, values, minlength=n) / np.maximum(count, 1))
