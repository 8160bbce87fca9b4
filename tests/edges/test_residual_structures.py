"""Faults that residual structures and known covariances once had, and their siblings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
from oracle import dense, hessian

NUTS = {"chains": 2, "seed": 1, "progress": False, "sampler": "nutpie"}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    g, s = np.repeat(np.arange(10), 6), np.tile(["F", "M", "M"], 20)
    out = pd.DataFrame(
        {"x": rng.normal(size=60), "g": g, "z": rng.uniform(2, 8, 60), "s": s, "k": np.tile(range(6), 10)}
    )
    out["y"] = 10 + 2 * out["x"] + rng.normal(size=10)[g] + rng.normal(size=60) * np.where(s == "M", 2, 1)
    return out


@pytest.mark.parametrize("variance", [ranef.VarIdent("s"), ranef.VarPower("z"), ranef.VarExp("z")])
def test_a_known_sigma_is_the_same_in_both_engines(data, variance):
    model = ranef.Model("y ~ x + (1 | g)", data, variance=variance, sigma=1.0)
    eb, fb = model.fit(), model.sample(draws=1000, **NUTS)
    assert (fb.draws.sigma == 1.0).all()
    ours, theirs = fb.residual_parameters.iloc[-1], eb.residual_parameters.iloc[-1]
    assert abs(ours["estimate"] - theirs["estimate"]) < 0.5 * ours["sd"]


def test_parameters_of_one_name_are_told_apart():
    rng = np.random.default_rng(9)
    d = pd.DataFrame({"g": np.repeat(np.arange(20), 6), "x": rng.normal(size=120)})
    d["a"], d["b"] = rng.integers(1, 3, 120), rng.integers(1, 3, 120)
    d["y"] = d["x"] + rng.normal(size=20)[d["g"]] + rng.normal(size=120) * d["a"].map({1: 1, 2: 3}) / d["b"]
    fits = [
        ranef.Model("y ~ x + (1 | g)", d.assign(b=labels), variance=ranef.VarIdent("a") * ranef.VarIdent("b")).fit()
        for labels in (d["b"], d["b"].map({1: "p", 2: "q"}))
    ]
    errors = [fit.residual_parameters["std_error"].to_numpy() for fit in fits]
    np.testing.assert_allclose(errors[0], errors[1])
    assert {"ratio(2) [a]", "ratio(2) [b]"} <= set(fits[0].tidy()["term"])
    assert len(set(fits[0].spec.parameter_names)) == len(fits[0].spec.parameter_names)


def test_the_unit_of_a_known_covariance_changes_nothing():
    rng = np.random.default_rng(6)
    levels, A = list("abcdefgh"), rng.normal(size=(8, 8))
    K = A @ A.T / 8 + 0.5 * np.eye(8)
    d = pd.DataFrame({"x": rng.normal(size=64), "g": np.repeat(levels, 8)})
    d["y"] = 1 + d["x"] + np.repeat(np.linalg.cholesky(K) @ rng.normal(size=8), 8) + rng.normal(size=64)
    new = d.head(1).assign(g="zz")
    found = []
    for unit in (1.0, 1e-4, 1e4):
        model = ranef.Model("y ~ x + (1 | g)", d, cov={"g": pd.DataFrame(unit * K, levels, levels)})
        eb, fb = model.fit(), model.sample(draws=1000, **NUTS)
        sd = fb.confint().loc["sd(Intercept | g)"].to_numpy() * np.sqrt(unit)
        bounds = [fit.predict(new, interval="prediction", seed=1).to_numpy()[0] for fit in (eb, fb)]
        found.append(np.r_[sd, fb.icc()["adjusted"][0], fb.r2(), eb.icc()["adjusted"][0], *bounds])
        assert eb.icc()["adjusted"][0] == pytest.approx(fb.icc()["adjusted"][0], abs=0.1)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)  # the same chains, but for rounding
    np.testing.assert_allclose(found[2], found[0], rtol=0.15)  # other chains


def test_reliabilities_are_of_each_draws_own_residuals(data):
    model = ranef.Model("y ~ x + (1 | g)", data, variance=ranef.VarIdent("s"))
    eb, fb = model.fit(), model.sample(draws=200, **NUTS)
    draws = fb.datatree["posterior"]
    sd, sigma, rho = (draws[name].to_numpy().ravel() for name in ("sd_g", "sigma", "rho"))
    strata = (data.loc[data["g"] == 0, "s"] == "M").to_numpy()
    information = (1 / (sigma[:, None] * np.exp(rho[:, None] * strata)) ** 2).sum(axis=1)
    reliability = sd**2 * information / (1 + sd**2 * information)
    pooled = ranef.pooling(eb, fb)
    row = pooled.frame.iloc[0]
    assert row["reliability_mean"] == pytest.approx(reliability.mean())
    np.testing.assert_allclose(
        row[["reliability_lower", "reliability_upper"]].astype(float), np.quantile(reliability, [0.025, 0.975])
    )
    np.testing.assert_allclose(pooled.reliability_draws(levels=["0"]).ravel(), reliability)
    np.testing.assert_allclose(fb.derive("shrinkage").draws[..., 0, 0].ravel(), reliability)


def test_the_sign_of_an_autocorrelation_of_even_gaps_is_positive_and_told():
    d = ranef.datasets.load("Orthodont")  # ages 8, 10, 12 and 14
    model = ranef.Model("distance ~ age * Sex", d, correlation=ranef.AR1("age", group="Subject"))
    fit = model.fit()
    assert fit.residual_parameters["estimate"][0] == pytest.approx(0.7902, abs=1e-4)  # R's gls, started there
    assert "the sign of φ changes nothing" in str(model.describe())
    odd = ranef.AR1("age / 2", group="Subject")
    steps = ranef.Model("distance ~ age * Sex", d, correlation=odd).fit()
    assert steps.criterion == pytest.approx(fit.criterion, rel=1e-9)
    assert steps.residual_parameters["estimate"][0] == pytest.approx(0.7902**2, abs=1e-4)


def test_influence_estimates_parameters_of_residuals_again():
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"g": np.repeat(np.arange(10), 6), "x": rng.normal(size=60), "s": np.tile(["M", "F"], 30)})
    d["y"] = 1 + 0.5 * d["x"] + rng.normal(size=10)[d["g"]] + rng.normal(size=60) * np.where(d["s"] == "M", 1, 1.5)
    d.loc[(d["g"] == 0) & (d["s"] == "M"), "y"] += [8, -8, 8]

    def fit(rows):
        return ranef.Model("y ~ x + (1 | g)", rows, variance=ranef.VarIdent("s")).fit()

    found, without = fit(d).influence("g"), fit(d[d["g"] != 0])
    assert found.deleted["sigma"][0] == pytest.approx(without.sigma, rel=1e-5)
    np.testing.assert_allclose(found.fixef["estimate"][:2], without.fixef, rtol=1e-5)


@pytest.mark.parametrize("unit", [0.01, 1.0, 1000.0])
def test_standard_errors_of_a_power_know_no_unit(data, unit):
    rng = np.random.default_rng(3)
    d = data.assign(far=unit * (30 + rng.normal(size=60)))
    fit = ranef.Model("y ~ x + (1 | g)", d, variance=ranef.VarPower("far")).fit()
    spec, middle = fit.spec, np.log(np.abs(d["far"])).mean()

    def deviance(at):  # log θ, power, and the log of σ for a middling row, which little depends on the power
        own = dense(spec.with_rho(at[1:2]), np.exp(at[:1] + at[1] * middle), "REML", np.exp(at[2] - at[1] * middle))
        return own.criterion

    power = spec.rho[0]
    at = np.array([np.log(fit.theta.iloc[0]) - power * middle, power, np.log(fit.sigma) + power * middle])
    error = np.sqrt(2 * np.linalg.inv(hessian(deviance, at))[1, 1])
    assert fit.residual_parameters["std_error"][0] == pytest.approx(error, rel=1e-3)


def test_what_is_missing_in_new_data_has_no_interval(data):
    new = data.head(2).assign(z=[np.nan, 3.0])
    for variance in (ranef.VarConstPower("z"), ranef.VarPower("z"), ranef.VarExp("z"), ranef.VarFixed("z")):
        bounds = ranef.Model("y ~ x + (1 | g)", data, variance=variance).fit().predict(new, interval="prediction")
        assert bounds["lower"].isna().tolist() == [True, False]


def test_intervals_by_fitted_values_are_of_the_rows_alone(data):
    """The size that the constant is beside is that of the rows fitted, whichever rows are new."""
    fit = ranef.Model("y ~ x + (1 | g)", data, variance=ranef.VarConstPower()).fit()
    whole, few = (fit.predict(rows, interval="prediction") for rows in (data, data.head(3)))
    pd.testing.assert_frame_equal(whole.head(3), few)


def test_what_cannot_be_says_so(data):
    constant = data.assign(z=2.0)
    refused = [
        (lambda: ranef.Model("y ~ x", constant, variance=ranef.VarPower("z")), "in every row"),
        (lambda: ranef.Model("y ~ 1", data, variance=ranef.VarPower()).fit(), "in every row"),
        (lambda: ranef.Model("y ~ 1", data, variance=ranef.VarPower()).sample(draws=10, **NUTS), "in every row"),
        (lambda: ranef.Model("y ~ x", data, correlation=ranef.ARMA(9, 0, "k", "g")), "the longest has 6 rows"),
        (lambda: ranef.AR1(3), "text"),
        (lambda: ranef.AR1("k", ["g", "s"]), "named by text"),
        (lambda: ranef.Exponential([]), "a list of some"),
        (lambda: ranef.Exponential("k", nugget="yes"), "True or False"),
        (lambda: ranef.VarIdent("s") + ranef.VarPower("z"), "products"),
        (lambda: ranef.VarIdent("s") * "z", "must be variances"),
        (lambda: ranef.VarIdent(), "form="),
        (lambda: ranef.AR1(form="~ k | g"), "no argument form="),
    ]
    for call, words in refused:
        with pytest.raises(ranef.RanefError, match=words):
            call()


def test_names_with_colons_stand_in_backquotes(data):
    d = data.rename(columns={"g": "a:b", "s": "s/t"})
    given = {"variance": ranef.VarIdent("`s/t`"), "correlation": ranef.AR1("k", group="`a:b`")}
    fit = ranef.Model("y ~ x + (1 | `a:b`)", d, **given).fit()
    plain = ranef.Model(
        "y ~ x + (1 | g)", data, variance=ranef.VarIdent("s"), correlation=ranef.AR1("k", group="g")
    ).fit()
    assert fit.criterion == pytest.approx(plain.criterion)


def test_a_correlation_next_to_one_shows_how_near(data):
    seconds = data.assign(k=data["k"] * 86400 + 1.7e9)
    text = str(ranef.Model("y ~ x", seconds, correlation=ranef.CAR1("k", "g")).fit().summary())
    assert "0.99998" in text


@pytest.mark.parametrize("variance", [ranef.VarIdent("s"), ranef.VarIdent("s") * ranef.VarExp("z")])
@pytest.mark.parametrize("formula", ["y ~ x", "y ~ x + (1 | g)"])
def test_a_stratum_that_is_fitted_exactly_is_refused(data, variance, formula):
    exact = data.assign(y=data["y"].where(data["s"] == "M", 3 + data["x"]))
    model = ranef.Model(formula, exact, variance=variance)
    for use in (model.fit, lambda: model.sample(draws=10, **NUTS)):
        with pytest.raises(ranef.FitError, match=r"variance of s F has no estimate.* its 20 rows"):
            use()
    nearly = exact.assign(y=exact["y"] + 1e-6 * np.sin(np.arange(60)))
    assert ranef.Model("y ~ x", nearly, variance=variance).fit().status == "converged"


@pytest.mark.parametrize("formula", ["y ~ 1", "y ~ x + (1 | g)"])
@pytest.mark.parametrize(
    "given",
    [
        {"correlation": ranef.AR1("k", "g")},
        {"correlation": ranef.CompSymm("g:s")},
        {"correlation": ranef.Exponential("k", "g", nugget=True)},
        {"variance": ranef.VarPower("z")},
        {"variance": ranef.VarIdent("s"), "correlation": ranef.CAR1("k", "g")},
    ],
)
def test_residuals_that_are_zero_say_nothing_of_their_correlation(data, given, formula):
    """With a known σ the likelihood of a constant response is that of |R| alone, which has no optimum."""
    model = ranef.Model(formula, data.assign(y=3.0), sigma=0.5, **given)
    for use in (model.fit, lambda: model.fit("ML"), lambda: model.sample(draws=10, **NUTS)):
        with pytest.raises(ranef.FitError, match=r"cannot be estimated: the fixed effects fit 'y' exactly"):
            use()


def test_a_stratum_whose_variance_falls_for_ever_is_refused_by_name(data):
    noise = np.random.default_rng(8).normal(size=60) * (data["s"] == "M")
    exact = data.assign(y=3 + data["x"] + data["g"].astype(int) % 7 + noise)
    with pytest.raises(ranef.FitError, match=r"variance of s F \(20 rows\).*fixed and the random effects together"):
        ranef.Model("y ~ x + (1 | g)", exact, variance=ranef.VarIdent("s")).fit()
    few = data.assign(s=np.where(np.arange(60) < 2, "few", data["s"]))
    model = ranef.Model("y ~ x * s", few, variance=ranef.VarIdent("s"))
    with pytest.raises(ranef.FitError, match=r"variance of s few \(2 rows\).*2 coefficients"):
        model.fit(method="ML")
    with pytest.warns(ranef.ConvergenceWarning, match="do not determine"):
        assert model.fit().status == "not identified"


def test_a_column_may_be_drawn_by_anybodys_seed(data):
    own = data.assign(x=np.random.default_rng(0).normal(size=60))
    assert ranef.Model("y ~ x + (1 | g)", own, variance=ranef.VarIdent("s")).fit().status in ("converged", "boundary")


def test_one_row_for_every_effect_may_leave_no_residual_variance():
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"g": np.repeat(np.arange(20), 4), "t": np.tile(list("abcd"), 20)})
    d["y"] = rng.normal(size=80) + np.repeat(rng.normal(size=20), 4)
    d["w"] = rng.uniform(0.5, 2, 80)
    for term in ("cs(0 + t | g)", "toep(0 + t | g)"):
        with pytest.warns(ranef.SingularFitWarning, match="residual variance is estimated as zero"):
            fit = ranef.Model(f"y ~ 1 + {term}", d, weights="w").fit()
        assert fit.status == "boundary"
