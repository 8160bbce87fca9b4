"""Shares of variance: R² marginal and conditional, and intraclass correlations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from _ranef.spec import Grouping, ModelSpec
from _ranef.support.arrays import Floats

__all__ = [
    "VarianceParts",
    "icc_frame",
    "level_variances",
    "mean_inverse_weight",
    "r2_series",
    "variance_parts",
    "weights_differ",
]


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
        Mean over the rows of σ²/w.
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
    moments = [_moments(part, beta) for part in spec.parts() if part.n_obs]
    n, mean = spec.n_obs, sum(m.total for m in moments) / spec.n_obs
    fixed = sum(m.squares + m.n * (m.total / m.n - mean) ** 2 for m in moments) / (n - 1)
    grams = [sum(m.grams[k] for m in moments) for k in range(len(spec.groupings))]
    random = [float(np.sum(cov * gram) / n) for cov, gram in zip(covs, grams, strict=True)]
    return VarianceParts(float(fixed), np.array(random, dtype=float), sigma**2 * mean_inverse_weight(spec))


def mean_inverse_weight(spec: ModelSpec) -> float:
    """Mean of 1/w over the rows: times σ² it is the residual variance of the response, whatever the weights' unit."""
    return float(sum(inverse.sum() for inverse in _inverse_weights(spec))) / spec.n_obs


def weights_differ(spec: ModelSpec) -> bool:
    """Whether the rows have residual variances of their own."""
    ends = [(inverse.min(), inverse.max()) for inverse in _inverse_weights(spec)]
    return bool(min(low for low, _ in ends) < max(high for _, high in ends))


def _inverse_weights(spec: ModelSpec) -> Iterator[Floats]:
    """1/w of the rows, part by part."""
    for part in spec.parts():
        yield 1.0 / part.residual.precision


@dataclass(frozen=True)
class _Moments:
    """Of some rows: their number, Σ Xβ, Σ (Xβ − mean)² and ZᵀZ by grouping."""

    n: int
    total: float
    squares: float
    grams: tuple[Floats, ...]


def _moments(rows: ModelSpec, beta: Floats) -> _Moments:
    X = rows.design.X
    centre = X.mean(axis=0)
    within = (X - centre) @ beta
    grams = tuple((g.Z * level_variances(g)).T @ g.Z for g in rows.groupings)
    return _Moments(len(X), len(X) * float(centre @ beta), float(within @ within), grams)


def level_variances(g: Grouping) -> Floats | float:
    """Diagonal of the known covariance among levels, by row (n, 1); 1 where there is none."""
    return 1.0 if g.among is None else g.among.variances[g.codes, None]


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
