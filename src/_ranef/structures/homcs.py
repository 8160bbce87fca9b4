"""Homogeneous compound symmetry: one variance and one correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.structures.correlated import Correlated
from _ranef.structures.shape_coordinates import ShapeParameter
from _ranef.support.arrays import Floats

__all__ = ["HomogeneousCompoundSymmetry"]


@dataclass(frozen=True)
class HomogeneousCompoundSymmetry(Correlated):
    """One standard deviation, and one correlation ρ of every two columns, above −1/(p − 1).

    The logit u of ρ between its ends makes all of 1 − ρ and 1 + jρ without a difference of like numbers:
    1 − ρ = p/(p − 1) expit(−u), 1 + jρ = (p − 1 − j + j p expit(u))/(p − 1).
    """

    word = "homcs"
    meaning = "equally correlated and with one standard deviation"
    own = False

    @property
    def shapes(self) -> tuple[ShapeParameter, ...]:
        """The correlation."""
        return (ShapeParameter("cor", -1.0 / (self.size - 1), 1.0),)

    def factor(self, u: Floats) -> Floats:
        """Column j has one number on its diagonal and one below."""
        diagonal, below, _, _ = self._entries(u)
        return self._filled(diagonal, below)

    def slopes(self, u: Floats) -> Floats:
        """Of both numbers."""
        _, _, diagonal, below = self._entries(u)
        return self._filled(diagonal, below)[..., None, :, :]

    def moments(self, lags: Floats, means: Floats) -> Floats:
        """The mean correlation."""
        return means[..., None]

    def correlation(self, i: int, j: int) -> tuple[int, int]:
        """ρ."""
        return 0, 1

    def _entries(self, u: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """√(r_j c_j) and ρ√(r_j/c_j) (..., p) for c_j = 1 + jρ, r_j = (1 − ρ)/c_(j−1); and their slopes in u."""
        p, j = self.size, np.arange(self.size)
        up, down = scipy.special.expit(u), scipy.special.expit(-u)
        rho, slope = (p * up - 1.0) / (p - 1), p / (p - 1) * up * down
        c = (p - 1 - j + j * p * up) / (p - 1)
        before = np.concatenate([np.ones_like(u), c[..., :-1]], axis=-1)
        r = np.where(j > 0, p / (p - 1) * down / before, 1.0)
        # d log r and d log c; the last c is p expit(u), whose logarithm has the slope expit(−u) however small it is
        dr = np.where(j > 0, -up - (j - 1) * slope / before, 0.0)
        dc = np.concatenate([j[:-1] * slope / c[..., :-1], down], axis=-1)
        root = np.sqrt(r / np.concatenate([c[..., :-1], np.ones_like(u)], axis=-1))  # nothing is below the last
        diagonal, below = np.sqrt(r * c), rho * root
        return diagonal, below, 0.5 * diagonal * (dr + dc), slope * root + 0.5 * below * (dr - dc)

    def _filled(self, diagonal: Floats, below: Floats) -> Floats:
        unit = np.eye(self.size)
        return np.asarray(unit * diagonal[..., None, :] + np.tril(np.ones_like(unit), -1) * below[..., None, :])
