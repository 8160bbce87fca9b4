"""The collapsed log density with its gradient, and exact draws, in loops that numba compiles and that are kept on disk.

One model is one array of doubles (:mod:`_ranef.nuts.packing`), so that what is compiled serves every model, and a
sampler outside Python can call it through a pointer.

With C the cross-products of the first factor's columns against the tail, X and y, and K_i = λM_i⁻¹λᵀ, M_i = I + λᵀA_iλ:

    Q = T − Σ C_iᵀK_iC_i,  H = ΛᵀQΛ + E + s²K,  deviance = Σ log|M_i| + log|H_aa| + r²/s² + ν log 2πσ² + constant

where a are the rows integrated out (tail and coefficients), and r² = vᵀ(H_22 − H_2aH_aa⁻¹H_a2)v is what they leave of
the response less the sampled coefficients, v = (−γ, 1). Backwards, H̄ = H_aa⁻¹ ⊕ 0 + wwᵀ/s² with w = (−H_aa⁻¹H_a2v, v),
Q̄ = ΛH̄Λᵀ, ∂/∂λ = 2Wλ with W = Σ A_i − A_iK_iA_i − (I − A_iK_i)C_iQ̄C_iᵀ(I − K_iA_i), and ∂/∂Λ = 2QΛH̄. In the
cross-products, T̄ = Q̄, C̄_i = −2K_iC_iQ̄ and Ā_i = K_i + K_iC_iQ̄C_iᵀK_i. Levels stand on the last axis, where processors
work on several at once.

Row i of H is zero before `first[i]`, and what is below the block of rows that begins at j is so from `reach[j]` to the
coefficients (:func:`_ranef.nuts.blocks.skyline`); that is so of its Cholesky factor L, too, and only there H̄ is needed:
from Z = H_aa⁻¹ and ZL = L⁻ᵀ follow the entries Z_ij = (δ_ij/L_jj − Σ_{k>j} Z_ik L_kj)/L_jj from the last column on
(Takahashi, Fagan & Chen 1973). Nested factors have short rows, and cost what their levels are, not the cube.

All loops stand in one file because what is kept of them on disk is good as long as their file is unchanged.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numba
import numpy as np

from _ranef.linalg.jit import c_function, compiled

__all__ = [
    "c_copy",
    "c_density",
    "density",
    "draw_effects",
    "hyper_backward",
    "hyper_forward",
    "likelihood",
    "likelihood_of_products",
    "log_likelihood",
]

_compiled = compiled(nogil=True, error_model="numpy")

#: for functions that only other compiled functions call: without a way in from Python they compile faster
_inner = compiled(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

#: for sums over levels, which may then be vectorised
_vector = compiled(
    nogil=True,
    error_model="numpy",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    fastmath={"reassoc", "contract", "nsz"},
)

#: where place and length of the arrays of a packed model stand in its header: :data:`_ranef.nuts.packing.PARTS`
AT_SIZES, AT_LEVELS, AT_INDPTR, AT_COLS, AT_FIRST, AT_REACH, AT_A, AT_VALUES, AT_C, AT_TAIL, AT_K = range(0, 22, 2)
AT_TERMS, AT_FILL, AT_PRIORS, AT_NUMBERS, AT_ORIGIN, AT_VINE, AT_LAW, AT_COUNTS = range(22, 38, 2)
AT_CENTRE, AT_ROOT, AT_PARTS = range(38, 44, 2)

#: what stands where in its array of numbers: degrees of freedom, the unit of y, the constant, σ where it is known, how
#: many standard deviations and partial correlations there are, whether λ is sampled as it is, how many θ,
#: columns of [X y], columns of these with the tail, which law residuals have (0 where they have none), and how many ρ
NU, UNIT, CONSTANT, KNOWN, N_SD, N_PARTIAL, FLAT, N_THETA, COEFFICIENTS, BORDERED, LAW, N_RHO = range(12)

LOG_2 = math.log(2.0)

_types: Any = numba.types
_carray: Any = numba.carray  # type: ignore[attr-defined]


@_inner
def _part(u, header):  # type: ignore[no-untyped-def]
    """An array of a packed model, flat: `header` begins with its place and length, those of array k at 2k and 2k + 1.

    It is given as a slice, not as k: numba would compile this anew for every k.
    """
    first = int(header[0])
    return u[first : first + int(header[1])]


@_inner
def _copy(source, target):  # type: ignore[no-untyped-def]
    """Copy a matrix; assigning to a slice would take numba seconds to compile."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@_inner
def _scalar_prior(family, a, loc, scale, x, log_x):  # type: ignore[no-untyped-def]
    """Log density but for its constant, and its derivative."""
    z = (x - loc) / scale
    if family == 1.0:
        return -0.5 * z * z, -z / scale
    if family == 2.0:
        return -0.5 * (a + 1.0) * math.log1p(z * z / a), -(a + 1.0) * z / (scale * (a + z * z))
    if family == 3.0:
        return (a - 1.0) * log_x - x / scale, (a - 1.0) / x - 1.0 / scale
    return 0.0, 0.0


@_inner
def _roots(partial, size, root):  # type: ignore[no-untyped-def]
    """Cholesky factor of the correlation matrix of canonical partial correlations, by rows."""
    at = 0
    for i in range(size):
        rest = 1.0
        for j in range(i):
            root[i, j] = partial[at] * rest
            rest *= math.sqrt(1.0 - partial[at] ** 2)
            at += 1
        root[i, i] = rest


