"""What users get of models with residual variances and correlations, from both engines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import nlme_models
import ranef

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def data():
    return ranef.datasets.load("sleepstudy_aug")


@pytest.fixture(scope="module")
def strata(data):
    return ranef.Model(SLEEP, data, variance=ranef.VarIdent("Phase"))


@pytest.fixture(scope="module")
def eb(strata):
    return strata.fit()


@pytest.fixture(scope="module")
def fb(strata):
    return strata.sample(draws=250, seed=1, sampler="nutpie", progress=False)


@pytest.fixture(scope="module")
def correlated(data):
    power = ranef.VarPower()
    return ranef.Model(
        "Reaction ~ Days + (1 | Subject)", data, variance=power, correlation=ranef.AR1("Days", "Subject")
    )


def test_strata_as_nlme_prints_them(eb):
    ref = nlme_models.reference("sleep_varIdent")["residual_variance"]
    assert eb.residual_sd.to_dict() == pytest.approx(dict(zip(ref["strata"], ref["sd"], strict=True)), rel=1e-5)
    frame = eb.residual_parameters
    assert frame["estimate"].tolist() == pytest.approx(ref["ratio_to_first"], rel=1e-5)
    assert np.isnan(frame["std_error"].iloc[0])
    text = str(eb.summary())
    assert "Different standard deviations per stratum, Phase:" in text
    assert "0.9035" in text


def test_standard_errors_of_ratios(eb):
    """By the delta method: that of exp(ρ) is exp(ρ) times that of ρ."""
    se = np.sqrt(np.diag(eb.vcov_theta()))[3:5]
    np.testing.assert_allclose(eb.residual_parameters["std_error"].iloc[1:], se * np.exp(eb.spec.rho), rtol=1e-6)


def test_new_rows_have_the_standard_deviation_of_their_stratum(eb, fb, data):
    rows = pd.DataFrame({"Days": [1.0, 1.0], "Subject": ["308", "308"], "Phase": ["base", "late"]})
    confidence, prediction = (eb.predict(rows, interval=kind) for kind in ("confidence", "prediction"))
    z = 1.959963984540054
    half = [(frame["upper"] - frame["estimate"]) / z for frame in (confidence, prediction)]
    sds = eb.residual_sd[["base", "late"]].to_numpy()
    np.testing.assert_allclose(np.sqrt(half[1] ** 2 - half[0] ** 2), sds, rtol=1e-8)
    widths = fb.predict(rows, interval="prediction", seed=1).eval("upper - lower")
    assert widths[1] > 1.2 * widths[0]
    with pytest.raises(ranef.DesignError, match="'night' is no stratum of Phase"):
        eb.predict(rows.assign(Phase="night"), interval="prediction")
    eb.predict(rows.assign(Phase="night"), interval="confidence")


def test_simulated_responses_have_the_covariance_of_the_model(correlated):
    fit = correlated.fit()
    rows = np.flatnonzero(fit.spec.groupings[0].codes == 0)
    draws = fit.simulate(20_000, re="fitted", seed=1)[rows]
    wanted = fit.matrices.R[rows][:, rows].toarray()
    np.testing.assert_allclose(np.cov(draws), wanted, atol=0.05 * wanted.max())
    normalized = fit.residuals("normalized").to_numpy()
    root = np.linalg.inv(np.linalg.cholesky(wanted))
    raw = fit.residuals("response").to_numpy()[rows]
    np.testing.assert_allclose((normalized[rows] ** 2).sum(), ((root @ raw) ** 2).sum(), rtol=1e-8)


def test_fitted_values_as_covariate_are_their_own(correlated):
    """At convergence a fit with |fitted| as a column is the same fit."""
    fit = correlated.fit()
    data = ranef.datasets.load("sleepstudy_aug").assign(size=fit.fitted().to_numpy())
    correlation = ranef.AR1("Days", "Subject")
    formula = "Reaction ~ Days + (1 | Subject)"
    again = ranef.Model(formula, data, variance=ranef.VarPower("size"), correlation=correlation).fit()
    np.testing.assert_allclose(again.fitted(), fit.fitted(), rtol=1e-6)
    np.testing.assert_allclose(again.criterion, fit.criterion, rtol=1e-8)


@pytest.mark.parametrize("which", ["strata", "correlated"])
def test_a_saved_fit_is_the_same(which, request, tmp_path):
    fit = request.getfixturevalue(which).fit()
    fit.save(tmp_path / "fit.ranef")
    loaded = ranef.load(tmp_path / "fit.ranef")
    assert loaded.criterion == fit.criterion
    pd.testing.assert_frame_equal(loaded.residual_parameters, fit.residual_parameters)
    assert ranef.Model.of(loaded).fit().criterion == pytest.approx(fit.criterion, rel=1e-10)
    simulated = fit.simulate(1, seed=2)[:, 0]
    np.testing.assert_allclose(loaded.refit(simulated).theta, fit.refit(simulated).theta, rtol=1e-8)


def test_both_engines_side_by_side(strata, eb, fb, tmp_path):
    both = ranef.compare({"REML": eb, "ML": strata.fit("ML"), "NUTS": fb})
    frame = both.variance_components
    assert frame["term"].tolist()[-3:] == ["sigma", "ratio(early)", "ratio(late)"]
    assert frame["NUTS_estimate"].to_numpy() == pytest.approx(frame["REML_estimate"].to_numpy(), rel=0.35, abs=0.2)
    assert both.decomposition["total"].notna().all()
    both.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "The standard deviation of a row is σ times 1 for base" in page
    assert "variance=ranef.VarIdent(&#39;Phase&#39;)" in page
    fb.save(tmp_path / "fb.ranef")
    pd.testing.assert_frame_equal(ranef.load(tmp_path / "fb.ranef").residual_sd, fb.residual_sd)


def test_what_is_read_off_a_posterior(eb, fb):
    assert fb.r2().to_numpy() == pytest.approx(eb.r2().to_numpy(), abs=0.05)
    assert fb.residual_sd["stratum"].tolist() == ["base", "early", "late"]
    inside = fb.residual_sd.eval("lower < upper") & (fb.residual_sd["lower"] < eb.residual_sd.to_numpy())
    assert inside.all()
    assert set(fb.datatree["posterior"]["rho"].dims) == {"chain", "draw", "rho_name"}
    assert "ratio(late)" in str(fb.summary())
    with pytest.warns(ranef.RanefWarning, match="Pareto k"):
        assert fb.loo().elpd == pytest.approx(-851.0, abs=6.0)
    sims = fb.simulate(2000, re="fitted", seed=1)
    codes = eb.spec.variance.codes
    spread = sims.std(axis=1)
    assert spread[codes == 2].mean() > 1.3 * spread[codes == 1].mean()


def test_fits_of_other_residuals_do_not_stand_side_by_side(eb, data):
    with pytest.raises(ranef.DesignError, match=r"residuals are variance=ranef.VarIdent"):
        ranef.compare(eb, ranef.Model(SLEEP, data).fit("ML"))


def test_what_needs_independent_rows_says_so(data):
    ar1 = ranef.AR1("Days", "Subject")
    by_rows = ranef.Model("Reaction ~ Days + (1 | Subject)", data, correlation=ar1, variance=ranef.VarIdent("Phase"))
    with pytest.raises(ranef.FitError, match="marginal parameterization only"):
        by_rows.sample(parameterization="noncentered", progress=False)
    with pytest.raises(ranef.NotAvailableError, match=r"[Bb]uild the model from one frame"):
        ranef.Model(SLEEP, [data, data], variance=ranef.VarExp("Days"))


def test_a_model_says_what_its_residuals_are(correlated, strata):
    text = str(correlated.describe())
    assert "the standard deviation of a row over σ is |fitted values| to the power δ" in text
    assert "Phi ~ Uniform(-1, 1)" in text
    latex = strata.equation().latex if hasattr(strata.equation(), "latex") else str(strata.equation())
    assert "h_{i}^{2}" in latex


def test_without_random_effects_both_engines_answer():
    ref = nlme_models.reference("orthodont_gls_cs")
    model = nlme_models.model("orthodont_gls_cs")
    fb = model.sample(draws=250, seed=3, sampler="nutpie", progress=False)
    rho = fb.residual_parameters.iloc[0]
    assert rho["lower"] < ref["residual_correlation"]["Rho"] < rho["upper"]
    np.testing.assert_allclose(fb.fixef, ref["fixef"]["estimate"], rtol=0.1, atol=0.5)


@pytest.fixture(scope="module")
def groups():
    """15 groups of five, with autocorrelation and growing spread."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame([(f"g{i}", t) for i in range(15) for t in range(5)], columns=["g", "t"])
    data["x"], data["size"], data["year"] = rng.normal(size=75), rng.uniform(1, 5, 75), 2000.0 + data["t"]
    noise = rng.normal(size=75)
    for i in np.flatnonzero(data["t"] > 0):
        noise[i] = 0.5 * noise[i - 1] + np.sqrt(0.75) * noise[i]
    data["y"] = 10 + data["x"] + np.repeat(rng.normal(size=15), 5) + noise * data["size"] ** 0.5
    return data


