"""Groups whose effects are integrated by cross-products of rows that are the same for all draws.

The factor with most levels is eliminated level by level, the others of the group densely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.likelihood.group_problem import Common, GroupProblem, RowGroups
from _ranef.linalg.blocks import cholesky, forward_substitute, segment_matrix, segment_sum, transpose
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["by_sums"]


@dataclass(frozen=True, eq=False)
class _Bucket:
    """Groups whose outer effects are laid out alike.

    Attributes
    ----------
    groups : array of int (G,)
    rows : array of int (m,)
    Zi, Zo, one : sparse (L p, m), (G q, m), (G, m)
        Weighted columns of the inner factor's L levels, of the outer effects, and of the groups, transposed.
    Aii, Aio, Aoo : array (L, p, p), (L, p, q), (G, q, q)
        Cross-products.
    to_group : sparse (G, L)
        Which group holds a level of the inner factor.
    layout : tuple of (int, int)
        Grouping and number of its levels, for the outer effects of each of the groups.
    """

    groups: Ints
    rows: Ints
    Zi: scipy.sparse.csr_array
    Zo: scipy.sparse.csr_array
    one: scipy.sparse.csr_array
    Aii: Floats
    Aio: Floats
    Aoo: Floats
    to_group: scipy.sparse.csr_array
    layout: tuple[tuple[int, int], ...]

    def sums(self, columns: Floats) -> tuple[Floats, Floats]:
        """ZᵀW times columns (m, c) of the bucket's rows, inner (L, p, c) and outer (G, q, c)."""
        c = columns.shape[1]
        inner, outer = np.asarray(self.Zi @ columns), np.asarray(self.Zo @ columns)
        return inner.reshape(*self.Aii.shape[:2], c), outer.reshape(*self.Aoo.shape[:2], c)


@dataclass(frozen=True, eq=False)
class _Columns:
    """Cross-products of columns to be carried through the elimination; the second axis is draws, or one for all.

    Attributes
    ----------
    inner, outer : array (L, S, p, m), (G, S, q, m)
    own : array (G, S, m, m)
    """

    inner: Floats
    outer: Floats
    own: Floats


@dataclass(frozen=True, eq=False)
class _BySums(GroupProblem):
    """With ZᵀWX̃ and X̃ᵀWX̃ by bucket, and the factor with most levels; −1 where there is none."""

    common: Common
    fixed: list[tuple[Floats, Floats, Floats]]
    buckets: list[_Bucket]
    inner: int

    def numbers(self, m: int) -> int:
        """By bucket."""
        each = self.common.spec.n_obs if self.common.known else 1
        for b in self.buckets:
            (L, p, q), G = b.Aio.shape, len(b.groups)
            each += L * p * (2 * p + q + m) + G * (q * (2 * q + m) + 3 * m * m)
        return each

    def log_weights(self, some: slice) -> Floats:
        """The same for all draws."""
        return self.common.within(self.common.spec.residual.log_precision)[:, None]

    def given(self, some: slice) -> tuple[Floats, Floats]:
        """Of one column."""
        log_det, gram = self._eliminated(some, self._residuals(some))
        return log_det, gram[..., 0, 0]

    def open(self, some: slice) -> tuple[Floats, Floats]:
        """Of [X̃ e]."""
        return self._eliminated(some, self._joint(some))

    def _residuals(self, some: slice) -> list[_Columns]:
        """One column by bucket: the rows without Xβ and the effects known."""
        values, delta = self.common.rows(some), self.common.delta[some]
        out = []
        for b, (inner, outer, own) in zip(self.buckets, self.fixed, strict=True):
            e = values[b.rows]
            inner_e, outer_e = (np.swapaxes(v, 1, 2)[..., None] for v in b.sums(e))
            X_e = self._with_X(b, e)
            squares = np.asarray(b.one @ e**2)
            squares = squares - 2.0 * np.einsum("gsp,sp->gs", np.broadcast_to(X_e, (len(own), *delta.shape)), delta)
            squares = squares + np.einsum("gpq,sp,sq->gs", own, delta, delta, optimize=True)
            inner_e = inner_e - np.einsum("lap,sp->lsa", inner, delta)[..., None]
            outer_e = outer_e - np.einsum("gap,sp->gsa", outer, delta)[..., None]
            out.append(_Columns(inner_e, outer_e, squares[..., None, None]))
        return out

    def _joint(self, some: slice) -> list[_Columns]:
        """Columns [X̃ e] by bucket."""
        values, p = self.common.rows(some), self.common.spec.n_fixed
        out = []
        for b, (inner, outer, own) in zip(self.buckets, self.fixed, strict=True):
            e = values[b.rows]
            S = e.shape[1]
            inner_e, outer_e = (np.swapaxes(v, 1, 2)[..., None] for v in b.sums(e))
            both = np.empty((len(own), S, p + 1, p + 1))
            both[..., :p, :p] = own[:, None]
            both[..., :p, p] = both[..., p, :p] = self._with_X(b, e)
            both[..., p, p] = np.asarray(b.one @ e**2)
            out.append(_Columns(_beside(inner, inner_e), _beside(outer, outer_e), both))
        return out

    def _with_X(self, b: _Bucket, e: Floats) -> Floats:
        """X̃ᵀWe (G, S, p) by group."""
        X = self.common.X[b.rows]
        columns = [np.asarray(b.one @ (X[:, a, None] * e)) for a in range(X.shape[1])]
        return np.stack(columns, axis=-1) if columns else np.zeros((len(b.groups), e.shape[1], 0))

    def _eliminated(self, some: slice, columns: list[_Columns]) -> tuple[Floats, Floats]:
        """Log |I + ΛᵀAΛ| (J, S) and EᵀV⁻¹E (J, S, m, m) for columns E."""
        lambdas, J = [lam[some] for lam in self.common.lambdas], self.common.groups.size
        S, m = self.common.sigma[some].size, columns[0].own.shape[-1]
        log_det, gram = np.empty((J, S)), np.empty((J, S, m, m))
        for b, c in zip(self.buckets, columns, strict=True):
            log_det[b.groups], gram[b.groups] = _eliminate(b, c, lambdas, self.inner, S)
        return log_det, gram


