"""Generalised responses by Laplace's approximation: references of lme4 and glmmTMB, dense truth, and invariances."""

from __future__ import annotations

import json
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from _ranef.inference import laplace_at
from _ranef.likelihood import at_points, fit_pilot, make_laplace
from _ranef.likelihood.quadrature import QuadratureAt
from _ranef.spec import GENERALISED, Rows, response_family
from generalised import (
    GLMER,
    MODELS,
    TMB,
    data_of,
    dense_laplace,
    fitted,
    gradient,
    integrated,
    integrated_twice,
    laplace_of,
    reference,
    somewhere,
    spec_of,
    there,
)
from registry import FOLDER


@pytest.mark.parametrize("case", GLMER)
def test_the_likelihood_and_estimates_are_glmers(case):
    ref, fit = reference(case), fitted(case)
    assert fit.loglik == pytest.approx(ref["logLik"], rel=1e-8)
    assert fit.criterion <= -2 * ref["logLik"] + 1e-7
    assert np.allclose(fit.fixef, ref["fixef"]["estimate"], atol=1e-4)
    assert np.allclose(fit.theta, ref["theta"]["value"], atol=1e-5)
    assert (fit.aic, fit.bic) == pytest.approx((ref["AIC"], ref["BIC"]), rel=1e-8)
    assert fit.df == ref["df_logLik"]
    assert fit.is_singular == ref["singular"]


#: whose Hessian lme4 takes by differences in columns of very different sizes; glmmTMB's standard errors are exact
ROUGH = {"grouseticks": 0.02}


@pytest.mark.parametrize("case", GLMER)
def test_standard_errors_are_those_of_the_hessian(case):
    ref, fit = reference(case), fitted(case)
    se = np.sqrt(np.diag(fit.vcov))
    assert np.allclose(se, ref["fixef"]["se"], rtol=ROUGH.get(case, 1e-3))
    assert np.allclose(fit.tidy()["statistic"][: len(se)], fit.fixef / se)


@pytest.mark.parametrize("case", GLMER)
def test_conditional_modes_are_glmers(case):
    fit = fitted(case)
    for part in reference(case)["ranef"]:
        own = fit.ranef(part["group"])
        wide = own[own["level"].isin(part["levels"])]
        p = len(part["columns"])
        order = pd.Index(part["levels"]).get_indexer(wide["level"].to_numpy()[::p])
        values, sds = (np.array(part[name])[order] for name in ("values", "cond_sd"))
        assert np.allclose(wide["estimate"].to_numpy().reshape(-1, p), values, atol=1e-4)
        assert np.allclose(wide["sd"].to_numpy().reshape(-1, p), sds, atol=1e-5)


@pytest.mark.parametrize("case", TMB)
def test_the_likelihood_and_estimates_are_glmmtmbs(case):
    ref, fit = reference(case), fitted(case)
    own = ref["coefficients"]["cond"]
    assert fit.loglik == pytest.approx(ref["logLik"], rel=1e-9)
    assert np.allclose(fit.fixef, own["estimate"], atol=1e-4)
    assert np.allclose(np.sqrt(np.diag(fit.vcov)), own["se"], rtol=1e-3)
    sds = fit.varcorr.set_index("group")["sdcor"]
    assert all(sds[part["group"]] == pytest.approx(part["sd"][0], rel=1e-4) for part in ref["varcorr"])
    if ref["sigma"] != 1:
        assert fit.dispersion["size"] == pytest.approx(ref["sigma"], rel=1e-4)


