"""Blocked Cholesky of I + ΛᵀAΛ, and the forward and backward passes over its factor.

With D = ΛΛᵀ and V = I + Z D Zᵀ the passes give, from A = ZᵀZ and columns ZᵀW, what mixed models need:
``forward`` the whitened columns F with WᵀV⁻¹W = WᵀW − FᵀF, and ``backward`` D ZᵀV⁻¹W.
The blocks that later steps read stay free of Λ, so that nothing is ever divided by λ and λ = 0 is no special case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy

from _ranef.linalg.blocks import (
    BlockMatrix,
    PairBlocks,
    Whitened,
    back_substitute,
    cholesky,
    forward_substitute,
    segment_sum,
    times,
    times_one,
    transpose,
)
from _ranef.linalg.elimination_plan import CrossedStep, NestedStep, Plan
from _ranef.linalg.kernels import subtract_gram
from _ranef.linalg.known_covariance import RelatedFactor, RelatedPlan, factorize_related
from _ranef.linalg.lapack import cholesky_lower
from _ranef.linalg.triangle import LongTriangle, Triangle
from _ranef.support.arrays import Floats

__all__ = [
    "AnyFactor",
    "AnyPlan",
    "BlockedFactor",
    "CrossedFactor",
    "NestedFactor",
    "backward",
    "factorize",
    "forward",
    "gram",
    "sandwiched",
    "scaled_blocks",
    "sparse_rows",
    "stack_tail",
    "times_tail",
]

#: of models without and with known covariances among levels
AnyPlan = Plan | RelatedPlan

Pairs = Mapping[tuple[int, int], PairBlocks]

#: length up to which a tail is held beside its factor; a longer one is made again where it is wanted, at weak signals
HELD = 2_048


@dataclass(frozen=True, eq=False, repr=False)
class NestedFactor:
    """One factor eliminated level by level.

    Attributes
    ----------
    step : NestedStep
    A : array (J, p, p)
        Its diagonal blocks after the steps before.
    C : array (J, p, w)
        Its blocks against its one level in every other factor, side by side.
    L : array (J, p, p)
        Cholesky factors of I + λᵀAλ.
    B : array (J, p, w)
        L⁻¹λᵀC.
    """

    step: NestedStep
    A: Floats
    C: Floats
    L: Floats
    B: Floats


@dataclass(frozen=True, eq=False, repr=False)
class CrossedFactor:
    """The crossed factors: one eliminated with sparse rows, the others a dense tail of length t.

    Attributes
    ----------
    step : CrossedStep
    A, L : array (J, p, p)
        As in :class:`NestedFactor`.
    pairs : mapping l to PairBlocks
        Blocks of the eliminated factor against those of the tail.
    B : sparse (J p, t)
        L⁻¹λᵀ times those blocks.
    U : Triangle
        Lower Cholesky factor of I + Λᵀ tail Λ.
    diagonal : array (t,)
        Of the tail.
    make_tail : callable
    """

    step: CrossedStep
    A: Floats
    L: Floats
    pairs: Mapping[int, PairBlocks]
    B: scipy.sparse.csr_array
    U: Triangle
    diagonal: Floats
    make_tail: Callable[[], Floats]

    @property
    def tail(self) -> Floats:
        """The tail's blocks (t, t) after all eliminations, free of Λ."""
        return self.make_tail()


@dataclass(frozen=True, eq=False, repr=False)
class BlockedFactor:
    """The factor of I + ΛᵀAΛ: nested steps from the inside out, then the crossed step if there is one."""

    lambdas: tuple[Floats, ...]
    nested: tuple[NestedFactor, ...]
    crossed: CrossedFactor | None

    @property
    def log_det(self) -> float:
        """Log det(I + ΛᵀAΛ)."""
        diagonals = [np.diagonal(f.L, axis1=1, axis2=2) for f in self.nested]
        if self.crossed:
            diagonals += [np.diagonal(self.crossed.L, axis1=1, axis2=2), self.crossed.U.diagonal]
        return 2.0 * sum(float(np.log(d).sum()) for d in diagonals)


