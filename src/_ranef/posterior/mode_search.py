"""The climb to a mode of a density that is asked for many points together: Newton's method by differences.

A step looks at once at all points that first and second differences need, then at the full step, and where that gains
little at once along the damped steps (C + μD)⁻¹g for many μ, of which the best is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from _ranef.posterior.modes import Laplace, normal_at
from _ranef.support.arrays import Floats

__all__ = ["ascend"]

#: at most so many steps; none is longer, in any coordinate; a climb ends where the next would gain less than `GAIN`
STEPS, LONGEST, GAIN = 60, 4.0, 1e-6

#: step of differences, in standard deviations, and the least and greatest of these that are believed on the way
DIFFERENCE, NARROWEST, WIDEST = 0.02, 1e-4, 1.0

#: share of what the undamped step promises at first order, half of which a parabola gives, that makes others needless
EXPECTED = 0.25

#: by what the curvature is raised, relative to itself
DAMPING = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 15)])

Density = Callable[[Floats], Floats]


def ascend(density: Density, start: Floats) -> Laplace:
    """The mode above `start` (d,) of a log `density` of points (n, d), with its normal approximation."""
    d, count = len(start), 0
    centre, spread = start, np.full(d, 0.1)
    if not d:
        return Laplace(start, np.zeros((0, 0)), 0, 0.0)
    for _ in range(STEPS):
        with np.errstate(invalid="ignore"):  # where the density is no number
            value, slope, curvature = _derivatives(density, centre, DIFFERENCE * spread)
        count += 1 + d * (d + 1)
        if not np.isfinite(curvature).all():
            return normal_at(centre, value, curvature, count)
        sds = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(curvature)), 1.0 / WIDEST**2))
        settled = bool((np.abs(np.log(sds / spread)) < 1.0).all())  # else the differences were of another scale
        spread = np.maximum(sds, NARROWEST)
        steps = _damped(slope, curvature, spread)
        values = density(centre + steps[:1])
        if float(values[0]) - value < EXPECTED * float(slope @ steps[0]):
            values = np.concatenate([values, density(centre + steps[1:])])
        count += len(values)
        best = int(np.argmax(values))
        gain = float(values[best]) - value
        if gain > 0.0:
            centre = centre + steps[best]
        if gain < GAIN and settled:
            break
    return normal_at(centre, max(float(values[best]), value), curvature, count)


def _derivatives(density: Density, at: Floats, h: Floats) -> tuple[float, Floats, Floats]:
    """Value, slope (d,) and minus the second derivatives (d, d) by central differences of steps `h` (d,)."""
    d, steps = len(at), np.diag(h)
    i, j = np.triu_indices(d, 1)
    both = steps[i] + steps[j]
    values = density(at + np.concatenate([np.zeros((1, d)), steps, -steps, both, -both]))
    f, up, down = values[0], values[1 : 1 + d], values[1 + d : 1 + 2 * d]
    upper, lower = np.split(values[1 + 2 * d :], 2)
    second = np.diag(up + down - 2.0 * f)
    second[i, j] = 0.5 * (upper + lower - up[i] - up[j] - down[i] - down[j] + 2.0 * f)
    second[j, i] = second[i, j]
    return float(f), (up - down) / (2.0 * h), -second / np.outer(h, h)


def _damped(slope: Floats, curvature: Floats, spread: Floats) -> Floats:
    """Steps (n, d), the more damped the shorter; directions in which the density bends up are taken for their size."""
    values, vectors = np.linalg.eigh(curvature * np.outer(spread, spread))
    along = vectors.T @ (slope * spread)
    bent = np.maximum(np.abs(values), 1e-3)
    steps = (along / (bent + DAMPING[:, None])) @ vectors.T * spread
    longest = np.abs(steps).max(axis=1, keepdims=True)
    return np.asarray(steps * np.minimum(1.0, LONGEST / np.maximum(longest, 1e-300)))
