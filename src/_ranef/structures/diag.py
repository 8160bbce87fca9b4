"""Diagonal: independent effects, each with its own variance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from _ranef.structures.base import Linear
from _ranef.structures.column_scales import non_zero
from _ranef.support.arrays import Floats, Ints

__all__ = ["Diagonal"]


@dataclass(frozen=True)
class Diagonal(Linear):
    """A variance for every column and no correlation; θ is the diagonal of λ."""

    word = "diag"
    meaning = "independent of each other"

    @cached_property
    def places(self) -> tuple[Ints, Ints, Ints]:
        """The diagonal."""
        at = np.arange(self.size)
        return at, at, at

    def closest(self, root: Floats) -> Floats:
        """Square roots of the diagonal of RRᵀ."""
        return np.asarray(np.linalg.norm(root, axis=-1))

    def scaling_map(self, gram: Floats) -> Floats:
        """To columns of unit mean square."""
        return np.diag(1.0 / non_zero(np.sqrt(np.diag(gram))))

    def falls(self, inner: Floats, null: Floats, root: Floats | None = None) -> tuple[Floats, Floats]:
        """Along each column without variance."""
        live = np.linalg.norm(null, axis=1) < 0.5
        unit = np.eye(self.size)[:, ~live]
        return np.diag(unit.T @ inner @ unit), unit
