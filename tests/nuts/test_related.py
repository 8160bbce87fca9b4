"""Known covariances among levels in the posterior: the collapsed density and exact draws, against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import ranef
from _ranef.nuts import log_density
from likelihood.test_related import Whole, made, of_g

FORMULAS = ("y ~ x + (1 | g)", "y ~ x + (x | g) + (1 | h)")


def prior_of_coefficients(model):
    """Mean and covariance of β under the default priors."""
    priors = model.priors()
    C, kinds = priors.coordinates(model.spec.design.fixed_names)
    inverse = np.linalg.inv(C)
    return inverse @ [p.loc for p in kinds], inverse @ np.diag([p.scale**2 for p in kinds]) @ inverse.T


@pytest.mark.parametrize("path", ["numpy", "loops", "jax"])
@pytest.mark.parametrize("formula", [*FORMULAS, "y ~ x + (x | g) + (1 | h) + (1 | i)"])
def test_the_collapsed_density_is_that_of_dense_algebra(formula, path):
    data, K = made()
    data["i"] = np.arange(len(data)) % 20
    model = ranef.Model(formula, data, cov={"g": K})
    spec, (mean, cov) = model.spec, prior_of_coefficients(model)
    density = log_density(spec, model.products, model.priors(), path)
    X, rng, found = spec.design.X, np.random.default_rng(0), []
    for _ in range(4):
        theta = np.where(spec.on_diagonal, rng.uniform(0.3, 2.0, spec.n_theta), rng.normal(size=spec.n_theta))
        sigma = rng.uniform(0.5, 1.5)
        V = sigma**2 * Whole(spec, theta, K).V + X @ cov @ X.T
        found.append(density(theta, sigma) - stats.multivariate_normal(X @ mean, V).logpdf(spec.design.y))
    np.testing.assert_allclose(found, found[0], atol=1e-8)


@pytest.mark.parametrize("sampler", ["nutpie", "direct", pytest.param("numpyro", marks=pytest.mark.slow)])
@pytest.mark.parametrize("formula", FORMULAS)
def test_draws_of_effects_are_about_their_conditional_means(formula, sampler):
    data, K = made()
    model = ranef.Model(formula, data, cov={"g": K})
    spec, (mean, cov) = model.spec, prior_of_coefficients(model)
    fb = model.sample(150, chains=2, seed=4, progress=False, sampler=sampler)
    X, k, expected = spec.design.X, of_g(spec), []
    theta, sigma = fb.draws.theta.reshape(300, -1), fb.draws.sigma.ravel()
    for at, s in zip(theta, sigma, strict=True):
        whole = Whole(spec, at, K)
        V = s**2 * whole.V + X @ cov @ X.T
        expected.append(s**2 * whole.D[k] @ whole.Z[k].T @ np.linalg.solve(V, spec.design.y - X @ mean))
    gap = fb.draws.b[k].reshape(300, -1) - np.array(expected)
    # independent given (θ, σ): their mean has the standard error sd/√300
    assert np.abs(gap.mean(axis=0) / (gap.std(axis=0) / np.sqrt(300))).max() < 4.5
    assert np.isfinite(fb.predict()).all()
    assert fb.ranef("g")["level"].nunique() == 13
