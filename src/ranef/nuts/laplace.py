"""The normal approximation at the posterior mode, unconstrained: where chains begin, and their metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from ranef.nuts.problem import Gradient
from ranef.support.arrays import Floats
from ranef.support.interrupts import let_through

__all__ = ["Laplace", "laplace"]

#: slope that passes for none, and how far a second, bounded climb may go where the first got lost
SMALL, REACH = 0.1, 12.0

#: step of the differences of the gradient
DIFFERENCE = 1e-4

#: the least curvature that is believed: no direction is wider than 1/√ of it
LEAST_CURVATURE = 0.25


@dataclass(frozen=True, eq=False, repr=False)
class Laplace:
    """q is about normal with mean `centre` and covariance root rootᵀ.

    Attributes
    ----------
    centre : array (d,)
    root : array (d, d)
    evaluations : int
        Of the gradient.
    log_mass : float
        Logarithm of the integral of the density, by this approximation.
    """

    centre: Floats
    root: Floats
    evaluations: int
    log_mass: float


def laplace(gradient: Gradient, start: Floats) -> Laplace:
    """Climb to the mode from `start` (d,), and take the curvature there by differences of the gradient."""
    count = 0

    def downhill(q: Floats) -> tuple[float, Floats]:
        nonlocal count
        count += 1
        let_through()
        value, slope = gradient(np.ascontiguousarray(q))
        finite = np.isfinite(value) and np.isfinite(slope).all()
        return (-value, -slope) if finite else (1e300, np.zeros_like(q))

    d = len(start)
    if d == 0:
        return Laplace(start, np.zeros((0, 0)), 0, 0.0)
    found = scipy.optimize.minimize(downhill, start, jac=True, method="BFGS", options={"gtol": 1e-3, "maxiter": 100})
    if not (found.fun <= downhill(start)[0] and np.abs(found.jac).max() < SMALL):
        bounds = scipy.optimize.Bounds(start - REACH, start + REACH)
        found = scipy.optimize.minimize(downhill, start, jac=True, method="L-BFGS-B", bounds=bounds)
    centre = np.asarray(found.x) if found.fun < 1e299 else start
    steps = DIFFERENCE * np.eye(d)
    hessian = np.array([downhill(centre + s)[1] - downhill(centre - s)[1] for s in steps]) / (2.0 * DIFFERENCE)
    if not np.isfinite(hessian).all():
        return Laplace(centre, np.eye(d), count, -np.inf)
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    values = np.maximum(values, LEAST_CURVATURE)
    log_mass = -float(found.fun) + 0.5 * float((np.log(2.0 * np.pi) - np.log(values)).sum())
    return Laplace(centre, vectors / np.sqrt(values), count, log_mass)
