"""Priors of the shape parameters of covariance structures, in numpy: by their coordinates, which stand in θ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.spec import ModelSpec, Priors, ShapePrior, shape_density
from _ranef.structures import ShapeParameter
from _ranef.support.arrays import Floats, Ints

__all__ = ["ShapePriors", "shape_priors"]


@dataclass(frozen=True, eq=False, repr=False)
class ShapePriors:
    """Of s shape parameters.

    Attributes
    ----------
    parameters : tuple of ShapeParameter
    priors : tuple of ShapePrior
    places : array of int (s,)
        Where their coordinates stand in θ.
    """

    parameters: tuple[ShapeParameter, ...]
    priors: tuple[ShapePrior, ...]
    places: Ints

    def log_density(self, u: Floats) -> tuple[Floats, Floats]:
        """Log density (...) at coordinates `u` (..., s), with the Jacobians of the parameters, and its derivatives."""
        total, slopes = np.zeros(u.shape[:-1]), np.zeros_like(u)
        for i, (s, prior) in enumerate(zip(self.parameters, self.priors, strict=True)):
            log_dx, bend = s.log_slope(u[..., i])
            log_density, slope = shape_density(prior, s.value(u[..., i]))
            total = total + log_density + log_dx
            slopes[..., i] = slope * np.exp(log_dx) + bend
        return total, slopes


def shape_priors(spec: ModelSpec, priors: Priors) -> ShapePriors:
    """Those of a model, term by term."""
    parameters = [s for t in spec.terms for s in t.structure.shapes]
    own = [prior for t in spec.terms for prior in priors.shapes(t)]
    places = [i for t in spec.terms for i in range(t.theta.stop - len(t.structure.shapes), t.theta.stop)]
    return ShapePriors(tuple(parameters), tuple(own), np.array(places, dtype=np.intp))
