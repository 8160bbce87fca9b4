"""Residual variances and correlations with parameters ρ: an outer descent in ρ, each step of which is a fit at known ρ.

At ρ the rows are whitened and the model is as any other, so that all of it but ρ is found, and described, as ever. With
ρ moved and θ̂(ρ) following, the criterion's slope is its partial one, by the envelope theorem
(:func:`~_ranef.likelihood.row_slopes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from _ranef.errors import FitError
from _ranef.likelihood import CrossProducts, Likelihood, Method, OverRho, over_rho
from _ranef.reml.fit import fit_reml
from _ranef.reml.optimize import Control
from _ranef.reml.residual_status import judged
from _ranef.results import RemlEstimates, Status
from _ranef.spec import ModelSpec, mean_log_sds
from _ranef.support.arrays import Floats, Ints

__all__ = ["StructuredFit", "fit_structured"]

#: difference of criteria that starts another round
MATTERS = 1e-7

#: rounds, each from the best θ that a fit from several starts finds
ROUNDS = 5

#: distance of ρ, in units that matter, and relative one of θ, that counts as near
NEAR = 0.1

#: slope in ρ, in units that matter, below which a descent ends; and above which it has failed
FLAT, STEEP = 1e-6, 1e-3

#: what a step may yet lower the criterion by, over itself, that is rounding
ROUNDING = 1e-13

#: times that fitted values are put in the place of those before, and their change, over their spread, that ends it
REFITTED, SETTLED = 100, 1e-6

#: spread of fitted values, beside their size, below which they are all the same
CONSTANT = 1e-9

#: residuals over the spread of the response that are rounding, and rows beside the coefficients read to see it
EXACT, BESIDE = 1e-10, 50

#: from here on they are moved half of the way only, for some go to and fro
DAMPED = 12

#: steps of one descent, in units that matter: the longest, how it is shortened, and how far from the start it may lead
STEPS, LONGEST, SHORTER, FAR = 100, 2.0, 0.5 ** np.arange(12.0), 15.0

#: step of the differences of slopes, and the least curvature that counts
DIFFERENCE, LEAST_CURVATURE = 1e-3, 1e-2


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
    _refuse_exact_strata(spec)
    fit = _fitted_structured(spec, method, start, at, control)
    optimizer = judged(fit.estimates.optimizer, fit.spec, method)
    return replace(fit, estimates=replace(fit.estimates, optimizer=optimizer))


def _refuse_exact_strata(spec: ModelSpec) -> None:
    """Refuse strata whose rows the fixed effects fit exactly: the likelihood rises for ever as their variance falls."""
    strata = [] if spec.variance is None else spec.variance.strata
    for label, rows in strata:
        few = rows[: spec.n_fixed + BESIDE]  # seldom more have to be read
        if _exact(spec, few) and _exact(spec, rows):
            raise FitError(
                f"The residual variance of {label} has no estimate: the fixed effects fit {spec.design.response!r} "
                f"exactly in its {len(rows)} rows, which may be constant or computed. Leave these rows out, join them "
                "to another stratum, or leave variance= out."
            )


def _exact(spec: ModelSpec, rows: Ints) -> bool:
    """Whether the response of more rows than they determine coefficients is Xβ for some β, but for rounding."""
    d = spec.design
    X, y = d.X[rows], d.y[rows] if d.offset is None else d.y[rows] - d.offset[rows]
    size = np.linalg.norm(X, axis=0)
    X = X / np.where(size > 0, size, 1.0)
    beta, _, rank, _ = np.linalg.lstsq(X, y, rcond=None)
    rest = y - X @ beta
    noise = max(EXACT * d.y.std(), 16 * np.finfo(float).eps * np.abs(d.y).max())
    return bool(len(rows) > rank and np.abs(rest).max() <= noise)


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
    """Fits of one model at any ρ, and the slopes there.

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

    def at(self, rho: Floats, start: Floats | None, *, near: bool = False) -> StructuredFit:
        """The fit at ρ, by a descent from θ `start` or from where REML begins; a start that is `near` needs no EM."""
        own = self.over.at(rho)
        control = replace(self.control or Control(), em_steps=0) if near else self.control
        estimates = fit_reml(own.spec, own.method, start=start, control=control, products=own.products)
        return StructuredFit(own.spec, own.products, estimates)

    def tried(self, rho: Floats, near: StructuredFit) -> StructuredFit | None:
        """The fit at ρ from the effects of one nearby; None so far out that some rows have no variance, or all one."""
        start = self.carried(near, rho)
        if not np.isfinite(start).all():
            return None
        try:
            found = self.at(rho, start, near=True)
        except (FitError, np.linalg.LinAlgError, FloatingPointError):
            return None
        return found if np.isfinite(found.criterion) else None

    def carried(self, fit: StructuredFit, rho: Floats) -> Floats:
        """θ (n_theta,) at ρ with effects as large as in a fit, beside the mean standard deviation of the rows."""
        change = mean_log_sds(self.spec, rho) - mean_log_sds(self.spec, fit.rho)
        with np.errstate(over="ignore"):
            return self.spec.times(fit.estimates.theta, np.exp(change))

    def slopes(self, fit: StructuredFit) -> Floats:
        """∂criterion/∂ρ (n_rho,) at a fit."""
        return self.over.slopes(Likelihood(fit.spec, fit.products, self.over.method).at(fit.estimates.theta))


