"""Parameters of a structure that are no standard deviations, with coordinates on the whole line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.support.arrays import Floats

__all__ = ["ShapeParameter"]


@dataclass(frozen=True)
class ShapeParameter:
    """One parameter x with its coordinate u: the logit of where x stands between its bounds, log x, or x itself.

    Attributes
    ----------
    name : str
        What priors call it, as ``cor`` for a correlation.
    low, high : float
        Its bounds: both finite, zero and infinity, or both infinite.
    scale : float
        A usual size, for the default prior of one that is not bounded on both sides; that of others is uniform.
    """

    name: str
    low: float = -np.inf
    high: float = np.inf
    scale: float = 1.0

    @property
    def bounded(self) -> bool:
        """Whether both bounds are finite."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def positive(self) -> bool:
        """Whether it is any positive number."""
        return bool(np.isfinite(self.low)) and not self.bounded

    @property
    def usual(self) -> float:
        """The coordinate of a value to start from."""
        return float(np.log(self.scale)) if self.positive else 0.0

    def value(self, u: Floats) -> Floats:
        """The parameter at coordinates `u` (...)."""
        if self.bounded:
            return np.asarray(self.low + (self.high - self.low) * scipy.special.expit(u))
        return np.exp(u) if self.positive else u

    def coordinate(self, x: Floats) -> Floats:
        """The inverse."""
        if self.bounded:
            return np.asarray(scipy.special.logit((x - self.low) / (self.high - self.low)))
        return np.log(x) if self.positive else x

    def log_slope(self, u: Floats) -> tuple[Floats, Floats]:
        """Log |dx/du| at coordinates `u` (...), and its derivative."""
        if self.bounded:
            away = np.abs(u)
            return np.log(self.high - self.low) - away - 2.0 * np.log1p(np.exp(-away)), -np.tanh(0.5 * u)
        return (u, np.ones_like(u)) if self.positive else (np.zeros_like(u), np.zeros_like(u))
