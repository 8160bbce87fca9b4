"""The blocked criterion, gradient, modes and covariances against V built whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ranef
from _ranef.likelihood import cross_products, evaluate, score
from likelihood.designs import SHAPES, Shape, make_data, shapes, thetas
from oracle import dense

METHODS = ("REML", "ML")


def at(model, theta, method):
    """Evaluation and user-scale gradient at θ."""
    spec, products = model.spec, model.products
    lambdas = products.scaling.inward(spec.lambdas(theta))
    ordered = [lambdas[k] for k in products.order]
    evaluation = evaluate(products, ordered, method, spec.sigma)
    first = score(products, evaluation)
    by_grouping = [None] * len(ordered)
    for _i, (k, g) in enumerate(zip(products.order, first.gradient(ordered), strict=True)):
        by_grouping[k] = np.linalg.solve(products.scaling.Z[k].T, g)
    return evaluation, first, spec.pull_back(theta, by_grouping)


def finite_differences(spec, theta, method):
    h = 1e-5

    def f(step):
        return dense(spec, theta + step, method, spec.sigma).criterion

    return np.array([(f(h * e) - f(-h * e)) / (2 * h) for e in np.eye(len(theta))])


@given(st.data())
@settings(max_examples=60)
def test_criterion_and_gradient(data):
    shape = data.draw(shapes())
    model = shape.model()
    theta = data.draw(thetas(model.spec.n_theta))
    for method in METHODS:
        evaluation, _, gradient = at(model, theta, method)
        expected = dense(model.spec, theta, method, model.spec.sigma)
        assert evaluation.criterion == pytest.approx(expected.criterion, rel=1e-10, abs=1e-9)
        slope = finite_differences(model.spec, theta, method)
        # central differences with h = 1e-5 are good to about 1e-6 of the largest slope
        np.testing.assert_allclose(gradient, slope, atol=1e-6 * (1 + np.abs(slope).max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape(name, weights, method):
    model = Shape(f"y ~ {SHAPES[name]}", make_data(3), weights, None).model()
    theta = np.random.default_rng(1).normal(size=model.spec.n_theta)
    evaluation, _, gradient = at(model, theta, method)
    assert evaluation.criterion == pytest.approx(dense(model.spec, theta, method).criterion, rel=1e-11)
    slope = finite_differences(model.spec, theta, method)
    np.testing.assert_allclose(gradient, slope, atol=1e-6 * (1 + np.abs(slope).max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SHAPES)
def test_modes_and_covariances_at_the_optimum(name, method):
    fit = Shape(f"y ~ {SHAPES[name]}", make_data(5), "w", None).model().fit(method)
    expected = dense(fit.spec, fit.estimates.theta, method)
    np.testing.assert_allclose(fit.fixef, expected.beta, atol=1e-9 * (1 + np.abs(expected.beta).max(initial=0)))
    np.testing.assert_allclose(fit.vcov, expected.vcov, rtol=1e-8, atol=1e-12)
    assert fit.sigma == pytest.approx(expected.sigma, rel=1e-9)
    for k, modes in enumerate(fit.estimates.modes):
        J, p = modes.values.shape
        np.testing.assert_allclose(modes.values.ravel(), expected.b[k], atol=1e-8)
        for ours, whole in ((modes.cov, expected.cov_b[k]), (modes.cov_prediction, expected.cov_prediction[k])):
            blocks = np.array([whole[j * p : (j + 1) * p, j * p : (j + 1) * p] for j in range(J)])
            np.testing.assert_allclose(ours, blocks, atol=1e-9)


@pytest.mark.parametrize("name", ["slope", "crossed slopes", "nested three levels"])
def test_a_shift_of_1e8_changes_no_estimate(name):
    formula = f"y ~ {SHAPES[name]}"
    plain = Shape(formula, make_data(4), None, None).model().fit()
    shifted = Shape(formula, make_data(4, shift=1e8), None, None).model().fit()
    # y + 1e8 itself holds y only to 1e-8: estimates agree as far as the data do
    np.testing.assert_allclose(shifted.theta, plain.theta, atol=2e-6)
    assert shifted.sigma == pytest.approx(plain.sigma, rel=1e-7)


@pytest.mark.parametrize("name", ["crossed", "crossed slopes", "nested and crossed"])
def test_gradient_where_a_signal_is_tiny_or_huge(name):
    """Both ways of forming the tail's E are used: by subtraction for small λ, by division for large."""
    model = Shape(f"y ~ {SHAPES[name]}", make_data(6), None, None).model()
    for size in (1e-6, 1e-3, 1.0, 1e2):
        theta = size * (0.5 + np.random.default_rng(2).uniform(size=model.spec.n_theta))
        h = 1e-4 * size
        _, _, gradient = at(model, theta, "REML")
        slope = [
            (at(model, theta + h * e, "REML")[0].criterion - at(model, theta - h * e, "REML")[0].criterion) / (2 * h)
            for e in np.eye(len(theta))
        ]
        # the criterion is good to 1e-12, so its difference quotient to 1e-12 / h
        tolerance = 1e-5 * np.abs(slope).max() + 1e-11 / h
        np.testing.assert_allclose(gradient, slope, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_one_level_where_sigma_is_known(method):
    """A factor with one level is refused unless σ is known; then it is as good as any."""
    data = make_data(9).assign(u="only")
    model = ranef.Model("y ~ x + (1 | u) + (1 | a)", data, sigma=0.8)
    theta = np.array([0.7, 1.3])
    evaluation, _, gradient = at(model, theta, method)
    assert evaluation.criterion == pytest.approx(dense(model.spec, theta, method, 0.8).criterion, rel=1e-11)
    np.testing.assert_allclose(gradient, finite_differences(model.spec, theta, method), atol=1e-6)


def test_cross_products_are_what_their_names_say():
    model = Shape("y ~ x + (x | a) + (1 | b)", make_data(8), "w", None).model()
    products, spec = cross_products(model.spec), model.spec
    oracle = dense(spec, np.ones(spec.n_theta), "ML")
    W = np.diag(spec.design.weights)
    for place, k in enumerate(products.order):
        p, J = len(spec.groupings[k].columns), spec.groupings[k].n_levels
        Z = oracle.Z[k] @ np.kron(np.eye(J), products.scaling.Z[k])
        whole = Z.T @ W @ Z
        blocks = np.array([whole[j * p : (j + 1) * p, j * p : (j + 1) * p] for j in range(J)])
        np.testing.assert_allclose(products.A.diag[place], blocks, atol=1e-9)
        X = spec.design.X @ products.scaling.X
        np.testing.assert_allclose(products.Xy[place][:, :, :-1].reshape(J * p, -1), Z.T @ W @ X, atol=1e-9)
