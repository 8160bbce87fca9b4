"""Λ, D, V and L at the estimates, sparse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import scipy

from _ranef.spec import ModelMatrices
from _ranef.support.arrays import Floats

__all__ = ["FitMatrices"]


@dataclass(frozen=True, eq=False, repr=False)
class FitMatrices(ModelMatrices):
    """The matrices of a model with those that depend on θ̂ and σ̂.

    Attributes
    ----------
    theta : array (n_theta,)
    sigma : float
    """

    theta: Floats
    sigma: float

    @cached_property
    def Lambda(self) -> scipy.sparse.csr_array:
        """Relative Cholesky factor Λ (q, q): Var b = σ²ΛΛᵀ, in the order of Z's columns."""
        blocks = []
        for t in self.spec.terms:
            lam = scipy.sparse.csr_array(t.structure.root(self.theta[t.theta]))
            levels = self.spec.groupings[t.grouping].n_levels
            root = self.spec.groupings[t.grouping].root
            among = scipy.sparse.eye_array(levels) if root is None else scipy.sparse.csr_array(root)
            blocks.append(scipy.sparse.kron(among, lam))
        return scipy.sparse.csr_array(scipy.sparse.block_diag(blocks)) if blocks else scipy.sparse.csr_array((0, 0))

    @property
    def D(self) -> scipy.sparse.csr_array:
        """Covariance of the random effects, σ²ΛΛᵀ (q, q)."""
        return scipy.sparse.csr_array(self.sigma**2 * (self.Lambda @ self.Lambda.T))

    @property
    def R(self) -> scipy.sparse.csr_array:
        """Covariance of the residuals, σ²W⁻¹ (n, n)."""
        return scipy.sparse.csr_array(scipy.sparse.diags_array(self.spec.residual.sds(self.sigma) ** 2))

    @property
    def V(self) -> scipy.sparse.csr_array:
        """Marginal covariance of the response, Z D Zᵀ + R (n, n)."""
        return scipy.sparse.csr_array(self.Z @ self.D @ self.Z.T + self.R)

    @property
    def L(self) -> Floats:
        """Lower Cholesky factor (q, q) of ΛᵀZᵀWZΛ + I, dense: for teaching, not for large q."""
        ZL = scipy.sparse.diags_array(self.spec.residual.root) @ self.Z @ self.Lambda
        return np.linalg.cholesky((ZL.T @ ZL).toarray() + np.eye(self.Lambda.shape[0]))

    def V_cluster(self, level: str, group: str | None = None) -> pd.DataFrame:
        """Block of V for the rows of one level."""
        rows = self.cluster(level, group).rows
        block = self.V[rows][:, rows].toarray()
        labels = self.spec.design.index[rows]
        return pd.DataFrame(block, index=labels, columns=labels)
