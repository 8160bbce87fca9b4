from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

import ranef
from _ranef.user.intervals import Intervals, intervals_document, signs_document, summary_with_tests
from ranef.priors import HalfNormal


@pytest.fixture(scope="module")
def both():
    model = ranef.Model("strength ~ 1 + (1 | batch/cask)", ranef.datasets.load("pastes"))
    return ranef.compare(model.fit(), model.sample(draws=300, warmup=300, seed=1, sampler="nutpie", progress=False))


def test_frames(both):
    assert both.variance_components["group"].tolist() == ["cask:batch", "batch", "Residual"]
    assert both.fixed_effects["term"].tolist() == ["Intercept"]
    random = both.random_effects
    assert len(random) == 40
    for column in ("no_pooling", "eb_estimate", "eb_lower", "eb_upper", "fb_estimate", "fb_sd", "sd_ratio"):
        assert np.isfinite(random[column]).all()
    np.testing.assert_allclose(random["eb_estimate"], both.eb.ranef()["estimate"])
    np.testing.assert_allclose(random["fb_upper"], both.fb.ranef()["upper"])
    assert both.shrinkage["eb_shrinkage"].between(0, 1).all()


def test_one_factor_shrinkage_is_one_minus_reliability():
    """With one factor, BLUP = (1 − shrinkage) × no pooling, exactly."""
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    both = ranef.compare(model.fit(), model.sample(draws=50, warmup=50, seed=1, sampler="nutpie", progress=False))
    s = both.shrinkage
    np.testing.assert_allclose(s["eb_estimate"], (1 - s["eb_shrinkage"]) * s["no_pooling"])
    np.testing.assert_allclose(s["eb_ratio"], 1.312117, atol=5e-7)


def test_table_says_what_each_column_estimates(both):
    text = repr(both)
    for words in ("BLUP", "No pooling", "Posterior", "restricted likelihood", "cask:batch", "20 more rows of levels"):
        assert words in text
    assert "<table>" in both._repr_html_()


def test_either_order(both):
    again = ranef.compare(both.fb, both.eb)
    assert again.eb is both.eb


def test_figure(both, tmp_path):
    before = pyplot.get_fignums()
    path = both.save_figure(tmp_path / "f.png")
    assert pyplot.get_fignums() == before
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [p.name for p in tmp_path.iterdir()] == ["f.png"]
    with pytest.raises(ranef.DesignError, match=r"must end in one of .*\.png"):
        both.save_figure(tmp_path / "f.xyz")
    with pytest.raises(ranef.DesignError, match="does not exist"):
        both.save_figure(tmp_path / "none" / "f.png")


def test_plain_data(both):
    text = json.dumps(both.to_dict(), allow_nan=False)
    assert json.loads(text)["variance_components"][0]["group"] == "cask:batch"


def test_fits_of_different_models_are_refused(both):
    other = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    with pytest.raises(ranef.DesignError, match="different data: 20 and 60 rows"):
        ranef.compare(other, both.fb)


# -- any number of fits --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sleep():
    return ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))


@pytest.fixture(scope="module")
def fits(sleep):
    settings = {"draws": 1000, "progress": False, "sampler": "nutpie"}  # enough to be interpreted
    like = sleep.sample(seed=3, **settings)
    tails = {"nu": np.full(like.draws.sigma.shape, 1e9)}  # normal in all but name
    return {
        "reml": sleep.fit(),
        "ml": sleep.fit("ML"),
        "default": sleep.sample(seed=1, **settings),
        "narrow": sleep.sample(seed=2, priors={"sd": HalfNormal(5.0)}, **settings),
        "student": replace(like, draws=replace(like.draws, family="student", extras=tails)),
    }


@pytest.fixture(scope="module")
def many(fits):
    return ranef.compare(fits)


def test_every_fit_has_its_columns(many, fits):
    assert list(many.fits) == list(fits)
    assert many.reference == "default"
    assert many.eb is fits["reml"]
    assert many.fb is fits["default"]
    keys = {"variance_components": 2, "fixed_effects": 1, "random_effects": 5}
    for name, n in keys.items():
        columns = getattr(many, name).columns.tolist()
        assert columns[n:] == [f"{f}_{c}" for f in fits for c in ("estimate", "sd", "lower", "upper")]
    for name, fit in fits.items():
        effects, own = fit.ranef(), many.random_effects
        for column in ("estimate", "sd", "lower", "upper"):
            np.testing.assert_array_equal(own[f"{name}_{column}"], effects[column])
        np.testing.assert_array_equal(many.variance_components[f"{name}_estimate"], fit.varcorr["sdcor"])
        np.testing.assert_array_equal(many.fixed_effects[f"{name}_estimate"], fit.fixef)
        assert (f"{name}_shrinkage" in many.shrinkage) == (fit.engine != "NUTS")
    assert "sd_ratio" not in many.random_effects