@pytest.mark.parametrize("case", ["cbpp_laplace", "cbpp_olre", "grouseticks"])
def test_fitted_values_and_residuals_are_glmers(case):
    ref, fit = reference(case), fitted(case)
    for name, own in (
        ("fitted_response", fit.fitted()),
        ("linear_predictor", fit.predict(type="link")),
        ("residuals_deviance", fit.residuals()),
    ):
        first = ref[name].get("values", ref[name].get("first"))
        assert np.allclose(own.to_numpy()[: len(first)], first, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_exact(name):
    model = laplace_of(name)
    x, h = somewhere(model), 1e-4

    def slope(unit):
        near, far = ([there(model, x + side * h * k * unit).criterion for side in (1, -1)] for k in (1, 2))
        return (8 * (near[0] - near[1]) - (far[0] - far[1])) / (12 * h)

    numeric = np.array([slope(unit) for unit in np.eye(len(x))])
    assert np.abs(gradient(model, x) - numeric).max() < 1e-6 * max(1.0, np.abs(numeric).max())


@pytest.mark.parametrize("name", MODELS)
def test_the_criterion_is_that_of_dense_matrices(name):
    model, spec = laplace_of(name), spec_of(name)
    x = somewhere(model, seed=1)
    at = there(model, x)
    theta = model.gaussian.to_written(x[: spec.n_theta])
    dense = dense_laplace(spec, theta, at.beta, model.own(at.logs))
    assert at.criterion == pytest.approx(dense, rel=1e-6)


def test_effects_without_variance_are_no_special_case():
    model = laplace_of("logit")
    x = somewhere(model)
    x[0] = 0.0
    at = there(model, x)
    assert at.criterion == pytest.approx(integrated(model.spec, np.zeros(1), at.beta), abs=1e-8)
    assert np.allclose(gradient(model, x)[0], 0.0)
    step = x.copy()
    step[0] = 1e-3
    assert (there(model, step).criterion - at.criterion) / 1e-6 == pytest.approx(at.W[0][0, 0], rel=1e-3)


def test_laplace_is_near_the_integral():
    fit = fitted("cbpp_laplace")
    exact = integrated(fit.spec, fit.theta.to_numpy(), fit.fixef.to_numpy())
    assert 0.01 < abs(fit.criterion - exact) < 0.5


FORMULA = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def same(first, second, atol=1e-6):
    assert first.criterion == pytest.approx(second.criterion, abs=1e-8)
    assert np.allclose(first.theta, second.theta, atol=atol)


def test_order_and_names_of_rows_and_levels_change_nothing():
    data = data_of("cbpp_laplace")
    shuffled = data.sample(frac=1.0, random_state=1)
    renamed = shuffled.assign(herd=["h" + str(99 - int(h)) for h in shuffled["herd"]])
    fit = ranef.Model(FORMULA, renamed, family="binomial").fit()
    same(fit, fitted("cbpp_laplace"))
    assert np.allclose(fit.fixef, fitted("cbpp_laplace").fixef, atol=1e-6)


def test_the_form_of_a_binomial_response_changes_nothing():
    data = data_of("cbpp_laplace")
    shares = data.assign(share=data["incidence"] / data["size"])
    own = ranef.Model("share ~ period + (1 | herd)", shares, weights="size", family="binomial").fit()
    same(own, fitted("cbpp_laplace"))
    long = data.loc[data.index.repeat(data["size"])].reset_index(drop=True)
    long["hit"] = np.concatenate([np.arange(n) < k for k, n in zip(data["incidence"], data["size"], strict=True)])
    forms = {
        "numbers": long["hit"].astype(int),
        "logical": long["hit"],
        "levels": pd.Categorical(np.where(long["hit"], "ill", "well"), categories=["well", "ill"]),
    }
    fits = [
        ranef.Model("hit ~ period + (1 | herd)", long.assign(hit=form), family="binomial").fit()
        for form in forms.values()
    ]
    for fit in fits:
        assert fit.criterion == pytest.approx(fits[0].criterion, abs=1e-9)
        assert np.allclose(fit.fixef, own.fixef, atol=1e-6)
        assert np.allclose(fit.theta, own.theta, atol=1e-6)


def test_swapping_success_and_failure_turns_signs():
    fit = ranef.Model(
        FORMULA.replace("incidence, size - incidence", "size - incidence, incidence"),
        data_of("cbpp_laplace"),
        family="binomial",
    ).fit()
    same(fit, fitted("cbpp_laplace"))
    assert np.allclose(fit.fixef, -fitted("cbpp_laplace").fixef, atol=1e-6)


@pytest.mark.parametrize(("shift", "scale"), [(1e3, 1.0), (0.0, 1e6), (1e4, 1e-5)])
def test_origin_and_unit_of_a_covariate_change_nothing(shift, scale):
    data = ranef.datasets.load("grouseticks")
    formula = "TICKS ~ YEAR + cHEIGHT + (cHEIGHT | BROOD)"
    base = ranef.Model(formula, data, family="poisson").fit()
    moved = ranef.Model(formula, data.assign(cHEIGHT=(data["cHEIGHT"] + shift) * scale), family="poisson").fit()
    assert moved.criterion == pytest.approx(base.criterion, abs=1e-6)
    assert moved.fixef["cHEIGHT"] * scale == pytest.approx(base.fixef["cHEIGHT"], abs=1e-6)
    assert np.allclose(moved.fitted(), base.fitted(), rtol=1e-4)


def test_an_offset_is_an_exposure():
    data = ranef.datasets.load("grouseticks").assign(hours=lambda d: 1.0 + d["TICKS"] % 3)
    fit = ranef.Model("TICKS ~ YEAR + offset(log(hours)) + (1 | BROOD)", data, family="poisson").fit()
    twice = ranef.Model("TICKS ~ YEAR + offset(log(2 * hours)) + (1 | BROOD)", data, family="poisson").fit()
    assert twice.criterion == pytest.approx(fit.criterion, abs=1e-8)
    assert fit.fixef["Intercept"] - twice.fixef["Intercept"] == pytest.approx(np.log(2.0), abs=1e-6)


def test_repeated_rows_are_weights():
    data = ranef.datasets.load("grouseticks")
    twice = pd.concat([data, data], ignore_index=True)
    formula = "TICKS ~ YEAR + (1 | BROOD)"
    weighted = ranef.Model(formula, data.assign(w=2.0), weights="w", family="poisson").fit()
    same(ranef.Model(formula, twice, family="poisson").fit(), weighted)


def test_a_variance_of_zero_is_a_singular_fit():
    data = pd.DataFrame({"y": np.tile([0, 1, 1, 0], 20), "g": np.repeat(np.arange(20), 4).astype(str)})
    with pytest.warns(ranef.SingularFitWarning, match="zero"):
        fit = ranef.Model("y ~ 1 + (1 | g)", data, family="binomial").fit()
    assert fit.is_singular
    assert fit.status == "boundary"
    assert fit.theta.tolist() == [0.0]
    assert np.isfinite(fit.vcov.to_numpy()).all()


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_separated_rows_are_refused_with_their_coefficient(family):
    data = pd.DataFrame({"g": np.tile(list("abcdef"), 10), "x": np.repeat([0, 1], 30)})
    rng = np.random.default_rng(0)
    data["y"] = np.where(data["x"] == 1, 0, rng.integers(0, 2, len(data)))
    with pytest.raises(ranef.FitError, match="separated: along x"):
        ranef.Model("y ~ x + (1 | g)", data, family=family).fit()


BAD = {
    "a share": ({"y": [0.5, 1.0, 0.0, 1.0]}, {"family": "binomial"}, "0.5 in row 0, which is neither 0 nor 1"),
    "outside": ({"y": [2.0, 1.0, 0.0, 1.0]}, {"family": "binomial"}, "is 2 in row 0"),
    "one end": ({"y": [1.0, 1.0, 1.0, 1.0]}, {"family": "binomial"}, "success in all 4 rows"),
    "three levels": ({"y": list("abca")}, {"family": "binomial"}, "has 3 levels"),
    "shares": ({"y": [0.5, 1.0, 0.3, 1.0]}, {"family": "binomial", "weights": [2, 1, 2, 1]}, "of 2 trials is 0.6"),
    "a half count": ({"y": [0.5, 1.0, 2.0, 1.0]}, {"family": "poisson"}, "is 0.5 in row 0"),
    "negative": ({"y": [1.0, -1.0, 2.0, 1.0]}, {"family": "negative binomial"}, "is -1 in row 1"),
    "all zero": ({"y": [0.0, 0.0, 0.0, 0.0]}, {"family": "poisson"}, "0 in every row"),
    "categories": ({"y": list("abab")}, {"family": "poisson"}, "must be one column of numbers"),
    "counts as text": ({"y": ["1,5", "2,0", "3,5", "1,0"]}, {"family": "gamma"}, r"read_csv\(..., decimal=','\)"),
    "shares as text": ({"y": ["50%", "20%", "30%", "10%"]}, {"family": "binomial"}, r"rstrip\('% '\)\) / 100"),
    "a whole share": ({"y": [0.5, 1.0, 0.2, 0.1]}, {"family": "beta"}, "is 1 in row 1"),
    "not above": ({"y": [0.5, -1.0, 0.2, 0.1]}, {"family": "inverse gaussian"}, "is -1 in row 1"),
    "no spread": ({"y": [2.0, 2.0, 2.0, 2.0]}, {"family": "student"}, "is 2 in every row"),
    "one time": ({"y": [2.0, 2.0, 2.0, 2.0]}, {"family": "gamma"}, "is 2 in every row"),
    "one share": ({"y": [0.2, 0.2, 0.2, 0.2]}, {"family": "beta"}, "is 0.2 in every row"),
    "a link of others": ({"y": [2.0, 2.0, 2.0, 2.0]}, {"family": "gamma", "link": "sqrt"}, "'inverse'"),
    "two classes": ({"y": [1.0, 0.0, 1.0, 1.0]}, {"family": "ordinal"}, "has 2 classes"),
    "no class": ({"y": [1.0, 0.5, 2.0, 3.0]}, {"family": "ordinal"}, "is no class in row 1"),
    "not positive": ({"y": [1.0, 0.0, 2.0, 1.0]}, {"family": "gamma"}, "is 0 in row 1"),
    "a family": ({"y": [1.0, 0.0, 2.0, 1.0]}, {"family": "binomal"}, "Did you mean 'binomial'"),
    "a link": ({"y": [1.0, 0.0, 2.0, 1.0]}, {"family": "binomial", "link": "logt"}, "Did you mean 'logit'"),
    "sigma": ({"y": [1.0, 0.0, 1.0, 0.0]}, {"family": "binomial", "sigma": 1.0}, "sigma= is not available"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_responses_are_told_of(name):
    columns, arguments, words = BAD[name]
    data = pd.DataFrame({**columns, "g": list("aabb")})
    with pytest.raises(ranef.RanefError, match=words):
        ranef.Model("y ~ 1 + (1 | g)", data, **arguments)


COUNTS = {
    "no trials": ([0, 1, 2, 1], [0, 1, 1, 1], "has no trials in row 0"),
    "failures": ([1, 1, 2, 1], [-1, 1, 1, 1], "failures of the response cbind.* are -1 in row 0"),
    "halves": ([0.5, 1, 2, 1], [1, 1, 1, 1], "successes of the response cbind.* are 0.5 in row 0"),
}


@pytest.mark.parametrize("name", COUNTS)
def test_bad_counts_are_told_of(name):
    k, m, words = COUNTS[name]
    with pytest.raises(ranef.DesignError, match=words):
        ranef.Model("cbind(k, m) ~ 1 + (1 | g)", {"k": k, "m": m, "g": list("aabb")}, family="binomial")


def at_points_of(name, points, x):
    return at_points(there(laplace_of(name), x), points)


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("logit", 2),
        ("cloglog", 9),
        ("logit", 25),
        ("sizes", 5),
        ("times", 7),
        ("size", 4),
        ("slope", 3),
        ("linear", 5),
        ("tails", 3),
    ],
)
def test_the_gradient_of_quadrature_is_exact(name, points):
    model = laplace_of(name)
    x, h = somewhere(model, seed=2), 1e-4

    def slope(unit):
        near, far = (
            [at_points_of(name, points, x + side * h * k * unit).criterion for side in (1, -1)] for k in (1, 2)
        )
        return (8 * (near[0] - near[1]) - (far[0] - far[1])) / (12 * h)

    numeric = np.array([slope(unit) for unit in np.eye(len(x))])
    at = at_points_of(name, points, x)
    exact = np.concatenate(
        [model.spec.pull_back(x[: model.spec.n_theta], at.gradient), at.first_order.beta, at.first_order.logs]
    )
    assert np.abs(exact - numeric).max() < 1e-6 * max(1.0, np.abs(numeric).max())


@pytest.mark.parametrize("name", ["logit", "probit", "sizes", "times", "linear", "wald"])
def test_quadrature_comes_to_the_integral(name):
    model = laplace_of(name)
    x = somewhere(model, seed=2)
    theta, laplace = model.gaussian.to_written(x[:1]), there(model, x)
    exact = integrated(model.spec, theta, laplace.beta, model.own(laplace.logs))
    errors = [abs(at_points_of(name, points, x).criterion - exact) for points in (1, 25)]
    assert errors[1] < 1e-6 < errors[0]


def test_quadrature_of_two_effects_comes_to_the_integral():
    model = laplace_of("size")
    x = somewhere(model, seed=3)
    laplace = there(model, x)
    theta = model.gaussian.to_written(x[:3])
    exact = integrated_twice(model.spec, theta, laplace.beta, model.own(laplace.logs))
    assert abs(at_points_of("size", 15, x).criterion - exact) < 1e-5 < abs(laplace.criterion - exact)


def test_one_point_is_laplaces_approximation():
    model = laplace_of("logit")
    at = there(model, somewhere(model))
    one = QuadratureAt(
        at.laplace, at.roots, at.inner_beta, at.logs, at.mode, at.constant, np.zeros((1, 1)), np.zeros(1)
    )
    assert one.criterion == pytest.approx(at.criterion, abs=1e-10)
    assert np.allclose(one.first_order.beta, at.first_order.beta)
    assert np.allclose(one.gradient[0], at.gradient[0])


def test_quadrature_is_glmers_with_nine_points():
    """glmer leaves out the log-likelihood of the saturated model where nAGQ is above one."""
    ref, fit = reference("cbpp_agq9"), fitted("cbpp_agq9")
    y, trials = fit.spec.design.y, fit.spec.design.weights
    saturated = scipy.stats.binom.logpmf(np.round(y * trials), trials, y).sum()
    assert fit.loglik - saturated == pytest.approx(ref["logLik"], rel=1e-8)
    assert np.allclose(fit.fixef, ref["fixef"]["estimate"], atol=1e-5)
    assert np.allclose(fit.theta, ref["theta"]["value"], atol=1e-5)
    assert np.allclose(np.sqrt(np.diag(fit.vcov)), ref["fixef"]["se"], rtol=1e-4)
    assert np.allclose(fit.ranef()["estimate"], np.ravel(ref["ranef"][0]["values"]), atol=1e-5)
    assert np.allclose(fit.ranef()["sd"], np.ravel(ref["ranef"][0]["cond_sd"]), atol=1e-5)


@pytest.mark.parametrize(
    "formula", ["TICKS ~ 1 + (1 | BROOD) + (1 | LOCATION)", "TICKS ~ 1 + (0 + YEAR | LOCATION) + (1 | LOCATION)"]
)
def test_quadrature_of_several_effects_is_refused(formula):
    model = ranef.Model(formula, ranef.datasets.load("grouseticks"), family="poisson")
    with pytest.raises(ranef.FitError, match="one grouping factor with up to three effects"):
        model.fit(nagq=5)


def test_counts_without_overdispersion_are_told():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(np.arange(30), 6).astype(str)})
    data["y"] = rng.binomial(8, 0.5, len(data))
    with pytest.warns(ranef.SingularFitWarning, match="size is estimated as infinite"):
        fit = ranef.Model("y ~ 1 + (1 | g)", data, family="negative binomial").fit()
    with pytest.warns(ranef.SingularFitWarning):
        poisson = ranef.Model("y ~ 1 + (1 | g)", data, family="poisson").fit()
    assert fit.criterion == pytest.approx(poisson.criterion, abs=1e-4)
    assert fit.vcov.to_numpy() == pytest.approx(poisson.vcov.to_numpy(), rel=1e-5)


