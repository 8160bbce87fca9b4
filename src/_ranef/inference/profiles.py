"""Profiles of every parameter: the signed root ζ of what the criterion rises by when it is held elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError, FitError, suggestion
from _ranef.inference.effect_frames import normal_quantile
from _ranef.inference.held_parameter import (
    Held,
    Objective,
    Value,
    generalised_objectives,
    held_parameters,
    make_objectives,
)
from _ranef.likelihood import CrossProducts
from _ranef.reml import fit_reml, fit_structured
from _ranef.results import Doubtable, Method, RemlEstimates
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints
from _ranef.support.progress import LateBar

__all__ = ["ProfileCurve", "Profiles", "likelihood_profiles"]

#: decrement of the criterion at which a point is at its minimum, steps to it, and halvings of one
DONE, STEPS, HALVINGS = 1e-8, 60, 12

#: how near ζ has to come to a target: where intervals end, from where a tangent does the rest, and others
NEAR, ROUGH = 1e-4, 0.35

#: how far behind its kink a correlation's profile is level, as an angle
KINK = 1e-6

#: points on the way to the end of a correlation, whose profile may turn
FEWEST = 4

#: evaluations along one side of a profile, and the longest step of a standard deviation, times itself
POINTS, FACTOR = 40, 3.0

#: step of the differences of gradients, as a share of the coordinates' sizes; the longest, by what it moves √criterion
DIFFERENCE, LONGEST = 1e-4, 1e-2

#: least curvature believed, in units of which every coordinate has its own as one; how often it is looked at anew
FLAT, ANEW = 1e-4, 3

#: how far ζ may be from what the points beside it promise before other starts are tried
SURPRISE = 0.3

#: how far below the estimates' a criterion has to be to be another optimum
LOWER = 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class ProfileCurve:
    """ζ of one parameter.

    Attributes
    ----------
    name : str
    criterion : str
        ``"REML"`` or ``"ML"``: what rises.
    estimate : float
    values : array (n,)
        Ascending.
    zeta : array (n,)
        sign(value − estimate) √(criterion there, minimised over all else, less its minimum).
    slopes : array (n,)
        ∂ζ/∂value.
    low, high : float
        Bounds of the parameter.
    notes : tuple of str
        What is peculiar about it.
    """

    name: str
    criterion: str
    estimate: float
    values: Floats
    zeta: Floats
    slopes: Floats
    low: float
    high: float
    notes: tuple[str, ...] = ()

    def at(self, values: Floats) -> Floats:
        """ζ (m,) between the values, by cubic Hermite interpolation; NaN outside."""
        if len(self.values) < 2:
            return np.full(np.shape(values), np.nan)
        spline = scipy.interpolate.CubicHermiteSpline(self.values, self.zeta, self.slopes, extrapolate=False)
        return np.asarray(spline(values))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Where ζ is ∓ the normal quantile: the likelihood interval; a bound of the parameter where it is not reached.

        NaN where it was not followed so far.
        """
        z = normal_quantile(level)
        return self._end(-z, self.low, first=True), self._end(z, self.high, first=False)

    @property
    def at_zero(self) -> float:
        """|ζ| at a lower bound of zero; infinite where the curve does not come there."""
        return abs(float(self.zeta[0])) if len(self.values) > 1 and self.values[0] == 0.0 else np.inf

    def _end(self, target: float, bound: float, *, first: bool) -> float:
        """The crossing of ζ = target nearest to the estimate."""
        sign = -1.0 if first else 1.0
        order = slice(None, None, -1) if first else slice(None)
        values, zeta, slopes = self.values[order], sign * self.zeta[order], sign * self.slopes[order]
        for k in range(1, len(values)):
            if abs(zeta[k] - abs(target)) <= NEAR and slopes[k] != 0.0:
                return float(np.clip(values[k] + (abs(target) - zeta[k]) / slopes[k], self.low, self.high))
            if zeta[k - 1] < abs(target) <= zeta[k]:
                return _crossing(values[k - 1 : k + 1], zeta[k - 1 : k + 1], slopes[k - 1 : k + 1], abs(target))
        ended = len(values) > 0 and bool(values[-1] == bound)
        return bound if ended or not np.isfinite(self.estimate) else float("nan")


