"""Both kinds of fit as users hold them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ranef
import registry
from _ranef.comparison import shrinkage_frame

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return ranef.Model(SLEEP, ranef.datasets.load("sleepstudy"))


@pytest.fixture(scope="module")
def eb(sleep):
    return sleep.fit()


@pytest.fixture(scope="module")
def fb(sleep):
    return sleep.sample(draws=500, warmup=500, seed=3, progress=False)


@pytest.fixture(params=["eb", "fb"])
def fit(request):
    return request.getfixturevalue(request.param)


# -- numbers that every user can look up ---------------------------------------------------------------------------


def test_pulp():
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    fit = model.fit()
    assert f"{fit.criterion:.1f}" == "18.6"
    assert fit.varcorr["sdcor"].round(4).tolist() == [0.2609, 0.3260]
    assert fit.fixef["Intercept"] == pytest.approx(60.4)
    assert np.sqrt(fit.vcov.iloc[0, 0]) == pytest.approx(0.1494, abs=5e-5)
    blups = [-0.1219403, -0.2591231, 0.1676679, 0.2133955]
    np.testing.assert_allclose(fit.ranef()["estimate"], blups, atol=5e-7)
    null = ranef.Model("bright ~ 1", ranef.datasets.load("pulp")).fit("ML")
    assert null.deviance - model.fit("ML").deviance == pytest.approx(2.568371, abs=5e-7)
    ratio = shrinkage_frame(fit)["ratio"]
    np.testing.assert_allclose(ratio, 1.312117, atol=5e-7)


@pytest.mark.parametrize(
    ("name", "formula", "method", "criterion"),
    [
        ("sleepstudy", SLEEP, "ML", 1751.939344),
        ("sleepstudy", SLEEP, "REML", 1743.628272),
        ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "ML", 332.188349),
        ("pastes", "strength ~ 1 + (1 | sample) + (1 | batch)", "ML", 247.994466),
        ("insteval", "y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)", "REML", 237733.834127),
    ],
)
def test_published_criteria(name, formula, method, criterion):
    fit = ranef.Model(formula, ranef.datasets.load(name)).fit(method)
    assert fit.criterion == pytest.approx(criterion, abs=1e-6 if criterion < 1e5 else 1e-5)


def test_dyestuff2_is_singular_and_equals_least_squares():
    data = ranef.datasets.load("dyestuff2")
    fit = ranef.Model("Yield ~ 1 + (1 | Batch)", data).fit("ML")
    assert fit.theta.tolist() == [0.0]
    assert fit.sigma == pytest.approx(3.6532, abs=5e-5)
    assert fit.status == "boundary"
    assert "variance of Intercept by Batch is estimated as zero" in str(fit.summary())
    assert fit.fixef["Intercept"] == pytest.approx(data["Yield"].mean(), rel=1e-12)
    assert (fit.ranef()["estimate"] == 0).all()
    assert (fit.ranef()["sd"] == 0).all()


# -- the protocol --------------------------------------------------------------------------------------------------


def test_both_are_fits(fit):
    assert isinstance(fit, ranef.Fit)


def test_frames_have_the_same_columns(eb, fb):
    for name in ("ranef", "tidy", "augment"):
        assert list(getattr(eb, name)().columns) == list(getattr(fb, name)().columns)
    assert list(eb.varcorr.columns) == list(fb.varcorr.columns) == ["group", "term1", "term2", "vcov", "sdcor"]
    assert list(eb.fixef.index) == list(fb.fixef.index) == ["Intercept", "Days"]
    assert list(eb.coef().columns) == list(fb.coef().columns)
    assert eb.coef("Subject").shape == (18, 2)


def test_engines_agree_to_posterior_spread(eb, fb):
    """The posterior is near the REML answer on these data; a tenth of a posterior sd is far above Monte-Carlo error."""
    sd = np.sqrt(np.diag(fb.vcov))
    assert np.abs((fb.fixef - eb.fixef) / sd).max() < 0.1
    first, second = eb.ranef(), fb.ranef()
    assert np.abs((first["estimate"] - second["estimate"]) / second["sd"]).max() < 0.2
    assert (second["sd"] > first["sd"]).mean() > 0.9  # the posterior carries the uncertainty of the variances


def test_augment_and_residuals(fit):
    frame = fit.augment()
    np.testing.assert_allclose(frame["fitted"] + frame["residual"], frame["Reaction"])
    np.testing.assert_allclose(fit.residuals("pearson"), fit.residuals() / fit.sigma)
    np.testing.assert_allclose(fit.residuals("normalized"), fit.residuals("pearson"))
    assert not np.allclose(fit.fitted("none"), fit.fitted())
    np.testing.assert_allclose(fit.fitted(["Subject"]), fit.fitted("all"))


def test_predict_the_rows_used(fit):
    np.testing.assert_allclose(fit.predict(), fit.fitted())
    np.testing.assert_allclose(fit.predict(ranef.datasets.load("sleepstudy")), fit.fitted())


def test_predict_unseen_levels(fit):
    new = pd.DataFrame({"Days": [0.0, 3.0, 3.0], "Subject": ["308", "new", "new"]})
    population = fit.predict(new)
    assert population[1] == pytest.approx(fit.predict(new, re="none")[1])
    with pytest.raises(ranef.DesignError, match=r"'new'.*new_levels='population'"):
        fit.predict(new, new_levels="error")
    drawn = fit.predict(new, new_levels="sample", seed=1)
    assert drawn[1] == drawn[2]  # one draw for one level
    pd.testing.assert_series_equal(drawn, fit.predict(new, new_levels="sample", seed=1))


@pytest.mark.filterwarnings("ignore:1 of the . new rows have no Subject:_ranef.errors.DataWarning")
def test_intervals_of_unseen_levels(fit):
    """Sampled or missing levels add the variance of a new effect, round the population value."""
    new = pd.DataFrame({"Days": [5.0, 5.0], "Subject": ["new", None]})
    population = fit.predict(new, re="none")
    wide = fit.predict(new, interval="confidence", new_levels="sample", seed=1)
    narrow = fit.predict(new, interval="confidence", seed=1)
    np.testing.assert_allclose(wide["estimate"], population)
    np.testing.assert_allclose(narrow["estimate"], population)
    assert (wide["upper"] - wide["lower"] > 2 * (narrow["upper"] - narrow["lower"])).all()
    seen = fit.predict(new.assign(Subject="308"), interval="prediction", seed=1)
    unseen = fit.predict(new, interval="prediction", seed=1)
    assert (unseen["upper"] - unseen["lower"] > 1.2 * (seen["upper"] - seen["lower"])).all()
    with pytest.raises(ranef.DesignError, match="missing"):
        fit.predict(new.tail(1), new_levels="error")


def test_prediction_intervals_nest(fit):
    new = pd.DataFrame({"Days": [0.0, 9.0, 9.0], "Subject": ["308", "309", "new"]})
    inner = fit.predict(new, interval="confidence", seed=1)
    outer = fit.predict(new, interval="prediction", seed=1)
    assert (outer["lower"] < inner["lower"]).all()
    assert (outer["upper"] > inner["upper"]).all()
    width = outer["upper"] - outer["lower"]
    assert width[2] > 1.3 * width[1], "an unseen subject is less predictable than a seen one"
    narrow = fit.predict(new, interval="confidence", level=0.5, seed=1)
    assert (narrow["upper"] - narrow["lower"] < inner["upper"] - inner["lower"]).all()


def test_missing_predictors_predict_nan(fit):
    with pytest.warns(ranef.RanefWarning, match="1 row of the new data has missing predictors"):
        out = fit.predict(pd.DataFrame({"Days": [1.0, None], "Subject": ["308", "308"]}))
    assert np.isfinite(out[0])
    assert np.isnan(out[1])


def test_simulations_have_the_marginal_moments(fit):
    sims = fit.simulate(2000, seed=5)
    assert sims.shape == (180, 2000)
    sd = sims.std(axis=1)
    assert np.abs(sims.mean(axis=1) - fit.fitted("none")).max() < 6 * sd.max() / np.sqrt(2000)
    kept = fit.simulate(500, re="fitted", seed=5)
    assert kept.std(axis=1).mean() < sd.mean()
    np.testing.assert_array_equal(fit.simulate(2, seed=1), fit.simulate(2, seed=1))


def test_summary_renders(fit):
    text, html = str(fit.summary()), fit.summary()._repr_html_()
    for word in ("Random effects:", "Fixed effects:", "Number of obs: 180, groups:  Subject, 18", "Residual"):
        assert word in text
        assert word in html
    assert text.index("Random effects:") < text.index("Fixed effects:")
    assert str(fit) == text
    assert "Fit" in repr(fit)


def test_equation(fit):
    assert "Days" in fit.equation().latex
    assert fit.equation(values=True).latex != fit.equation().latex


def test_confint(eb, fb):
    wald = eb.confint(0.9)
    z = stats.norm.ppf(0.95)
    np.testing.assert_allclose(wald["upper"] - eb.fixef, z * np.sqrt(np.diag(eb.vcov)))
    eti, hdi = fb.confint(), fb.confint(method="hdi")
    assert {
        "Intercept",
        "Days",
        "sigma",
        "sd(Intercept | Subject)",
        "sd(Days | Subject)",
        "cor(Intercept, Days | Subject)",
    } == set(eti.index)
    # quantiles are interpolated and the shortest interval is not: with few draws it may come out a little wider
    assert ((hdi["upper"] - hdi["lower"]) <= (eti["upper"] - eti["lower"]) * 1.01).all()


@pytest.mark.parametrize("level", [0, 1, 95, -0.1])
def test_levels_are_probabilities(fit, level):
    with pytest.raises(ranef.DesignError, match="level="):
        fit.ranef(level=level)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.predict(re="Subjct"), "re='Subjct' must be 'all', 'none' or 'Subject'. Did you mean 'Subject'"),
        (lambda f: f.predict(new_levels="mean"), "new_levels='mean' must be '"),
        (lambda f: f.predict(interval="both"), "interval='both' must be '"),
        (lambda f: f.residuals("raw"), "kind='raw' must be '"),
        (lambda f: f.simulate(re="old"), "re='old' must be '"),
        (lambda f: f.ranef("subject"), "Did you mean 'Subject'"),
        (lambda f: f.equation("wide"), "wide"),
    ],
)
def test_impossible_requests(fit, call, message):
    with pytest.raises(ranef.DesignError, match=message):
        call(fit)


# -- empirical Bayes only ------------------------------------------------------------------------------------------


def test_aliased_coefficients_are_nan_in_tidy_and_named_in_the_summary():
    data = ranef.datasets.load("sleepstudy")
    fit = ranef.Model("Reaction ~ Days + Twice + (1 | Subject)", data.assign(Twice=2 * data["Days"])).fit()
    row = fit.tidy().set_index("term").loc["Twice"]
    assert np.isnan(row["estimate"])
    assert "dropped: Twice" in str(fit.summary())
    plain = ranef.Model("Reaction ~ Days + (1 | Subject)", data).fit()
    np.testing.assert_allclose(fit.predict(data.assign(Twice=2 * data["Days"])), plain.predict(data))


def test_dropped_rows_are_counted():
    data = ranef.datasets.load("sleepstudy").astype({"Reaction": float})
    data.loc[[3, 5], "Reaction"] = np.nan
    fit = ranef.Model(SLEEP, data).fit()
    assert "178, groups:  Subject, 18 (2 rows with missing values left out)" in str(fit.summary())
    assert 3 not in fit.fitted().index
    with pytest.raises(ranef.DesignError, match="2"):
        ranef.Model(SLEEP, data, na_action="error")


def test_glance(eb):
    row = eb.glance().iloc[0]
    assert row["df"] == 6
    assert row["loglik"] == pytest.approx(-871.814136, abs=1e-6)
    assert row["aic"] == pytest.approx(1755.628272, abs=1e-6)
    assert eb.deviance == pytest.approx(1751.9860, abs=1e-3)  # lme4: deviance(fit, REML = FALSE)


def test_refit_equals_a_new_fit(sleep, eb):
    y = eb.simulate(1, seed=2)[:, 0]
    data = ranef.datasets.load("sleepstudy").assign(Reaction=y)
    fresh = ranef.Model(SLEEP, data).fit()
    again = eb.refit(y)
    assert again.criterion == pytest.approx(fresh.criterion, rel=1e-10)
    np.testing.assert_allclose(again.theta, fresh.theta, atol=1e-6)
    with pytest.raises(ranef.DesignError, match="has 3 rows; it must have 180"):
        eb.refit([1.0, 2.0, 3.0])


def test_optimizer_record(eb):
    record = eb.optimizer
    assert record.steps[0].kind == "start"
    assert record.n_evaluations == len(record.steps) < 40  # three starts, as on all small data
    assert record.decrement < 1e-9
    assert min(s.criterion for s in record.steps) == pytest.approx(eb.criterion, abs=1e-9)
    best = min(record.steps, key=lambda step: step.criterion)
    np.testing.assert_allclose(best.theta, eb.theta, atol=1e-6)


def test_start_does_not_matter(sleep, eb):
    for start in ([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [5.0, -1.0, 0.01]):
        fit = sleep.fit(start=start)
        assert fit.criterion == pytest.approx(eb.criterion, rel=1e-12)
    with pytest.raises(ranef.FitError, match="start must hold 3"):
        sleep.fit(start=[1.0])


def test_matrices(eb):
    m = eb.matrices
    assert m.Z.shape == (180, 36)
    V = m.V.toarray()
    expected = (m.Z @ m.D @ m.Z.T).toarray() + eb.sigma**2 * np.eye(180)
    np.testing.assert_allclose(V, expected)
    # the textbook formula, with everything named
    X, y = m.X.to_numpy(), m.y.to_numpy()
    b = (m.D @ m.Z.T) @ np.linalg.solve(V, y - X @ eb.fixef.to_numpy())
    np.testing.assert_allclose(b, eb.ranef()["estimate"], atol=1e-8)
    j = m.cluster("309")
    assert j.y.shape == (10,)
    assert list(j.Z.columns) == ["Intercept", "Days"]
    block = j.Z.to_numpy() @ m.D.toarray()[2:4, 2:4] @ j.Z.to_numpy().T + eb.sigma**2 * np.eye(10)
    np.testing.assert_allclose(m.V_cluster("309"), block)
    term = m.terms[0]
    np.testing.assert_allclose(term.Z.toarray(), m.Z.toarray())
    assert term.J.sum() == 180
    with pytest.raises(ranef.DesignError, match="no level '39'"):
        m.cluster("39")


def test_impossible_fits():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": np.arange(12.0), "g": list("aabbccddeeff")})
    with pytest.raises(ranef.FitError, match="residual variance"):
        ranef.Model("y ~ x + (1 | g)", data.assign(y=3 * data["x"] + 1)).fit()
    with pytest.raises(ranef.RanefError, match="residual variance"):
        ranef.Model("y ~ 1 + (1 | g)", data.assign(y=data["g"].map(ord).astype(float))).fit()
    with pytest.raises(ranef.FitError, match=r"method='reml'.*Did you mean 'REML'"):
        ranef.Model("y ~ x + (1 | g)", data.assign(y=rng.normal(size=12))).fit("reml")
    with pytest.raises(ranef.DesignError, match="sigma=-1"):
        ranef.Model("y ~ x + (1 | g)", data.assign(y=rng.normal(size=12)), sigma=-1)


def test_meta_analysis_with_known_variances():
    """One row a study: sigma is known, so as many levels as rows are fine; equals the textbook's ML by hand."""
    rng = np.random.default_rng(4)
    se = rng.uniform(0.1, 0.5, 20)
    data = pd.DataFrame({"d": 0.3 + 0.4 * rng.normal(size=20) + se * rng.normal(size=20), "study": np.arange(20)})
    fit = ranef.Model("d ~ 1 + (1 | study)", data, weights=1 / se**2, sigma=1.0).fit("ML")
    tau2 = fit.varcorr["vcov"].iloc[0]

    def deviance(t):
        v = se**2 + t
        mu = (data["d"] / v).sum() / (1 / v).sum()
        return (np.log(2 * np.pi * v) + (data["d"] - mu) ** 2 / v).sum()

    assert fit.criterion == pytest.approx(deviance(tau2), rel=1e-10)
    assert all(deviance(tau2 * f) > fit.criterion for f in (0.98, 1.02))
    assert fit.df == 2


