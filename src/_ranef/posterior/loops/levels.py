"""The first factor, level by level: its factors M_i, what they take from the tail, and the way back."""

from __future__ import annotations

import numpy as np

from _ranef.posterior.loops.packed import inner
from _ranef.posterior.loops.vectors import add_product, add_scaled, dot, invert_root, sum_log

__all__ = ["carry", "carry_sparse", "eliminate", "factor_levels", "levels_back", "products_back"]


@inner
def factor_levels(lam, A, N):  # type: ignore[no-untyped-def]
    """N = L⁻¹λᵀ with LLᵀ = I + λᵀAλ, and Σ log|I + λᵀAλ|; levels on the last axis of A and N (p, p, J)."""
    p, J = A.shape[0], A.shape[2]
    L, Al = np.zeros((p, p, J)), np.zeros((p, p, J))
    log_det = 0.0
    for a in range(p):
        for k in range(p):
            for b in range(p):
                add_scaled(Al[a, k], lam[b, k], A[a, b])
    for k in range(p):
        for i in range(k, p):
            M = L[i, k]
            for a in range(p):
                add_scaled(M, lam[a, i], Al[a, k])
            for l in range(k):
                add_product(M, -1.0, L[i, l], L[k, l])
            if i == k:
                for j in range(J):
                    M[j] += 1.0
                log_det += sum_log(M)
                invert_root(M)  # the inverse of the diagonal stands in its place
            else:
                for j in range(J):
                    M[j] *= L[k, k, j]
    for c in range(p):
        for i in range(p):
            out = N[i, c]
            for j in range(J):
                out[j] = lam[c, i]
            for l in range(i):
                add_product(out, -1.0, L[i, l], N[l, c])
            for j in range(J):
                out[j] *= L[i, i, j]
    return log_det


@inner
def carry(N, C, B):  # type: ignore[no-untyped-def]
    """B = N C (p, r, J) of every level."""
    p, r, J = C.shape
    for k in range(p):
        for x in range(r):
            for j in range(J):
                B[k, x, j] = 0.0
            for a in range(p):
                add_product(B[k, x], 1.0, N[k, a], C[a, x])


@inner
def carry_sparse(N, indptr, vals, B):  # type: ignore[no-untyped-def]
    """The same for the columns of the tail (nnz, p)."""
    p = N.shape[0]
    for i in range(N.shape[2]):
        for u in range(int(indptr[i]), int(indptr[i + 1])):
            for k in range(p):
                total = 0.0
                for a in range(p):
                    total += N[k, a, i] * vals[u, a]
                B[u, k] = total


@inner
def eliminate(indptr, cols, Bt, B, Q):  # type: ignore[no-untyped-def]
    """Q −= Σ B_iᵀB_i in its lower triangle."""
    p, r, J = B.shape
    t = Q.shape[0] - r
    for x in range(r):
        for y in range(x + 1):
            for k in range(p):
                Q[t + x, t + y] -= dot(B[k, x], B[k, y])
    for i in range(J if t > 0 else 0):
        first, last = int(indptr[i]), int(indptr[i + 1])
        for u in range(first, last):
            row = int(cols[u])
            for k in range(p):
                value = Bt[u, k]
                for w in range(first, u + 1):
                    Q[row, int(cols[w])] -= value * Bt[w, k]
                for x in range(r):
                    Q[t + x, row] -= value * B[k, x, i]


