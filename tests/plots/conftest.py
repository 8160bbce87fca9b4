from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib import pyplot as plt

import ranef
from ranef.results import PosteriorDraws
from ranef.user import PosteriorFit


@cache
def _fit(formula, data):
    return ranef.Model(formula, ranef.datasets.load(data)).fit()


@pytest.fixture
def fit():
    """Fit a formula to a data set, once in a session."""
    return _fit


@pytest.fixture
def posterior():
    """A posterior without a sampler: draws scattered round the REML estimates of the pulp data."""
    eb, rng = _fit("bright ~ 1 + (1 | operator)", "pulp"), np.random.default_rng(1)

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
    return PosteriorFit(eb.spec, draws)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")
