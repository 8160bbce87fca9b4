"""A structure that the package does not have, to try its seam: compound symmetry, which is not linear in θ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from _ranef.structures import ShapeParameter, Structure, lower_root, non_zero
from _ranef.support.arrays import Bools, Floats

#: step of the differences that the jacobian is made of
STEP = 1e-6


@dataclass(frozen=True)
class ToySymmetry(Structure):
    """One variance and one correlation; θ is the sd over σ, and the logit of where ρ stands between its bounds.

    A single column has no correlation, and so one θ.
    """

    word = "cs"
    meaning = "equally correlated"

    @property
    def n_theta(self) -> int:
        return min(self.size, 2)

    @property
    def on_diagonal(self) -> Bools:
        return np.array([True, False])[: self.n_theta]

    @property
    def own_sds(self) -> range:
        return range(1)

    @property
    def pairs(self):
        return tuple((i, j) for j in range(self.size) for i in range(j + 1, self.size))

    @property
    def rho(self) -> ShapeParameter:
        return ShapeParameter("cor", -1.0 / (self.size - 1), 1.0)

    @property
    def shapes(self) -> tuple[ShapeParameter, ...]:
        return (self.rho,) if self.size > 1 else ()

    def spread(self, theta: Floats) -> tuple[Floats, Floats]:
        """Eigenvalues of the correlation matrix: that of all other contrasts, and that of the mean."""
        if self.size == 1:
            return np.ones(theta.shape[:-1]), np.ones(theta.shape[:-1])
        return (1.0 - self.rho.low) * expit(-theta[..., 1]), self.size * expit(theta[..., 1])

    def root(self, theta: Floats) -> Floats:
        other, mean = (np.sqrt(value)[..., None, None] for value in self.spread(theta))
        symmetric = other * np.eye(self.size) + (mean - other) / self.size
        return theta[..., 0, None, None] * lower_root(symmetric)

    def jacobian(self, theta: Floats) -> Floats:
        steps = STEP * np.eye(self.n_theta)
        return np.stack([(self.root(theta + h) - self.root(theta - h)) / (2 * STEP) for h in steps], axis=-3)

    def labels(self, columns: Sequence[str]) -> list[str]:
        return ["sd", "rho"][: self.n_theta]

    def closest(self, root: Floats) -> Floats:
        cov = root @ np.swapaxes(root, -1, -2)
        p = self.size
        variance = np.trace(cov, axis1=-2, axis2=-1) / p
        if p == 1:
            return np.sqrt(variance)[..., None]
        between = (cov.sum(axis=(-2, -1)) - p * variance) / (p * (p - 1))
        rho = np.divide(between, variance, out=np.zeros_like(variance), where=variance > 0)
        margin = 1e-6 * (self.rho.high - self.rho.low)
        inside = np.clip(rho, self.rho.low + margin, self.rho.high - margin)
        return np.stack([np.sqrt(variance), self.rho.coordinate(inside)], axis=-1)

    def scaling_map(self, gram: Floats) -> Floats:
        return np.eye(self.size) / float(np.sqrt(np.mean(non_zero(np.diag(gram)))))

    def falls(self, inner: Floats, null: Floats, root: Floats | None = None) -> tuple[Floats, Floats]:
        return np.array([inner.sum()]), np.ones((self.size, 1))
