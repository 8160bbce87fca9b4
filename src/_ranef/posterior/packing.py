"""One model as one array of doubles, for :mod:`_ranef.posterior.loops`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from _ranef.likelihood import CrossProducts, FixedPart, FixedSums
from _ranef.posterior.blocks import Shape, skyline, sparse_coupling, tail_products
from _ranef.posterior.layout import FAMILIES, Layout
from _ranef.residuals import LogLaw
from _ranef.support.arrays import Floats

__all__ = ["PARTS", "ROW_PARTS", "pack", "pack_rows", "packed_parts", "whiten", "with_products"]

#: where the constant stands in a packed model's numbers
CONSTANT = 2

#: what a packed model holds, in order: A is (p, p, J), C (p, r, J) against coefficients and y, ``tail`` the products
#: T of what is left, ``vine`` the shapes of the priors of partial correlations. A, ``values``, C and ``tail`` are the
#: cross-products, side by side; where these depend on ρ, ``parts`` (K, ·) has those that do not, and comes last
PARTS = (
    *("sizes", "levels", "indptr", "cols", "first", "reach", "A", "values", "C", "tail", "K", "terms", "fill"),
    *("priors", "numbers", "origin", "vine", "law", "counts", "centre", "root", "parts"),
)


#: what a packed joint model of a generalised response holds, in order (:mod:`_ranef.posterior.loops.joint_rows`):
#: ``prior`` is a packed model whole, ``informed`` the A of all levels, and the root of the coordinates sparse by rows
ROW_PARTS = (
    *("prior", "sizes", "levels", "codes", "Z", "X", "offset", "y", "weights", "log_y", "informed", "fill", "K"),
    *("origin", "numbers", "centre", "indptr", "cols", "root"),
)


def pack_rows(parts: Mapping[str, Any]) -> Floats:
    """Header of places and lengths, then the arrays by the names of :data:`ROW_PARTS`."""
    return _joined([parts[name] for name in ROW_PARTS])


def pack(
    products: CrossProducts,
    fixed: FixedPart,
    shape: Shape,
    layout: Layout,
    numbers: Mapping[str, Any],
    fill: Floats,
    *,
    blocks: bool = True,
    sums: FixedSums | None = None,
) -> Floats:
    """Header of places and lengths, then the arrays in the order of :data:`PARTS`.

    Centre and root of the whitened coordinates are empty until :func:`whiten` fills them. Without `blocks` the
    cross-products are empty, too: then only the priors can be computed from it. With `sums` they are made of these at
    every ρ.
    """
    r, basis = fixed.columns.shape[0], None if sums is None else sums.basis
    law = None if basis is None or not isinstance(basis.law, LogLaw) else basis.law
    none = np.zeros(0)
    coupling: tuple[Any, Any] = (none, none)
    if blocks and shape.sizes:
        sparse = sparse_coupling(products, shape)
        coupling = sparse.indptr, sparse.cols
    rows: Any = skyline(products, shape, r) if blocks else (none, none)
    own: list[Any] = _products(products, fixed, shape) if blocks else [none] * 4
    parts: Any = none if sums is None or law is None else packed_parts(sums, fixed, shape)
    constant = fixed.constant + fixed.log_scale - 2.0 * _log_constants(layout, numbers)
    scalars = [
        products.n_obs - shape.n_integrated,
        products.scaling.y,
        constant + (0.0 if sums is None else sums.constant),
        float(numbers["known"]) if layout.sigma_family == "known" else 0.0,
        *(layout.n_sd, layout.n_partial, layout.flat, layout.n_theta, r, shape.tail + r),
        *((0.0, 0.0) if law is None else (law.code, layout.rows)),
    ]
    of_law = (none, none) if basis is None or law is None else (basis.numbers, basis.counts)
    return _joined(
        [
            *(shape.sizes, shape.levels, *coupling, *rows, *own, fixed.K if blocks else none),
            *(_terms(layout), fill, _prior_rows(layout, numbers), scalars),
            *(fixed.pilot[fixed.sampled], numbers["vine"][:, 0], *of_law, none, none, parts),
        ]
    )


def _log_constants(layout: Layout, numbers: Mapping[str, Any]) -> float:
    """Of the priors, together."""
    logs = sum(float(numbers[name][..., 3].sum()) for name in ("sd", "fixef")) + float(numbers["vine"][:, 1].sum())
    return logs + (0.0 if layout.sigma_family == "known" else float(numbers["sigma"][3]))


def packed_parts(sums: FixedSums, fixed: FixedPart, shape: Shape) -> Floats:
    """The fixed cross-products (K, ·) of :data:`PARTS`, each as A, values, C and tail."""
    return np.array([np.concatenate(_products(sums.part(k), fixed, shape)) for k in range(len(sums.corner))])


def with_products(packed: Floats, products: Floats, log_det: float) -> Floats:
    """Packed model with other cross-products, and log |Λ⁻¹| of the rows in the constant."""
    out, first = packed.copy(), int(packed[2 * PARTS.index("A")])
    out[first : first + len(products)] = products
    out[int(packed[2 * PARTS.index("numbers")]) + CONSTANT] -= log_det
    return out


def _products(products: CrossProducts, fixed: FixedPart, shape: Shape) -> list[Floats]:
    """A, the values of the sparse coupling, C and T, flat."""
    A: Floats = np.zeros(0)
    C, values = A, A
    if shape.sizes:
        A, C = np.moveaxis(products.A.diag[0], 0, -1), np.moveaxis(products.Xy[0] @ fixed.columns, 0, -1)
        values = sparse_coupling(products, shape).values
    return [part.ravel() for part in (A, values, C, tail_products(products, fixed, shape))]


def _joined(parts: Sequence[Any]) -> Floats:
    flat = [np.asarray(part, dtype=float).ravel() for part in parts]
    starts = np.cumsum([2 * len(flat), *(len(part) for part in flat[:-1])])
    header = np.column_stack([starts, [len(part) for part in flat]]).ravel()
    return np.concatenate([header, *flat])


def whiten(packed: Floats, centre: Floats, root: Floats) -> Floats:
    """Packed model whose coordinates w make q = centre + root w."""
    n = int(packed[0]) // 2
    parts = [packed[int(packed[2 * i]) :][: int(packed[2 * i + 1])] for i in range(n)]
    return _joined([*parts[:-3], centre, root, parts[-1]])


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