@_inner
def _roots_back(partial, size, root, root_bar, partial_bar):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(size):
        rest, later = 1.0, 0.0
        for j in range(i + 1):
            later += root_bar[i, j] * root[i, j]
        for j in range(i):
            z = partial[at + j]
            later -= root_bar[i, j] * root[i, j]
            partial_bar[at + j] = root_bar[i, j] * rest - later * z / (1.0 - z * z)
            rest *= math.sqrt(1.0 - z * z)
        at += i


@_vector
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    return total


@_vector
def _dot_within(x, y, low, high):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(low, high):
        total += x[i] * y[i]
    return total


@_vector
def _add_scaled(target, scale, x):  # type: ignore[no-untyped-def]
    for i in range(target.shape[0]):
        target[i] += scale * x[i]


@_vector
def _add_product(target, sign, x, y):  # type: ignore[no-untyped-def]
    for i in range(target.shape[0]):
        target[i] += sign * x[i] * y[i]


@_vector
def _invert_root(x):  # type: ignore[no-untyped-def]
    """1/√x in place."""
    for i in range(x.shape[0]):
        x[i] = 1.0 / math.sqrt(x[i])


@_inner
def _sum_log(x):  # type: ignore[no-untyped-def]
    """Σ log x by logarithms of products; NaN where some x is not positive."""
    total, product = 0.0, 1.0
    for i in range(x.shape[0]):
        if not x[i] > 0.0:
            return math.nan
        product *= x[i]
        if product > 1e100 or product < 1e-100:
            total += math.log(product)
            product = 1.0
    return total + math.log(product)


@_inner
def _factor_levels(lam, A, N):  # type: ignore[no-untyped-def]
    """N = L⁻¹λᵀ with LLᵀ = I + λᵀAλ, and Σ log|I + λᵀAλ|; levels on the last axis of A and N (p, p, J)."""
    p, J = A.shape[0], A.shape[2]
    L, Al = np.zeros((p, p, J)), np.zeros((p, p, J))
    log_det = 0.0
    for a in range(p):
        for k in range(p):
            for b in range(p):
                _add_scaled(Al[a, k], lam[b, k], A[a, b])
    for k in range(p):
        for i in range(k, p):
            M = L[i, k]
            for a in range(p):
                _add_scaled(M, lam[a, i], Al[a, k])
            for l in range(k):
                _add_product(M, -1.0, L[i, l], L[k, l])
            if i == k:
                for j in range(J):
                    M[j] += 1.0
                log_det += _sum_log(M)
                _invert_root(M)  # the inverse of the diagonal stands in its place
            else:
                for j in range(J):
                    M[j] *= L[k, k, j]
    for c in range(p):
        for i in range(p):
            out = N[i, c]
            for j in range(J):
                out[j] = lam[c, i]
            for l in range(i):
                _add_product(out, -1.0, L[i, l], N[l, c])
            for j in range(J):
                out[j] *= L[i, i, j]
    return log_det


@_inner
def _carry(N, C, B):  # type: ignore[no-untyped-def]
    """B = N C (p, r, J) of every level."""
    p, r, J = C.shape
    for k in range(p):
        for x in range(r):
            for j in range(J):
                B[k, x, j] = 0.0
            for a in range(p):
                _add_product(B[k, x], 1.0, N[k, a], C[a, x])


@_inner
def _carry_sparse(N, indptr, vals, B):  # type: ignore[no-untyped-def]
    """The same for the columns of the tail (nnz, p)."""
    p = N.shape[0]
    for i in range(N.shape[2]):
        for u in range(int(indptr[i]), int(indptr[i + 1])):
            for k in range(p):
                total = 0.0
                for a in range(p):
                    total += N[k, a, i] * vals[u, a]
                B[u, k] = total


@_inner
def _eliminate(indptr, cols, Bt, B, Q):  # type: ignore[no-untyped-def]
    """Q −= Σ B_iᵀB_i in its lower triangle."""
    p, r, J = B.shape
    t = Q.shape[0] - r
    for x in range(r):
        for y in range(x + 1):
            for k in range(p):
                Q[t + x, t + y] -= _dot(B[k, x], B[k, y])
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


@_inner
def _scale_tail(lam, sizes, levels, first, reach, R, H):  # type: ignore[no-untyped-def]
    """Turn the symmetric Q, in R, into QΛ, and fill the lower triangle of H = ΛᵀR + E."""
    m, t = R.shape[0], reach.shape[0]
    row, at = 0, int(sizes[0]) * int(sizes[0])
    scaled = np.empty(t)
    for f in range(1, sizes.shape[0]):
        p = int(sizes[f])
        for _ in range(int(levels[f])):
            for border in range(2):
                low, high = (t, m) if border else (int(first[row]), int(reach[row]))
                for x in range(low, high):
                    for k in range(p):
                        scaled[k] = 0.0
                        for a in range(p):
                            scaled[k] += R[x, row + a] * lam[at + a * p + k]
                    for k in range(p):
                        R[x, row + k] = scaled[k]
            row += p
        at += p * p
    for x in range(t, m):
        for y in range(x + 1):
            H[x, y] = R[x, y]
    row, at = 0, int(sizes[0]) * int(sizes[0])
    for f in range(1, sizes.shape[0]):
        p = int(sizes[f])
        for _ in range(int(levels[f])):
            for k in range(p):
                for y in range(int(first[row]), row + k + 1):
                    total = 0.0
                    for a in range(p):
                        total += lam[at + a * p + k] * R[row + a, y]
                    H[row + k, y] = total
                H[row + k, row + k] += 1.0
            row += p
        at += p * p