def test_without_random_effects_it_is_a_generalised_linear_model():
    data = data_of("cbpp_laplace")
    fit = ranef.Model("cbind(incidence, size - incidence) ~ period", data, family="binomial").fit()
    totals = data.groupby("period", observed=True)[["incidence", "size"]].sum()
    assert np.allclose(np.unique(fit.fitted()), np.sort(totals["incidence"] / totals["size"]))
    assert fit.theta.empty


STRUCTURES = [
    "diag(1 + Days | Subject)",
    "ident(1 + Days | Subject)",
    "cs(1 + Days | Subject)",
    "homcs(0 + half | Subject)",
    "ar1(0 + half | Subject)",
    "hetar1(0 + half | Subject)",
    "toep(0 + half | Subject)",
]


def exact(model, x):
    """The criterion against dense matrices, and its gradient against differences."""
    at, spec, h = there(model, x), model.spec, 1e-4
    dense = dense_laplace(spec, model.gaussian.to_written(x[: spec.n_theta]), at.beta, model.own(at.logs))
    assert at.criterion == pytest.approx(dense, rel=1e-6)
    ends = [[there(model, x + side * h * unit).criterion for side in (1, -1)] for unit in np.eye(len(x))]
    numeric = np.array([(high - low) / (2 * h) for high, low in ends])
    assert np.abs(gradient(model, x) - numeric).max() < 1e-5 * max(1.0, np.abs(numeric).max())