def test_units_do_not_make_a_fit_singular(eb):
    """Status and words are judged on columns of unit mean square, so nanometres and weights change nothing."""
    data = ranef.datasets.load("sleepstudy")
    changes = [{"Days": data["Days"] * 1e9}, {"Days": data["Days"] * 1e-9}, {"Days": data["Days"] + 1e5}]
    fits = [ranef.Model(SLEEP, data.assign(**c)).fit() for c in changes]
    fits.append(ranef.Model(SLEEP, data, weights=np.full(180, 1e10)).fit())
    for fit in fits:
        assert (fit.status, fit.is_singular) == ("converged", False)
        np.testing.assert_allclose(fit.fitted(), eb.fitted(), rtol=1e-6)


def test_no_fixed_effects_at_all():
    data = ranef.datasets.load("sleepstudy")
    model = ranef.Model("Reaction ~ 0 + (1 | Subject)", data)
    assert model.fit().predict(interval="prediction").shape == (180, 3)
    fb = model.sample(draws=50, warmup=50, seed=1, sampler="nutpie", progress=False)
    assert fb.vcov.shape == (0, 0)
    assert fb.predict(interval="prediction", seed=1).shape == (180, 3)
    assert "Random effects" in str(fb.summary())


# -- Bayes only ----------------------------------------------------------------------------------------------------