def _search(spec: ModelSpec, method: Method, control: Control | None) -> Search:
    return Search(over_rho(spec, method), control)


def _estimated(search: Search, start: Floats | None, at: Floats | None = None) -> StructuredFit:
    """The best of the descents from every start in ρ, or of one from ρ `at`."""
    if not search.spec.rho_names:
        return search.at(np.zeros(0), start)
    best = None
    for first in _begun(search, start, _starts(search.spec) if at is None else [at]):
        found = _descend(search, first, best)
        if best is None or (found is not None and found.criterion < best.criterion):
            best = found
    assert best is not None
    for _ in range(ROUNDS):
        # from all starts, as θ has followed one path so far; and with units and curvature of where it has come to
        again = best
        with suppress(FitError, np.linalg.LinAlgError):  # far out nothing may be fitted but what is near
            again = search.at(best.rho, None)
        lower = again.criterion < best.criterion - MATTERS
        if not lower and best.estimates.optimizer.status is not Status.NOT_CONVERGED:
            break
        found = _descend(search, again if lower else best)
        assert found is not None
        if found.criterion >= best.criterion - MATTERS:
            break
        best = found
    return best


def _begun(search: Search, start: Floats | None, rhos: Iterable[Floats]) -> list[StructuredFit]:
    """Fits at several ρ, the lowest first, without those that are singular, if not all are, or that lead to another."""
    out, refused = [], None
    for rho in rhos:
        try:
            out.append(search.at(rho, start))
        except (FitError, np.linalg.LinAlgError) as error:
            refused = error
    if not out and refused is not None:
        raise refused
    own = _apart(search, out) if len(search.spec.rho_names) == 1 else out
    return sorted(own, key=lambda fit: fit.criterion)


def _apart(search: Search, fits: list[StructuredFit]) -> list[StructuredFit]:
    """Of fits along one ρ, those from which the slope does not lead down to a lower one."""
    fits = sorted(fits, key=lambda fit: float(fit.rho[0]))
    ways = [k - int(np.sign(search.slopes(fit)[0])) for k, fit in enumerate(fits)]
    down = [0 <= way < len(fits) and fits[way].criterion < fit.criterion for way, fit in zip(ways, fits, strict=True)]
    return [fit for fit, lower in zip(fits, down, strict=True) if not lower]


def _starts(spec: ModelSpec) -> Iterator[Floats]:
    parts = [part.starts for part in (spec.variance, spec.correlation) if part is not None]
    return (np.concatenate(chosen) for chosen in product(*parts))


