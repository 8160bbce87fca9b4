"""What effects of a generalised response are drawn from at many points: lattices, strata, and a t that is fitted.

The joint mode of coefficients and effects lies away from the mode of the coefficients alone, the more so where effects
are many and rows of each few. The t is therefore moved to where the first weighted draws are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import load

__all__ = ["Around", "lattice", "pick", "strata"]

#: degrees of freedom of the proposal of z, and effective draws for each coordinate that fit it
DF, WORTH = 8.0, 20.0

#: points of the lattice by effects of a level
LATTICE, MOST_POINTS = {1: 6, 2: 12, 3: 32}, 64

#: shifts of a lattice
SHIFTS = 4096


@dataclass(frozen=True, eq=False, repr=False)
class Around:
    """A t about a centre (q,) with a lower root (q, q) of its scale."""

    centre: Floats
    root: Floats

    @classmethod
    def at_zero(cls, q: int) -> Around:
        """The standard one."""
        return cls(np.zeros(q), np.eye(q))

    def draw(self, N: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Points (N, q), and their log densities (N,)."""
        q, special = len(self.centre), load("scipy.special")
        noise = rng.standard_normal((N, q)) / np.sqrt(rng.chisquare(DF, (N, 1)) / DF)
        constant = special.gammaln(0.5 * (DF + q)) - special.gammaln(0.5 * DF) - 0.5 * q * np.log(DF * np.pi)
        heights = constant - 0.5 * (DF + q) * np.log1p((noise**2).sum(axis=1) / DF)
        return self.centre + noise @ self.root.T, heights - np.log(np.diag(self.root)).sum()

    def fitted(self, points: Floats, log_weights: Floats) -> tuple[Around, float]:
        """One with the moments of weighted points, and the weights' efficiency; they are flattened if few count."""
        n, q = points.shape
        weights = np.exp(log_weights - log_weights.max())
        efficiency = float(weights.sum() ** 2 / (weights**2).sum() / n)
        while weights.sum() ** 2 / (weights**2).sum() < min(WORTH * q, 0.5 * n):
            weights = np.sqrt(weights)
        weights = weights / weights.sum()
        centre = weights @ points
        away = points - centre
        return Around(centre, np.linalg.cholesky((weights * away.T) @ away)), efficiency


def pick(logs: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Of log weights (M, J) one (J,) drawn by them, and the logarithms of their means (J,)."""
    top = logs.max(axis=0)
    ends = np.cumsum(np.exp(logs - top), axis=0)
    chosen = (ends < rng.random(logs.shape[1]) * ends[-1]).sum(axis=0)
    return np.minimum(chosen, len(logs) - 1), top + np.log(ends[-1] / len(logs))


def strata(M: int, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Standard normals (M, *shape), of each coordinate one in every M-th part: each of the M is standard by itself."""
    ranks = rng.random((*shape, M)).argsort(axis=-1)
    u = (ranks + rng.random((*shape, M))) / M
    return np.ascontiguousarray(np.moveaxis(load("scipy.special").ndtri(u), -1, 0))


def lattice(J: int, p: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Points (M, J, p) of a lattice, shifted at random for every level, as independent t's with 4 degrees of freedom.

    Log densities are (M, J). A shift is one of 4096, of which a table is kept: means over them are the midpoint rule of
    so many intervals.
    """
    points, heights = _table(p)
    shifts = rng.integers(SHIFTS, size=(p, J))
    x = np.stack([own[:, shift] for own, shift in zip(points, shifts, strict=True)], axis=-1)
    return x, np.asarray(sum(own[:, shift] for own, shift in zip(heights, shifts, strict=True)))


@lru_cache(maxsize=8)
def _table(p: int) -> tuple[Floats, Floats]:
    """Points and log densities (p, M, shifts) of each coordinate.

    The quantiles have a closed form (Shaw 2006, *J. Comput. Finance* 9, 37-73).
    """
    M = LATTICE.get(p, MOST_POINTS)
    root = 2.0  # of r^(p + 1) = r + 1, whose powers spread evenly
    for _ in range(60):
        root = (1.0 + root) ** (1.0 / (p + 1.0))
    steps = 1.0 / root ** np.arange(1, p + 1) if p > 1 else np.array([1.0 / M])
    u = ((np.arange(SHIFTS) + 0.5) / SHIFTS + np.arange(M)[:, None] * steps[:, None, None]) % 1.0
    half = np.sqrt(4.0 * u * (1.0 - u))
    x = np.sign(u - 0.5) * 2.0 * np.sqrt(np.maximum(np.cos(np.arccos(half) / 3.0) / half - 1.0, 0.0))
    log: Any = np.log(0.375) - 2.5 * np.log1p(0.25 * x**2)
    return x, log
