"""What Newton's method and EM do at a point, for any number of points at once: arrays begin with the points (B, ...).

Other parameters may stand behind θ, which EM leaves alone, and of which no least curvature is known.

The mathematics is in ``docs/mathematics.md`` §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from _ranef.spec import ModelSpec
from _ranef.support.arrays import Bools, Floats

__all__ = [
    "EM_STEPS",
    "FLAT",
    "NEAR",
    "TOLERANCE",
    "apart",
    "bending",
    "em_thetas",
    "least_curvature",
    "lowers_enough",
    "newton_steps",
    "shortened",
    "without_held",
]

#: EM sweeps before the first Newton step, and the decrement at which there is none more, unless users say otherwise
EM_STEPS, TOLERANCE = 2, 1e-11

#: relative curvature below which a direction counts as flat
FLAT = 1e-7

#: distance, as of :func:`apart`, within which two points are taken to lie in one basin
NEAR = 0.1

#: internal θ that is as good as zero
NEXT_TO_ZERO = 1e-6

#: longest step of the coordinate of a shape: with a longer one a correlation jumps over valleys
LONGEST_IN_SHAPES = 2.0

#: slope along a flat direction, in units of its least curvature, that is rounding
NO_SLOPE = 1e-9


def apart(spec: ModelSpec, thetas: Floats, others: Floats) -> Floats:
    """How far θ (A, n_theta) are from others (B, n_theta), beside the size of each term there: (A, B).

    λ of one covariance differ by signs of columns, which count for nothing; the sign of a correlation does.
    """
    out = np.zeros((len(thetas), len(others)))
    for t in spec.terms:
        ours, theirs = (_upright(t.structure.root(theta[:, t.theta])) for theta in (thetas, others))
        size = 1.0 + np.abs(theirs).max(axis=1)
        out = np.maximum(out, np.abs(ours[:, None] - theirs).max(axis=2) / size)
    return out


def _upright(lambdas: Floats) -> Floats:
    """λ (B, p, p) with columns turned so that no diagonal is negative, as rows (B, p²)."""
    signs = np.where(np.diagonal(lambdas, axis1=1, axis2=2) < 0.0, -1.0, 1.0)
    return np.asarray(lambdas * signs[:, None, :]).reshape(len(lambdas), -1)


def em_thetas(spec: ModelSpec, theta: Floats, W: Sequence[Floats]) -> Floats:
    """One EM sweep λλᵀ ← λ(I − λᵀWλ/J)λᵀ from θ (B, n_theta), with W_k (B, p_k, p_k) by grouping."""
    out = theta.copy()
    for t in spec.terms:
        lam, inner = t.structure.root(theta[:, t.theta]), W[t.grouping][:, t.where, t.where]
        J = spec.groupings[t.grouping].n_levels
        moments = np.eye(t.structure.size) - np.swapaxes(lam, 1, 2) @ inner @ lam / J
        out[:, t.theta] = t.structure.closest(lam @ _positive_roots(moments))
    return out


def _positive_roots(stack: Floats) -> Floats:
    """Square roots of matrices (B, p, p) that are positive semi-definite but for rounding; I where they are no numbers.

    Numbers are lost far out, where there is no EM step.
    """
    try:
        return np.linalg.cholesky(stack)
    except np.linalg.LinAlgError:
        out = np.broadcast_to(np.eye(stack.shape[1]), stack.shape).copy()
        for at in np.flatnonzero(np.isfinite(stack).all(axis=(1, 2))):
            values, vectors = np.linalg.eigh(stack[at])
            out[at] = vectors * np.sqrt(np.maximum(values, 0.0))
            with suppress(np.linalg.LinAlgError):
                out[at] = np.linalg.cholesky(stack[at])
        return out


def bending(spec: ModelSpec, theta: Floats, W: Sequence[Floats]) -> Floats:
    """The curvature 2W₊ ⊗ I (B, n_theta, n_theta) that rules near a boundary, at θ (B, n_theta).

    The average information vanishes with λ, while there the criterion is λᵀWλ to second order; at an interior optimum
    W λ = 0, and this term is gone.
    """
    derivatives = spec.root_derivatives(theta)
    B, n = theta.shape
    out = np.zeros((B, n, n))
    groups = np.array([t.grouping for t, _ in derivatives])
    for k, inner in enumerate(W):
        own = np.flatnonzero(groups == k)
        if not own.size:
            continue
        roots = np.stack([np.broadcast_to(derivatives[i][1], inner.shape) for i in own], axis=1)
        bent = _positive_part(inner)[:, None] @ roots
        flat = roots.reshape(B, len(own), -1)
        out[:, own[:, None], own] = 2.0 * flat @ np.swapaxes(bent.reshape(flat.shape), 1, 2)
    return out


def _positive_part(stack: Floats) -> Floats:
    """Symmetric matrices (B, p, p) without their negative eigenvalues; NaN where they are no numbers."""
    finite = np.asarray(np.isfinite(stack).all(axis=(1, 2)))[:, None, None]
    values, vectors = np.linalg.eigh(np.where(finite, stack, 0.0))
    out = (vectors * np.maximum(values, 0.0)[:, None]) @ np.swapaxes(vectors, 1, 2)
    return np.where(finite, out, np.nan)


def least_curvature(spec: ModelSpec, theta: Floats, share: float) -> Floats:
    """A share of the natural size of the curvature of every θ (B, n_theta) on the internal scale.

    A signal as large as the noise bends the criterion by the number of levels; where λ is large, by that over λ², for
    there the criterion is a function of log λ.
    """
    out: Floats = np.full(theta.shape, share)
    for t in spec.terms:
        size = np.maximum(1.0, np.abs(t.structure.root(theta[:, t.theta])).max(axis=2))  # of every row of λ
        rows = t.structure.touched(theta[0, t.theta]).any(axis=2)
        widest = np.where(rows, size[:, None, :], 1.0).max(axis=2)
        out[:, t.theta] = share * spec.groupings[t.grouping].n_levels / widest**2
    return out


def without_held(spec: ModelSpec, theta: Floats, gradient: Floats, curvature: Floats) -> tuple[Floats, Floats]:
    """Gradients and curvatures without parameters at zero that would have to be negative to lower the criterion.

    What is next to zero goes there by a step of its own.
    """
    if not spec.not_negative.any():
        return gradient, curvature
    held, n = np.zeros(theta.shape, dtype=bool), spec.n_theta
    held[:, :n] = spec.not_negative & (theta[:, :n] <= NEXT_TO_ZERO) & (gradient[:, :n] > 0.0)
    free = ~held[:, :, None] & ~held[:, None, :]
    unit = np.eye(theta.shape[1]) * np.maximum(np.diagonal(curvature, axis1=1, axis2=2), 1.0)[:, None]
    own = theta * np.diagonal(unit, axis1=1, axis2=2)
    return np.asarray(np.where(held, own, gradient)), np.asarray(np.where(free, curvature, unit))


def shortened(spec: ModelSpec, steps: Floats) -> Floats:
    """Steps (..., n_theta) in which coordinates of shapes go no further than they may at once."""
    if not spec.is_shape.any():
        return steps
    longest = np.full(steps.shape[-1], np.inf)
    longest[: spec.n_theta][spec.is_shape] = LONGEST_IN_SHAPES
    return np.clip(steps, -longest, longest)


def newton_steps(theta: Floats, gradient: Floats, curvature: Floats, smallest: Floats) -> Floats:
    """Steps (B, n_theta) with curvatures raised to a floor, none ten times as long as θ.

    `smallest` (B, n_theta) is the least curvature believed of each parameter; where the matrix shows less (a criterion
    that falls without end) the step is long, and the line search decides; where it is flat but for rounding there is
    no step.
    """
    scale = np.sqrt(np.maximum(np.diagonal(curvature, axis1=1, axis2=2), smallest))
    values, vectors = np.linalg.eigh(curvature / (scale[:, :, None] * scale[:, None, :]))
    turned = np.einsum("bji,bj->bi", vectors, gradient / scale)
    turned = np.where((values < FLAT) & (np.abs(turned) < NO_SLOPE), 0.0, turned) / np.maximum(values, FLAT)
    step = -np.einsum("bij,bj->bi", vectors, turned) / scale
    longest = 10.0 * np.maximum(1.0, np.abs(theta).max(axis=1, initial=0.0))
    length = np.abs(step).max(axis=1, initial=0.0)
    return np.asarray(step * (longest / np.maximum(length, longest))[:, None])


def lowers_enough(before: Floats, after: Floats, length: float, decrement: Floats) -> Bools:
    """Whether a share `length` of each step lowers criteria (B,) by its part of the decrement, but for rounding."""
    noise = 1e-13 * np.abs(before)
    rounding = np.where(decrement < np.maximum(1e-6, 10.0 * noise), noise, 0.0)
    return np.asarray(after <= before - 1e-4 * length * decrement + rounding)
