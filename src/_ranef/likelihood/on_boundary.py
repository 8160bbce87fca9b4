"""What stands on the boundary at a θ: variances that are zero, correlations that are ±1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.spec import TermSpec
from _ranef.support.arrays import Bools, Floats

__all__ = ["NEAR_ZERO", "Degeneracy", "degeneracy", "determined", "rank_of"]

#: singular values of an internal λ below this count as zero; lme4's tolerance
NEAR_ZERO = 1e-4


@dataclass(frozen=True)
class Degeneracy:
    """What is on the boundary in one term.

    Attributes
    ----------
    live : array of bool (p,)
        Which sds are not zero.
    perfect : tuple of (int, int, int)
        Pairs i < j of columns whose correlation is ±1, with its sign.
    rank : int
    """

    live: Bools
    perfect: tuple[tuple[int, int, int], ...]
    rank: int


def degeneracy(lam: Floats, column_map: Floats) -> Degeneracy:
    """What is on the boundary at an internal λ (p, p); `column_map` leads from internal to user columns."""
    root = column_map @ lam
    rms = np.sqrt((np.linalg.inv(column_map) ** 2).sum(axis=0))
    sd = np.sqrt((root**2).sum(axis=1))
    live = sd * rms >= NEAR_ZERO
    rank, places = rank_of(lam), np.flatnonzero(live)
    if rank >= len(places):
        return Degeneracy(live, (), rank)
    unit = root[live] / sd[live][:, None]
    corr = unit @ unit.T
    pairs = [(i, j) for j in range(len(places)) for i in range(j) if abs(corr[i, j]) > 1 - 1e-6]
    perfect = tuple((int(places[i]), int(places[j]), 1 if corr[i, j] > 0 else -1) for i, j in pairs)
    return Degeneracy(live, perfect, rank)


def rank_of(lam: Floats) -> int:
    """Rank of a root for standard columns, by :data:`NEAR_ZERO`."""
    return int((np.linalg.svd(lam, compute_uv=False) >= NEAR_ZERO).sum())


def determined(term: TermSpec, at: Degeneracy, undetermined: Bools) -> Degeneracy:
    """What is on the boundary, without what the data do not determine; `undetermined` (n_theta,) is of the whole θ."""
    touched = term.structure.touched(np.ones(term.structure.n_theta))
    lost = np.asarray((touched & undetermined[term.theta][:, None, None]).any(axis=0))
    if not lost.any():
        return at
    lost |= lost.T
    live = at.live | np.diag(lost)
    perfect = tuple((i, j, sign) for i, j, sign in at.perfect if not (lost[i, j] or lost[i, i] or lost[j, j]))
    return Degeneracy(live, perfect, int(live.sum()))