@pytest.mark.parametrize("term", STRUCTURES)
def test_every_structure_of_effects_is_there(term):
    data = ranef.datasets.load("sleepstudy").assign(half=lambda d: pd.Categorical(d["Days"] % 3))
    spec = ranef.Model(f"Reaction ~ Days + {term}", data, family="gamma").spec
    model = make_laplace(spec, fit_pilot(spec, spec.family))
    exact(model, somewhere(model))


def related(J, seed=4):
    root = np.random.default_rng(seed).normal(size=(J, J + 2))
    K = root @ root.T
    return K / np.diag(K).mean()


@pytest.mark.parametrize("name", ["logit", "slope", "tails"])
def test_levels_may_be_related(name):
    dataset, formula, family, link = MODELS[name]
    (g,) = spec_of(name).groupings
    K = pd.DataFrame(related(g.n_levels), index=g.levels, columns=g.levels)
    own = ranef.Model(formula, ranef.datasets.load(dataset), family=family, link=link, cov={g.name: K})
    model = make_laplace(own.spec, fit_pilot(own.spec, own.spec.family))
    exact(model, somewhere(model))
    with pytest.raises(ranef.FitError, match="levels are related"):
        own.fit(nagq=5)


def test_levels_that_are_related_to_none_are_as_ever():
    dataset, formula, family, _ = MODELS["logit"]
    data, (g,) = ranef.datasets.load(dataset), spec_of("logit").groupings
    eye = pd.DataFrame(np.eye(g.n_levels), index=g.levels, columns=g.levels)
    fits = [ranef.Model(formula, data, family=family, cov=cov).fit() for cov in (None, {g.name: eye})]
    same(fits[1], fits[0])
    assert np.allclose(fits[1].ranef()[["estimate", "sd"]], fits[0].ranef()[["estimate", "sd"]], atol=1e-6)
    assert np.allclose(fits[1].vcov, fits[0].vcov, rtol=1e-4)


