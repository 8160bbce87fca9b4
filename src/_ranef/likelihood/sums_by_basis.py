"""Cross-products at any ρ where the residual covariance is one of a few fixed matrices: rows are read once.

[Z X y]ᵀΛ⁻¹(ρ)[Z X y] = Σ_k c_k(ρ) S_k with S_k = [Z X y]ᵀB_k[Z X y] (:mod:`_ranef.residuals.fixed_basis`), so that the
slopes of the criterion in ρ are those in the cross-products times those of the c_k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from _ranef.likelihood.criterion import Evaluation
from _ranef.likelihood.crossproducts import CrossProducts, own_products
from _ranef.likelihood.level_sums import raw_columns, raw_effects
from _ranef.linalg import BlockMatrix, add_products, add_squares, backward, paired_blocks
from _ranef.residuals import Basis, Part
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "FixedSums",
    "ProductSlopes",
    "covariance_blocks",
    "cross_products",
    "fixed_sums",
    "pair_places",
    "product_slopes",
    "summed_rows",
]


@dataclass(frozen=True, eq=False, repr=False)
class FixedSums:
    """The K fixed cross-products S_k, factors in the order of elimination and on the scale of `products`.

    Attributes
    ----------
    spec : ModelSpec
    products : CrossProducts
        At some ρ; their scale, order and plan serve for all.
    basis : Basis
    diag : tuple of array (K, J_k, p_k, p_k)
    Xy : tuple of array (K, J_k, p_k, p + 1)
    pairs : mapping (k, l) to array (K, m, p_k, p_l)
        In the order of ``products.A.pairs``.
    corner : array (K, p + 1, p + 1)
    """

    spec: ModelSpec
    products: CrossProducts
    basis: Basis
    diag: tuple[Floats, ...]
    Xy: tuple[Floats, ...]
    pairs: Mapping[tuple[int, int], Floats]
    corner: Floats

    def at(self, own: ModelSpec) -> CrossProducts:
        """The cross-products at the ρ of `own`."""
        assert own.rho is not None
        c, log_det = self.basis.at(own.rho)
        pairs = self.products.A.pairs
        mixed = {key: replace(pairs[key], blocks=np.tensordot(c, S, 1)) for key, S in self.pairs.items()}
        return replace(
            self.products,
            A=BlockMatrix(tuple(np.tensordot(c, S, 1) for S in self.diag), mixed),
            Xy=tuple(np.tensordot(c, S, 1) for S in self.Xy),
            corner=np.tensordot(c, self.corner, 1),
            log_weights=log_det,
            rows=None if self.products.rows is None else own,
        )

    @property
    def constant(self) -> float:
        """What −2 log p of `products` has besides log |Λ⁻¹|, less that by the counts alone."""
        return self.products.log_weights - self.basis.log_weights

    def part(self, k: int) -> CrossProducts:
        """S_k as cross-products of its own."""
        own = {key: replace(self.products.A.pairs[key], blocks=S[k]) for key, S in self.pairs.items()}
        A = BlockMatrix(tuple(S[k] for S in self.diag), own)
        return replace(self.products, A=A, Xy=tuple(S[k] for S in self.Xy), corner=self.corner[k], rows=None)

    def slopes(self, own: ModelSpec, of: ProductSlopes, fold: Floats | None = None) -> Floats:
        """Slopes (n_rho,) by `of`, those in the cross-products; `fold` (p + 1, m) maps [X y] to their columns."""
        assert own.rho is not None
        change, log_det = self.basis.slopes(own.rho)
        F = np.eye(self.corner.shape[1]) if fold is None else fold
        total = np.einsum("kxy,xa,yb,ab->k", self.corner, F, F, of.corner, optimize=True)
        for S, G in zip(self.diag, of.diag, strict=True):
            total = total + np.einsum("kjab,jab->k", S, G)
        for S, G in zip(self.Xy, of.Xy, strict=True):
            total = total + 2.0 * np.einsum("kjax,xm,jam->k", S, F, G, optimize=True)
        for key, S in self.pairs.items():
            total = total + 2.0 * np.einsum("kjab,jab->k", S, of.pairs[key])
        return np.asarray(change @ total - log_det)


@dataclass(frozen=True, eq=False, repr=False)
class ProductSlopes:
    """Derivatives of the criterion in the cross-products, σ held; of the shapes of FixedSums without the first axis."""

    diag: tuple[Floats, ...]
    Xy: tuple[Floats, ...]
    pairs: Mapping[tuple[int, int], Floats]
    corner: Floats

    def plus(self, other: ProductSlopes) -> ProductSlopes:
        """The sum of both."""
        return ProductSlopes(
            tuple(a + b for a, b in zip(self.diag, other.diag, strict=True)),
            tuple(a + b for a, b in zip(self.Xy, other.Xy, strict=True)),
            {key: own + other.pairs[key] for key, own in self.pairs.items()},
            self.corner + other.corner,
        )


def product_slopes(A: BlockMatrix, at: Evaluation) -> ProductSlopes:
    """With C the covariance of (b̂ − b, β̂) over σ² and u = (−b̂, −β̂, 1): C + uuᵀ/σ² (``docs/mathematics.md`` §3).

    Under ML, C is that of b with β known.
    """
    contrast = np.append(-at.beta, 1.0) / at.sigma
    b: list[Floats] = [solved @ -contrast for solved in backward(at.factor, at.columns.white)]
    outer = ProductSlopes(
        tuple(own[:, :, None] * own[:, None, :] for own in b),
        tuple(own[:, :, None] * contrast for own in b),
        {(k, l): b[k][pair.rows][:, :, None] * b[l][pair.cols][:, None, :] for (k, l), pair in A.pairs.items()},
        np.outer(contrast, contrast),
    )
    return covariance_blocks(A, at, coefficients=at.method == "REML").plus(outer)


def covariance_blocks(A: BlockMatrix, at: Evaluation, *, coefficients: bool = True) -> ProductSlopes:
    """The covariance of (b̂ − b, β̂) over σ², in the shapes of the cross-products; without `coefficients`, β known.

    Of a row's [z x] it makes the leverage, in two parts: zᵀQz, and gᵀ(XᵀV⁻¹X)⁻¹g with g = x − XᵀV⁻¹ZDz (Demidenko &
    Stukel 2005, Stat. Med. 24, 893-909, §3).
    """
    p, root = at.inverse_root.shape[0], at.inverse_root if coefficients else at.inverse_root[:0]
    V, Q = root.T @ root, paired_blocks(A, at.factor)
    B = [solved[:, :, :p] for solved in backward(at.factor, at.columns.white)]
    half = [own @ root.T for own in B]
    corner = np.zeros((p + 1, p + 1))
    corner[:p, :p] = V
    response = [np.zeros((*own.shape[:2], 1)) for own in B]
    return ProductSlopes(
        tuple(Q[k, k] + own @ np.swapaxes(own, 1, 2) for k, own in enumerate(half)),
        tuple(np.concatenate([-own @ root, zero], axis=2) for own, zero in zip(half, response, strict=True)),
        {
            (k, l): Q[k, l] + half[k][pair.rows] @ np.swapaxes(half[l][pair.cols], 1, 2)
            for (k, l), pair in A.pairs.items()
        },
        corner,
    )


def cross_products(spec: ModelSpec) -> CrossProducts:
    """Read the rows of a model once (centred, scaled, weighted) into its cross-products.

    Where correlated rows are in several chunks, the sums for all ρ are read.
    """
    if spec.design.stream is None or not spec.residual.correlated or spec.rho is None:
        return own_products(spec)
    plain = spec.with_rho(None)
    sums = fixed_sums(plain, own_products(plain))
    assert sums is not None
    return sums.at(spec)


def fixed_sums(spec: ModelSpec, products: CrossProducts, *, numeric: bool = False) -> FixedSums | None:
    """Read the rows once for all ρ; None where their covariance is no combination of few fixed matrices.

    It may be one by coefficients that lose digits, if `numeric`.
    """
    known = spec.residual if spec.design.stream is None else replace(spec.residual, weights=None)  # which are not held
    basis = known.numeric_basis if numeric else known.basis
    if basis is None:
        return None
    found = [_Found(part, products) for part in basis.parts]
    log_weights = 0.0
    for rows in spec.parts():
        own = basis if rows is spec else rows.residual.basis
        assert own is not None
        log_weights += own.log_weights
        read = _raw_rows(rows, products)
        for part, sums in zip(own.parts, found, strict=True):
            sums.add(part, read)
    parts = [sums.products for sums in found]
    return FixedSums(
        spec,
        products,
        replace(basis, log_weights=log_weights),
        tuple(basis.mixed(np.stack(own)) for own in zip(*(f.diag for f in parts), strict=True)),
        tuple(basis.mixed(np.stack(own)) for own in zip(*(f.Xy for f in parts), strict=True)),
        {key: basis.mixed(np.stack([f.pairs[key] for f in parts])) for key in products.A.pairs},
        basis.mixed(np.stack([f.corner for f in parts])),
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows on the internal scale: [X y] (p + 1, n); by factor, in order of elimination, Z (p_k, n) and levels (n,)."""

    columns: Floats
    Zs: Sequence[Floats]
    codes: Sequence[Ints]

    def of(self, part: Part) -> _Rows:
        """Those of T times them."""
        return _Rows(part.of(self.columns), [part.of(Z) for Z in self.Zs], [code[part.rows] for code in self.codes])


