"""One model as one array of doubles, for :mod:`_ranef.nuts.compiled`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from _ranef.likelihood import CrossProducts, FixedPart, FixedSums
from _ranef.nuts.blocks import Shape, sparse_coupling, tail_products
from _ranef.nuts.layout import FAMILIES, Layout
from _ranef.residuals import BasisLaw
from _ranef.support.arrays import Floats, Ints

__all__ = ["PARTS", "PackedSums", "pack", "packed_sums", "whiten"]

#: what a packed model holds, in order: A is (p, p, J), C (p, r, J) against coefficients and y, ``tail`` the products
#: T of what is left, ``vine`` the shapes of the priors of partial correlations
PARTS = (
    *("sizes", "levels", "A", "indptr", "cols", "values", "C", "tail", "K", "terms", "fill"),
    *("priors", "numbers", "origin", "vine", "centre", "root"),
)


#: those that are cross-products, and the place of the constant among the numbers
PRODUCTS, CONSTANT = ("A", "values", "C", "tail"), 2


def pack(
    products: CrossProducts,
    fixed: FixedPart,
    shape: Shape,
    layout: Layout,
    numbers: Mapping[str, Any],
    fill: Floats,
    *,
    blocks: bool = True,
) -> Floats:
    """Header of places and lengths, then the arrays in the order of :data:`PARTS`.

    Centre and root of the whitened coordinates are empty until :func:`whiten` fills them. Without `blocks` the
    cross-products are empty, too: then only the priors can be computed from it.
    """
    r = fixed.columns.shape[0]
    none: list[Any] = [np.zeros(0)]
    A, coupling, C, tail = none, none * 3, none, none * 2
    if blocks:
        tail = [tail_products(products, fixed, shape), fixed.K]
    if blocks and shape.sizes:
        sparse = sparse_coupling(products, shape)
        A, coupling = [np.moveaxis(products.A.diag[0], 0, -1)], [sparse.indptr, sparse.cols, sparse.values]
        C = [np.moveaxis(products.Xy[0] @ fixed.columns, 0, -1)]
    logs = sum(float(numbers[name][..., 3].sum()) for name in ("sd", "fixef")) + float(numbers["vine"][:, 1].sum())
    logs += 0.0 if layout.sigma_family == "known" else float(numbers["sigma"][3])
    scalars = [
        products.n_obs - shape.n_integrated,
        products.scaling.y,
        fixed.constant + fixed.log_scale - 2.0 * logs,
        float(numbers["known"]) if layout.sigma_family == "known" else 0.0,
        layout.n_sd,
        layout.n_partial,
        layout.flat,
        layout.n_theta,
        r,
        shape.tail + r,
    ]
    return _joined(
        [
            np.array(shape.sizes),
            np.array(shape.levels),
            *A,
            *coupling,
            *C,
            *tail,
            _terms(layout),
            fill,
            _prior_rows(layout, numbers),
            np.array(scalars, dtype=float),
            fixed.pilot[fixed.sampled],
            numbers["vine"][:, 0],
            *none,
            *none,
        ]
    )


@dataclass(frozen=True, eq=False, repr=False)
class PackedSums:
    """A packed model whose cross-products are made of fixed ones at every ρ.

    Attributes
    ----------
    packed : array
        At some ρ.
    law : BasisLaw
    where : array of int (m,)
        Its entries that are cross-products.
    parts : array (K, m)
        The same of each of the fixed ones.
    constant : int
        Its entry that is the constant, which is `rest` less log |Λ⁻¹|.
    rest : float
    """

    packed: Floats
    law: BasisLaw
    where: Ints
    parts: Floats
    constant: int
    rest: float

    def at(self, rho: Floats) -> Floats:
        """The packed model at ρ (n_rho,)."""
        out = self.packed.copy()
        out[self.where] = self.law.coefficients(rho, np) @ self.parts
        out[self.constant] = self.rest - self.law.log_det(rho, np)
        return out


def packed_sums(packed: Floats, parts: Sequence[Floats], sums: FixedSums) -> PackedSums:
    """A packed model of ``sums.products``, and each part packed in the same way."""
    places = {name: (int(packed[2 * i]), int(packed[2 * i + 1])) for i, name in enumerate(PARTS)}
    where = np.concatenate([np.arange(at, at + n) for at, n in (places[name] for name in PRODUCTS)])
    constant = places["numbers"][0] + CONSTANT
    rest = packed[constant] + sums.products.log_weights - sums.basis.log_weights
    return PackedSums(packed, sums.basis.law, where, np.stack([own[where] for own in parts]), constant, float(rest))


def _joined(parts: Sequence[Any]) -> Floats:
    flat = [np.asarray(part, dtype=float).ravel() for part in parts]
    starts = np.cumsum([2 * len(flat), *(len(part) for part in flat[:-1])])
    header = np.column_stack([starts, [len(part) for part in flat]]).ravel()
    return np.concatenate([header, *flat])


def whiten(packed: Floats, centre: Floats, root: Floats) -> Floats:
    """Packed model whose coordinates w make q = centre + root w."""
    n = int(packed[0]) // 2
    parts = [packed[int(packed[2 * i]) :][: int(packed[2 * i + 1])] for i in range(n)]
    return _joined([*parts[:-2], centre, root])


def _terms(layout: Layout) -> Floats:
    """Rows: whether a triangle, size, first sd, first partial correlation, first of θ, number of sds."""
    rows = [(t.triangular, t.size, t.sd[0], t.partial[0], t.theta[0], t.sd[1] - t.sd[0]) for t in layout.terms]
    return np.array(rows, dtype=float).reshape(-1, 6)


def _prior_rows(layout: Layout, numbers: Mapping[str, Any]) -> Floats:
    """Rows: code of the family (−1 without one that is known here), shape, location, scale, by coordinate."""

    def coded(families: tuple[str, ...], values: Floats) -> list[tuple[float, ...]]:
        codes = (FAMILIES.index(f) if f in FAMILIES else -1.0 for f in families)
        return [(code, *row[:3]) for code, row in zip(codes, values, strict=True)]

    rows = coded(layout.families, numbers["sd"]) + [(-1.0, 1.0, 0.0, 1.0)] * layout.n_partial
    if layout.sigma_family != "known":
        rows += coded((layout.sigma_family,), numbers["sigma"][None])
    return np.array(rows + coded(layout.fixed_families, numbers["fixef"]), dtype=float).reshape(-1, 4)