@_inner
def _cholesky(H, first):  # type: ignore[no-untyped-def]
    """Lower factor in place of the lower triangle, each row from its first entry on; false where there is none."""
    for i in range(H.shape[0]):
        row, low = H[i], int(first[i])
        for j in range(low, i):
            row[j] = (row[j] - _dot_within(row, H[j], max(low, int(first[j])), j)) / H[j, j]
        total = row[i] - _dot_within(row, row, low, i)
        if not total > 0.0:
            return False
        row[i] = math.sqrt(total)
    return True


@_inner
def _symmetric(Q, first):  # type: ignore[no-untyped-def]
    for i in range(Q.shape[0]):
        for j in range(int(first[i]), i):
            Q[j, i] = Q[i, j]


@_inner
def _factorize(lam, s2, K, u, N, B, Bt, R, H):  # type: ignore[no-untyped-def]
    """Fill N, B, R and the Cholesky factor H; Σ log|M_i|, NaN where something is not positive definite."""
    sizes, levels, first = _part(u, u[AT_SIZES:]), _part(u, u[AT_LEVELS:]), _part(u, u[AT_FIRST:])
    m, r = H.shape[0], int(_part(u, u[AT_NUMBERS:])[COEFFICIENTS])
    Q = R if m > r else H
    _copy(_part(u, u[AT_TAIL:]).reshape((m, m)), Q)
    log_det = 0.0
    if sizes.shape[0]:
        p, J = int(sizes[0]), int(levels[0])
        A, C = _part(u, u[AT_A:]).reshape((p, p, J)), _part(u, u[AT_C:]).reshape((p, r, J))
        indptr = _part(u, u[AT_INDPTR:])
        log_det = _factor_levels(lam[: p * p].reshape((p, p)), A, N)
        _carry(N, C, B)
        _carry_sparse(N, indptr, _part(u, u[AT_VALUES:]).reshape((-1, p)), Bt)
        _eliminate(indptr, _part(u, u[AT_COLS:]), Bt, B, Q)
    if m > r:
        _symmetric(Q, first)
        _scale_tail(lam, sizes, levels, first, _part(u, u[AT_REACH:]), R, H)
    for i in range(r):
        for j in range(i + 1):
            H[m - r + i, m - r + j] += s2 * K[i, j]
    return log_det if _cholesky(H, first) else math.nan


@_inner
def _adjoint(H, first, reach, v, s2, Hbar):  # type: ignore[no-untyped-def]
    """Fill zeros with H̄ (symmetric) where H may have entries, from its factor H; log|H_aa| and r²."""
    m, e, t = H.shape[0], v.shape[0], reach.shape[0]
    a = m - e
    w, column = np.zeros(m), np.zeros(a)
    log_det, rss = 0.0, 0.0
    for j in range(e):
        w[a + j] = v[j]
        total = 0.0
        for i in range(j, e):
            total += H[a + i, a + j] * v[i]
        rss += total * total
        _add_scaled(w[:a], -v[j], H[a + j, :a])
    for j in range(a - 1, -1, -1):
        log_det += 2.0 * math.log(H[j, j])
        w[j] /= H[j, j]
        _add_scaled(w[int(first[j]) : j], -w[j], H[j, int(first[j]) : j])
        end, border = (int(reach[j]), t) if j < t else (a, a)
        for part in range(2):
            for i in range(border if part else j + 1, a if part else end):
                column[i] = H[i, j] if first[i] <= j else 0.0
        for part in range(2):
            for i in range(border if part else j + 1, a if part else end):
                if first[i] <= j:
                    total = _dot_within(Hbar[i], column, j + 1, end) + _dot_within(Hbar[i], column, border, a)
                    Hbar[i, j] = -total / H[j, j]
                    Hbar[j, i] = Hbar[i, j]
        total = _dot_within(Hbar[j], column, j + 1, end) + _dot_within(Hbar[j], column, border, a)
        Hbar[j, j] = (1.0 / H[j, j] - total) / H[j, j]
    for i in range(m):
        for j in range(int(first[i]), i + 1):
            Hbar[i, j] += w[i] * w[j] / s2
            Hbar[j, i] = Hbar[i, j]
    return log_det, rss


