"""Own data and reliabilities against level-by-level algebra."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ranef
from _ranef.comparison import own_data, reliabilities, reliability_matrices, shrinkage_frame
from _ranef.comparison.reliability import own_estimates, reliability_summary
from _ranef.likelihood import Likelihood, cross_products
from likelihood.designs import SHAPES, make_data, shapes, thetas


def grams(spec, k):
    """ZⱼᵀWZⱼ (J, p, p), level by level."""
    g = spec.groupings[k]
    w = np.ones(spec.n_obs) if spec.design.weights is None else spec.design.weights
    at = [g.codes == j for j in range(g.n_levels)]
    return np.array([g.Z[rows].T @ (g.Z[rows] * w[rows, None]) for rows in at])


@given(shapes(), st.data())
@settings(max_examples=25)
def test_matrices_and_variances_are_those_of_each_level(shape, data):
    model = shape.model()
    spec = model.spec
    theta = data.draw(thetas(spec.n_theta))
    for k, own in enumerate(own_data(model.likelihood())):
        A, lam = grams(spec, k), spec.lambdas(theta)[k]
        D = lam @ lam.T
        np.testing.assert_allclose(own.information, np.diagonal(A, axis1=1, axis2=2), rtol=1e-7, atol=1e-9)
        for j, matrix in enumerate(reliability_matrices(own, lam)):
            expected = D @ A[j] @ np.linalg.inv(np.eye(len(D)) + D @ A[j])
            np.testing.assert_allclose(matrix, expected, rtol=1e-6, atol=1e-7)
            if np.linalg.cond(A[j]) < 1e6:
                np.testing.assert_allclose(own.variances[j], np.diag(np.linalg.inv(A[j])), rtol=1e-6)
            if np.linalg.cond(A[j]) < 1e6 and np.linalg.cond(D) < 1e6:
                same = D @ np.linalg.inv(D + np.linalg.inv(A[j]))
                np.testing.assert_allclose(matrix, same, rtol=1e-5, atol=1e-6)


def test_a_coefficient_that_its_rows_do_not_determine():
    """One level has one row, one has no x: their own slopes, and the former's intercept, are anything."""
    data = pd.DataFrame(
        {
            "g": list("aaaabbbbcddd"),
            "x": [1.0, 2, 3, 4, 2, 2, 3, 5, 7, 0, 0, 0],
            "y": [1.0, 3, 2, 5, 4, 4, 6, 9, 3, 1, 2, 1.5],
        }
    )
    model = ranef.Model("y ~ x + (x | g)", data)
    own = own_data(model.likelihood())[0]
    inverse = [np.linalg.inv(A) for A in grams(model.spec, 0)[:2]]
    np.testing.assert_allclose(own.variances[:2], [np.diag(i) for i in inverse], rtol=1e-9)
    assert np.isinf(own.variances[2]).all()
    np.testing.assert_allclose(own.variances[3], [1 / 3, np.inf], rtol=1e-9)
    lam = model.spec.lambdas(np.array([1.0, 0.3, 0.5]))[0]
    A, D = grams(model.spec, 0)[2], lam @ lam.T
    expected = D @ A @ np.linalg.inv(np.eye(2) + D @ A)
    np.testing.assert_allclose(reliability_matrices(own, lam)[2], expected, rtol=1e-9)
    np.testing.assert_array_equal(reliabilities(own.variances, np.array([1.0, 1.0]))[2], 0.0)


@pytest.mark.parametrize("name", ["slope", "three columns", "two terms on one factor", "crossed slopes", "nested"])
def test_own_estimates_are_the_shrinkage_frame_s(name):
    fit = ranef.Model(f"y ~ {SHAPES[name]}", make_data(3), weights="w").fit()
    expected = shrinkage_frame(fit)["no_pooling"].to_numpy()
    frame = ranef.pooling(fit).frame
    np.testing.assert_allclose(frame["no_pooling"], expected, rtol=1e-7, atol=1e-9)
    assert frame["n"].tolist() == shrinkage_frame(fit)["n"].tolist()


def test_what_is_not_determined_is_nan():
    data = pd.DataFrame({"g": list("aabbc"), "x": [1.0, 2, 3, 3, 0], "y": [1.0, 2, 3, 5, 7]})
    spec = ranef.Model("y ~ 1 + (x | g)", data, sigma=1.0).spec
    own = own_data(Likelihood(spec, cross_products(spec), "REML"))[0]
    sums = np.array([[3.0, 5.0], [8.0, 24.0], [7.0, 0.0]])  # Zᵀy; the internal columns are Z T
    out = own_estimates(own, sums @ own.T)
    np.testing.assert_allclose(out, [[0.0, 1.0], [np.nan, np.nan], [7.0, np.nan]], atol=1e-9)


def test_a_slope_in_years():
    year = np.tile(np.arange(2000.0, 2010.0), 4)
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(list("abcd"), 10), "year": year, "y": rng.normal(size=40) + 0.1 * year})
    own = own_data(ranef.Model("y ~ year + (year | g)", data).likelihood())[0]
    # [A⁻¹] of intercept and slope: 1/10 + 2004.5²/82.5, 1/82.5 (Σ(year − 2004.5)² = 82.5)
    np.testing.assert_allclose(own.variances, [[0.1 + 2004.5**2 / 82.5, 1 / 82.5]] * 4, rtol=1e-9)


def test_scalar_reliability():
    v = np.array([0.2, 1.0, np.inf])
    np.testing.assert_allclose(reliabilities(v, 1.0), [1 / 1.2, 0.5, 0.0])
    np.testing.assert_array_equal(reliabilities(v, 0.0), 0.0)
    np.testing.assert_array_equal(reliabilities(v, np.inf), [1.0, 1.0, 0.0])


def test_summary_is_that_of_the_draws():
    rng = np.random.default_rng(1)
    own = own_data(
        ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy_na")).likelihood()
    )[0]
    ratios = rng.gamma(2.0, 1.0, (500, 2))
    drawn = ratios[:, None, :] ** 2 / (ratios[:, None, :] ** 2 + own.variances)
    mean, lower, upper = reliability_summary(own, ratios, 0.9)
    assert len(np.unique(own.variances[:, 0])) > 1
    np.testing.assert_allclose(mean, drawn.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose([lower, upper], np.quantile(drawn, [0.05, 0.95], axis=0), rtol=1e-12)
