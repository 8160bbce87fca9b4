"""Residual covariances whose inverse is a combination of fixed matrices, so that rows are read once for all ρ.

With Λ⁻¹(ρ) = Σ_k c_k(ρ) B_k and B_k = T_kᵀT_k, every cross-product is Σ_k c_k(ρ) of one that no parameter changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import scipy

from _ranef.support.arrays import Floats, Ints

__all__ = ["Basis", "BasisLaw", "Part", "coefficient_slopes", "picked"]

#: imaginary step of derivatives, which are exact to rounding
STEP = 1e-30


class BasisLaw(ABC):
    """The coefficients by ρ; equal laws are the same function. Written for numpy, with complex ρ too, and for JAX."""

    @abstractmethod
    def coefficients(self, rho: Any, xp: ModuleType) -> Any:
        """C (K,)."""

    @abstractmethod
    def log_det(self, rho: Any, xp: ModuleType) -> Any:
        """Logarithm of |Λ⁻¹|, weights left out."""

    def centred(self) -> BasisLaw:
        """The law with the mean of log standard deviations of rows taken out; itself where they are all alike."""
        return self

    @abstractmethod
    def log_prior(self, rho: Any, xp: ModuleType) -> Any:
        """Logarithm of the default prior density of ρ."""


@dataclass(frozen=True, eq=False)
class Part:
    """One fixed matrix B = TᵀT.

    Attributes
    ----------
    transform : sparse array (m, n)
        T.
    rows : array of int (m,)
        A row of the model that each row of T is made of, whose levels all those that it is made of have.
    """

    transform: scipy.sparse.csr_array
    rows: Ints

    def of(self, values: Floats) -> Floats:
        """Values (q, n) of rows to (q, m)."""
        return np.asarray((self.transform @ values.T).T)


@dataclass(frozen=True, eq=False)
class Basis:
    """The fixed matrices and the law of their coefficients.

    Attributes
    ----------
    parts : tuple of Part
    law : BasisLaw
    log_weights : float
        What log |Λ⁻¹| has besides, of prior weights.
    """

    parts: tuple[Part, ...]
    law: BasisLaw
    log_weights: float = 0.0

    def weighted(self, weights: Floats | None) -> Basis:
        """The same of rows with prior weights."""
        if weights is None:
            return self
        root = scipy.sparse.diags_array(np.sqrt(weights))
        parts = tuple(Part(scipy.sparse.csr_array(part.transform @ root), part.rows) for part in self.parts)
        return Basis(parts, self.law, self.log_weights + float(np.log(weights).sum()))


def picked(rows: Ints, n: int) -> scipy.sparse.csr_array:
    """The matrix (m, n) that picks some of n rows."""
    return scipy.sparse.csr_array((np.ones(len(rows)), (np.arange(len(rows)), rows)), shape=(len(rows), n))


def coefficient_slopes(law: BasisLaw, rho: Floats) -> tuple[Floats, Floats]:
    """∂c/∂ρ (n_rho, K) and ∂log|Λ⁻¹|/∂ρ (n_rho,), by complex steps."""
    steps = [rho + 1j * STEP * (np.arange(len(rho)) == k) for k in range(len(rho))]
    slopes = [np.imag(law.coefficients(at, np)) / STEP for at in steps]
    return np.array(slopes), np.array([float(np.imag(law.log_det(at, np)) / STEP) for at in steps])
