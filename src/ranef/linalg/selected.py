"""Selected blocks of E = ZᵀV⁻¹Z and columns ZᵀV⁻¹W, from the outermost factor inwards.

E is what conditional covariances (Var(b | y) / σ² = D − D E D) and gradients (traces of V⁻¹ with ∂V) are made of.
Its diagonal blocks are returned; blocks between factors are kept on the way where a nested factor needs them.
For a factor eliminated at level i with tail T: E_ii = GA − (GC) Q (GC)ᵀ and E_iT = GC (I − D_T E_TT), where
G = (I + A D)⁻¹ and Q = D_T − D_T E_TT D_T. No λ is inverted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from ranef.arrays import Floats, Ints
from ranef.linalg.batched import transpose
from ranef.linalg.blocks import BlockMatrix
from ranef.linalg.factor import (
    BlockedFactor,
    CrossedFactor,
    NestedFactor,
    Whitened,
    from_parents,
    sparse_rows,
    stack_tail,
    times_tail,
)

__all__ = ["selected_blocks", "solve_columns"]

#: entries of the dense product of sparse rows with the tail that are held at once
CHUNK_ENTRIES = 16_000_000

#: below this λ²A the tail's E is formed by subtraction, above it by dividing I − S by Λ: each loses digits elsewhere
SMALL_SIGNAL = 1e-3

Blocks = dict[tuple[int, int], Floats]


def selected_blocks(A: BlockMatrix, factor: BlockedFactor) -> tuple[Floats, ...]:
    """Diagonal blocks of ZᵀV⁻¹Z, a (J_k, p_k, p_k) for each factor."""
    E: Blocks = {}
    if factor.crossed:
        _crossed_blocks(A, factor, factor.crossed, E)
    for f in reversed(factor.nested):
        _nested_blocks(factor, f, E)
    return tuple(E[k, k] for k in range(len(A.diag)))


def solve_columns(factor: BlockedFactor, columns: Whitened, b: Sequence[Floats]) -> tuple[Floats, ...]:
    """ZᵀV⁻¹W by factor, given its ``forward`` columns and ``backward`` b = D ZᵀV⁻¹W; well defined at any λ."""
    c = list(columns.raw)
    if factor.crossed:
        f = factor.crossed
        k, tail = f.step.k, stack_tail(f.step, b)
        c_tail = _tail_columns(f, factor.lambdas, columns, tail)
        for l, at in f.step.where.items():
            c[l] = c_tail[at].reshape(c[l].shape)
        c[k] = _damp(f.A, factor.lambdas[k], c[k]) - (_damped_rows(f, factor.lambdas[k]) @ tail).reshape(c[k].shape)
    for n in factor.nested:
        k = n.step.k
        c[k] = _damp(n.A, factor.lambdas[k], c[k] - from_parents(n.step, n.C, b))
    return tuple(c)


def _damp(A: Floats, lam: Floats, rows: Floats) -> Floats:
    """(I + A D)⁻¹ rows, level by level: well defined for any λ, zero included."""
    p = lam.shape[0]
    if p == 1:
        return np.asarray(rows / (1.0 + A * lam[0, 0] ** 2))
    return np.linalg.solve(np.eye(p) + A @ (lam @ lam.T), rows)


def _symmetric(blocks: Floats) -> Floats:
    return 0.5 * (blocks + transpose(blocks))


def _damped_rows(f: CrossedFactor, lam: Floats) -> scipy.sparse.csr_array:
    """GC of the sparse factor, (J p, t)."""
    return sparse_rows(f.step, [_damp(f.A[pair.rows], lam, pair.blocks) for pair in f.pairs.values()])


def _strong_signal(f: CrossedFactor, lambdas: Sequence[Floats]) -> bool:
    """Whether I − S may be divided by Λ on both sides without losing more than a few digits."""
    information = np.diagonal(f.tail)
    smallest = {l: np.linalg.svd(lambdas[l], compute_uv=False)[-1] for l in f.step.rest}
    return all(smallest[l] ** 2 * np.median(information[at]) > SMALL_SIGNAL for l, at in f.step.where.items())


def _inverses(f: CrossedFactor, lambdas: Sequence[Floats]) -> list[Floats]:
    return [np.linalg.inv(lam) if l in f.step.rest else lam for l, lam in enumerate(lambdas)]


def _tail_columns(f: CrossedFactor, lambdas: Sequence[Floats], columns: Whitened, b_tail: Floats) -> Floats:
    if not _strong_signal(f, lambdas):
        return stack_tail(f.step, columns.raw) - f.tail @ b_tail
    inverses = _inverses(f, lambdas)
    return times_tail(f.step, [i.T for i in inverses], times_tail(f.step, inverses, b_tail))


def _tail_blocks(f: CrossedFactor, lambdas: Sequence[Floats]) -> tuple[Floats, Floats]:
    """E and Q = D − D E D of the whole tail, both (t, t)."""
    lower, _ = scipy.linalg.lapack.dpotri(f.U, lower=1)
    S = np.tril(lower) + np.tril(lower, -1).T
    Q = times_tail(f.step, lambdas, times_tail(f.step, lambdas, S).T)
    if _strong_signal(f, lambdas):
        transposed = [i.T for i in _inverses(f, lambdas)]
        return times_tail(f.step, transposed, times_tail(f.step, transposed, np.eye(f.step.size) - S).T), Q
    scaled = times_tail(f.step, [lam.T for lam in lambdas], f.tail)
    half = scipy.linalg.solve_triangular(f.U, scaled, lower=True, check_finite=False)
    return f.tail - half.T @ half, Q


def _crossed_blocks(A: BlockMatrix, factor: BlockedFactor, f: CrossedFactor, E: Blocks) -> None:
    step = f.step
    tail, Q = _tail_blocks(f, factor.lambdas)
    at = {l: np.arange(step.size)[step.where[l]].reshape(A.n_levels[l], A.sizes[l]) for l in step.rest}
    for l in step.rest:
        E[l, l] = _symmetric(tail[at[l][:, :, None], at[l][:, None, :]])
    rows = _damped_rows(f, factor.lambdas[step.k])
    own = _damp(f.A, factor.lambdas[step.k], f.A)
    E[step.k, step.k] = _symmetric(own - _row_grams(rows, Q, own.shape))
    if factor.nested:
        for (l1, l2), pair in A.pairs.items():
            if l1 in at and l2 in at:
                E[l1, l2] = tail[at[l1][pair.rows][:, :, None], at[l2][pair.cols][:, None, :]]
        shrunk = np.eye(step.size) - times_tail(step, [lam @ lam.T for lam in factor.lambdas], tail)
        for l in step.rest:
            pair = A.pairs[step.k, l]
            E[step.k, l] = _rows_at(rows, shrunk, own.shape[1], pair.rows, at[l][pair.cols])


def _row_grams(rows: scipy.sparse.csr_array, Q: Floats, shape: tuple[int, ...]) -> Floats:
    """R_i Q R_iᵀ (J, p, p) for the p sparse rows R_i of every level, a chunk of levels at a time."""
    J, p, _ = shape
    out = np.empty(shape)
    chunk = max(1, CHUNK_ENTRIES // max(1, p * Q.shape[0]))
    for first in range(0, J, chunk):
        last = min(J, first + chunk)
        part = rows[first * p : last * p]
        product = part @ Q
        for a in range(p):
            for b in range(p):
                out[first:last, a, b] = np.asarray(part[a::p].multiply(product[b::p]).sum(axis=1)).ravel()
    return out


def _rows_at(rows: scipy.sparse.csr_array, M: Floats, p: int, levels: Ints, cols: Ints) -> Floats:
    """Entries of ``rows @ M`` at the given levels and columns: (nnz, p, q)."""
    dense = (rows @ M).reshape(-1, p, M.shape[1])
    return np.asarray(dense[levels[:, None, None], np.arange(p)[None, :, None], cols[:, None, :]])


def _nested_blocks(factor: BlockedFactor, f: NestedFactor, E: Blocks) -> None:
    step, lam = f.step, factor.lambdas[f.step.k]
    GC = _damp(f.A, lam, f.C)
    DE = _parent_products(factor, f, E)
    D = np.zeros((step.width, step.width))
    for l, at in step.where.items():
        D[at, at] = factor.lambdas[l] @ factor.lambdas[l].T
    Q = D - DE @ D
    E[step.k, step.k] = _symmetric(_damp(f.A, lam, f.A) - GC @ Q @ transpose(GC))
    between = GC - GC @ DE
    for l, at in step.where.items():
        E[step.k, l] = between[:, :, at]


def _parent_products(factor: BlockedFactor, f: NestedFactor, E: Blocks) -> Floats:
    """D E (J, w, w) among the parents of each level of a nested factor."""
    step = f.step
    out = np.empty((f.A.shape[0], step.width, step.width))
    for l1, rows in step.where.items():
        D = factor.lambdas[l1] @ factor.lambdas[l1].T
        for l2, cols in step.where.items():
            if l1 == l2:
                block = E[l1, l1][step.parents[l1]]
            elif l1 < l2:
                block = E[l1, l2][step.joint[l1, l2]]
            else:
                block = transpose(E[l2, l1][step.joint[l2, l1]])
            out[:, rows, cols] = D @ block
    return out
