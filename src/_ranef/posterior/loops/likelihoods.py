"""log p(y | λ, σ, ρ) with its slopes."""

from __future__ import annotations

import math

import numpy as np

from _ranef.posterior.loops.dense_tail import adjoint, cholesky, corner_back, fill_upper, scale_tail, tail_back
from _ranef.posterior.loops.levels import carry, carry_sparse, eliminate, factor_levels, levels_back
from _ranef.posterior.loops.packed_places import (
    AT_A,
    AT_C,
    AT_COLS,
    AT_COUNTS,
    AT_FIRST,
    AT_INDPTR,
    AT_K,
    AT_LEVELS,
    AT_NUMBERS,
    AT_ORIGIN,
    AT_PARTS,
    AT_REACH,
    AT_SIZES,
    AT_TAIL,
    AT_VALUES,
    BORDERED,
    COEFFICIENTS,
    CONSTANT,
    NU,
    UNIT,
    copy_matrix,
    inner,
    outer,
    part_of,
)
from _ranef.posterior.loops.residual_laws import at_rho
from _ranef.posterior.loops.vectors import dot

__all__ = ["factorize", "likelihood", "likelihood_of_products", "log_likelihood"]


@inner
def room(u):  # type: ignore[no-untyped-def]
    """Arrays S, N, B, Bt, R and H that :func:`factorize` fills; of H what has no entries stays zero."""
    sizes, numbers = part_of(u, u[AT_SIZES:]), part_of(u, u[AT_NUMBERS:])
    p = int(sizes[0]) if sizes.shape[0] else 0
    J = int(part_of(u, u[AT_LEVELS:])[0]) if sizes.shape[0] else 0
    m, r = int(numbers[BORDERED]), int(numbers[COEFFICIENTS])
    Bt = np.empty((part_of(u, u[AT_COLS:]).shape[0], p))
    return np.zeros((p, p, J)), np.empty((p, p, J)), np.empty((p, r, J)), Bt, np.empty((m, m)), np.zeros((m, m))


@inner
def factorize(lam, s2, K, u, S, N, B, Bt, R, H):  # type: ignore[no-untyped-def]
    """Fill S, N, B, R and the Cholesky factor H; Σ log|M_i|, NaN where something is not positive definite."""
    sizes, levels, first = part_of(u, u[AT_SIZES:]), part_of(u, u[AT_LEVELS:]), part_of(u, u[AT_FIRST:])
    m, r = H.shape[0], int(part_of(u, u[AT_NUMBERS:])[COEFFICIENTS])
    Q = R if m > r else H
    copy_matrix(part_of(u, u[AT_TAIL:]).reshape((m, m)), Q)
    log_det = 0.0
    if sizes.shape[0]:
        p, J = int(sizes[0]), int(levels[0])
        A, C = part_of(u, u[AT_A:]).reshape((p, p, J)), part_of(u, u[AT_C:]).reshape((p, r, J))
        indptr = part_of(u, u[AT_INDPTR:])
        log_det = factor_levels(lam[: p * p].reshape((p, p)), A, S, N)
        carry(N, C, B)
        carry_sparse(N, indptr, part_of(u, u[AT_VALUES:]).reshape((-1, p)), Bt)
        eliminate(indptr, part_of(u, u[AT_COLS:]), Bt, B, Q)
    if m > r:
        fill_upper(Q, first)
        scale_tail(lam, sizes, levels, first, part_of(u, u[AT_REACH:]), R, H)
    for i in range(r):
        for j in range(i + 1):
            H[m - r + i, m - r + j] += s2 * K[i, j]
    return log_det if cholesky(H, first) else math.nan


@outer
def log_likelihood(lam, sigma, u):  # type: ignore[no-untyped-def]
    """Log p(y | θ, σ), all coefficients integrated out, less the log constants of the priors."""
    numbers = part_of(u, u[AT_NUMBERS:])
    m, r = int(numbers[BORDERED]), int(numbers[COEFFICIENTS])
    S, N, B, Bt, R, H = room(u)
    s2 = (sigma / numbers[UNIT]) ** 2
    deviance = (
        factorize(lam, s2, part_of(u, u[AT_K:]).reshape((r, r)), u, S, N, B, Bt, R, H) + H[m - 1, m - 1] ** 2 / s2
    )
    for i in range(m - 1):
        deviance += 2.0 * math.log(H[i, i])
    return -0.5 * (deviance + numbers[NU] * math.log(2.0 * math.pi * sigma * sigma) + numbers[CONSTANT])


