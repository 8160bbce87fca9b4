"""The first factor, level by level: its factors M_i, what they take from the tail, and the way back."""

from __future__ import annotations

import numpy as np

from _ranef.posterior.loops.packed_places import inner
from _ranef.posterior.loops.vectors import (
    add_contracted,
    add_mixed,
    add_product,
    add_products,
    add_scaled,
    dot,
    dot_rows,
    invert_root,
    sum_log,
)

__all__ = ["carry", "carry_sparse", "eliminate", "factor_levels", "levels_back"]


@inner
def factor_levels(lam, A, S, N):  # type: ignore[no-untyped-def]
    """S = L⁻¹ and N = Sλᵀ with LLᵀ = I + λᵀAλ, and Σ log|I + λᵀAλ|; levels on the last axis of A, S, N (p, p, J)."""
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
    for i in range(p):
        for c in range(i + 1):
            out = S[i, c]
            for j in range(J):
                out[j] = 1.0 if c == i else 0.0
            for l in range(c, i):
                add_product(out, -1.0, L[i, l], S[l, c])
            for j in range(J):
                out[j] *= L[i, i, j]
        for c in range(p):
            for j in range(J):
                N[i, c, j] = 0.0
            add_mixed(N[i, c], lam[c, : i + 1], S[i])
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
def levels_back(lam, A, indptr, cols, vals, C, S, Bt, B, Qbar, lam_bar, products):  # type: ignore[no-untyped-def]
    """Add 2 Σ (A_iλY_i − C_iV_iᵀ) to `lam_bar`, with U = SᵀB, V = UQ̄ and Y = SᵀS + VUᵀ.

    `products` is empty, or becomes Ā = λYλᵀ (p, p, J) and C̄ = −2λV, of the tail (nnz, p) and (p, r, J), flat.
    """
    p, r, J = C.shape
    t = Qbar.shape[0] - r
    U, V, Y, Ut, Vt = (
        np.zeros((p, r, J)),
        np.zeros((p, r, J)),
        np.zeros((p, p, J)),
        np.zeros(Bt.shape),
        np.zeros(Bt.shape),
    )
    for a in range(p):
        for x in range(r):
            add_contracted(U[a, x], S, B, a, x)
        for x in range(r):
            add_mixed(V[a, x], Qbar[t + x, t:], U[a])
    if t > 0:
        _met_back(indptr, cols, S, Bt, Qbar, U, V, Y, Ut, Vt)
    scaled = np.zeros((p, p, J))  # λY with its axes exchanged
    for a in range(p):
        for b in range(a + 1):
            add_contracted(Y[a, b], S, S, a, b)
            add_products(Y[a, b], V[a], U[b])
            for i in range(J):
                Y[b, a, i] = Y[a, b, i]
    for b in range(p):
        for a in range(p):
            add_mixed(scaled[b, a], lam[a], Y[b])
        for a in range(p):
            total = dot_rows(A[a], scaled[b]) - dot_rows(C[a], V[b])
            for u in range(Vt.shape[0]):
                total -= vals[u, a] * Vt[u, b]
            lam_bar[a * p + b] += 2.0 * total
    if products.shape[0]:
        _products_back(lam, scaled, V, Vt, products)


@inner
def _met_back(indptr, cols, S, Bt, Qbar, U, V, Y, Ut, Vt):  # type: ignore[no-untyped-def]
    """Fill U and V of the tail's columns that levels meet, (nnz, p), and add to V and Y what these are."""
    p, r, J = U.shape
    t = Qbar.shape[0] - r
    for i in range(J):
        first, last = int(indptr[i]), int(indptr[i + 1])
        for u in range(first, last):
            for k in range(p):
                for a in range(k + 1):
                    Ut[u, a] += S[k, a, i] * Bt[u, k]
        for u in range(first, last):
            row = int(cols[u])
            for w in range(first, last):
                value = Qbar[row, int(cols[w])]
                for a in range(p):
                    Vt[u, a] += value * Ut[w, a]
            for x in range(r):
                value = Qbar[row, t + x]
                for a in range(p):
                    Vt[u, a] += value * U[a, x, i]
                    V[a, x, i] += value * Ut[u, a]
            for a in range(p):
                for b in range(a + 1):
                    Y[a, b, i] += Vt[u, a] * Ut[u, b]


@inner
def _products_back(lam, scaled, V, Vt, products):  # type: ignore[no-untyped-def]
    p, r, J = V.shape
    at_vals, at_C = p * p * J, p * p * J + Vt.size
    A_bar, vals_bar = products[:at_vals].reshape((p, p, J)), products[at_vals:at_C].reshape((-1, p))
    C_bar = products[at_C : at_C + p * r * J].reshape((p, r, J))
    for a in range(p):
        for b in range(p):
            for d in range(p):
                add_scaled(A_bar[a, b], lam[b, d], scaled[d, a])
            for x in range(r):
                add_scaled(C_bar[a, x], -2.0 * lam[a, b], V[b, x])
            for u in range(Vt.shape[0]):
                vals_bar[u, a] -= 2.0 * lam[a, b] * Vt[u, b]
