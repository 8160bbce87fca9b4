"""Fixed matrices for residuals of a few kinds, where numpy alone knows their coefficients at every ρ.

Rows whose variance is read from few different numbers, and groups of rows that stand in few patterns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.residuals.blocks import LEAST_LEFT, Blocks, Size
from _ranef.residuals.correlation_matrices import Matrices
from _ranef.residuals.fixed_basis import STEP, Basis, BasisLaw, Part, picked
from _ranef.residuals.on_rows import Centred, RowCorrelation, RowVariance
from _ranef.support.arrays import Floats

__all__ = ["numeric_basis"]

#: fixed matrices up to which they are quicker than rows
MOST_PARTS = 120

#: numbers of one model that their cross-products may be, for one column of each level
MOST_NUMBERS = 2_000_000


def numeric_basis(variance: RowVariance | None, correlation: RowCorrelation | None, n: int) -> Basis | None:
    """The inverse covariance of n rows with one of the two; None where there are too many matrices."""
    if correlation is None:
        return None if variance is None else _by_classes(variance, n)
    return _by_pairs(correlation, n) if variance is None and isinstance(correlation, Blocks) else None


@dataclass(frozen=True, eq=False)
class _ClassesLaw(BasisLaw):
    """Of rows in classes, by a row of each: logarithms −2η of precisions, η less their mean if that is so."""

    variance: RowVariance
    centred: bool

    def at(self, numbers: Floats, counts: Floats, rho: Floats) -> tuple[Floats, float]:
        """By η."""
        logs = -2.0 * self._less_mean(self.variance.log_sds(rho), counts)
        return np.exp(logs), float(counts @ logs)

    def slopes(self, numbers: Floats, counts: Floats, rho: Floats) -> tuple[Floats, Floats]:
        """By ∂η/∂ρ."""
        slopes = -2.0 * self._less_mean(self.variance.jacobian(rho), counts)
        return slopes * self.at(numbers, counts, rho)[0], slopes @ counts

    def _less_mean(self, values: Floats, counts: Floats) -> Floats:
        return np.asarray(values - (values @ counts / counts.sum())[..., None] if self.centred else values)


def _by_classes(variance: RowVariance, n: int) -> Basis | None:
    own = variance.own if isinstance(variance, Centred) else variance
    rho = own.starts[0] + 0.3 + 0.1 * np.arange(len(own.names))  # no special point
    told = np.vstack([own.log_sds(rho), own.jacobian(rho)])
    _, first, codes = np.unique(told, axis=1, return_index=True, return_inverse=True)
    if len(first) > MOST_PARTS or len(first) * n > MOST_NUMBERS:
        return None
    rows = [np.flatnonzero(codes.ravel() == k) for k in range(len(first))]
    counts = np.array([len(r) for r in rows], dtype=float)
    law = _ClassesLaw(own.taken(first), isinstance(variance, Centred))
    return Basis(tuple(Part(picked(r, n), r) for r in rows), law, np.zeros(0), counts)


@dataclass(frozen=True, eq=False)
class _PairsLaw(BasisLaw):
    """Entries of the inverse correlations of groups, pattern by pattern: its triangle by rows."""

    law: Matrices
    sizes: tuple[Size, ...]

    def at(self, numbers: Floats, counts: Floats, rho: Floats) -> tuple[Floats, float]:
        """By Cholesky factors."""
        entries, log_det = [], 0.0
        for size, P, lower in zip(self.sizes, *self._inverses(rho), strict=True):
            entries.append(_triangles(P))
            logs = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
            log_det -= float(logs @ np.bincount(size.pattern, minlength=len(logs)))
        return np.concatenate(entries), log_det

    def slopes(self, numbers: Floats, counts: Floats, rho: Floats) -> tuple[Floats, Floats]:
        """−P ∂C P, and −tr P ∂C."""
        inverses = self._inverses(rho)[0]
        entries, log_dets = [], []
        for k in range(len(rho)):
            step, own, total = 1j * STEP * (np.arange(len(rho)) == k), [], 0.0
            for size, P in zip(self.sizes, inverses, strict=True):
                change = P @ (self.law.of(rho + step, size.places).imag / STEP)
                own.append(_triangles(-change @ P))
                total -= float(np.trace(change, axis1=1, axis2=2) @ np.bincount(size.pattern, minlength=len(P)))
            entries.append(np.concatenate(own))
            log_dets.append(total)
        return np.array(entries), np.array(log_dets)

    def _inverses(self, rho: Floats) -> tuple[list[Floats], list[Floats]]:
        """Of the patterns (U, s, s) of every size; and Cholesky factors."""
        lower = [np.linalg.cholesky(self.law.of(rho, size.places)) for size in self.sizes]
        if any(np.diagonal(own, axis1=1, axis2=2).min(initial=1.0) < LEAST_LEFT for own in lower):
            raise np.linalg.LinAlgError("the correlations are singular to rounding")
        roots: list[Floats] = [np.linalg.inv(own) for own in lower]
        return [np.asarray(np.swapaxes(root, 1, 2) @ root) for root in roots], list(lower)


def _triangles(matrices: Floats) -> Floats:
    rows, cols = np.tril_indices(matrices.shape[1])
    return np.asarray(matrices[:, rows, cols].ravel())


def _by_pairs(blocks: Blocks, n: int) -> Basis | None:
    """Squares of the rows in each place of a pattern, and twice the products of those in two places."""
    many = [(len(size.places), size.rows.shape[1]) for size in blocks.sizes]
    if sum(U * s * (s + 1) // 2 for U, s in many) > MOST_PARTS:
        return None
    parts: list[Part] = []
    sums: list[tuple[int, ...]] = []  # which part each fixed matrix is, and which it is less
    groups = 0
    for size in blocks.sizes:
        for u in range(len(size.places)):
            rows = size.rows[size.pattern == u]
            first, s = len(parts), rows.shape[1]
            for a in range(s):
                for b in range(a + 1):
                    own = picked(rows[:, a], n)
                    parts.append(
                        Part(own if a == b else scipy.sparse.csr_array(own + picked(rows[:, b], n)), rows[:, a])
                    )
                    sums.append((len(parts) - 1, *(first + k * (k + 3) // 2 for k in (a, b) if a != b)))
            groups += len(rows)
    M = np.zeros((len(parts), len(parts)))
    for k, (whole, *less) in enumerate(sums):
        M[k, whole], M[k, less] = 1.0, -1.0
    if len(parts) * groups > MOST_NUMBERS:
        return None
    return Basis(tuple(parts), _PairsLaw(blocks.law, blocks.sizes), np.zeros(0), np.zeros(0), M)