AnyFactor = BlockedFactor | RelatedFactor


def factorize(A: BlockMatrix, plan: AnyPlan, lambdas: Sequence[Floats]) -> AnyFactor:
    """Factor I + ΛᵀAΛ for block-diagonal Λ made of λ_k (p_k, p_k), any square roots of D_k."""
    if isinstance(plan, RelatedPlan):
        return factorize_related(A, plan, lambdas)
    diag, pairs = list(A.diag), dict(A.pairs)
    nested = []
    for step in plan.nested:
        factor = _eliminate_nested(step, diag[step.k], pairs, lambdas[step.k])
        _subtract_outer_products(factor, diag, pairs)
        nested.append(factor)
    crossed = _eliminate_crossed(plan.crossed, diag, pairs, lambdas) if plan.crossed else None
    return BlockedFactor(tuple(lambdas), tuple(nested), crossed)


def _whitener(A: Floats, lam: Floats) -> Floats:
    try:
        return cholesky(times(lam.T, times_one(A, lam)) + np.eye(lam.shape[0]))
    except np.linalg.LinAlgError:
        return _reflected(A, lam)


def _reflected(A: Floats, root: Floats) -> Floats:
    """Lower triangles L with LLᵀ = I + ΛᵀAΛ by reflections, for the Λ beside which the identity is rounding."""
    values, vectors = np.linalg.eigh(A)
    half = np.sqrt(np.maximum(values, 0.0))[..., None] * np.swapaxes(vectors, -1, -2) @ root
    unit = np.broadcast_to(np.eye(half.shape[-1]), half.shape)
    upper = np.linalg.qr(np.concatenate([half, unit], axis=-2), mode="r")
    signs = np.where(np.diagonal(upper, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return np.ascontiguousarray(np.swapaxes(upper * signs[..., None], -1, -2))


def _eliminate_nested(step: NestedStep, A: Floats, pairs: Pairs, lam: Floats) -> NestedFactor:
    C = np.concatenate([np.zeros((*A.shape[:2], 0)), *(pairs[step.k, l].blocks for l in step.rest)], axis=2)
    L = _whitener(A, lam)
    return NestedFactor(step, A, C, L, forward_substitute(L, times(lam.T, C)))


def _subtract_outer_products(f: NestedFactor, diag: list[Floats], pairs: dict[tuple[int, int], PairBlocks]) -> None:
    B = {l: f.B[:, :, f.step.where[l]] for l in f.step.rest}
    for l, indicator in f.step.into.items():
        left = diag[l] - segment_sum(indicator, transpose(B[l]) @ B[l])
        diag[l] = np.maximum(left, 0.0) if left.shape[-1] == 1 else left  # less than nothing is rounding
    for (l1, l2), indicator in f.step.into_pair.items():
        pair = pairs[l1, l2]
        blocks = pair.blocks - segment_sum(indicator, transpose(B[l1]) @ B[l2])
        pairs[l1, l2] = PairBlocks(pair.rows, pair.cols, blocks)


def _eliminate_crossed(
    step: CrossedStep, diag: Sequence[Floats], pairs: Pairs, lambdas: Sequence[Floats]
) -> CrossedFactor:
    A, lam = diag[step.k], lambdas[step.k]
    L = _whitener(A, lam)
    own = {l: pairs[step.k, l] for l in step.rest}
    B = sparse_rows(step, [_whitened_blocks(L, lam, pair) for pair in own.values()])
    make_tail = partial(_tail, step, diag, pairs, B)
    if step.size > HELD:
        diagonal = np.concatenate([np.diagonal(diag[l], axis1=1, axis2=2).ravel() for l in step.rest])
        diagonal = diagonal - np.bincount(step.indices, np.square(B.data), step.size)
        U: Triangle = LongTriangle(partial(_long_root, step, lambdas, make_tail), step.size)
    else:
        tail = make_tail()
        diagonal, make_tail = np.diagonal(tail).copy(), partial(np.asarray, tail)
        U = Triangle(_root(step, lambdas, sandwiched(step, [lam.T for lam in lambdas], tail), make_tail))
    return CrossedFactor(step, A, L, own, B, U, diagonal, make_tail)


def _whitened_blocks(L: Floats, lam: Floats, pair: PairBlocks) -> Floats:
    """L⁻¹λᵀ times the blocks of the levels."""
    return scaled_blocks(lam / L, pair) if lam.size == 1 else forward_substitute(L[pair.rows], lam.T @ pair.blocks)


def scaled_blocks(scales: Floats, pair: PairBlocks) -> Floats:
    """Blocks times the one number (J, 1, 1) of their level, without another array of that size."""
    out = scales[pair.rows]
    return np.multiply(out, pair.blocks, out=out if out.shape == pair.blocks.shape else None)


def _long_root(
    step: CrossedStep, lambdas: Sequence[Floats], make_tail: Callable[..., Floats], into: Floats | None
) -> Floats:
    tail = make_tail(into)
    return _root(step, lambdas, sandwiched(step, [lam.T for lam in lambdas], tail, into=tail), make_tail)


def _root(step: CrossedStep, lambdas: Sequence[Floats], H: Floats, make_tail: Callable[[], Floats]) -> Floats:
    """The factor, in the place of H = Λᵀ tail Λ."""
    H[np.diag_indices_from(H)] += 1.0
    finite = bool(np.isfinite(np.diagonal(H)).all())
    try:
        return cholesky_lower(H)
    except np.linalg.LinAlgError:
        if not finite:
            raise
        return _reflected(make_tail(), times_tail(step, lambdas, np.eye(step.size)))


def _tail(
    step: CrossedStep, diag: Sequence[Floats], pairs: Pairs, B: scipy.sparse.csr_array, into: Floats | None = None
) -> Floats:
    tail = np.zeros((step.size, step.size)) if into is None else into
    tail.fill(0.0)
    _fill_tail(step, diag, pairs, tail)
    subtract_gram(B, tail, often=step.often)
    return tail


def sparse_rows(step: CrossedStep, blocks: Sequence[Floats]) -> scipy.sparse.csr_array:
    """The (J p, t) rows of the eliminated factor from its blocks against each factor of the tail."""
    data = np.concatenate([b.ravel() for b in blocks])
    data = data if step.order is None else data[step.order]
    return scipy.sparse.csr_array((data, step.indices, step.indptr), shape=(step.indptr.shape[0] - 1, step.size))


def _fill_tail(step: CrossedStep, diag: Sequence[Floats], pairs: Pairs, out: Floats) -> None:
    at = {l: np.arange(step.size)[step.where[l]].reshape(diag[l].shape[:2]) for l in step.rest}
    for l in step.rest:
        out[at[l][:, :, None], at[l][:, None, :]] = diag[l]
    for (l1, l2), pair in pairs.items():
        if l1 in at and l2 in at:
            rows, cols = at[l1][pair.rows], at[l2][pair.cols]
            out[rows[:, :, None], cols[:, None, :]] = pair.blocks
            out[cols[:, :, None], rows[:, None, :]] = transpose(pair.blocks)


def times_tail(step: CrossedStep, matrices: Sequence[Floats], rows: Floats) -> Floats:
    """Multiply the tail's rows (t, r), level by level, by the (p_l, p_l) matrix of their factor."""
    out = np.empty(rows.shape)
    for l in step.rest:
        part, M = rows[step.where[l]], matrices[l]
        if M.size == 1:  # many times faster than a product for each row
            np.multiply(part, M[0, 0], out=out[step.where[l]])
        else:
            out[step.where[l]] = (M @ part.reshape(-1, len(M), rows.shape[1])).reshape(part.shape)
    return out


def sandwiched(step: CrossedStep, matrices: Sequence[Floats], M: Floats, *, into: Floats | None = None) -> Floats:
    """Λ M Λᵀ (t, t) for symmetric M and Λ of the factors' matrices (p_l, p_l); `into` may be M itself."""
    if any(matrices[l].size > 1 for l in step.rest):
        return times_tail(step, matrices, times_tail(step, matrices, M).T)
    scale = np.empty(step.size)
    for l, at in step.where.items():
        scale[at] = matrices[l][0, 0]
    out = np.multiply(M, scale, out=into)
    out *= scale[:, None]
    return out


def forward(factor: AnyFactor, columns: Sequence[Floats]) -> Whitened:
    """Whiten columns ZᵀW, given as (J_k, p_k, r) for each factor."""
    if isinstance(factor, RelatedFactor):
        return factor.forward(columns)
    raw, white = list(columns), list(columns)
    for f in factor.nested:
        k = f.step.k
        white[k] = forward_substitute(f.L, times(factor.lambdas[k].T, raw[k]))
        for l, indicator in f.step.into.items():
            raw[l] = raw[l] - segment_sum(indicator, transpose(f.B[:, :, f.step.where[l]]) @ white[k])
    if factor.crossed:
        _forward_crossed(factor.crossed, factor.lambdas, raw, white)
    return Whitened(tuple(raw), tuple(white))


def _forward_crossed(f: CrossedFactor, lambdas: Sequence[Floats], raw: list[Floats], white: list[Floats]) -> None:
    k, r = f.step.k, raw[f.step.k].shape[2]
    white[k] = forward_substitute(f.L, times(lambdas[k].T, raw[k]))
    tail = stack_tail(f.step, raw) - f.B.T @ white[k].reshape(-1, r)
    scaled = times_tail(f.step, [lam.T for lam in lambdas], tail)
    whitened = scipy.linalg.solve_triangular(f.U.lower, scaled, lower=True, check_finite=False)
    for l, at in f.step.where.items():
        raw[l], white[l] = tail[at].reshape(raw[l].shape), whitened[at].reshape(raw[l].shape)


def stack_tail(step: CrossedStep, columns: Sequence[Floats]) -> Floats:
    """The tail's rows (t, r) of columns given by factor."""
    return np.concatenate([columns[l].reshape(-1, columns[l].shape[2]) for l in step.rest])


def gram(first: Sequence[Floats], second: Sequence[Floats]) -> Floats:
    """Σ_k F_kᵀG_k (r, s), summed over levels and columns."""
    pairs = zip(first, second, strict=True)
    return np.asarray(sum(a.reshape(-1, a.shape[2]).T @ b.reshape(-1, b.shape[2]) for a, b in pairs))


def backward(factor: AnyFactor, white: Sequence[Floats]) -> tuple[Floats, ...]:
    """Λ (factor)⁻ᵀ F, a (J_k, p_k, r) for each factor: this is D ZᵀV⁻¹W where F whitens ZᵀW."""
    if isinstance(factor, RelatedFactor):
        return factor.backward(white)
    b = list(white)
    if factor.crossed:
        f = factor.crossed
        k = f.step.k
        stacked = stack_tail(f.step, white)
        u = scipy.linalg.solve_triangular(f.U.lower, stacked, lower=True, trans="T", check_finite=False)
        tail = times_tail(f.step, factor.lambdas, u)
        for l, at in f.step.where.items():
            b[l] = tail[at].reshape(white[l].shape)
        b[k] = factor.lambdas[k] @ back_substitute(f.L, white[k] - (f.B @ tail).reshape(white[k].shape))
    for n in reversed(factor.nested):
        k = n.step.k
        left = white[k] - from_parents(n.step, n.B, b) if n.step.width else white[k]
        b[k] = times(factor.lambdas[k], back_substitute(n.L, left))
    return tuple(b)


def from_parents(step: NestedStep, blocks: Floats, b: Sequence[Floats]) -> Floats:
    """Blocks (J, p, w) of a nested factor times its parents' rows, (J, p, r)."""
    out = np.zeros((*blocks.shape[:2], b[step.k].shape[2]))
    for l, at in step.where.items():
        out += blocks[:, :, at] @ b[l][step.parents[l]]
    return out
