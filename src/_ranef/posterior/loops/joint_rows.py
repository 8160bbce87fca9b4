"""The joint density of a generalised response with its gradient, in compiled loops, of one packed model.

Effects stand as w = Lᵀz with LLᵀ = I + λᵀAλ by level, z = L⁻ᵀw and b = λz. Backwards, with b̄ of the rows, z̄ = λᵀb̄ − z
and w̄ = L⁻¹z̄; of −log |L| and of L⁻ᵀw the slope in LLᵀ is S, symmetric, and λ̄ = Σ b̄zᵀ + 2AλS.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numba
import numpy as np

from _ranef.likelihood.row_loops import value_and_first
from _ranef.linalg.numba_jit import c_function
from _ranef.posterior.loops.packed_places import inner, outer, part_of, vector
from _ranef.posterior.loops.prior_terms import hyper_backward, hyper_forward
from _ranef.posterior.loops.vectors import add_scaled, dot

__all__ = ["c_density", "joint_density"]

#: where place and length of the arrays stand in the header: :data:`_ranef.posterior.packing.ROW_PARTS`
AT_PRIOR, AT_SIZES, AT_LEVELS, AT_CODES, AT_Z, AT_X, AT_OFFSET, AT_Y, AT_WEIGHTS, AT_LOG_Y = range(0, 20, 2)
AT_INFORMED, AT_FILL, AT_K, AT_ORIGIN, AT_NUMBERS, AT_CENTRE, AT_INDPTR, AT_COLS, AT_ROOT = range(20, 38, 2)

#: what stands where in its array of numbers: the kind of rows, coordinates without coefficients and effects,
#: coefficients among the coordinates behind them, the unit of the response, and the constant
KIND, N_HYPER, N_COEFFICIENTS, UNIT, CONSTANT = range(5)

_types: Any = numba.types
_carray: Any = numba.carray  # type: ignore[attr-defined]


@vector
def _sum(x):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i]
    return total


@vector
def _spread(eta, z, code, b, p, a):  # type: ignore[no-untyped-def]
    """Add effects `a` of levels to η."""
    for i in range(eta.shape[0]):
        eta[i] += z[i] * b[int(code[i]) * p + a]


@inner
def _gathered(first, z, code, bar, p, a):  # type: ignore[no-untyped-def]
    """Add to the slopes in effects `a` of levels; what stands together is added before it is stored."""
    level, total = int(code[0]), 0.0
    for i in range(first.shape[0]):
        own = int(code[i])
        if own != level:
            bar[level * p + a] += total
            level, total = own, 0.0
        total += first[i] * z[i]
    bar[level * p + a] += total


@inner
def _forward_single(lam, A, w, scales, z, b):  # type: ignore[no-untyped-def]
    """L, z and b of single effects; the log prior density of z, without constants, and −log |L|."""
    total, product = 0.0, 1.0
    for j in range(w.shape[0]):
        scales[j] = 1.0 + lam * lam * A[j]
        z[j] = w[j] / math.sqrt(scales[j])
        b[j] = lam * z[j]
        total -= 0.5 * z[j] * z[j]
        product *= scales[j]
        if product > 1e100:
            total -= 0.5 * math.log(product)
            product = 1.0
    return total - 0.5 * math.log(product)


@inner
def _backward_single(lam, A, scales, z, bar, w_bar):  # type: ignore[no-untyped-def]
    """Slopes in w, and the one in λ."""
    of_lam = 0.0
    for j in range(z.shape[0]):
        own = lam * bar[j] - z[j]
        w_bar[j] = own / math.sqrt(scales[j])
        of_lam += bar[j] * z[j] - A[j] * lam * (z[j] * own + 1.0) / scales[j]
    return of_lam


@inner
def _forward(lam, A, w, scales, z, b):  # type: ignore[no-untyped-def]
    """The same of several effects (J, p), L being by rows (J, p, p)."""
    J, p = w.shape
    total, Al = 0.0, np.empty((p, p))
    for j in range(J):
        L = scales[j]
        for a in range(p):
            for c in range(p):
                Al[a, c] = 0.0
                for k in range(p):
                    Al[a, c] += A[j, a, k] * lam[k, c]
        for a in range(p):
            for c in range(a + 1):
                own = 1.0 if a == c else 0.0
                for k in range(p):
                    own += lam[k, a] * Al[k, c]
                for k in range(c):
                    own -= L[a, k] * L[c, k]
                L[a, c] = math.sqrt(own) if a == c else own / L[c, c]
            total -= math.log(L[a, a])
        for a in range(p - 1, -1, -1):
            own = w[j, a]
            for k in range(a + 1, p):
                own -= L[k, a] * z[j, k]
            z[j, a] = own / L[a, a]
            total -= 0.5 * z[j, a] * z[j, a]
        for a in range(p):
            b[j, a] = 0.0
            for k in range(p):
                b[j, a] += lam[a, k] * z[j, k]
    return total


@inner
def _backward(lam, A, scales, z, bar, w_bar, lam_bar):  # type: ignore[no-untyped-def]
    """Fill slopes in w, and add those in λ."""
    J, p = z.shape
    inside, S, AlS = np.zeros((p, p)), np.empty((p, p)), np.empty((p, p))
    for j in range(J):
        L = scales[j]
        for a in range(p):
            own = -z[j, a]
            for k in range(p):
                own += lam[k, a] * bar[j, k]
                lam_bar[a, k] += bar[j, a] * z[j, k]
            for k in range(a):
                own -= L[a, k] * w_bar[j, k]
            w_bar[j, a] = own / L[a, a]
        # tril(LᵀL̄) with half its diagonal, L̄ = −tril(z w̄ᵀ) − diag(1/L)
        for a in range(p):
            for c in range(a + 1):
                own = 0.0
                for k in range(a, p):
                    own -= L[k, a] * z[j, k] * w_bar[j, c]
                if a == c:
                    own = 0.5 * (own - 1.0)
                inside[a, c] = own
                inside[c, a] = own if a == c else 0.0
        _between_inverses(L, inside, S)
        for a in range(p):
            for c in range(p):
                AlS[a, c] = 0.0
                for k in range(p):
                    AlS[a, c] += lam[a, k] * (S[k, c] + S[c, k])
        for a in range(p):
            for c in range(p):
                for k in range(p):
                    lam_bar[a, c] += A[j, a, k] * AlS[k, c]


@inner
def _between_inverses(L, inside, out):  # type: ignore[no-untyped-def]
    """L⁻ᵀ inside L⁻¹."""
    p = L.shape[0]
    for c in range(p):
        for a in range(p - 1, -1, -1):
            own = inside[a, c]
            for k in range(a + 1, p):
                own -= L[k, a] * out[k, c]
            out[a, c] = own / L[a, a]
    for a in range(p):
        for c in range(p - 1, -1, -1):
            own = out[a, c]
            for k in range(c + 1, p):
                own -= L[k, c] * out[a, k]
            out[a, c] = own / L[c, c]


@inner
def _coefficients(u, rest, sampled, w):  # type: ignore[no-untyped-def]
    """Fill w of coordinates and sampled coefficients; wᵀKw with 1 for the response, and its slopes/2."""
    numbers, origin, r = part_of(u, u[AT_NUMBERS:]), part_of(u, u[AT_ORIGIN:]), w.shape[0] - 1
    g = int(numbers[N_COEFFICIENTS])
    for j in range(g):
        w[j] = -rest[j]
    for j in range(g, r):
        w[j] = -(sampled[j - g] - origin[j - g]) / numbers[UNIT]
    w[r] = 1.0
    K, of_K, value = part_of(u, u[AT_K:]).reshape((r + 1, r + 1)), np.empty(r + 1), 0.0
    for j in range(r + 1):
        of_K[j] = dot(K[j], w)
        value += w[j] * of_K[j]
    return value, of_K


@inner
def _rows(u, lam, w, effects, lam_bar, w_bar, effects_bar):  # type: ignore[no-untyped-def]
    """Log density of rows and effects; fills the slopes in all three."""
    numbers, sizes, levels = part_of(u, u[AT_NUMBERS:]), part_of(u, u[AT_SIZES:]), part_of(u, u[AT_LEVELS:])
    y, log_y, informed = part_of(u, u[AT_Y:]), part_of(u, u[AT_LOG_Y:]), part_of(u, u[AT_INFORMED:])
    n, m, r = y.shape[0], effects.shape[0], w_bar.shape[0]
    codes, Z = part_of(u, u[AT_CODES:]).reshape((-1, n)), part_of(u, u[AT_Z:]).reshape((-1, n))
    X, eta = part_of(u, u[AT_X:]).reshape((r, n)), part_of(u, u[AT_OFFSET:]).copy()
    z, b, bar, scales, value, first = (
        np.empty(m),
        np.empty(m),
        np.zeros(m),
        np.empty(informed.shape[0]),
        np.empty(n),
        np.empty(n),
    )
    total = 0.0
    for j in range(r):
        add_scaled(eta, w[j], X[j])
    at, of_A, of_lam, column = 0, 0, 0, 0
    for k in range(sizes.shape[0]):
        p, J = int(sizes[k]), int(levels[k])
        end, end_A = at + J * p, of_A + J * p * p
        if p == 1:
            A, own = informed[of_A:end_A], scales[of_A:end_A]
            total += _forward_single(lam[of_lam], A, effects[at:end], own, z[at:end], b[at:end])
        else:
            total += _forward(
                lam[of_lam : of_lam + p * p].reshape((p, p)),
                informed[of_A:end_A].reshape((J, p, p)),
                effects[at:end].reshape((J, p)),
                scales[of_A:end_A].reshape((J, p, p)),
                z[at:end].reshape((J, p)),
                b[at:end].reshape((J, p)),
            )
        for a in range(p):
            _spread(eta, Z[column + a], codes[k], b[at:end], p, a)
        at, of_A, of_lam, column = end, end_A, of_lam + p * p, column + p
    value_and_first(int(numbers[KIND]), eta, y, part_of(u, u[AT_WEIGHTS:]), log_y, value, first)
    for j in range(r):
        w_bar[j] = dot(first, X[j])
    at, of_A, of_lam, column = 0, 0, 0, 0
    for k in range(sizes.shape[0]):
        p, J = int(sizes[k]), int(levels[k])
        end, end_A = at + J * p, of_A + J * p * p
        for a in range(p):
            _gathered(first, Z[column + a], codes[k], bar[at:end], p, a)
        if p == 1:
            A, own = informed[of_A:end_A], scales[of_A:end_A]
            lam_bar[of_lam] = _backward_single(lam[of_lam], A, own, z[at:end], bar[at:end], effects_bar[at:end])
        else:
            _backward(
                lam[of_lam : of_lam + p * p].reshape((p, p)),
                informed[of_A:end_A].reshape((J, p, p)),
                scales[of_A:end_A].reshape((J, p, p)),
                z[at:end].reshape((J, p)),
                bar[at:end].reshape((J, p)),
                effects_bar[at:end].reshape((J, p)),
                lam_bar[of_lam : of_lam + p * p].reshape((p, p)),
            )
        at, of_A, of_lam, column = end, end_A, of_lam + p * p, column + p
    return total + _sum(value)


@outer
def joint_density(whitened, u, gradient):  # type: ignore[no-untyped-def]
    """Log posterior density at `whitened` (d,), q = centre + root w with sparse root, of `u`; fills `gradient`."""
    numbers, prior, fill = part_of(u, u[AT_NUMBERS:]), part_of(u, u[AT_PRIOR:]), part_of(u, u[AT_FILL:])
    origin, indptr, cols, root = (
        part_of(u, u[AT_ORIGIN:]),
        part_of(u, u[AT_INDPTR:]),
        part_of(u, u[AT_COLS:]),
        part_of(u, u[AT_ROOT:]),
    )
    d, s, h, g = whitened.shape[0], origin.shape[0], int(numbers[N_HYPER]), int(numbers[N_COEFFICIENTS])
    q, slope = part_of(u, u[AT_CENTRE:]).copy(), np.zeros(d)
    for i in range(d):
        for j in range(int(indptr[i]), int(indptr[i + 1])):
            q[i] += root[j] * whitened[int(cols[j])]
    sizes = part_of(u, u[AT_SIZES:])
    n_lam = int(dot(sizes, sizes))
    n_theta = fill.shape[0] // max(n_lam, 1)
    values, theta, theta_bar = np.empty(h), np.empty(n_theta), np.zeros(n_theta)
    total, sigma = hyper_forward(q[:h], prior, values, theta, slope[:h])
    lam, lam_bar, w, w_bar = np.zeros(n_lam), np.zeros(n_lam), np.empty(g + s + 1), np.empty(g + s)
    for i in range(n_lam):
        lam[i] = dot(fill[i * n_theta : (i + 1) * n_theta], theta)
    normal, of_K = _coefficients(u, q[h : h + g], values[h - s :], w)
    total += numbers[CONSTANT] - 0.5 * normal
    total += _rows(u, lam, w, q[h + g :], lam_bar, w_bar, slope[h + g :])
    for j in range(g + s):
        w_bar[j] -= of_K[j]
    for i in range(n_lam):
        add_scaled(theta_bar, lam_bar[i], fill[i * n_theta : (i + 1) * n_theta])
    for j in range(g):
        slope[h + j] = -w_bar[j]
    for j in range(g, g + s):
        w_bar[j] *= -1.0 / numbers[UNIT]
    hyper_backward(prior, values, theta, sigma, theta_bar, 0.0, w_bar[g:], slope[:h])
    gradient[:] = 0.0
    for i in range(d):
        for j in range(int(indptr[i]), int(indptr[i + 1])):
            gradient[int(cols[j])] += root[j] * slope[i]
    return total


def _density_by_pointer(d, w_, gradient_, value_, u_):  # type: ignore[no-untyped-def]
    """:func:`joint_density` behind a C pointer; not zero where the density is not finite."""
    n = int(_carray(u_, (1,))[0])
    u = _carray(u_, (n + 1,))[1:]
    w, gradient, value = _carray(w_, (d,)), _carray(gradient_, (d,)), _carray(value_, (1,))
    value[0] = joint_density(w, u, gradient)
    if not math.isfinite(value[0]):
        return 1
    for i in range(d):
        if not math.isfinite(gradient[i]):
            return 1
    return 0


@cache
def c_density() -> Any:
    """The density as a C function, compiled when first asked for."""
    doubles = _types.CPointer(_types.float64)
    return c_function(_types.int64(_types.uint64, *[doubles] * 4))(_density_by_pointer)
