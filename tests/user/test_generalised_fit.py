"""What fits of generalised responses answer, and what they refuse in words."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from generalised import data_of, fitted

FORMULA = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def fit():
    return fitted("cbpp_laplace")


@pytest.fixture(scope="module")
def small():
    formula = FORMULA.replace("period", "1")
    return ranef.Model(formula, data_of("cbpp_laplace"), family="binomial").fit()


def test_predictions_of_the_rows_are_fitted_values(fit):
    data = data_of("cbpp_laplace")
    assert np.allclose(fit.predict(data), fit.fitted())
    assert np.allclose(fit.predict(data, re="none"), fit.fitted("none"))
    assert np.allclose(scipy.special.expit(fit.predict(data, type="link")), fit.fitted())


def test_intervals_are_made_on_the_scale_of_the_link(fit):
    link = fit.predict(type="link", interval="confidence", uncertainty="fixef")
    mean = fit.predict(interval="confidence")
    assert np.allclose(scipy.special.expit(link[["estimate", "lower", "upper"]]), mean)
    half = scipy.stats.norm.ppf(0.975) * link["sd_given_theta"]
    assert np.allclose(link["upper"] - link["estimate"], half)
    narrow = fit.predict(type="link", interval="confidence", uncertainty="plugin")
    assert (narrow["upper"] - narrow["lower"] < link["upper"] - link["lower"]).all()


def test_an_interval_without_fixed_uncertainty_is_that_of_the_effects(fit):
    """With β known a level's intercept is as uncertain as its conditional mode."""
    found = fit.predict(type="link", interval="confidence", uncertainty="plugin").groupby(
        data_of("cbpp_laplace")["herd"].to_numpy()
    )["sd_given_theta_fixef"]
    sds = fit.ranef("herd").set_index("level")["sd"]
    assert np.allclose(found.first().loc[sds.index], sds)


def test_simulated_responses_have_the_moments_of_the_model(fit):
    y = fit.simulate(1500, re="fitted", seed=1)
    trials = fit.spec.design.weights
    assert np.allclose(y * trials[:, None], np.round(y * trials[:, None]))
    error = 5 * np.sqrt(fit.fitted() * (1 - fit.fitted()) / trials / 1500)
    assert (np.abs(y.mean(axis=1) - fit.fitted()) < error).all()


@pytest.mark.parametrize("family", ["poisson", "negative binomial", "gamma"])
def test_pearson_residuals_have_variance_one(family):
    data = ranef.datasets.load("grouseticks").assign(TICKS=lambda d: d["TICKS"] + (family == "gamma"))
    fit = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family=family).fit()
    y = fit.simulate(800, re="fitted", seed=1)
    mean = fit.fitted().to_numpy()
    sd = (data["TICKS"].to_numpy() - mean) / fit.residuals("pearson").to_numpy()
    assert np.allclose(y.std(axis=1), sd, rtol=0.4)
    assert abs((y.std(axis=1) / sd).mean() - 1) < 0.03


def test_a_simulated_response_is_fitted_again(fit):
    again = fit.refit(fit.simulate(seed=3)[:, 0])
    assert again.df == fit.df
    assert 0.1 < again.theta["herd.Intercept"] < 1.5


def test_likelihood_ratios(fit, small):
    table = ranef.anova(fit, small)
    assert table["statistic"][1] == pytest.approx(small.criterion - fit.criterion)
    assert table["p"][1] == pytest.approx(scipy.stats.chi2.sf(table["statistic"][1], 3))
    none = ranef.Model("cbind(incidence, size - incidence) ~ 1", data_of("cbpp_laplace"), family="binomial").fit()
    variance = ranef.anova(none, small)
    assert variance["p_mixture"][1] == pytest.approx(0.5 * variance["p"][1])


def test_ratios_of_other_families_are_refused(small):
    probit = ranef.Model(FORMULA, data_of("cbpp_laplace"), family="binomial", link="probit").fit()
    with pytest.raises(ranef.DesignError, match="several families, links"):
        ranef.anova(small, probit)


def test_wald_tests(fit):
    found = fit.test("period[T.2] = 0, period[T.3] = 0, period[T.4] = 0")
    beta, V = fit.fixef.to_numpy()[1:], fit.vcov.to_numpy()[1:, 1:]
    assert found["statistic"][0] == pytest.approx(beta @ np.linalg.solve(V, beta))


def test_a_file_and_its_model_are_the_same(fit, tmp_path):
    again = ranef.load(fit.save(tmp_path / "fit.ranef"), ranef.GeneralisedFit)
    assert again.family == fit.family
    assert str(again.summary()) == str(fit.summary())
    assert np.array_equal(again.predict(data_of("cbpp_laplace")), fit.predict(data_of("cbpp_laplace")))
    assert ranef.Model.of(again).fit().criterion == pytest.approx(fit.criterion, abs=1e-9)


def test_shares_of_variance(fit):
    parts = fit.icc().set_index("group")
    variance = fit.varcorr["vcov"][0]
    assert parts.loc["herd", "adjusted"] == pytest.approx(variance / (variance + np.pi**2 / 3))


def test_simulated_residuals_see_overdispersion():
    data = ranef.datasets.load("grouseticks")
    poor = ranef.Model("TICKS ~ YEAR", data, family="poisson").fit()
    assert poor.simulated_residuals(seed=1).tests.loc["dispersion", "p"] < 0.01
    assert fitted("grouseticks").simulated_residuals(seed=1).tests.loc["dispersion", "p"] > 0.05


REFUSED = {
    "likelihood": lambda fit, model: model.likelihood(),
    "products": lambda fit, model: model.products,
    "save": lambda fit, model: model.save("nowhere.ranef"),
    "corrected": lambda fit, model: fit.predict(interval="confidence", uncertainty="bootstrap"),
    "chunks": lambda fit, model: ranef.Model(FORMULA, [data_of("cbpp_laplace")], family="binomial"),
    "variance": lambda fit, model: ranef.Model(
        FORMULA, data_of("cbpp_laplace"), family="binomial", variance=ranef.VarIdent("herd")
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_there_yet_is_refused(name, fit):
    with pytest.raises((ranef.NotAvailableError, ranef.DesignError), match=r"not available|nested"):
        REFUSED[name](fit, ranef.Model.of(fit))


def test_an_exact_test_is_refused(fit):
    with pytest.raises(ranef.DesignError, match="Gaussian fit"):
        ranef.exact_rlrt(fit)


def test_every_method_of_gaussian_fits_is_there_or_refused_with_words(fit):
    missing = [name for name in dir(ranef.EmpiricalBayesFit) if not name.startswith("_") and not hasattr(fit, name)]
    assert "vcov_adjusted" in missing
    for name in missing:
        with pytest.raises(AttributeError, match=r"vailable yet|Kenward|responses|weighted anew|Model.of"):
            getattr(fit, name)


def test_nothing_is_warned_of_where_nothing_is_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = ranef.Model(FORMULA, data_of("cbpp_laplace"), family="binomial").fit()
    assert fit.ok
    assert fit.status == "converged"


def test_rows_with_missing_values_are_left_out():
    data = data_of("cbpp_laplace")
    data["incidence"] = data["incidence"].astype(float)
    data.loc[3, "incidence"] = np.nan
    fit = ranef.Model(FORMULA, data, family="binomial").fit()
    assert fit.spec.n_obs == 55
    assert fit.fitted().index.tolist() == [i for i in range(56) if i != 3]
    assert isinstance(fit.augment(), pd.DataFrame)
