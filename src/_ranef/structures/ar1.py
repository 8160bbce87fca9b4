"""First-order autoregression: one variance, and correlations that fall with the distance of levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.structures.correlated import Correlated, tanh_half
from _ranef.structures.shape_coordinates import ShapeParameter
from _ranef.support.arrays import Floats

__all__ = ["Autoregressive"]


@dataclass(frozen=True)
class Autoregressive(Correlated):
    """One standard deviation, and the correlation ρ^|i − j| of columns i and j, which are levels in order.

    L has ρⁱ in its first column and ρ^(i − j)√(1 − ρ²) in the others.
    """

    word = "ar1"
    meaning = "correlated the less the further apart their levels are, with one standard deviation"
    own = False
    levels = True
    few = True

    @property
    def shapes(self) -> tuple[ShapeParameter, ...]:
        """The correlation of neighbours."""
        return (ShapeParameter("cor", -1.0, 1.0),)

    def factor(self, u: Floats) -> Floats:
        """By powers of ρ."""
        rho, rest = tanh_half(u)
        powers = rho[..., None] ** self._distance
        return np.asarray(np.tril(powers * self._columns(rest)))

    def slopes(self, u: Floats) -> Floats:
        """Of the powers, and of √(1 − ρ²)."""
        rho, rest = tanh_half(u)
        k = self._distance
        of_powers = k * rho[..., None] ** np.maximum(k - 1, 0) * (0.5 * rest**2)[..., None] * self._columns(rest)
        of_rest = rho[..., None] ** k * self._columns(-0.5 * rho * rest, first=0.0)
        return np.asarray(np.tril(of_powers + of_rest)[..., None, :, :])

    def moments(self, lags: Floats, means: Floats) -> Floats:
        """The root of the mean correlation at the least lag that is known."""
        rho = np.full(lags.shape[:-1], np.nan)
        for k in reversed(range(1, self.size)):
            r = lags[..., k - 1]
            rho = np.where(np.isfinite(r), np.sign(r) * np.abs(r) ** (1.0 / k), rho)
        return rho[..., None]

    def correlation(self, i: int, j: int) -> tuple[int, int]:
        """ρ^|i − j|."""
        return 0, abs(i - j)

    @property
    def _distance(self) -> Floats:
        i = np.arange(self.size, dtype=np.float64)
        return np.asarray(np.maximum(i[:, None] - i, 0.0))

    def _columns(self, rest: Floats, first: float = 1.0) -> Floats:
        """A number for the first column, another for the others, (..., 1, p)."""
        out = np.repeat(rest, self.size, axis=-1)
        out[..., 0] = first
        return out[..., None, :]
