"""Random effects divided by their marginal standard deviations, which normal quantiles are then right for."""

from __future__ import annotations

import numpy as np

from _ranef.errors import DesignError
from _ranef.inference.effects import grouping_named
from _ranef.inference.engines import Estimated, Sampled
from _ranef.likelihood import Likelihood, cross_products
from _ranef.results import Fit
from _ranef.spec import covariance_arrays
from _ranef.support.arrays import Floats

__all__ = ["effect_scores"]


def effect_scores(fit: Fit, group: str) -> list[tuple[str, Floats]]:
    """Random effects of one grouping factor divided by their marginal standard deviations: term and scores (levels,).

    Var(b̂) = Var(b) − Var(b̂ − b), for b̂ is the best linear predictor: Σ less the prediction variance of each level
    (Henderson's), at θ̂ for a fit by REML or ML and at the posterior mean of (θ, σ) for a posterior. Without it levels
    of unequal size would make a mixture that looks heavy-tailed. A level without a positive variance (all of them,
    where the fit is on the boundary) has NaN.

    Raises
    ------
    DesignError
        If the model has no such factor, or the fit holds neither estimates nor draws.
    """
    spec = fit.spec
    k, g = grouping_named(spec, group)
    effects = fit.ranef(group)
    values = effects["estimate"].to_numpy().reshape(g.n_levels, len(g.columns))
    if isinstance(fit, Estimated):
        theta, sigma = fit.estimates.theta, fit.estimates.sigma
        uncertain = np.diagonal(fit.estimates.modes[k].cov_prediction, axis1=1, axis2=2)
    elif isinstance(fit, Sampled):
        theta, sigma = fit.draws.theta.mean(axis=(0, 1)), float(fit.draws.sigma.mean())
        uncertain = _prediction_variances(fit, k, theta, sigma)
    else:
        raise DesignError(f"{type(fit).__name__} holds neither estimates nor draws, so its effects have no variance.")
    variances = np.diagonal(covariance_arrays(spec, theta, np.asarray(sigma))[k])
    marginal = variances - uncertain
    scores = np.full(values.shape, np.nan)
    usable = marginal > 1e-9 * np.maximum(variances, np.finfo(float).tiny)
    scores[usable] = values[usable] / np.sqrt(marginal[usable])
    return [(column, scores[:, a]) for a, column in enumerate(g.columns)]


def _prediction_variances(fit: Sampled, k: int, theta: Floats, sigma: float) -> Floats:
    """Var(b̂ − b) (levels, p) of grouping `k` at (θ, σ), the coefficients estimated."""
    at = Likelihood(fit.spec, cross_products(fit.spec), "REML").at(theta, sigma)
    return np.asarray(np.diagonal(at.modes[k].cov_prediction, axis1=1, axis2=2))
