"""Every lmer reference whose data are at hand, quantity by quantity.

Tolerances: the criterion to 1e-8 relative or better than the reference's; coefficients and their covariance and σ to
1e-5 of a standard error or relative, as the reference's optimum was polished to a gradient of about 1e-8; θ and BLUPs
to 1e-5, except where the reference calls the case delicate or singular: there only criterion, coefficients and fitted
values are determined (tests/reference/README.md).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
import registry

LOCAL_REASON = "its data may not be committed; set RANEF_DATA to the folder that holds them"

fitted_case = pytest.mark.parametrize("case", registry.FITTED)


def delicate(ref):
    return bool(ref.get("delicate")) or ref["singular"]


def test_the_registry_is_not_empty():
    assert len(registry.BUNDLED) > 80


@pytest.mark.skipif(registry.LOCAL is None, reason=LOCAL_REASON)
def test_local_references_are_found():
    assert {"irrigation_sum", "psid_sum"} <= set(registry.CASES)


def shown(record):
    """All values of a small case, the first ten of a large one."""
    return np.array(record.get("values", record.get("first")), dtype=float)


@fitted_case
def test_criterion(case):
    ref, fit = registry.reference(case), registry.fit(case)
    # a lower criterion than the reference's is a better optimum, so only the upper side is held
    assert fit.criterion <= ref["criterion"] + 1e-8 * abs(ref["criterion"])
    assert fit.criterion >= ref["criterion"] - 1e-5, "much lower than the reference: not the same model"
    assert fit.aic == pytest.approx(ref["AIC"], abs=1e-5)
    assert fit.bic == pytest.approx(ref["BIC"], abs=1e-5)
    assert fit.df == ref["df_logLik"]
    assert fit.spec.n_obs == ref["nobs"]
    assert fit.status != "not converged"


@fitted_case
def test_fixed_effects(case):
    ref, fit = registry.reference(case), registry.fit(case)
    se = np.array(ref["fixef"]["se"], dtype=float)
    expected = np.array(ref["fixef"]["estimate"], dtype=float)
    assert np.abs(fit.fixef.to_numpy() - expected).max(initial=0.0) <= 1e-5 * se.max(initial=1.0)
    assert np.all(np.abs(fit.fixef.to_numpy() - expected) <= 1e-5 * se)
    vcov = np.atleast_2d(np.array(ref["vcov"], dtype=float))
    assert np.abs(fit.vcov.to_numpy() - vcov).max() <= 1e-5 * np.abs(vcov).max()
    assert fit.spec.design.X.shape[1] + len(fit.spec.design.dropped) == len(expected) + len(ref["dims"]["rank_dropped"])


@fitted_case
def test_variance_components(case):
    ref, fit = registry.reference(case), registry.fit(case)
    assert fit.sigma == pytest.approx(ref["sigma"], rel=1e-5)
    assert fit.is_singular == ref["singular"]
    if delicate(ref):
        return
    theta = np.array(ref["theta"]["value"], dtype=float)
    assert np.abs(fit.theta.to_numpy() - theta).max() <= 1e-5 * max(1.0, np.abs(theta).max())
    rows = fit.varcorr[fit.varcorr["term2"].isna()]
    sds = np.concatenate([np.atleast_1d(t["sd"]) for t in ref["varcorr"]])
    np.testing.assert_allclose(rows["sdcor"][:-1], sds, rtol=1e-5, atol=1e-5 * ref["sigma"])


@fitted_case
def test_random_effects(case):
    ref, fit = registry.reference(case), registry.fit(case)
    if delicate(ref):
        pytest.skip("random effects are not determined to five digits where the variances are not")
    for group in ref["ranef"]:
        frame = fit.ranef(group["group"])
        wide = frame.pivot(index="level", columns="term", values="estimate")[list(dict.fromkeys(frame["term"]))]
        sd = frame.pivot(index="level", columns="term", values="sd")[wide.columns]
        expected = np.array(group["values"], dtype=float)
        scale = np.abs(wide.to_numpy()).max()
        np.testing.assert_allclose(wide.loc[group["levels"]], expected, atol=1e-5 * scale)
        np.testing.assert_allclose(sd.loc[group["levels"]], np.array(group["cond_sd"], dtype=float), rtol=1e-5)
        np.testing.assert_allclose((wide**2).sum(), np.array(group["sumsq"], dtype=float), rtol=1e-4)


@fitted_case
def test_fitted_values_and_residuals(case):
    ref, fit = registry.reference(case), registry.fit(case)
    values = shown(ref["fitted"])
    fitted = fit.fitted().to_numpy()
    atol = 1e-4 if delicate(ref) else 1e-5
    np.testing.assert_allclose(fitted[: len(values)], values, atol=atol * ref["sigma"])
    assert fitted.sum() == pytest.approx(ref["fitted"]["sum"], rel=1e-6, abs=1e-5 * ref["sigma"] * len(fitted))
    assert (fit.residuals() ** 2).sum() == pytest.approx(ref["residuals"]["sumsq"], rel=1e-4)


@fitted_case
def test_scaled_residual_quantiles(case):
    ref, fit = registry.reference(case), registry.fit(case)
    quantiles = np.quantile(fit.residuals("pearson"), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quantiles, ref["summary_scaled_residual_quantiles"], atol=1e-4)


@pytest.mark.parametrize("case", [c for c in registry.FITTED if "predict" in registry.reference(c)])
def test_predictions_for_new_data(case):
    ref, fit = registry.reference(case), registry.fit(case)
    expected = ref["predict"]
    new = pd.DataFrame(expected["newdata"])
    scale = 1e-4 if delicate(ref) else 1e-5
    population = fit.predict(new, re="none", interval="confidence")
    np.testing.assert_allclose(population["estimate"], expected["re_form_NA"], atol=scale * ref["sigma"])
    half = (population["upper"] - population["lower"]) / (2 * 1.959963984540054)
    np.testing.assert_allclose(half, expected["se_fixed_part"], rtol=1e-4)
    np.testing.assert_allclose(fit.predict(new), expected["re_form_NULL_allow_new_levels"], atol=scale * ref["sigma"])


@pytest.mark.parametrize("case", [c for c in registry.FITTED if "mme_fitted_se" in registry.reference(c)])
def test_standard_errors_from_hendersons_equations(case):
    ref, fit = registry.reference(case), registry.fit(case)
    if delicate(ref):
        pytest.skip("depends on variances that are not determined to five digits")
    expected = shown(ref["mme_fitted_se"])
    frame = fit.predict(interval="confidence")
    se = ((frame["upper"] - frame["lower"]) / (2 * 1.959963984540054)).to_numpy()
    np.testing.assert_allclose(se[: len(expected)], expected, rtol=1e-4)
    if "values" in ref["mme_ranef_se"]:
        modes = fit.estimates.modes
        ours = np.concatenate(
            [
                np.sqrt(np.diagonal(modes[t.grouping].cov_prediction, axis1=1, axis2=2)[:, t.where]).ravel()
                for t in fit.spec.terms
            ]
        )
        expected = np.array(ref["mme_ranef_se"]["values"], dtype=float)
        if len(expected) == len(ours):
            # compare sorted: nlme-made factors may list their levels in another order than the term does
            np.testing.assert_allclose(np.sort(ours), np.sort(expected), rtol=1e-4)


@pytest.mark.parametrize("case", registry.REFUSED)
def test_refused_where_lme4_refuses(case):
    with pytest.raises(ranef.DesignError, match="number of levels of each grouping factor must be"):
        registry.model(case)
