"""EM start, Newton with the average information (``docs/mathematics.md`` §4), and the record of the path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any

import numpy as np
import scipy

from _ranef.errors import FitError
from _ranef.likelihood import PERFECT_FIT, At, BatchPoint
from _ranef.reml.newton import EM_STEPS, NEAR, TOLERANCE, apart, lowers_enough
from _ranef.reml.problem import Follow, Minimand, Point
from _ranef.results import OptimizerStep
from _ranef.spec import ModelSpec
from _ranef.support.argument_remedies import helpful, whole_number
from _ranef.support.arrays import Floats, Ints
from _ranef.support.progress import LateBar

__all__ = [
    "Control",
    "Descent",
    "Tracer",
    "by_gradients",
    "checked_control",
    "descend",
    "no_residual_variance",
    "polished",
]

#: a residual sd below this share of the response's root mean square is its rounding
ROUNDING = 50 * float(np.finfo(float).eps)

#: the same share where effects are as many as rows, so that a residual sd this small goes on to zero
NO_RESIDUAL = 1e-7

#: decrements that rounding alone may leave: in general, and where residuals are so small that rows are read again
CLOSE, CLOSE_FROM_ROWS = 1e-8, 1e-5

#: steps in a row that lower the criterion by no more than its rounding before a descent ends
PATIENCE = 8

#: last steps, and the decrement at which there are none left
POLISHING, POLISHED = 8, 1e-19

#: no variance is on the boundary where the diagonal of internal λ is larger
INTERIOR = 1e-3

#: difference of criteria that counts
MATTERS = 1e-3

#: decrement, half of which Newton's method may expect, below which it is believed that there is no more to be had
HOPELESS = 1e-5

#: ratio of successive decrements above which the curvature is corrected by what gradients show
SLOW = 0.3


@helpful
@dataclass(frozen=True)
class Control:
    """Settings of the optimiser.

    Parameters
    ----------
    tolerance : float
        Stop when the Newton decrement falls below this (deviance units).
    em_steps : int
        EM sweeps before Newton's method.
    max_iterations : int
        Newton iterations allowed.
    max_halvings : int
        Step halvings allowed in one iteration.

    Raises
    ------
    FitError
        If `tolerance` is no positive number, or a number of steps no whole one.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> model.fit(control=ranef.Control(em_steps=0)).status
    'converged'
    """

    tolerance: float = TOLERANCE
    em_steps: int = EM_STEPS
    max_iterations: int = 500
    max_halvings: int = 30

    def __post_init__(self) -> None:
        if not (isinstance(self.tolerance, Real) and self.tolerance > 0):
            raise FitError(f"tolerance={self.tolerance!r} must be positive: a number of deviance units.")
        for name in ("em_steps", "max_iterations", "max_halvings"):
            whole_number(name, getattr(self, name), error=FitError)


def checked_control(given: object) -> Control | None:
    """The settings that a user gave, if they are such.

    Raises
    ------
    FitError
        For anything else, as the dict that lme4's ``lmerControl`` gives.
    """
    if given is None or isinstance(given, Control):
        return given
    names = ", ".join(f"{f.name}={f.default!r}" for f in fields(Control))
    theirs = " lme4's optimizer= and optCtrl= have no counterpart: there is one optimiser."
    raise FitError(
        f"control={given!r} must be settings of the optimiser: ranef.Control({names})."
        + (theirs if isinstance(given, str | Mapping) else "")
    )


@dataclass
class Tracer:
    """Evaluates the criterion and writes down every evaluation."""

    problem: Minimand
    bar: LateBar
    steps: list[OptimizerStep] = field(default_factory=list)

    def point(self, theta: Floats, kind: str) -> Point:
        """Evaluate at internal `theta` and record it on the user's scale."""
        point = self.problem.point(theta)
        self.steps.append(OptimizerStep(kind, self.problem.to_written(theta), point.criterion))
        self.bar.update(1, f"criterion {point.criterion:.6f}")
        return point

    def paths(self, looks: Sequence[tuple[str, Ints, BatchPoint]]) -> None:
        """Record evaluations made together, one path from a start after the other."""
        names = np.concatenate([which for _, which, _ in looks])
        kinds = [kind for kind, which, _ in looks for _ in which]
        thetas = self.problem.to_written(np.concatenate([point.theta for _, _, point in looks]))
        criteria = np.concatenate([point.criterion for _, _, point in looks]).tolist()
        for i in np.argsort(names, kind="stable").tolist():
            kind = "restart" if kinds[i] == "start" and names[i] else kinds[i]
            self.steps.append(OptimizerStep(kind, thetas[i], criteria[i]))


