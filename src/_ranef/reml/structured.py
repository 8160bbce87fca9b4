"""Residual variances and correlations with parameters ρ: descents in (θ, ρ) together, then a fit at known ρ.

At ρ̂ the rows are whitened and the model is as any other, so that all of it but ρ is described, and its boundary judged,
as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import scipy

from _ranef.errors import FitError
from _ranef.likelihood import CrossProducts, Method, OverRho, over_rho
from _ranef.reml.fit import FEW_ROWS, begun, better, certified, fit_reml
from _ranef.reml.optimize import Control, Descent, Tracer, descend
from _ranef.reml.problem import FAR, JointProblem, Point, Problem
from _ranef.reml.residual_status import judged
from _ranef.results import RemlEstimates, Status
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints
from _ranef.support.progress import LateBar

__all__ = ["StructuredFit", "fit_structured"]

#: difference of criteria that starts another round, and how many there are
MATTERS, ROUNDS = 1e-7, 5

#: starts at random, their spread in units that matter, what they are looked at by, and how many are followed
RANDOM, SPREAD, GLANCE, FOLLOWED = 8, 1.2, Control(max_iterations=5), 2

#: slope in ρ, in units that matter, above which a descent has failed
STEEP = 1e-3

#: times that fitted values are put in the place of those before, and their change, over their spread, that ends it
REFITTED, SETTLED = 100, 1e-6

#: spread of fitted values, beside their size, below which they are all the same
CONSTANT = 1e-9

#: residuals over the spread of the response that are rounding, and rows beside the coefficients read to see it
EXACT, BESIDE = 1e-10, 50

#: steps of least squares that look for an exact fit by random effects too
LEAST_SQUARES = 2000

#: from here on they are moved half of the way only, for some go to and fro
DAMPED = 12


@dataclass(frozen=True, eq=False, repr=False)
class StructuredFit:
    """A fit at the estimated ρ.

    Attributes
    ----------
    spec : ModelSpec
        With ρ̂.
    products : CrossProducts
    estimates : RemlEstimates
    """

    spec: ModelSpec
    products: CrossProducts
    estimates: RemlEstimates

    @property
    def criterion(self) -> float:
        """That of the estimates."""
        return self.estimates.criterion

    @property
    def rho(self) -> Floats:
        """ρ̂ (n_rho,)."""
        return np.zeros(0) if self.spec.rho is None else self.spec.rho


def fit_structured(
    spec: ModelSpec,
    method: Method = "REML",
    *,
    start: Floats | None = None,
    at: Floats | None = None,
    control: Control | None = None,
) -> StructuredFit:
    """Estimate ρ, θ, σ and β of a model with residual variances or correlations that have parameters.

    A variance of the fitted values is one of those of the fit before, until they no longer change: as in nlme, they are
    taken as a known covariate (Pinheiro & Bates 2000, *Mixed-Effects Models in S and S-PLUS*, §5.2).

    Descents begin at several ρ, or at the one given.

    Raises
    ------
    FitError
        If the residual variance goes to zero, of all rows or of some.
    """
    _refuse_exact(spec)
    try:
        fit = _fitted_structured(spec, method, start, at, control)
    except FitError:
        _refuse_unbounded(spec, method)
        raise
    if fit.estimates.optimizer.status is Status.NOT_CONVERGED:
        _refuse_unbounded(spec, method)
    optimizer = judged(fit.estimates.optimizer, fit.spec, method, fit.estimates.theta)
    return replace(fit, estimates=replace(fit.estimates, optimizer=optimizer))


def _refuse_exact(spec: ModelSpec) -> None:
    """Refuse rows that the fixed effects fit exactly: the likelihood rises for ever as |R| falls.

    A stratum of them has no variance; all of them, which only a known σ allows, no parameter of residuals.
    """
    strata = [] if spec.variance is None else spec.variance.strata
    whole = spec.sigma is not None and spec.design.stream is None
    noise = _rounding(spec) if strata or whole else 0.0
    if whole and _all_exact(spec, np.arange(spec.n_obs), noise):
        raise FitError(
            f"{' and '.join(spec.residual.calls)} cannot be estimated: the fixed effects fit {spec.design.response!r} "
            f"exactly, which may be constant or computed, and with σ known to be {spec.sigma:g} the likelihood rises "
            "for ever as residuals get more alike. Look at the response, or leave variance= and correlation= out."
        )
    for label, rows in strata:
        if _all_exact(spec, rows, noise):
            raise FitError(
                f"The residual variance of {label} has no estimate: the fixed effects fit {spec.design.response!r} "
                f"exactly in its {len(rows)} rows, which may be constant or computed. Leave these rows out, join them "
                "to another stratum, or leave variance= out."
            )


def _refuse_unbounded(spec: ModelSpec, method: Method) -> None:
    """Say which stratum's variance falls for ever, where a fit has found no end."""
    for label, rows in [] if spec.variance is None else spec.variance.strata:
        why = None
        if spec.groupings and _exact(spec, rows, _rounding(spec), effects=True):
            why = f"the fixed and the random effects together fit {spec.design.response!r} exactly in its rows"
        elif method == "ML" and np.linalg.matrix_rank(spec.design.X[rows]) == len(rows):
            why = f"the fixed effects have {len(rows)} coefficients for its rows, of which they fit any exactly"
        if why is not None:
            raise FitError(
                f"The residual variance of {label} ({len(rows)} rows) has no estimate by {method}: {why}, so that the "
                "likelihood rises for ever as it falls. Join them to another stratum, leave them out, or leave "
                f"variance= out{', or fit by REML' if method == 'ML' else ''}."
            )