@dataclass(frozen=True, eq=False, repr=False)
class Profiles(Doubtable):
    """Profiles of several parameters of one fit.

    Attributes
    ----------
    method : str
        ``"REML"`` or ``"ML"``: the criterion of the fit. Coefficients are profiled in the ML deviance in either case.
    curves : mapping str to ProfileCurve
    left : tuple of str
        Parameters without a profile: correlations that no one coordinate tells.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit("ML")
    >>> profiles = fit.profile()
    >>> list(profiles.curves)
    ['Intercept', 'sd(Intercept | operator)', 'sigma']
    >>> profiles.confint(0.9).loc["sigma"].round(3).tolist()
    [0.25, 0.45]
    >>> profiles.frame.columns.tolist(), profiles.notes
    (['parameter', 'criterion', 'value', 'zeta'], {})
    """

    method: Method
    curves: dict[str, ProfileCurve]
    left: tuple[str, ...] = field(default=())

    @property
    def frame(self) -> pd.DataFrame:
        """``parameter, criterion, value, zeta``: one row for each point."""
        parts = [
            pd.DataFrame({"parameter": c.name, "criterion": c.criterion, "value": c.values, "zeta": c.zeta})
            for c in self.curves.values()
        ]
        columns = ["parameter", "criterion", "value", "zeta"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    @property
    def notes(self) -> dict[str, str]:
        """What is peculiar, by parameter."""
        found = {c.name: " ".join(c.notes) for c in self.curves.values() if c.notes}
        return found | dict.fromkeys(self.left, "It has no coordinate of its own, and no profile.")

    def confint(self, level: float = 0.95) -> pd.DataFrame:
        """``lower, upper`` by parameter: where ζ is ∓ the normal quantile, or a bound where it is not reached."""
        ends = [c.interval(level) for c in self.curves.values()]
        return pd.DataFrame(ends, index=list(self.curves), columns=["lower", "upper"], dtype=float)

    def _printed(self) -> str:
        notes = "".join(f"\n{name}: {words}" for name, words in self.notes.items())
        return f"<Profiles of {len(self.curves)} parameters, fit by {self.method}>\n{self.confint()}{notes}"


def likelihood_profiles(
    spec: ModelSpec,
    products: CrossProducts | None,
    estimates: RemlEstimates,
    parameters: Sequence[str] | str | None = None,
    level: float = 0.99,
    steps: int = 4,
) -> Profiles:
    """Hold each parameter at values on either side, and minimise the criterion over all others, by exact gradients.

    ζ is a signed root of a likelihood ratio (Bates & Watts 1988, *Nonlinear Regression Analysis*, ch. 6; Bates et al.
    2015, J. Stat. Softw. 67(1), §5.1). Every point is a quasi-Newton descent from a prediction by those before it. Its
    slope is that of the criterion in what is held, by the envelope theorem, so that few points tell the curve. The
    coefficients of a REML fit, over which its criterion integrates, are profiled in the ML deviance, as lme4 does for
    all.

    Parameters
    ----------
    spec : ModelSpec
    products : CrossProducts or None
        None of generalised responses.
    estimates : RemlEstimates
    parameters : str or sequence of str, optional
        As ``confint`` names them; all by default.
    level : float
        Probability of the widest interval that the curves reach.
    steps : int
        Points on either side, about: with 1 those at which intervals end alone.

    Raises
    ------
    DesignError
        For an unknown name, or that of a parameter that is fixed.
    """
    known, left = held_parameters(spec)
    chosen = _chosen(spec, known, left, parameters)
    sds = {one: _standard_deviations(one, known) for one in chosen}
    asked = list(dict.fromkeys([*(sd for own in sds.values() for sd in own), *chosen]))
    curves: dict[str, ProfileCurve] = {}
    curvatures = _Curvatures()
    with LateBar("Profiling", "parameter", len(asked)) as bar:
        for objective, criterion in _objectives(spec, products, estimates, asked):
            held = objective.held
            own = _targets(level, max(steps, FEWEST) if held.kind in ("cor", "shape") else steps)
            ceiling = min((curves[sd.name].at_zero for sd in sds.get(held, ())), default=np.inf)
            curves[held.name] = _curve(objective, criterion, own, curvatures, ceiling)
            bar.update()
    in_order = {one.name: curves[one.name] for one in chosen}
    return Profiles(estimates.method, in_order, tuple(left) if parameters is None else ())


def _targets(level: float, steps: int) -> list[float]:
    """ζ at which points are put: at the ends of the widest interval, of that of 95 % within it, and between."""
    z, usual = normal_quantile(level), normal_quantile(0.95)
    ends = [z] if steps == 1 or z <= usual + ROUGH else [usual, z]
    return [*(ends[0] * k / (steps - 1) for k in range(1, steps - 1)), *ends] if steps > 1 else ends


def _standard_deviations(cor: Held, known: Sequence[Held]) -> list[Held]:
    """Those of which one that is zero leaves a correlation undetermined."""
    if cor.kind not in ("cor", "shape"):
        return []
    own = [sd for sd in known if sd.kind == "sd" and sd.place[0] == cor.place[0]]
    if cor.kind == "shape":
        return own if len(own) == 1 else []
    return [sd for sd in own if sd.place[1] in cor.place[1:]]


def _chosen(spec: ModelSpec, known: list[Held], left: list[str], parameters: Sequence[str] | str | None) -> list[Held]:
    if parameters is None:
        return known
    by_name = {one.name: one for one in known}
    names = [parameters] if isinstance(parameters, str) or not np.iterable(parameters) else list(parameters)
    for name in names:
        if name == "sigma" and spec.sigma is not None:
            raise DesignError(
                f"sigma is fixed at {spec.sigma:g} (sigma=), so it has no profile. A model without sigma= estimates it."
            )
        if name in left:
            raise DesignError(f"{name} has no coordinate of its own, and no profile. Known ones: {', '.join(by_name)}.")
        if name not in by_name:
            raise DesignError(
                f"There is no parameter {name!r}.{suggestion(str(name), list(by_name))} The model has: "
                f"{', '.join(by_name)}."
            )
    return [by_name[name] for name in names]


def _objectives(
    spec: ModelSpec, products: CrossProducts | None, estimates: RemlEstimates, chosen: list[Held]
) -> Iterator[tuple[Objective, Method]]:
    """The criterion with each parameter held: coefficients under ML, others as fitted."""
    if products is None:
        for objective in generalised_objectives(spec, estimates, chosen):
            yield objective, "ML"
        return
    fixed = [one for one in chosen if one.kind == "coefficient"]
    others = [one for one in chosen if one.kind != "coefficient"]
    for objective in make_objectives(spec, products, estimates, others):
        yield objective, estimates.method
    if fixed:
        ml = _by_ml(spec, products, estimates)
        for objective in make_objectives(*ml, fixed):
            yield objective, "ML"


def _by_ml(
    spec: ModelSpec, products: CrossProducts, estimates: RemlEstimates
) -> tuple[ModelSpec, CrossProducts, RemlEstimates]:
    if estimates.method == "ML":
        return spec, products, estimates
    if not spec.structured:
        return spec, products, fit_reml(spec, "ML", start=estimates.theta, products=products)
    found = fit_structured(spec.with_rho(None), "ML", start=estimates.theta)
    return found.spec, found.products, found.estimates


def _curve(
    objective: Objective, criterion: Method, targets: Sequence[float], curvatures: _Curvatures, ceiling: float = np.inf
) -> ProfileCurve:
    """Follow the criterion to either side of the estimate; ζ is nowhere above the ceiling."""
    held = objective.held
    if np.isnan(objective.estimate):
        note = "A standard deviation is zero, so the correlation is not determined."
        return ProfileCurve(held.name, criterion, np.nan, np.empty(0), np.empty(0), np.empty(0), *held.ends, (note,))
    local = _Local.at(objective, curvatures.at(objective))
    down, up = (_Side(objective, local, sign) for sign in (-1.0, 1.0))
    (lower, before), (upper, after) = down.followed(targets, ceiling), up.followed(targets, ceiling)
    signed = [replace(p, zeta=-p.zeta, slope=-p.slope) for p in reversed(lower)]
    points = [*signed, up.middle, *upper]
    values, zeta, slopes = (np.array(column) for column in zip(*(_told(objective, p) for p in points), strict=True))
    notes = dict.fromkeys([*before, *after])
    slopes = _completed(values, zeta, slopes)
    if values[0] > values[-1]:  # what users read falls with its coordinate
        values, zeta, slopes = values[::-1], -zeta[::-1], -slopes[::-1]
    low, high = held.ends
    estimate, _ = objective.told(objective.estimate)
    return ProfileCurve(held.name, criterion, estimate, values, zeta, slopes, low, high, tuple(notes))


def _completed(values: Floats, zeta: Floats, slopes: Floats) -> Floats:
    """Slopes with those at bounds, where the way there has none, as of a parabola through the point beside."""
    out = slopes.copy()
    for end, beside in ((0, 1), (-1, -2)):
        if np.isnan(out[end]) and len(out) > 1:
            out[end] = 2.0 * (zeta[end] - zeta[beside]) / (values[end] - values[beside]) - out[beside]
    return np.asarray(np.nan_to_num(out))


@dataclass(frozen=True, eq=False)
class _Point:
    """A value that is held, ζ there with its slope, and where all else is."""

    value: float
    zeta: float
    slope: float
    x: Floats
    below: float = 0.0


def _crossing(at: Floats, zeta: Floats, slopes: Floats, target: float) -> float:
    """Where the cubic between two points has the target."""
    order = np.argsort(at)
    piece = scipy.interpolate.CubicHermiteSpline(at[order], zeta[order], slopes[order])
    return float(scipy.optimize.brentq(lambda v: float(piece(v)) - target, float(at[0]), float(at[1]), xtol=1e-14))


def _told(objective: Objective, point: _Point) -> tuple[float, float, float]:
    """The same as users read it: value, ζ and slope; at a bound the value is the bound."""
    held = objective.held
    value, change = objective.told(point.value)
    if point.value in (held.low, held.high):
        value = held.ends[0] if point.value == held.low else held.ends[1]
        change = 0.0 if objective.turns else change
    slope = point.slope / change if abs(change) > 1e-12 * abs(value) else np.nan
    return value, point.zeta, slope


@dataclass(frozen=True, eq=False)
class _Local:
    """The criterion near the estimates, to second order.

    Attributes
    ----------
    inverse : array (k, k)
        Inverse of the curvature of what is not held.
    tangent : array (k,)
        By how much it moves with what is held.
    curvature : float
        Of the profile.
    """

    inverse: Floats
    tangent: Floats
    curvature: float

    @classmethod
    def at(cls, objective: Objective, hessian: Floats) -> _Local:
        """From the curvature of all coordinates (m, m)."""
        x, free = objective.start, _free(objective)
        inverse = _positive_inverse(hessian[np.ix_(free, free)], objective.sizes[free])
        if objective.index is None:
            return cls(inverse, np.zeros(len(free)), objective(x, objective.estimate + 1.0).slope)
        mixed = hessian[free, objective.index]
        tangent = -inverse @ mixed
        return cls(inverse, tangent, float(hessian[objective.index, objective.index] + mixed @ tangent))


@dataclass(frozen=True, eq=False)
class _Curvatures:
    """Curvatures (m, m) at the estimates, by differences of exact gradients: one for all that share coordinates."""

    known: dict[tuple[object, ...], Floats] = field(default_factory=dict)

    def at(self, objective: Objective) -> Floats:
        """The curvature of an objective; of coefficients that of the first, for it is nearly the same."""
        key = (objective.index is None, objective.chart, objective.start.tobytes())
        if key not in self.known:
            self.known[key] = _hessian(objective, objective.start, objective.estimate)
        return self.known[key]


def _free(objective: Objective) -> Ints:
    at = np.arange(len(objective.start))
    return at if objective.index is None else at[at != objective.index]


def _hessian(objective: Objective, x: Floats, value: float) -> Floats:
    middle = objective(x, value).gradient
    steps = DIFFERENCE * np.maximum(np.abs(x), objective.sizes)
    out = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for _ in range(ANEW):  # where others balance a coordinate, little of it alone is far
            ahead = x.copy()
            ahead[i] += steps[i]
            out[i] = (objective(ahead, value).gradient - middle) / steps[i]
            moved = steps[i] * np.sqrt(abs(out[i, i]))
            if not moved > LONGEST:
                break
            steps[i] *= 0.1 * LONGEST / moved
    return np.asarray(0.5 * (out + out.T))


def _positive_inverse(hessian: Floats, sizes: Floats) -> Floats:
    """The inverse with the sizes of curvatures in place of negative ones, and none next to zero, by steps (m,)."""
    own = np.abs(np.diag(hessian)) * sizes**2
    units = sizes / np.sqrt(np.maximum(own, FLAT * own.max(initial=FLAT)))
    values, vectors = np.linalg.eigh(hessian * np.outer(units, units))
    half = units[:, None] * vectors / np.sqrt(np.maximum(np.abs(values), FLAT))
    return np.asarray(half @ half.T)


@dataclass(frozen=True, eq=False)
class _Side:
    """One side of a profile; u ≥ 0 is the distance of what is held from its estimate."""

    objective: Objective
    local: _Local
    sign: float

    def followed(self, targets: Sequence[float], ceiling: float) -> tuple[list[_Point], list[str]]:
        """Points outward from the estimate, until ζ reaches the last target or what is held a bound; and notes."""
        points, notes = [self.middle], []
        capped = [target for target in targets if target < ceiling] + [ceiling] * (ceiling <= targets[-1])
        for target in capped:
            reached = self._reach(points, target, NEAR if target in (*targets[-2:], ceiling) else ROUGH)
            if not reached:
                notes.append(
                    f"Followed on one side only to {self._read(points[-1]):.6g}, where ζ is short of {target:.3g}."
                )
            if not reached or (points[-1].value == self._bound and points[-1].zeta < target):
                break
        zeta = np.array([p.zeta for p in points])
        if (np.diff(zeta) < -1e-6).any():
            turn = points[int(np.flatnonzero(np.diff(zeta) < -1e-6)[0])]
            notes.append(f"Not monotone: ζ turns back near {self._read(turn):.6g}.")
        if capped[-1] == ceiling and points[-1].value != self._bound:
            points = self._levelled(points, ceiling)
            notes.append(f"ζ is level beyond {self._read(points[-3]):.6g}, where a standard deviation is zero.")
        if min(p.below for p in points) < -LOWER:
            notes.append("The criterion is lower here than at the estimates, which are not its optimum.")
        return points[1:], notes

    def _reach(self, points: list[_Point], target: float, near: float) -> bool:
        """Add points until one has ζ near the target, or is at the bound."""
        for _ in range(POINTS):
            if min((abs(p.zeta - target) for p in points if p.value != self._bound), default=np.inf) <= near:
                return True
            above = next((k for k, p in enumerate(points) if p.zeta > target), None)
            if above is None and points[-1].value == self._bound:
                return True
            u = (
                self._beyond(points[-1], target)
                if above is None
                else self._between(points[above - 1], points[above], target)
            )
            found = self._point(points, u)
            if found is None:
                return False
            points.append(found)
            points.sort(key=self._distance)
        return False

    def _levelled(self, points: list[_Point], ceiling: float) -> list[_Point]:
        """The points below the ceiling, where it is reached, and from there on level to the bound."""
        below = [p for p in points if p.zeta < ceiling]
        kink = replace(next((p for p in points if p.zeta >= ceiling), points[-1]), zeta=ceiling)
        level = [replace(kink, value=v, slope=0.0) for v in (kink.value + self.sign * KINK, self._bound)]
        return [*(p for p in below if p.value != kink.value), kink, *level]

    @property
    def middle(self) -> _Point:
        slope = np.sqrt(0.5 * max(self.local.curvature, 0.0))
        return _Point(self.objective.estimate, 0.0, self.sign * slope, self.objective.start)

    @property
    def _bound(self) -> float:
        return self.objective.held.low if self.sign < 0 else self.objective.held.high

    def _distance(self, point: _Point) -> float:
        return self.sign * (point.value - self.objective.estimate)

    def _read(self, point: _Point) -> float:
        return self.objective.told(point.value)[0]

    def _beyond(self, last: _Point, target: float) -> float:
        """Where the tangent of ζ has the target, but not too far, and not beyond the bound."""
        u, slope = self._distance(last), self.sign * last.slope
        longest = FACTOR * (self.objective.size + u)
        step = min((target - last.zeta) / slope, longest) if slope > 0 else longest
        return min(u + step, self.sign * (self._bound - self.objective.estimate))

    def _between(self, lower: _Point, upper: _Point, target: float) -> float:
        """Where the cubic between two points has the target."""
        ends = [self._distance(lower), self._distance(upper)]
        slopes = [self.sign * lower.slope, self.sign * upper.slope]
        u = _crossing(np.array(ends), np.array([lower.zeta, upper.zeta]), np.array(slopes), target)
        room = 0.02 * (ends[1] - ends[0])
        return float(np.clip(u, ends[0] + room, ends[1] - room))

    def _point(self, points: list[_Point], u: float) -> _Point | None:
        """The minimum at distance u; halfway back where the criterion is no number; None where it never is."""
        objective, start = self.objective, self._distance(points[-1])
        for _ in range(HALVINGS):
            value = objective.estimate + self.sign * u
            value = self._bound if abs(value - self._bound) < 1e-12 * (objective.size + abs(value)) else value
            found = self._lowest(value, self._guess(points, u, value))
            if found is not None and abs(found.zeta - self._promised(points, u)) > SURPRISE:
                others = [self._lowest(value, p.x) for p in self._beside(points, u)]
                found = min([found, *(p for p in others if p is not None)], key=lambda p: p.zeta)
            if found is not None:
                return found
            u = 0.5 * (u + start) if u > start else 0.5 * u
        return None

    def _lowest(self, value: float, start: Floats) -> _Point | None:
        objective = self.objective
        x = start.copy()
        if objective.index is not None:
            x[objective.index] = value
        found = _minimum(objective, value, x, self.local.inverse)
        if found is None:
            return None
        x, at = found
        rise = at.criterion - objective.minimum
        zeta = float(np.sqrt(max(rise, 0.0)))
        held = at.slope if objective.index is None else float(at.gradient[objective.index])
        return _Point(value, zeta, held / (2.0 * zeta) if zeta > 0 else 0.0, x, rise)

    def _beside(self, points: list[_Point], u: float) -> list[_Point]:
        return sorted(points, key=lambda p: abs(self._distance(p) - u))[:2]

    def _promised(self, points: list[_Point], u: float) -> float:
        """ζ by the tangent of the nearest point."""
        near = self._beside(points, u)[0]
        return near.zeta + self.sign * near.slope * (u - self._distance(near))

    def _guess(self, points: list[_Point], u: float, value: float) -> Floats:
        """Coordinates by a line through the two nearest points, or along the tangent of the estimate."""
        free = _free(self.objective)
        near = self._beside(points, u)
        out = near[0].x.copy()
        if len(near) == 1 or near[0].value == near[1].value:
            out[free] += self.sign * u * self.local.tangent
        else:
            share = (value - near[0].value) / (near[1].value - near[0].value)
            out[free] += np.clip(share, -2.0, 2.0) * (near[1].x - near[0].x)[free]
        return out


def _minimum(objective: Objective, value: float, start: Floats, inverse: Floats) -> tuple[Floats, Value] | None:
    """Coordinates and criterion where it is least with one of them held, by a quasi-Newton descent."""
    free = _free(objective)
    x, at = start, _tried(objective, start, value)
    if at is None:
        return None
    anew = 0
    for _ in range(STEPS if free.size else 0):
        slope = at.gradient[free]
        step = -inverse @ slope
        promise = -float(step @ slope)
        if promise < DONE:
            break
        found = _shorter(objective, value, x, at, step, promise)
        if found is None:
            anew += 1
            if anew > ANEW:
                break
            hessian = _hessian(objective, x, value)[np.ix_(free, free)]
            inverse = _positive_inverse(hessian, objective.sizes[free])
            continue
        ahead, there = found
        inverse = _updated(inverse, (ahead - x)[free], there.gradient[free] - slope)
        x, at = ahead, there
    return x, at


def _shorter(
    objective: Objective, value: float, x: Floats, at: Value, step: Floats, promise: float
) -> tuple[Floats, Value] | None:
    """The first of the step and its halves that lowers the criterion by a share of what it promises."""
    for k in range(HALVINGS):
        ahead = x.copy()
        ahead[_free(objective)] += 0.5**k * step
        there = _tried(objective, ahead, value)
        if there is not None and there.criterion <= at.criterion - 1e-4 * 0.5**k * promise:
            return ahead, there
    return None


def _tried(objective: Objective, x: Floats, value: float) -> Value | None:
    """The criterion; None where it is no number."""
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            at = objective(x, value)
    except (np.linalg.LinAlgError, ArithmeticError, FitError, ValueError):
        return None
    return at if np.isfinite(at.criterion) and np.isfinite(at.gradient).all() else None


def _updated(inverse: Floats, step: Floats, change: Floats) -> Floats:
    """The inverse with the curvature along a step, where that is positive (Broyden, Fletcher, Goldfarb and Shanno)."""
    along = float(step @ change)
    if along <= 1e-10 * float(np.linalg.norm(step) * np.linalg.norm(change)):
        return inverse
    left = np.eye(len(step)) - np.outer(step, change) / along
    return np.asarray(left @ inverse @ left.T + np.outer(step, step) / along)
