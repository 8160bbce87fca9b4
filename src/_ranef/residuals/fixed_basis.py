"""Residual covariances whose inverse is a combination of fixed matrices, so that rows are read once for all ρ.

With Λ⁻¹(ρ) = Σ_k c_k(ρ) B_k and B_k = Σ_j M_kj T_jᵀT_j, every cross-product is Σ_k c_k(ρ) of one that no parameter
changes. Mostly c_k = exp τ_k(ρ), and log|Λ⁻¹| = Σ_k m_k τ_k(ρ).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import scipy

from _ranef.support.arrays import Floats, Ints

__all__ = ["STEP", "Basis", "BasisLaw", "LogLaw", "Part", "picked"]

#: imaginary step of derivatives, which are exact to rounding
STEP = 1e-30


class BasisLaw(ABC):
    """The coefficients by ρ, and the `numbers` and `counts` of a model."""

    @abstractmethod
    def at(self, numbers: Floats, counts: Floats, rho: Floats) -> tuple[Floats, float]:
        """Coefficients (K,), and log |Λ⁻¹| but for prior weights."""

    def at_many(self, numbers: Floats, counts: Floats, rhos: Floats) -> tuple[Floats, Floats]:
        """The same (N, K) and (N,) at many ρ (N, n_rho)."""
        found = [self.at(numbers, counts, rho) for rho in rhos]
        return np.array([c for c, _ in found]), np.array([log_det for _, log_det in found])

    @abstractmethod
    def slopes(self, numbers: Floats, counts: Floats, rho: Floats) -> tuple[Floats, Floats]:
        """Their derivatives (n_rho, K) and (n_rho,)."""


class LogLaw(BasisLaw):
    """Positive ones exp(τ): without state, so that models share what is compiled.

    Written for numpy, with complex ρ too, and for JAX; the loops of :mod:`_ranef.posterior.loops` know it by its code.
    """

    code: ClassVar[int]

    def at(self, numbers: Floats, counts: Floats, rho: Floats) -> tuple[Floats, float]:
        """By τ."""
        logs = self.logs(numbers, rho, np)
        return np.exp(logs), float(counts @ logs)

    def slopes(self, numbers: Floats, counts: Floats, rho: Floats) -> tuple[Floats, Floats]:
        """By complex steps."""
        slopes = self.log_slopes(numbers, rho)
        return slopes * self.at(numbers, counts, rho)[0], slopes @ counts

    def log_slopes(self, numbers: Floats, rho: Floats) -> Floats:
        """∂τ/∂ρ (n_rho, K)."""
        steps = [rho + 1j * STEP * (np.arange(len(rho)) == k) for k in range(len(rho))]
        return np.array([np.imag(self.logs(numbers, at, np)) / STEP for at in steps])

    @abstractmethod
    def logs(self, numbers: Any, rho: Any, xp: ModuleType) -> Any:
        """Logarithms τ (K,) of the coefficients."""

    @abstractmethod
    def log_prior(self, rho: Any, xp: ModuleType) -> Any:
        """Logarithm of the default prior density of ρ."""


@dataclass(frozen=True, eq=False)
class Part:
    """A matrix TᵀT, of which the fixed ones are sums.

    Attributes
    ----------
    transform : sparse array (m, n)
        T.
    rows : array of int (m,)
        A row of the model that each row of T is made of, whose levels all those that it is made of have.
    places : array of int (m,), optional
        Where rows are read in chunks, and a row of T is made of those of several: which of the `total` it is.
    total : int
    """

    transform: scipy.sparse.csr_array
    rows: Ints
    places: Ints | None = None
    total: int = 0

    def of(self, values: Floats) -> Floats:
        """Values (q, n) of rows to (q, m)."""
        return np.stack([self.transform @ row for row in values])  # times a matrix it would copy them first


@dataclass(frozen=True, eq=False)
class Basis:
    """The fixed matrices and the law of their coefficients.

    Attributes
    ----------
    parts : tuple of Part
        J of them.
    law : BasisLaw
    numbers : array
        What the law reads of this model.
    counts : array (K,)
        The m_k.
    mix : array (K, J), optional
        M; without it every part is a fixed matrix.
    log_weights : float
        What log |Λ⁻¹| has besides, of prior weights.
    """

    parts: tuple[Part, ...]
    law: BasisLaw
    numbers: Floats
    counts: Floats
    mix: Floats | None = None
    log_weights: float = 0.0

    def weighted(self, weights: Floats | None) -> Basis:
        """The same of rows with prior weights."""
        if weights is None:
            return self
        root = scipy.sparse.diags_array(np.sqrt(weights))
        parts = tuple(replace(part, transform=scipy.sparse.csr_array(part.transform @ root)) for part in self.parts)
        return replace(self, parts=parts, log_weights=self.log_weights + float(np.log(weights).sum()))

    def mixed(self, sums: Floats) -> Floats:
        """Sums (J, ...) over the parts as those (K, ...) of the fixed matrices."""
        return sums if self.mix is None else np.tensordot(self.mix, sums, 1)

    def at(self, rho: Floats) -> tuple[Floats, float]:
        """Coefficients (K,) at ρ, and log |Λ⁻¹|."""
        c, log_det = self.law.at(self.numbers, self.counts, rho)
        return c, log_det + self.log_weights

    def slopes(self, rho: Floats) -> tuple[Floats, Floats]:
        """∂coefficients/∂ρ (n_rho, K) and ∂log|Λ⁻¹|/∂ρ (n_rho,)."""
        return self.law.slopes(self.numbers, self.counts, rho)

    def movement(self, rho: Floats) -> Floats:
        """How far ∂/∂ρ moves whitened rows of independent values, but for their length (n_rho, K)."""
        c, change = self.at(rho)[0], self.slopes(rho)[0]
        shares = self.counts * c / (self.counts @ c)
        return np.asarray((change / c - (change / c @ shares)[:, None]) * np.sqrt(shares))


def picked(rows: Ints, n: int) -> scipy.sparse.csr_array:
    """The matrix (m, n) that picks some of n rows."""
    return scipy.sparse.csr_array((np.ones(len(rows)), (np.arange(len(rows)), rows)), shape=(len(rows), n))
