"""Selected blocks of Q = (A + D⁻¹)⁻¹ and of E = ZᵀV⁻¹Z, and columns ZᵀV⁻¹W, from the outermost factor inwards.

Q is the conditional covariance of the random effects over σ²; E is what gradients are made of. Diagonal blocks are
returned; blocks of Q between factors are kept on the way where a nested factor needs them. For a factor eliminated
before the tail T, with P = λ(I + λᵀAλ)⁻¹λᵀ and G = (I + A D)⁻¹,

    Q_ii = P + D (GC) Q_TT (GC)ᵀ D,    Q_iT = −D (GC) Q_TT,    E_ii = GA − (GC) Q_TT (GC)ᵀ.

No λ is inverted, and neither Q nor E is formed from the other: Q = D − D E D loses all digits where λ²A is large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from _ranef.linalg.blocks import BlockMatrix, PairBlocks, Whitened, back_substitute, times, transpose
from _ranef.linalg.elimination import (
    AnyFactor,
    BlockedFactor,
    CrossedFactor,
    NestedFactor,
    from_parents,
    scaled_blocks,
    sparse_rows,
    stack_tail,
    times_tail,
)
from _ranef.linalg.kernels import quadratic_forms
from _ranef.linalg.known_covariance import RelatedFactor
from _ranef.linalg.lapack import below, mirror_lower
from _ranef.support.arrays import Floats, Ints

__all__ = ["all_blocks", "paired_blocks", "selected_blocks", "solve_columns", "times_among"]

#: entries of a product of sparse rows held densely at once
PRODUCT_ENTRIES = 4_000_000

#: a tail factor's E is formed by subtraction below this λ²A, by dividing I − S by λ above it
SMALL_SIGNAL = 1e-3

Blocks = dict[tuple[int, int], Floats]


def selected_blocks(A: BlockMatrix, factor: AnyFactor) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
    """Diagonal blocks of Q and of E, each a (J_k, p_k, p_k) for every factor.

    Where levels are related, instead of E their sum weighted by K (1, p_k, p_k), all that slopes are made of.
    """
    if isinstance(factor, RelatedFactor):
        own = factor.blocks()
        return tuple(own[k, k] for k in range(len(A.diag))), factor.traces()
    Q, E = _blocks(A, factor, between=bool(factor.nested))
    return tuple(Q[k, k] for k in range(len(A.diag))), tuple(E[k] for k in range(len(A.diag)))


def paired_blocks(A: BlockMatrix, factor: AnyFactor) -> Mapping[tuple[int, int], Floats]:
    """Blocks of Q where A has blocks: (k, k) to (J_k, p_k, p_k), and (k, l) with k < l in the order of ``A.pairs``."""
    if isinstance(factor, RelatedFactor):
        return factor.blocks()
    return _blocks(A, factor, between=True)[0]


def all_blocks(A: BlockMatrix, factor: AnyFactor) -> tuple[Mapping[tuple[int, int], Floats], tuple[Floats, ...]]:
    """Both: blocks of Q where A has blocks, and the diagonal ones of E (or their sum, where levels are related)."""
    if isinstance(factor, RelatedFactor):
        return factor.blocks(), factor.traces()
    Q, E = _blocks(A, factor, between=len(A.diag) > 1)
    return Q, tuple(E[k] for k in range(len(A.diag)))


def _blocks(A: BlockMatrix, factor: BlockedFactor, *, between: bool) -> tuple[Blocks, dict[int, Floats]]:
    Q: Blocks = {}
    E: dict[int, Floats] = {}
    if factor.crossed:
        _crossed_blocks(A, factor, factor.crossed, Q, E, between=between)
    for f in reversed(factor.nested):
        _nested_blocks(factor, f, Q, E)
    return Q, E


def solve_columns(factor: AnyFactor, columns: Whitened, b: Sequence[Floats]) -> tuple[Floats, ...]:
    """ZᵀV⁻¹W by factor, given its ``forward`` columns and ``backward`` b = D ZᵀV⁻¹W; well defined at any λ."""
    if isinstance(factor, RelatedFactor):
        return factor.solved(columns, b)
    c = list(columns.raw)
    if factor.crossed:
        f = factor.crossed
        k, tail = f.step.k, stack_tail(f.step, b)
        strong = [l for l in f.step.rest if _strong_signal(f, l, factor.lambdas[l])]
        rest = stack_tail(f.step, columns.raw) - f.tail @ tail if len(strong) < len(f.step.rest) else tail
        for l, at in f.step.where.items():
            D = factor.lambdas[l] @ factor.lambdas[l].T
            c[l] = np.linalg.solve(D, b[l]) if l in strong else rest[at].reshape(c[l].shape)
        c[k] = _damp(f.A, factor.lambdas[k], c[k]) - (_damped_rows(f, factor.lambdas[k]) @ tail).reshape(c[k].shape)
    for n in factor.nested:
        k = n.step.k
        left = c[k] - from_parents(n.step, n.C, b) if n.step.width else c[k]
        c[k] = _damp(n.A, factor.lambdas[k], left)
    return tuple(c)


def times_among(factor: AnyFactor, columns: Sequence[Floats]) -> tuple[Floats, ...]:
    """Columns (J_k, p_k, r) times the known covariance among levels, where there is one."""
    return factor.times_among(columns) if isinstance(factor, RelatedFactor) else tuple(columns)


def _damp(A: Floats, lam: Floats, rows: Floats) -> Floats:
    """(I + A D)⁻¹ rows, level by level: well defined for any λ, zero included."""
    p, D = lam.shape[0], lam @ lam.T
    if p == 1:
        return np.asarray(rows / (1.0 + A * D))
    if p == 2:
        first = _times_two(_adjugate(A), rows)
        return np.asarray((rows + times(_adjugate(D), first)) / _volumes(A, lam)[1])
    try:
        return np.linalg.solve(np.eye(p) + A @ D, rows)
    except np.linalg.LinAlgError:  # λ so large that the identity is rounding
        middle = np.linalg.pinv(np.eye(p) + lam.T @ A @ lam, hermitian=True)
        return np.asarray(rows - A @ (lam @ (middle @ (lam.T @ rows))))


def _determinant(blocks: Floats) -> Floats:
    return np.asarray(blocks[..., 0, 0] * blocks[..., 1, 1] - blocks[..., 0, 1] * blocks[..., 1, 0])


def _adjugate(blocks: Floats) -> Floats:
    out = -blocks
    out[..., 0, 0], out[..., 1, 1] = blocks[..., 1, 1], blocks[..., 0, 0]
    return np.asarray(out)


def _volumes(A: Floats, lam: Floats) -> tuple[Floats, Floats]:
    """|A| and |I + A D| (J, 1, 1) for p = 2, a sum in which no term is negative."""
    volume, D = np.maximum(_determinant(A), 0.0), lam @ lam.T
    scale = 1.0 + A.reshape(len(A), 4) @ D.ravel() + volume * _determinant(lam) ** 2
    return volume[:, None, None], scale[:, None, None]


def _times_two(blocks: Floats, rows: Floats) -> Floats:
    """Blocks (J, 2, 2) times rows (J, 2, m), level by level."""
    out = np.empty_like(rows)
    for i in range(2):
        out[:, i] = blocks[:, i, 0, None] * rows[:, 0] + blocks[:, i, 1, None] * rows[:, 1]
    return out


def _own_blocks(A: Floats, L: Floats, lam: Floats) -> tuple[Floats, Floats]:
    """P = λ(I + λᵀAλ)⁻¹λᵀ from the Cholesky factors L of the middle, and GA; for p = 2 by Cramer's rule."""
    if len(lam) == 2:
        (volume, scale), D = _volumes(A, lam), lam @ lam.T
        return (D + _determinant(lam) ** 2 * _adjugate(A)) / scale, (A + volume * _adjugate(D)) / scale
    half = lam @ back_substitute(L, np.broadcast_to(np.eye(lam.shape[0]), L.shape))
    return half @ transpose(half), _damp(A, lam, A)