def _descend(search: Search, first: StructuredFit, known: StructuredFit | None = None) -> StructuredFit | None:
    """The lowest point of a quasi-Newton descent in ρ, θ following from where it was.

    None once the path runs into the basin of a `known` optimum.
    """
    centre, units = first.rho, first.spec.residual.units
    best, slope = first, units * search.slopes(first)
    x: Floats = np.zeros(len(centre))
    inverse = _inverse_curvature(search, best, slope, units)
    for _ in range(STEPS):
        if known is not None and _same_basin(best, known, slope, units):
            return None
        # at a bound, what leads out of it is no way
        open_ = np.where((np.abs(x) >= FAR) & (x * slope < 0), 0.0, slope)
        if np.abs(open_).max() < FLAT:
            break
        newton = -inverse @ open_
        if 0 < -newton @ open_ < ROUNDING * abs(best.criterion):
            break
        way = newton if newton @ open_ < 0 else -open_
        step: Floats = way * min(1.0, LONGEST / np.abs(way).max())
        found = None
        for shorter in SHORTER:
            ahead: Floats = np.clip(x + shorter * step, -FAR, FAR)
            found = search.tried(centre + units * ahead, best)
            if found is not None and found.criterion <= best.criterion + 1e-4 * min(0.0, float(slope @ (ahead - x))):
                break
        if found is None or found.criterion > best.criterion or (ahead == x).all():
            break
        change, before = ahead - x, slope
        best, slope = found, units * search.slopes(found)
        x = ahead
        inverse = _updated(inverse, change, slope - before)
    left = abs(float(slope @ inverse @ slope))
    rounding = left < max(MATTERS, 10.0 * ROUNDING * abs(best.criterion))
    return best if rounding else _told(best, float(np.abs(slope).max()))


def _same_basin(fit: StructuredFit, known: StructuredFit, slope: Floats, units: Floats) -> bool:
    """Whether a descent is about to arrive where one has been before."""
    near = np.abs((fit.rho - known.rho) / units).max() < NEAR and np.abs(slope).max() < 1.0
    theta, other = fit.estimates.theta, known.estimates.theta
    return bool(
        near and fit.criterion > known.criterion - 1e-6 and (np.abs(theta - other) < NEAR * (1.0 + np.abs(other))).all()
    )


def _inverse_curvature(search: Search, at: StructuredFit, slope: Floats, units: Floats) -> Floats:
    """Inverse of the curvature (n_rho, n_rho) in ρ with θ held, by differences; its eigenvalues made positive."""
    out = np.eye(len(units))  # what stays so is next to singular on either side
    for k in range(len(units)):
        for step in (DIFFERENCE, -DIFFERENCE):
            with suppress(np.linalg.LinAlgError, FitError):
                out[k] = _bend(search, at, slope, units, step * np.eye(len(units))[k] * units) / step
                break
    out = np.where(np.isfinite(out), out, np.eye(len(units)))
    values, vectors = np.linalg.eigh(0.5 * (out + out.T))
    return np.asarray((vectors / np.maximum(np.abs(values), LEAST_CURVATURE)) @ vectors.T)


def _bend(search: Search, at: StructuredFit, slope: Floats, units: Floats, step: Floats) -> Floats:
    rho = at.rho + step
    estimates = replace(at.estimates, theta=search.carried(at, rho))
    own = search.over.at(rho)
    moved = StructuredFit(own.spec, own.products, estimates)
    return np.asarray(units * search.slopes(moved) - slope)


def _updated(inverse: Floats, step: Floats, change: Floats) -> Floats:
    """The inverse with the curvature along a step, where that is positive (Broyden, Fletcher, Goldfarb and Shanno)."""
    along = float(step @ change)
    if along <= 1e-12 * float(np.linalg.norm(step) * np.linalg.norm(change)):
        return inverse
    left = np.eye(len(step)) - np.outer(step, change) / along
    return np.asarray(left @ inverse @ left.T + np.outer(step, step) / along)


def _unsettled(fit: StructuredFit) -> StructuredFit:
    message = f"The fitted values that the residual variance reads still changed after {REFITTED} fits."
    return _not_converged(fit, message)


def _not_converged(fit: StructuredFit, message: str) -> StructuredFit:
    optimizer = replace(fit.estimates.optimizer, status=Status.NOT_CONVERGED, message=message)
    return replace(fit, estimates=replace(fit.estimates, optimizer=optimizer))


def _told(fit: StructuredFit, steep: float) -> StructuredFit:
    """The fit with a status that counts ρ."""
    if steep <= STEEP:
        return fit
    message = (
        f"The parameters of the residuals did not converge: the criterion still has a slope of {steep:.2g} in them. "
        "One of them may have no bound, as where a stratum has no residual variance: see fit.residual_parameters."
    )
    return _not_converged(fit, message)
