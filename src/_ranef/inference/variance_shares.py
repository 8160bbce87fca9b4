"""Shares of variance: R² marginal and conditional, and intraclass correlations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from _ranef.spec import Grouping, ModelSpec, moments
from _ranef.support.arrays import Floats

__all__ = [
    "RowMoments",
    "VarianceParts",
    "icc_frame",
    "icc_intervals",
    "level_variances",
    "mean_inverse_weight",
    "r2_intervals",
    "r2_series",
    "row_moments",
    "variance_parts",
    "weights_differ",
]


#: kinds of R²
R2 = ("marginal", "conditional")


@dataclass(frozen=True, eq=False)
class VarianceParts:
    """The variance of a response, averaged over the rows used, in the response's units squared, of estimates or draws.

    Attributes
    ----------
    fixed : array (...)
        Variance of Xβ over the rows (denominator n − 1); offsets are known and do not count.
    random : array (..., n_groupings)
        Mean over the rows of zᵀΣ_kz.
    residual : array (...)
        Mean over the rows of σ²/w, of a Student response times ν/(ν − 2), infinite where ν ≤ 2.
    """

    fixed: Floats
    random: Floats
    residual: Floats

    @property
    def total(self) -> Floats:
        """Sum of all parts (...)."""
        return np.asarray(self.fixed + self.random.sum(axis=-1) + self.residual)

    @property
    def r2(self) -> Floats:
        """R² (..., 2): share of the fixed effects, and of fixed and random effects."""
        return np.stack([self.fixed, self.fixed + self.random.sum(axis=-1)], axis=-1) / self.total[..., None]

    @property
    def icc(self) -> Floats:
        """Shares (..., n_groupings + 1, 2) by factor and of all, without and with the variance of the fixed effects."""
        variance = np.concatenate([self.random, self.random.sum(axis=-1, keepdims=True)], axis=-1)
        over = np.stack([self.random.sum(axis=-1) + self.residual, self.total], axis=-1)
        return np.asarray(variance[..., None] / over[..., None, :])


@dataclass(frozen=True, eq=False)
class RowMoments:
    """Second moments of the rows used.

    Attributes
    ----------
    X : array (p, p)
        Covariance of the columns of X (denominator n − 1).
    Z : tuple of array (p_k, p_k)
        Mean of zzᵀ by grouping, times the variance of a level where levels are related.
    """

    X: Floats
    Z: tuple[Floats, ...]


def row_moments(spec: ModelSpec) -> RowMoments:
    """Read the rows, or what stands for them where they are not in memory."""
    if spec.design.stream is not None and not spec.related:
        own = moments(spec)
        R = own.X[1:, 1:]
        return RowMoments(spec.n_obs / (spec.n_obs - 1) * R.T @ R, tuple(R[:, 1:].T @ R[:, 1:] for R in own.Z))
    parts = [part for part in spec.parts() if part.n_obs]
    mean = sum(part.design.X.sum(axis=0) for part in parts) / spec.n_obs
    away = [part.design.X - mean for part in parts]
    Z = [sum((g.Z * level_variances(g)).T @ g.Z for g in of) / spec.n_obs for of in _by_grouping(parts)]
    return RowMoments(np.asarray(sum(x.T @ x for x in away) / (spec.n_obs - 1)), tuple(np.asarray(z) for z in Z))


def _by_grouping(parts: Sequence[ModelSpec]) -> Iterator[tuple[Grouping, ...]]:
    return zip(*(part.groupings for part in parts), strict=True)


def variance_parts(moments: RowMoments, beta: Floats, covs: Sequence[Floats], residual: Floats) -> VarianceParts:
    """Split the variance of the response (Nakagawa & Schielzeth 2013; for random slopes Johnson 2014, eq. 10).

    β is (..., p), Σ_k (..., p_k, p_k) by grouping, and the mean variance of a residual (...).
    """
    fixed = np.einsum("...p,pq,...q->...", beta, moments.X, beta, optimize=True)
    random = [np.einsum("...pq,pq->...", cov, G) for cov, G in zip(covs, moments.Z, strict=True)]
    none = np.zeros((*np.shape(residual), 0))
    return VarianceParts(np.asarray(fixed), np.stack(random, axis=-1) if random else none, np.asarray(residual))


def mean_inverse_weight(spec: ModelSpec) -> float:
    """Mean of 1/w over the rows: times σ² it is the residual variance of the response, whatever the weights' unit."""
    if not spec.residual.weighted and not spec.structured:
        return 1.0
    return float(sum(inverse.sum() for inverse in _inverse_weights(spec))) / spec.n_obs


def weights_differ(spec: ModelSpec) -> bool:
    """Whether the rows have residual variances of their own."""
    ends = [(inverse.min(), inverse.max()) for inverse in _inverse_weights(spec)]
    return bool(min(low for low, _ in ends) < max(high for _, high in ends))


def _inverse_weights(spec: ModelSpec) -> Iterator[Floats]:
    """1/w of the rows, part by part."""
    for part in spec.parts():
        yield 1.0 / part.residual.precision


def level_variances(g: Grouping) -> Floats | float:
    """Diagonal of the known covariance among levels, by row (n, 1); 1 where there is none."""
    return 1.0 if g.among is None else g.among.variances[g.codes, None]


def r2_series(parts: VarianceParts) -> pd.Series[float]:
    """R² ``marginal`` (fixed effects) and ``conditional`` (fixed and random effects)."""
    return pd.Series(parts.r2, index=list(R2), name="r2")


def icc_frame(spec: ModelSpec, parts: VarianceParts) -> pd.DataFrame:
    """``group, variance, adjusted, unadjusted``: one row a grouping factor, and their sum in the row ``all``."""
    adjusted, unadjusted = parts.icc.T
    variance = np.append(parts.random, parts.random.sum())
    return pd.DataFrame(
        {
            "group": [*(g.name for g in spec.groupings), "all"],
            "variance": variance,
            "adjusted": adjusted,
            "unadjusted": unadjusted,
        }
    )


def r2_intervals(estimate: Floats, lower: Floats, upper: Floats) -> pd.DataFrame:
    """``estimate, lower, upper`` of R², each (2,)."""
    return pd.DataFrame({"estimate": estimate, "lower": lower, "upper": upper}, index=list(R2))


def icc_intervals(frame: pd.DataFrame, lower: Floats, upper: Floats) -> pd.DataFrame:
    """The frame of :func:`icc_frame` with the ends (n_groupings + 1, 2) of every share behind it."""
    out = frame.copy()
    for k, kind in enumerate(("adjusted", "unadjusted")):
        place = list(out.columns).index(kind) + 1
        out.insert(place, f"{kind}_upper", upper[:, k])
        out.insert(place, f"{kind}_lower", lower[:, k])
    return out
