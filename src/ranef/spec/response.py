"""How residuals vary from row to row: the one place that knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranef.arrays import Floats

__all__ = ["Residual"]


@dataclass(frozen=True, eq=False, repr=False)
class Residual:
    """Independent residuals with variances σ²/wᵢ.

    Attributes
    ----------
    n : int
        Number of rows.
    weights : array (n,) or None
        None where all are one.
    """

    n: int
    weights: Floats | None

    @property
    def plain(self) -> bool:
        """Whether all rows have the variance σ²."""
        return self.weights is None

    @property
    def precision(self) -> Floats:
        """σ² over the variance of each row (n,)."""
        return np.ones(self.n) if self.weights is None else self.weights

    @property
    def root(self) -> Floats:
        """Square roots of :attr:`precision` (n,), by which rows are multiplied."""
        return np.sqrt(self.precision)

    @property
    def log_precision(self) -> Floats:
        """Logarithms of :attr:`precision` (n,), whose sum enters densities."""
        return np.zeros(self.n) if self.weights is None else np.log(self.weights)

    def whitened(self, values: Floats, rows: slice = slice(None)) -> Floats:
        """Values (..., m) of some rows times √w; the values themselves where there is nothing to do."""
        return values if self.weights is None else values * np.sqrt(self.weights[rows])

    def sds(self, sigma: float) -> Floats:
        """Standard deviation of each row (n,)."""
        return np.asarray(sigma / self.root)
