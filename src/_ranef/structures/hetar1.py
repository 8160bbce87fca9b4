"""First-order autoregression with a variance for every level."""

from __future__ import annotations

from dataclasses import dataclass

from _ranef.structures.ar1 import Autoregressive

__all__ = ["HeterogeneousAutoregressive"]


@dataclass(frozen=True)
class HeterogeneousAutoregressive(Autoregressive):
    """Own standard deviations, and the correlation ρ^|i − j| of columns i and j, which are levels in order."""

    word = "hetar1"
    meaning = "correlated the less the further apart their levels are"
    own = True
