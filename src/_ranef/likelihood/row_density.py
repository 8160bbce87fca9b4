"""The collapsed density of a model whose residual variances or correlations have parameters ρ, by the numpy kernels.

At every ρ the cross-products are made again from the rows, on one scale and by one plan, or from fixed sums. Slopes
in ρ are those of the criterion (:func:`~_ranef.likelihood.row_slopes`) with the leverages and residuals of the
coefficients' posterior under their priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from _ranef.likelihood.by_rho import sums_over_rho
from _ranef.likelihood.coefficients import FixedPart
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.sums_by_basis import FixedSums, product_slopes
from _ranef.likelihood.sums_by_whitening import RowSums
from _ranef.likelihood.under_priors import HostDensity
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["RowDensity"]


@dataclass(frozen=True, eq=False, repr=False)
class RowDensity:
    """log p(y | θ, ρ, σ, sampled coefficients) with its gradient.

    Attributes
    ----------
    spec : ModelSpec
        With a :class:`~_ranef.spec.RowVariance`.
    products : CrossProducts
        At some ρ; their scale and plan serve for all.
    fixed : FixedPart
        Of these products.
    """

    spec: ModelSpec
    products: CrossProducts
    fixed: FixedPart

    @cached_property
    def sums(self) -> FixedSums | RowSums:
        """The rows as sums for all ρ, where there are such."""
        return sums_over_rho(self.spec, self.products, numeric=True)

    def at(self, rho: Floats) -> HostDensity:
        """The density with ρ (n_rho,) known."""
        return self._of(self.sums.at(self.spec.with_rho(rho)))

    def _of(self, products: CrossProducts) -> HostDensity:
        constant = self.fixed.constant + self.products.log_weights - products.log_weights
        return HostDensity(products, replace(self.fixed, constant=constant))

    def value_and_gradient(self, flat: Floats, sigma: float, sampled: Floats, rho: Floats) -> Floats:
        """As :meth:`HostDensity.value_and_gradient`, with the slopes in ρ at the end."""
        sampled = np.asarray(sampled)
        try:
            with np.errstate(all="ignore"):
                return self._evaluated(np.asarray(flat, dtype=float), sigma, sampled, rho)
        except (np.linalg.LinAlgError, OverflowError):  # so far out that a matrix is singular to rounding
            return np.full(np.size(flat) + 2 + sampled.size + len(rho), np.nan)

    def _evaluated(self, flat: Floats, sigma: float, sampled: Floats, rho: Floats) -> Floats:
        own = self.spec.with_rho(rho)
        density = self._of(self.sums.at(own))
        out, used, at = density.evaluated(flat, sigma, sampled)
        fold = density.fold(self.fixed.contrast(sampled))
        return np.append(out, -0.5 * self.sums.slopes(own, product_slopes(used.A, at), fold))