def _symmetric(blocks: Floats) -> Floats:
    return 0.5 * (blocks + transpose(blocks))


def _damped_rows(f: CrossedFactor, lam: Floats, after: Sequence[Floats] | None = None) -> scipy.sparse.csr_array:
    """GC of the sparse factor, (J p, t); times the factors' matrices `after` it, if there are any."""
    blocks = []
    for l, pair in f.pairs.items():
        damped = _damped_blocks(f, lam, pair)
        if after is not None and after[l].size == 1:
            damped *= after[l]
        elif after is not None:
            damped = damped @ after[l]
        blocks.append(damped)
    return sparse_rows(f.step, blocks)


def _damped_blocks(f: CrossedFactor, lam: Floats, pair: PairBlocks) -> Floats:
    if lam.size == 1:
        return scaled_blocks(1.0 / (1.0 + f.A * lam**2), pair)
    return _damp(f.A[pair.rows], lam, pair.blocks)


def _strong_signal(f: CrossedFactor, l: int, lam: Floats) -> bool:
    """Whether (I − S) of a tail factor may be divided by λ on both sides without losing more than a few digits."""
    smallest = np.linalg.svd(lam, compute_uv=False)[-1]
    return bool(smallest**2 * np.median(f.diagonal[f.step.where[l]]) > SMALL_SIGNAL)


