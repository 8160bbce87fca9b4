"""Priors of the shape parameters of covariance structures, in numpy: by their coordinates, which stand in θ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranef.arrays import Floats, Ints
from ranef.nuts.layout import Layout
from ranef.spec import ModelSpec
from ranef.structures import ShapeParameter

__all__ = ["ShapePriors", "shape_priors"]


@dataclass(frozen=True, eq=False, repr=False)
class ShapePriors:
    """Of s shape parameters.

    Attributes
    ----------
    parameters : tuple of ShapeParameter
    families : tuple of str
        Of :data:`ranef.nuts.layout.FAMILIES`.
    numbers : array (s, 6)
        Shape, location, scale and log constant, and the bounds.
    places : array of int (s,)
        Where their coordinates stand in θ.
    """

    parameters: tuple[ShapeParameter, ...]
    families: tuple[str, ...]
    numbers: Floats
    places: Ints

    def log_density(self, u: Floats) -> tuple[Floats, Floats]:
        """Log density (...) at coordinates `u` (..., s), and its derivatives (..., s).

        A family that reaches beyond the bounds of its parameter is not normalised again.
        """
        total, slopes = np.zeros(u.shape[:-1]), np.zeros_like(u)
        for i, (s, family, row) in enumerate(zip(self.parameters, self.families, self.numbers, strict=True)):
            x, (log_dx, bend) = s.value(u[..., i]), s.log_slope(u[..., i])
            density, slope = KERNELS[family](x, *row[:3])
            total = total + density + log_dx + row[3]
            slopes[..., i] = slope * np.exp(log_dx) + bend
        return total, slopes


def shape_priors(spec: ModelSpec, layout: Layout, numbers: Mapping[str, Any]) -> ShapePriors:
    """Those of a model, term by term."""
    parameters: list[ShapeParameter] = []
    places: list[int] = []
    for t in spec.terms:
        own = t.structure.shapes
        parameters += own
        places += range(t.theta.stop - len(own), t.theta.stop)
    families = tuple(family for family, _ in layout.shapes)
    return ShapePriors(tuple(parameters), families, numbers["shape"], np.array(places, dtype=np.intp))


def _flat(x: Floats, a: float, loc: float, scale: float) -> tuple[Floats, Floats]:
    return np.zeros_like(x), np.zeros_like(x)


def _normal(x: Floats, a: float, loc: float, scale: float) -> tuple[Floats, Floats]:
    z = (x - loc) / scale
    return -0.5 * z**2, -z / scale


def _student(x: Floats, a: float, loc: float, scale: float) -> tuple[Floats, Floats]:
    z = (x - loc) / scale
    return -0.5 * (a + 1.0) * np.log1p(z**2 / a), -(a + 1.0) * z / (scale * (a + z**2))


def _gamma(x: Floats, a: float, loc: float, scale: float) -> tuple[Floats, Floats]:
    return (a - 1.0) * np.log(x) - x / scale, (a - 1.0) / x - 1.0 / scale


#: log density but for its constant, and its derivative, by family
KERNELS: dict[str, Callable[..., tuple[Floats, Floats]]] = {
    "flat": _flat,
    "normal": _normal,
    "student": _student,
    "gamma": _gamma,
}
