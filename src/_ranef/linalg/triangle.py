"""The Cholesky factor of a dense tail; of long ones there is one in memory, however many points are looked at.

A descent holds the point where it is, the one that it tries and the best so far. Only the latest is asked for more
than its criterion, so the latest factor takes the array of the one before, and a factor that has lost its array is made
again where it is wanted after all.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from _ranef.linalg.lapack import invert_lower, mirror_lower
from _ranef.support.arrays import Floats

__all__ = ["LongTriangle", "Triangle"]


class Triangle:
    """A lower Cholesky factor (t, t); what is above its diagonal has no meaning.

    Attributes
    ----------
    diagonal : array (t,)
        Of the factor.
    """

    def __init__(self, lower: Floats) -> None:
        self._lower: Floats | None = lower
        self.diagonal = np.diagonal(lower).copy()

    @property
    def lower(self) -> Floats:
        """The factor."""
        assert self._lower is not None
        return self._lower

    @contextmanager
    def inverse(self) -> Iterator[Floats]:
        """(L Lᵀ)⁻¹ on and below the diagonal of the factor's own array (t, t), into which it is put back afterwards."""
        array = self.lower
        mirror_lower(array)
        try:
            invert_lower(array)
            yield array
        finally:
            mirror_lower(array.T)
            array[np.diag_indices_from(array)] = self.diagonal


class LongTriangle(Triangle):
    """One that is made in the array of the latest before it in this thread, if they are of one size.

    Parameters
    ----------
    make : callable
        Makes the factor in an array (t, t), or in a new one.
    size : int
        The length t.
    """

    _latest = threading.local()

    def __init__(self, make: Callable[[Floats | None], Floats], size: int) -> None:
        self._make, self._size = make, size
        self._lower = None
        super().__init__(self.lower)

    @property
    def lower(self) -> Floats:
        """The factor, made again where another one has its array."""
        if self._lower is None:
            self._lower = self._make(self._taken())
            self._latest.held = weakref.ref(self)
        return self._lower

    def _taken(self) -> Floats | None:
        last: LongTriangle | None = getattr(self._latest, "held", lambda: None)()
        if last is None or last._size != self._size:
            return None
        array, last._lower = last._lower, None
        return array
