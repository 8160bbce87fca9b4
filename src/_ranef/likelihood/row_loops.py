"""Log densities of rows with canonical links, and their derivatives in η, in loops that numba compiles and vectorises.

They are those of :meth:`~_ranef.spec.Generalised.slopes`, to a few units of the last digit. The exponential is that of
Cody & Waite (1980, *Software Manual for the Elementary Functions*): x = k log 2 + r, a Taylor polynomial in r, and k
added to the exponent; log(1 + s) of s in [0, 1] is 2 artanh(s / (2 + s)). Neither has a branch, so that processors work
on several rows at once, which calls of the C library would not let them.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

from _ranef.linalg.numba_jit import compiled

__all__ = ["LOG", "LOGIT", "add_heights", "add_level_values", "grid_slopes", "row_slopes", "value_and_first"]

#: kinds of rows: successes of trials with a logit link, and counts with a logarithmic one
LOGIT, LOG = 1, 2

_types: Any = numba.types

_compiled = compiled(nogil=True, error_model="numpy", fastmath={"contract"})

#: within other loops, so that these are vectorised
_inline = compiled(forceinline=True, error_model="numpy", fastmath={"contract"})

#: a double to which whole numbers are added in its last bits
MAGIC = 6755399441055744.0

#: log 2 in two parts, the first with zeros in its last bits, and how far exp is a number
PER_LOG_2, LOG_2_HIGH, LOG_2_LOW = 1.0 / math.log(2.0), 0.6931471803691238, 1.9082149292705877e-10
LOWEST, HIGHEST = -708.0, 709.0


@intrinsic
def _bits(_context: Any, x: Any) -> Any:
    """The bits of a double as a whole number."""
    return _types.int64(_types.float64), lambda context, builder, _signature, args: builder.bitcast(
        args[0], context.get_value_type(_types.int64)
    )


@intrinsic
def _double(_context: Any, bits: Any) -> Any:
    """The way back."""
    return _types.float64(_types.int64), lambda context, builder, _signature, args: builder.bitcast(
        args[0], context.get_value_type(_types.float64)
    )


@_inline
def _exp_of_rest(r):  # type: ignore[no-untyped-def]
    """exp(r) − 1 for |r| ≤ log(2)/2."""
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    return p * r * r + r


@_inline
def _exp(x):  # type: ignore[no-untyped-def]
    """exp(x) and exp(x) − 1."""
    inside = min(max(x, LOWEST), HIGHEST)
    shifted = inside * PER_LOG_2 + MAGIC
    k = shifted - MAGIC
    small = _exp_of_rest((inside - k * LOG_2_HIGH) - k * LOG_2_LOW)
    value = _double(_bits(1.0 + small) + (_bits(shifted) << 52))  # type: ignore[call-arg, var-annotated]
    value = math.inf if x > HIGHEST else value
    return value, (small if k == 0.0 else value - 1.0)


@_inline
def _log1p(s):  # type: ignore[no-untyped-def]
    """log(1 + s) for 0 ≤ s ≤ 1."""
    t = s / (2.0 + s)
    z = t * t
    p = 1.0 / 35.0
    p = p * z + 1.0 / 33.0
    p = p * z + 1.0 / 31.0
    p = p * z + 1.0 / 29.0
    p = p * z + 1.0 / 27.0
    p = p * z + 1.0 / 25.0
    p = p * z + 1.0 / 23.0
    p = p * z + 1.0 / 21.0
    p = p * z + 1.0 / 19.0
    p = p * z + 1.0 / 17.0
    p = p * z + 1.0 / 15.0
    p = p * z + 1.0 / 13.0
    p = p * z + 1.0 / 11.0
    p = p * z + 1.0 / 9.0
    p = p * z + 1.0 / 7.0
    p = p * z + 1.0 / 5.0
    p = p * z + 1.0 / 3.0
    return 2.0 * t + 2.0 * t * z * p


@_inline
def _logit(eta, y, weight):  # type: ignore[no-untyped-def]
    """Of a share y of trials: value, first and minus second derivative, and third."""
    small, _ = _exp(-abs(eta))
    over = 1.0 / (1.0 + small)
    p = over if eta >= 0.0 else small * over
    q = small * over if eta >= 0.0 else over
    hits, spread = y * weight, weight * p * q
    return hits * eta - weight * (max(eta, 0.0) + _log1p(small)), hits - weight * p, spread, spread * (p - q)


@_inline
def _log(eta, y, weight, log_y):  # type: ignore[no-untyped-def]
    """The same of a count y."""
    mean, _ = _exp(eta)
    ahead = eta - log_y
    _, grown = _exp(ahead)
    size = weight * mean
    return weight * (y * (ahead - grown) if y > 0.0 else -mean), weight * y - size, size, -size


@_compiled
def row_slopes(kind, eta, y, weights, log_y, value, first, curvature, third):  # type: ignore[no-untyped-def]
    """Fill the log density of rows (n,) and its derivatives in η."""
    if kind == LOGIT:
        for i in range(eta.shape[0]):
            value[i], first[i], curvature[i], third[i] = _logit(eta[i], y[i], weights[i])
    else:
        for i in range(eta.shape[0]):
            value[i], first[i], curvature[i], third[i] = _log(eta[i], y[i], weights[i], log_y[i])


@_compiled
def grid_slopes(kind, eta, y, weights, log_y, value, first, curvature, third):  # type: ignore[no-untyped-def]
    """The same of many η (n, N) for each row."""
    for i in range(eta.shape[0]):
        own, weight, log = y[i], weights[i], log_y[i]
        if kind == LOGIT:
            for j in range(eta.shape[1]):
                value[i, j], first[i, j], curvature[i, j], third[i, j] = _logit(eta[i, j], own, weight)
        else:
            for j in range(eta.shape[1]):
                value[i, j], first[i, j], curvature[i, j], third[i, j] = _log(eta[i, j], own, weight, log)


@_compiled
def value_and_first(kind, eta, y, weights, log_y, value, first):  # type: ignore[no-untyped-def]
    """Fill the log density of rows (n,) and its first derivative; `value` may be `eta`."""
    if kind == LOGIT:
        for i in range(eta.shape[0]):
            value[i], first[i], _, _ = _logit(eta[i], y[i], weights[i])
    else:
        for i in range(eta.shape[0]):
            value[i], first[i], _, _ = _log(eta[i], y[i], weights[i], log_y[i])


@_compiled
def add_heights(kind, eta, y, weights, log_y, first, curvature, heights):  # type: ignore[no-untyped-def]
    """Fill two derivatives of rows (n, N), and add their log densities by column."""
    for i in range(eta.shape[0]):
        own, weight, log = y[i], weights[i], log_y[i]
        if kind == LOGIT:
            for j in range(eta.shape[1]):
                value, first[i, j], curvature[i, j], _ = _logit(eta[i, j], own, weight)
                heights[j] += value
        else:
            for j in range(eta.shape[1]):
                value, first[i, j], curvature[i, j], _ = _log(eta[i, j], own, weight, log)
                heights[j] += value


@_compiled
def add_level_values(kind, eta, y, weights, log_y, Z, code, b, values):  # type: ignore[no-untyped-def]
    """Add log densities of rows (n, N) by level, trial and column (J, M, N), at η with effects b (J, p, M, N)."""
    moved = np.empty(eta.shape[1])
    for i in range(eta.shape[0]):
        own, weight, log, effects, out = y[i], weights[i], log_y[i], b[code[i]], values[code[i]]
        for m in range(out.shape[0]):
            for j in range(moved.shape[0]):
                moved[j] = eta[i, j]
            for a in range(Z.shape[0]):
                for j in range(moved.shape[0]):
                    moved[j] += Z[a, i] * effects[a, m, j]
            if kind == LOGIT:
                for j in range(moved.shape[0]):
                    value, _, _, _ = _logit(moved[j], own, weight)
                    out[m, j] += value
            else:
                for j in range(moved.shape[0]):
                    value, _, _, _ = _log(moved[j], own, weight, log)
                    out[m, j] += value
