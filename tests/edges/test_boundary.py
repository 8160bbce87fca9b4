"""Singular fits: zero variances, perfect correlations, and fixed effects beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import ranef
from _ranef.likelihood import evaluate
from oracle import dense

METHODS = ("REML", "ML")


def noise(seed: int) -> pd.DataFrame:
    """Ten groups of six that do not differ: about every second estimate of a variance between them is zero."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": np.repeat(np.arange(10), 6), "x": rng.normal(size=60), "w": rng.uniform(0.5, 2, 60)})
    return data.assign(y=2 + 3 * data["x"] + rng.normal(size=60))


def least_squares(data: pd.DataFrame, weighted: bool) -> np.ndarray:
    X, w = np.column_stack([np.ones(len(data)), data["x"]]), data["w"].to_numpy() if weighted else np.ones(len(data))
    return np.linalg.solve(X.T @ (w[:, None] * X), X.T @ (w * data["y"].to_numpy()))


def beta_at(model: ranef.Model, theta: list[float], method: str) -> np.ndarray:
    """β̂ at θ, on the user's scale."""
    products, scale = model.products, model.products.scaling
    lambdas = scale.inward(model.spec.lambdas(np.array(theta)))
    at = evaluate(products, [lambdas[k] for k in products.order], method)
    return scale.pilot + scale.y * scale.X @ at.beta


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("bar", ["1 | g", "x | g", "x || g"])
def test_at_zero_variance_beta_is_least_squares(bar, weights):
    """A known defect elsewhere: fixed effects silently zero."""
    fits = [(noise(seed), ranef.Model(f"y ~ x + ({bar})", noise(seed), weights=weights).fit()) for seed in range(30)]
    zero = [(data, fit) for data, fit in fits if (fit.theta.abs() < 1e-12).all()]
    assert len(zero) >= 3
    for data, fit in zero:
        np.testing.assert_allclose(fit.fixef, least_squares(data, weights is not None), rtol=1e-10)
        assert (fit.status, fit.is_singular) == ("boundary", True)
        assert "estimated as zero" in fit.optimizer.message
        np.testing.assert_allclose(fit.ranef()["estimate"], 0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ratio", [1e-6, 1e-9])
def test_at_a_tiny_variance_beta_is_near_least_squares(ratio, method):
    """β̂ moves with the square of the ratio of standard deviations: by 1e-12 at 1e-6."""
    data = noise(1)
    model = ranef.Model("y ~ x + (x | g)", data, weights="w")
    theta = [ratio, ratio / 2, ratio]
    found = beta_at(model, theta, method)
    np.testing.assert_allclose(found, least_squares(data, True), rtol=1e-10)
    np.testing.assert_allclose(found, dense(model.spec, theta, method).beta, rtol=1e-13)


def test_at_a_small_variance_beta_moves_as_the_oracle_does():
    model = ranef.Model("y ~ x + (x | g)", noise(1), weights="w")
    theta = [1e-2, 5e-3, 1e-2]
    moved = beta_at(model, theta, "REML") - least_squares(noise(1), True)
    expected = dense(model.spec, theta, "REML").beta - least_squares(noise(1), True)
    assert np.abs(expected).min() > 1e-6
    np.testing.assert_allclose(moved, expected, rtol=1e-7)


def proportional(factor: float) -> pd.DataFrame:
    """Random slopes that are an exact multiple of the random intercepts."""
    rng = np.random.default_rng(5)
    g, x, u = np.repeat(np.arange(12), 6), np.tile(np.arange(6.0), 12), rng.normal(size=12)
    return pd.DataFrame({"y": u[g] * (1 + factor * x) + rng.normal(size=72), "x": x, "g": g})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("factor", "sign"), [(0.5, "+1"), (-0.5, "−1")])
def test_perfect_correlation_is_the_lowest_point_that_random_starts_find(factor, sign, method):
    fit = ranef.Model("y ~ x + (x | g)", proportional(factor)).fit(method)
    assert (fit.status, fit.is_singular) == ("boundary", True)
    assert f"correlation of Intercept and x by g is put at {sign}" in str(fit.summary())
    assert fit.varcorr["sdcor"].iloc[2] == pytest.approx(np.sign(factor), abs=1e-12)

    def criterion(theta):
        return dense(fit.spec, theta, method).criterion

    rng = np.random.default_rng(0)
    found = [
        optimize.minimize(criterion, rng.normal(size=3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
        for _ in range(4)
    ]
    # the search stops within 1e-9 of its minimum
    assert min(f.fun for f in found) == pytest.approx(fit.criterion, abs=1e-7)
    near = [criterion(fit.estimates.theta + 0.01 * rng.normal(size=3)) for _ in range(50)]
    assert min(near) > fit.criterion - 1e-9


def test_a_rank_below_the_number_of_columns_is_a_result_in_words():
    """The third random slope is the difference of the other two effects, so that no single correlation is ±1."""
    rng = np.random.default_rng(2)
    g, x, z, (u, v) = np.repeat(np.arange(20), 8), rng.normal(size=160), rng.normal(size=160), rng.normal(size=(2, 20))
    y = u[g] + v[g] * x + (u - v)[g] * z + rng.normal(size=160)
    fit = ranef.Model("y ~ x + z + (x + z | g)", pd.DataFrame({"y": y, "x": x, "z": z, "g": g})).fit()
    assert (fit.status, fit.is_singular) == ("boundary", True)
    assert "The covariance matrix of g has rank 2 instead of 3." in fit.optimizer.message
    near = [dense(fit.spec, fit.estimates.theta + 0.01 * rng.normal(size=6), "REML").criterion for _ in range(50)]
    assert min(near) > fit.criterion - 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_slope_only_terms(method):
    """With one column a term the criterion has one parameter, and a search over it has the last word."""
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(8), 5), rng.normal(size=40) + 1
    data = pd.DataFrame({"y": 1 + rng.normal(size=8)[g] * x + 0.7 * rng.normal(size=40), "x": x, "g": g})
    fit = ranef.Model("y ~ x + (0 + x | g)", data).fit(method)
    assert list(fit.theta.index) == ["g.x"]
    found = optimize.minimize_scalar(
        lambda t: dense(fit.spec, [t], method).criterion, bounds=(0, 10), method="bounded", options={"xatol": 1e-9}
    )
    assert fit.criterion == pytest.approx(found.fun, abs=1e-9)
    assert fit.theta["g.x"] == pytest.approx(found.x, abs=1e-5)
    expected = dense(fit.spec, fit.estimates.theta, method)
    np.testing.assert_allclose(fit.ranef()["estimate"], expected.b[0], atol=1e-11)
    assert set(fit.ranef()["term"]) == {"x"}
