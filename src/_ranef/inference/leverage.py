"""Cook's distances of the observations, the conditional AIC, and the joint covariance of coefficients and effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from _ranef.errors import FitError
from _ranef.inference.effect_frames import grouping_named
from _ranef.inference.prediction import Rows
from _ranef.likelihood import At, LaplaceAt, combination_roots, combination_variances
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["conditional_aic", "cooks_distances", "joint_covariance", "predictor_variances"]

#: effects of which a dense joint covariance may be asked
MAX_EFFECTS = 5000

#: 1 − h below this is zero to rounding: the model fits the row exactly, whatever its response
EXACT_ROW = 1e-10


def cooks_distances(pearson: Floats, leverage: Floats, n_fixed: int) -> Floats:
    """Cook's distance (n,) of every observation, (r/(1 − h))² h/p with r the Pearson residual over σ.

    The one-step value of lme4's ``cooks.distance`` (Cook & Weisberg 1982, *Residuals and Influence in Regression*,
    §3.5, with the leverage of the mixed model). NaN where h = 1.

    Raises
    ------
    FitError
        If the model has no fixed effects, by whose number the distance is divided.
    """
    if n_fixed == 0:
        raise FitError(
            "Cook's distance needs at least one fixed effect, and the model has 0: it measures how far they move. Take "
            "hatvalues() and residuals('pearson'), or put an intercept into the formula."
        )
    rest = np.where(1.0 - leverage > EXACT_ROW, 1.0 - leverage, np.nan)
    return np.asarray((pearson / rest) ** 2 * leverage / n_fixed)


def predictor_variances(spec: ModelSpec, at: LaplaceAt) -> Floats:
    """Variances (n,) of the linear predictors of the rows used, by the working response, θ taken as known."""
    codes, Z = [g.codes for g in spec.groupings], [g.Z for g in spec.groupings]
    given, beta = combination_variances(at.working, spec.design.X, codes, Z, range(len(Z)))
    return given + beta


def joint_covariance(at: At, group: str | None = None) -> pd.DataFrame:
    """Covariance of (β̂, b̂ − b) given θ, σ² times the inverse of Henderson's mixed-model equations, by name.

    See :mod:`_ranef.likelihood.prediction_covariances`.

    Raises
    ------
    DesignError
        If the model has no grouping factor `group`.
    FitError
        If the matrix, or what it is made from, would be too large to hold.
    """
    spec = at.likelihood.spec
    chosen = range(len(spec.groupings)) if group is None else [grouping_named(spec, group)[0]]
    rows = _effects(spec, chosen)
    q = sum(g.n_levels * len(g.columns) for g in spec.groupings)
    m = len(rows.index)
    if (q + spec.n_fixed) * m > MAX_EFFECTS**2:
        raise FitError(
            f"The joint covariance of {m} effects in a model of {q + spec.n_fixed} is too large to hold densely: their "
            f"product must not exceed {MAX_EFFECTS}². Take one grouping factor with group=, vcov for the coefficients, "
            "ranef() for the sd of each effect, or predict(data, interval='confidence') for sums of effects."
        )
    white = combination_roots(at, rows.X, rows.codes, rows.Z, range(len(spec.groupings)))
    return pd.DataFrame(white.T @ white, index=rows.index, columns=rows.index)


def _effects(spec: ModelSpec, chosen: Sequence[int]) -> Rows:
    """One row for each coefficient and each random effect of the groupings chosen, in the order of ``matrices``."""
    p = spec.n_fixed
    names = list(spec.design.fixed_names)
    placed: list[tuple[int, int, int]] = []
    for t in spec.terms:
        if t.grouping in chosen:
            levels = spec.groupings[t.grouping].levels
            names += [f"{t.group}[{level}].{c}" for level in levels for c in t.columns]
            placed += [(t.grouping, j, t.start + a) for j in range(len(levels)) for a in range(len(t.columns))]
    m = p + len(placed)
    codes = [np.full(m, -1, dtype=np.intp) for _ in spec.groupings]
    Z = [np.zeros((m, len(g.columns))) for g in spec.groupings]
    for row, (k, level, column) in enumerate(placed, start=p):
        codes[k][row], Z[k][row, column] = level, 1.0
    none: tuple[tuple[str, ...], ...] = ((),) * len(spec.groupings)
    return Rows(np.eye(m, p), np.zeros(m), tuple(codes), tuple(Z), pd.Index(names), none)


def conditional_aic(spec: ModelSpec, normalized: pd.Series[float], sigma: float, leverages: pd.Series[float]) -> float:
    """−2 log density of the rows given β̂ and b̂, and twice the effective number of parameters.

    `normalized` and `leverages` (n,) are the normalised residuals and the hat values.
    """
    density = spec.n_obs * np.log(2.0 * np.pi * sigma**2) - spec.residual.log_det + float((normalized**2).sum())
    return float(density + 2.0 * (leverages.sum() + (spec.sigma is None)))