@inner
def levels_back(lam, A, indptr, cols, vals, C, N, Bt, B, Qbar, lam_bar):  # type: ignore[no-untyped-def]
    """Add 2Wλ to `lam_bar`, with W = Σ A_i − P_iP_iᵀ − E_iQ̄E_iᵀ, P = A Nᵀ and E = C − P B; Bt is overwritten."""
    p, r, J = C.shape
    t = Qbar.shape[0] - r
    P, E, W = np.zeros((p, p, J)), np.empty((p, r, J)), np.zeros((p, p))
    for a in range(p):
        for k in range(p):
            for c in range(p):
                add_product(P[a, k], 1.0, A[a, c], N[k, c])
        for x in range(r):
            for i in range(J):
                E[a, x, i] = C[a, x, i]
            for k in range(p):
                add_product(E[a, x], -1.0, P[a, k], B[k, x])
    for a in range(p):
        for b in range(a + 1):
            total = 0.0
            for i in range(J):
                total += A[a, b, i]
            for k in range(p):
                total -= dot(P[a, k], P[b, k])
            for x in range(r):
                for y in range(r):
                    total -= Qbar[t + x, t + y] * dot(E[a, x], E[b, y])
            W[a, b] = total
            W[b, a] = total
    if t > 0:
        _met_back(indptr, cols, vals, P, E, Bt, Qbar, W)
    for a in range(p):
        for k in range(p):
            for b in range(p):
                lam_bar[a * p + k] += 2.0 * W[a, b] * lam[b, k]


@inner
def _met_back(indptr, cols, vals, P, E, Bt, Qbar, W):  # type: ignore[no-untyped-def]
    """Take from W what the tail's columns that levels meet add to E_iQ̄E_iᵀ; Bt becomes theirs of E."""
    p, r, J = E.shape
    t = Qbar.shape[0] - r
    half = np.empty(p)
    for i in range(J):
        first, last = int(indptr[i]), int(indptr[i + 1])
        for u in range(first, last):
            for a in range(p):
                total = vals[u, a]
                for k in range(p):
                    total -= P[a, k, i] * Bt[u, k]
                half[a] = total
            for a in range(p):
                Bt[u, a] = half[a]
        for u in range(first, last):
            row = int(cols[u])
            for a in range(p):
                half[a] = 0.0
            for x in range(r):
                value = 2.0 * Qbar[row, t + x]  # for both triangles
                for a in range(p):
                    half[a] += value * E[a, x, i]
            for w in range(first, last):
                value = Qbar[row, int(cols[w])]
                for a in range(p):
                    half[a] += value * Bt[w, a]
            for a in range(p):
                for b in range(p):
                    W[a, b] -= 0.5 * (Bt[u, a] * half[b] + Bt[u, b] * half[a])


@inner
def products_back(indptr, cols, N, Bt, B, Qbar, A_bar, vals_bar, C_bar):  # type: ignore[no-untyped-def]
    """Add Ā (p, p, J) and C̄ (nnz, p) and (p, r, J) to zeros, with G = K C = Nᵀ B."""
    p, r, J = B.shape
    t = Qbar.shape[0] - r
    G, sparse = np.zeros((p, r, J)), np.zeros((Bt.shape[0], p))
    for a in range(p):
        for x in range(r):
            for k in range(p):
                add_product(G[a, x], 1.0, N[k, a], B[k, x])
        for x in range(r):
            for y in range(r):
                add_scaled(C_bar[a, x], -2.0 * Qbar[t + y, t + x], G[a, y])
    for i in range(J if t > 0 else 0):
        first, last = int(indptr[i]), int(indptr[i + 1])
        for u in range(first, last):
            for a in range(p):
                for k in range(p):
                    sparse[u, a] += N[k, a, i] * Bt[u, k]
        for u in range(first, last):
            row = int(cols[u])
            for a in range(p):
                total = 0.0
                for w in range(first, last):
                    total += sparse[w, a] * Qbar[int(cols[w]), row]
                for x in range(r):
                    total += G[a, x, i] * Qbar[t + x, row]
                    C_bar[a, x, i] -= 2.0 * sparse[u, a] * Qbar[row, t + x]
                vals_bar[u, a] = -2.0 * total
                for b in range(p):
                    A_bar[b, a, i] -= 0.5 * vals_bar[u, a] * sparse[u, b]
    for a in range(p):
        for b in range(p):
            for k in range(p):
                add_product(A_bar[a, b], 1.0, N[k, a], N[k, b])
            for x in range(r):
                add_product(A_bar[a, b], -0.5, C_bar[a, x], G[b, x])