def references(file: str = "generalised_families"):
    return json.loads((FOLDER / f"{file}.json").read_text())["cases"]


def data_with_more(name: str) -> pd.DataFrame:
    """As R has them: heights in hundreds, and weights."""
    data = ranef.datasets.load(name)
    if name == "sleepstudy":
        return data.assign(w=1.0 + data["Days"] % 3)
    return data.assign(h=data["cHEIGHT"] / 100) if name == "grouseticks" else data


@cache
def of_reference(file: str, name: str) -> ranef.GeneralisedFit:
    ref = references(file)[name]
    data, weights = data_with_more(ref["dataset"]), ref.get("weights") or None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.SingularFitWarning)
        return ranef.Model(ref["formula"], data, family=ref["family"], link=ref["link"], weights=weights).fit()


@pytest.mark.parametrize("name", references())
def test_families_are_those_of_glmmtmb_and_ordinal(name):
    """References are where R's optimisers stop: never better than ours by more than rounding."""
    ref, fit = references()[name], of_reference("generalised_families", name)
    assert fit.loglik == pytest.approx(ref["loglik"], abs=1e-4)
    assert fit.loglik > ref["loglik"] - 1e-6
    se = np.sqrt(np.diag(fit.vcov))
    own = fit.fixef.to_numpy()
    if "thresholds" in ref:
        assert np.allclose(fit.thresholds, ref["thresholds"], rtol=2e-3)
        own = own[1:]
    assert np.allclose(own, ref["beta"], rtol=2e-3)
    # clmm takes its Hessian by differences: of 316 people it has a standard error less than half of what they allow
    assert "thresholds" in ref or np.allclose(se, ref["se"], rtol=5e-3)
    assert np.allclose(fit.varcorr["sdcor"][: np.size(ref["sd"])], ref["sd"], rtol=2e-3)
    if "dispersion" in ref:
        assert fit.dispersion.iloc[0] == pytest.approx(ref["dispersion"], rel=2e-3)


