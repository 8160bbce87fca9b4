"""The log posterior density, for samplers in Python and behind C pointers."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numba
import numpy as np

from _ranef.linalg.numba_jit import c_function
from _ranef.posterior.loops.likelihoods import likelihood
from _ranef.posterior.loops.packed_places import (
    AT_CENTRE,
    AT_FILL,
    AT_NUMBERS,
    AT_ORIGIN,
    AT_ROOT,
    N_RHO,
    N_THETA,
    outer,
    part_of,
)
from _ranef.posterior.loops.prior_terms import hyper_backward, hyper_forward

__all__ = ["c_copy", "c_density", "density"]

_types: Any = numba.types
_carray: Any = numba.carray  # type: ignore[attr-defined]


@outer
def density(w, u, gradient):  # type: ignore[no-untyped-def]
    """Log posterior density at whitened `w` (d,), q = centre + root w, of the model packed in `u`; fills `gradient`."""
    fill, numbers = part_of(u, u[AT_FILL:]), part_of(u, u[AT_NUMBERS:])
    origin, centre, root = (part_of(u, u[AT_ORIGIN:]), part_of(u, u[AT_CENTRE:]), part_of(u, u[AT_ROOT:]))
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
