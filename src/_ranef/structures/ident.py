"""Identity: independent effects with one variance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from _ranef.structures.base import Linear
from _ranef.structures.column_scales import non_zero
from _ranef.support.arrays import Floats, Ints

__all__ = ["Identity"]


@dataclass(frozen=True)
class Identity(Linear):
    """One variance for all columns and no correlation; θ is the number on the diagonal of λ."""

    word = "ident"
    meaning = "independent of each other and with one standard deviation"

    @cached_property
    def places(self) -> tuple[Ints, Ints, Ints]:
        """The diagonal, one number throughout."""
        at = np.arange(self.size)
        return at, at, np.zeros(self.size, dtype=np.intp)

    @property
    def own_sds(self) -> range:
        """The first column's."""
        return range(1)

    def closest(self, root: Floats) -> Floats:
        """Square root of the mean variance."""
        return np.asarray(np.sqrt((root**2).sum(axis=-1).mean(axis=-1, keepdims=True)))

    def scaling_map(self, gram: Floats) -> Floats:
        """One factor, to columns of unit mean square on average."""
        spread = non_zero(np.sqrt(np.diag(gram)))
        return np.eye(self.size) / float(np.sqrt((spread**2).mean()))

    def falls(self, inner: Floats, null: Floats, root: Floats | None = None) -> tuple[Floats, Floats]:
        """Along all columns at once."""
        return np.array([np.trace(inner)]), np.ones((self.size, 1))