def exact(problem: Minimand, point: Point, known: Point | None = None) -> bool:
    """Whether a descent ends at a point without residual variance, for a `known` optimum is no higher.

    Where the random effects explain the response θ grows without end, and there is no optimum.

    Raises
    ------
    FitError
        If there is no such `known` optimum.
    """
    if problem.spec.sigma is not None or not _nothing_left(problem, point.at):
        return False
    if known is not None and known.criterion <= point.criterion + MATTERS:
        return True
    raise no_residual_variance(problem.spec)


def _nothing_left(problem: Minimand, at: At) -> bool:
    """Whether what is left of the response is rounding: of the response itself, or of its sums where these are read."""
    if not at.from_rows:
        return not at.unexplained > PERFECT_FIT
    saturated = problem.least_squares is not None and problem.least_squares.saturated
    least = NO_RESIDUAL if saturated else ROUNDING
    return not at.sigma > least * np.sqrt(problem.products.mean_square)


def no_residual_variance(spec: ModelSpec) -> FitError:
    """The error for a response that the random effects fit exactly."""
    effects = sum(g.n_levels * len(g.columns) for g in spec.groupings)
    cause = (
        "A grouping factor may identify single rows, or the response be constant within groups"
        if effects + spec.n_fixed < spec.n_obs
        else f"With {effects} random effects beside {spec.n_fixed} coefficients there is one for each of the "
        f"{spec.n_obs} rows"
    )
    return FitError(
        f"The residual variance of {spec.design.response!r} is zero: the random effects fit the response "
        f"exactly. {cause}; drop a term, or give the residual standard deviation as sigma=."
    )


@dataclass(frozen=True)
class Descent:
    """Where a descent ended.

    Attributes
    ----------
    point : Point
    decrement : float
    curvature : array (n_theta, n_theta)
    converged : bool
    """

    point: Point
    decrement: float
    curvature: Floats
    converged: bool


def descend(
    problem: Minimand, tracer: Tracer, theta: Floats, control: Control, em_steps: int, known: Point | None = None
) -> Descent | None:
    """Minimise the criterion from internal `theta`; None once the path runs into the basin of a `known` optimum."""
    point = tracer.point(theta, "start" if not tracer.steps else "restart")
    for _ in range(em_steps):
        if exact(problem, point, known):
            return None
        point = tracer.point(problem.em(point), "em")
    if exact(problem, point, known):
        return None
    fallen_back, last, secant, stalled = False, np.inf, False, 0
    gradient = problem.gradient(point)
    follow = problem.follow(point, gradient)
    for left in range(control.max_iterations, -1, -1):
        if not secant:
            curvature = problem.curvature(point, follow)
        if not (np.isfinite(gradient).all() and np.isfinite(curvature).all()):
            return Descent(point, np.inf, curvature, False)
        step = problem.step(point, gradient, curvature)
        decrement = float(-gradient @ step)
        if known is not None and _no_lower(problem, point, known, decrement):
            return None
        if secant and decrement < control.tolerance:  # a corrected curvature may be far too large: it has no last word
            curvature = problem.curvature(point, follow)
            step = problem.step(point, gradient, curvature)
            decrement = float(-gradient @ step)
        if decrement < control.tolerance:
            return Descent(point, decrement, curvature, True)
        if not left:
            break
        # on some boundaries the average information is no Hessian, and steps shrink the decrement only slowly: then
        # what gradients show along the steps corrects it
        secant, last = secant or ((problem.learns or SLOW * last < decrement) and decrement < 1.0), decrement
        lower = _line_search(tracer, point, step, decrement, control)
        if lower is None:
            if fallen_back or decrement < _close(point):
                return Descent(point, decrement, curvature, decrement < _close(point))
            lower, fallen_back = by_gradients(problem, tracer, point), True
        stalled = stalled + 1 if point.criterion - lower.criterion <= 1e-15 * abs(point.criterion) else 0
        if stalled == PATIENCE:
            return Descent(point, decrement, curvature, decrement < _close(point))
        if exact(problem, lower, known):
            return None
        before, gradient = gradient, problem.gradient(lower)
        if secant or follow is not None:
            curvature = _corrected(curvature, lower.theta - point.theta, gradient - before)
        if follow is not None:
            follow = Follow.within(curvature, problem.spec.n_theta)
        point = lower
    return Descent(point, decrement, curvature, decrement < _close(point))


