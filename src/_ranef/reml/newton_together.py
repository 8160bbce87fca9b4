"""Newton's method for many responses, or from many starts, together: see :mod:`_ranef.reml.newton` for its steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from _ranef.likelihood import Batch, BatchPoint, evaluate_together, have_digits, slopes_together
from _ranef.reml.newton import (
    EM_STEPS,
    FLAT,
    NEAR,
    TOLERANCE,
    apart,
    bending,
    em_thetas,
    least_curvature,
    lowers_enough,
    newton_steps,
    shortened,
    without_held,
)
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = ["descend_together", "start_thetas"]

#: Newton steps, and halvings of one
ITERATIONS, HALVINGS = 40, 25

#: share of a column's sum of squares that the random effects must leave for sums to be believed
TRUSTED = 1e-11

Watch = Callable[[str, Ints, BatchPoint], None]


def start_thetas(batch: Batch, theta: Floats) -> Floats:
    """The same internal θ for every response, its diagonal kept off zero, where every criterion is stationary."""
    out = np.array(theta, dtype=float)
    for t in batch.spec.terms:
        diagonal, part = t.structure.on_diagonal, out[t.theta]
        part[diagonal] = np.where(np.abs(part[diagonal]) < 0.1, 0.1, part[diagonal])
    return np.tile(out, (len(batch.yy), 1))


def descend_together(
    batch: Batch,
    theta: Floats,
    watch: Watch | None = None,
    *,
    one_response: bool = False,
    fixed: Bools | None = None,
) -> tuple[BatchPoint, Floats]:
    """Minimise every criterion from its own internal θ; the points, and the Newton decrements left there (B,).

    `watch` is told of every evaluation: its kind, the responses that took part, their θ and criteria. Where all are
    starts of `one_response`, a path ends as soon as it comes into the basin of a lower one. Entries of θ that are
    `fixed` (n_theta,) stay as they are. No path goes where the sums have lost their digits.
    """
    moves = 1.0 if fixed is None else 1.0 - fixed
    everybody = np.arange(len(theta))
    watch = watch or (lambda kind, which, point: None)
    whole = evaluate_together(batch, theta)
    watch("start", everybody, whole)
    for _ in range(EM_STEPS):
        swept = em_thetas(batch.spec, whole.theta, slopes_together(batch, whole).W)
        trial = evaluate_together(batch, whole.theta + moves * (swept - whole.theta))
        watch("em", everybody, trial)
        better = np.flatnonzero(trial.criterion <= whole.criterion)  # but for rounding, and where it is no number
        whole = whole.put(better, trial.only(better))
    decrements = np.full(len(theta), np.inf)
    active = np.arange(len(theta))
    for _ in range(ITERATIONS):
        part, at = batch.only(active), whole.only(active)
        slopes = slopes_together(part, at)
        curvature = slopes.information + bending(batch.spec, at.theta, slopes.W)
        finite = np.isfinite(slopes.gradient).all(axis=1) & np.isfinite(curvature).all(axis=(1, 2))
        if not finite.all():  # so far out that sums have lost all digits
            decrements[active[~finite]] = np.inf
            active = active[finite]
            if not active.size:
                break
            continue
        gradient, bent = without_held(batch.spec, at.theta, slopes.gradient, curvature)
        full = newton_steps(at.theta, gradient, bent, least_curvature(batch.spec, at.theta, FLAT))
        step = moves * shortened(batch.spec, full)
        left = -(gradient * step).sum(axis=1)
        decrements[active] = left
        going = left >= TOLERANCE
        if one_response:
            going &= ~_overtaken(batch, whole, active, left)
        if not going.any():
            break
        rows = np.flatnonzero(going)
        told = partial(_told, watch, active[rows])
        lower, moved = _search(part.only(rows), at.only(rows), step[rows], left[rows], told)
        whole = whole.put(active[going], lower)
        active = active[going][moved]
        if not active.size:
            break
    return whole, decrements


def _overtaken(batch: Batch, whole: BatchPoint, active: Ints, left: Floats) -> Bools:
    """Which active paths are about to arrive where another one is already, or is about to arrive first."""
    near = apart(batch.spec, whole.theta[active], whole.theta) < NEAR
    ahead = whole.criterion[None] < whole.criterion[active, None] - 1e-12 * np.abs(whole.criterion[active, None])
    return np.asarray((left < 1.0) & (near & ahead).any(axis=1))


def _told(watch: Watch, names: Ints, kind: str, which: Ints, point: BatchPoint) -> None:
    watch(kind, names[which], point)


def _search(batch: Batch, at: BatchPoint, step: Floats, decrement: Floats, watch: Watch) -> tuple[BatchPoint, Bools]:
    """The first of the full step and its halves that lowers each criterion, and which responses found one."""
    waiting, far = np.arange(len(step)), np.zeros(len(step), dtype=bool)
    length = 1.0
    found = at
    for _ in range(HALVINGS):
        tried = batch.spec.allowed(at.theta[waiting] + length * step[waiting])
        trial = evaluate_together(batch.only(waiting), tried)
        watch("newton" if length == 1.0 else "halved", waiting, trial)
        good = lowers_enough(at.criterion[waiting], trial.criterion, length, decrement[waiting])
        trusted = have_digits(batch.only(waiting), trial, TRUSTED)
        far[waiting[good & ~trusted]] = True  # the path leads to where nothing can be told: it ends here
        good &= trusted
        found = found.put(waiting[good], trial.only(np.flatnonzero(good)))
        waiting = waiting[~good & ~far[waiting]]
        if not waiting.size:
            break
        length /= 2.0
    moved = np.ones(len(step), dtype=bool)
    moved[waiting] = False
    moved[far] = False
    return found, moved