def _beside(fixed: Floats, e: Floats) -> Floats:
    """[X̃ e] (L, S, p, m + 1) from (L, p, m) and (L, S, p, 1)."""
    L, S, p, _ = e.shape
    return np.concatenate([np.broadcast_to(fixed[:, None], (L, S, p, fixed.shape[2])), e], axis=-1)


def _eliminate(b: _Bucket, c: _Columns, lambdas: Sequence[Floats], inner: int, S: int) -> tuple[Floats, Floats]:
    """Log-determinants (G, S) and EᵀV⁻¹E (G, S, m, m) of one bucket."""
    (L, p, q), G, m = b.Aio.shape, len(b.groups), c.own.shape[-1]
    log_det: Floats = np.zeros((G, S))
    gram: Floats = np.broadcast_to(c.own, (G, S, m, m))
    H = R = None
    if q:
        outer = _block_diagonal(lambdas, b.layout, S)
        H = np.eye(q) + transpose(outer) @ b.Aoo[:, None] @ outer
        R = np.broadcast_to(transpose(outer) @ c.outer, (G, S, q, m))
    if L:
        lam = lambdas[inner]
        root = cholesky((np.eye(p) + transpose(lam) @ b.Aii[:, None] @ lam).reshape(L * S, p, p))
        carried = np.broadcast_to(transpose(lam) @ c.inner, (L, S, p, m)).reshape(L * S, p, m)
        C = forward_substitute(root, carried).reshape(L, S, p, m)
        logs = 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1).reshape(L, S)
        log_det = segment_sum(b.to_group, logs)
        gram = gram - segment_sum(b.to_group, transpose(C) @ C)
        if H is not None and R is not None:
            B = forward_substitute(root, (transpose(lam) @ b.Aio[:, None] @ outer).reshape(L * S, p, q))
            B = B.reshape(L, S, p, q)
            H = H - segment_sum(b.to_group, transpose(B) @ B)
            R = R - segment_sum(b.to_group, transpose(B) @ C)
    if H is not None and R is not None:
        root = np.linalg.cholesky(H).reshape(G * S, q, q)
        C = forward_substitute(root, R.reshape(G * S, q, m)).reshape(G, S, q, m)
        log_det = log_det + 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1).reshape(G, S)
        gram = gram - transpose(C) @ C
    return log_det, gram


def _block_diagonal(lambdas: Sequence[Floats], layout: Sequence[tuple[int, int]], S: int) -> Floats:
    """Λ (S, q, q) of the outer effects of one group."""
    q = sum(count * lambdas[k].shape[-1] for k, count in layout)
    out, start = np.zeros((S, q, q)), 0
    for k, count in layout:
        p = lambdas[k].shape[-1]
        for _ in range(count):
            out[:, start : start + p, start : start + p] = lambdas[k]
            start += p
    return out


def by_sums(own: Common) -> GroupProblem:
    """Read the rows into cross-products."""
    spec, groups, homes = own.spec, own.groups, own.homes
    counts = np.zeros((max(1, len(homes)), groups.size), dtype=np.intp)
    for k, home in enumerate(homes):
        counts[k] = np.bincount(home[home >= 0], minlength=groups.size)
    inner = int(counts.sum(axis=1).argmax()) if counts.any() else -1
    buckets = _buckets(spec, groups, homes, counts, inner)
    return _BySums(own, [_fixed_columns(bucket, own.X[bucket.rows]) for bucket in buckets], buckets, inner)


