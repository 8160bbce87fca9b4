"""Prediction intervals of rows that have weights, against the oracle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.inference import normal_quantile
from oracle import dense

N, GROUPS = 60, 6


def made() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    g = np.arange(N) % GROUPS
    x, w = rng.normal(size=N), np.exp(rng.uniform(np.log(0.02), np.log(40), N))
    y = 10 + 3 * x + rng.normal(0, 20, GROUPS)[g] + rng.normal(0, 47, N) / np.sqrt(w)
    return pd.DataFrame({"y": y, "x": x, "w": w, "g": [f"g{i}" for i in g]})


DATA = made()
FORMULA = "y ~ x + (1 | g)"


@pytest.fixture(scope="module")
def fit():
    return ranef.Model(FORMULA, DATA, weights="w").fit()


def half(found: pd.DataFrame) -> np.ndarray:
    return ((found["upper"] - found["lower"]) / 2).to_numpy()


def dense_half(fit, rows: pd.DataFrame, w) -> np.ndarray:
    """Half widths of a new response from the covariances of the oracle and the variance σ²/w of its own error."""
    at = dense(fit.spec, fit.estimates.theta, "REML", fit.sigma)
    x = np.column_stack([np.ones(len(rows)), rows["x"]])
    z = (rows["g"].to_numpy()[:, None] == [f"g{i}" for i in range(GROUPS)]).astype(float)
    both = np.hstack([x, z])
    unseen = fit.sigma**2 * at.D[0][0, 0] * (1 - z.sum(axis=1))
    mean = np.einsum("ip,pq,iq->i", both, at.joint_covariance, both) + unseen
    return normal_quantile(0.95) * np.sqrt(mean + fit.sigma**2 / np.broadcast_to(w, len(rows)))


def test_rows_used(fit):
    np.testing.assert_allclose(half(fit.predict(interval="prediction")), dense_half(fit, DATA, DATA["w"]), rtol=1e-8)


def test_new_rows_with_the_column_of_the_weights(fit):
    new = DATA.iloc[[3, 8, 20]].assign(w=[0.02, 4.0, 39.0], g=["g1", "g5", "unseen"])
    found = half(fit.predict(new, interval="prediction"))
    np.testing.assert_allclose(found, dense_half(fit, new, new["w"]), rtol=1e-8)
    assert found[0] > 5 * found[1]


@pytest.mark.parametrize("weights", [4.0, [0.02, 4.0, 39.0], "v"])
def test_weights_given_with_new_rows(fit, weights):
    new = DATA.iloc[:3].drop(columns="w").assign(v=[1.0, 2.0, 3.0])
    found = half(fit.predict(new, interval="prediction", weights=weights))
    np.testing.assert_allclose(found, dense_half(fit, new, new["v"] if weights == "v" else weights), rtol=1e-8)


def test_weights_given_go_before_the_column_and_the_rows_used(fit):
    new = DATA.iloc[:3]
    np.testing.assert_allclose(
        half(fit.predict(new, interval="prediction", weights=2.0)), dense_half(fit, new, 2.0), rtol=1e-8
    )
    np.testing.assert_allclose(
        half(fit.predict(interval="prediction", weights=2.0)), dense_half(fit, DATA, 2.0), rtol=1e-8
    )


@pytest.mark.parametrize("column", [True, False])
def test_what_is_assumed_is_said(column):
    fit = ranef.Model(FORMULA, DATA, weights="w" if column else DATA["w"].to_numpy()).fit()
    new = DATA.iloc[:3].drop(columns="w") if column else DATA.iloc[:3]
    typical = 1 / np.mean(1 / DATA["w"])
    with pytest.warns(ranef.RanefWarning, match=f"rows of weight {typical:.4g}") as told:
        found = fit.predict(new, interval="prediction")
    assert told[0].filename == __file__
    np.testing.assert_allclose(half(found), dense_half(fit, new, typical), rtol=1e-8)
    assert fit.predict(new, interval="confidence").shape == (3, 3)  # where weights do not matter nothing is said


def test_equal_weights_leave_no_question():
    fit = ranef.Model(FORMULA, DATA, weights=np.full(N, 9.0)).fit()
    plain = ranef.Model(FORMULA, DATA).fit()
    new = DATA.iloc[:3]
    np.testing.assert_allclose(
        half(fit.predict(new, interval="prediction")), half(plain.predict(new, interval="prediction")), rtol=1e-6
    )


def test_missing_and_impossible_weights(fit):
    new = DATA.iloc[:3].assign(w=[1.0, np.nan, 2.0])
    assert fit.predict(new, interval="prediction")["lower"].isna().tolist() == [False, True, False]
    with pytest.raises(ranef.DesignError, match="weights must be positive"):
        fit.predict(DATA.iloc[:3], interval="prediction", weights=[1.0, 0.0, 2.0])
    with pytest.raises(ranef.DesignError, match="names no column of the data"):
        fit.predict(DATA.iloc[:3], interval="prediction", weights="ww")
    with pytest.raises(ranef.DesignError, match="names a column, and no new data are given"):
        fit.predict(interval="prediction", weights="w")


def test_the_posterior_and_the_comparison():
    """A posterior's half widths follow 1/√w where the error of a row is most of its variance."""
    model = ranef.Model(FORMULA, DATA, weights="w")
    fb = model.sample(draws=250, seed=1, sampler="nutpie", progress=False)
    new = DATA.iloc[[0, 1, 2]].assign(w=[1e-4, 4e-4, 16e-4])
    found = half(fb.predict(new, interval="prediction", seed=1))
    np.testing.assert_allclose(found[:2] / found[1:], 2.0, rtol=0.15)
    given = half(fb.predict(new.drop(columns="w"), interval="prediction", weights=new["w"], seed=1))
    np.testing.assert_allclose(given, found)
    both = ranef.compare(model.fit(), fb).predictions(new, interval="prediction", seed=1)
    np.testing.assert_allclose((both["fb_upper"] - both["fb_lower"]) / 2, found)
    sd = fb.simulate(400, seed=1).std(axis=1)
    light = DATA["w"].to_numpy() < 0.1  # there the error of a row is nearly all that varies
    np.testing.assert_allclose((sd * np.sqrt(DATA["w"]))[light], fb.sigma, rtol=0.2)