def test_sds_of_variance_components_are_from_the_information(many, fits):
    """sleepstudy by REML: 5.836, 1.248, 0.325, 1.508, as varcorr_se has them, which is tested against R."""
    np.testing.assert_array_equal(many.variance_components["reml_sd"], fits["reml"].varcorr_se()["std_error"])
    assert many.variance_components[["reml_lower", "reml_upper"]].isna().all(axis=None)


def test_no_sd_at_the_boundary_or_of_what_is_known():
    model = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("Dyestuff2"), sigma=4.0)
    frame = ranef.compare(model.fit(), model.fit("ML")).variance_components
    assert frame["REML_estimate"].tolist() == [0.0, 4.0]
    assert frame["REML_sd"].isna().all()


def test_long_frame_says_what_is_estimated(many, fits):
    long = many.tidy()
    assert long.columns.tolist() == [
        *("fit", "effect", "group", "level", "term", "estimate", "sd", "lower", "upper", "estimand")
    ]
    assert long.groupby("fit").size().eq(4 + 2 + 36).all()
    own = long[(long["fit"] == "narrow") & (long["effect"] == "random")]
    np.testing.assert_array_equal(own["sd"], many.random_effects["narrow_sd"])
    words = long.groupby(["fit", "effect"])["estimand"].unique().map(lambda w: w[0])
    assert "conditional on θ̂ and β̂" in words["reml", "random"]
    assert "restricted" in words["reml", "variance"]
    assert "restricted" not in words["ml", "variance"]
    assert "marginal" in words["default", "random"]


def test_agreement_of_all_with_the_first_posterior(many):
    frame = many.agreement
    assert (frame["reference"] == "default").all()
    assert frame["fit"].unique().tolist() == ["reml", "ml", "narrow", "student"]
    wide = many.random_effects
    own = frame[(frame["fit"] == "reml") & (frame["effect"] == "random")].reset_index(drop=True)
    width = wide["reml_upper"] - wide["reml_lower"]
    np.testing.assert_allclose(own["width_ratio"], width / (wide["default_upper"] - wide["default_lower"]))
    apart = (wide["reml_estimate"] - wide["default_estimate"]) / wide["default_sd"]
    np.testing.assert_allclose(own["difference_in_sd"], apart)


def test_predictions_are_those_of_the_fits(many, fits, sleep):
    new = ranef.datasets.load("sleepstudy").iloc[[0, 50]].assign(Subject=["308", "new"])
    frame = many.predictions(new, interval="prediction", seed=4)
    assert len(frame) == 2
    own = fits["default"].predict(new, interval="prediction", seed=4)
    np.testing.assert_array_equal(frame[["default_estimate", "default_lower", "default_upper"]], own)
    plain = many.predictions(interval=None, re="none")
    assert plain.columns.tolist() == [f"{name}_estimate" for name in fits]
    np.testing.assert_array_equal(plain["ml_estimate"], fits["ml"].predict(re="none"))
    assert len(plain) == 180


def test_decomposition_adds_up_and_agrees_with_the_draws(many, fits):
    """Total against the variance of the draws of b, to its Monte-Carlo error by batches."""
    frame = many.decomposition
    np.testing.assert_allclose(frame["total"], frame[["given_theta_beta", "beta", "theta"]].sum(axis=1))
    batches = fits["default"].draws.b[0].reshape(20, 200, 36).var(axis=1, ddof=1)
    error = batches.std(axis=0, ddof=1) / np.sqrt(20)
    assert (np.abs(batches.mean(axis=0) - frame["total"]) < 4.5 * error).all()
    assert (frame["plug_in"] <= frame["plug_in_beta"]).all()
    assert (frame["plug_in"] < frame["total"]).all()
    np.testing.assert_allclose(frame["plug_in"], fits["reml"].ranef()["sd"] ** 2)
    other = many.decompose("narrow", "ml", draws=50)
    np.testing.assert_allclose(other["plug_in"], fits["ml"].ranef()["sd"] ** 2)
    assert (other["total"] != frame["total"]).all()


