"""The collapsed density of a model whose residual variances or correlations have parameters ρ, by the numpy kernels.

At every ρ the cross-products are made again from the rows, on one scale and by one plan, or from fixed sums. Slopes
in ρ are those of the criterion (:func:`~_ranef.likelihood.row_slopes`) with the leverages and residuals of the
coefficients' posterior under their priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from _ranef.likelihood.coefficients import FixedPart
from _ranef.likelihood.combinations import slopes_by_rows
from _ranef.likelihood.criterion import Evaluation
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.sums import raw_columns, raw_effects, row_sums
from _ranef.likelihood.sums_by_parts import FixedSums, fixed_sums, product_slopes
from _ranef.likelihood.under_priors import HostDensity
from _ranef.linalg import BlockMatrix, backward
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
    def sums(self) -> FixedSums | None:
        """The rows as sums for all ρ, where there are such."""
        return fixed_sums(self.spec, self.products, numeric=True)

    def at(self, rho: Floats) -> HostDensity:
        """The density with ρ (n_rho,) known."""
        if self.sums is not None:
            return self._of(self.sums.at(rho))
        sums, order = row_sums(self.spec.with_rho(rho), self.products.scaling), self.products.order
        products = replace(
            self.products,
            A=BlockMatrix(sums.diag, sums.pairs).permuted(order),
            Xy=tuple(sums.Xy[k] for k in order),
            corner=sums.corner,
            log_weights=sums.log_weights,
            rows=None,
        )
        return self._of(products)

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
        density = self.at(rho)
        out, used, at = density.evaluated(flat, sigma, sampled)
        fold = density.fold(self.fixed.contrast(sampled))
        if self.sums is not None:
            return np.append(out, -0.5 * self.sums.slopes(rho, product_slopes(used.A, at), fold))
        own = self.spec.with_rho(rho)
        left = _residuals(own, used, at, fold) / at.sigma
        return np.append(out, -0.5 * slopes_by_rows(own, used, at, fold, left))


def _residuals(spec: ModelSpec, used: CrossProducts, at: Evaluation, fold: Floats) -> Floats:
    """What the coefficients' posterior means and the effects there leave of rows (n,), internal scale."""
    everything, contrast = slice(0, spec.n_obs), np.append(-at.beta, 1.0)
    out = (fold @ contrast) @ raw_columns(spec, used.scaling, everything)
    for k, b in zip(used.order, backward(at.factor, at.columns.white), strict=True):
        Z = raw_effects(spec, used.scaling, everything, k)
        out = out - np.einsum("an,na->n", Z, (b @ contrast)[spec.groupings[k].codes])
    return np.asarray(out)
