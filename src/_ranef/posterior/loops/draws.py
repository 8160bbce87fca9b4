"""Exact draws of effects and coefficients."""

from __future__ import annotations

import math

import numpy as np

from _ranef.posterior.loops.likelihoods import factorize, room
from _ranef.posterior.loops.packed_places import (
    AT_C,
    AT_COLS,
    AT_COUNTS,
    AT_INDPTR,
    AT_LEVELS,
    AT_SIZES,
    AT_VALUES,
    inner,
    outer,
    part_of,
)
from _ranef.posterior.loops.residual_laws import at_rho

__all__ = ["draw_effects"]


@inner
def _solve_back(H, s, v, noise, x):  # type: ignore[no-untyped-def]
    """Fill x (a,), what is integrated out before it is scaled: L'x = H_2a'v + s ε."""
    a = x.shape[0]
    for j in range(a - 1, -1, -1):
        total = s * noise[j]
        for i in range(v.shape[0]):
            total += H[a + i, j] * v[i]
        for i in range(j + 1, a):
            total -= H[i, j] * x[i]
        x[j] = total / H[j, j]


@inner
def _scaled_effects(lam, sizes, levels, x, out):  # type: ignore[no-untyped-def]
    """The tail's effects Λx, and the coefficients behind them as they are."""
    row, at = 0, 0
    if sizes.shape[0]:
        at = int(sizes[0]) * int(sizes[0])
    for f in range(1, sizes.shape[0]):
        k = int(sizes[f])
        for _ in range(int(levels[f])):
            for i in range(k):
                total = 0.0
                for j in range(k):
                    total += lam[at + i * k + j] * x[row + j]
                out[row + i] = total
            row += k
        at += k * k
    for j in range(row, x.shape[0]):
        out[j] = x[j]


@inner
def _first_effects(indptr, cols, vals, C, N, v, s, integrated, noise, first):  # type: ignore[no-untyped-def]
    """Fill the first factor's effects b = K(C v − C x) + s λL⁻ᵀε (J, p), with K = NᵀN and λL⁻ᵀ = Nᵀ."""
    p, r, J = C.shape
    e, a = v.shape[0], integrated.shape[0]
    t = a + e - r
    rhs, white = np.empty(p), np.empty(p)
    for i in range(J):
        for k in range(p):
            total = 0.0
            for y in range(int(indptr[i]), int(indptr[i + 1])):
                total -= vals[y, k] * integrated[int(cols[y])]
            for y in range(a - t):
                total -= C[k, y, i] * integrated[t + y]
            for y in range(e):
                total += C[k, a - t + y, i] * v[y]
            rhs[k] = total
        for k in range(p):
            total = s * noise[i * p + k]
            for c in range(p):
                total += N[k, c, i] * rhs[c]
            white[k] = total
        for c in range(p):
            total = 0.0
            for k in range(p):
                total += N[k, c, i] * white[k]
            first[i, c] = total


@outer
def draw_effects(lam, s2, v, rho, K, packed, noise, integrated, first):  # type: ignore[no-untyped-def]
    """Exact draws at λ (n, ·), s² (n,), v (n, s + 1), ρ (n, ·) and K (n or 1, r, r), from normal `noise` (n, a + J p).

    Fills `integrated` (n, a), the tail's random effects and the coefficients integrated out, and `first` (n, J, p), the
    effects of the first factor; internal scale.
    """
    n_parts, a = int(packed[AT_COUNTS + 1]), integrated.shape[1]
    sizes, levels = part_of(packed, packed[AT_SIZES:]), part_of(packed, packed[AT_LEVELS:])
    indptr, cols = part_of(packed, packed[AT_INDPTR:]), part_of(packed, packed[AT_COLS:])
    S, N, B, Bt, R, H = room(packed)
    p, r, J = B.shape
    x = np.empty(a)
    for draw in range(s2.shape[0]):
        slopes, unused = np.zeros((rho.shape[1], n_parts)), np.zeros(rho.shape[1])
        u, _ = at_rho(packed, rho[draw], np.zeros(n_parts), slopes, unused)
        C, vals = part_of(u, u[AT_C:]).reshape((p, r, J)), part_of(u, u[AT_VALUES:]).reshape((-1, max(p, 1)))
        factorize(lam[draw], s2[draw], K[draw % K.shape[0]], u, S, N, B, Bt, R, H)
        s = math.sqrt(s2[draw])
        _solve_back(H, s, v[draw], noise[draw], x)
        _scaled_effects(lam[draw], sizes, levels, x, integrated[draw])
        _first_effects(indptr, cols, vals, C, N, v[draw], s, integrated[draw], noise[draw, a:], first[draw])