@pytest.mark.parametrize("name", references("generalised_designs"))
def test_designs_are_those_of_glmmtmb_and_ordinal(name):
    """Crossed, nested, slopes, offsets, weights: R stops within 1e-4 of each parameter, and no lower than here."""
    ref, fit = references("generalised_designs")[name], of_reference("generalised_designs", name)
    assert fit.deviance == pytest.approx(-2.0 * ref["loglik"], rel=1e-8)
    own = fit.fixef.to_numpy()
    if "thresholds" in ref:
        own = own[1:]
        assert np.allclose(fit.thresholds, ref["thresholds"], rtol=1e-4)
    sds = fit.varcorr.loc[fit.varcorr["term2"].isna(), "sdcor"]
    assert np.allclose(own, ref["beta"], rtol=1e-4)
    assert np.allclose(np.sort(sds), np.sort(np.ravel(ref["sd"])), rtol=1e-4)
    if "se" not in ref:
        return
    assert np.allclose(np.sqrt(np.diag(fit.vcov)), ref["se"], rtol=1e-4)
    assert np.allclose(fit.fitted().head(5), ref["fitted"], rtol=1e-4)
    if len(fit.dispersion):
        assert fit.dispersion.iloc[0] == pytest.approx(ref["dispersion"], rel=1e-4)


