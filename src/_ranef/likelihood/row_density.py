"""The collapsed density of a model whose residual variances or correlations have parameters ρ, by the numpy kernels.

At every ρ the cross-products are made again from the rows, on one scale and by one plan. The slope in the log variance
of a row is −½[(1 − h) − e²/v], as in :func:`~_ranef.likelihood.row_slopes`, with the leverage h and the residual e of
the coefficients' posterior under their priors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from _ranef.likelihood.coefficients import FixedPart
from _ranef.likelihood.combinations import quadratic_forms
from _ranef.likelihood.criterion import Evaluation
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.sums import raw_columns, raw_effects, row_sums
from _ranef.likelihood.sums_by_parts import FixedSums, fixed_sums, product_slopes
from _ranef.likelihood.under_priors import HostDensity
from _ranef.linalg import BlockMatrix, backward, paired_blocks
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

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
        return fixed_sums(self.spec, self.products)

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
        return np.append(out, self._slopes(used, at, fold, rho))

    def _slopes(self, used: CrossProducts, at: Evaluation, fold: Floats, rho: Floats) -> Floats:
        own = self.spec.with_rho(rho)
        residual, order, everything = own.residual, used.order, slice(0, own.n_obs)
        raw: list[Floats] = [fold.T @ raw_columns(own, used.scaling, everything)]
        raw += [raw_effects(own, used.scaling, everything, k) for k in order]
        codes = [own.groupings[k].codes for k in order]
        solved = backward(at.factor, at.columns.white)
        Q, B = paired_blocks(used.A, at.factor), tuple(b[:, :, :-1] for b in solved)
        contrast = np.append(-at.beta, 1.0)
        left = _residuals(raw[0].T, contrast, solved, [part.T for part in raw[1:]], codes)
        of_rss = np.asarray(residual.changes(left) @ residual.whitened(left) / at.sigma**2)
        white = [residual.whitened(part).T for part in raw]

        def leverage(rows: Sequence[Floats]) -> Floats:
            return quadratic_forms(used.A, Q, B, at.inverse_root, rows[0][:, :-1], rows[1:], codes)

        if not residual.correlated:
            return np.asarray(-residual.jacobian @ (1.0 - leverage(white)) - of_rss)
        moved = [residual.changes(part) for part in raw]

        def ahead(k: int, sign: float) -> float:
            return float(leverage([a + sign * change[k].T for a, change in zip(white, moved, strict=True)]).sum())

        of_leverages = np.array([0.25 * (ahead(k, 1.0) - ahead(k, -1.0)) for k in range(len(rho))])
        return np.asarray(0.5 * residual.log_det_slopes - of_leverages - of_rss)


def _residuals(
    columns: Floats, contrast: Floats, solved: Sequence[Floats], Z: Sequence[Floats], codes: Sequence[Ints]
) -> Floats:
    """What the coefficients' posterior means and the effects there leave of rows (n,)."""
    out = columns @ contrast
    for b, z, code in zip(solved, Z, codes, strict=True):
        out = out - np.einsum("na,na->n", z, (b @ contrast)[code])
    return np.asarray(out)
