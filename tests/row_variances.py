"""Residual variances with parameters that the package does not offer yet, to try their seam."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from _ranef.spec import ModelSpec, RowVariance
from _ranef.support.arrays import Floats, Ints


@dataclass(frozen=True, eq=False, repr=False)
class Strata(RowVariance):
    """One standard deviation for every stratum (nlme's varIdent): logarithms of its ratio to the first."""

    codes: Ints
    labels: tuple[str, ...]

    @property
    def names(self):
        return self.labels[1:]

    def log_sds(self, rho: Floats) -> Floats:
        return np.append(0.0, rho)[self.codes]

    def jacobian(self, rho: Floats) -> Floats:
        return (self.codes == np.arange(1, len(self.labels))[:, None]).astype(float)


@dataclass(frozen=True, eq=False, repr=False)
class Power(RowVariance):
    """σ|x|^ρ (nlme's varPower of a covariate)."""

    x: Floats

    names = ("power",)

    def log_sds(self, rho: Floats) -> Floats:
        return rho[0] * np.log(np.abs(self.x))

    def jacobian(self, rho: Floats) -> Floats:
        return np.log(np.abs(self.x))[None]


@dataclass(frozen=True, eq=False, repr=False)
class ConstPower(RowVariance):
    """σ(exp(ρ₁) + |x|^ρ₂) (nlme's varConstPower): not linear in ρ, and of any x."""

    x: Floats

    names = ("const", "power")
    start = np.array([0.0, 0.5])

    def _parts(self, rho: Floats) -> tuple[Floats, Floats]:
        size = np.abs(self.x)
        logs = np.log(np.where(size > 0, size, 1.0))
        return np.where(size > 0, np.exp(rho[1] * logs), 0.0), logs

    def log_sds(self, rho: Floats) -> Floats:
        return np.log(np.exp(rho[0]) + self._parts(rho)[0])

    def jacobian(self, rho: Floats) -> Floats:
        power, logs = self._parts(rho)
        return np.stack([np.full(len(self.x), np.exp(rho[0])), power * logs]) / (np.exp(rho[0]) + power)


def strata(column) -> Strata:
    """Of a column of labels."""
    codes, labels = np.unique(np.asarray(column).astype(str), return_inverse=True)[::-1]
    return Strata(codes, tuple(labels.tolist()))


def with_variance(spec: ModelSpec, variance: RowVariance) -> ModelSpec:
    return replace(spec, variance=variance)
