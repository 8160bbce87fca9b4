"""The model without its random effects: where engines begin, the scale they work on, and whether rows are separated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from _ranef.spec import Generalised, ModelSpec, Rows
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import load

__all__ = ["Pilot", "directions", "fit_pilot", "outward_direction", "response_rows", "separating", "working_model"]

#: Newton's steps at most, halvings of one, and the decrement that ends them
STEPS, HALVINGS, DONE = 50, 30, 1e-10

#: shares of the way from the mean response at which a search may begin
NEARER = (1.0, 0.5, 0.1, 0.01, 0.0)

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
    beta, eta = _begun(rows, family, named, X, offset)
    at = family.slopes(eta, rows, named)
    converged = not spec.n_fixed
    for _ in range(STEPS if spec.n_fixed else 0):
        slope = X.T @ at.first
        step = _solved(X, np.maximum(at.curvature, 0.0), slope)
        if float(slope @ step) < DONE:
            converged = True
            break
        length, value = 1.0, at.value.sum()
        for _ in range(HALVINGS):
            with np.errstate(all="ignore"):  # of a step that is too long
                trial = family.slopes(X @ (beta + length * step) + offset, rows, named)
            if trial.value.sum() >= value:  # nor is it −∞ where some η have no mean
                break
            length /= 2.0
        beta = beta + length * step
        at = family.slopes(eta := X @ beta + offset, rows, named)
    return Pilot(beta / np.where(size > 0, size, 1.0), eta, at.curvature, at.first, own, converged)


def _begun(
    rows: Rows, family: Generalised, own: Mapping[str, float], X: Floats, offset: Floats
) -> tuple[Floats, Floats]:
    """Β and η by weighted least squares on linked responses; nearer to the mean response if some η have no mean."""
    eta, centre = family.linked(family.near(rows)), np.full(len(offset), family.linked(np.array(family.centre(rows))))
    spread = family.mean_slope(eta) ** 2 / family.row_variance(family.mean(eta), rows.weights, own)
    found, middle = (_solved(X, spread, X.T @ (spread * (aim - offset))) for aim in (eta, centre))
    for share in NEARER:
        beta = share * found + (1.0 - share) * middle
        eta = X @ beta + offset
        if np.isfinite(family.slopes(eta, rows, own).value).all():
            break
    return beta, eta


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
    far = 1e6 * max(1.0, float(np.abs(pilot.eta).max()))
    return replace(spec, design=replace(spec.design, y=np.clip(y, -far, far), weights=weights, offset=None), sigma=1.0)


def separating(spec: ModelSpec, family: Generalised, pilot: Pilot) -> tuple[str, ...]:
    """Names of coefficients along which the likelihood rises for ever: rows at an end of their range are separated.

    Some direction moves η of no row but towards the end that its response is at (Konis 2007, *Linear programming
    algorithms for detecting separated data in binary logistic regression models*). It is looked for where the pilot
    went far out.
    """
    far = not pilot.converged or np.abs(pilot.eta).max(initial=0.0) >= FAR_OUT
    return directions(spec, family) if far else ()


def directions(spec: ModelSpec, family: Generalised) -> tuple[str, ...]:
    """The same names, whatever the pilot found; of an ordinal response thresholds may move too."""
    if not family.linking.endless or not spec.n_fixed:
        return ()
    X, y = spec.design.X / np.abs(spec.design.X).max(axis=0), spec.design.y
    if family.classes:
        way = ordered_direction(X, y.astype(int), len(family.classes))
    else:
        way = outward_direction(X, y, family.lower, family.upper)
    names = spec.design.fixed_names
    return () if way is None else tuple(n for n, x in zip(names, way, strict=True) if x != 0.0)


def outward_direction(X: Floats, y: Floats, lower: float, upper: float) -> Floats | None:
    """A direction (p,) in which η = Xβ of no row moves but towards the end of its range that its response is at.

    None where there is none, and the likelihood has a maximum. It may be zero in coefficients that need not move.
    """
    low, high = y == lower, y == upper
    return _rising(np.vstack([X[high], -X[low]]), X[~(low | high)])


def ordered_direction(X: Floats, y: Ints, K: int) -> Floats | None:
    """The same (p,) of classes y from 0: no row moves but away from the thresholds beside its class, which move too.

    The first of the K − 1 thresholds stands in the intercept.
    """
    thresholds = np.eye(K - 1)[:, 1:]
    below, above = y < K - 1, y > 0
    ends = np.vstack(
        [
            np.hstack([-X[below], thresholds[y[below]]]),
            np.hstack([X[above], -thresholds[y[above] - 1]]),
        ]
    )
    way = _rising(ends, np.zeros((0, ends.shape[1])))
    return None if way is None else way[: X.shape[1]]


def _rising(ends: Floats, between: Floats) -> Floats | None:
    """A direction along which no row of `ends` falls and some rise, and rows `between` stay."""
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
