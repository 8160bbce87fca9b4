"""A symmetric block matrix of several factors, block-diagonal in each, sparse between them; algebra of such blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.support.arrays import Floats, Ints

__all__ = [
    "BlockMatrix",
    "PairBlocks",
    "Whitened",
    "back_substitute",
    "cholesky",
    "cholesky_or_nan",
    "forward_substitute",
    "segment_matrix",
    "segment_sum",
    "times",
    "times_one",
    "transpose",
]

#: entries of a block up to which one product for all levels, zeros and all, is faster than one for each; and how many
#: levels it takes
FEW, MANY = 24, 500


#: entries of a block that are summed one by one
SINGLY = 8

#: blocks that are multiplied at once
SOME = 1_000_000


@dataclass(frozen=True, eq=False, repr=False)
class PairBlocks:
    """The non-zero blocks between two factors.

    Attributes
    ----------
    rows, cols : array of int (nnz,)
        Levels of the first and of the second factor, sorted by row, then by column.
    blocks : array (nnz, p, q)
    """

    rows: Ints
    cols: Ints
    blocks: Floats

    def places(self, first: Ints, second: Ints) -> Ints:
        """Which of the blocks is that of the levels (n,) of each row, which must have one."""
        width = int(self.cols.max(initial=0)) + 1
        return np.searchsorted(self.rows * width + self.cols, first * width + second)

    def flipped(self) -> PairBlocks:
        """The same blocks seen from the second factor."""
        order = np.lexsort((self.rows, self.cols))
        return PairBlocks(self.cols[order], self.rows[order], transpose(self.blocks[order]))


@dataclass(frozen=True, eq=False, repr=False)
class BlockMatrix:
    """A = ZᵀZ by factors.

    Attributes
    ----------
    diag : tuple of array (J_k, p_k, p_k)
    pairs : mapping (k, l), k < l, to PairBlocks
    """

    diag: tuple[Floats, ...]
    pairs: Mapping[tuple[int, int], PairBlocks]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of columns p_k."""
        return tuple(d.shape[1] for d in self.diag)

    @property
    def n_levels(self) -> tuple[int, ...]:
        """Numbers of levels J_k."""
        return tuple(d.shape[0] for d in self.diag)

    def pair(self, k: int, l: int) -> PairBlocks:
        """Blocks between factors `k` and `l`, seen from `k`."""
        return self.pairs[k, l] if k < l else self.pairs[l, k].flipped()

    def permuted(self, order: Sequence[int]) -> BlockMatrix:
        """The same matrix with its factors in another order."""
        pairs = {(a, b): self.pair(order[a], order[b]) for b in range(len(order)) for a in range(b)}
        return BlockMatrix(tuple(self.diag[k] for k in order), pairs)

    def dot(self, columns: Sequence[Floats]) -> tuple[Floats, ...]:
        """A times `columns`, a (J_k, p_k, r) for each factor."""
        out = [d @ c for d, c in zip(self.diag, columns, strict=True)]
        for (k, l), pair in self.pairs.items():
            for start in range(0, len(pair.rows), SOME):
                part = slice(start, start + SOME)
                rows, cols, blocks = pair.rows[part], pair.cols[part], pair.blocks[part]
                _add_by(out[k], rows, _products(blocks, columns[l][cols]))
                _add_by(out[l], cols, _products(transpose(blocks), columns[k][rows]))
        return tuple(out)


def _products(blocks: Floats, columns: Floats) -> Floats:
    """Blocks (m, p, q) times columns (m, q, r) of their own."""
    return np.asarray(blocks * columns if blocks.shape[1:] == (1, 1) else blocks @ columns)


def _add_by(out: Floats, places: Ints, values: Floats) -> None:
    """Add values (m, p, r) to blocks (J, p, r) of the levels that they are of."""
    J, p, r = out.shape
    if p * r > SINGLY:
        np.add.at(out, places, values)
        return
    for a in range(p):
        for b in range(r):
            out[:, a, b] += np.bincount(places, values[:, a, b], J)


@dataclass(frozen=True, eq=False, repr=False)
class Whitened:
    """Columns ZᵀW carried through the eliminations.

    Attributes
    ----------
    raw : tuple of array (J_k, p_k, r)
        After the eliminations of the factors inside, free of Λ.
    white : tuple of array (J_k, p_k, r)
        F, the inverse factor times ΛᵀZᵀW.
    """

    raw: tuple[Floats, ...]
    white: tuple[Floats, ...]