@pytest.mark.slow
def test_proposals_far_out_are_refused_and_not_fatal(groups):
    for correlation in (ranef.Exponential("t", group="g"), ranef.Symm("t", group="g")):
        model = ranef.Model("y ~ x", groups, correlation=correlation)
        fb = model.sample(draws=60, seed=1, sampler="nutpie", progress=False)
        assert np.isfinite(fb.residual_parameters["estimate"]).all()


def test_years_as_they_are_are_refused_with_what_to_write(groups):
    with pytest.raises(ranef.DesignError, match=r"Write VarExp\('year - 2002'\)"):
        ranef.Model("y ~ x + (1 | g)", groups, variance=ranef.VarExp("year"))
    model = ranef.Model("y ~ x + (1 | g)", groups, variance=ranef.VarExp("year - 2002"))
    assert model.sample(draws=60, seed=1, sampler="nutpie", progress=False).sigma < 5


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_prior_of_a_constant_and_a_power_knows_no_unit(groups, factor):
    lines = [
        ranef.Model("y ~ x", data, variance=ranef.VarConstPower("size")).spec.residual.prior_words()
        for data in (groups, groups.assign(size=factor * groups["size"]))
    ]
    assert lines[0] == lines[1]


def test_rows_whose_variance_is_not_known(eb, groups):
    rows = pd.DataFrame({"Days": [1.0, 1.0], "Subject": ["308", "308"], "Phase": ["late", None]})
    assert eb.predict(rows, interval="prediction")["upper"].isna().tolist() == [False, True]
    power = ranef.Model("y ~ x", groups, variance=ranef.VarPower("size")).fit()
    with pytest.raises(ranef.DesignError, match="reads 0 in row 1 of the new data"):
        power.predict(pd.DataFrame({"x": [0.0, 0.0], "size": [1.0, 0.0]}), interval="prediction")


