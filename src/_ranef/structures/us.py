"""Unstructured: every covariance matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from _ranef.structures.base import Linear, Pairs, lower_root
from _ranef.structures.column_scales import copies, non_zero, orthonormalising
from _ranef.support.arrays import Floats, Ints

__all__ = ["Unstructured"]


@dataclass(frozen=True)
class Unstructured(Linear):
    """All variances and correlations are free; θ is the lower triangle of λ by columns, as lme4 orders it."""

    word = "us"
    meaning = "correlated within a level"
    free = True

    @cached_property
    def places(self) -> tuple[Ints, Ints, Ints]:
        """The triangle."""
        columns, rows = np.triu_indices(self.size)
        return rows, columns, np.arange(rows.size)

    @property
    def pairs(self) -> Pairs:
        """All, column by column."""
        return tuple((i, j) for j in range(self.size) for i in range(j + 1, self.size))

    def closest(self, root: Floats) -> Floats:
        """The triangle of RRᵀ itself."""
        rows, columns, _ = self.places
        return np.asarray(lower_root(root)[..., rows, columns])

    def scaling_map(self, gram: Floats) -> Floats:
        """To orthonormal columns."""
        spread = non_zero(np.sqrt(np.diag(gram)))
        R = orthonormalising(gram / np.outer(spread, spread))
        # a column that the earlier ones determine has nothing left to be scaled up: it stays a copy of them
        again = copies(R)
        R[:, again] = np.eye(len(R))[:, again]
        return np.asarray(R / spread[:, None])

    def falls(self, inner: Floats, null: Floats, root: Floats | None = None) -> tuple[Floats, Floats]:
        """Along any direction without variance: the eigenvectors of W there."""
        values, vectors = np.linalg.eigh(null.T @ inner @ null)
        return values, null @ vectors
