"""Generalised fits side by side."""

import numpy as np
import pytest

import ranef

FORMULA = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def model():
    return ranef.Model(FORMULA, ranef.datasets.load("cbpp"), family="binomial")


def test_frames_hold_what_the_fits_say(model):
    laplace, nine = model.fit(), model.fit(nagq=9)
    both = ranef.compare(laplace, nine)
    assert list(both.fits) == ["Laplace", "AGQ"]
    effects = both.random_effects
    np.testing.assert_array_equal(effects["AGQ_estimate"], nine.ranef()["estimate"])
    np.testing.assert_array_equal(effects["n"], ranef.datasets.load("cbpp")["herd"].value_counts()[effects["level"]])
    fixed = both.fixed_effects.set_index("term")
    np.testing.assert_array_equal(fixed["Laplace_estimate"], laplace.fixef)
    np.testing.assert_allclose(fixed["Laplace_sd"], np.sqrt(np.diag(laplace.vcov)))
    assert both.variance_components["AGQ_estimate"].tolist() == nine.varcorr["sdcor"].tolist()
    own = both.agreement.query("effect == 'random' and fit == 'AGQ'")
    np.testing.assert_allclose(own["difference"], effects["AGQ_estimate"] - effects["Laplace_estimate"])
    assert "conditional mode" in str(both)


def test_one_model_in_other_words_is_refused():
    data = ranef.datasets.load("grouseticks")
    formulas = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", "TICKS ~ cHEIGHT + YEAR + (1 | BROOD)"
    fits = [ranef.Model(formula, data, family="poisson").fit() for formula in formulas]
    with pytest.raises(ranef.DesignError, match="another order"):
        ranef.compare(*fits)


def test_other_models_and_responses_are_refused(model):
    fit, data = model.fit(), ranef.datasets.load("cbpp")
    with pytest.raises(ranef.DesignError, match="different responses"):
        ranef.compare(fit, ranef.Model("incidence ~ period + (1 | herd)", data, family="poisson").fit())
    with pytest.raises(ranef.DesignError, match="different responses"):
        ranef.compare(fit, ranef.Model(FORMULA, data, family="binomial", link="probit").fit())
    with pytest.raises(ranef.DesignError, match="different models"):
        ranef.compare(fit, ranef.Model(FORMULA.replace("period", "1"), data, family="binomial").fit())
