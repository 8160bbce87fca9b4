from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ranef.likelihood import cross_products, evaluate
from ranef.nuts import log_density
from ranef.nuts.collapsed import collapsed_data, draw_effects, fits_in_jax, log_likelihood, make_shape
from ranef.nuts.engine import _outward
from ranef.nuts.layout import fixed_prior

STRUCTURES = [
    "one",
    "slope",
    "three",
    "diag",
    "ident",
    "double",
    "crossed",
    "crossed slopes",
    "nested",
    "no intercept",
    "no fixed",
    "intercept only",
    "no random",
    "large p",
]


@pytest.mark.parametrize("path", ["jax", "numpy"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_density_is_the_dense_multivariate_normal(name, path, make, dense):
    spec = make.spec(make.formulas[name])
    products = cross_products(spec)
    rng = np.random.default_rng(1)
    for prior in make.priors.values():
        priors = prior(spec)
        density = log_density(spec, products, priors, path)
        for kind in ("random", "random", "zero"):
            theta, sigma = dense.theta(spec, rng, kind), float(np.exp(rng.normal(0.0, 0.5)))
            assert density(theta, sigma) == pytest.approx(dense.log_density(spec, priors, theta, sigma), rel=1e-9)


@pytest.mark.parametrize("path", ["jax", "numpy"])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_density_with_weights_offset_and_a_shifted_response(path, shift, make, dense):
    data = make.data()
    data["y"] += shift
    spec = make.spec(make.formulas["crossed"], data, weights="w", offset="o")
    rng = np.random.default_rng(2)
    for prior in make.priors.values():
        priors = prior(spec)
        density = log_density(spec, cross_products(spec), priors, path)
        theta = dense.theta(spec, rng)
        # the dense formula itself loses digits on the shifted response
        tolerance = 1e-9 if shift == 0.0 else 1e-5
        assert density(theta, 0.8) == pytest.approx(dense.log_density(spec, priors, theta, 0.8), rel=tolerance)


def test_flat_priors_give_the_reml_criterion(make, dense):
    spec = make.spec(make.formulas["nested"], weights="w")
    products = cross_products(spec)
    theta = dense.theta(spec, np.random.default_rng(3))
    lambdas = products.scaling.inward(spec.lambdas(theta))
    at = evaluate(products, [lambdas[k] for k in products.order], "REML", 0.7)
    value = log_density(spec, products, make.priors["flat"](spec))(theta, 0.7)
    assert value == pytest.approx(-0.5 * at.criterion, rel=1e-12)


@pytest.mark.parametrize("name", ["three", "crossed", "nested", "large p"])
def test_gradient_is_that_of_finite_differences(name, make, dense):
    spec = make.spec(make.formulas[name])
    products = cross_products(spec)
    priors = make.priors["mixed"](spec)
    data, shape = collapsed_data(spec, products, fixed_prior(spec, products, priors)), make_shape(products)
    theta, sigma, h = dense.theta(spec, np.random.default_rng(4)), 0.9, 1e-6
    with jax.enable_x64(True):
        slopes = jax.grad(lambda t, s: log_likelihood(shape, data, t, s), (0, 1))(jnp.array(theta), jnp.array(sigma))
    slopes = np.append(*map(np.asarray, slopes))
    density = log_density(spec, products, priors)
    point = np.append(theta, sigma)
    steps = h * np.eye(point.size)
    numeric = [
        (density((point + s)[:-1], (point + s)[-1]) - density((point - s)[:-1], (point - s)[-1])) / (2 * h)
        for s in steps
    ]
    np.testing.assert_allclose(slopes, numeric, rtol=1e-6, atol=1e-6)


def test_large_crossed_designs_leave_jax(make):
    shape = make_shape(cross_products(make.spec(make.formulas["crossed"])))
    assert fits_in_jax(shape)
    assert not fits_in_jax(type(shape)((1, 1), (3000, 1100), 3))


@pytest.mark.parametrize("name", ["one", "three", "crossed slopes", "nested", "no intercept", "no fixed", "large p"])
@pytest.mark.parametrize("prior", ["default", "flat"])
def test_draws_have_the_conditional_mean_and_covariance(name, prior, make, dense):
    spec = make.spec(make.formulas[name], weights="w", offset="o")
    products, priors = cross_products(spec), make.priors[prior](spec)
    theta, sigma, n = dense.theta(spec, np.random.default_rng(5)) + 0.1, 0.8, 20_000
    data, shape = collapsed_data(spec, products, fixed_prior(spec, products, priors)), make_shape(products)
    with jax.enable_x64(True):
        key = jax.random.key(6)
        thetas, sigmas = jnp.tile(jnp.array(theta), (n, 1)), jnp.full(n, sigma)
        internal = jax.tree.map(np.asarray, draw_effects(shape, data, key, thetas, sigmas))
    beta, b = _outward(products, internal, (n,))
    dense.check_moments(
        np.hstack([beta, *(x.reshape(n, -1) for x in b)]), *dense.conditional(spec, priors, theta, sigma)
    )
