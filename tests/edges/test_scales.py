"""Units and origins of y and x, and weights of very different size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
from oracle import dense

METHODS = ("REML", "ML")
SLOPES = ("y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ x + (x || g)", "y ~ x + (0 + x | g)")
NANOMETRES, LIGHT_YEARS = 1e9, 1e-16


def slopes() -> pd.DataFrame:
    """Fifteen groups of eight; y is a multiple of 2⁻²⁰, so that y + 1e8 loses no digit of it."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(15), 8)
    x = np.round(rng.normal(size=120) * 2**20) / 2**20
    b = rng.normal(size=(15, 2)) @ np.array([[1.0, 0.4], [0.0, 0.7]])
    y = 2 + 1.5 * x + b[g, 0] + b[g, 1] * x + 0.6 * rng.normal(size=120)
    return pd.DataFrame({"y": np.round(y * 2**20) / 2**20, "x": x, "g": g, "w": 10 ** rng.uniform(-3, 3, 120)})


def fit(formula, data, method="REML", **options):
    return ranef.Model(formula, data, **options).fit(method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [NANOMETRES, LIGHT_YEARS])
@pytest.mark.parametrize("formula", SLOPES)
def test_the_unit_of_x(formula, unit, method):
    """REML's |XᵀV⁻¹X| takes the unit twice, ML nothing; columns are scaled before use, so only rounding remains."""
    plain, scaled = fit(formula, slopes(), method), fit(formula, slopes().eval(f"x = x * {unit}"), method)
    shift = 2 * np.log(unit) if method == "REML" else 0.0
    assert scaled.criterion - shift == pytest.approx(plain.criterion, rel=1e-12)
    assert scaled.status == plain.status == "converged"
    assert scaled.sigma == pytest.approx(plain.sigma, rel=1e-12)
    units = np.array([1.0, unit])
    np.testing.assert_allclose(scaled.fixef * units, plain.fixef, rtol=1e-12)
    np.testing.assert_allclose(scaled.vcov * np.outer(units, units), plain.vcov, rtol=1e-11)
    size = np.array([unit if term == "x" else 1.0 for term in plain.ranef()["term"]])
    np.testing.assert_allclose(scaled.ranef()["estimate"] * size, plain.ranef()["estimate"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled.ranef()["sd"] * size, plain.ranef()["sd"], rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [NANOMETRES, LIGHT_YEARS, -1.0])
@pytest.mark.parametrize("formula", SLOPES)
def test_the_unit_of_y(formula, unit, method):
    plain, scaled = fit(formula, slopes(), method), fit(formula, slopes().eval(f"y = y * {unit}"), method)
    nu = 120 - (2 if method == "REML" else 0)
    assert scaled.criterion - 2 * nu * np.log(abs(unit)) == pytest.approx(plain.criterion, rel=1e-11)
    assert scaled.sigma == pytest.approx(abs(unit) * plain.sigma, rel=1e-12)
    np.testing.assert_allclose(scaled.theta, plain.theta, rtol=1e-10)
    np.testing.assert_allclose(scaled.fixef / unit, plain.fixef, rtol=1e-11)
    np.testing.assert_allclose(scaled.ranef()["estimate"] / unit, plain.ranef()["estimate"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("formula", SLOPES)
def test_y_plus_1e8(formula, method):
    """No digit of these y is lost by adding 1e8, so none may be lost of what is estimated."""
    plain, shifted = fit(formula, slopes(), method), fit(formula, slopes().eval("y = y + 1e8"), method)
    assert shifted.criterion == pytest.approx(plain.criterion, rel=1e-13)
    assert shifted.sigma == pytest.approx(plain.sigma, rel=1e-13)
    np.testing.assert_allclose(shifted.theta, plain.theta, rtol=1e-12)
    np.testing.assert_allclose(shifted.ranef()["estimate"], plain.ranef()["estimate"], atol=1e-12)
    assert shifted.fixef["x"] == pytest.approx(plain.fixef["x"], rel=1e-13)
    # the intercept itself is near 1e8, whose spacing is 1.5e-8
    assert shifted.fixef["Intercept"] - 1e8 == pytest.approx(plain.fixef["Intercept"], abs=3e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", [1e4, 1e6, 1e8])
def test_the_origin_of_an_unstructured_slope(origin, method):
    """Slopes beside their intercept may be shifted: the intercept's column takes it up."""
    plain, shifted = (fit("y ~ x + (x | g)", slopes().eval(f"x = x + {x0}"), method) for x0 in (0, origin))
    assert shifted.criterion == pytest.approx(plain.criterion, rel=1e-12)
    assert shifted.status == "converged"
    assert shifted.sigma == pytest.approx(plain.sigma, rel=1e-11)
    assert shifted.fixef["x"] == pytest.approx(plain.fixef["x"], rel=1e-11)
    # b₀ + b₁x is a difference of numbers as large as the origin
    np.testing.assert_allclose(shifted.fitted(), plain.fitted(), atol=1e-14 * origin + 1e-10)
    slope = [f.ranef().query("term == 'x'")["estimate"].to_numpy() for f in (shifted, plain)]
    np.testing.assert_allclose(*slope, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("formula", SLOPES)
def test_weights_over_six_decades(formula, method):
    """The oracle inverts a matrix of condition 1e6, and so loses six of sixteen digits."""
    weighted = fit(formula, slopes(), method, weights="w")
    theta = weighted.estimates.theta
    expected = dense(weighted.spec, theta, method)
    assert weighted.criterion == pytest.approx(expected.criterion, rel=1e-10)
    assert weighted.sigma == pytest.approx(expected.sigma, rel=1e-10)
    np.testing.assert_allclose(weighted.fixef, expected.beta, rtol=1e-10)
    np.testing.assert_allclose(weighted.estimates.modes[0].values.ravel(), expected.b[0], atol=1e-10)
    for step in 1e-3 * np.eye(len(theta)):
        for sign in (1, -1):
            assert dense(weighted.spec, theta + sign * step, method).criterion > weighted.criterion


def test_weights_a_million_times_larger_only_raise_sigma():
    plain, heavy = (fit("y ~ x + (x | g)", slopes().eval(f"w = w * {k}"), weights="w") for k in (1, 1e6))
    assert heavy.criterion == pytest.approx(plain.criterion, rel=1e-12)
    assert heavy.sigma == pytest.approx(1e3 * plain.sigma, rel=1e-12)
    np.testing.assert_allclose(heavy.fixef, plain.fixef, rtol=1e-12)
    np.testing.assert_allclose(heavy.varcorr["vcov"].iloc[:3], plain.varcorr["vcov"].iloc[:3], rtol=1e-10)


@pytest.mark.parametrize("wrong", [0.0, -0.5, np.inf])
def test_weights_must_be_positive_and_finite(wrong):
    data = slopes()
    data.loc[17, "w"] = wrong
    with pytest.raises(ranef.DesignError, match="row 17"):
        ranef.Model("y ~ x + (1 | g)", data, weights="w")


def test_weights_spanning_more_than_a_million_warn():
    data = slopes().assign(w=1.0)
    data.loc[0, "w"] = 0.99e6
    ranef.Model("y ~ x + (1 | g)", data, weights="w")
    data.loc[0, "w"] = 1.01e6
    with pytest.warns(ranef.RanefWarning, match="largest weight is 1.01e\\+06 times the smallest"):
        ranef.Model("y ~ x + (1 | g)", data, weights="w")


@pytest.mark.parametrize("power", [-300, -200, -160, 155, 200, 300])
def test_numbers_whose_squares_cannot_be_held_are_refused(power):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"x": rng.normal(size=40), "y": rng.normal(size=40), "g": np.resize(list("abcd"), 40)})
    data["far"] = data.x * 10.0**power
    data["w"] = 10.0**power
    for formula, words in (
        ("y ~ far + (1 | g)", "far is of size"),
        ("y ~ x + (0 + far | g)", "far is of size"),
        ("far ~ x + (1 | g)", "The response far is of size"),
        ("y ~ poly(far, 2) + (1 | g)", r"poly\(far, 2\) .*their squares cannot be held"),
        ("y ~ scale(far) + (1 | g)", r"scale\(far\) .*their squares cannot be held"),
    ):
        with pytest.raises(ranef.DesignError, match=words):
            ranef.Model(formula, data)
    with pytest.raises(ranef.DesignError, match="far is of size"):
        ranef.Model("y ~ far + (1 | g)", [data[:20], data[20:]])
    with pytest.raises(ranef.DesignError, match=r"The largest weight is of size"):
        ranef.Model("y ~ x + (1 | g)", data, weights="w")


@pytest.mark.parametrize("power", [-130, 130])
def test_large_units_that_can_be_held_change_nothing(power):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"x": rng.normal(size=40), "g": np.resize(list("abcd"), 40)})
    data["y"] = data.x + np.resize(rng.normal(size=4), 40) + rng.normal(size=40)
    unit = 10.0**power
    fit, plain = (ranef.Model("y ~ x + (x | g)", d).fit("ML") for d in (data.assign(x=data.x * unit), data))
    assert fit.deviance == pytest.approx(plain.deviance, rel=1e-9)
    assert fit.fixef["x"] * unit == pytest.approx(plain.fixef["x"], rel=1e-6)