def test_what_cannot_be_decomposed(many, fits):
    with pytest.raises(ranef.FitError, match="Student t in this model: the response"):
        many.decompose("student")
    with pytest.raises(ranef.DesignError, match=r"'defaults' is not a fit from Model.sample\(\).*'default'"):
        many.decompose("defaults")
    estimates = ranef.compare(fits["reml"], fits["ml"])
    with pytest.raises(ranef.DesignError, match=r"no fit from Model.sample\(\): its fits are 'REML', 'ML'"):
        _ = estimates.decomposition
    posteriors = ranef.compare(fits["default"], fits["narrow"])
    assert posteriors.decomposition[["plug_in", "plug_in_beta", "left_out"]].isna().all(axis=None)
    with pytest.raises(ranef.DesignError, match=r"no fit from Model.fit\(\)"):
        _ = posteriors.eb


def test_names(fits):
    reml, ml, one, two = (fits[n] for n in ("reml", "ml", "default", "narrow"))
    assert list(ranef.compare(one, ml).fits) == ["eb", "fb"]
    assert list(ranef.compare(reml, ml).fits) == ["REML", "ML"]
    assert list(ranef.compare(two, reml, one).fits) == ["NUTS_1", "REML", "NUTS_2"]
    assert list(ranef.compare({"b": one, "a": reml}).fits) == ["b", "a"]
    with pytest.raises(ranef.DesignError, match="is not a name"):
        ranef.compare({"": one, "a": reml})
    with pytest.raises(TypeError):
        ranef.compare(reml, ml).fits["REML"] = ml


def test_what_is_no_pair_of_fits_is_refused(fits, sleep):
    for given, words in (
        ((), "got nothing"),
        ((fits["reml"],), "got EmpiricalBayesFit"),
        ((fits["reml"], "fb"), "got EmpiricalBayesFit and str"),
        ((sleep, fits["reml"]), r"call its fit\(\) or sample\(\)"),
        (([fits["reml"], fits["ml"]],), r"compare\(\*fits\)"),
        (({"a": fits["reml"]},), "two or more fits"),
    ):
        with pytest.raises(ranef.DesignError, match=words):
            ranef.compare(*given)
    with pytest.raises(ranef.DesignError, match=r"write 0\.95"):
        ranef.compare(fits["reml"], fits["ml"], level=95)
    with pytest.raises(ranef.DesignError, match="kind= and group= are for ranking"):
        ranef.compare(fits["reml"], fits["default"], kind="group")


@pytest.mark.filterwarnings("ignore:Pareto")
def test_posteriors_of_one_model_stand_side_by_side_and_can_be_ranked(fits):
    both = ranef.compare({"default": fits["default"], "student": fits["student"]})
    ranking = both.elpd()
    pd.testing.assert_frame_equal(ranking, ranef.compare(dict(both.fits), kind="conditional"))
    assert sorted(ranking.index) == ["default", "student"]
    with pytest.raises(ranef.DesignError, match="two posteriors or more; this comparison has 1"):
        ranef.compare(fits["reml"], fits["default"]).elpd()


def test_printed_table_of_many(many, fits):
    text = repr(many)
    header = text.splitlines()[3].split()
    assert header == ["Group", "Term", "Level", "No", "pooling", *(w for name in fits for w in (name, "sd"))]
    for words in (
        "restricted likelihood (REML) or the likelihood (ML)",
        "narrow: has priors of its own, sd(Intercept | Subject) ~ HalfNormal(5); sd(Days | Subject)",
        "student: the response is Student t, and sigma its scale.",
        "Intervals are in the frames",
        "reml: intervals of levels are",
        "of the variance components (on average over levels,",
    ):
        assert words in text.replace("\n    ", " ")
    three = repr(ranef.compare(fits["reml"], fits["ml"], fits["default"]))
    assert max(map(len, three.splitlines())) <= 120
    assert "times as wide as those of NUTS" in three.replace("\n    ", " ")
    assert many._repr_html_().count("<th>") == 4 + 2 * len(fits)