def _rounding(spec: ModelSpec) -> float:
    """Residuals that count as none."""
    y = spec.design.y
    return float(max(EXACT * y.std(), 16 * np.finfo(float).eps * np.abs(y).max()))


def _all_exact(spec: ModelSpec, rows: Ints, noise: float) -> bool:
    few = rows[: spec.n_fixed + BESIDE]  # seldom more have to be read
    return _exact(spec, few, noise) and _exact(spec, rows, noise)


def _exact(spec: ModelSpec, rows: Ints, noise: float, *, effects: bool = False) -> bool:
    """Whether the response of more rows than they determine coefficients is Xβ, or Xβ + Zb, but for rounding."""
    d = spec.design
    X, y = d.X[rows], d.y[rows] if d.offset is None else d.y[rows] - d.offset[rows]
    size = np.linalg.norm(X, axis=0)
    X = X / np.where(size > 0, size, 1.0)
    if effects:
        parts = [scipy.sparse.csr_array(X), *(_indicators(g.codes[rows], g.Z[rows]) for g in spec.groupings)]
        columns = scipy.sparse.csr_array(scipy.sparse.hstack(parts))
        rest = y - columns @ scipy.sparse.linalg.lsmr(columns, y, atol=1e-14, btol=1e-14, maxiter=LEAST_SQUARES)[0]
        rank = X.shape[1] + sum(len(np.unique(g.codes[rows])) * g.Z.shape[1] for g in spec.groupings)
    else:
        beta, _, rank, _ = np.linalg.lstsq(X, y, rcond=None)
        rest = y - X @ beta
    return bool(len(rows) > rank and np.abs(rest).max() <= noise)


def _indicators(codes: Ints, Z: Floats) -> scipy.sparse.csr_array:
    """The columns (m, J p) of one grouping for some rows."""
    p = Z.shape[1]
    at = (np.repeat(np.arange(len(codes)), p), (codes[:, None] * p + np.arange(p)).ravel())
    return scipy.sparse.csr_array((Z.ravel(), at), shape=(len(codes), (int(codes.max()) + 1) * p))


def _fitted_structured(
    spec: ModelSpec, method: Method, start: Floats | None, at: Floats | None, control: Control | None
) -> StructuredFit:
    if spec.variance is None or not spec.variance.of_fitted:
        return _estimated(_search(spec, method, control), start, at)
    plain = replace(spec, variance=None, correlation=None).with_rho(None)
    best = _search(plain, method, control).at(np.zeros(0), start)
    read = _fitted(best)
    if read.std() <= CONSTANT * np.abs(read).max():
        raise FitError(
            f"{spec.variance.call} reads the fitted values, and they are {read.mean():.4g} in every row: all rows have "
            "one standard deviation, which is σ. Leave variance= out, or name a column."
        )
    for k in range(REFITTED):
        search = _search(spec.with_fitted(read), method, control)
        best = _estimated(search, best.estimates.theta, best.spec.rho if best.spec.rho_names else None)
        change = _fitted(best) - read
        if np.abs(change).max() <= SETTLED * read.std():
            return best
        read = read + (1.0 if k < DAMPED else 0.5) * change
    return _unsettled(best)


