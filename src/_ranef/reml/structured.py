"""Residual variances and correlations with parameters ρ: an outer descent in ρ, each step of which is a fit at known ρ.

At ρ the rows are whitened and the model is as any other, so that all of it but ρ is found, and described, as ever. With
ρ moved and θ̂(ρ) following, the criterion's slope is its partial one, by the envelope theorem
(:func:`~_ranef.likelihood.row_slopes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from _ranef.errors import FitError
from _ranef.likelihood import CrossProducts, Likelihood, Method, cross_products, row_slopes
from _ranef.reml.fit import fit_reml
from _ranef.reml.optimize import Control
from _ranef.results import RemlEstimates, Status
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["StructuredFit", "fit_structured"]

#: difference of criteria that starts another round
MATTERS = 1e-7

#: rounds, each from the best θ that a fit from several starts finds
ROUNDS = 5

#: slope in ρ, in units that matter, below which a descent ends; and above which it has failed
FLAT, STEEP = 1e-6, 1e-3

#: times that fitted values are put in the place of those before, and the change of the criterion that ends it
REFITTED, SETTLED = 50, 1e-9

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


def fit_structured(
    spec: ModelSpec, method: Method = "REML", *, start: Floats | None = None, control: Control | None = None
) -> StructuredFit:
    """Estimate ρ, θ, σ and β of a model with residual variances or correlations that have parameters.

    A variance of the fitted values is one of those of the fit before, until they no longer change: as in nlme, they are
    taken as a known covariate (Pinheiro & Bates 2000, *Mixed-Effects Models in S and S-PLUS*, §5.2).

    Raises
    ------
    FitError
        If the residual variance goes to zero, of all rows or of some.
    """
    if spec.variance is None or not spec.variance.of_fitted:
        return _estimated(spec, method, start, control)
    plain = replace(spec, variance=None, correlation=None)
    products = cross_products(plain)
    first = fit_reml(plain, method, start=start, control=control, products=products)
    best = StructuredFit(plain, products, first)
    before = np.inf
    for _ in range(REFITTED):
        fitted = _fitted(best)
        at = None if best.spec.rho is None else best.spec.rho
        best = _estimated(spec.with_fitted(fitted), method, best.estimates.theta, control, at)
        if abs(best.criterion - before) <= SETTLED * (1.0 + abs(before)):
            break
        before = best.criterion
    return best


def _fitted(fit: StructuredFit) -> Floats:
    """Xβ̂ + Zb̂ with any offset (n,)."""
    d = fit.spec.design
    out = d.X @ fit.estimates.beta + (0.0 if d.offset is None else d.offset)
    for g, modes in zip(fit.spec.groupings, fit.estimates.modes, strict=True):
        out = out + np.einsum("na,na->n", g.Z, modes.values[g.codes])
    return np.asarray(out)


def _estimated(
    spec: ModelSpec, method: Method, start: Floats | None, control: Control | None, at: Floats | None = None
) -> StructuredFit:
    """The best of the descents from every start in ρ, or of one from ρ `at`."""
    if not spec.rho_names:
        return _at(spec, np.zeros(0), method, start, control)
    found = [_rounds(spec, rho, method, start, control) for rho in (_starts(spec) if at is None else [at])]
    return min(found, key=lambda fit: fit.criterion)


def _starts(spec: ModelSpec) -> Iterator[Floats]:
    parts = [part.starts for part in (spec.variance, spec.correlation) if part is not None]
    return (np.concatenate(chosen) for chosen in product(*parts))


def _rounds(
    spec: ModelSpec, rho: Floats, method: Method, start: Floats | None, control: Control | None
) -> StructuredFit:
    best = _at(spec, rho, method, start, control)
    for _ in range(ROUNDS):
        assert best.spec.rho is not None
        found = _descend(spec, best, method, control)
        assert found.spec.rho is not None
        # from all starts, as θ has followed one path so far
        best = min(found, _at(spec, found.spec.rho, method, None, control), key=lambda fit: fit.criterion)
        if best.criterion >= found.criterion - MATTERS:
            return found
    return best


def _at(spec: ModelSpec, rho: Floats, method: Method, start: Floats | None, control: Control | None) -> StructuredFit:
    own = spec.with_rho(rho)
    products = cross_products(own)
    return StructuredFit(own, products, fit_reml(own, method, start=start, control=control, products=products))


def _descend(spec: ModelSpec, first: StructuredFit, method: Method, control: Control | None) -> StructuredFit:
    """The lowest point of a quasi-Newton descent in ρ, θ following from where it was."""
    assert first.spec.rho is not None
    centre, units = first.spec.rho, first.spec.residual.units
    best, x = first, np.zeros(len(centre))
    slope = units * slopes(best, method)
    inverse = _inverse_curvature(spec, best, method, slope)
    for _ in range(STEPS):
        if np.abs(slope).max() < FLAT:
            break
        step = -inverse @ slope
        step = step if step @ slope < 0 else -slope
        step *= min(1.0, LONGEST / np.abs(step).max())
        found = None
        for shorter in SHORTER:
            ahead = np.clip(x + shorter * step, -FAR, FAR)
            found = _tried(spec, centre + units * ahead, method, best, control)
            if found is not None and found.criterion <= best.criterion + 1e-4 * slope @ (ahead - x):
                break
        if found is None or found.criterion > best.criterion or (ahead == x).all():
            break
        change, before = ahead - x, slope
        best, x, slope = found, ahead, units * slopes(found, method)
        inverse = _updated(inverse, change, slope - before)
    return _told(best, method)


def _tried(
    spec: ModelSpec, rho: Floats, method: Method, near: StructuredFit, control: Control | None
) -> StructuredFit | None:
    """The fit at ρ from θ of one nearby; None so far out that some rows have no variance, or all the same residual."""
    try:
        return _at(spec, rho, method, near.estimates.theta, control)
    except (FitError, np.linalg.LinAlgError, FloatingPointError):
        return None


def _inverse_curvature(spec: ModelSpec, at: StructuredFit, method: Method, slope: Floats) -> Floats:
    """Inverse of the curvature (n_rho, n_rho) in ρ with θ held, by differences; its eigenvalues made positive."""
    assert at.spec.rho is not None
    units, out = at.spec.residual.units, []
    for step in DIFFERENCE * np.diag(units):
        own = spec.with_rho(at.spec.rho + step)
        moved = replace(at, spec=own, products=cross_products(own))
        out.append((units * slopes(moved, method) - slope) / DIFFERENCE)
    values, vectors = np.linalg.eigh(0.5 * (np.array(out) + np.array(out).T))
    return np.asarray((vectors / np.maximum(np.abs(values), LEAST_CURVATURE)) @ vectors.T)


def _updated(inverse: Floats, step: Floats, change: Floats) -> Floats:
    """The inverse with the curvature along a step, where that is positive (Broyden, Fletcher, Goldfarb and Shanno)."""
    along = float(step @ change)
    if along <= 1e-12 * float(np.linalg.norm(step) * np.linalg.norm(change)):
        return inverse
    left = np.eye(len(step)) - np.outer(step, change) / along
    return np.asarray(left @ inverse @ left.T + np.outer(step, step) / along)


def slopes(fit: StructuredFit, method: Method) -> Floats:
    """∂criterion/∂ρ (n_rho,) at a fit."""
    return row_slopes(Likelihood(fit.spec, fit.products, method).at(fit.estimates.theta))


def _told(fit: StructuredFit, method: Method) -> StructuredFit:
    """The fit with a status that counts ρ."""
    optimizer = fit.estimates.optimizer
    steep = np.abs(fit.spec.residual.units * slopes(fit, method)).max(initial=0.0)
    if steep > STEEP:
        message = (
            f"The parameters of the residuals did not converge: the criterion still has a slope of {steep:.2g} in "
            "them. One of them may have no bound, as where a stratum has no residual variance: see "
            "fit.residual_parameters."
        )
        optimizer = replace(optimizer, status=Status.NOT_CONVERGED, message=message)
    return replace(fit, estimates=replace(fit.estimates, optimizer=optimizer))
