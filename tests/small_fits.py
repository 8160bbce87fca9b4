"""Fits that many tests read: of bundled data, of many small groups, and a posterior that needs no sampler."""

from functools import cache

import numpy as np
import pandas as pd

import ranef
from _ranef.results import PosteriorDraws


@cache
def fit_of(formula, data):
    """Fit a formula to a bundled data set, once in a session."""
    return ranef.Model(formula, ranef.datasets.load(data)).fit()


def many_groups(n_levels=300, seed=1):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": np.repeat(np.arange(n_levels), rng.integers(1, 8, n_levels))})
    data["y"] = 2.0 * rng.standard_normal(n_levels)[data["g"]] + rng.standard_normal(len(data))
    return ranef.Model("y ~ 1 + (1 | g)", data).fit()


def scattered_posterior():
    """Draws scattered round the REML estimates of the pulp data."""
    eb, rng = fit_of("bright ~ 1 + (1 | operator)", "pulp"), np.random.default_rng(1)

    def around(value, spread):
        return value + spread * rng.standard_normal((2, 200, *np.shape(value)))

    draws = PosteriorDraws(
        theta=np.abs(around(eb.estimates.theta, 0.2)),
        sigma=np.abs(around(eb.sigma, 0.05)),
        beta=around(eb.estimates.beta, 0.1),
        b=tuple(around(m.values, 0.1) for m in eb.estimates.modes),
        sample_stats={},
        parameterization="marginal",
        priors=ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).priors(),
        seed=1,
        warmup=0,
        seconds=0.0,
        complete=True,
    )
    return ranef.PosteriorFit(eb.spec, draws)
