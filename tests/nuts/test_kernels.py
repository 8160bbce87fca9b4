from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ranef.errors import FitError, RanefWarning
from ranef.likelihood import cross_products
from ranef.nuts import engine, sample_posterior
from ranef.nuts.collapsed import collapsed_data, log_likelihood, make_shape
from ranef.nuts.kernels import HostDensity, hosted_log_likelihood
from ranef.nuts.layout import fixed_prior


@pytest.mark.parametrize("name", ["one", "crossed", "nested", "no fixed", "large p", "crossed slopes"])
@pytest.mark.parametrize("prior", ["flat", "mixed"])
def test_both_paths_have_one_gradient(name, prior, make, dense):
    spec = make.spec(make.formulas[name], weights="w")
    products = cross_products(spec)
    beta_prior = fixed_prior(spec, products, make.priors[prior](spec))
    data, shape = collapsed_data(spec, products, beta_prior), make_shape(products)
    hosted = hosted_log_likelihood(HostDensity(products, beta_prior))
    theta, sigma = dense.theta(spec, np.random.default_rng(7)), 0.9
    with jax.enable_x64(True):
        at = jnp.array(theta), jnp.array(sigma)
        one = jax.jit(jax.value_and_grad(lambda t, s: log_likelihood(shape, data, t, s), (0, 1)))(*at)
        two = jax.jit(jax.value_and_grad(lambda t, s: hosted(data["fill"] @ t, s), (0, 1)))(*at)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


def test_sampling_through_the_host_follows_the_same_path(make, monkeypatch):
    spec = make.spec(make.formulas["intercept only"])
    settings = {"priors": make.priors["default"](spec), "seed": 8, "progress": False, "chains": 1, "warmup": 0}
    one = sample_posterior(spec, draws=10, **settings)
    monkeypatch.setattr(engine, "fits_in_jax", lambda shape: False)
    two = sample_posterior(spec, draws=10, **settings)
    # the two densities differ in their last digits, which the trajectories magnify
    np.testing.assert_allclose(two.theta, one.theta, rtol=1e-5)
    np.testing.assert_allclose(two.sigma, one.sigma, rtol=1e-5)
    assert [x.shape for x in two.b] == [x.shape for x in one.b]


@pytest.mark.parametrize("name", ["three", "crossed", "no fixed"])
def test_draws_have_the_conditional_mean_and_covariance(name, make, dense):
    spec = make.spec(make.formulas[name], weights="w", offset="o")
    products, priors = cross_products(spec), make.priors["default"](spec)
    beta_prior = fixed_prior(spec, products, priors)
    theta, n, rng = dense.theta(spec, np.random.default_rng(5)) + 0.1, 1000, np.random.default_rng(6)
    flat = collapsed_data(spec, products, beta_prior)["fill"] @ theta
    host = HostDensity(products, beta_prior)
    draws = [host.draw(flat, 0.8, rng) for _ in range(n)]
    internal = np.stack([d[0] for d in draws]), tuple(map(np.stack, zip(*(d[1] for d in draws), strict=True)))
    beta, b = engine._outward(products, internal, (n,))
    dense.check_moments(np.hstack([beta, *(x.reshape(n, -1) for x in b)]), *dense.conditional(spec, priors, theta, 0.8))


@pytest.mark.slow
def test_an_interrupt_within_a_callback_ends_sampling(make, monkeypatch):
    spec = make.spec(make.formulas["one"])
    monkeypatch.setattr(engine, "fits_in_jax", lambda shape: False)
    calls = iter(range(10**9))
    original = HostDensity._value_and_gradient

    def interrupted(self, flat, sigma):
        if next(calls) == 400:
            raise KeyboardInterrupt
        return original(self, flat, sigma)

    monkeypatch.setattr(HostDensity, "_value_and_gradient", interrupted)
    with pytest.warns(RanefWarning, match="interrupted"):
        draws = sample_posterior(
            spec, priors=make.priors["default"](spec), draws=1000, warmup=0, chains=1, seed=1, progress=False
        )
    assert not draws.complete
    assert 0 < draws.sigma.shape[1] < 1000
    assert np.isfinite(draws.sample_stats["lp"]).all()


def test_a_density_that_is_not_finite_is_refused(make, monkeypatch):
    spec = make.spec(make.formulas["one"])
    monkeypatch.setattr(engine, "fits_in_jax", lambda shape: False)
    monkeypatch.setattr(HostDensity, "_value_and_gradient", lambda self, flat, sigma: np.full(flat.size + 2, np.nan))
    with pytest.raises(FitError, match="not finite"):
        sample_posterior(spec, priors=make.priors["default"](spec), seed=1, progress=False)
