"""Loops that numpy and scipy have no fast word for, compiled by numba when they are first needed and kept on disk.

Only :mod:`_ranef.linalg.kernels` imports this module, and only for work that takes longer than loading numba does.
"""

from __future__ import annotations

from _ranef.linalg.jit import compiled

__all__ = ["gram_of_rows", "quadratic_forms"]

_compiled = compiled(nogil=True, fastmath=False, boundscheck=False)


@_compiled
def gram_of_rows(indptr, indices, data, out):  # type: ignore[no-untyped-def]
    """Add the lower triangle of BᵀB to `out` (t, t), for sparse rows B with ascending indices."""
    for row in range(indptr.shape[0] - 1):
        for u in range(indptr[row], indptr[row + 1]):
            scale, into = data[u], out[indices[u]]
            for v in range(indptr[row], u + 1):
                into[indices[v]] += scale * data[v]


@_compiled
def quadratic_forms(indptr, indices, data, M, p, out):  # type: ignore[no-untyped-def]
    """R_i M R_iᵀ for the `p` sparse rows R_i of every level, which share their columns, and symmetric M: (J, p, p)."""
    for level in range(out.shape[0]):
        first = indptr[level * p]
        width = indptr[level * p + 1] - first
        for u in range(width):
            row = M[indices[first + u]]
            for a in range(p):
                start = first + a * width
                below = 0.5 * row[indices[first + u]] * data[start + u]
                for v in range(u):
                    below += row[indices[first + v]] * data[start + v]
                for b in range(p):
                    term = below * data[first + b * width + u]
                    out[level, a, b] += term
                    out[level, b, a] += term
