"""Shares of variance: R² marginal and conditional, and intraclass correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranef.arrays import Floats
from ranef.spec import ModelSpec

__all__ = ["VarianceParts", "icc_frame", "r2_series", "variance_parts"]


@dataclass(frozen=True)
class VarianceParts:
    """The variance of a response, averaged over the rows used, in the response's units squared.

    Attributes
    ----------
    fixed : float
        Variance of Xβ over the rows (denominator n − 1); offsets are known and do not count.
    random : array (n_groupings,)
        Mean over the rows of zᵀΣ_kz.
    residual : float
        σ², the variance of a row of weight one.
    """

    fixed: float
    random: Floats
    residual: float

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.fixed + float(self.random.sum()) + self.residual


def variance_parts(spec: ModelSpec, beta: Floats, covs: Sequence[Floats], sigma: float) -> VarianceParts:
    """Split the variance of the response (Nakagawa & Schielzeth 2013; for random slopes Johnson 2014, eq. 10)."""
    linear = (spec.design.X - spec.design.X.mean(axis=0)) @ beta
    random = [float(np.sum(cov * (g.Z.T @ g.Z)) / spec.n_obs) for g, cov in zip(spec.groupings, covs, strict=True)]
    return VarianceParts(float(linear.var(ddof=1)), np.array(random, dtype=float), sigma**2)


def r2_series(parts: VarianceParts) -> pd.Series[float]:
    """R² ``marginal`` (fixed effects) and ``conditional`` (fixed and random effects)."""
    explained = parts.fixed + float(parts.random.sum())
    return pd.Series({"marginal": parts.fixed / parts.total, "conditional": explained / parts.total}, name="r2")


def icc_frame(spec: ModelSpec, parts: VarianceParts) -> pd.DataFrame:
    """``group, variance, adjusted, unadjusted``: one row a grouping factor, and their sum in the row ``all``."""
    variance = np.append(parts.random, parts.random.sum())
    return pd.DataFrame(
        {
            "group": [*(g.name for g in spec.groupings), "all"],
            "variance": variance,
            "adjusted": variance / (parts.random.sum() + parts.residual),
            "unadjusted": variance / parts.total,
        }
    )
