"""Toeplitz: a variance for every level, and a correlation for every distance of levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.structures.correlated import Correlated, tanh_half
from _ranef.structures.shape_coordinates import ShapeParameter
from _ranef.support.arrays import Floats

__all__ = ["Toeplitz"]


@dataclass(frozen=True)
class Toeplitz(Correlated):
    """Own standard deviations, and one correlation for each lag |i − j| of columns, which are levels in order.

    Its shapes are partial autocorrelations: any numbers between −1 and 1 are those of one positive definite matrix
    (Barndorff-Nielsen and Schou 1973, J. Multivar. Anal. 3, 408–419), which the lattice of Durbin and Levinson makes.
    """

    word = "toep"
    meaning = "correlated by the distance of their levels"
    own = True
    levels = True
    few = True

    @property
    def shapes(self) -> tuple[ShapeParameter, ...]:
        """Partial autocorrelations by lag."""
        return tuple(ShapeParameter(f"pacf{k}", -1.0, 1.0) for k in range(1, self.size))

    def factor(self, u: Floats) -> Floats:
        """Rows of L: what innovations of unit variance make of each level."""
        return self._lattice(u, slopes=False)[..., 0, :, :]

    def slopes(self, u: Floats) -> Floats:
        """By the slopes of the lattice."""
        return self._lattice(u, slopes=True)[..., 1:, :, :]

    def _lattice(self, u: Floats, *, slopes: bool) -> Floats:
        """L, and with `slopes` its derivatives in u after it, (..., 1 or p, p, p).

        With forward errors f_m and backward errors b_m of order m, f_0(t) = b_0(t) the effect of level t: the newest,
        f_t(t), is the t-th innovation times the root of what is left of the variance; then f_(m−1)(t) = f_m(t) +
        k_m b_(m−1)(t−1) and b_m(t) = b_(m−1)(t−1) − k_m f_(m−1)(t).
        """
        p, lead = self.size, u.shape[:-1]
        k, rest = tanh_half(u)
        n = p if slopes else 1
        one = np.zeros((*lead, n, p))
        out = np.zeros((*lead, n, p, p))
        dk, drest = np.zeros((*lead, n, p - 1)), np.zeros((*lead, n, p - 1))
        for m in range(p - 1 if slopes else 0):
            dk[..., m + 1, m], drest[..., m + 1, m] = 0.5 * rest[..., m] ** 2, -0.5 * k[..., m] * rest[..., m]

        def times(a: Floats, da: Floats, value: Floats) -> Floats:
            """A number a with slopes da (..., n), times a value whose slopes stand after it, (..., n, p)."""
            return a[..., None, None] * value + da[..., None] * value[..., :1, :]

        backward: list[Floats] = []
        scale, dscale = np.ones(lead), np.zeros((*lead, n))
        for t in range(p):
            if t:
                dscale = dscale * rest[..., t - 1, None] + scale[..., None] * drest[..., t - 1]
                scale = scale * rest[..., t - 1]
            own = one.copy()
            own[..., 0, t] = scale
            own[..., 1:, t] = dscale[..., 1:]
            forward = [own]  # of orders t, t − 1, …, 0
            for m in range(t, 0, -1):
                forward.append(forward[-1] + times(k[..., m - 1], dk[..., m - 1], backward[m - 1]))
            forward.reverse()
            before, backward = backward, [forward[0]]
            for m in range(1, t + 1):
                backward.append(before[m - 1] - times(k[..., m - 1], dk[..., m - 1], forward[m - 1]))
            out[..., t, :] = forward[0]
        return out

    def moments(self, lags: Floats, means: Floats) -> Floats:
        """Partial autocorrelations of the mean correlations by lag; zero where a lag is not known."""
        p, lead = self.size, lags.shape[:-1]
        partial = np.zeros((*lead, p - 1))
        coefficients = np.zeros((*lead, 0))
        for m in range(1, p):
            seen = np.concatenate([np.ones((*lead, 1)), lags[..., : m - 1]], axis=-1)
            seen = np.nan_to_num(seen)
            left = 1.0 - (coefficients * seen[..., 1:m]).sum(axis=-1)
            ahead = lags[..., m - 1] - (coefficients * seen[..., m - 1 : 0 : -1]).sum(axis=-1)
            with np.errstate(invalid="ignore", divide="ignore"):
                k = np.where(left > 0, ahead / left, 0.0)
            k = np.clip(np.nan_to_num(k, nan=0.0), -1.0, 1.0)
            partial[..., m - 1] = k
            turned = coefficients - k[..., None] * coefficients[..., ::-1]
            coefficients = np.concatenate([turned, k[..., None]], axis=-1)
        return partial

    def correlation(self, i: int, j: int) -> tuple[int, int]:
        """One for each lag."""
        return abs(i - j), 1
