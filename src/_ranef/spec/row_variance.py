"""Standard deviations of rows that have parameters of their own: what everything that fits them asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from _ranef.support.arrays import Floats

__all__ = ["RowVariance"]


@dataclass(frozen=True, eq=False, repr=False)
class RowVariance(ABC):
    """How residual standard deviations σ exp(η(ρ)) of the n rows depend on parameters ρ without bounds."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    @abstractmethod
    def log_sds(self, rho: Floats) -> Floats:
        """η (n,): logarithms of the standard deviations over σ."""

    @abstractmethod
    def jacobian(self, rho: Floats) -> Floats:
        """∂η/∂ρ (n_rho, n)."""

    @property
    def start(self) -> Floats:
        """ρ (n_rho,) from which estimation begins; by default zeros, where all rows are alike."""
        return np.zeros(len(self.names))