@pytest.mark.parametrize("name", [n for n, c in references("generalised_designs").items() if c.get("sd_se")])
def test_standard_errors_of_sds_are_glmmtmbs(name):
    """Those of logarithms of sds, by the delta method."""
    ref, fit = references("generalised_designs")[name], of_reference("generalised_designs", name)
    errors = fit.varcorr_se()
    ours = errors.loc[errors["term2"].isna(), "std_error"]
    assert np.allclose(np.sort(ours), np.sort(np.ravel(ref["sd_se"])), rtol=1e-4)


def test_modes_of_outlying_levels_are_found_from_zero_effects():
    """Where h is not concave at zero, with one effect of a level as with two."""
    fit = ranef.Model("Reaction ~ Days + (1 | Subject)", ranef.datasets.load("sleepstudy"), family="t").fit()
    assert laplace_at(fit.spec, fit.estimates).criterion == pytest.approx(fit.criterion, abs=1e-8)
    assert np.isfinite(fit.confint()).all(axis=None)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_classes_by_their_probabilities(link):
    data = ranef.datasets.load("sleepstudy").assign(slow=lambda d: (d["Reaction"] // 60).clip(3, 6))
    fit = ranef.Model("slow ~ Days + (1 | Subject)", data, family="ordinal", link=link).fit()
    shares = fit.predict()
    assert np.allclose(shares.sum(axis=1), 1.0)
    eta = fit.predict(type="link") - fit.fixef["Intercept"]
    first = scipy.stats.norm.cdf if link == "probit" else scipy.special.expit
    assert np.allclose(shares[["3", "4"]].sum(axis=1), first(fit.thresholds["4|5"] - eta))
    moved = ranef.Model("slow ~ I(Days * 7 + 1990) + (1 | Subject)", data, family="ordinal", link=link).fit()
    assert moved.criterion == pytest.approx(fit.criterion, abs=1e-7)
    turned = ranef.Model("I(9 - slow) ~ Days + (1 | Subject)", data, family="ordinal", link=link).fit()
    assert turned.criterion == pytest.approx(fit.criterion, abs=1e-7)
    assert np.allclose(turned.thresholds, -fit.thresholds[::-1], atol=1e-5)
    rows, shifted = (one.tidy().set_index("term") for one in (fit, turned))
    assert np.allclose(rows["estimate"][fit.thresholds.index], fit.thresholds)
    assert rows["std_error"]["3|4"] == pytest.approx(rows["std_error"]["Intercept"], rel=1e-4)
    ours = shifted.loc[turned.thresholds.index, ["estimate", "std_error"]].to_numpy()
    assert np.allclose(ours * [-1, 1], rows.loc[fit.thresholds.index[::-1], ["estimate", "std_error"]], rtol=1e-3)
    with pytest.raises(ranef.DesignError, match="leave the intercept"):
        ranef.Model("slow ~ 0 + Days + (1 | Subject)", data, family="ordinal")


def test_two_classes_are_binomial():
    """With no step between, the density is that of failures and successes."""
    family, rng = response_family("ordinal", "cloglog", ("a", "b")), np.random.default_rng(1)
    y, eta = rng.integers(0, 2, 50).astype(float), rng.standard_normal(50)
    rows = Rows(y, np.ones(50))
    other = GENERALISED["binomial"]("cloglog").slopes(-eta, Rows(1.0 - y, np.ones(50)), {})
    own = family.slopes(eta, rows, {})
    assert np.allclose(own.value, other.value)
    assert np.allclose(own.curvature, other.curvature)


def test_classes_that_a_covariate_tells_apart_are_refused_with_it():
    x = np.random.default_rng(1).normal(size=90)
    data = pd.DataFrame({"x": x, "y": np.digitize(x, [-0.5, 0.5]), "g": np.arange(90) % 9})
    with pytest.raises(ranef.FitError, match=r"separated: along .*x.* apart by their classes"):
        ranef.Model("y ~ x + (1 | g)", data, family="ordinal").fit()
    beside = data.assign(y=data["y"].sample(frac=1, random_state=1).to_numpy())
    assert ranef.Model("y ~ x + (1 | g)", beside, family="ordinal").fit().status != "not converged"


def test_levels_of_one_kind_each_do_not_tell_their_spread():
    data = pd.DataFrame({"y": np.repeat([0, 1], 40), "g": np.repeat(np.arange(8), 10), "row": np.arange(80)})
    with pytest.warns(ranef.ConvergenceWarning, match="In every level of g all rows of 'y' are at one end"):
        fit = ranef.Model("y ~ 1 + (1 | g)", data, family="binomial").fit()
    assert fit.status == "not identified"
    assert not fit.ok


ELSEWHERE = {
    "zero-inflated poisson": "glmmTMB or brms",
    "quasipoisson": "negative binomial 1",
    "multinomial": "ordinal",
    "bernouli": "'binomial' .also called 'bernoulli'.",
    "gama": "Did you mean 'gamma'",
}


@pytest.mark.parametrize("word", ELSEWHERE)
def test_families_of_other_packages_are_told_of(word):
    with pytest.raises(ranef.FitError, match=ELSEWHERE[word]):
        ranef.Model("y ~ 1 + (1 | g)", {"y": [0, 1], "g": [1, 2]}, family=word)


def test_reml_of_a_generalised_response_is_refused():
    model = ranef.Model.of(fitted("cbpp_laplace"))
    with pytest.raises(ranef.FitError, match="maximum likelihood"):
        model.fit("REML")
    assert model.fit("ML").engine == "Laplace"
