"""A million levels, and hundreds of fixed effects."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

import ranef
from oracle import dense


def traced_peak(n_levels: int) -> tuple[ranef.EmpiricalBayesFit, int]:
    """A fit to three rows a level, and the largest memory that it held, in bytes."""
    rng = np.random.default_rng(0)
    n = 3 * n_levels
    g, x = np.arange(n) // 3, rng.normal(size=n)
    y = rng.normal(size=n_levels)[g] + x + rng.normal(size=n)
    tracemalloc.start()
    try:
        fit = ranef.Model("y ~ x + (1 | g)", {"y": y, "x": x, "g": g}).fit()
        return fit, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_proportional_to_levels():
    """Ten times the levels take ten times the memory; a levels² block would take a hundred times."""
    (_, small), (_, large) = traced_peak(2_000), traced_peak(20_000)
    assert large < 12 * small
    assert large < 20_000 * 3 * 8 * 40  # forty columns as long as the data, where levels² alone would be 67


@pytest.mark.slow
def test_a_million_levels():
    fit, peak = traced_peak(1_000_000)
    assert fit.status == "converged"
    assert peak < 3e6 * 8 * 40
    # four standard errors: of a slope 4/√2e6, of a standard deviation near 4 · 1/√1e6
    assert fit.fixef["x"] == pytest.approx(1.0, abs=0.003)
    assert fit.varcorr["sdcor"].tolist() == pytest.approx([1.0, 1.0], abs=0.005)
    assert len(fit.ranef()) == 1_000_000


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    """A factor of 300 levels and 900 rows; g has 40 levels."""
    rng = np.random.default_rng(2)
    k, g = rng.permutation(np.arange(900) % 300), rng.integers(0, 40, 900)
    y = rng.normal(size=300)[k] + rng.normal(size=40)[g] + rng.normal(size=900)
    return pd.DataFrame({"y": y, "code": k, "k": [f"k{c:03d}" for c in k], "g": g})


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_three_hundred_fixed_effects_against_dense(many, method):
    fit = ranef.Model("y ~ k + (1 | g)", many).fit(method)
    expected = dense(fit.spec, fit.estimates.theta, method)
    assert len(fit.fixef) == 300
    assert fit.criterion == pytest.approx(expected.criterion, rel=1e-11)
    np.testing.assert_allclose(fit.fixef, expected.beta, atol=1e-11)
    np.testing.assert_allclose(fit.vcov, expected.vcov, atol=1e-11)
    for step in (0.01, -0.01):
        assert dense(fit.spec, fit.estimates.theta + step, method).criterion > fit.criterion


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_three_hundred_fixed_effects_by_any_coding_of_determinant_one(many, method):
    """Factor, own dummies, cell means and another base level: REML's criterion sees only |det| of the recoding, 1."""
    plain = ranef.Model("y ~ k + (1 | g)", many).fit(method)
    dummies = pd.DataFrame({f"d{c}": (many["code"] == c).astype(float) for c in range(1, 300)})
    own = " + ".join(dummies.columns)
    turned = many.assign(k=[f"k{(7 * c + 3) % 300:03d}" for c in many["code"]])
    others = [
        ranef.Model(f"y ~ {own} + (1 | g)", pd.concat([many, dummies], axis=1)).fit(method),
        ranef.Model("y ~ 0 + k + (1 | g)", many).fit(method),
        ranef.Model("y ~ k + (1 | g)", turned).fit(method),
    ]
    for other in others:
        assert other.criterion == pytest.approx(plain.criterion, rel=1e-12)
        np.testing.assert_allclose(other.fitted(), plain.fitted(), atol=1e-10)
        np.testing.assert_allclose(other.ranef()["estimate"], plain.ranef()["estimate"], atol=1e-10)