def polished(problem: Minimand, tracer: Tracer, found: Descent) -> Descent:
    """The descent with last steps that only the slope can judge: what they lower the criterion by is rounding.

    Descents from different starts stop anywhere within the tolerance, some 1e-6 standard errors of θ apart; a few steps
    with a curvature that learns from the slopes bring them together. What is on the boundary stays there.
    """
    zero = problem.scales & (np.abs(found.point.theta) < INTERIOR)
    if not (found.converged and len(zero) and np.isfinite(found.curvature).all()):
        return found

    def slope(point: Point) -> Floats:
        return np.where(zero, 0.0, problem.gradient(point))

    def step_from(point: Point, gradient: Floats, curvature: Floats) -> Floats:
        return np.where(zero, 0.0, problem.step(point, gradient, curvature))

    highest = found.point.criterion + 1e-12 * abs(found.point.criterion)
    point, gradient, curvature = found.point, slope(found.point), found.curvature
    for _ in range(POLISHING):
        step = step_from(point, gradient, curvature)
        after = tracer.point(problem.allowed(point.theta + step), "polish")
        if not after.criterion <= highest:
            break
        again = slope(after)
        curvature = _corrected(curvature, step, again - gradient)
        point, gradient, decrement = after, again, float(-again @ step_from(after, again, curvature))
        if decrement < found.decrement:
            found = replace(found, point=after, decrement=decrement)
        if decrement < POLISHED:
            break
    return found


def _close(point: Point) -> float:
    """The decrement that counts as none once no step leads down."""
    return max(CLOSE_FROM_ROWS if point.at.from_rows else CLOSE, 1e-13 * abs(point.criterion))


def _corrected(matrix: Floats, step: Floats, change: Floats) -> Floats:
    """The BFGS update of a positive matrix, damped so that it stays positive (Powell, 1978)."""
    along = matrix @ step
    size, seen = float(step @ along), float(step @ change)
    if not (size > 0 and np.isfinite(change).all()):
        return matrix
    if seen < 0.2 * size:
        part = 0.8 * size / (size - seen)
        change = part * change + (1.0 - part) * along
    return np.asarray(matrix - np.outer(along, along) / size + np.outer(change, change) / (step @ change))


def _no_lower(problem: Minimand, point: Point, known: Point, decrement: float) -> bool:
    """Whether Newton's method is about to arrive where it has been before, or no lower."""
    if decrement < HOPELESS and point.criterion - decrement > known.criterion - 1e-7:
        return True
    n = problem.spec.n_theta
    there = 1.0 + np.abs(known.theta[n:]).max(initial=0.0)
    near = (
        apart(problem.spec, point.theta[None, :n], known.theta[None, :n]).item() < NEAR
        and np.abs(point.theta[n:] - known.theta[n:]).max(initial=0.0) < NEAR * there
    )
    return bool(near and decrement < 1.0 and point.criterion > known.criterion - 1e-6)


def _line_search(tracer: Tracer, point: Point, step: Floats, decrement: float, control: Control) -> Point | None:
    """The first of the full step and its halves that lowers the criterion enough, or None."""
    before, expected = np.asarray(point.criterion), np.asarray(decrement)
    length = 1.0
    for i in range(control.max_halvings):
        if tracer.problem.too_far(point.theta + length * step):
            length /= 2.0
            continue
        try:
            trial = tracer.point(tracer.problem.allowed(point.theta + length * step), "halved" if i else "newton")
        except np.linalg.LinAlgError:  # so far out that XᵀV⁻¹X is singular to rounding
            length /= 2.0
            continue
        if lowers_enough(before, np.asarray(trial.criterion), length, expected):
            return trial
        length /= 2.0
    return None


def by_gradients(problem: Minimand, tracer: Tracer, point: Point, most: int = 200) -> Point:
    """The lowest point that scipy finds with the exact gradient, where Newton's steps are no use."""
    best = [point]

    def value(theta: Floats) -> tuple[float, Floats]:
        if problem.too_far(theta):
            return np.inf, np.zeros(len(theta))
        try:
            trial = tracer.point(problem.allowed(theta), "quasi-newton")
        except np.linalg.LinAlgError:
            return np.inf, np.zeros(len(theta))
        if trial.criterion < best[0].criterion:
            best[0] = trial
        return trial.criterion, problem.gradient(trial)

    objective: Callable[..., tuple[float, Floats]] = value
    options: Any = {"maxiter": most, "maxfun": 2 * most, "gtol": 1e-7, "ftol": 1e-15}
    bounds = problem.bounds
    scipy.optimize.minimize(objective, point.theta, jac=True, method="L-BFGS-B", options=options, bounds=bounds)
    return best[0]
