"""Cholesky factor and inverse of a very large matrix, panel by panel, in its own place.

OpenBLAS with several threads writes past its buffer in ``dpotrf`` of some 16 000 rows, and the process dies. Panels of
the lower triangle are factored by the routine given, and all else is done by products and triangular solves (Golub &
Van Loan 2013, *Matrix Computations*, 4.2.6). What is above the diagonal is neither read nor written.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["cholesky_by_panels", "invert_by_panels"]

#: rows of a panel
PANEL = 2048


def _panels(n: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


def cholesky_by_panels(a: Floats, factor: Callable[[Floats], Floats], size: int = PANEL) -> None:
    """Put the lower Cholesky factor in the place of `a` (n, n); `factor` makes that of a small matrix."""
    solve = load("scipy.linalg.blas").dtrsm
    panels = _panels(len(a), size)
    for k, own in enumerate(panels):
        L = factor(np.array(a[own, own]))
        _put_below(a, own, L)
        for rows in panels[k + 1 :]:  # X Lᵀ = a, of the transposes
            a[rows, own] = solve(1.0, L.T, np.array(a[rows, own]).T, lower=0, trans_a=1, overwrite_b=1).T
        for i, rows in enumerate(panels[k + 1 :], k + 1):
            for cols in panels[k + 1 : i]:
                a[rows, cols] -= a[rows, own] @ a[cols, own].T
            _put_below(a, rows, a[rows, rows] - a[rows, own] @ a[rows, own].T)


def invert_by_panels(L: Floats, size: int = PANEL) -> None:
    """Put (L Lᵀ)⁻¹ in the place of a lower Cholesky factor (n, n)."""
    panels = _panels(len(L), size)
    _invert_triangle(L, panels)
    for i, own in enumerate(panels):  # (L Lᵀ)⁻¹ = WᵀW, W = L⁻¹, whose rows before these are not asked for any more
        W = np.tril(L[own, own])
        for cols in panels[:i]:
            L[own, cols] = W.T @ L[own, cols] + L[own.stop :, own].T @ L[own.stop :, cols]
        _put_below(L, own, W.T @ W + L[own.stop :, own].T @ L[own.stop :, own])


def _invert_triangle(L: Floats, panels: list[slice]) -> None:
    """L⁻¹ in the place of L: columns from the last to the first, −W₂₂ L₂₁ W₁₁ below W₁₁, rows from below upwards."""
    solve = load("scipy.linalg").solve_triangular
    for k, own in reversed([*enumerate(panels)]):
        W = solve(np.tril(L[own, own]), np.eye(own.stop - own.start), lower=True)
        for i, rows in reversed([*enumerate(panels)][k + 1 :]):
            inner = np.tril(L[rows, rows]) @ L[rows, own]
            for other in panels[k + 1 : i]:
                inner += L[rows, other] @ L[other, own]
            L[rows, own] = -inner @ W
        _put_below(L, own, W)


def _put_below(a: Floats, own: slice, square: Floats) -> None:
    """Write on and below the diagonal of a block."""
    rows, cols = np.tril_indices(own.stop - own.start)
    a[own, own][rows, cols] = square[rows, cols]
