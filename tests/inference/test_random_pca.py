"""Principal components of random effects."""

from __future__ import annotations

import numpy as np

import ranef


def test_components_are_those_of_the_covariance():
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    found = fit.re_pca()
    (cov,) = fit._covariances
    vectors = found[["Intercept", "Days"]].to_numpy()
    np.testing.assert_allclose((vectors.T * found["sd"].to_numpy() ** 2) @ vectors, cov)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(2), atol=1e-12)
    assert found["sd"].is_monotonic_decreasing
    np.testing.assert_allclose(found["relative_sd"] * fit.sigma, found["sd"])
    assert found["cumulative"].iloc[-1] == 1.0


def test_a_singular_fit_has_a_component_of_nothing_and_factors_their_own_rows():
    d = ranef.datasets.load("sleepstudy")
    d = d.assign(half=(d["Days"] > 4) * 1.0, block=d["Days"] % 3)
    fit = ranef.Model("Reaction ~ Days + (Days + half | Subject) + (1 | block)", d).fit()
    found = fit.re_pca()
    assert found["group"].value_counts().to_dict() == {"Subject": 3, "block": 1}
    lam = np.linalg.svd(fit._covariances[0], compute_uv=False)
    np.testing.assert_allclose(found.loc[found["group"] == "Subject", "sd"] ** 2, lam, atol=1e-6)
    assert ranef.Model("Reaction ~ Days", d).fit().re_pca().empty
