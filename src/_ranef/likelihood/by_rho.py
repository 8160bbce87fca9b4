"""The likelihoods of one model at all parameters ρ of its residuals, with the slopes in ρ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.likelihood.at import At, Likelihood
from _ranef.likelihood.criterion import Method
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.sums_by_basis import FixedSums, cross_products, fixed_sums, product_slopes
from _ranef.likelihood.sums_by_whitening import RowSums
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["OverRho", "over_rho", "sums_over_rho"]


@dataclass(frozen=True, eq=False, repr=False)
class OverRho:
    """One model with what all ρ share.

    Attributes
    ----------
    spec : ModelSpec
    method : "REML" or "ML"
    sums : FixedSums or RowSums, optional
        None where there are no ρ.
    """

    spec: ModelSpec
    method: Method
    sums: FixedSums | RowSums | None

    def at(self, rho: Floats) -> Likelihood:
        """The likelihood at ρ (n_rho,), on the scale of the products that all share."""
        own = self.spec.with_rho(rho)
        return Likelihood(own, cross_products(own) if self.sums is None else self.sums.at(own), self.method)

    def slopes(self, at: At) -> Floats:
        """∂criterion/∂ρ (n_rho,) of one of them, with θ held (and σ, if not profiled)."""
        if self.sums is None:
            return np.zeros(0)
        own = at.likelihood
        sums = RowSums(own.spec, own.products) if at.from_rows else self.sums
        return sums.slopes(own.spec, product_slopes(own.products.A, at.inner))

    def rss_slopes(self, at: At) -> Floats:
        """The part (n_rho,) of the slopes that is ∂(rss/σ²)/∂ρ, with σ held: it alone goes with 1/σ²."""
        farther = at.likelihood.at_standard(at.roots, np.sqrt(2.0) * at.sigma)
        return np.asarray(2.0 * (self.slopes(at.likelihood.at_standard(at.roots, at.sigma)) - self.slopes(farther)))


def over_rho(spec: ModelSpec, method: Method, products: CrossProducts | None = None) -> OverRho:
    """Read the rows as far as they serve for all ρ; `products` are those at some ρ."""
    if not spec.rho_names:
        return OverRho(spec, method, None)
    first = spec if spec.rho is not None else spec.with_rho(spec.rho_start)
    if products is None:  # of correlated rows in chunks those at a ρ are made of the sums
        products = cross_products(first if spec.design.stream is None else spec.with_rho(None))
    return OverRho(spec, method, sums_over_rho(first, products))


def sums_over_rho(spec: ModelSpec, products: CrossProducts, *, numeric: bool = False) -> FixedSums | RowSums:
    """Sums that serve for all ρ where there are such, else the rows themselves, on the scale of some products."""
    return fixed_sums(spec, products, numeric=numeric) or RowSums(spec, products)
