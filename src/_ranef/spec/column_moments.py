"""Means, spreads and mutual products of the columns of a model, from one look at its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from _ranef.spec.model import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["Moments", "moments"]

#: rows that are factored at once
BLOCK = 65_536


@dataclass(frozen=True, eq=False, repr=False)
class Moments:
    """Moments over all rows, each counted once whatever its weight, held in memory or read in chunks.

    Attributes
    ----------
    y_mean, y_sd, y_rms : float
        Of the response, the offset removed.
    X : array (p + 1, p + 1)
        Upper triangle R of which RᵀR are the mean products of [1, X]: a column of R stands for a column of X, with
        the same lengths (root mean squares) and angles.
    Z : tuple of array (p_k + 1, p_k + 1)
        The same of [1, Z_k] by grouping.
    weight : float
        Mean of the weights: σ² over it is the variance of a residual of such a row.
    """

    y_mean: float
    y_sd: float
    y_rms: float
    X: Floats
    Z: tuple[Floats, ...]
    weight: float

    @property
    def X_sd(self) -> Floats:
        """Standard deviations (p,)."""
        return np.asarray(np.sqrt((self.X[1:, 1:] ** 2).sum(axis=0)))

    @property
    def X_rms(self) -> Floats:
        """Root mean squares (p,)."""
        return np.asarray(np.sqrt((self.X[:, 1:] ** 2).sum(axis=0)))


def moments(spec: ModelSpec) -> Moments:
    """Read the rows once; parts are merged as Chan, Golub and LeVeque (1983) merge sums of squares about means."""
    n, mean, about, weight = 0, 0.0, 0.0, 0.0
    X: Floats = np.zeros((0, spec.n_fixed + 1))
    Z: list[Floats] = [np.zeros((0, len(g.columns) + 1)) for g in spec.groupings]
    for part in spec.parts():
        d = part.design
        y = d.y if d.offset is None else d.y - d.offset
        own, more = float(y.mean()), len(y)
        step = own - mean
        about += float(((y - own) ** 2).sum()) + step**2 * (n * more / (n + more))
        n, mean = n + more, mean + step * (more / (n + more))
        weight += float(part.with_rho(None).residual.precision.sum())  # defaults know nothing of estimates
        X = _triangle(X, d.X)
        for k, g in enumerate(part.groupings):
            Z[k] = _triangle(Z[k], g.Z)
    root = np.sqrt(n)
    return Moments(
        mean,
        float(np.sqrt(about / n)),
        float(np.sqrt(about / n + mean**2)),
        X / root,
        tuple(R / root for R in Z),
        weight / n,
    )


def _triangle(R: Floats, columns: Floats) -> Floats:
    """The triangle of [1, columns] under the rows that `R` (., m) stands for."""
    for start in range(0, len(columns), BLOCK):
        rows = columns[start : start + BLOCK]
        below: Any = np.vstack([R, np.column_stack([np.ones(len(rows)), rows])])
        R = np.linalg.qr(below)[1]
    missing = columns.shape[1] + 1 - len(R)
    return np.vstack([R, np.zeros((missing, R.shape[1]))]) if missing > 0 else R