def test_what_nothing_tells_apart_is_refused(groups):
    with pytest.raises(ranef.DesignError, match="nothing tells them apart"):
        ranef.Model("y ~ x + (1 | g)", groups, correlation=ranef.CompSymm("g"))
    with pytest.raises(ranef.DesignError, match="has the same function twice"):
        ranef.Model("y ~ x", groups, variance=ranef.VarIdent("g") * ranef.VarIdent("g"))
    with pytest.raises(ranef.DesignError, match="more than 75 rows can tell"):
        ranef.Model("y ~ x", groups.assign(t=range(75)), correlation=ranef.Symm("t", "g"))


def test_the_covariance_of_rows_in_the_matrix_equation(groups):
    ar1 = ranef.AR1("t", "g")
    text = str(
        ranef.Model("y ~ x + (1 | g)", groups, variance=ranef.VarPower("size"), correlation=ar1).equation("matrix")
    )
    assert r"R &= \sigma^{2} \, H C H" in text


def test_a_structure_that_names_no_column_is_underlined_itself(groups):
    with pytest.raises(ranef.FormulaError, match=r"'nope' is not a column[^^]*\n    nope\n    \^\^\^\^"):
        ranef.Model("y ~ x", groups, variance=ranef.VarIdent("nope"))


@pytest.mark.parametrize(
    "structure",
    [{"variance": ranef.VarIdent("Sex")}, {"variance": ranef.VarExp("age"), "correlation": ranef.AR1(group="Subject")}],
)
def test_many_responses_are_refitted_with_their_own_parameters(structure):
    data = ranef.datasets.load("Orthodont")
    fit = ranef.Model("distance ~ age * Sex + (1 | Subject)", data, **structure).fit()
    Y = fit.simulate(4, seed=1)
    many = fit.refit(Y)
    assert many.converged.all()
    for b, y in enumerate(Y.T):
        one = ranef.Model("distance ~ age * Sex + (1 | Subject)", data.assign(distance=y), **structure).fit()
        assert many.criterion[b] <= one.criterion + 1e-6
        if many.criterion[b] > one.criterion - 1e-6:
            np.testing.assert_allclose(many.theta[b], one.theta, atol=1e-3)
            own = one.residual_parameters.set_index("parameter")["estimate"]
            names = {"ratio(Female)": "Female"} if "correlation" not in structure else {"expon": "expon", "Phi": "Phi"}
            for name, parameter in names.items():
                assert many.frame[name][b] == pytest.approx(own[parameter], abs=1e-3)


