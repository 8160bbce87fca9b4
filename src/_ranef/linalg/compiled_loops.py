"""Loops that numpy and scipy have no fast word for, compiled by numba when they are first needed and kept on disk.

Only :mod:`_ranef.linalg.kernels` and ``symmetric`` import this module, and only for work
that takes longer than loading numba does.
"""

from __future__ import annotations

import numpy as np

from _ranef.linalg.numba_jit import compiled

__all__ = [
    "elimination_tree",
    "factorize",
    "inverse_entries",
    "pattern_below",
    "quadratic_forms",
    "solve_lower",
    "solve_upper",
    "subtract_gram_of_rows",
]

_compiled = compiled(nogil=True, fastmath=False, boundscheck=False)

#: for sums of many terms, which may then be vectorised
_vector = compiled(nogil=True, fastmath={"reassoc", "contract", "nsz"}, boundscheck=False)


@_compiled
def subtract_gram_of_rows(indptr, indices, data, out):  # type: ignore[no-untyped-def]
    """Take BᵀB from the lower triangle of `out` (t, t), for sparse rows B with ascending indices."""
    for row in range(indptr.shape[0] - 1):
        for u in range(indptr[row], indptr[row + 1]):
            scale, into = data[u], out[indices[u]]
            for v in range(indptr[row], u + 1):
                into[indices[v]] -= scale * data[v]


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


@_compiled
def elimination_tree(indptr, indices):  # type: ignore[no-untyped-def]
    """Parents (n,) in the elimination tree of a symmetric matrix, its upper triangle given by columns.

    And the number of entries below the diagonal in each column of its factor (n,).
    """
    n = indptr.shape[0] - 1
    parent, seen, counts = np.full(n, -1, np.int64), np.full(n, -1, np.int64), np.zeros(n, np.int64)
    for k in range(n):
        seen[k] = k
        for u in range(indptr[k], indptr[k + 1]):
            i = indices[u]
            while seen[i] != k:  # every column from here to the root that this row has not met has it
                if parent[i] < 0:
                    parent[i] = k
                counts[i] += 1
                seen[i] = k
                i = parent[i]
    return parent, counts


@_compiled
def pattern_below(indptr, indices, parent, starts):  # type: ignore[no-untyped-def]
    """Rows of the factor below its diagonal, ascending in each column."""
    n = indptr.shape[0] - 1
    seen, filled, below = np.full(n, -1, np.int64), starts[:-1].copy(), np.empty(starts[n], np.int64)
    for k in range(n):
        seen[k] = k
        for u in range(indptr[k], indptr[k + 1]):
            i = indices[u]
            while seen[i] != k:
                below[filled[i]] = k
                filled[i] += 1
                seen[i] = k
                i = parent[i]
    return below


@_vector
def _subtract(target, scale, x):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        target[i] -= scale * x[i]


@_vector
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    return total


@_compiled
def factorize(indptr, indices, data, parent, starts, below, L, D):  # type: ignore[no-untyped-def]
    """Fill L, in the places of `below`, and D (n,) of LDLᵀ, row by row."""
    n = indptr.shape[0] - 1
    row, seen, filled = np.zeros(n), np.full(n, -1, np.int64), starts[:-1].copy()
    path, reached = np.empty(n, np.int64), np.empty(n, np.int64)
    for k in range(n):
        seen[k], top = k, n
        for u in range(indptr[k], indptr[k + 1]):
            i, length = indices[u], 0
            row[i] += data[u]
            while seen[i] != k:
                path[length] = i
                length += 1
                seen[i] = k
                i = parent[i]
            while length > 0:  # ahead of those that were reached before, for it is below them in the tree
                length -= 1
                top -= 1
                reached[top] = path[length]
        pivot = row[k]
        row[k] = 0.0
        for u in range(top, n):
            i = reached[u]
            value = row[i]
            row[i] = 0.0
            if starts[i + 1] - starts[i] == n - 1 - i:  # of a full column rows stand side by side
                _subtract(row[i + 1 : k], value, L[starts[i] : filled[i]])
            else:
                for v in range(starts[i], filled[i]):
                    row[below[v]] -= L[v] * value
            L[filled[i]] = value / D[i]
            pivot -= L[filled[i]] * value
            filled[i] += 1
        D[k] = pivot


@_compiled
def solve_lower(starts, below, L, x):  # type: ignore[no-untyped-def]
    """L⁻¹x (n, r) in place."""
    for j in range(x.shape[0]):
        for u in range(starts[j], starts[j + 1]):
            for c in range(x.shape[1]):
                x[below[u], c] -= L[u] * x[j, c]


@_compiled
def solve_upper(starts, below, L, x):  # type: ignore[no-untyped-def]
    """L⁻ᵀx (n, r) in place."""
    for j in range(x.shape[0] - 1, -1, -1):
        for u in range(starts[j], starts[j + 1]):
            for c in range(x.shape[1]):
                x[j, c] -= L[u] * x[below[u], c]


@_compiled
def inverse_entries(starts, below, L, D, Z, diagonal):  # type: ignore[no-untyped-def]
    """Fill Z, in the places of L, and the diagonal with the entries of (LDLᵀ)⁻¹: Z = D⁻¹L⁻¹ + (I − Lᵀ)Z, backwards."""
    n = D.shape[0]
    where = np.full(n, -1, np.int64)
    for j in range(n - 1, -1, -1):
        first, last = starts[j], starts[j + 1]
        full = last - first == n - 1 - j  # then all later columns are full, too
        for u in range(first, last):
            where[below[u]] = u
            Z[u] = -L[u] * diagonal[below[u]]
        for u in range(first, last):
            i = below[u]
            if full:
                Z[u] -= _dot(L[u + 1 : last], Z[starts[i] : starts[i + 1]])
                _subtract(Z[u + 1 : last], L[u], Z[starts[i] : starts[i + 1]])
                continue
            for v in range(starts[i], starts[i + 1]):  # of column i, the rows that column j has, too
                other = where[below[v]]
                if other >= 0:
                    Z[u] -= L[other] * Z[v]
                    Z[other] -= L[u] * Z[v]
        diagonal[j] = 1.0 / D[j]
        for u in range(first, last):
            diagonal[j] -= L[u] * Z[u]
            where[below[u]] = -1