def _fitted(fit: StructuredFit) -> Floats:
    """Xβ̂ + Zb̂ with any offset (n,)."""
    d = fit.spec.design
    out = d.X @ fit.estimates.beta + (0.0 if d.offset is None else d.offset)
    for g, modes in zip(fit.spec.groupings, fit.estimates.modes, strict=True):
        out = out + np.einsum("na,na->n", g.Z, modes.values[g.codes])
    return np.asarray(out)


@dataclass(frozen=True, eq=False, repr=False)
class Search:
    """One model at any ρ.

    Attributes
    ----------
    over : OverRho
    control : Control, optional
    """

    over: OverRho
    control: Control | None

    @property
    def spec(self) -> ModelSpec:
        """Without ρ."""
        return self.over.spec

    def at(self, rho: Floats, start: Floats | None) -> StructuredFit:
        """The fit at ρ, by a descent from θ `start` or from where REML begins."""
        own = self.over.at(rho)
        estimates = fit_reml(own.spec, own.method, start=start, control=self.control, products=own.products)
        return StructuredFit(own.spec, own.products, estimates)

    def joint(self, rho: Floats) -> JointProblem:
        """The criterion as a function of all parameters, in units of ρ."""
        own = self.over.at(rho)
        return JointProblem(self.over, Problem(own.spec, own.products, own.method))


def _search(spec: ModelSpec, method: Method, control: Control | None) -> Search:
    return Search(over_rho(spec, method), control)


def _estimated(search: Search, start: Floats | None, at: Floats | None = None) -> StructuredFit:
    """The best of the descents in (θ, ρ) from every start in ρ, or of one from ρ `at`."""
    if not search.spec.rho_names:
        return search.at(np.zeros(0), start)
    rhos = _starts(search.spec) if at is None else [at]
    joint = search.joint(rhos[0])
    with LateBar(f"Fitting by {search.over.method}", "evaluation") as bar:
        tracer = Tracer(joint, bar)
        control = replace(search.control or Control(), em_steps=0)
        starts = _begun(joint, tracer, start, rhos)
        starts += _at_random(joint, tracer) if start is None and at is None else []
        found = _lowest(joint, tracer, starts, control)
        for _ in range(ROUNDS):
            best, lower = _finished(search, joint, found)
            steep = _steepness(joint, found)
            if not lower and not (found.converged and steep > STEEP):  # or it was stopped where ρ may go no further
                break
            # from all starts in θ a lower point has been found, as θ has followed one path so far; or ρ is far off
            joint = search.joint(best.rho)
            tracer = replace(tracer, problem=joint)
            near = joint.at_start.to_standard(best.estimates.theta)
            found = _lowest(joint, tracer, [joint.joined(near, 1.0, best.rho)], control)
        else:
            steep = _steepness(joint, found)
    record = best.estimates.optimizer
    record = replace(record, steps=(*tracer.steps, *record.steps))
    best = replace(best, estimates=replace(best.estimates, optimizer=record))
    return best if steep <= STEEP else _told(best, steep)


def _finished(search: Search, joint: JointProblem, found: Descent) -> tuple[StructuredFit, bool]:
    """The fit at the ρ where a descent ended, and whether it is lower than that, from other starts in θ."""
    rho, theta = joint.rho(found.point.theta), joint.to_written(found.point.theta)
    with suppress(FitError, np.linalg.LinAlgError):  # far out nothing may be fitted but what is near
        best = search.at(rho, None)
        if best.criterion <= found.point.criterion + MATTERS:
            return best, best.criterion < found.point.criterion - MATTERS
    return search.at(rho, theta), False


def _starts(spec: ModelSpec) -> list[Floats]:
    """Values of ρ from which descents begin."""
    parts = [part.starts for part in (spec.variance, spec.correlation) if part is not None]
    return [np.concatenate(chosen) for chosen in product(*parts)]