@_inner
def _tail_back(lam, sizes, levels, first, reach, R, Hbar, lam_bar):  # type: ignore[no-untyped-def]
    """Add 2 QΛH̄ by blocks to `lam_bar`, and turn H̄ into Q̄ = ΛH̄Λᵀ."""
    m, t = R.shape[0], reach.shape[0]
    row, at = 0, int(sizes[0]) * int(sizes[0])
    column = np.empty(t)
    for f in range(1, sizes.shape[0]):
        p = int(sizes[f])
        for _ in range(int(levels[f])):
            low, high = int(first[row]), int(reach[row])
            for a in range(p):
                for k in range(p):
                    of_Q, of_H = R[row + a], Hbar[row + k]
                    total = _dot_within(of_Q, of_H, low, high) + _dot_within(of_Q, of_H, t, m)
                    lam_bar[at + a * p + k] += 2.0 * total
            row += p
        at += p * p
    for transposed in range(2):
        row, at = 0, int(sizes[0]) * int(sizes[0])
        for f in range(1, sizes.shape[0]):
            p = int(sizes[f])
            for _ in range(int(levels[f])):
                for border in range(2):
                    low, high = (t, m) if border else (int(first[row]), int(reach[row]))
                    for x in range(low, high):
                        for a in range(p):
                            total = 0.0
                            for k in range(p):
                                value = Hbar[row + k, x] if transposed else Hbar[x, row + k]
                                total += lam[at + a * p + k] * value
                            column[a] = total
                        for a in range(p):
                            if transposed:
                                Hbar[row + a, x] = column[a]
                            else:
                                Hbar[x, row + a] = column[a]
                row += p
            at += p * p


@_inner
def _levels_back(lam, A, indptr, cols, vals, C, N, Bt, B, Qbar, lam_bar):  # type: ignore[no-untyped-def]
    """Add 2Wλ to `lam_bar`, with W = Σ A_i − P_iP_iᵀ − E_iQ̄E_iᵀ, P = A Nᵀ and E = C − P B; Bt is overwritten."""
    p, r, J = C.shape
    t = Qbar.shape[0] - r
    P, E, W = np.zeros((p, p, J)), np.empty((p, r, J)), np.zeros((p, p))
    for a in range(p):
        for k in range(p):
            for c in range(p):
                _add_product(P[a, k], 1.0, A[a, c], N[k, c])
        for x in range(r):
            for i in range(J):
                E[a, x, i] = C[a, x, i]
            for k in range(p):
                _add_product(E[a, x], -1.0, P[a, k], B[k, x])
    for a in range(p):
        for b in range(a + 1):
            total = 0.0
            for i in range(J):
                total += A[a, b, i]
            for k in range(p):
                total -= _dot(P[a, k], P[b, k])
            for x in range(r):
                for y in range(r):
                    total -= Qbar[t + x, t + y] * _dot(E[a, x], E[b, y])
            W[a, b] = total
            W[b, a] = total
    half = np.empty(p)
    for i in range(J if t > 0 else 0):
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
    for a in range(p):
        for k in range(p):
            for b in range(p):
                lam_bar[a * p + k] += 2.0 * W[a, b] * lam[b, k]


@_inner
def _corner_back(H, K, v, s2, rss, Hbar, v_bar):  # type: ignore[no-untyped-def]
    """Derivative of the deviance in s², but for that of ν log 2πσ²; that in v is filled in."""
    m, r, e = H.shape[0], K.shape[0], v.shape[0]
    s2_bar = -rss / (s2 * s2)
    for i in range(r):
        for j in range(r):
            s2_bar += Hbar[m - r + i, m - r + j] * K[i, j]
    a = m - e
    for i in range(e):
        total = 0.0
        for j in range(e):
            for k in range(j, e):
                if j <= i:
                    total += H[a + i, a + j] * H[a + k, a + j] * v[k]
        v_bar[i] = 2.0 * total / s2
    return s2_bar


@_inner
def _theta(terms, values, sigma, n_sd, flat, theta):  # type: ignore[no-untyped-def]
    """θ from sds (or the diagonal of λ) and partial correlations (or its other entries)."""
    for i in range(terms.shape[0]):
        structured, size = terms[i, 0] == 1.0, int(terms[i, 1])
        sd, partial, at = int(terms[i, 2]), n_sd + int(terms[i, 3]), int(terms[i, 4])
        if not structured:
            for j in range(int(terms[i, 5])):
                theta[at + j] = values[sd + j] if flat else values[sd + j] / sigma
        elif flat:
            for column in range(size):
                for row in range(column, size):
                    if row == column:
                        theta[at] = values[sd + row]
                    else:
                        theta[at] = values[partial]
                        partial += 1
                    at += 1
        else:
            root = np.zeros((size, size))
            _roots(values[partial:], size, root)
            for column in range(size):
                for row in range(column, size):
                    theta[at] = values[sd + row] / sigma * root[row, column]
                    at += 1


@_inner
def _theta_back(terms, values, sigma, n_sd, flat, theta, theta_bar, bar):  # type: ignore[no-untyped-def]
    """Derivatives in the values from those in θ; returns the one in σ."""
    sigma_bar = 0.0
    for i in range(terms.shape[0]):
        structured, size = terms[i, 0] == 1.0, int(terms[i, 1])
        sd, partial, at = int(terms[i, 2]), n_sd + int(terms[i, 3]), int(terms[i, 4])
        if not structured:
            for j in range(int(terms[i, 5])):
                bar[sd + j] += theta_bar[at + j] if flat else theta_bar[at + j] / sigma
                if not flat:
                    sigma_bar -= theta_bar[at + j] * theta[at + j] / sigma
        elif flat:
            for column in range(size):
                for row in range(column, size):
                    if row == column:
                        bar[sd + row] += theta_bar[at]
                    else:
                        bar[partial] += theta_bar[at]
                        partial += 1
                    at += 1
        else:
            root, root_bar = np.zeros((size, size)), np.zeros((size, size))
            _roots(values[partial:], size, root)
            for column in range(size):
                for row in range(column, size):
                    bar[sd + row] += theta_bar[at] * root[row, column] / sigma
                    root_bar[row, column] = theta_bar[at] * values[sd + row] / sigma
                    sigma_bar -= theta_bar[at] * theta[at] / sigma
                    at += 1
            _roots_back(values[partial:], size, root, root_bar, bar[partial:])
    return sigma_bar


