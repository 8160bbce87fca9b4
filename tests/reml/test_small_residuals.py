"""Residuals much smaller or larger than the effects, against closed forms of balanced layouts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import ranef
from oracle import dense

RATIOS = [1e-8, 1e-4, 1.0, 1e3, 1e5, 1e6, 1e7, 1e8, 1e10, 1e12]


def one_way(ratio: float, J: int = 8, m: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(J), m)
    return pd.DataFrame({"y": ratio * rng.normal(size=J)[g] + rng.normal(size=J * m), "g": g})


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_one_way_is_the_analysis_of_variance(ratio, method):
    """σ² = MSW and τ² = (MSB − MSW)/m, cut off at zero; deviations are taken in the rows, so digits are not lost."""
    data = one_way(ratio)
    J, m = 8, 5
    means = data.groupby("g")["y"].transform("mean")
    within = ((data["y"] - means) ** 2).sum() / (J * (m - 1))
    between = ((means - means.mean()) ** 2).sum() / (J if method == "ML" else J - 1)
    fit = ranef.Model("y ~ 1 + (1 | g)", data).fit(method)
    assert between > within
    assert fit.status == "converged"
    close = max(1e-6, 1e-16 * ratio)  # the rounding of y is all that is left at last
    assert fit.sigma == pytest.approx(np.sqrt(within), rel=close)
    assert fit.varcorr["sdcor"].iloc[0] == pytest.approx(np.sqrt((between - within) / m), rel=1e-6)
    assert fit.ranef()["sd"].tolist() == pytest.approx([fit.sigma * np.sqrt(_known(between, within, m))] * J, rel=1e-4)
    assert fit.vcov.iloc[0, 0] == pytest.approx(between / (J * m), rel=1e-5)


def _known(between: float, within: float, m: int) -> float:
    """Var(b | y, β) over σ²: D/(1 + mD)."""
    D = (between - within) / m / within
    return D / (1.0 + m * D)


def slopes(residual: float, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Eight groups on four times, and the REML estimates: S less s²(XᵀX)⁻¹, S the covariance of each group's line."""
    rng = np.random.default_rng(seed)
    J, t = 8, np.arange(4.0)
    X = np.column_stack([np.ones(4), t])
    y = rng.normal(size=(J, 2)) @ X.T + residual * rng.normal(size=(J, 4))
    lines = y @ np.linalg.pinv(X).T
    s2 = ((y - lines @ X.T) ** 2).sum() / (J * 2)
    D = np.cov(lines.T) - s2 * np.linalg.inv(X.T @ X)
    sd = np.sqrt(np.diag(D))
    data = pd.DataFrame({"y": y.ravel(), "t": np.tile(t, J), "g": np.repeat(np.arange(J), 4)})
    return data, np.array([*sd, D[0, 1] / sd.prod(), np.sqrt(s2)])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("residual", [1e-2, 1e-5, 1e-6, 1e-8, 1e-11])
def test_balanced_slopes_have_a_closed_form(residual, seed):
    data, expected = slopes(residual, seed)
    fit = ranef.Model("y ~ t + (t | g)", data).fit()
    assert fit.status == "converged"
    np.testing.assert_allclose(fit.varcorr["sdcor"], expected, rtol=1e-5)
    assert np.isfinite(fit.ranef()["sd"]).all()


@pytest.mark.parametrize("seed", range(3))
def test_one_level_a_row_with_a_small_known_sigma(seed):
    """A slope for each row beside a group, σ = 1e-4: V is σ²I + τ²ZZᵀ + ω² diag t², searched densely."""
    rng = np.random.default_rng(seed)
    g, t = rng.integers(0, 6, 40), rng.normal(size=40)
    data = pd.DataFrame({"y": rng.normal(size=6)[g] + rng.normal(size=40) * t, "g": g, "t": t, "row": np.arange(40)})
    model = ranef.Model("y ~ 1 + (1 | g) + diag(0 + t | row)", data, sigma=1e-4)
    fit = model.fit()
    assert fit.status == "converged"

    def criterion(logs):
        return dense(model.spec, np.exp(logs), "REML", 1e-4).criterion

    found = optimize.minimize(criterion, np.log(fit.theta), method="Nelder-Mead", options={"fatol": 1e-9})
    assert fit.criterion <= found.fun + 1e-4  # the oracle inverts a matrix of condition 1e8


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | g)", "y ~ t + (t | g)"])
def test_refits_of_small_residuals_are_fits(formula):
    """A response whose sums have lost their digits is fitted by itself, from its rows."""
    data, _ = slopes(1.0, 0)
    Y = np.column_stack([slopes(residual, 1)[0]["y"] for residual in (1e-8, 1e-3, 1.0)])
    if "t |" not in formula:
        Y = np.column_stack([one_way(ratio, m=4)["y"] for ratio in (1e8, 1e3, 1.0)])
    model = ranef.Model(formula, data)
    refits = model.fit().refit(Y)
    for b, y in enumerate(Y.T):
        alone = ranef.Model(formula, data.assign(y=y)).fit()
        assert refits.sigma[b] == pytest.approx(alone.sigma, rel=1e-5)
        np.testing.assert_allclose(refits.theta[b], alone.theta, rtol=1e-4)
    assert refits.converged.all()


def test_more_groups_than_are_taken_at_once():
    """Many levels of one factor are rotated level by level, whatever their number."""
    data = one_way(1e9, J=400, m=3)
    within = data.groupby("g")["y"].transform(lambda v: v - v.mean())
    fit = ranef.Model("y ~ 1 + (1 | g)", data).fit()
    assert fit.sigma == pytest.approx(np.sqrt((within**2).sum() / 800), rel=1e-6)


def test_a_response_that_is_constant_within_groups_has_no_residual_variance():
    data = one_way(1.0)
    data["y"] = np.sin(data["g"])
    with pytest.raises(ranef.FitError, match="residual variance of 'y' is zero: the random effects fit"):
        ranef.Model("y ~ 1 + (1 | g)", data).fit()


def test_as_many_effects_as_rows_leave_no_residual_variance_or_an_interior_optimum():
    """Never a raw error, and never a θ without end called an optimum."""
    rng = np.random.default_rng(4)
    for _ in range(12):
        a, b = rng.integers(0, 6, 18), rng.integers(0, 5, 18)
        data = pd.DataFrame({"y": rng.normal(size=18), "x": rng.normal(size=18), "a": a, "b": b})
        try:
            largest = ranef.Model("y ~ 1 + (x | a) + (x | b)", data).fit().theta.abs().max()
        except (ranef.FitError, ranef.DesignError):
            largest = 0.0
        assert largest < 1e4
