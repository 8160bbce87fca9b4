"""Sums and products over levels, which processors do several at a time."""

from __future__ import annotations

import math

from _ranef.posterior.loops.packed_places import inner, vector

__all__ = [
    "add_contracted",
    "add_mixed",
    "add_product",
    "add_products",
    "add_scaled",
    "dot",
    "dot_rows",
    "dot_within",
    "invert_root",
    "sum_log",
]


@vector
def dot(x, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    return total


@vector
def dot_rows(X, Y):  # type: ignore[no-untyped-def]
    """Σ of the products of the entries of two matrices."""
    total = 0.0
    for k in range(X.shape[0]):
        for j in range(X.shape[1]):
            total += X[k, j] * Y[k, j]
    return total


@vector
def dot_within(x, y, low, high):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(low, high):
        total += x[i] * y[i]
    return total


@vector
def add_scaled(target, scale, x):  # type: ignore[no-untyped-def]
    for i in range(target.shape[0]):
        target[i] += scale * x[i]


@vector
def add_product(target, sign, x, y):  # type: ignore[no-untyped-def]
    for i in range(target.shape[0]):
        target[i] += sign * x[i] * y[i]


@vector
def add_products(target, X, Y):  # type: ignore[no-untyped-def]
    """Σ_k X_k Y_k of rows (k, J)."""
    for k in range(X.shape[0]):
        for j in range(target.shape[0]):
            target[j] += X[k, j] * Y[k, j]


@vector
def add_contracted(target, X, Y, a, b):  # type: ignore[no-untyped-def]
    """Σ_k X_ka Y_kb of rows (k, ·, J)."""
    for k in range(X.shape[0]):
        for j in range(target.shape[0]):
            target[j] += X[k, a, j] * Y[k, b, j]


@vector
def add_mixed(target, weights, X):  # type: ignore[no-untyped-def]
    """Σ_k w_k X_k of rows (k, J), as many as there are weights."""
    for k in range(weights.shape[0]):
        for j in range(target.shape[0]):
            target[j] += weights[k] * X[k, j]


@vector
def invert_root(x):  # type: ignore[no-untyped-def]
    """1/√x in place."""
    for i in range(x.shape[0]):
        x[i] = 1.0 / math.sqrt(x[i])


@inner
def sum_log(x):  # type: ignore[no-untyped-def]
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