@_compiled
def hyper_forward(q, u, values, theta, gradient):  # type: ignore[no-untyped-def]
    """Log prior density at unconstrained `q` (d,), with its derivative in `gradient`; fills `values` and `theta`.

    The Jacobian of the transformation is in it. Values are standard deviations (or the diagonal of λ), partial
    correlations (or the other entries of λ), σ and sampled coefficients.
    """
    terms, priors, numbers = (
        _part(u, u[AT_TERMS:]).reshape((-1, 6)),
        _part(u, u[AT_PRIORS:]).reshape((-1, 4)),
        _part(u, u[AT_NUMBERS:]),
    )
    shapes, d, s = _part(u, u[AT_VINE:]), q.shape[0], _part(u, u[AT_ORIGIN:]).shape[0]
    known, n_sd, flat = numbers[KNOWN], int(numbers[N_SD]), numbers[FLAT] == 1.0
    total = 0.0
    for i in range(d):
        family = priors[i, 0]
        if family < 0.0 and flat:
            values[i], gradient[i] = q[i], 0.0
        elif family < 0.0:
            z, a, x = math.tanh(0.5 * q[i]), shapes[i - n_sd], abs(q[i])
            values[i], gradient[i] = z, -a * z
            # a log (1 − z²) less log 2: without 1 − z², which large |q| would lose
            total += a * (2.0 * (LOG_2 - math.log1p(math.exp(-x))) - x) - LOG_2
        elif i >= d - s:
            values[i] = q[i]
            log_density, gradient[i] = _scalar_prior(family, priors[i, 1], priors[i, 2], priors[i, 3], q[i], 0.0)
            total += log_density
        else:
            x = math.exp(q[i])
            log_density, slope = _scalar_prior(family, priors[i, 1], priors[i, 2], priors[i, 3], x, q[i])
            jacobian = 0.0 if family == 4.0 else 1.0
            values[i], gradient[i] = x, x * slope + jacobian
            total += log_density + jacobian * q[i]
    sigma = known if known > 0.0 else values[n_sd + int(numbers[N_PARTIAL])]
    _theta(terms, values, sigma, n_sd, flat, theta)
    return total, sigma


@_compiled
def hyper_backward(u, values, theta, sigma, theta_bar, sigma_bar, fixed_bar, gradient):  # type: ignore[no-untyped-def]
    """Add to `gradient` what the derivatives in θ, σ and the sampled coefficients amount to."""
    terms, numbers, d = (_part(u, u[AT_TERMS:]).reshape((-1, 6)), _part(u, u[AT_NUMBERS:]), values.shape[0])
    known, n_sd, flat = numbers[KNOWN], int(numbers[N_SD]), numbers[FLAT] == 1.0
    at_sigma, s = n_sd + int(numbers[N_PARTIAL]), fixed_bar.shape[0]
    bar = np.zeros(d)
    sigma_bar += _theta_back(terms, values, sigma, n_sd, flat, theta, theta_bar, bar)
    for i in range(n_sd):
        gradient[i] += values[i] * bar[i]
    for i in range(n_sd, at_sigma):
        gradient[i] += bar[i] if flat else bar[i] * 0.5 * (1.0 - values[i] ** 2)
    if known <= 0.0:
        gradient[at_sigma] += sigma * sigma_bar
    for i in range(s):
        gradient[d - s + i] += fixed_bar[i]


@_inner
def _law(kind, numbers, rho, logs, slopes, prior):  # type: ignore[no-untyped-def]
    """Fill τ (K,) of a law of residuals and ∂τ/∂ρ (n_rho, K); log prior density of ρ, its slopes in `prior`.

    The same as the classes derived from :class:`~_ranef.residuals.BasisLaw`.
    """
    r, K, x = rho.shape[0], logs.shape[0], rho[0]
    if kind == 1.0:  # strata
        total, squares = 0.0, 0.0
        for i in range(r):
            total += rho[i]
            squares += rho[i] * rho[i]
            for k in range(K):
                slopes[i, k] = numbers[i * K + k]
                logs[k] += rho[i] * slopes[i, k]
        for i in range(r):
            prior[i] = total / (r + 1) - rho[i]
        log_scale = math.log(r + 1.0) + r * math.log(2.0 * math.pi)
        return -0.5 * (log_scale + squares - total * total / (r + 1))
    if kind == 4.0:  # exchangeable
        share, least = 0.5 * (1.0 + math.tanh(0.5 * x)), numbers[0]
        logs[0], slopes[0, 0], prior[0] = -math.log((1.0 - least) * (1.0 - share)), share, -math.tanh(0.5 * x)
        for k in range(1, K):
            between = 1.0 + (numbers[k] - 1.0) * (least + (1.0 - least) * share)
            logs[k] = -math.log(between)
            slopes[0, k] = -(numbers[k] - 1.0) * (1.0 - least) * share * (1.0 - share) / between
        return -abs(x) - 2.0 * math.log1p(math.exp(-abs(x)))
    phi, rate = math.tanh(x), math.exp(-x)
    for i in range(numbers.shape[0]):  # autoregression
        gap = numbers[i]
        if kind == 3.0:
            auto, change = phi**gap, gap * phi ** (gap - 1.0) * (1.0 - phi * phi)
        else:
            auto = math.exp(-gap * rate)
            change = gap * rate * auto
        logs[1 + 2 * i], logs[2 + 2 * i] = -math.log(1.0 + auto), -math.log(1.0 - auto)
        slopes[0, 1 + 2 * i], slopes[0, 2 + 2 * i] = -change / (1.0 + auto), change / (1.0 - auto)
    if kind == 3.0:
        prior[0] = -2.0 * phi
        return -LOG_2 - 2.0 * (abs(x) - LOG_2 + math.log1p(math.exp(-2.0 * abs(x))))
    prior[0] = rate - 1.0
    return -rate - x


