"""Effects at any θ against dense algebra, and the two ends of the path against what they must be."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
import ranef
from _ranef.comparison import effects_at, effects_at_ratio, moved, own_data
from comparison.limits import grown, limit, moved_theta
from likelihood.designs import SHAPES, make_data, shapes, thetas
from oracle import dense


def at_ratio(model, theta, k, q, ratio):
    spec, likelihood = model.spec, model.likelihood()
    column = moved(spec, k, q)
    lambdas = spec.lambdas(np.asarray(theta, float))
    return effects_at_ratio(likelihood, lambdas, own_data(likelihood)[k], column, ratio), column


@given(shapes(), st.data())
@settings(max_examples=25)
def test_at_any_theta(shape, data):
    model = shape.model()
    spec = model.spec
    theta = data.draw(thetas(spec.n_theta))
    at = effects_at(model.likelihood(), spec.lambdas(theta))
    expected = dense(spec, theta, "REML", spec.sigma)
    beta, b = oracle.effects(spec, theta)
    np.testing.assert_allclose(at.criterion, expected.criterion, rtol=1e-9)
    np.testing.assert_allclose(at.sigma, expected.sigma, rtol=1e-8)
    np.testing.assert_allclose(at.beta, beta, rtol=1e-6, atol=1e-7)
    for found, own in zip(at.b, b, strict=True):
        np.testing.assert_allclose(found, own, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", [n for n in SHAPES if n != "rank-deficient"])
@pytest.mark.parametrize("ratio", [0.05, 2.0])
def test_at_a_ratio(name, ratio):
    model = ranef.Model(f"y ~ {SHAPES[name]}", make_data(5), weights="w")
    spec = model.spec
    theta = oracle.interior(spec, 1)
    for k, g in enumerate(spec.groupings):
        for q in range(len(g.columns)):
            at, column = at_ratio(model, theta, k, q, ratio)
            changed = moved_theta(spec, theta, k, column.columns, ratio)
            beta, b = oracle.effects(spec, changed)
            np.testing.assert_allclose(column.theta(spec, theta, ratio), changed)
            np.testing.assert_allclose(at.beta, beta, rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(at.b[k], b[k], rtol=1e-7, atol=1e-8)
            D, old = (x @ x.T for x in (spec.lambdas(changed)[k], spec.lambdas(theta)[k]))
            np.testing.assert_allclose(np.sqrt(np.diag(D))[column.columns], ratio)
            others = np.delete(np.arange(len(D)), column.columns)
            np.testing.assert_allclose(D[np.ix_(others, others)], old[np.ix_(others, others)])


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("weights", [None, "w"])
def test_no_pooling_is_the_limit(name, weights):
    model = ranef.Model(f"y ~ {SHAPES[name]}", make_data(5), weights=weights)
    spec = model.spec
    theta = oracle.interior(spec, 2)
    for k, g in enumerate(spec.groupings):
        for q in range(len(g.columns)):
            at, column = at_ratio(model, theta, k, q, np.inf)
            found = np.concatenate([at.beta, *[x.ravel() for x in at.b]])
            close, growth = grown(spec, theta, k, column.columns, 1e4)
            # those with a limit are within c/r of it, those without grow by more than the data's unit
            np.testing.assert_array_equal(np.isnan(found), growth > 1.0)
            kept = ~np.isnan(found)
            # 1/r² and the rounding of V with r² in it
            np.testing.assert_allclose(found[kept], close[kept], rtol=1e-4, atol=1e-4)
            if kept.all():
                beta, b = limit(spec, theta, k, column.columns)
                np.testing.assert_allclose(at.beta, beta, rtol=1e-6, atol=1e-6)
                for own, expected in zip(at.b, b, strict=True):
                    np.testing.assert_allclose(own, expected, rtol=1e-6, atol=1e-6)


def test_the_limit_is_approached():
    """The oracle of the limit and V at a large ratio, each against the other; correlated, the error falls as 1/r."""
    model = ranef.Model("y ~ x + (x | a)", make_data(5))
    theta = np.array([1.0, 0.4, 0.6])
    beta, b = limit(model.spec, theta, 0, [1])
    errors = []
    for ratio in (1e2, 1e3):
        near, near_b = oracle.effects(model.spec, moved_theta(model.spec, theta, 0, [1], ratio))
        errors.append(max(np.abs(near - beta).max(), np.abs(near_b[0] - b[0]).max()))
    assert errors[0] < 0.05
    np.testing.assert_allclose(errors[1] / errors[0], 0.1, rtol=0.2)


def test_complete_pooling_is_least_squares():
    """One factor with one effect: β̂ is weighted least squares and every BLUP is zero."""
    data = make_data(7)
    model = ranef.Model("y ~ x + f + (1 | a)", data, weights="w", offset=np.linspace(0, 3, len(data)))
    at, _ = at_ratio(model, [0.7], 0, 0, 0.0)
    d = model.spec.design
    root = np.sqrt(d.weights)
    expected = np.linalg.lstsq(d.X * root[:, None], (d.y - d.offset) * root)[0]
    np.testing.assert_allclose(at.beta, expected, rtol=1e-9)
    np.testing.assert_array_equal(at.b[0], 0.0)


def test_no_pooling_of_an_intercept_is_the_means():
    """β̂ goes to the plain mean of the level means, and each BLUP to its level's distance from it."""
    data = make_data(8)
    at, _ = at_ratio(ranef.Model("y ~ 1 + (1 | a)", data), [0.7], 0, 0, np.inf)
    means = data.groupby("a")["y"].mean()
    np.testing.assert_allclose(at.beta, [means.mean()], rtol=1e-9)
    np.testing.assert_allclose(at.b[0][:, 0], means - means.mean(), atol=1e-8)


