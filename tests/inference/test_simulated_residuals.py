"""Residuals as ranks among simulated responses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ranef
from _ranef.inference import simulated_residuals

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def fit():
    return ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")).fit()


def test_ranks_and_distances_are_those_of_their_definitions(fit):
    y, sims = fit.spec.design.y, fit.simulate(200, seed=3)
    found = fit.simulated_residuals(200, seed=3)
    below = (sims < y[:, None]).sum(axis=1)
    np.testing.assert_allclose(found.residuals, (below + 0.5) / 201)
    distance = stats.kstest(found.residuals, "uniform").statistic
    assert found.tests.loc["uniformity", "statistic"] == pytest.approx(distance, abs=1e-12)
    assert found.tests.loc["outliers", "statistic"] == ((below == 0) | (below == 200)).sum()


def test_a_model_that_holds_and_three_that_do_not():
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(30), 10)
    d = pd.DataFrame({"g": g, "x": rng.normal(size=300)})
    mean = 1 + d["x"] + rng.normal(size=30)[g]
    p = {
        name: ranef.Model("y ~ x + (1 | g)", d.assign(y=mean + noise)).fit().simulated_residuals(seed=1).tests["p"]
        for name, noise in (("normal", rng.normal(size=300)), ("skew", rng.exponential(2, 300) ** 1.5))
    }
    assert (p["normal"] > 0.05).all()
    assert p["skew"]["uniformity"] < 0.02
    assert p["skew"]["outliers"] < 0.02
    fixed = ranef.Model("y ~ x + (1 | g)", d.assign(y=mean + rng.normal(size=300)), sigma=3.0).fit()
    assert fixed.simulated_residuals(re="fitted", seed=1).tests.loc["dispersion", "p"] < 0.02


def test_p_values_are_uniform_for_dependent_rows():
    """The response is one more simulation: no dependence of rows may show."""
    rng = np.random.default_rng(8)
    p = []
    for _ in range(300):
        every = rng.normal(size=(40, 100)) + np.repeat(rng.normal(size=(4, 100)), 10, axis=0)
        p.append(simulated_residuals(pd.Series(every[:, 0]), every[:, 1:]).tests["p"])
    found = pd.DataFrame(p)
    for name in ("uniformity", "dispersion"):
        assert stats.kstest(found[name], "uniform").pvalue > 0.001
    assert (found["outliers"] <= 0.05).mean() < 0.09


def test_posteriors_and_few_simulations(fit):
    post = ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")).sample(
        draws=100, warmup=100, chains=2, seed=1, progress=False, sampler="nutpie"
    )
    found = post.simulated_residuals(100, seed=1)
    assert found.residuals.between(0, 1).all()
    assert found.residuals.corr(fit.simulated_residuals(seed=1).residuals) > 0.95
    assert "100 simulated data sets" in repr(found)
    with pytest.raises(ranef.DesignError, match="n=10 simulated"):
        fit.simulated_residuals(10)
