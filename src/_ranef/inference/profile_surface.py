"""The criterion over two standard deviations, minimised over everything else: contours of the profiled likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.errors import DesignError, suggestion
from _ranef.inference.held_sds import (
    Profile,
    derivatives,
    make_criterion,
    minimise,
    profile_names,
    seconds_per_value,
)
from _ranef.likelihood import CrossProducts
from _ranef.results import RemlEstimates
from _ranef.spec import ModelSpec, sdcor_arrays
from _ranef.support.arrays import Floats

__all__ = ["Surface", "chosen_pair", "contour_levels", "criterion_surface"]

#: seconds that a surface may take, roughly; the grid is coarser, and splines fill it in, where values are costly
BUDGET = 0.6

#: points along one side that are computed at least: through them splines err by about 0.01
FEWEST = 7

#: seconds that so few may take; beyond, nuisances follow the quadratic at the estimates
LONGEST = 4.0

#: where the end of an axis is looked for: standard errors of the log sd from the estimate, or multiples of a unit
RUNGS, FAR_RUNGS = np.array([-8.0, -5.5, -4.0, -3.0, -2.0, 0.0, 2.0, 3.0, 4.0, 5.5, 8.0]), np.geomspace(0.02, 60.0, 24)

#: rise of the criterion up to which the surface reaches: well beyond the 99 % contour
HIGHEST = 12.0

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Surface:
    """The criterion over a grid of two standard deviations.

    Attributes
    ----------
    method : str
        ``"REML"`` or ``"ML"``.
    x_name, y_name : str
        As ``confint`` names them.
    x : array (n,)
    y : array (n,)
    rise : array (n, n)
        Criterion less its minimum, ``rise[i, j]`` at ``(x[j], y[i])``: the least over all other variance parameters
        and the coefficients.
    optimum : (float, float)
        Where it is zero.
    minimised : tuple of str
        The variance parameters that it is minimised over.
    computed : int
        Points along one side that were computed; splines fill in the rest.
    expanded : bool
        Whether the other parameters follow the quadratic at the estimates rather than a minimisation at every point.
    """

    method: str
    x_name: str
    y_name: str
    x: Floats
    y: Floats
    rise: Floats
    optimum: tuple[float, float]
    minimised: tuple[str, ...]
    computed: int
    expanded: bool


def contour_levels(probabilities: tuple[float, ...] = (0.5, 0.8, 0.95, 0.99)) -> Floats:
    """Quantiles of χ² with two degrees of freedom: rises of the criterion at the edge of joint confidence regions.

    Examples
    --------
    >>> contour_levels().round(3).tolist()
    [1.386, 3.219, 5.991, 9.21]
    """
    return np.asarray(-2.0 * np.log1p(-np.asarray(probabilities)))


def chosen_pair(spec: ModelSpec, x: str | None = None, y: str | None = None) -> tuple[str, str]:
    """Names of two standard deviations: those asked for, else the first two of random effects, or the only one and σ.

    Raises
    ------
    DesignError
        For a name that is not one of a standard deviation, twice the same, or a model that has not two.
    """
    known = list(profile_names(spec))
    for name in (x, y):
        if name is not None and name not in known:
            raise DesignError(
                f"There is no unknown standard deviation {name!r}.{suggestion(str(name), known)} The model has: "
                f"{', '.join(known) or 'none'}."
            )
    if len(known) < 2:
        raise DesignError(f"The model has {len(known)} unknown standard deviations; a surface needs two.")
    if x == y and x is not None:
        raise DesignError(f"x and y are both {x!r}; a surface needs two standard deviations.")
    first = x or next(name for name in known if name != y)
    return first, y or next(name for name in known if name != first)


def criterion_surface(
    spec: ModelSpec,
    products: CrossProducts,
    estimates: RemlEstimates,
    x: str | None = None,
    y: str | None = None,
    points: int = 40,
    within: tuple[Range, Range] | None = None,
) -> Surface:
    """Profile the criterion that `estimates` minimise over a grid of two standard deviations.

    At every point the two sds are held, and the criterion is minimised over the other sds, the correlations and σ
    (where it is not held or known); coefficients are profiled out of ML and integrated out of REML, as in the criterion
    itself. With two variance parameters in all there is nothing to minimise. Where a value is costly (many levels of
    crossed factors) a coarser grid is computed, of at least 7 by 7 points, and bicubic splines fill it in, with an
    error of about 0.01. Where even that would take long the other parameters follow the quadratic at the estimates: an
    error of third order, which makes the rise too large, by 1 or so near the outer contours of few levels.

    Parameters
    ----------
    spec : ModelSpec
    products : CrossProducts
        Those of `spec`.
    estimates : RemlEstimates
        The optimum.
    x, y : str, optional
        Names of standard deviations as ``confint`` gives them, ``"sd(Days | Subject)"`` or ``"sigma"``; by default the
        first two.
    points : int
        Points along one side.
    within : ((float, float), (float, float)), optional
        Ranges of x and y that are to be shown; the grid reaches the 99 % contour beyond them, but not too far.

    Raises
    ------
    DesignError
        For a name that is not one of a standard deviation, or twice the same.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> surface = criterion_surface(fit.spec, fit.products, fit.estimates)
    >>> surface.x_name, surface.y_name, surface.rise.shape
    ('sd(Intercept | operator)', 'sigma', (40, 40))
    """
    names = chosen_pair(spec, x, y)
    places = profile_names(spec)
    criterion = make_criterion(spec, products, estimates.method)
    held = Profile.at(criterion, [places[name] for name in names], estimates)
    found = sdcor_arrays(spec, estimates.theta, np.asarray(estimates.sigma))
    optimum = np.array([float(found[name]) for name in names])
    valley = _valley(held, optimum, estimates, costly=FEWEST**2 * _seconds_per_point(held) > LONGEST)
    axes = [_axis(valley, i, estimates, None if within is None else within[i]) for i in (0, 1)]
    side = _side(held, points, expanded=valley.expanded)
    fine = [np.linspace(*axis, points) for axis in axes]
    computed = fine if side == points else [_bent(axis, side) for axis in axes]
    grid = np.stack([at.ravel() for at in np.meshgrid(*computed)], axis=1)
    rise = valley.rises(grid).reshape(side, side)
    if side < points:
        rise = _filled_in(computed, rise, fine)
    # not those that another one decides: a known σ, and columns that share the sd of the first
    kept = tuple(name for name in found if name not in names and (name in places or name.startswith("cor(")))
    best = (float(optimum[0]), float(optimum[1]))
    return Surface(estimates.method, *names, fine[0], fine[1], rise, best, kept, side, valley.expanded)


@dataclass(frozen=True, eq=False)
class _Valley:
    """The bottom of the criterion over two sds, to second order about the optimum.

    Attributes
    ----------
    held : Profile
    optimum : array (2,)
    minimum : float
    slope : array (k, 2)
        ∂(free coordinates)/∂(log sds) along it; zero where the optimum is not interior.
    errors : array (2,)
        Standard errors of the log sds; NaN where there are none.
    expanded : bool
        Whether free coordinates are taken from here and not minimised over.
    """

    held: Profile
    optimum: Floats
    minimum: float
    slope: Floats
    errors: Floats
    expanded: bool

    def rises(self, values: Floats) -> Floats:
        """Profiled criterion (B,) at sds (B, 2) less the minimum."""
        free = np.tile(self.held.start, (len(values), 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.log(values / self.optimum)
        # no further than a factor of e, so that the quadratic is not followed to where it means nothing
        guess = free + np.clip(np.where(np.isnan(away), 0.0, away), -1.0, 1.0) @ self.slope.T
        if self.expanded:
            return np.asarray(self.held(values, guess) - self.minimum)
        better = self.held(values, guess) < self.held(values, free)
        return minimise(self.held, values, np.where(better[:, None], guess, free))[0] - self.minimum


def _valley(held: Profile, optimum: Floats, estimates: RemlEstimates, *, costly: bool) -> _Valley:
    k = held.start.size
    slope, errors = np.zeros((k, 2)), np.full(2, np.nan)
    interior = bool((optimum > 0).all()) and not estimates.singular
    if interior:

        def scaled(none: Floats, at: Floats) -> Floats:
            return held(optimum * np.exp(at[:, :2]), at[:, 2:])

        point = np.concatenate([np.zeros(2), held.start])[None]
        middle = scaled(point, point)
        hessian = derivatives(scaled, point[:, :0], point, middle)[1][0]
        own, mixed, free = hessian[:2, :2], hessian[2:, :2], hessian[2:, 2:]
        if k and np.linalg.eigvalsh(free)[0] > 1e-6:
            slope = -np.linalg.solve(free, mixed)
        profile = own + mixed.T @ slope
        if np.linalg.eigvalsh(profile)[0] > 1e-6:
            errors = np.sqrt(2.0 * np.diag(np.linalg.inv(profile)))
    expanded = costly and interior and k > 0
    return _Valley(held, optimum, estimates.criterion, slope, errors, expanded)


def _axis(valley: _Valley, i: int, estimates: RemlEstimates, within: Range | None) -> Range:
    """Ends of an axis: where the profile of its sd alone has risen beyond the contours, or what is to be shown."""
    best, error = float(valley.optimum[i]), float(valley.errors[i])
    if error < 0.5 and valley.expanded:
        low, high = best * np.exp(-3.6 * error), best * np.exp(3.6 * error)
    else:
        low, high = _bracket(valley, i, estimates)
    if within is None:
        return low, high
    room = 0.6 * (within[1] - within[0])
    low = min(max(low, within[0] - room), within[0])
    return low, max(min(high, within[1] + room), within[1])


def _bracket(valley: _Valley, i: int, estimates: RemlEstimates) -> Range:
    """Sds between which the profile of one rises by less than :data:`HIGHEST`, straight in log sd between rungs."""
    place, best, error = valley.held.places[i], float(valley.optimum[i]), float(valley.errors[i])
    alone = Profile.at(valley.held.criterion, [place], estimates)
    unit = best if place is None else max(best, 0.3 * float(valley.held.sizes[place[0]][place[1]]))
    ladder = best * np.exp(error * RUNGS) if error < 0.5 else np.append(unit * FAR_RUNGS, best)
    ladder = np.unique(ladder if place is None else np.append(ladder, 0.0))
    rise = minimise(alone, ladder[:, None], np.tile(alone.start, (len(ladder), 1)))[0] - estimates.criterion
    inside = np.flatnonzero(rise < HIGHEST)
    first, last = inside[0], inside[-1]
    low = _crossing(ladder, rise, first, first - 1) if first > 0 else float(ladder[0])
    return low, _crossing(ladder, rise, last, last + 1) if last + 1 < len(ladder) else float(ladder[-1])


def _crossing(ladder: Floats, rise: Floats, inside: int, outside: int) -> float:
    """Where the rise passes :data:`HIGHEST` between two rungs; zero if that is the outer one."""
    near, far = np.sqrt(np.maximum(rise[[inside, outside]], 0.0))
    share = (np.sqrt(HIGHEST) - near) / (far - near)
    return float(ladder[inside] ** (1.0 - share) * ladder[outside] ** share)


def _bent(axis: Range, n: int) -> Floats:
    """So many sds over a range, denser where they are small: evenly by logarithm, or by root where the range has 0."""
    low, high = axis
    return np.geomspace(low, high, n) if low > 0 else high * np.linspace(0.0, 1.0, n) ** 2


def _filled_in(computed: Sequence[Floats], rise: Floats, fine: Sequence[Floats]) -> Floats:
    """Bicubic splines through the surface, in the coordinates in which the points computed are even."""
    bend = [np.log if at[0] > 0 else np.sqrt for at in computed]
    (x, y), (to_x, to_y) = ([f(at) for f, at in zip(bend, axes, strict=True)] for axes in (computed, fine))
    spline = scipy.interpolate.RectBivariateSpline(y, x, rise)
    return np.maximum(spline(to_y, to_x), 0.0)


def _side(held: Profile, points: int, *, expanded: bool) -> int:
    """Points along one side that the time allows for."""
    seconds = seconds_per_value(held.criterion) if expanded else _seconds_per_point(held)
    return min(points, max(FEWEST, int(np.sqrt(BUDGET / seconds))))


def _seconds_per_point(held: Profile) -> float:
    """Roughly how long a minimisation takes, of some four steps."""
    k = held.start.size
    values = 2 + 4 * (1 + 2 * k + k * (k - 1) // 2) if k else 1
    return values * seconds_per_value(held.criterion)
