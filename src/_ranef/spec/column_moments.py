"""Means, spreads and mutual products of the columns of a model, from one look at its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from _ranef.design import condensed
from _ranef.spec.model import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["Moments", "merged_moments", "moments"]

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

    def with_fixed(self, kept: Ints) -> Moments:
        """Those of the `kept` columns of X alone."""
        return replace(self, X=np.linalg.qr(self.X[:, np.append(0, 1 + kept)])[1])


def merged_moments(spec: ModelSpec, parts: Sequence[tuple[ModelSpec, Moments]]) -> Moments:
    """The moments over the rows of all parts: models of them, and their moments; groupings in the order of `spec`."""
    counts = [own.n_obs for own, _ in parts]
    n = np.array(counts, dtype=np.float64) / sum(counts)
    means = np.array([part.y_mean for _, part in parts])
    mean = float(n @ means)
    variance = float(n @ (np.array([part.y_sd for _, part in parts]) ** 2 + (means - mean) ** 2))
    root = np.sqrt(n)

    def stacked(triangles: Sequence[Floats]) -> Floats:
        below: Any = np.vstack([scale * R for scale, R in zip(root, triangles, strict=True)])
        return np.asarray(np.linalg.qr(below)[1])

    return Moments(
        mean,
        float(np.sqrt(variance)),
        float(np.sqrt(variance + mean**2)),
        stacked([part.X for _, part in parts]),
        tuple(stacked([_of(own, part, g.name) for own, part in parts]) for g in spec.groupings),
        float(n @ [part.weight for _, part in parts]),
    )


def _of(spec: ModelSpec, moments: Moments, group: str) -> Floats:
    """The triangle of one grouping's columns."""
    return moments.Z[[g.name for g in spec.groupings].index(group)]


def moments(spec: ModelSpec) -> Moments:
    """Read the rows once; parts are merged as Chan, Golub and LeVeque (1983) merge sums of squares about means."""
    if spec.summed is not None:
        known: Moments = spec.summed.moments
        return known
    n, mean, about, weight = 0.0, 0.0, 0.0, 0.0
    X: Floats = np.zeros((0, spec.n_fixed + 1))
    Z: list[Floats] = [np.zeros((0, len(g.columns) + 1)) for g in spec.groupings]
    for part, one in _parts(spec):
        d = part.design
        y = d.y if d.offset is None else d.y - d.offset
        more = float(one @ one)
        own = float(one @ y) / more
        step = own - mean
        about += float(((y - own * one) ** 2).sum()) + step**2 * (n * more / (n + more))
        n, mean = n + more, mean + step * (more / (n + more))
        own_weights = part.with_rho(None).residual.precision  # defaults know nothing of estimates
        weight += float(own_weights @ one**2)
        X = _triangle(X, one, d.X)
        for k, g in enumerate(part.groupings):
            Z[k] = _triangle(Z[k], one, g.Z)
    root = np.sqrt(n)
    return Moments(
        mean,
        float(np.sqrt(about / n)),
        float(np.sqrt(about / n + mean**2)),
        X / root,
        tuple(R / root for R in Z),
        weight / n,
    )


def _parts(spec: ModelSpec) -> Iterator[tuple[ModelSpec, Floats]]:
    """The rows, with what they have in the place of a one where few stand for many."""
    stream = spec.design.stream
    if stream is not None and stream.cells is not None and stream.weights is None:
        few = condensed(spec.design, stream.cells, 0.0)
        yield spec.with_design(few.design), few.one
        return
    for part in spec.parts():
        yield part, np.ones(part.n_obs)


def _triangle(R: Floats, one: Floats, columns: Floats) -> Floats:
    """The triangle of [1, columns] under the rows that `R` (., m) stands for."""
    for start in range(0, len(columns), BLOCK):
        part = slice(start, start + BLOCK)
        below: Any = np.vstack([R, np.column_stack([one[part], columns[part]])])
        R = np.linalg.qr(below)[1]
    missing = columns.shape[1] + 1 - len(R)
    return np.vstack([R, np.zeros((missing, R.shape[1]))]) if missing > 0 else R