def test_printed_numbers_of_agreement_and_decomposition(fits):
    both = ranef.compare(fits["reml"], fits["default"])
    text = repr(both).replace("\n    ", " ")
    levels = both.agreement[both.agreement["effect"] == "random"]
    assert f"intervals of levels are {levels['width_ratio'].median():.2f} times as wide as the posterior's" in text
    shares = both.decomposition[["given_theta_beta", "beta", "theta"]].div(both.decomposition["total"], axis=0).mean()
    assert f"{100 * shares['beta']:.0f} % is uncertainty of the coefficients" in text
    assert "At the boundary" not in text


def test_many_levels_are_not_decomposed_for_printing():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(250), 2)
    model = ranef.Model("y ~ 1 + (1 | g)", {"y": rng.normal(size=250)[g] + rng.normal(size=500), "g": g})
    both = ranef.compare(model.fit(), model.sample(draws=600, seed=1, sampler="nutpie", progress=False))
    assert "on average" not in repr(both)
    assert len(both.decomposition) == 250
    assert "on average" in repr(both)


def test_boundary_joins_the_table():
    model = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("Dyestuff2"))
    both = ranef.compare(model.fit(), model.sample(draws=1000, seed=1, sampler="nutpie", progress=False))
    assert both.boundary.frame["median"][0] == pytest.approx(
        np.median(both.fb.draws.theta[..., 0] * both.fb.draws.sigma)
    )
    text = repr(both)
    assert "At the boundary:\n  REML puts sd(Intercept) of Batch at 0" in text
    assert "have no width" in text
    assert "At the boundary" in both._repr_html_()
    assert json.loads(json.dumps(both.to_dict(), allow_nan=False))["boundary"][0]["fit"] == "eb"


def test_plain_data_of_many(many):
    data = json.loads(json.dumps(many.to_dict(), allow_nan=False))
    assert data["fits"]["student"]["family"] == "student"
    assert data["method"] == "REML"
    assert data["seed"] == 1
    assert len(data["agreement"]) == 4 * 42
    assert data["boundary"] == []


def test_models_without_random_effects_can_be_compared():
    model = ranef.Model("Reaction ~ Days", ranef.datasets.load("sleepstudy"))
    both = ranef.compare(model.fit(), model.fit("ML"))
    assert both.variance_components["ML_estimate"][0] == pytest.approx(
        both.variance_components["REML_estimate"][0] * np.sqrt(178 / 180)
    )
    assert both.random_effects.empty
    assert "Residual sigma" in repr(both)
    assert len(both.agreement) == 3


def test_figure_of_the_first_of_each_engine(many):
    assert len(many.plot().axes) == 2


def test_intervals_by_every_method(both):
    found = both.intervals("wald", "profile")
    assert found.columns.tolist() == ["fit", "method", "parameter", "estimate", "lower", "upper"]
    keyed = found.set_index("parameter")
    for fit, method, own in [
        ("eb", "wald", both.eb.confint()),
        ("eb", "profile", both.eb.confint(method="profile")),
        ("fb", "posterior", both.fb.confint()),
    ]:
        rows = keyed[(keyed["fit"] == fit) & (keyed["method"] == method)]
        pd.testing.assert_frame_equal(rows[["lower", "upper"]], own, check_names=False)
        assert rows["estimate"].between(rows["lower"], rows["upper"]).all()
    assert keyed.loc[(keyed["method"] == "profile") & (keyed.index == "sigma"), "estimate"].item() == both.eb.sigma


def test_a_page_has_p_values_and_signs(both):
    assert "Pr(>|t|)" in str(summary_with_tests(both.eb))
    signs = str(signs_document(both.fits))
    assert re.search(r"fb: posterior probability of a sign\n.*P\(> 0\)\n Intercept .* 1\.000", signs)


def test_a_page_has_intervals_of_every_fit_and_exact_tests(both):
    shown = str(intervals_document(Intervals(both.fits, 0.9), {name: name for name in both.fits}))
    assert "90 % intervals" in shown
    lower, upper = both.eb.confint(0.9, "profile").loc["sd(Intercept | batch)"]
    assert re.search(rf"sd\(Intercept \| batch\) .* {lower:.3f} +{upper:.3f}", shown)
    test = ranef.exact_rlrt(both.eb, "cask:batch", 1000, 1)
    assert re.search(rf"sd\(Intercept \| cask:batch\) +eb +RLRT +{test.statistic:.4f} +<5e-05", shown)