@_inner
def _at_rho(u, rho, c, slopes, prior):  # type: ignore[no-untyped-def]
    """The packed model at ρ, without its fixed parts, and the log prior density of ρ; itself where there is none.

    Fills the coefficients c (K,) of the parts, ∂log c/∂ρ, and the slopes of the log prior.
    """
    numbers, counts = (_part(u, u[AT_NUMBERS:]), _part(u, u[AT_COUNTS:]))
    if not rho.shape[0]:
        return u, 0.0
    log_prior = _law(numbers[LAW], _part(u, u[AT_LAW:]), rho, c, slopes, prior)
    parts, first = _part(u, u[AT_PARTS:]).reshape((c.shape[0], -1)), int(u[AT_A])
    own = u[: int(u[AT_PARTS])].copy()
    own[first : first + parts.shape[1]] = 0.0
    for k in range(c.shape[0]):
        own[int(u[AT_NUMBERS]) + CONSTANT] -= counts[k] * c[k]
        c[k] = math.exp(c[k])
        _add_scaled(own[first : first + parts.shape[1]], c[k], parts[k])
    return own, log_prior


@_inner
def _products_back(indptr, cols, N, Bt, B, Qbar, A_bar, vals_bar, C_bar):  # type: ignore[no-untyped-def]
    """Add Ā (p, p, J) and C̄ (nnz, p) and (p, r, J) to zeros, with G = K C = Nᵀ B."""
    p, r, J = B.shape
    t = Qbar.shape[0] - r
    G, sparse = np.zeros((p, r, J)), np.zeros((Bt.shape[0], p))
    for a in range(p):
        for x in range(r):
            for k in range(p):
                _add_product(G[a, x], 1.0, N[k, a], B[k, x])
        for x in range(r):
            for y in range(r):
                _add_scaled(C_bar[a, x], -2.0 * Qbar[t + y, t + x], G[a, y])
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
                _add_product(A_bar[a, b], 1.0, N[k, a], N[k, b])
            for x in range(r):
                _add_product(A_bar[a, b], -0.5, C_bar[a, x], G[b, x])


@_compiled
def log_likelihood(lam, sigma, u):  # type: ignore[no-untyped-def]
    """Log p(y | θ, σ), all coefficients integrated out, less the log constants of the priors."""
    sizes, levels, numbers = (_part(u, u[AT_SIZES:]), _part(u, u[AT_LEVELS:]), _part(u, u[AT_NUMBERS:]))
    m, r = int(numbers[BORDERED]), int(numbers[COEFFICIENTS])
    p = int(sizes[0]) if sizes.shape[0] else 0
    J = int(levels[0]) if sizes.shape[0] else 0
    N, B, Bt = np.empty((p, p, J)), np.empty((p, r, J)), np.empty((_part(u, u[AT_COLS:]).shape[0], p))
    R, H = np.empty((m, m)), np.empty((m, m))
    s2 = (sigma / numbers[UNIT]) ** 2
    deviance = _factorize(lam, s2, _part(u, u[AT_K:]).reshape((r, r)), u, N, B, Bt, R, H) + H[m - 1, m - 1] ** 2 / s2
    for i in range(m - 1):
        deviance += 2.0 * math.log(H[i, i])
    return -0.5 * (deviance + numbers[NU] * math.log(2.0 * math.pi * sigma * sigma) + numbers[CONSTANT])