def _fixed_columns(bucket: _Bucket, X: Floats) -> tuple[Floats, Floats, Floats]:
    """ZᵀWX̃ (L, p_k, p) and (G, q, p), and X̃ᵀWX̃ (G, p, p)."""
    n, p = X.shape
    pairs = (X[:, :, None] * X[:, None, :]).reshape(n, p * p)
    return (*bucket.sums(X), np.asarray(bucket.one @ pairs).reshape(len(bucket.groups), p, p))


def _buckets(spec: ModelSpec, groups: RowGroups, homes: list[Ints], counts: Ints, inner: int) -> list[_Bucket]:
    """Groups sorted by the numbers of their outer effects."""
    outer = counts.copy()
    outer[inner] = 0  # where there is none, all are zero
    signatures, which = np.unique(outer.T, axis=0, return_inverse=True)
    out = []
    for s, signature in enumerate(signatures):
        members = np.flatnonzero(which.ravel() == s)
        layout = tuple((int(k), int(signature[k])) for k in np.flatnonzero(signature))
        out.append(_bucket(spec, groups, homes, members, layout, inner))
    return out


def _bucket(
    spec: ModelSpec,
    groups: RowGroups,
    homes: list[Ints],
    members: Ints,
    layout: tuple[tuple[int, int], ...],
    inner: int,
) -> _Bucket:
    G = len(members)
    local = np.full(groups.size, -1)
    local[members] = np.arange(G)
    rows = np.flatnonzero(local[groups.codes] >= 0)
    weights = spec.residual.precision[rows]
    place = local[groups.codes[rows]]
    widths = [len(g.columns) for g in spec.groupings]
    q = sum(count * widths[k] for k, count in layout)
    blocks, start = [], 0
    for k, count in layout:
        levels = np.flatnonzero((homes[k] >= 0) & (local[homes[k]] >= 0))
        levels = levels[np.argsort(local[homes[k][levels]], kind="stable")]  # `count` of each group, one after another
        first = np.full(spec.groupings[k].n_levels, -1)
        first[levels] = local[homes[k][levels]] * q + start + np.arange(len(levels)) % count * widths[k]
        blocks.append((first[spec.groupings[k].codes[rows]], spec.groupings[k].Z[rows]))
        start += count * widths[k]
    Zo = _sparse(blocks, len(rows), G * q)
    p, blocks = 1, []
    home: Ints = np.empty(0, dtype=np.intp)
    if inner >= 0:
        g, p = spec.groupings[inner], widths[inner]
        levels = np.flatnonzero((homes[inner] >= 0) & (local[homes[inner]] >= 0))
        home = local[homes[inner][levels]]
        first = np.full(g.n_levels, -1)
        first[levels] = np.arange(len(levels)) * p
        blocks = [(first[g.codes[rows]], g.Z[rows])]
    L = len(home)
    Zi = _sparse(blocks, len(rows), L * p)
    W = scipy.sparse.diags_array(weights)
    WZi, WZo = (W @ Zi).tocsc(), (W @ Zo).tocsc()
    one = scipy.sparse.csr_array((weights, (place, np.arange(len(rows)))), shape=(G, len(rows)))
    return _Bucket(
        groups=members,
        rows=rows,
        Zi=WZi.T.tocsr(),
        Zo=WZo.T.tocsr(),
        one=one,
        Aii=_dense_blocks(WZi.T @ Zi, (L, p, p)),
        Aio=_dense_blocks(WZi.T @ Zo, (L, p, q)),
        Aoo=_dense_blocks(WZo.T @ Zo, (G, q, q)),
        to_group=segment_matrix(home, G),
        layout=layout,
    )


def _sparse(blocks: Sequence[tuple[Ints, Floats]], n: int, width: int) -> scipy.sparse.csr_array:
    """Rows (n, width) that hold Z (n, p) from column `first` (n,) on; nothing where that is −1."""
    rows, cols, values = [], [], []
    for first, Z in blocks:
        held = np.flatnonzero(first >= 0)
        rows.append(np.repeat(held, Z.shape[1]))
        cols.append((first[held, None] + np.arange(Z.shape[1])).ravel())
        values.append(Z[held].ravel())
    if not blocks:
        return scipy.sparse.csr_array((n, width))
    triplets = (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols)))
    return scipy.sparse.csr_array(triplets, shape=(n, width))


def _dense_blocks(product: scipy.sparse.csr_array, shape: tuple[int, int, int]) -> Floats:
    """Blocks (J, a, b) of a product (J a, ...) in which every row meets columns of one block only."""
    _, a, b = shape
    coo, out = scipy.sparse.coo_array(product), np.zeros(shape)
    if b:
        rows, cols = coo.coords
        np.add.at(out, (rows // a, rows % a, cols % b), coo.data)
    return out
