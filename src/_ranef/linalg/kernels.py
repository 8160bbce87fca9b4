"""The loops that a large model spends its time in, by numpy and scipy, or compiled where there is much to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from _ranef.linalg.lapack import below, mirror_lower
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import deferred, load

__all__ = ["add_products", "add_squares", "quadratic_forms", "subtract_gram"]

#: multiplications from which on loading the compiled loops (about a second) pays
MANY = 20_000_000

#: products of columns that are summed one by one; more are summed side by side
FEW = 16

#: share of the entries of sparse rows from which on they are worked on as full ones
FULL = 0.3

#: entries of a matrix gathered at once
CHUNK_ENTRIES = 4_000_000


def _compiled() -> Any:
    """The module that imports numba."""
    return load("_ranef.linalg.compiled_loops")


def _full(rows: scipy.sparse.csr_array) -> bool:
    return bool(rows.nnz > FULL * rows.shape[0] * rows.shape[1])


def subtract_gram(rows: scipy.sparse.csr_array, out: Floats, *, often: bool = False) -> None:
    """Take BᵀB from symmetric `out` (t, t), for sparse rows B (m, t) with ascending indices.

    `often` is worth compiled loops.
    """
    if _full(rows):
        wide = rows.toarray()
        out -= wide.T @ wide
        return
    if not often and float((np.diff(rows.indptr).astype(float) ** 2).sum()) < MANY:
        out -= (rows.T @ rows).toarray()
        return
    with deferred():  # it may be compiled now
        _compiled().subtract_gram_of_rows(rows.indptr, rows.indices, rows.data, out)
    mirror_lower(out)


def quadratic_forms(rows: scipy.sparse.csr_array, M: Floats, p: int, *, often: bool = False) -> Floats:
    """R_i M R_iᵀ (J, p, p) for the p sparse rows R_i of every level, which share their columns, and symmetric M.

    Of M what is above the diagonal is not read.
    """
    if _full(rows):
        wide = rows.toarray()
        product = load("scipy.linalg").blas.dsymm(1.0, M.T, wide.T)  # M.T, as its upper triangle, without a copy
        halves = product.T.reshape(-1, p, wide.shape[1])
        return np.asarray(halves @ np.swapaxes(wide.reshape(halves.shape), 1, 2))
    out = np.zeros((rows.shape[0] // p, p, p))
    widths = np.diff(rows.indptr)[::p]
    if often or float((p * widths.astype(float) ** 2).sum()) > MANY:
        with deferred():
            _compiled().quadratic_forms(rows.indptr, rows.indices, rows.data, np.ascontiguousarray(M), p, out)
        return out
    # levels with equally many columns go together, so that only the entries of M that their columns meet are touched
    for width in np.unique(widths[widths > 0]):
        levels = np.flatnonzero(widths == width)
        for part in np.array_split(levels, -(-levels.size * width**2 // CHUNK_ENTRIES)):
            at = rows.indptr[part * p][:, None] + np.arange(p * width)
            values, cols = rows.data[at].reshape(-1, p, width), rows.indices[at[:, :width]]
            out[part] = values @ below(M, cols[:, :, None], cols[:, None, :]) @ np.swapaxes(values, 1, 2)
    return out


def add_products(codes: Ints, left: Floats, right: Floats, out: Floats) -> None:
    """Add left[i]ᵀright[i] to out[codes[i]] for every row i: (n, p) and (n, m) into (J, p, m)."""
    J, p, m = out.shape
    if p * m <= FEW:
        for a in range(p):
            for b in range(m):
                products = left[:, a] * right[:, b]
                if len(codes) < J:  # to go through all of them would take longer than the rows
                    np.add.at(out[:, a, b], codes, products)
                else:
                    out[:, a, b] += np.bincount(codes, products, minlength=J)
        return
    n, products = codes.shape[0], (left[:, :, None] * right[:, None, :]).reshape(codes.shape[0], p * m)
    indicator = scipy.sparse.csc_array((np.ones(n), codes, np.arange(n + 1)), shape=(J, n))
    out += np.asarray(indicator @ products).reshape(out.shape)


def add_squares(codes: Ints, columns: Floats, out: Floats) -> None:
    """Add columns[i]ᵀcolumns[i] to out[codes[i]] for every row i: (n, p) into (J, p, p)."""
    J, p, _ = out.shape
    if p * p > 2 * FEW:
        add_products(codes, columns, columns, out)
        return
    for a in range(p):
        for b in range(a + 1):
            sums = np.bincount(codes, columns[:, a] * columns[:, b], minlength=J)
            out[:, a, b] += sums
            if b < a:
                out[:, b, a] += sums