@outer
def likelihood_of_products(lam, sigma, sampled, u, lam_bar, v_bar, bar):  # type: ignore[no-untyped-def]
    """Log p(y | λ, σ, sampled coefficients) and its slope in σ; NaN where λ is too far out.

    Fills ∂(−2 log p)/∂λ, the slopes in the sampled coefficients (s + 1,), of which the last means nothing, and, if
    `bar` has a length, ∂(−2 log p) in the cross-products.
    """
    sizes, levels, numbers, origin = (
        part_of(u, u[AT_SIZES:]),
        part_of(u, u[AT_LEVELS:]),
        part_of(u, u[AT_NUMBERS:]),
        part_of(u, u[AT_ORIGIN:]),
    )
    nu, unit, r, m = numbers[NU], numbers[UNIT], int(numbers[COEFFICIENTS]), int(numbers[BORDERED])
    s, s2, v = origin.shape[0], (sigma / unit) ** 2, np.ones(origin.shape[0] + 1)
    for i in range(s):
        v[i] = -(sampled[i] - origin[i]) / unit
    S, N, B, Bt, R, H = room(u)
    p, _, J = B.shape
    Hbar = np.zeros((m, m))
    first, reach = part_of(u, u[AT_FIRST:]), part_of(u, u[AT_REACH:])
    K = part_of(u, u[AT_K:]).reshape((r, r))
    deviance = factorize(lam, s2, K, u, S, N, B, Bt, R, H)
    if not math.isfinite(deviance):
        return math.nan, math.nan
    log_det, rss = adjoint(H, first, reach, v, s2, Hbar)
    s2_bar = corner_back(H, K, v, s2, rss, Hbar, v_bar)
    if m > r:
        tail_back(lam, sizes, levels, first, reach, R, Hbar, lam_bar)
    if bar.shape[0]:
        copy_matrix(Hbar, bar[bar.shape[0] - m * m :].reshape((m, m)))
    if p > 0:
        A, C = part_of(u, u[AT_A:]).reshape((p, p, J)), part_of(u, u[AT_C:]).reshape((p, r, J))
        vals, lam1 = part_of(u, u[AT_VALUES:]).reshape((-1, p)), lam[: p * p].reshape((p, p))
        indptr, cols = part_of(u, u[AT_INDPTR:]), part_of(u, u[AT_COLS:])
        levels_back(lam1, A, indptr, cols, vals, C, S, Bt, B, Hbar, lam_bar, bar)
    for i in range(s):
        v_bar[i] *= 0.5 / unit
    deviance += log_det + rss / s2 + nu * math.log(2.0 * math.pi * sigma * sigma) + numbers[CONSTANT]
    return -0.5 * deviance, -nu / sigma - s2_bar * sigma / (unit * unit)


@outer
def likelihood(lam, sigma, sampled, rho, packed, lam_bar, v_bar, rho_bar):  # type: ignore[no-untyped-def]
    """The same of log p(y | λ, σ, ρ, sampled coefficients) p(ρ), with its slopes in ρ."""
    n_parts = int(packed[AT_COUNTS + 1])
    c, slopes = np.zeros(n_parts), np.zeros((rho.shape[0], n_parts))
    u, log_prior = at_rho(packed, rho, c, slopes, rho_bar)
    bar = np.zeros(int(packed[AT_PARTS + 1]) // max(n_parts, 1))
    value, sigma_bar = likelihood_of_products(lam, sigma, sampled, u, lam_bar, v_bar, bar)
    counts, parts = (
        part_of(packed, packed[AT_COUNTS:]),
        part_of(packed, packed[AT_PARTS:]).reshape((n_parts, bar.shape[0])),
    )
    for k in range(n_parts):
        of_log = 0.5 * (counts[k] - c[k] * dot(parts[k], bar))
        for i in range(rho.shape[0]):
            rho_bar[i] += of_log * slopes[i, k]
    return log_prior + value, sigma_bar
