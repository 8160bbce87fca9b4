"""Small dense algebra over a batch of levels."""

from __future__ import annotations

import numpy as np
import scipy

from _ranef.support.arrays import Floats, Ints

__all__ = ["back_substitute", "cholesky", "forward_substitute", "segment_matrix", "segment_sum", "transpose"]


def transpose(blocks: Floats) -> Floats:
    """Transpose every block: (J, p, q) to (J, q, p)."""
    return np.swapaxes(blocks, -1, -2)


def cholesky(blocks: Floats) -> Floats:
    """Lower Cholesky factors (J, p, p) of positive definite blocks (J, p, p)."""
    return np.sqrt(blocks) if blocks.shape[-1] == 1 else np.linalg.cholesky(blocks)


def forward_substitute(lower: Floats, rhs: Floats) -> Floats:
    """Solve ``L x = rhs`` for every level: (J, p, p), (J, p, m) to (J, p, m)."""
    out = np.empty_like(rhs)
    for i in range(lower.shape[-1]):
        partial = rhs[:, i] - np.einsum("jk,jkm->jm", lower[:, i, :i], out[:, :i]) if i else rhs[:, i]
        out[:, i] = partial / lower[:, i, i, None]
    return out


def back_substitute(lower: Floats, rhs: Floats) -> Floats:
    """Solve ``Lᵀ x = rhs`` for every level: (J, p, p), (J, p, m) to (J, p, m)."""
    p = lower.shape[-1]
    out = np.empty_like(rhs)
    for i in reversed(range(p)):
        known = slice(i + 1, p)
        partial = rhs[:, i] - np.einsum("jk,jkm->jm", lower[:, known, i], out[:, known]) if i + 1 < p else rhs[:, i]
        out[:, i] = partial / lower[:, i, i, None]
    return out


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