def _begun(joint: JointProblem, tracer: Tracer, start: Floats | None, rhos: Iterable[Floats]) -> list[Floats]:
    """Parameters at several ρ, the lowest first, without those that are singular, if not all are, or lead to others."""
    out: list[Point] = []
    refused: Exception | None = None
    for rho in rhos:
        try:
            problem, factor = joint.at_rho(rho)
            point = begun(problem, replace(tracer, problem=problem), start)
            out.append(Point(joint.joined(point.theta, factor, rho), point.at, factor))
        except (FitError, np.linalg.LinAlgError) as error:
            refused = error
    if not out and refused is not None:
        raise refused
    own = _apart(joint, out) if len(joint.units) == 1 else out
    return [point.theta for point in sorted(own, key=lambda point: point.criterion)]


def _apart(joint: JointProblem, points: list[Point]) -> list[Point]:
    """Of points along one ρ, those from which the slope does not lead down to a lower one."""
    points = sorted(points, key=lambda point: float(point.theta[-1]))
    ways = [k - int(np.sign(joint.gradient(point)[-1])) for k, point in enumerate(points)]
    down = [0 <= way < len(points) and points[way].criterion < p.criterion for way, p in zip(ways, points, strict=True)]
    return [point for point, lower in zip(points, down, strict=True) if not lower]


def _lowest(joint: JointProblem, tracer: Tracer, starts: Sequence[Floats], control: Control) -> Descent:
    """The lowest end of the descents from some starts; a path that leads no lower than the lowest so far is left.

    An end that is none, as where the likelihood has no bound, counts only where there is no other.
    """
    best: Descent | None = None
    refused: Exception | None = None
    for x in starts:
        try:
            found = descend(joint, tracer, x, control, 0, None if best is None else best.point)
            if found is not None and (best is None or _preferred(joint, found, best)):
                best = certified(joint, tracer, found, control)
        except (FitError, np.linalg.LinAlgError) as error:
            refused = error
    if best is None:
        assert refused is not None
        raise refused
    return best


def _preferred(joint: JointProblem, found: Descent, best: Descent) -> bool:
    ends, known = _steepness(joint, found) <= STEEP, _steepness(joint, best) <= STEEP
    return better(found, best) if ends == known else ends


def _steepness(joint: JointProblem, found: Descent) -> float:
    """The slope in ρ, in units that matter, that is left where a descent ended before its end, or at a bound."""
    slope, u = joint.gradient(found.point)[joint.n_theta :], found.point.theta[joint.n_theta :]
    return float(np.abs(slope if not found.converged else slope[np.abs(u) >= FAR]).max(initial=0.0))


def _at_random(joint: JointProblem, tracer: Tracer) -> list[Floats]:
    """Where a few steps from starts at random have come lowest, for few rows, whose criterion may have many minima."""
    if joint.spec.n_obs > FEW_ROWS or len(joint.units) < 2:
        return []
    rng, out = np.random.default_rng(0), []
    for u in SPREAD * rng.normal(size=(RANDOM, len(joint.units))):
        with suppress(FitError, np.linalg.LinAlgError):
            (start,) = _begun(joint, tracer, None, [joint.centre + joint.units * u])
            found = descend(joint, tracer, start, GLANCE, 0)
            assert found is not None  # no optimum was known
            out.append(found.point)
    return [point.theta for point in sorted(out, key=lambda point: point.criterion)[:FOLLOWED]]


def _unsettled(fit: StructuredFit) -> StructuredFit:
    message = f"The fitted values that the residual variance reads still changed after {REFITTED} fits."
    return _not_converged(fit, message)


def _not_converged(fit: StructuredFit, message: str) -> StructuredFit:
    optimizer = replace(fit.estimates.optimizer, status=Status.NOT_CONVERGED, message=message)
    return replace(fit, estimates=replace(fit.estimates, optimizer=optimizer))


def _told(fit: StructuredFit, steep: float) -> StructuredFit:
    """The fit with a status that counts ρ."""
    message = (
        f"The parameters of the residuals did not converge: the criterion still has a slope of {steep:.2g} in them. "
        "One of them may have no bound, as where a stratum has no residual variance: see fit.residual_parameters."
    )
    return _not_converged(fit, message)