@_compiled
def likelihood_of_products(lam, sigma, sampled, u, lam_bar, v_bar, bar):  # type: ignore[no-untyped-def]
    """Log p(y | λ, σ, sampled coefficients) and its slope in σ; NaN where λ is too far out.

    Fills ∂(−2 log p)/∂λ, the slopes in the sampled coefficients (s + 1,), of which the last means nothing, and, if
    `bar` has a length, ∂(−2 log p) in the cross-products.
    """
    sizes, levels, numbers, origin = (
        _part(u, u[AT_SIZES:]),
        _part(u, u[AT_LEVELS:]),
        _part(u, u[AT_NUMBERS:]),
        _part(u, u[AT_ORIGIN:]),
    )
    nu, unit, r, m = numbers[NU], numbers[UNIT], int(numbers[COEFFICIENTS]), int(numbers[BORDERED])
    s, s2, v = origin.shape[0], (sigma / unit) ** 2, np.ones(origin.shape[0] + 1)
    for i in range(s):
        v[i] = -(sampled[i] - origin[i]) / unit
    p = int(sizes[0]) if sizes.shape[0] else 0
    J = int(levels[0]) if sizes.shape[0] else 0
    N, B, Bt = np.empty((p, p, J)), np.empty((p, r, J)), np.empty((_part(u, u[AT_COLS:]).shape[0], p))
    R, H, Hbar = np.empty((m, m)), np.empty((m, m)), np.zeros((m, m))
    first, reach = _part(u, u[AT_FIRST:]), _part(u, u[AT_REACH:])
    K = _part(u, u[AT_K:]).reshape((r, r))
    deviance = _factorize(lam, s2, K, u, N, B, Bt, R, H)
    if not math.isfinite(deviance):
        return math.nan, math.nan
    log_det, rss = _adjoint(H, first, reach, v, s2, Hbar)
    s2_bar = _corner_back(H, K, v, s2, rss, Hbar, v_bar)
    if m > r:
        _tail_back(lam, sizes, levels, first, reach, R, Hbar, lam_bar)
    if bar.shape[0]:
        _copy(Hbar, bar[bar.shape[0] - m * m :].reshape((m, m)))
    if p > 0:
        A, C = _part(u, u[AT_A:]).reshape((p, p, J)), _part(u, u[AT_C:]).reshape((p, r, J))
        vals, lam1 = _part(u, u[AT_VALUES:]).reshape((-1, p)), lam[: p * p].reshape((p, p))
        indptr, cols = _part(u, u[AT_INDPTR:]), _part(u, u[AT_COLS:])
        if bar.shape[0]:
            at_vals, at_C = p * p * J, p * p * J + vals.size
            _products_back(
                indptr,
                cols,
                N,
                Bt,
                B,
                Hbar,
                bar[:at_vals].reshape((p, p, J)),
                bar[at_vals:at_C].reshape((-1, p)),
                bar[at_C : at_C + p * r * J].reshape((p, r, J)),
            )
        _levels_back(lam1, A, indptr, cols, vals, C, N, Bt, B, Hbar, lam_bar)
    for i in range(s):
        v_bar[i] *= 0.5 / unit
    deviance += log_det + rss / s2 + nu * math.log(2.0 * math.pi * sigma * sigma) + numbers[CONSTANT]
    return -0.5 * deviance, -nu / sigma - s2_bar * sigma / (unit * unit)


