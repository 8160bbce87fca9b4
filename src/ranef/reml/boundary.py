"""The boundary of the parameter space: snapping, the certificate (``docs/mathematics.md`` §4), and words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ranef.arrays import Bools, Floats
from ranef.reml.optimize import Tracer
from ranef.reml.problem import Point, Problem
from ranef.spec import ModelSpec, TermSpec
from ranef.structures import without_small

__all__ = ["Degeneracy", "boundary_words", "degeneracy", "determined", "escape", "snap"]

#: singular values of an internal λ below this count as zero; lme4's tolerance
NEAR_ZERO = 1e-4


def snap(problem: Problem, tracer: Tracer, point: Point) -> Point:
    """Set nearly vanishing directions of λ to exactly zero where the criterion does not rise."""
    for t in problem.spec.terms:
        lam = t.structure.root(point.theta[t.theta])
        values = np.linalg.svd(lam, compute_uv=False)
        if ((values > 0.0) & (values < NEAR_ZERO)).any():
            theta = point.theta.copy()
            theta[t.theta] = t.structure.closest(without_small(lam, NEAR_ZERO))
            trial = tracer.point(theta, "snap")
            if trial.criterion <= point.criterion + 1e-12 * abs(point.criterion) + 1e-10:
                point = trial
    return point


def escape(spec: ModelSpec, theta: Floats, W: Sequence[Floats]) -> Floats | None:
    """Internal θ from which the criterion falls away from the boundary, or None: the certificate holds.

    At a zero direction v the criterion is stationary whatever happens, for it is even in λ; it is a minimum only if
    vᵀWv ≥ 0 on the null space of λᵀ.
    """
    lambdas = spec.lambdas(theta)
    worst, out = -1e-6, None
    for t in spec.terms:
        lam, inner = lambdas[t.grouping][t.where, t.where], W[t.grouping][t.where, t.where]
        J = spec.groupings[t.grouping].n_levels
        null = _null_space(lam)
        if null.shape[1] == 0:
            continue
        slopes, directions = t.structure.falls(inner, null)
        lowest = int(np.argmin(slopes))
        if slopes[lowest] / J < worst:
            worst = slopes[lowest] / J
            out = theta.copy()
            # for one number of several columns, each must have its part
            out[t.theta] = t.structure.closest(np.hstack([lam, 0.1 * directions[:, [lowest]]]))
    return out


def _null_space(lam: Floats) -> Floats:
    """Columns that span the null space of λᵀ."""
    left, values, _ = np.linalg.svd(lam)
    return np.asarray(left[:, values < NEAR_ZERO])


def _rank(lam: Floats) -> int:
    return int((np.linalg.svd(lam, compute_uv=False) >= NEAR_ZERO).sum())


def boundary_words(problem: Problem, theta: Floats) -> str:
    """Which variance is zero or which correlation ±1 at internal `theta`, in plain words; empty for an interior fit.

    On columns of unit mean square zero is lme4's rule, an entry of θ below 1e-4, whatever the units of the data. What
    the data do not determine is not at a boundary, wherever the optimiser left it.
    """
    maps = problem.maps
    words = []
    for t in problem.spec.terms:
        lam = t.structure.root(theta[t.theta])
        if _rank(lam) < t.structure.size:
            at = degeneracy(lam, maps[t.grouping][t.where, t.where])
            words.append(_term_words(t, determined(t, at, problem.undetermined.entries)))
    return " ".join(w for w in words if w)


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
    rank, places = _rank(lam), np.flatnonzero(live)
    if rank >= len(places):
        return Degeneracy(live, (), rank)
    unit = root[live] / sd[live][:, None]
    corr = unit @ unit.T
    pairs = [(i, j) for j in range(len(places)) for i in range(j) if abs(corr[i, j]) > 1 - 1e-6]
    perfect = tuple((int(places[i]), int(places[j]), 1 if corr[i, j] > 0 else -1) for i, j in pairs)
    return Degeneracy(live, perfect, rank)


def _term_words(term: TermSpec, at: Degeneracy) -> str:
    """Words for what is on the boundary in one term."""
    if not at.live.any() and at.live.size > 1:
        return f"All variances of {term.group} are estimated as zero."
    words = [
        f"The variance of {c} by {term.group} is estimated as zero."
        for c, alive in zip(term.columns, at.live, strict=True)
        if not alive
    ]
    for i, j, sign in at.perfect:
        edge = "+1" if sign > 0 else "−1"
        words.append(f"The correlation of {term.columns[i]} and {term.columns[j]} by {term.group} is put at {edge}.")
    if at.rank < at.live.sum() and not at.perfect:
        words.append(f"The covariance matrix of {term.group} has rank {at.rank} instead of {at.live.size}.")
    return " ".join(words)
