"""Separate regressions by group, against nlme's lmList and plain least squares."""

import numpy as np
import pandas as pd
import pytest

import ranef

SLEEP = ranef.datasets.load("sleepstudy")


def test_it_is_nlmes_lmlist():
    """summary(lmList(Reaction ~ Days | Subject)) and intervals(), pooled and not, of the first subject."""
    pooled = ranef.lm_list("Reaction ~ Days | Subject", SLEEP)
    first = pooled.frame.iloc[:2]
    np.testing.assert_allclose(first["estimate"], [244.1927, 21.764702], rtol=1e-6)
    np.testing.assert_allclose(first["std_error"], [15.04169, 2.817566], rtol=1e-6)
    np.testing.assert_allclose(first["statistic"], [16.23439, 7.7246464], rtol=1e-6)
    np.testing.assert_allclose(first["p_value"], [2.419368e-34, 1.741840e-12], rtol=1e-5)
    assert (round(pooled.sigma, 5), pooled.df) == (25.59182, 144)
    np.testing.assert_allclose(
        pooled.confint().loc[1, ["lower", "upper"]].astype(float), [16.195571, 27.333833], rtol=1e-6
    )
    own = ranef.lm_list("Reaction ~ Days | Subject", SLEEP, pool=False).frame.iloc[:2]
    np.testing.assert_allclose(own["std_error"], [28.082693, 5.2603704], rtol=1e-6)
    np.testing.assert_allclose(own["p_value"], [2.385022e-05, 0.003264657], rtol=1e-6)


def test_a_mixed_models_formula_means_its_fixed_part():
    a = ranef.lm_list("Reaction ~ Days | Subject", SLEEP)
    b = ranef.lm_list("Reaction ~ Days + (Days | Subject)", SLEEP)
    pd.testing.assert_frame_equal(a.frame, b.frame)
    assert a.coef.columns.tolist() == ["Intercept", "Days"]


def test_weights_and_offset():
    data = SLEEP.assign(w=np.tile([1.0, 2.0], 90), o=SLEEP["Days"] * 2.0)
    found = ranef.lm_list("Reaction ~ Days | Subject", data, weights="w", offset="o").coef.loc["308"]
    own = data[data["Subject"].astype(str) == "308"]
    X, root = np.column_stack([np.ones(10), own["Days"]]), np.sqrt(own["w"].to_numpy())
    beta = np.linalg.lstsq(X * root[:, None], (own["Reaction"] - own["o"]).to_numpy() * root)[0]
    np.testing.assert_allclose(found, beta)


def test_what_a_group_does_not_tell_is_nan():
    data = pd.DataFrame({"y": np.arange(9.0) ** 2, "x": [0, 1, 2, 5, 5, 5, 0, 1, 4.0], "g": list("aaabbbccc")})
    found = ranef.lm_list("y ~ x | g", data)
    assert np.isnan(found.coef.loc["b", "x"])
    assert found.coef.loc["b", "Intercept"] == pytest.approx(np.mean([9, 16, 25]))
    assert found.groups["df"].tolist() == [1, 2, 1]


@pytest.mark.parametrize("formula", ["Reaction ~ Days", "Reaction ~ Days + (1 | Subject) + (1 | Days)"])
def test_it_is_of_one_factor(formula):
    with pytest.raises(ranef.RanefError):
        ranef.lm_list(formula, SLEEP)