def _crossed_blocks(
    A: BlockMatrix, factor: BlockedFactor, f: CrossedFactor, Q: Blocks, E: dict[int, Floats], *, between: bool
) -> None:
    step, lambdas = f.step, factor.lambdas
    k, lam = step.k, factor.lambdas[step.k]
    at = {l: np.arange(step.size)[step.where[l]].reshape(A.n_levels[l], A.sizes[l]) for l in step.rest}
    for l in step.rest:
        if not _strong_signal(f, l, lambdas[l]):
            E[l] = _symmetric(_weak_block(f, lambdas, l, at[l]))
    (own, alone), D = _own_blocks(f.A, f.L, lam), lam @ lam.T
    damped = _damped_rows(f, lam, lambdas)
    with f.U.inverse() as S:
        for l in step.rest:
            block = below(S, at[l][:, :, None], at[l][:, None, :])
            Q[l, l] = _symmetric(lambdas[l] @ block @ lambdas[l].T)
            if l not in E:
                inverse = np.linalg.inv(lambdas[l])
                E[l] = _symmetric(inverse.T @ (np.eye(len(inverse)) - block) @ inverse)
        spread = quadratic_forms(damped, S, own.shape[1], often=step.often)
        if between:
            _blocks_between(A, factor, damped, S, at, Q)
    Q[k, k] = _symmetric(own + D @ spread @ D)  # PC = D GC
    E[k] = _symmetric(alone - spread)


def _blocks_between(
    A: BlockMatrix,
    factor: BlockedFactor,
    damped: scipy.sparse.csr_array,
    S: Floats,
    at: Mapping[int, Ints],
    Q: Blocks,
) -> None:
    """Blocks of Q between the crossed factors, from GCΛ and the inverse S of the tail below its diagonal."""
    assert factor.crossed is not None
    k, lambdas, whole = factor.crossed.step.k, factor.lambdas, S.copy()
    mirror_lower(whole)
    for (l1, l2), pair in A.pairs.items():
        if l1 in at and l2 in at:
            blocks = whole[at[l1][pair.rows][:, :, None], at[l2][pair.cols][:, None, :]]
            Q[l1, l2] = lambdas[l1] @ blocks @ lambdas[l2].T
    D = lambdas[k] @ lambdas[k].T
    for l, own in at.items():
        pair = A.pairs[k, l]
        Q[k, l] = -D @ _rows_at(damped, whole, len(D), pair.rows, own[pair.cols]) @ lambdas[l].T


def _weak_block(f: CrossedFactor, lambdas: Sequence[Floats], l: int, at: Ints) -> Floats:
    """Diagonal blocks (J, p, p) of E for a factor of the tail whose λ may be small."""
    tail = f.tail
    scaled = times_tail(f.step, [m.T for m in lambdas], tail[:, f.step.where[l]])
    half = scipy.linalg.solve_triangular(f.U.lower, scaled, lower=True, check_finite=False)
    half = half.reshape(f.step.size, *at.shape)
    return np.asarray(tail[at[:, :, None], at[:, None, :]] - np.einsum("tja,tjb->jab", half, half))


def _rows_at(rows: scipy.sparse.csr_array, M: Floats, p: int, levels: Ints, cols: Ints) -> Floats:
    """Entries of ``rows @ M`` at the given levels, ascending, and columns: (nnz, p, q)."""
    out = np.empty((levels.shape[0], p, cols.shape[1]))
    step = max(1, PRODUCT_ENTRIES // (p * M.shape[1]))
    for first in range(0, rows.shape[0] // p, step):
        inside = slice(*np.searchsorted(levels, [first, first + step]))
        dense = (rows[first * p : (first + step) * p] @ M).reshape(-1, p, M.shape[1])
        at = levels[inside] - first
        out[inside] = dense[at[:, None, None], np.arange(p)[None, :, None], cols[inside][:, None, :]]
    return out


def _nested_blocks(factor: BlockedFactor, f: NestedFactor, Q: Blocks, E: dict[int, Floats]) -> None:
    step, lam = f.step, factor.lambdas[f.step.k]
    own, alone = _own_blocks(f.A, f.L, lam)
    if not step.width:
        Q[step.k, step.k], E[step.k] = _symmetric(own), _symmetric(alone)
        return
    parents = _parent_covariances(f, Q)
    damped, D = _damp(f.A, lam, f.C), lam @ lam.T
    between = damped @ parents
    spread = between @ transpose(damped)
    Q[step.k, step.k] = _symmetric(own + D @ spread @ D)  # PC = D GC
    E[step.k] = _symmetric(alone - spread)
    for l, at in step.where.items():
        Q[step.k, l] = -D @ between[:, :, at]


def _parent_covariances(f: NestedFactor, Q: Blocks) -> Floats:
    """Q (J, w, w) among the parents of each level of a nested factor."""
    step = f.step
    out = np.empty((f.A.shape[0], step.width, step.width))
    for l1, rows in step.where.items():
        out[:, rows, rows] = Q[l1, l1][step.parents[l1]]
        for l2, cols in step.where.items():
            if l1 < l2:
                out[:, rows, cols] = Q[l1, l2][step.joint[l1, l2]]
                out[:, cols, rows] = transpose(out[:, rows, cols])
    return out
