"""Compound symmetry: a variance for every column and one correlation."""

from __future__ import annotations

from dataclasses import dataclass

from _ranef.structures.homcs import HomogeneousCompoundSymmetry

__all__ = ["CompoundSymmetry"]


@dataclass(frozen=True)
class CompoundSymmetry(HomogeneousCompoundSymmetry):
    """Own standard deviations, and one correlation of every two columns, above −1/(p − 1)."""

    word = "cs"
    meaning = "equally correlated"
    own = True
    few = True
