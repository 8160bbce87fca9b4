"""Unrolled algebra on small matrices held as nested lists of arrays of one shape.

XLA turns a handful of elementwise operations into one kernel, while a batched LAPACK call on 2×2 blocks is a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["MAX_UNROLLED", "back_substitute", "cholesky", "forward_substitute"]

#: larger matrices go to LAPACK
MAX_UNROLLED = 5

#: entries are jax arrays, or Python numbers where a constant will do
Rows = list[list[Any]]


def cholesky(matrix: Sequence[Sequence[Any]]) -> Rows:
    """Lower Cholesky factor of a matrix of which the lower triangle is read."""
    L: Rows = []
    for i in range(len(matrix)):
        row: list[Any] = []
        for j in range(i):
            row.append((matrix[i][j] - _dot(row, L[j])) / L[j][j])
        row.append(jnp.sqrt(matrix[i][i] - _dot(row, row)))
        L.append(row)
    return L


def forward_substitute(L: Rows, rhs: Sequence[Any]) -> list[jax.Array]:
    """Solve ``L x = rhs``; the entries of `rhs` may have axes in front of those of `L`."""
    x: list[jax.Array] = []
    for i, row in enumerate(L):
        x.append((rhs[i] - _dot(row[:i], x)) / row[i])
    return x


def back_substitute(L: Rows, rhs: Sequence[Any]) -> list[jax.Array]:
    """Solve ``Lᵀ x = rhs``."""
    n = len(L)
    x: list[jax.Array] = []
    for i in reversed(range(n)):
        x.insert(0, (rhs[i] - _dot([L[k][i] for k in range(i + 1, n)], x)) / L[i][i])
    return x


def _dot(first: Sequence[Any], second: Sequence[Any]) -> Any:
    return sum((a * b for a, b in zip(first, second, strict=False)), 0.0)
