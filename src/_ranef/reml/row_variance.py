"""Residual variances with parameters ρ: an outer descent in ρ, each step of which is a fit with known weights.

At ρ the model is one with prior weights w exp(−2η(ρ)), so that all of it but ρ is found, and described, as ever. With ρ
moved and θ̂(ρ) following, the criterion's slope is its partial one, by the envelope theorem
(:func:`~_ranef.likelihood.row_slopes`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from _ranef.errors import FitError
from _ranef.likelihood import CrossProducts, Likelihood, Method, cross_products, row_slopes
from _ranef.reml.fit import fit_reml
from _ranef.reml.optimize import Control
from _ranef.results import RemlEstimates
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["RowFit", "fit_rows"]

#: difference of criteria that starts another round
MATTERS = 1e-7

#: rounds, each from the best θ that a fit from several starts finds
ROUNDS = 5


@dataclass(frozen=True, eq=False, repr=False)
class RowFit:
    """A fit at the estimated ρ.

    Attributes
    ----------
    spec : ModelSpec
        With ρ̂, and the weights that it makes.
    products : CrossProducts
    estimates : RemlEstimates
    """

    spec: ModelSpec
    products: CrossProducts
    estimates: RemlEstimates


def fit_rows(
    spec: ModelSpec, method: Method = "REML", *, start: Floats | None = None, control: Control | None = None
) -> RowFit:
    """Estimate ρ, θ, σ and β of a model with a :class:`~_ranef.spec.RowVariance`.

    Raises
    ------
    FitError
        If the residual variance goes to zero, of all rows or of some.
    """
    assert spec.variance is not None
    rho, best = spec.variance.start, _at(spec, spec.variance.start, method, start, control)
    for _ in range(ROUNDS):
        found = _descend(spec, rho, best, method, control)
        assert found.spec.rho is not None
        rho = found.spec.rho
        anew = _at(spec, rho, method, None, control)  # from all starts, as θ has followed one path so far
        lower = anew.estimates.criterion < found.estimates.criterion - MATTERS
        best = anew if lower else found
        if not lower:
            break
    return best


def _at(spec: ModelSpec, rho: Floats, method: Method, start: Floats | None, control: Control | None) -> RowFit:
    own = spec.with_rho(rho)
    products = cross_products(own)
    return RowFit(own, products, fit_reml(own, method, start=start, control=control, products=products))


def _descend(spec: ModelSpec, rho: Floats, first: RowFit, method: Method, control: Control | None) -> RowFit:
    """The lowest point of a quasi-Newton descent in ρ, θ following from where it was."""
    best = [first]

    def value(at: Floats) -> tuple[float, Floats]:
        try:
            found = _at(spec, at, method, best[0].estimates.theta, control)
        except (FitError, np.linalg.LinAlgError, FloatingPointError):  # so far out that some rows have no variance
            return np.inf, np.zeros(len(at))
        if found.estimates.criterion < best[0].estimates.criterion:
            best[0] = found
        likelihood = Likelihood(found.spec, found.products, method)
        return found.estimates.criterion, row_slopes(likelihood.at(found.estimates.theta))

    objective: Callable[..., tuple[float, Floats]] = value
    options: Any = {"gtol": 1e-6, "maxiter": 200}
    scipy.optimize.minimize(objective, rho, jac=True, method="BFGS", options=options)
    return best[0]
