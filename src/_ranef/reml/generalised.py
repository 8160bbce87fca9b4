"""Generalised responses: (θ, β, dispersions) together by Newton's steps with the exact gradient, from the pilot."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from _ranef.errors import FitError
from _ranef.likelihood import (
    Laplace,
    LaplaceAt,
    LaplaceTogether,
    ManyPoints,
    ManySlopes,
    Pilot,
    at_points,
    check_points,
    directions,
    fit_pilot,
    make_laplace,
    rows_together,
    separating,
)
from _ranef.linalg import RelatedPlan
from _ranef.reml.boundary import boundary_words
from _ranef.reml.fit import certified, recorded
from _ranef.reml.newton import FLAT, bending, em_thetas, least_curvature
from _ranef.reml.optimize import Control, Descent, Tracer, descend
from _ranef.reml.problem import Follow, Point, Problem
from _ranef.results import OptimizerRecord, RemlEstimates, Status
from _ranef.spec import LINKS, Generalised, ModelSpec
from _ranef.support.arrays import Bools, Floats
from _ranef.support.progress import LateBar

__all__ = ["FARTHEST", "GeneralisedProblem", "fit_generalised", "without_flat"]

#: logarithm beyond which a dispersion is zero or infinite, and from which on that is tried
FARTHEST, AFAR, ROUNDING = float(np.log(1e8)), float(np.log(1e3)), 1e-9

#: sizes of effects that a descent may begin with, and how far one EM step may move η
SIZES, LONGEST = (1.0, 0.3, 0.1, 0.01), 3.0

#: iterations and halvings allowed: where likelihoods have no maximum there is no end to them
MOST_ITERATIONS, MOST_HALVINGS = 100, 12

#: squared distance, in deviance units, over which the curvature hardly changes
STAYS = 1e-2

#: rows of all points that are evaluated together, lengths of their dense tails, and the decrement of their modes
MOST_ROWS, MOST_TAIL, CLOSE = 300_000, 200, 1e-6

#: working weight of a row from which on gradients lose the digits that differences need, unless each is made by itself
HEAVIEST = 1e5

#: step of the differences of gradients, in standard errors, and share of a curvature that counts as none
DIFFERENCE, NO_CURVATURE = 1e-3, 1e-8

#: negative curvature, beside the largest, that is rounding
CONCAVE = 1e-6

#: decrement of a descent from which the Hessian is that of its end, steps by it, and θ that is on the boundary
NEAR, POLISHING, INTERIOR = 1e-8, 5, 1e-3

#: why the standard deviation of such effects has no estimate
OF_A_ROW = (
    "Each row is one trial, or one class, and has an effect of its own: all that such effects change is how steep the "
    "link is, which coefficients make up for. Leave that term out; with several trials to a row it would be determined."
)

#: coefficients that an error names
NAMED = 6


@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedProblem:
    """−2 log L as a function of x = (θ for standard columns | internal β | log dispersions).

    Attributes
    ----------
    laplace : Laplace
    points : int
        Of quadrature: one is Laplace's approximation.
    """

    laplace: Laplace
    points: int = 1
    _near: dict[str, LaplaceAt] = field(default_factory=dict)
    _here: list[Floats] = field(default_factory=list)
    _known: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The model, whose σ is known."""
        return self.laplace.spec

    @cached_property
    def gaussian(self) -> Problem:
        """The working response's, whose scale and rank are those of this one."""
        own = self.laplace.gaussian
        return Problem(own.spec, own.products, own.method)

    @cached_property
    def most_together(self) -> int:
        """At how many points together gradients are found: none by quadrature, or of levels that are related."""
        plan = self.products.plan
        if self.points > 1 or not self.spec.terms or isinstance(plan, RelatedPlan):
            return 0
        tail = 1 if plan.crossed is None else max(plan.crossed.size, 1)
        most = min(MOST_ROWS // self.spec.n_obs, MOST_TAIL // tail)
        return most if most > 1 else 0

    def slopes_together(
        self, rows: LaplaceTogether, x: Floats, u: tuple[Floats, ...], close: float, y: Floats | None = None
    ) -> tuple[ManySlopes, Floats]:
        """Criteria and gradients (N, n) at parameters (N, n), from effects u, of the response or others (rows, N)."""
        spec, (n, p) = self.spec, (self.n_theta, self.spec.n_fixed)
        roots: list[Floats] = [np.zeros((len(x), len(g.columns), len(g.columns))) for g in spec.groupings]
        for t in spec.terms:
            roots[t.grouping][:, t.where, t.where] = t.structure.root(x[:, t.theta])
        own = dict(zip(self.laplace.family.dispersions, np.exp(x[:, n + p :]).T, strict=True))
        found = rows.slopes(ManyPoints(self.laplace.in_order(roots), x[:, n : n + p], own, y), u, close)
        by_roots = self.laplace.by_grouping(found.roots)
        slopes = [(by_roots[t.grouping] * root).sum(axis=(1, 2)) for t, root in spec.root_derivatives(x[:, :n])]
        return found, np.column_stack([*slopes, found.sampled, found.logs])

    @property
    def products(self):  # type: ignore[no-untyped-def]
        """Those of the working response."""
        return self.laplace.products

    #: none of use here
    least_squares = None
    bounds = None

    #: the working response's curvature is not that of the criterion
    learns = True

    @property
    def n_theta(self) -> int:
        """How many come before β."""
        return self.spec.n_theta

    @cached_property
    def scales(self) -> Bools:
        """Which parameters scale a column of λ."""
        others = self.spec.n_fixed + len(self.laplace.family.dispersions)
        return np.append(self.spec.on_diagonal, np.zeros(others, dtype=bool))

    def point(self, theta: Floats) -> Point:
        """Evaluate; the mode is sought from the one found last, which saves time and changes nothing."""
        n, p = self.n_theta, self.spec.n_fixed
        last = self._near.get("last")
        if last is not None and np.array_equal(theta, self._here[0]):
            return Point(theta, at_points(last, self.points))  # type: ignore[arg-type]
        at = self.laplace.at(
            self.spec.lambdas(theta[:n]), theta[n : n + p], theta[n + p :], None if last is None else last.mode
        )
        if not np.isfinite(at.criterion):
            raise np.linalg.LinAlgError("the criterion is no number")
        self._near["last"], self._here[:] = at, [theta]
        return Point(theta, at_points(at, self.points))  # type: ignore[arg-type]

    def gradient(self, point: Point) -> Floats:
        """∂criterion/∂x (n,)."""
        at = _at(point)
        own = self.gaussian.gradient(replace(point, theta=point.theta[: self.n_theta])) if self.n_theta else np.zeros(0)
        return np.concatenate([own, at.first_order.beta, at.first_order.logs])

    def follow(self, point: Point, gradient: Floats) -> None:
        """Nothing: what is known of the curvature is enough to begin with."""

    def curvature(self, point: Point, follow: Follow | None = None) -> Floats:
        """That of the Gaussian model of the working response, and of dispersions with the mode held.

        Next to where it was made last it is the same.
        """
        known = self._known.get("last")
        if known is not None and self._near_to(point.theta, *known):
            return known[1]
        self._known["last"] = point.theta, self._curvature(point)
        return self._known["last"][1]

    def _near_to(self, theta: Floats, other: Floats, curvature: Floats) -> bool:
        step = theta - other
        return float(step @ curvature @ step) < STAYS

    def _curvature(self, point: Point) -> Floats:
        at, n, p = _at(point), self.n_theta, self.spec.n_fixed
        out = np.zeros((len(point.theta), len(point.theta)))
        if n:
            derivatives = self.spec.root_derivatives(point.theta[:n])
            own = at.steady.average_information([(t.grouping, root) for t, root in derivatives])
            own = own + bending(self.spec, point.theta[None, :n], point.W)[0]
            out[:n, :n] = 0.5 * (own + own.T) + np.diag(least_curvature(self.spec, point.theta[None, :n], FLAT)[0])
        out[n : n + p, n : n + p] = 2.0 * at.information
        of_logs = np.arange(n + p, len(out))
        out[of_logs, of_logs] = np.maximum(np.abs(at.dispersion_curvature()), 1.0)
        return out

    def step(self, point: Point, gradient: Floats, curvature: Floats) -> Floats:
        """Newton's; dispersions at their end stay there, if that is the way down."""
        held = self.at_end(point.theta) & ((point.theta - self._beyond) * gradient < 0.0)
        free = ~held[:, None] & ~held
        return self.gaussian.step(
            point, np.where(held, 0.0, gradient), np.where(free, curvature, np.diag(np.diag(curvature)))
        )

    def at_end(self, theta: Floats) -> Bools:
        """Which parameters (..., n) are log dispersions as far out as they may go."""
        out, first = np.zeros(theta.shape, dtype=bool), self.n_theta + self.spec.n_fixed
        out[..., first:] = np.abs(theta[..., first:] - self.centres) >= FARTHEST - ROUNDING
        return out

    @cached_property
    def centres(self) -> Floats:
        """Logarithms of what dispersions are measured in."""
        return np.asarray(np.log(np.array(self.laplace.family.units(self.laplace.rows))))

    @property
    def _beyond(self) -> Floats:
        """What (n,) is positive for log dispersions above their unit."""
        return np.concatenate([np.zeros(self.n_theta + self.spec.n_fixed), self.centres])

    def em(self, point: Point) -> Floats:
        """One EM sweep of θ, with a step of β."""
        n, p = self.n_theta, self.spec.n_fixed
        out = point.theta.copy()
        if n:
            out[:n] = self.gaussian.settled(em_thetas(self.spec, point.theta[None, :n], point.W)[0])
        slope = _at(point).first_order.beta
        step = np.linalg.solve(2.0 * _at(point).information, slope) if p else slope
        moved = float(np.abs(self.laplace.X @ step).max(initial=0.0)) / self.laplace.family.unit(self.laplace.rows)
        out[n : n + p] -= step * min(1.0, LONGEST / max(moved, LONGEST))
        return out

    def allowed(self, theta: Floats) -> Floats:
        """With zero for what is negative and has to be zero or more, and dispersions that are numbers."""
        n, p = self.n_theta, self.spec.n_fixed
        logs = self.centres + np.clip(theta[..., n + p :] - self.centres, -FARTHEST, FARTHEST)
        return np.concatenate([self.spec.allowed(theta[..., :n]), theta[..., n : n + p], logs], axis=-1)

    def too_far(self, theta: Floats) -> bool:
        """Whether the criterion is rounding there."""
        return bool(self.n_theta) and self.gaussian.too_far(theta[: self.n_theta] / self._telling)

    @cached_property
    def _telling(self) -> float:
        """How many times a unit of the link is what a row leaves open of η: with large counts effects are as large."""
        weights = self.gaussian.spec.design.weights
        unit = self.laplace.family.unit(self.laplace.rows)
        return 1.0 if weights is None else max(1.0, unit * float(np.sqrt(weights.mean())))

    def to_written(self, theta: Floats) -> Floats:
        """θ for the columns as written."""
        return self.gaussian.to_written(theta[..., : self.n_theta])

    def at_estimates(self, estimates: RemlEstimates) -> Point:
        """The point of estimates on the user's scale."""
        logs = np.log(np.zeros(0) if estimates.dispersion is None else estimates.dispersion)
        theta = self.gaussian.to_standard(estimates.theta)
        return self.point(np.concatenate([theta, self.laplace.inward(estimates.beta), logs]))

    def hessian(self, point: Point, curvature: Floats) -> Floats:
        """Second derivatives (n, n), by central differences of the gradient in steps for about that curvature."""
        x, n = point.theta, len(point.theta)
        steps = DIFFERENCE * np.sqrt(2.0 / np.maximum(np.diag(curvature), 1e-12))
        ends = np.concatenate([x + np.diag(steps), x - np.diag(steps)])
        heavy = float(np.abs(_at(point).mode.at.curvature).max(initial=0.0)) > HEAVIEST
        if not heavy and (step := min(self.most_together, len(ends))):
            rows, u = rows_together(self.laplace), _at(point).mode.u
            parts = [ends[first : first + step] for first in range(0, len(ends), step)]
            begun = [tuple(np.tile(own, (len(part), 1, 1)) for own in u) for part in parts]
            found = [self.slopes_together(rows, *both, CLOSE)[1] for both in zip(parts, begun, strict=True)]
            slopes = np.concatenate(found)
        else:
            slopes = np.array([self.gradient(self.point(end)) for end in ends])
        out = (slopes[:n] - slopes[n:]) / (2.0 * steps[:, None])
        held = self.at_end(x)
        out[held], out[:, held] = 0.0, 0.0
        return 0.5 * (out + out.T)


def _at(point: Point) -> LaplaceAt:
    at = point.at
    assert isinstance(at, LaplaceAt)
    return at


def fit_generalised(
    spec: ModelSpec, *, start: Floats | None = None, control: Control | None = None, points: int = 1
) -> RemlEstimates:
    """Maximise the likelihood by Laplace's approximation or quadrature, and evaluate everything at the optimum.

    Raises
    ------
    FitError
        If rows are separated, so that a coefficient has no estimate, or there is no such quadrature.
    """
    family = spec.family
    assert isinstance(family, Generalised)
    check_points(spec, points)
    pilot = _piloted(spec, family)
    _refuse_separation(spec, separating(spec, family, pilot))
    problem = GeneralisedProblem(make_laplace(spec, pilot), points)
    control = Control() if control is None else control
    near = replace(
        control,
        tolerance=max(control.tolerance, NEAR),
        max_iterations=min(control.max_iterations, MOST_ITERATIONS),
        max_halvings=min(control.max_halvings, MOST_HALVINGS),
    )
    others = np.concatenate([problem.laplace.inward(pilot.beta), np.log(np.array(pilot.own))])
    with LateBar("Fitting by Laplace's approximation", "evaluation") as bar:
        tracer = Tracer(problem, bar)
        begun = _begun(problem, _start(problem, start), others)
        try:
            found, hessian = _maximised(problem, tracer, begun, near, control)
            out = _estimates(problem, tracer, found, hessian)
        except np.linalg.LinAlgError as error:
            raise FitError(_no_numbers(spec, family)) from error

    if out.optimizer.status is Status.NOT_CONVERGED:
        _refuse_separation(spec, directions(spec, family))
    return out


def _maximised(
    problem: GeneralisedProblem, tracer: Tracer, begun: Floats, near: Control, control: Control
) -> tuple[Descent, Floats]:
    """The maximum, with the Hessian there."""
    found = descend(problem, tracer, begun, near, control.em_steps)
    assert found is not None  # no optimum was known
    found = _at_ends(problem, tracer, certified(problem, tracer, found, near))
    try:
        hessian = problem.hessian(found.point, found.curvature)
        return _polished(problem, tracer, found, hessian, control.tolerance), hessian
    except np.linalg.LinAlgError:  # so far out that there are no numbers beside it
        return replace(found, converged=False), found.curvature


def _refuse_separation(spec: ModelSpec, names: tuple[str, ...]) -> None:
    assert isinstance(spec.family, Generalised)
    if names:
        more = f" and {len(names) - NAMED} others" if len(names) > NAMED else ""
        where = "apart by their classes" if spec.family.classes else "all at one end of its range"
        raise FitError(
            f"The rows are separated: along {', '.join(names[:NAMED])}{more} some rows of {spec.design.response!r} are "
            f"{where}, so that the likelihood rises for ever and these coefficients have no finite estimate. Leave the "
            "predictor out, join its levels, or use a prior for it."
        )


def _start(problem: GeneralisedProblem, start: Floats | None) -> Floats:
    spec = problem.spec
    if start is None:
        return np.concatenate([np.zeros(0), *(t.structure.closest(np.eye(t.structure.size)) for t in spec.terms)])
    try:
        theta = np.asarray(start, dtype=float)
    except (TypeError, ValueError, OverflowError):
        theta = np.array(np.nan)
    if theta.shape != (spec.n_theta,) or not np.isfinite(theta).all():
        raise FitError(
            f"start must hold {spec.n_theta} finite numbers, θ in the order {', '.join(spec.theta_names)}; "
            f"got {start!r:.80}."
        )
    internal = problem.gaussian.to_standard(theta)
    return np.where(spec.on_diagonal & (np.abs(internal) < 1e-3), 1e-3, internal)


def _piloted(spec: ModelSpec, family: Generalised) -> Pilot:
    """The pilot, if its numbers are some."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), suppress(np.linalg.LinAlgError):
        pilot = fit_pilot(spec, family)
        if all(bool(np.isfinite(values).all()) for values in (pilot.eta, pilot.curvature, pilot.first)):
            return pilot
    raise FitError(_no_numbers(spec, family))


def _begun(problem: GeneralisedProblem, theta: Floats, others: Floats) -> Floats:
    """Parameters near the pilot where the criterion is a number: with smaller effects, if it has to be so."""
    for size in SIZES:
        x = np.append(size * theta, others)
        with suppress(np.linalg.LinAlgError):
            problem.point(x)
            return x
    raise FitError(_no_numbers(problem.spec, problem.laplace.family))


def _no_numbers(spec: ModelSpec, family: Generalised) -> str:
    _refuse_separation(spec, directions(spec, family))
    told = f"The likelihood of {spec.design.response!r} is no number even beside small random effects. "
    if not family.linking.endless:
        return told + (
            f"The link {family.link!r} lets means leave their range; "
            f"link={next(iter(x for x in family.links if LINKS[x].endless), 'log')!r} does not."
        )
    return told + "Check the response and offsets for values of very different sizes."


def _at_ends(problem: GeneralisedProblem, tracer: Tracer, found: Descent) -> Descent:
    """Put dispersions that are on their way to an end there, where the criterion does not rise."""
    theta, of_logs = found.point.theta, slice(problem.n_theta + problem.spec.n_fixed, None)
    moved = theta.copy()
    logs = theta[of_logs] - problem.centres
    moved[of_logs] = problem.centres + np.where(np.abs(logs) > AFAR, np.sign(logs) * FARTHEST, logs)
    if (moved == theta).all():
        return found
    point = tracer.point(moved, "snap")
    return replace(found, point=point) if point.criterion <= found.point.criterion + 1e-9 else found


def without_flat(hessian: Floats, right: Floats) -> Floats:
    """H⁺ times columns, without directions in which there is no curvature."""
    scale = np.sqrt(np.maximum(np.diag(hessian), 1e-12))
    values, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    inverse = np.where(values > NO_CURVATURE, 1.0 / np.where(values > NO_CURVATURE, values, 1.0), 0.0)
    turned = vectors.T @ (right.T / scale).T
    return np.asarray(((vectors @ (inverse * turned.T).T).T / scale).T)


def _polished(
    problem: GeneralisedProblem, tracer: Tracer, found: Descent, hessian: Floats, tolerance: float
) -> Descent:
    """Steps by the whole Hessian, which near the end is that of the end; what is on the boundary stays there."""
    zero = problem.scales & (np.abs(found.point.theta) < INTERIOR) | problem.at_end(found.point.theta)

    def aim(point: Point) -> tuple[Floats, float]:
        gradient = np.where(zero, 0.0, problem.gradient(point))
        step = np.where(zero, 0.0, -without_flat(hessian, gradient))
        return step, float(-gradient @ step)

    step, decrement = aim(found.point)
    found = replace(found, decrement=decrement)
    for _ in range(POLISHING):
        if found.decrement < tolerance or not np.isfinite(step).all():
            break
        after = tracer.point(problem.allowed(found.point.theta + step), "polish")
        step, decrement = aim(after)
        if after.criterion > found.point.criterion + 1e-12 * abs(after.criterion) or decrement > found.decrement:
            break
        found = replace(found, point=after, decrement=decrement)
    free = hessian[np.ix_(~zero, ~zero)]
    curved = np.linalg.eigvalsh(free).min(initial=0.0) > -CONCAVE * np.abs(free).max(initial=0.0)
    return replace(found, converged=bool(curved) and found.decrement < NEAR)


def _recorded(problem: GeneralisedProblem, tracer: Tracer, own: Descent, found: Descent) -> OptimizerRecord:
    """The path, with words for a dispersion that has no end, and for effects that are part of the link."""
    record = recorded(problem.gaussian, tracer, own)
    absorbed = _absorbed(problem)
    if absorbed and record.status is not Status.NOT_CONVERGED:
        told = f"{Status.NOT_IDENTIFIED.value} {OF_A_ROW} Not determined: {', '.join(absorbed)}."
        names = tuple(n for n in problem.spec.theta_names if n in absorbed or n in record.undetermined)
        return replace(record, status=Status.NOT_IDENTIFIED, message=told, undetermined=names)
    ends = problem.at_end(found.point.theta)[problem.n_theta + problem.spec.n_fixed :]
    words = [
        f"The {name} is estimated as {'infinite' if log > centre else 'zero'}{problem.laplace.family.without(name)}."
        for name, log, centre, end in zip(
            problem.laplace.family.dispersions, _at(found.point).logs, problem.centres, ends, strict=True
        )
        if end
    ]
    if alike := _alike(problem.spec, problem.laplace.rows.y):
        told = (
            f"{Status.NOT_IDENTIFIED.value} In every level of {' and of '.join(alike)} all rows of "
            f"{problem.spec.design.response!r} are at one end of its range: the likelihood of the standard deviation "
            "rises for ever or hardly bends, and its estimate is what the approximation makes of it. Effects need "
            "levels with both, or a prior: Model.sample()."
        )
        return replace(record, status=Status.NOT_IDENTIFIED, message=told)
    if not words or record.status is Status.NOT_CONVERGED:
        return record
    status = Status.BOUNDARY if record.status is Status.CONVERGED else record.status
    rest = record.message if record.status is not Status.CONVERGED else status.value
    return replace(record, status=status, message=" ".join([rest, *words]))


def _absorbed(problem: GeneralisedProblem) -> list[str]:
    """Names of standard deviations of intercepts that every row has for itself, where the link takes them up."""
    spec = problem.spec
    out: list[str] = []
    if problem.laplace.family.absorbs(problem.laplace.rows):
        for t in spec.terms:
            g = spec.groupings[t.grouping]
            alone = g.among is None and np.bincount(g.codes, minlength=g.n_levels).max() == 1
            if alone and t.columns == ("Intercept",):
                out += spec.theta_names[t.theta]
    return out


def _alike(spec: ModelSpec, y: Floats) -> list[str]:
    """Names of factors with an intercept of whose levels all rows are zeros, or all are ones."""
    family = spec.family
    assert isinstance(family, Generalised)
    out: list[str] = []
    if family.classes or not np.isfinite(family.upper):
        return out
    for t in spec.terms:
        g = spec.groupings[t.grouping]
        if "Intercept" in t.columns and t.group not in out:
            least, most = np.full(g.n_levels, family.upper), np.full(g.n_levels, family.lower)
            np.minimum.at(least, g.codes, y)
            np.maximum.at(most, g.codes, y)
            out += [t.group] if ((most == family.lower) | (least == family.upper)).all() else []
    return out


def _estimates(problem: GeneralisedProblem, tracer: Tracer, found: Descent, hessian: Floats) -> RemlEstimates:
    at, model, n, p = _at(found.point), problem.laplace, problem.n_theta, problem.spec.n_fixed
    whole = 2.0 * without_flat(hessian, np.eye(len(hessian)))
    own = replace(found, point=replace(found.point, theta=found.point.theta[:n]))
    return RemlEstimates(
        method="ML",
        theta=problem.to_written(found.point.theta),
        sigma=1.0,
        beta=at.beta,
        vcov=model.outward(whole[n : n + p, n : n + p]),
        criterion=at.criterion,
        modes=at.modes(),
        optimizer=_recorded(problem, tracer, own, found),
        singular=bool(boundary_words(problem.gaussian, own.point)),
        family=model.family.word,
        link=model.family.link,
        dispersion=np.exp(at.logs) if len(at.logs) else None,
        nagq=problem.points,
        classes=model.family.classes,
    )
