"""Covariances of xᵀβ̂ + zᵀ(b̂ − b) given θ, for many rows (x, z): nothing is rows × rows, or rows × effects for all rows.

From the inverse of Henderson's mixed-model equations, σ²[(XᵀV⁻¹X)⁻¹, ·; −B(XᵀV⁻¹X)⁻¹, Q + B(XᵀV⁻¹X)⁻¹Bᵀ] with
B = DZᵀV⁻¹X and Q = D − DZᵀV⁻¹ZD, which needs no inverse of D and so holds where variances are zero (Henderson 1975,
Biometrics 31, 423-447; Robinson 1991, Stat. Sci. 6, 15-32, §5).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from _ranef.likelihood.at import At
from _ranef.likelihood.criterion import Evaluation
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.sums import raw_columns, raw_effects
from _ranef.linalg import BlockMatrix, backward, forward, paired_blocks
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = [
    "RowBlocks",
    "combination_roots",
    "combination_variances",
    "given_variances",
    "quadratic_forms",
    "row_blocks",
    "row_leverages",
    "row_residuals",
    "row_slopes",
    "slopes_by_rows",
]

#: entries of covariance blocks gathered by row at once
CHUNK_ENTRIES = 4_000_000


def combination_roots(
    at: At, X: Floats, codes: Sequence[Ints], Z: Sequence[Floats], groupings: Collection[int]
) -> Floats:
    """Columns (q + p, m) whose inner products are the covariances of m combinations.

    They are σ times f, the whitened Λᵀz, above g = R(x − F_Xᵀf).

    Parameters
    ----------
    X : array (m, p)
    codes, Z : by grouping, array of int (m,) and array (m, p_k)
        Levels and columns; effects of levels that are none are left out.
    groupings : collection of int
        Whose effects count.
    """
    products = at.likelihood.products
    columns = [z @ T for z, T in zip(Z, at.likelihood.maps, strict=True)]
    own, place = _known(products, codes, columns, groupings)
    return np.vstack(_passed(products.A, at.inner, X @ products.scaling.X, own, place)) * at.sigma


def combination_variances(
    at: At, X: Floats, codes: Sequence[Ints], Z: Sequence[Floats], groupings: Collection[int]
) -> tuple[Floats, Floats]:
    """Var(xᵀβ + zᵀ(b̂ − b)) (m,) with β known, and what the error of β̂ adds (m,); arguments of combination_roots."""
    likelihood = at.likelihood
    columns = [z @ T for z, T in zip(Z, likelihood.maps, strict=True)]
    internal = X @ likelihood.products.scaling.X
    known, beta = given_variances(likelihood.products, at.inner, internal, codes, columns, groupings)
    return at.sigma**2 * known, at.sigma**2 * beta


def given_variances(
    products: CrossProducts,
    at: Evaluation,
    X: Floats,
    codes: Sequence[Ints],
    Z: Sequence[Floats],
    groupings: Collection[int],
) -> tuple[Floats, Floats]:
    """The same over σ², on the internal scale: X (m, g) in the columns of `at`, Z in standard columns by grouping.

    Few rows pass through the factor. Of many, those whose levels stand together in a row of the data are read from the
    blocks of Q that are there.
    """
    A, m = products.A, len(X)
    own, place = _known(products, codes, Z, groupings)
    q = sum(J * p for J, p in zip(A.n_levels, A.sizes, strict=True))
    out, dense = np.empty((2, m)), np.ones(m, dtype=bool)
    if m * q > CHUNK_ENTRIES:
        dense = _apart(A, own, place)
        rows = ~dense
        Q, B = paired_blocks(A, at.factor), [b[:, :, :-1] for b in backward(at.factor, at.columns.white)]
        some = X[rows], [z[rows] for z in own], [code[rows] for code in place]
        out[0, rows], total = (quadratic_forms(A, Q, B, R, *some) for R in (at.inverse_root[:0], at.inverse_root))
        out[1, rows] = total - out[0, rows]
    left, step = np.flatnonzero(dense), max(1, CHUNK_ENTRIES // max(1, q))
    for part in (left[first : first + step] for first in range(0, len(left), step)):
        f, g = _passed(A, at, X[part], [z[part] for z in own], [code[part] for code in place])
        out[:, part] = (f**2).sum(axis=0), (g**2).sum(axis=0)
    return out[0], out[1]


def _known(
    products: CrossProducts, codes: Sequence[Ints], Z: Sequence[Floats], groupings: Collection[int]
) -> tuple[list[Floats], list[Ints]]:
    """Columns (m, p_k) and levels (m,) in elimination order; columns are zero where a level is none, or not asked."""
    columns, levels = [], []
    for J, k in zip(products.A.n_levels, products.order, strict=True):
        known = (codes[k] >= 0) & (codes[k] < J) & (k in groupings)
        columns.append(np.where(known[:, None], Z[k], 0.0))
        levels.append(np.where(known, codes[k], 0))
    return columns, levels


def _apart(A: BlockMatrix, Z: Sequence[Floats], codes: Sequence[Ints]) -> Bools:
    """Rows (m,) with effects of two levels that share no row of the data."""
    out = np.zeros(len(codes[0]) if codes else 0, dtype=bool)
    for (k, l), pair in A.pairs.items():
        width = A.n_levels[l]
        shared = np.isin(codes[k] * width + codes[l], pair.rows * width + pair.cols)
        out |= ~shared & Z[k].any(axis=1) & Z[l].any(axis=1)
    return out


def _passed(
    A: BlockMatrix, at: Evaluation, X: Floats, Z: Sequence[Floats], codes: Sequence[Ints]
) -> tuple[Floats, Floats]:
    """F (q, m), the whitened Λᵀz, and g = R(x − F_Xᵀf) (g, m)."""
    columns, each = [], np.arange(len(X))
    for diag, z, code in zip(A.diag, Z, codes, strict=True):
        block = np.zeros((*diag.shape[:2], len(X)))
        block[code, :, each] = z
        columns.append(block)
    white = forward(at.factor, columns).white
    f = np.vstack([np.zeros((0, len(X))), *(w.reshape(-1, w.shape[2]) for w in white)])
    F = np.vstack([np.zeros((0, X.shape[1] + 1)), *(w.reshape(-1, w.shape[2]) for w in at.columns.white)])
    return f, at.inverse_root @ (X.T - F[:, :-1].T @ f)


@dataclass(frozen=True)
class RowBlocks:
    """What the leverage of a row of the model is made of; groupings in elimination order, internal scale.

    Attributes
    ----------
    at : At
    Q : mapping (k, l) to array
        Blocks of the conditional covariance of b over σ²: (J_k, p_k, p_k) for k = l, else in the order of ``A.pairs``.
    B : tuple of array (J_k, p_k, p)
        DZᵀV⁻¹X.
    coefficients : bool
        Whether β is estimated.
    """

    at: At
    Q: Mapping[tuple[int, int], Floats]
    B: tuple[Floats, ...]
    coefficients: bool = True

    def without_coefficients(self) -> RowBlocks:
        """The same with β taken as known: leverages are then of the random effects alone."""
        return replace(self, coefficients=False)


def row_blocks(at: At) -> RowBlocks:
    """The blocks of Q for levels that share a row, and DZᵀV⁻¹X."""
    B = tuple(b[:, :, :-1] for b in backward(at.inner.factor, at.inner.columns.white))
    return RowBlocks(at, paired_blocks(at.likelihood.products.A, at.inner.factor), B)


def row_leverages(spec: ModelSpec, given: RowBlocks) -> Floats:
    """∂ŷ/∂y (n,) of the rows that `spec` holds, [X Z]C[X Z]ᵀΛ⁻¹ with C the covariance of (β̂, b̂ − b) over σ².

    In two parts: zᵀQz, and gᵀ(XᵀV⁻¹X)⁻¹g with g = x − XᵀV⁻¹ZDz (Demidenko & Stukel 2005, Stat. Med. 24, 893-909, §3).
    Of correlated rows it is the form of (x, z) and their combination by Λ⁻¹, whose levels are the same.
    """
    products, root = given.at.likelihood.products, given.at.inner.inverse_root
    X = spec.design.X @ products.scaling.X
    Z: list[Floats] = [spec.groupings[k].Z @ products.scaling.Z[k] for k in products.order]
    codes = [spec.groupings[k].codes for k in products.order]

    def form(X: Floats, Z: Sequence[Floats]) -> Floats:
        return quadratic_forms(products.A, given.Q, given.B, root if given.coefficients else root[:0], X, Z, codes)

    if not spec.residual.correlated:
        return np.asarray(spec.residual.precision * form(X, Z))
    others = [spec.residual.over_covariance(part.T).T for part in (X, *Z)]
    sums, changes = ([a + s * b for a, b in zip((X, *Z), others, strict=True)] for s in (1.0, -1.0))
    return np.asarray(0.25 * (form(sums[0], sums[1:]) - form(changes[0], changes[1:])))


def quadratic_forms(
    A: BlockMatrix,
    Q: Mapping[tuple[int, int], Floats],
    B: Sequence[Floats],
    inverse_root: Floats,
    X: Floats,
    Z: Sequence[Floats],
    codes: Sequence[Ints],
) -> Floats:
    """zᵀQz + |Rg|² (n,) with g = x − XᵀV⁻¹ZDz of rows [X Z], factors in elimination order; R may have no rows."""
    out = np.zeros(len(X))
    for k, (z, code) in enumerate(zip(Z, codes, strict=True)):
        X = X - _by_rows(z, B[k], code)
        out += _forms(z, Q[k, k], code, z)
    for (k, l), pair in A.pairs.items():
        width = A.n_levels[l]
        place = np.searchsorted(pair.rows * width + pair.cols, codes[k] * width + codes[l])
        out += 2.0 * _forms(Z[k], Q[k, l], place, Z[l])
    return np.asarray(out + ((X @ inverse_root.T) ** 2).sum(axis=1))


def row_residuals(at: At) -> Floats:
    """Y − Xβ̂ − Zb̂ (n,), of rows that are held."""
    spec = at.likelihood.spec
    fitted = spec.design.X @ at.beta
    for g, b in zip(spec.groupings, at.effects, strict=True):
        fitted = fitted + np.einsum("na,na->n", g.Z, b[g.codes])
    return np.asarray(spec.design.y - fitted - (0.0 if spec.design.offset is None else spec.design.offset))


def row_slopes(at: At) -> Floats:
    """∂criterion/∂ρ (n_rho,) of parameters of residual variances and correlations, θ held (and σ, if not profiled)."""
    spec, products = at.likelihood.spec, at.likelihood.products
    fold, reml = np.eye(products.n_fixed + 1), at.likelihood.method == "REML"
    return slopes_by_rows(spec, products, at.inner, fold, row_residuals(at) / at.sigma, coefficients=reml)


def slopes_by_rows(
    spec: ModelSpec, products: CrossProducts, at: Evaluation, fold: Floats, left: Floats, *, coefficients: bool = True
) -> Floats:
    """The same of columns that are `fold` (p + 1, m) of [X y], `left` (n,) being residuals over σ.

    For a row of variance v with leverage h and residual e, ∂/∂ log v = (1 − h) − e²/v, for it is v(V⁻¹)_ii − v(Py)²_i.
    h counts the coefficients under REML, and the random effects alone under ML. Where rows are correlated whitened rows
    a move to a + ∂a, and the leverages, quadratic in them, with them.
    """
    residual, everything = spec.residual, slice(0, spec.n_obs)
    codes = [spec.groupings[k].codes for k in products.order]
    raw: list[Floats] = [(fold.T @ raw_columns(spec, products.scaling, everything))[:-1]]
    raw += [raw_effects(spec, products.scaling, everything, k) for k in products.order]
    Q, B = paired_blocks(products.A, at.factor), [b[:, :, :-1] for b in backward(at.factor, at.columns.white)]
    root = at.inverse_root if coefficients else at.inverse_root[:0]

    def leverages(rows: Sequence[Floats]) -> Floats:
        return quadratic_forms(products.A, Q, B, root, rows[0], rows[1:], codes)

    own = [residual.whitened(part).T for part in raw]
    of_rss = 2.0 * residual.changes(left) @ residual.whitened(left)
    if not residual.correlated:
        return np.asarray(2.0 * residual.jacobian @ (1.0 - leverages(own)) + of_rss)
    moved, of_leverages = [residual.changes(part) for part in raw], np.empty(len(spec.rho_names))
    for k in range(len(of_leverages)):
        ahead, behind = ([a + sign * c[k].T for a, c in zip(own, moved, strict=True)] for sign in (1.0, -1.0))
        of_leverages[k] = 0.5 * (leverages(ahead).sum() - leverages(behind).sum())
    return np.asarray(of_leverages + of_rss - residual.log_det_slopes)


def _residual_slopes(at: At) -> Floats:
    """The part of the slopes (n_rho,) that is ∂(rss/σ²)/∂ρ, with σ held."""
    residual, left = at.likelihood.spec.residual, row_residuals(at)
    return np.asarray(2.0 * residual.changes(left) @ residual.whitened(left) / at.sigma**2)


def _forms(left: Floats, blocks: Floats, place: Ints, right: Floats) -> Floats:
    """Bilinear forms lᵀBr (n,) with the block that each row names."""
    return np.asarray((_by_rows(left, blocks, place) * right).sum(axis=1))


def _by_rows(left: Floats, blocks: Floats, place: Ints) -> Floats:
    """lᵀB (n, r) with the block (p, r) that each row names."""
    n, (_, p, r) = left.shape[0], blocks.shape
    out = np.empty((n, r))
    step = max(1, CHUNK_ENTRIES // max(1, p * r))
    for first in range(0, n, step):
        part = slice(first, first + step)
        out[part] = np.einsum("na,nar->nr", left[part], blocks[place[part]])
    return out
