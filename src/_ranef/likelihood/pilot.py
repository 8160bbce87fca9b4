"""The model without its random effects: where engines begin, the scale they work on, and whether rows are separated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from _ranef.spec import Generalised, ModelSpec, Rows
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["Pilot", "fit_pilot", "outward_direction", "response_rows", "separating", "working_model"]

#: Newton's steps at most, halvings of one, and the decrement that ends them
STEPS, HALVINGS, DONE = 50, 30, 1e-10

#: working weights, beside the largest, that still count; and linear predictors from which separation is looked for
LEAST_WEIGHT, FAR_OUT = 1e-6, 12.0

#: where the best direction of a linear program on columns of unit size is no rounding
SEPARATED = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class Pilot:
    """A generalised linear model of the fixed effects alone.

    Attributes
    ----------
    beta : array (p,)
    eta : array (n,)
        With the offset.
    curvature : array (n,)
        Minus the second derivatives of the log density of rows.
    first : array (n,)
    own : tuple of float
        Dispersions to start from.
    converged : bool
    """

    beta: Floats
    eta: Floats
    curvature: Floats
    first: Floats
    own: tuple[float, ...]
    converged: bool


def response_rows(spec: ModelSpec) -> Rows:
    """The response and prior weights of the rows."""
    d = spec.design
    return Rows(d.y, np.ones(spec.n_obs) if d.weights is None else d.weights)


def fit_pilot(spec: ModelSpec, family: Generalised) -> Pilot:
    """Maximise the likelihood without random effects, dispersions as they start, by Newton's method."""
    d, rows, own = spec.design, response_rows(spec), family.starts(response_rows(spec))
    named = dict(zip(family.dispersions, own, strict=True))
    offset = np.zeros(spec.n_obs) if d.offset is None else d.offset
    size = np.sqrt((d.X**2).mean(axis=0))
    X = d.X / np.where(size > 0, size, 1.0)
    eta = family.linked(_inside(rows, family))
    spread = family.mean_slope(eta) ** 2 / family.row_variance(family.mean(eta), rows.weights, named)
    beta = _solved(X, spread, X.T @ (spread * (eta - offset)))
    at = family.slopes(eta := X @ beta + offset, rows, named)
    converged = not spec.n_fixed
    for _ in range(STEPS if spec.n_fixed else 0):
        slope = X.T @ at.first
        step = _solved(X, at.curvature, slope)
        if float(slope @ step) < DONE:
            converged = True
            break
        length, value = 1.0, at.value.sum()
        for _ in range(HALVINGS):
            trial = family.slopes(X @ (beta + length * step) + offset, rows, named)
            if trial.value.sum() >= value:
                break
            length /= 2.0
        beta = beta + length * step
        at = family.slopes(eta := X @ beta + offset, rows, named)
    return Pilot(beta / np.where(size > 0, size, 1.0), eta, at.curvature, at.first, own, converged)


def _inside(rows: Rows, family: Generalised) -> Floats:
    """Means near the response and inside their range."""
    if np.isfinite(family.upper):
        return (rows.weights * rows.y + 0.5) / (rows.weights + 1.0)
    return np.where(rows.y > 0, rows.y, 0.1)


def _solved(X: Floats, weights: Floats, right: Floats) -> Floats:
    gram = (X * weights[:, None]).T @ X
    values, vectors = np.linalg.eigh(gram)
    kept = np.maximum(values, 1e-14 * values.max(initial=1e-300))
    return np.asarray(vectors @ ((vectors.T @ right) / kept))


def working_model(spec: ModelSpec, pilot: Pilot) -> ModelSpec:
    """The Gaussian model of working response and weights, by which columns are scaled: X and Z as the rows see them."""
    weights = np.maximum(pilot.curvature, LEAST_WEIGHT * max(pilot.curvature.max(), 1e-300))
    offset = 0.0 if spec.design.offset is None else spec.design.offset
    y = pilot.eta - offset + pilot.first / weights
    return replace(spec, design=replace(spec.design, y=np.clip(y, -1e6, 1e6), weights=weights, offset=None), sigma=1.0)


def separating(spec: ModelSpec, family: Generalised, pilot: Pilot) -> tuple[str, ...]:
    """Names of coefficients along which the likelihood rises for ever: rows at an end of their range are separated.

    Some direction moves η of no row but towards the end that its response is at (Konis 2007, *Linear programming
    algorithms for detecting separated data in binary logistic regression models*). It is looked for where the pilot
    went far out.
    """
    if not spec.n_fixed or (pilot.converged and np.abs(pilot.eta).max() < FAR_OUT):
        return ()
    X = spec.design.X / np.abs(spec.design.X).max(axis=0)
    way = outward_direction(X, spec.design.y, family.lower, family.upper)
    names = spec.design.fixed_names
    return () if way is None else tuple(n for n, x in zip(names, way, strict=True) if x != 0.0)


def outward_direction(X: Floats, y: Floats, lower: float, upper: float) -> Floats | None:
    """A direction (p,) in which η = Xβ of no row moves but towards the end of its range that its response is at.

    None where there is none, and the likelihood has a maximum. It may be zero in coefficients that need not move.
    """
    low, high = y == lower, y == upper
    ends, between = np.vstack([X[high], -X[low]]), X[~(low | high)]
    if not len(ends):
        return None
    found = load("scipy.optimize").linprog(
        -ends.sum(axis=0) / len(ends),
        A_ub=-ends,
        b_ub=np.zeros(len(ends)),
        A_eq=between if len(between) else None,
        b_eq=np.zeros(len(between)) if len(between) else None,
        bounds=(-1.0, 1.0),
    )
    if found.x is None or -found.fun * len(ends) <= SEPARATED:
        return None
    return np.where(np.abs(found.x) > SEPARATED, found.x, 0.0)