def _raw_rows(spec: ModelSpec, products: CrossProducts) -> _Rows:
    everything, scale = slice(0, len(spec.design.y)), products.scaling
    return _Rows(
        raw_columns(spec, scale, everything),
        [raw_effects(spec, scale, everything, k) for k in products.order],
        [spec.groupings[k].codes for k in products.order],
    )


class _Found:
    """The sums over one part, read chunk by chunk; rows of T that are in several are squared when all are there."""

    def __init__(self, part: Part, products: CrossProducts) -> None:
        self.A = products.A
        self.own: ProductSlopes | None = None
        whole = (products.n_fixed + 1, *products.A.sizes)
        self.whole: list[Floats] = [] if part.places is None else [np.zeros((q, part.total)) for q in whole]
        self.codes = [np.zeros(part.total, dtype=np.intp) for _ in products.A.sizes]

    def add(self, part: Part, rows: _Rows) -> None:
        """With more rows."""
        own = rows.of(part)
        if part.places is None:
            squares = _squares(own, self.A)
            self.own = squares if self.own is None else self.own.plus(squares)
            return
        for total, values in zip(self.whole, (own.columns, *own.Zs), strict=True):
            total[:, part.places] += values
        for known, codes in zip(self.codes, own.codes, strict=True):
            known[part.places] = codes

    @property
    def products(self) -> ProductSlopes:
        """The sums over all rows."""
        if self.whole:
            return _squares(_Rows(self.whole[0], self.whole[1:], self.codes), self.A)
        assert self.own is not None
        return self.own


