"""The boundary of the parameter space: snapping, the certificate, and what to say about it."""

from __future__ import annotations

import numpy as np

from ranef.arrays import Floats
from ranef.likelihood import Score
from ranef.reml.optimize import Tracer
from ranef.reml.problem import Point, Problem
from ranef.spec import ModelSpec, TermSpec, lower_root

__all__ = ["boundary_words", "escape", "is_singular", "snap"]

#: singular values of an internal λ below this are candidates for exact zeros
NEAR_ZERO = 1e-4

#: lme4's tolerance on θ for calling a fit singular
SINGULAR_THETA = 1e-4


def snap(problem: Problem, tracer: Tracer, point: Point) -> Point:
    """Set nearly vanishing directions of λ to exactly zero where the criterion does not rise."""
    for t in problem.spec.terms:
        lam = t.template.fill(point.theta[t.theta])
        snapped = _without_small_directions(t, lam)
        if not np.array_equal(snapped, lam):
            theta = point.theta.copy()
            theta[t.theta] = t.template.read(snapped)
            trial = tracer.point(theta, "snap")
            if trial.criterion <= point.criterion + 1e-12 * abs(point.criterion) + 1e-10:
                point = trial
    return point


def _without_small_directions(term: TermSpec, lam: Floats) -> Floats:
    if term.template.kind != "us":
        return np.asarray(np.where(np.abs(lam) < NEAR_ZERO, 0.0, lam))
    left, values, right = np.linalg.svd(lam)
    if values[-1] >= NEAR_ZERO or values[-1] == 0.0:
        return lam
    return lower_root((left * np.where(values < NEAR_ZERO, 0.0, values)) @ right)


def escape(problem: Problem, point: Point, first: Score) -> Floats | None:
    """θ from which the criterion falls away from the boundary, or None: the certificate holds.

    At a zero direction v the criterion is stationary whatever happens, for it is even in λ; it is a minimum only if
    vᵀWv ≥ 0 on the null space of λᵀ.
    """
    W, lambdas = problem.W(first), problem.spec.lambdas(point.theta)
    worst, out = -1e-6, None
    for t in problem.spec.terms:
        lam, inner = lambdas[t.grouping][t.where, t.where], W[t.grouping][t.where, t.where]
        J = problem.spec.groupings[t.grouping].n_levels
        null = _null_space(t, lam)
        if null.shape[1] == 0:
            continue
        values, vectors = np.linalg.eigh(null.T @ inner @ null)
        if t.template.kind == "diag":
            values, vectors = np.diag(null.T @ inner @ null), np.eye(null.shape[1])
        elif t.template.kind == "ident":
            values, vectors = np.array([np.trace(inner)]), np.ones((null.shape[1], 1))
        lowest = int(np.argmin(values))
        if values[lowest] / J < worst:
            worst = values[lowest] / J
            direction = null @ vectors[:, [lowest]]
            out = point.theta.copy()
            out[t.theta] = t.template.read(_with_direction(t, lam, 0.1 * direction))
    return out


def _null_space(term: TermSpec, lam: Floats) -> Floats:
    """Columns that span the null space of λᵀ."""
    left, values, _ = np.linalg.svd(lam)
    null = left[:, values < NEAR_ZERO]
    return null if term.template.kind == "us" else np.eye(len(lam))[:, np.diag(lam) < NEAR_ZERO]


def _with_direction(term: TermSpec, lam: Floats, direction: Floats) -> Floats:
    if term.template.kind == "us":
        return lower_root(np.hstack([lam, direction]))
    return np.asarray(lam + np.diag(np.abs(direction[:, 0])))


def is_singular(spec: ModelSpec, theta: Floats) -> bool:
    """lme4's rule: some diagonal entry of the user's λ below 1e-4."""
    return any(
        theta[t.theta][i] < SINGULAR_THETA for t in spec.terms for i, flag in enumerate(t.template.on_diagonal) if flag
    )


def boundary_words(spec: ModelSpec, theta: Floats) -> str:
    """Which variance is zero or which correlation ±1, in plain words; empty for an interior fit."""
    return " ".join(s for t in spec.terms if (s := _term_words(t, t.template.fill(theta[t.theta]))))


def _term_words(term: TermSpec, lam: Floats) -> str:
    sd = np.sqrt((lam**2).sum(axis=1))
    if sd.max() < SINGULAR_THETA and sd.size > 1:
        return f"All variances of {term.group} are estimated as zero."
    zero = [c for c, s in zip(term.columns, sd, strict=True) if s < SINGULAR_THETA]
    words = [f"The variance of {c} by {term.group} is estimated as zero." for c in zero]
    live = [i for i, s in enumerate(sd) if s >= SINGULAR_THETA]
    if len(live) < 2 or np.diag(lam)[live].min() >= SINGULAR_THETA:
        return " ".join(words)
    unit = lam[live] / sd[live][:, None]
    corr = unit @ unit.T
    exact = [(i, j) for j in range(len(live)) for i in range(j) if abs(corr[i, j]) > 1 - 1e-6]
    names = [term.columns[i] for i in live]
    words += [
        f"The correlation of {names[i]} and {names[j]} by {term.group} is put at {'+1' if corr[i, j] > 0 else '−1'}."
        for i, j in exact
    ]
    if not exact:
        rank = int((np.linalg.svd(lam, compute_uv=False) >= SINGULAR_THETA).sum())
        words.append(f"The covariance matrix of {term.group} has rank {rank} instead of {len(sd)}.")
    return " ".join(words)
