"""The boundary of the parameter space: snapping, the certificate (``docs/mathematics.md`` §4), and words for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from _ranef.likelihood import NEAR_ZERO, Degeneracy, degeneracy, determined, rank_of
from _ranef.reml.optimize import Tracer
from _ranef.reml.problem import Minimand, Point, Problem
from _ranef.spec import ModelSpec, TermSpec
from _ranef.structures import without_small
from _ranef.support.arrays import Floats

__all__ = ["boundary_words", "escape", "snap"]

#: share of the interval of a shape from its end that counts as the end
AT_END = 1e-6

#: sds of random effects, relative to σ, from which σ may be zero; and the information about their common size below
#: which it is (of an optimum with σ > 0 it is of the order of the number of levels)
VAST, UNBOUNDED = 100.0, 1e-3


def snap(problem: Minimand, tracer: Tracer, point: Point) -> Point:
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
        slopes, directions = t.structure.falls(inner, null, lam)
        if not slopes.size:
            continue
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


def boundary_words(problem: Problem, point: Point) -> str:
    """Which variance is zero or which correlation ±1 at `point`, in plain words; empty for an interior fit.

    On columns of unit mean square zero is lme4's rule, an entry of θ below 1e-4, whatever the units of the data. What
    the data do not determine is not at a boundary, wherever the optimiser left it.
    """
    theta, maps = point.theta, problem.maps
    words = _residual_words(problem, point)
    for t in problem.spec.terms:
        lam = t.structure.root(theta[t.theta])
        if rank_of(lam) < t.structure.size:
            at = degeneracy(lam, maps[t.grouping][t.where, t.where])
            words.append(_term_words(t, determined(t, at, problem.undetermined.entries), theta[t.theta]))
            normal = problem.spec.family.collapses and problem.spec.correlation is None
            if words[-1] and normal and len(problem.spec.terms) == 1:
                words += _other_sign(t)
    return " ".join(w for w in words if w)


def _residual_words(problem: Problem, point: Point) -> list[str]:
    """Words for a residual variance of zero: the criterion falls for ever as all random effects grow beside it."""
    sds = np.where(problem.spec.on_diagonal, point.theta, 0.0)
    if problem.spec.sigma is not None or problem.undetermined.entries.any() or not (np.abs(sds) > VAST).any():
        return []
    if sds @ problem.information(point) @ sds > UNBOUNDED:
        return []
    return [
        "The residual variance is estimated as zero: the random effects take up all that the fixed effects leave, and "
        "sigma would go on falling. Fewer effects of each level, or sigma= where it is known, leave some to it."
    ]


def _other_sign(term: TermSpec) -> list[str]:
    """What else a variance of zero may be a sign of, where the intercept is the only effect."""
    if term.columns != ("Intercept",):
        return []
    return [
        "Rows of one level may even be correlated negatively, which no variance can show: "
        f"correlation=ranef.CompSymm(group={term.group!r}) without this term can."
    ]


def _term_words(term: TermSpec, at: Degeneracy, theta: Floats) -> str:
    """Words for what is on the boundary in one term."""
    if not at.live.any() and at.live.size > 1:
        return f"All variances of {term.group} are estimated as zero."
    words = [
        f"The variance of {c} by {term.group} is estimated as zero."
        for c, alive in zip(term.columns, at.live, strict=True)
        if not alive
    ]
    if term.structure.shapes:
        return " ".join([*words, *_shape_words(term, theta)])
    for i, j, sign in at.perfect:
        edge = "+1" if sign > 0 else "−1"
        words.append(f"The correlation of {term.columns[i]} and {term.columns[j]} by {term.group} is put at {edge}.")
    if at.rank < at.live.sum() and not at.perfect:
        words.append(f"The covariance matrix of {term.group} has rank {at.rank} instead of {at.live.size}.")
    return " ".join(words)


def _shape_words(term: TermSpec, theta: Floats) -> list[str]:
    """Words for the shapes of one term that are at an end of their interval."""
    own = term.structure.shapes
    out = []
    for s, x in zip(own, (s.value(u) for s, u in zip(own, theta[len(theta) - len(own) :], strict=True)), strict=True):
        if s.bounded and min(x - s.low, s.high - x) < AT_END * (s.high - s.low):
            end = s.low if x - s.low < s.high - x else s.high
            out.append(f"{s.name} of {term.text} is put at {end:.4g}, the end of what is possible.")
    return out