def test_unequal_levels_of_nested_factors():
    """The outer factor is freed beside an inner one of a large variance, and both ends stay put."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"a": np.repeat(np.arange(5), 12), "c": np.tile(np.repeat(np.arange(3), 4), 5)})
    data = data[rng.uniform(size=60) < 0.7].assign(y=lambda d: rng.normal(size=len(d)) + d["a"] + d["c"])
    model = ranef.Model("y ~ 1 + (1 | a / c)", data)
    for theta in ([30.0, 0.5], [0.02, 3.0]):
        for k in (0, 1):
            at, column = at_ratio(model, theta, k, 0, np.inf)
            beta, b = limit(model.spec, theta, k, column.columns)
            np.testing.assert_allclose(at.beta, beta, rtol=1e-6)
            np.testing.assert_allclose(at.b[k], b[k], atol=1e-6)


def rows_without(correlation):
    data = pd.DataFrame(
        {
            "g": list("aaaabbbbcdddee"),
            "x": [1.0, 2, 3, 4, 2, 2, 3, 5, 7, 0, 0, 0, 1, 5],
            "y": [1.0, 3, 2, 5, 4, 4, 6, 9, 3, 1, 2, 1.5, 2, 6],
        }
    )
    model = ranef.Model("y ~ x + (x | g)", data)
    return model, [1.0, correlation * 0.6, 0.6 * np.sqrt(1 - correlation**2)]


def test_a_level_without_the_column():
    """A slope that its level never shows grows with r when it is correlated, and takes the population's along."""
    model, theta = rows_without(0.5)
    at, column = at_ratio(model, theta, 0, 1, np.inf)
    np.testing.assert_array_equal(np.isnan(at.beta), [False, True])
    np.testing.assert_array_equal(np.isnan(at.b[0]), [[False, True]] * 5)
    np.testing.assert_array_equal(np.isnan(at.coef[0][:, 1]), np.arange(5) == 3)
    near, near_b = oracle.effects(model.spec, moved_theta(model.spec, theta, 0, column.columns, 1e4))
    assert abs(near[1]) > 100
    np.testing.assert_allclose(at.beta[0], near[0], rtol=1e-3)
    others = [0, 1, 2, 4]
    np.testing.assert_allclose(at.coef[0][others], (near + near_b[0])[others], rtol=1e-3)
    np.testing.assert_allclose(at.coef[0][3, 0], near[0] + near_b[0][3, 0], rtol=1e-3)
    model, theta = rows_without(0.0)
    at, _ = at_ratio(model, theta, 0, 1, np.inf)
    assert abs(at.b[0][3, 1]) < 1e-9


def test_intercepts_beside_slopes_without_a_fixed_effect():
    """b̂ and β̂ go apart with r, for a shift of all intercepts costs little and gives slopes a mean; the sum stays."""
    model = ranef.Model("Reaction ~ 1 + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    theta = [1.0, -0.2, 0.45]
    at, _ = at_ratio(model, theta, 0, 0, np.inf)
    assert np.isnan(at.beta).all()
    assert np.isnan(at.b[0][:, 0]).all()
    close, growth = grown(model.spec, theta, 0, [0], 1e3)
    slopes, sums = close[1:].reshape(-1, 2)[:, 1], close[0] + close[1:].reshape(-1, 2)[:, 0]
    assert growth[0] > 100
    np.testing.assert_allclose(at.b[0][:, 1], slopes, rtol=1e-4)
    np.testing.assert_allclose(at.coef[0], np.stack([sums, slopes], axis=1), rtol=1e-4)
    for ratio in (1e3, 1e4):  # the path reaches it, with an error of 1/r
        near, _ = at_ratio(model, theta, 0, 0, ratio)
        np.testing.assert_allclose(near.coef[0], at.coef[0], atol=30 / ratio)


def test_from_the_boundary():
    """An effect of variance zero has no correlations to keep: it is given back as an independent one."""
    model = ranef.Model("y ~ x + (x | a)", make_data(5))
    theta = np.array([0.8, 0.0, 0.0])
    at, _ = at_ratio(model, theta, 0, 1, 0.7)
    beta, b = oracle.effects(model.spec, [0.8, 0.0, 0.7])
    np.testing.assert_allclose(at.beta, beta, rtol=1e-9)
    np.testing.assert_allclose(at.b[0], b[0], atol=1e-9)
    theta = np.array([0.0, 0.0, 0.5])  # first in its triangle
    at, column = at_ratio(model, theta, 0, 0, 0.7)
    np.testing.assert_allclose(column.theta(model.spec, theta, 0.7), [0.7, 0.0, 0.5])
    np.testing.assert_allclose(at.b[0], oracle.effects(model.spec, [0.7, 0.0, 0.5])[1][0], atol=1e-9)


def test_a_known_sigma():
    model = ranef.Model("y ~ x + (1 | a)", make_data(5), sigma=0.8)
    at, _ = at_ratio(model, [0.7], 0, 0, 1.5)
    assert at.sigma == pytest.approx(0.8)
    np.testing.assert_allclose(at.b[0], oracle.effects(model.spec, [1.5])[1][0], atol=1e-9)