@_compiled
def likelihood(lam, sigma, sampled, rho, packed, lam_bar, v_bar, rho_bar):  # type: ignore[no-untyped-def]
    """The same of log p(y | λ, σ, ρ, sampled coefficients) p(ρ), with its slopes in ρ."""
    n_parts = int(packed[AT_COUNTS + 1])
    c, slopes = np.zeros(n_parts), np.zeros((rho.shape[0], n_parts))
    u, log_prior = _at_rho(packed, rho, c, slopes, rho_bar)
    bar = np.zeros(int(packed[AT_PARTS + 1]) // max(n_parts, 1))
    value, sigma_bar = likelihood_of_products(lam, sigma, sampled, u, lam_bar, v_bar, bar)
    counts, parts = (
        _part(packed, packed[AT_COUNTS:]),
        _part(packed, packed[AT_PARTS:]).reshape((n_parts, bar.shape[0])),
    )
    for k in range(n_parts):
        of_log = 0.5 * (counts[k] - c[k] * _dot(parts[k], bar))
        for i in range(rho.shape[0]):
            rho_bar[i] += of_log * slopes[i, k]
    return log_prior + value, sigma_bar


@_compiled
def density(w, u, gradient):  # type: ignore[no-untyped-def]
    """Log posterior density at whitened `w` (d,), q = centre + root w, of the model packed in `u`; fills `gradient`."""
    fill, numbers = _part(u, u[AT_FILL:]), _part(u, u[AT_NUMBERS:])
    origin, centre, root = (_part(u, u[AT_ORIGIN:]), _part(u, u[AT_CENTRE:]), _part(u, u[AT_ROOT:]))
    d, s, n_theta, h = w.shape[0], origin.shape[0], int(numbers[N_THETA]), w.shape[0] - int(numbers[N_RHO])
    q, slope, values = np.empty(d), np.empty(d), np.empty(h)
    theta, theta_bar = np.empty(n_theta), np.zeros(n_theta)
    for i in range(d):
        q[i] = centre[i]
        for j in range(d):
            q[i] += root[i * d + j] * w[j]
    total, sigma = hyper_forward(q[:h], u, values, theta, slope[:h])
    n_lam = fill.shape[0] // max(n_theta, 1)
    lam, lam_bar, v_bar = np.zeros(n_lam), np.zeros(n_lam), np.zeros(s + 1)
    for i in range(n_lam):
        for j in range(n_theta):
            lam[i] += fill[i * n_theta + j] * theta[j]
    value, sigma_bar = likelihood(lam, sigma, values[h - s :], q[h:], u, lam_bar, v_bar, slope[h:])
    if not math.isfinite(value):
        return math.nan
    for i in range(n_lam):
        for j in range(n_theta):
            theta_bar[j] -= 0.5 * lam_bar[i] * fill[i * n_theta + j]
    hyper_backward(u, values, theta, sigma, theta_bar, sigma_bar, v_bar[:s], slope[:h])
    for j in range(d):
        gradient[j] = 0.0
        for i in range(d):
            gradient[j] += root[i * d + j] * slope[i]
    return total + value


def _density_by_pointer(d, w_, gradient_, value_, u_):  # type: ignore[no-untyped-def]
    """:func:`density` behind a C pointer; not zero where the density is not finite."""
    n = int(_carray(u_, (1,))[0])
    u = _carray(u_, (n + 1,))[1:]
    w, gradient, value = _carray(w_, (d,)), _carray(gradient_, (d,)), _carray(value_, (1,))
    value[0] = density(w, u, gradient)
    if not math.isfinite(value[0]):
        return 1
    for i in range(d):
        if not math.isfinite(gradient[i]):
            return 1
    return 0


def _copy_by_pointer(d, n, w_, out_, u_):  # type: ignore[no-untyped-def]
    """The identity behind a C pointer: a sampler asks what to keep of a draw."""
    w, out = _carray(w_, (d,)), _carray(out_, (n,))
    for i in range(n):
        out[i] = w[i]
    return 0


@cache
def c_density() -> Any:
    """The density as a C function, compiled when first asked for."""
    doubles = _types.CPointer(_types.float64)
    return c_function(_types.int64(_types.uint64, *[doubles] * 4))(_density_by_pointer)  # d, q, gradient, value, data


@cache
def c_copy() -> Any:
    """The identity."""
    doubles, size = _types.CPointer(_types.float64), _types.uint64
    return c_function(_types.int64(size, size, *[doubles] * 3))(_copy_by_pointer)  # d, n, q, what is kept, data


@_compiled
def draw_effects(lam, s2, v, rho, K, packed, noise, integrated, first):  # type: ignore[no-untyped-def]
    """Exact draws at λ (n, ·), s² (n,), v (n, s + 1), ρ (n, ·) and K (n or 1, r, r), from normal `noise` (n, a + J p).

    Fills `integrated` (n, a), the tail's random effects and the coefficients integrated out, and `first` (n, J, p), the
    effects of the first factor; internal scale.
    """
    u, n_parts = packed, int(packed[AT_COUNTS + 1])
    sizes, levels = _part(u, u[AT_SIZES:]), _part(u, u[AT_LEVELS:])
    r, m, e = (int(_part(u, u[AT_NUMBERS:])[COEFFICIENTS]), int(_part(u, u[AT_NUMBERS:])[BORDERED]), v.shape[1])
    t, a = m - r, m - e
    p = int(sizes[0]) if sizes.shape[0] else 0
    J = int(levels[0]) if sizes.shape[0] else 0
    N, B, Bt = np.empty((p, p, J)), np.empty((p, r, J)), np.empty((_part(u, u[AT_COLS:]).shape[0], p))
    R, H = np.empty((m, m)), np.zeros((m, m))  # of H what has no entries stays zero
    indptr, cols = _part(u, u[AT_INDPTR:]), _part(u, u[AT_COLS:])
    rhs, white, x = np.empty(p), np.empty(p), np.empty(a)
    for draw in range(s2.shape[0]):
        slopes, unused = np.zeros((rho.shape[1], n_parts)), np.zeros(rho.shape[1])
        u, _ = _at_rho(packed, rho[draw], np.zeros(n_parts), slopes, unused)
        C = _part(u, u[AT_C:]).reshape((p, r, J))
        vals = _part(u, u[AT_VALUES:]).reshape((-1, max(p, 1)))
        _factorize(lam[draw], s2[draw], K[draw % K.shape[0]], u, N, B, Bt, R, H)
        s = math.sqrt(s2[draw])
        for j in range(a - 1, -1, -1):
            total = s * noise[draw, j]
            for i in range(e):
                total += H[a + i, j] * v[draw, i]
            for i in range(j + 1, a):
                total -= H[i, j] * x[i]
            x[j] = total / H[j, j]
        row, at = 0, p * p
        for f in range(1, sizes.shape[0]):
            k = int(sizes[f])
            for _ in range(int(levels[f])):
                for i in range(k):
                    total = 0.0
                    for j in range(k):
                        total += lam[draw, at + i * k + j] * x[row + j]
                    integrated[draw, row + i] = total
                row += k
            at += k * k
        for j in range(t, a):
            integrated[draw, j] = x[j]
        for i in range(J):
            # b = K(C v − C x) + s λL⁻ᵀε, with K = NᵀN and λL⁻ᵀ = Nᵀ
            for k in range(p):
                total = 0.0
                for y in range(int(indptr[i]), int(indptr[i + 1])):
                    total -= vals[y, k] * integrated[draw, int(cols[y])]
                for y in range(a - t):
                    total -= C[k, y, i] * integrated[draw, t + y]
                for y in range(e):
                    total += C[k, a - t + y, i] * v[draw, y]
                rhs[k] = total
            for k in range(p):
                total = s * noise[draw, a + i * p + k]
                for c in range(p):
                    total += N[k, c, i] * rhs[c]
                white[k] = total
            for c in range(p):
                total = 0.0
                for k in range(p):
                    total += N[k, c, i] * white[k]
                first[draw, i, c] = total