def _squares(rows: _Rows, A: BlockMatrix) -> ProductSlopes:
    """[Z X y]ᵀ[Z X y] of rows, in the shapes of all rows."""
    return summed_rows(rows.columns, rows.Zs, rows.codes, pair_places(rows.codes, A), A)


def pair_places(codes: Sequence[Ints], A: BlockMatrix) -> dict[tuple[int, int], Ints]:
    """Which of the pairs of levels each row has, by pair of factors."""
    return {(k, l): pair.places(codes[k], codes[l]) for (k, l), pair in A.pairs.items()}


def summed_rows(
    columns: Floats,
    Zs: Sequence[Floats],
    codes: Sequence[Ints],
    places: Mapping[tuple[int, int], Ints],
    A: BlockMatrix,
) -> ProductSlopes:
    """[Z X y]ᵀ[Z X y] of rows (·, n) of [X y] and of every factor, in the shapes of all rows."""
    columns, effects = np.ascontiguousarray(columns.T), [np.ascontiguousarray(Z.T) for Z in Zs]
    diag, Xy = [], []
    for Z, code, J in zip(effects, codes, A.n_levels, strict=True):
        own, across = np.zeros((J, Z.shape[1], Z.shape[1])), np.zeros((J, Z.shape[1], columns.shape[1]))
        add_squares(code, Z, own)
        add_products(code, Z, columns, across)
        diag.append(own)
        Xy.append(across)
    pairs = {}
    for (k, l), pair in A.pairs.items():
        blocks = np.zeros((len(pair.rows), effects[k].shape[1], effects[l].shape[1]))
        add_products(places[k, l], effects[k], effects[l], blocks)
        pairs[k, l] = blocks
    return ProductSlopes(tuple(diag), tuple(Xy), pairs, columns.T @ columns)