def test_datatree(fb):
    posterior = fb.datatree["posterior"]
    assert posterior["beta"].dims == ("chain", "draw", "coefficient")
    assert posterior["beta"].coords["coefficient"].to_numpy().tolist() == ["Intercept", "Days"]
    assert fb.glance()["draws"].iloc[0] == 500
    assert fb.diagnostics["rhat"].max() < 1.05


def test_diagnostics_in_words(sleep):
    short = sleep.sample(draws=20, warmup=20, chains=2, seed=1, sampler="nutpie", progress=False)
    assert any("effective sample size" in w or "R-hat" in w for w in short.warnings)
    assert short.warnings[0] in str(short.summary())


def test_same_seed_same_draws(sleep, fb):
    again = sleep.sample(draws=500, warmup=500, seed=3, progress=False)
    np.testing.assert_array_equal(again.draws.beta, fb.draws.beta)


def test_loo(fb):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ArviZ warns of two influential rows (Pareto k)
        assert fb.loo().elpd < 0


# -- properties ----------------------------------------------------------------------------------------------------


def test_rows_labels_and_terms_may_be_permuted(eb):
    data = ranef.datasets.load("sleepstudy").sample(frac=1, random_state=1)
    relabelled = data.assign(Subject=data["Subject"].astype(str).map(lambda s: f"z{999 - int(s)}"))
    fit = ranef.Model("Reaction ~ (1 + Days | Subject) + Days", relabelled).fit()
    assert fit.criterion == pytest.approx(eb.criterion, rel=1e-12)
    np.testing.assert_allclose(fit.theta, eb.theta, atol=1e-8)
    before = eb.fitted().rename_axis("row")
    np.testing.assert_allclose(fit.fitted().sort_index(), before.sort_index(), rtol=1e-8)


def test_shift_and_scale_are_equivariant(eb):
    data = ranef.datasets.load("sleepstudy")
    moved = data.assign(Reaction=1000 * data["Reaction"] + 1e7, Days=(data["Days"] - 4) * 1e-9)
    fit = ranef.Model(SLEEP, moved).fit()
    assert fit.sigma == pytest.approx(1000 * eb.sigma, rel=1e-7)
    assert fit.fixef["Days"] == pytest.approx(eb.fixef["Days"] * 1e12, rel=1e-7)
    np.testing.assert_allclose((fit.fitted() - 1e7) / 1000, eb.fitted(), rtol=1e-7)


def test_weights_count_as_replication():
    data = ranef.datasets.load("sleepstudy")
    single = ranef.Model("Reaction ~ Days + (1 | Subject)", data, weights=np.full(180, 4.0)).fit()
    plain = ranef.Model("Reaction ~ Days + (1 | Subject)", data).fit()
    assert single.sigma == pytest.approx(2 * plain.sigma, rel=1e-8)
    np.testing.assert_allclose(single.fixef, plain.fixef, rtol=1e-10)


def test_registry_is_shared():
    assert registry.fit("sleep_rs") is registry.fit("sleep_rs")
