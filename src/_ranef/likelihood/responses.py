"""Many responses of one model: their sums over the rows, on the internal scale of the model's own cross-products."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.scaling import Scaling
from _ranef.linalg import add_products
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["Responses", "own_response", "products_of", "read_responses"]

#: entries of the responses worked on at once
BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Responses:
    """[Z X]ᵀWY of B responses, each freed of its own least-squares fit and in its own unit.

    Attributes
    ----------
    Zy : tuple of array (J_k, p_k, B)
        ZᵀWY by factor, in elimination order.
    Xy : array (p, B)
        XᵀWY, zero but for rounding.
    yy : array (B,)
        Diagonal of YᵀWY.
    centre : array (B,)
    inner : array (p, B)
        What is taken out of the responses, as in :class:`Scaling`.
    unit : array (B,)
    mean_square : array (B,)
        Of the responses as given.
    y : array (n, B), optional
        The responses themselves, where they are not the model's own.
    """

    Zy: tuple[Floats, ...]
    Xy: Floats
    yy: Floats
    centre: Floats
    inner: Floats
    unit: Floats
    mean_square: Floats
    y: Floats | None = None

    @property
    def size(self) -> int:
        """Number of responses B."""
        return len(self.yy)

    def only(self, which: Ints) -> Responses:
        """Some of the responses."""
        one = (self.yy, self.centre, self.unit, self.mean_square)
        yy, centre, unit, mean_square = (values[which] for values in one)
        Zy = tuple(block[:, :, which] for block in self.Zy)
        y = None if self.y is None else self.y[:, which]
        return Responses(Zy, self.Xy[:, which], yy, centre, self.inner[:, which], unit, mean_square, y)

    def scaling(self, own: Scaling, b: int) -> Scaling:
        """The scaling of a model with response `b` in the place of its own."""
        return replace(own, centre=float(self.centre[b]), inner=self.inner[:, b], y=float(self.unit[b]))


def own_response(products: CrossProducts) -> Responses:
    """The response that cross-products were made with."""
    p, scale = products.n_fixed, products.scaling
    return Responses(
        tuple(block[:, :, p:] for block in products.Xy),
        products.corner[:p, p:],
        products.corner[p:, p],
        np.array([scale.centre]),
        scale.inner[:, None],
        np.array([scale.y]),
        np.array([products.mean_square]),
    )


def read_responses(spec: ModelSpec, products: CrossProducts, Y: Floats) -> Responses:
    """Read responses (n, B), in the order of the rows used, into their sums."""
    n, B = Y.shape
    d, scale = spec.design, products.scaling
    w = spec.residual.precision
    total, step = float(w.sum()), max(1, BLOCK_ENTRIES // B)
    blocks = [slice(start, min(n, start + step)) for start in range(0, n, step)]

    def rest(rows: slice, fitted: Floats) -> tuple[Floats, Floats]:
        """Internal X, and what is left of Y beside the internal coefficients `fitted` (p, B)."""
        X = d.X[rows] @ scale.X
        offset = 0.0 if d.offset is None else d.offset[rows, None]
        return X, (Y[rows] - offset) - centre - X @ fitted

    centre = np.zeros(B)
    if scale.centre:  # there is an intercept
        centre = (Y if d.offset is None else Y - d.offset[:, None]).mean(axis=0)
    fitted = np.zeros((spec.n_fixed, B))
    XX = products.corner[: spec.n_fixed, : spec.n_fixed]  # no multiple of the identity where columns nearly coincide
    for _ in range(2):  # the second time for the rounding of the first
        left = np.zeros_like(fitted)
        for rows in blocks:
            X, y = rest(rows, fitted)
            left += (X * w[rows, None]).T @ y
        fitted = fitted + np.linalg.solve(XX, left)
    Zy = [np.zeros((*block.shape[:2], B)) for block in products.Xy]
    Xy, yy = np.zeros_like(fitted), np.zeros(B)
    for rows in blocks:
        X, y = rest(rows, fitted)
        y = y * w[rows, None]
        Xy += X.T @ y
        yy += (y**2 / w[rows, None]).sum(axis=0)
        for place, k in enumerate(products.order):
            g = spec.groupings[k]
            add_products(g.codes[rows], g.Z[rows] @ scale.Z[k], y, Zy[place])
    unit = np.sqrt(yy / total)
    unit[unit == 0] = 1.0
    return Responses(
        tuple(block / unit for block in Zy), Xy / unit, yy / unit**2, centre, fitted, unit, (Y**2).mean(axis=0), Y
    )


def products_of(products: CrossProducts, responses: Responses, b: int) -> CrossProducts:
    """The cross-products of the model with response `b` in the place of its own."""
    p = products.n_fixed
    corner = products.corner.copy()
    corner[:p, p] = corner[p, :p] = responses.Xy[:, b]
    corner[p, p] = responses.yy[b]
    Xy = tuple(
        np.concatenate([own[:, :, :p], new[:, :, [b]]], axis=2)
        for own, new in zip(products.Xy, responses.Zy, strict=True)
    )
    return replace(
        products,
        Xy=Xy,
        corner=corner,
        scaling=responses.scaling(products.scaling, b),
        mean_square=float(responses.mean_square[b]),
        rows=products.rows if responses.y is None else _with_own(products.rows, responses.y[:, b]),
    )


def _with_own(rows: ModelSpec | None, y: Floats) -> ModelSpec | None:
    return None if rows is None else replace(rows, design=replace(rows.design, y=np.ascontiguousarray(y)))