@pytest.fixture(scope="module")
def far_sigma():
    """A standard deviation that grows with the fitted values, some 300 units from where it is σ."""
    model = ranef.Model("Reaction ~ Days + (1 | Subject)", ranef.datasets.load("sleepstudy"), variance=ranef.VarPower())
    return model.fit(), model.sample(draws=100, chains=2, seed=1, sampler="nutpie", progress=False)


@pytest.mark.filterwarnings("ignore::ranef.ConvergenceWarning")
def test_sigma_far_from_the_data_is_told_beside_that_of_the_rows(far_sigma):
    eb, fb = far_sigma
    own = eb.tidy().set_index("term")["estimate"]
    assert own["sd(rows)"] == pytest.approx(np.exp(np.log(eb.spec.residual.sds(eb.sigma)).mean()), rel=1e-12)
    rows = fb.tidy().set_index("term").loc["sd(rows)"]
    fitted = np.abs(eb.fitted().to_numpy())
    rho = np.asarray(fb.draws.extras["rho"])
    each = fb.draws.sigma[..., None] * fitted**rho
    assert rows["estimate"] == pytest.approx(np.exp(np.log(each).mean(axis=-1)).mean(), rel=1e-10)
    assert rows["estimate"] == pytest.approx(own["sd(rows)"], rel=0.1)
    assert fb.sigma * np.exp(rho.mean() * np.log(fitted).mean()) == pytest.approx(rows["estimate"], rel=1e-10)
    assert fb.varcorr["sdcor"].iloc[-1] == fb.sigma < 0.2 * fb.draws.sigma.mean()
    assert fb.residuals("pearson").std() == pytest.approx(eb.residuals("pearson").std(), rel=0.1)
    both = ranef.compare(eb, fb)
    sigma = both.variance_components.set_index("term").loc["sigma"]
    assert sigma["eb_estimate"] == eb.sigma
    assert np.isnan(sigma["fb_sd"])
    for shown in (eb.summary(), fb.summary(), both):
        assert "sd(rows)" in str(shown)
    assert "|fitted values| is 1 (nlme's)" in str(eb.summary())


def test_its_standard_error_is_that_of_another_sigma():
    data = ranef.datasets.load("Orthodont")
    mean = float(np.exp(np.log(data["age"]).mean()))
    fit = ranef.Model("distance ~ age + (1 | Subject)", data, variance=ranef.VarPower("age")).fit()
    at_mean = ranef.Model("distance ~ age + (1 | Subject)", data, variance=ranef.VarPower(f"I(age / {mean!r})")).fit()
    own = fit.tidy().set_index("term").loc["sd(rows)"]
    assert own["estimate"] == pytest.approx(at_mean.sigma, rel=1e-6)
    error = np.sqrt(at_mean.vcov_theta().loc["sigma", "sigma"])
    assert own["std_error"] == pytest.approx(error, rel=1e-4)


def test_a_prediction_where_the_power_has_no_value_is_refused():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"x": rng.uniform(1.0, 5.0, 100), "g": np.repeat(range(10), 10)})
    data["y"] = 2.0 * data["x"] + rng.standard_normal(10)[data["g"]] + 3.0 / data["x"] * rng.standard_normal(100)
    fit = ranef.Model("y ~ x + (1 | g)", data, variance=ranef.VarPower()).fit()
    zero = -fit.fixef["Intercept"] / fit.fixef["x"]
    new = pd.DataFrame({"x": [2.0, zero], "g": 99})
    with pytest.raises(ranef.DesignError, match=r"Row 1 .*fitted value .*VarConstPower"):
        fit.predict(new, interval="prediction")
    assert fit.predict(new, interval="confidence").notna().all(axis=None)
    assert np.isfinite(fit.predict(new[:1], interval="prediction")).all(axis=None)