def transpose(blocks: Floats) -> Floats:
    """Transpose every block: (J, p, q) to (J, q, p)."""
    return np.swapaxes(blocks, -1, -2)


def cholesky(blocks: Floats) -> Floats:
    """Lower Cholesky factors (J, p, p) of positive definite blocks (J, p, p)."""
    if blocks.shape[-1] == 1:
        return np.sqrt(blocks)
    return _cholesky_of_two(blocks) if blocks.shape[-1] == 2 else np.linalg.cholesky(blocks)


def _cholesky_of_two(blocks: Floats) -> Floats:
    """The same for p = 2, where a formula for all levels is many times faster than a call for each."""
    out = np.zeros_like(blocks)
    with np.errstate(invalid="ignore", divide="ignore"):
        out[..., 0, 0] = np.sqrt(blocks[..., 0, 0])
        out[..., 1, 0] = blocks[..., 1, 0] / out[..., 0, 0]
        out[..., 1, 1] = np.sqrt(blocks[..., 1, 1] - out[..., 1, 0] ** 2)
    if not ((out[..., 0, 0] > 0.0) & (out[..., 1, 1] > 0.0)).all():
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    return out


def times(matrix: Floats, blocks: Floats) -> Floats:
    """One matrix (q, p) times every block (J, p, m): (J, q, m)."""
    J, p, m = blocks.shape
    if p * m > FEW or J < MANY:
        return matrix @ blocks
    flat = blocks.reshape(J, p * m) @ (matrix.T if m == 1 else np.kron(matrix.T, np.eye(m)))
    return np.asarray(flat.reshape(J, len(matrix), m))


def times_one(blocks: Floats, matrix: Floats) -> Floats:
    """Every block (J, p, m) times one matrix (m, q) or vector (m,): (J, p, q) or (J, p)."""
    flat = blocks.reshape(-1, blocks.shape[2]) @ matrix
    return np.asarray(flat.reshape(*blocks.shape[:2], *matrix.shape[1:]))


def cholesky_or_nan(stack: Floats) -> Floats:
    """Lower Cholesky factors of a stack (B, ..., p, p); NaN for the matrices that have none."""
    try:
        return np.linalg.cholesky(stack)
    except np.linalg.LinAlgError:
        if stack.ndim == 2:
            return np.full_like(stack, np.nan)
        if len(stack) == 1:
            return cholesky_or_nan(stack[0])[None]
        half = len(stack) // 2
        return np.concatenate([cholesky_or_nan(stack[:half]), cholesky_or_nan(stack[half:])])


def forward_substitute(lower: Floats, rhs: Floats) -> Floats:
    """Solve ``L x = rhs`` for every level: (J, p, p), (J, p, m) to (J, p, m)."""
    out = np.empty_like(rhs)
    for i in range(lower.shape[-1]):
        out[:, i] = _left(rhs[:, i], lower[:, i, :i], out[:, :i]) / lower[:, i, i, None]
    return out


def back_substitute(lower: Floats, rhs: Floats) -> Floats:
    """Solve ``Lᵀ x = rhs`` for every level: (J, p, p), (J, p, m) to (J, p, m)."""
    p = lower.shape[-1]
    out = np.empty_like(rhs)
    for i in reversed(range(p)):
        known = slice(i + 1, p)
        out[:, i] = _left(rhs[:, i], lower[:, known, i], out[:, known]) / lower[:, i, i, None]
    return out


def _left(rhs: Floats, row: Floats, known: Floats) -> Floats:
    """What is left of (J, m) after Σ_k row (J, k) times what is known (J, k, m)."""
    if row.shape[1] > 2:
        return np.asarray(rhs - np.einsum("jk,jkm->jm", row, known))
    for k in range(row.shape[1]):
        rhs = rhs - row[:, k, None] * known[:, k]
    return rhs


def segment_matrix(index: Ints, n_segments: int) -> scipy.sparse.csr_array:
    """Sparse indicator (n_segments, n) with which :func:`segment_sum` adds up rows that share a segment."""
    n = index.shape[0]
    order = np.argsort(index, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(index, minlength=n_segments))])
    return scipy.sparse.csr_array((np.ones(n), order, starts), shape=(n_segments, n))


def segment_sum(indicator: scipy.sparse.csr_array, values: Floats) -> Floats:
    """Sum `values` (n, ...) by segment, to (n_segments, ...)."""
    flat = indicator @ values.reshape(values.shape[0], -1)
    return np.asarray(flat).reshape(indicator.shape[0], *values.shape[1:])
