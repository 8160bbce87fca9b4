"""Sizes near the end of what numbers are, and designs that leave nothing over: the right answer or a clear error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef


def data() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(8), 6), rng.normal(size=48)
    y = 1 + x + rng.normal(size=8)[g] + rng.normal(size=8)[g] * x + rng.normal(size=48)
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{i}" for i in g], "w": np.ones(48)})


@pytest.mark.parametrize("unit", [1e-130, 1e-60, 1e60, 1e130])
@pytest.mark.parametrize("column", ["y", "x", "w"])
def test_units_that_have_squares(column, unit):
    plain = ranef.Model("y ~ x + (x | g)", data(), weights="w").fit()
    frame = data()
    frame[column] *= unit
    fit = ranef.Model("y ~ x + (x | g)", frame, weights="w").fit()
    y, x, w = (unit if column == name else 1.0 for name in ("y", "x", "w"))
    assert fit.status == plain.status == "converged"
    assert fit.sigma / (y * np.sqrt(w)) == pytest.approx(plain.sigma, rel=1e-8)
    np.testing.assert_allclose(fit.fixef * [1 / y, x / y], plain.fixef, rtol=1e-8)
    sds = fit.varcorr["sdcor"].iloc[:2] * [1 / y, x / y]
    np.testing.assert_allclose(sds, plain.varcorr["sdcor"].iloc[:2], rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-200, 1e-160, 1e160, 1e200, 1e300])
@pytest.mark.parametrize("column", ["y", "x", "w"])
def test_units_that_have_none(column, unit):
    frame = data()
    frame[column] *= unit
    with pytest.raises(ranef.DesignError, match=r"unit|weight"):
        ranef.Model("y ~ x + (x | g)", frame, weights="w").fit()


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_a_constant_response_with_a_known_sigma(method):
    fit = ranef.Model("y ~ x + (x | g)", data().assign(y=3.0), sigma=1.0).fit(method)
    assert fit.status == "boundary"
    assert fit.theta.tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(fit.fixef, [3.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("fixed", ["0 + g", "g"])
@pytest.mark.parametrize(("method", "status"), [("REML", "not identified"), ("ML", "boundary")])
def test_the_grouping_stands_in_x(fixed, method, status):
    """Group means are coefficients: σ² is the mean square within groups, with n or n − 8."""
    frame = data()
    within = frame.groupby("g")["y"].transform(lambda v: v - v.mean())
    fit = ranef.Model(f"y ~ {fixed} + (1 | g)", frame).fit(method)
    assert fit.status == status
    assert fit.sigma**2 == pytest.approx((within**2).sum() / (40 if method == "REML" else 48))


def test_one_level_with_a_known_sigma():
    frame = data().assign(only="a")
    assert ranef.Model("y ~ x + (1 | only)", frame, sigma=1.0).fit().status == "not identified"
    assert ranef.Model("y ~ x + (1 | only)", frame, sigma=1.0).fit("ML").status == "boundary"


def test_as_many_coefficients_as_rows():
    frame = data().assign(row=[f"r{i}" for i in range(48)])
    with pytest.warns(ranef.DataWarning, match="row is text with 48 different entries in 48 rows"):
        model = ranef.Model("y ~ row + (1 | g)", frame)
    with pytest.raises(ranef.FitError, match="coefficients for 48 rows: they fit the response exactly"):
        model.fit()
