"""Grouping factors with few levels, one level, or one row a level; rows that are repeated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.likelihood import evaluate, score
from oracle import dense

METHODS = ("REML", "ML")


def one_way(J: int, m: int, sd: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(J), m)
    return pd.DataFrame({"y": 5 + sd * rng.normal(size=J)[g] + rng.normal(size=J * m), "g": g})


def mean_squares(data: pd.DataFrame) -> tuple[float, float]:
    """Between and within groups of equal size."""
    groups = data.groupby("g")["y"]
    m, J = groups.size().iloc[0], groups.ngroups
    return m * groups.mean().var(ddof=1), (groups.var(ddof=0) * m).sum() / (len(data) - J)


@pytest.mark.parametrize("J", [2, 3, 12])
def test_balanced_one_way_is_the_analysis_of_variance(J):
    """REML: σ² = MSW and τ² = (MSB − MSW)/m where that is positive; with two levels as with many."""
    data = one_way(J, 10, 3.0, 1)
    between, within = mean_squares(data)
    fit = ranef.Model("y ~ 1 + (1 | g)", data).fit()
    assert between > within
    assert fit.status == "converged"
    # the optimiser stops where the criterion could fall by 1e-11: θ is 3e-6 of its standard error away at most
    assert fit.sigma**2 == pytest.approx(within, rel=1e-5)
    assert fit.varcorr["vcov"].iloc[0] == pytest.approx((between - within) / 10, rel=2e-5)
    assert fit.fixef["Intercept"] == pytest.approx(data["y"].mean(), rel=1e-13)
    assert fit.vcov.iloc[0, 0] == pytest.approx(between / len(data), rel=2e-5)


def test_two_levels_that_do_not_differ():
    data = one_way(2, 10, 0.0, 3)
    between, within = mean_squares(data)
    assert between < within
    fit = ranef.Model("y ~ 1 + (1 | g)", data).fit()
    assert fit.status == "boundary"
    assert fit.sigma**2 == pytest.approx(data["y"].var(ddof=1), rel=1e-12)


def test_one_level_and_one_row_a_level_need_a_known_sigma():
    data = one_way(4, 3, 1.0, 4).assign(only="a", row=range(12))
    with pytest.raises(ranef.DesignError, match=r"grouping factor only of \(1 \| only\) has one level"):
        ranef.Model("y ~ 1 + (1 | g) + (1 | only)", data)
    with pytest.raises(ranef.DesignError, match=r"must be < number of observations \(problems: row\)"):
        ranef.Model("y ~ 1 + (1 | g) + (1 | row)", data)
    with pytest.raises(ranef.DesignError, match=r"\(=12\) <= number of random effects \(=12\) for term \(x . only:g\)"):
        ranef.Model("y ~ 1 + (x | only:g)", data.assign(x=np.arange(12) % 5, g=np.arange(12) % 6))


def test_one_level_beside_an_intercept_with_a_known_sigma():
    """REML integrates the intercept out, and the one effect with it: its variance is nowhere; ML puts it at zero."""
    model = ranef.Model("y ~ 1 + (1 | g) + (1 | only)", one_way(4, 3, 3.0, 4).assign(only="a"), sigma=1.0)
    without = ranef.Model("y ~ 1 + (1 | g)", one_way(4, 3, 3.0, 4), sigma=1.0)
    with pytest.warns(ranef.ConvergenceWarning, match="do not determine"):
        reml = model.fit()
    ml = model.fit("ML")
    assert reml.status == "not identified"
    assert "only.Intercept" in reml.optimizer.message
    assert "g.Intercept" not in reml.optimizer.message
    assert reml.criterion == pytest.approx(without.fit().criterion, abs=1e-9)
    assert ml.status == "boundary"
    assert "variance of Intercept by only is estimated as zero" in ml.optimizer.message
    assert ml.criterion == pytest.approx(without.fit("ML").criterion, abs=1e-9)


def meta(seed: int, k: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    se = rng.uniform(0.1, 0.5, k)
    d = 0.3 + 0.4 * rng.normal(size=k) + se * rng.normal(size=k)
    return pd.DataFrame({"d": d, "w": 1 / se**2, "study": np.arange(k)})


def reml_tau2(d: np.ndarray, v: np.ndarray) -> float:
    """Fisher scoring of the restricted likelihood (Viechtbauer 2005, J. Educ. Behav. Stat. 30, 261–293)."""
    tau2 = d.var(ddof=1)
    for _ in range(500):
        w = 1 / (v + tau2)
        P = np.diag(w) - np.outer(w, w) / w.sum()
        tau2 = max(0.0, tau2 + (d @ P @ P @ d - np.trace(P)) / np.trace(P @ P))
    return float(tau2)


@pytest.mark.parametrize("seed", range(4))
def test_meta_analysis_is_the_dense_reml(seed):
    data = meta(seed)
    fit = ranef.Model("d ~ 1 + (1 | study)", data, weights="w", sigma=1.0).fit()
    d, v = data["d"].to_numpy(), 1 / data["w"].to_numpy()
    tau2 = reml_tau2(d, v)
    w = 1 / (v + tau2)
    mu = w @ d / w.sum()
    assert tau2 > 0
    assert fit.varcorr["vcov"].iloc[0] == pytest.approx(tau2, rel=1e-5)  # 3e-6 of a standard error, as above
    assert fit.fixef["Intercept"] == pytest.approx(mu, rel=1e-6)
    assert fit.vcov.iloc[0, 0] == pytest.approx(1 / w.sum(), rel=1e-5)
    np.testing.assert_allclose(fit.ranef()["estimate"], tau2 * w * (d - mu), atol=1e-5)
    restricted = np.log(2 * np.pi / w).sum() + (w * (d - mu) ** 2).sum() + np.log(w.sum()) - np.log(2 * np.pi)
    assert fit.criterion == pytest.approx(restricted, rel=1e-10)
    assert fit.sigma == 1.0


def test_meta_analysis_of_equally_precise_studies_is_dersimonian_and_laird():
    """With one variance v the moment estimate, REML and the sample variance less v are one number."""
    data = meta(7).assign(w=1 / 0.09)
    d = data["d"].to_numpy()
    Q = ((d - d.mean()) ** 2).sum() / 0.09
    laird = (Q - 19) / (20 / 0.09 - 1 / 0.09)
    fit = ranef.Model("d ~ 1 + (1 | study)", data, weights="w", sigma=1.0).fit()
    assert laird > 0
    assert laird == pytest.approx(d.var(ddof=1) - 0.09)
    assert fit.varcorr["vcov"].iloc[0] == pytest.approx(laird, rel=1e-5)


def test_meta_analysis_of_studies_that_agree():
    """Less spread than the standard errors explain: τ² is zero and the mean the one weighted by precision."""
    data = meta(1).eval("d = 0.3 + 0.1 * (d - 0.3)")
    fit = ranef.Model("d ~ 1 + (1 | study)", data, weights="w", sigma=1.0).fit()
    assert fit.status == "boundary"
    assert fit.fixef["Intercept"] == pytest.approx(np.average(data["d"], weights=data["w"]), rel=1e-10)


def repeated() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    a, b, x = rng.integers(0, 6, 50), rng.integers(0, 5, 50), rng.normal(size=50)
    y = 1 + x + rng.normal(size=6)[a] * (1 + x) + rng.normal(size=5)[b] + rng.normal(size=50)
    return pd.DataFrame({"y": y, "x": x, "a": a, "b": b})


FORMULA = "y ~ x + (x | a) + (1 | b)"


@pytest.mark.parametrize("method", METHODS)
def test_rows_given_twice_are_rows_of_weight_two_at_any_theta(method):
    """[Z X y]ᵀW[Z X y] is the same, so β̂, b̂ and r² are; the criteria differ by ν and by the −Σ log w of the weights.

    Twice the rows: log det + ν₂(1 + log 2πr²/ν₂) with ν₂ = 2n − p or 2n. Weights: the same log det − n log 2, and
    ν = n − p or n.
    """
    data = repeated()
    n = len(data)
    twice = ranef.Model(FORMULA, pd.concat([data, data], ignore_index=True))
    weighted = ranef.Model(FORMULA, data, weights=np.full(n, 2.0))
    theta = np.array([0.8, 0.3, 0.6, 0.5])
    parts = []
    for model in (twice, weighted):
        products, scale = model.products, model.products.scaling
        lambdas = scale.inward(model.spec.lambdas(theta))
        at = evaluate(products, [lambdas[k] for k in products.order], method)
        b = score(products, at).b
        modes = [scale.y * b[products.order.index(k)] @ scale.Z[k].T for k in range(2)]
        parts.append((scale.pilot + scale.y * scale.X @ at.beta, modes, scale.y**2 * at.rss, at.criterion, at.nu))
    (beta, modes, rss, criterion, nu), (beta_w, modes_w, rss_w, criterion_w, nu_w) = parts
    np.testing.assert_allclose(beta, beta_w, rtol=1e-12)
    for k in range(2):
        np.testing.assert_allclose(modes[k], modes_w[k], atol=1e-12)
    assert rss == pytest.approx(rss_w, rel=1e-12)
    assert (nu - nu_w, nu) == (n, 2 * n - (2 if method == "REML" else 0))
    profile = [m * (1 + np.log(2 * np.pi * rss / m)) for m in (nu, nu_w)]
    assert criterion - criterion_w == pytest.approx(profile[0] - profile[1] + n * np.log(2), abs=1e-10)
    assert criterion == pytest.approx(dense(twice.spec, theta, method).criterion, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_rows_given_twice_are_rows_of_weight_two_where_sigma_is_known(method):
    """Then ν plays no part in θ̂, and the whole fits agree, their criteria up to n log 2πσ² + n log 2.

    They start from different places, as weights enter the internal scale, and stop within 3e-6 of a standard error.
    """
    data = repeated()
    n = len(data)
    twice = ranef.Model(FORMULA, pd.concat([data, data], ignore_index=True), sigma=0.9).fit(method)
    weighted = ranef.Model(FORMULA, data, weights=np.full(n, 2.0), sigma=0.9).fit(method)
    shift = n * np.log(2 * np.pi * 0.81) + n * np.log(2)
    assert twice.criterion - shift == pytest.approx(weighted.criterion, abs=1e-9)
    np.testing.assert_allclose(twice.theta, weighted.theta, atol=3e-6)
    np.testing.assert_allclose(twice.fixef, weighted.fixef, atol=3e-6)
    np.testing.assert_allclose(twice.vcov, weighted.vcov, atol=3e-6)
    np.testing.assert_allclose(twice.ranef()["estimate"], weighted.ranef()["estimate"], atol=3e-6)
    np.testing.assert_allclose(twice.ranef()["sd"], weighted.ranef()["sd"], atol=3e-6)
