"""Cross-products at any ρ of a residual covariance that no few fixed matrices make: rows are whitened anew at each.

A row's part in the criterion is a quadratic form of [z x y], whose matrix is that of the derivatives in the
cross-products. Slopes in ρ are therefore those of the whitened rows times their duals, matrix times row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from _ranef.likelihood.at import At
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.level_sums import raw_columns, raw_effects
from _ranef.likelihood.sums_by_basis import (
    ProductSlopes,
    covariance_blocks,
    pair_places,
    product_slopes,
    summed_rows,
)
from _ranef.linalg import BlockMatrix
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["Leverages", "RowSums", "row_slopes"]

#: entries of blocks gathered by row at once
CHUNK_ENTRIES = 4_000_000


@dataclass(frozen=True, eq=False, repr=False)
class RowSums:
    """The rows of a model on one scale, to be whitened and summed at any ρ.

    Attributes
    ----------
    spec : ModelSpec
    products : CrossProducts
        At some ρ; their scale, order and plan serve for all.
    response : array (n,), optional
        In the place of the internal y.
    """

    spec: ModelSpec
    products: CrossProducts
    response: Floats | None = None

    @cached_property
    def rows(self) -> Floats:
        """[Z X y]ᵀ (m, n) on the internal scale without weights, factors in the order of elimination."""
        scaling, everything = self.products.scaling, slice(0, len(self.spec.design.y))
        Zs = [raw_effects(self.spec, scaling, everything, k) for k in self.products.order]
        columns = raw_columns(self.spec, scaling, everything)
        if self.response is not None:
            columns[-1] = self.response
        return np.concatenate([*Zs, columns])

    @cached_property
    def codes(self) -> list[Ints]:
        """Levels (n,) of the rows by factor."""
        return [self.spec.groupings[k].codes for k in self.products.order]

    @cached_property
    def pairs(self) -> dict[tuple[int, int], Ints]:
        """Which of the pairs of levels each row has."""
        return pair_places(self.codes, self.products.A)

    @cached_property
    def places(self) -> list[slice]:
        """Where the columns of each factor stand among the rows; those of [X y] come last."""
        edges = np.cumsum([0, *self.products.sizes, self.products.n_fixed + 1])
        return [slice(a, b) for a, b in pairwise(edges.tolist())]

    def at(self, own: ModelSpec) -> CrossProducts:
        """The cross-products at the ρ of `own`."""
        *Zs, columns = self._parts(own.residual.whitened(self.rows))
        A = self.products.A
        of = summed_rows(columns, Zs, self.codes, self.pairs, A)
        pairs = {key: replace(A.pairs[key], blocks=blocks) for key, blocks in of.pairs.items()}
        return replace(
            self.products,
            A=BlockMatrix(of.diag, pairs),
            Xy=of.Xy,
            corner=of.corner,
            log_weights=own.residual.log_det,
            rows=None if self.products.rows is None else own,
        )

    def slopes(self, own: ModelSpec, of: ProductSlopes, fold: Floats | None = None) -> Floats:
        """Slopes (n_rho,) by `of`, those in the cross-products; `fold` (p + 1, m) maps [X y] to their columns."""
        residual = own.residual
        duals = self.duals(residual.whitened(self.rows), of, fold)
        return 2.0 * residual.change_along(self.rows, duals) - residual.log_det_slopes

    def duals(self, white: Floats, of: ProductSlopes, fold: Floats | None = None) -> Floats:
        """The matrix of `of` times every whitened row (m, n)."""
        out, fold = np.empty_like(white), np.eye(self.products.n_fixed + 1) if fold is None else fold
        parts, duals = self._parts(white), self._parts(out)
        np.matmul(fold @ of.corner @ fold.T, parts[-1], out=duals[-1])
        for Z, dual, diag, Xy, code in zip(parts, duals, of.diag, of.Xy, self.codes, strict=False):
            across = Xy @ fold.T
            dual[:] = _times(diag, Z, code) + _times(across, parts[-1], code)
            duals[-1][:] += _times(np.swapaxes(across, 1, 2), Z, code)
        for (k, l), blocks in of.pairs.items():
            place = self.pairs[k, l]
            duals[k][:] += _times(blocks, parts[l], place)
            duals[l][:] += _times(np.swapaxes(blocks, 1, 2), parts[k], place)
        return out

    def _parts(self, rows: Floats) -> list[Floats]:
        return [rows[at] for at in self.places]


def _times(blocks: Floats, rows: Floats, place: Ints) -> Floats:
    """B row (p, n) of rows (r, n), with the block B (p, r) that each row names."""
    n, (_, p, r) = rows.shape[1], blocks.shape
    if p == r == 1:
        return np.asarray(blocks[place, 0, 0] * rows)
    out: Floats = np.empty((p, n))
    step = max(1, CHUNK_ENTRIES // max(1, p * r))
    for first in range(0, n, step):
        part = slice(first, first + step)
        np.einsum("nar,rn->an", blocks[place[part]], rows[:, part], out=out[:, part])
    return out


def row_slopes(at: At) -> Floats:
    """∂criterion/∂ρ (n_rho,) of parameters of residual variances and correlations, θ held (and σ, if not profiled)."""
    spec, products = at.likelihood.spec, at.likelihood.products
    return RowSums(spec, products).slopes(spec, product_slopes(products.A, at.inner))


@dataclass(frozen=True, eq=False, repr=False)
class Leverages:
    """The diagonal of the matrix that maps y to ŷ, [X Z]C[X Z]ᵀΛ⁻¹ with C the covariance of (β̂, b̂ − b) over σ²."""

    at: At

    @cached_property
    def _covariances(self) -> ProductSlopes:
        return covariance_blocks(self.at.likelihood.products.A, self.at.inner)

    def of(self, spec: ModelSpec) -> Floats:
        """Those (n,) of the rows that `spec` holds; rows that are correlated have the same levels."""
        sums = RowSums(spec, self.at.likelihood.products)
        over = spec.residual.over_covariance(sums.rows)
        return np.asarray((over * sums.duals(sums.rows, self._covariances)).sum(axis=0))
