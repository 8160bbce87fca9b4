"""Arguments that a function does not have are answered by a sentence: what to write instead."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.support.argument_remedies import ATTRIBUTES, OF_POSTERIORS, OWNERS, REMEDIES, Answering, helpful

PULP = ranef.datasets.load("pulp")
FORMULA = "bright ~ 1 + (1 | operator)"


@pytest.fixture(scope="module")
def model():
    return ranef.Model(FORMULA, PULP)


@pytest.fixture(scope="module")
def fit(model):
    return model.fit()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, f: m.fit(family="binomial"), r"Model\.fit\(\) has no argument family=\..*family='binomial'"),
        (lambda m, f: m.fit(REML=False), r"has no argument REML=\. Write fit\('ML'\)"),
        (lambda m, f: ranef.Model(FORMULA, PULP, REML=False), r"Write fit\('ML'\)"),
        (lambda m, f: ranef.Model(FORMULA, PULP, groups="operator"), r"as in 'y ~ x \+ \(x \| g\)'"),
        (lambda m, f: ranef.Model(FORMULA, PULP, weight="w"), r"Did you mean 'weights'\?"),
        (lambda m, f: ranef.Model(FORMULA, PULP, draws=10), r"It is one of Model\.sample\(\)"),
        (lambda m, f: m.fit(priors="flat"), r"It is one of Model\.sample\(\)"),
        (lambda m, f: m.sample(weights="w"), r"It is one of ranef\.Model\(\)"),
        (lambda m, f: m.sample(tune=100), r"Warm-up steps of each chain are warmup="),
        (lambda m, f: m.sample(random_seed=100), r"The seed is seed="),
        (lambda m, f: m.sample(cores=4), r"chain_method='parallel'"),
        (lambda m, f: m.sample(nonsense=4), r"It takes draws=, warmup=, .*progress="),
        (lambda m, f: m.prior_predictive(samples=4), r"draws="),
        (lambda m, f: f.predict(newdata=PULP), r"Fit\.predict\(\) has no argument newdata=\. .* data="),
        (lambda m, f: f.predict(PULP, **{"re.form": None}), r"re=: 'all', 'none'"),
        (lambda m, f: f.predict(allow_new_levels=True), r"new_levels=: 'population'"),
        (lambda m, f: f.predict(se_fit=True), r"interval='confidence'"),
        (lambda m, f: f.simulate(nsim=3), r"is n="),
        (lambda m, f: f.confint(parm="x"), r"Which parameters is parameters="),
        (lambda m, f: f.confint(alpha=0.1), r"level=0\.95"),
        (lambda m, f: f.ranef(condVar=True), r"column sd always"),
        (lambda m, f: f.residuals(type="pearson"), r"kind="),
        (lambda m, f: ranef.compare(f, f, names=["a", "b"]), r"compare\(\) has no argument names=\. Give a mapping"),
        (lambda m, f: ranef.pooling(f, term="Intercept"), r"has no argument term=\. It takes group=, level="),
        (lambda m, f: ranef.pooling(f).path(rows=3), r"Pooling\.path\(\) has no argument rows=\. Did you mean"),
        (lambda m, f: ranef.Control(tol=1e-3), r"Control\(\) has no argument tol=\. .*tolerance="),
        (lambda m, f: ranef.priors.HalfNormal(sd=3), r"HalfNormal\(\) has no argument sd=\. It takes scale="),
        (lambda m, f: f.plot.ranef(terms="x"), r"FitPlots\.ranef\(\) has no argument terms=\. Did you mean 'term'\?"),
        (lambda m, f: f.tidy(conf_level=0.9), r"level=0\.95"),
        (lambda m, f: f.predict(PULP, "all", "error", None, 0.9, 1, 2, 3, 4), r"predict\(\): too many positional"),
        (lambda m, f: ranef.datasets.load(), r"load\(\): missing a required argument: 'name'"),
        (lambda m, f: f.varcorr_se(0.9), r"varcorr_se\(\): too many positional arguments\. It takes none\."),
    ],
)  # fmt: skip
def test_what_to_write_instead(call, words, model, fit):
    with pytest.raises(ranef.ArgumentError, match=words):
        call(model, fit)


def test_it_is_a_type_error_too():
    """As Python's own, for code that looks for one."""
    with pytest.raises(TypeError):
        ranef.Model(FORMULA, PULP, families="poisson")
    assert issubclass(ranef.ArgumentError, ranef.RanefError)


def test_remedies_name_arguments_that_exist():
    """Each function said to have an argument does; no remedy is for an argument that one of them has."""
    callables = {
        "ranef.Model()": ranef.Model.__init__,
        "Model.fit()": ranef.Model.fit,
        "Model.sample()": ranef.Model.sample,
        "fit.predict()": ranef.EmpiricalBayesFit.predict,
    }
    for name, owner in OWNERS.items():
        assert name in inspect.signature(callables[owner]).parameters, name
    settings = {p for f in callables.values() for p in inspect.signature(f).parameters}
    assert set(REMEDIES) & settings == {"family", "link"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: f.confint("operator"), "level='operator' must be a number strictly between 0 and 1"),
        (lambda f: f.simulate("a"), "n='a' must be a whole number of at least 0"),
        (lambda f: f.simulate(2.0), "n=2.0 must be a whole number"),
        (lambda f: f.simulate(seed="a"), "seed='a' must be a whole number"),
        (lambda f: f.save(3), r"is text or a pathlib\.Path; got 3"),
        (lambda f: ranef.load(3), r"is text or a pathlib\.Path; got 3"),
        (lambda f: f.summary()[:3], r"No table is called slice.*Tables here: .*'Random effects'"),
        (lambda f: ranef.datasets.load(3), "A data set is named by text; got 3"),
    ],
)
def test_arguments_of_the_wrong_type_are_named(call, words, fit):
    with pytest.raises(ranef.DesignError, match=words):
        call(fit)


@pytest.mark.parametrize("formula", ["bright ~ 0 + (1 | operator)", "bright ~ 1 + (1 | batch)"])
def test_a_start_is_a_fit_of_the_same_parameters(formula, model):
    other = ranef.Model(formula, PULP.assign(batch=PULP.operator)).fit()
    with pytest.raises(ranef.FitError, match=r"init= is a fit of '.*', whose parameters are not those of 'bright ~ 1"):
        model.sample(10, init=other)


def test_type_errors_from_within_are_left_alone():
    """What a user's own function raises is theirs."""

    def broken(x):
        return x + "a" + 1

    @helpful
    def calls(function):
        return function("b")

    with pytest.raises(TypeError, match="concatenate") as caught:
        calls(broken)
    assert not isinstance(caught.value, ranef.ArgumentError)
    assert list(inspect.signature(ranef.Model.fit).parameters)[:2] == ["self", "method"]


@pytest.mark.parametrize("control", [{"optimizer": "bobyqa"}, "bobyqa", 3])
def test_control_is_an_object(model, control):
    with pytest.raises(ranef.FitError, match=r"control=.* must be .*ranef\.Control\(tolerance=1e-11"):
        model.fit(control=control)
    with pytest.raises(ranef.RanefError, match="must be positive"):
        ranef.Control(tolerance=-1)


def test_the_grid_that_emmeans_proposes():
    """The words of the error, as they stand."""
    data = pd.DataFrame({"y": np.arange(12.0), "f": list("abc") * 4, "g": list("uvwx") * 3})
    fit = ranef.Model("y ~ f + (1 | g)", data).fit()
    grid = pd.MultiIndex.from_product([["a", "b", "c"]], names=["f"]).to_frame(index=False)
    means = fit.predict(grid, re="none", interval="confidence")
    np.testing.assert_allclose(means["estimate"], data.groupby("f")["y"].mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, f: f.params, r"EmpiricalBayesFit has no attribute 'params'\. Coefficients are \.fixef"),
        (lambda m, f: f.VarCorr(), r"Variance components are \.varcorr"),
        (lambda m, f: f.residual, r"Did you mean 'residuals'\?"),
        (lambda m, f: f.plot.caterpillar(), r"It is plot\.ranef\(\)"),
        (lambda m, f: m.predict(), r"Model has no attribute 'predict'"),
    ],
)
def test_attributes_of_others_are_told(call, words, model, fit):
    with pytest.raises(AttributeError, match=words):
        call(model, fit)


def test_every_remedy_of_an_attribute_is_one():
    """What is said to be there is, and is not what was asked for."""
    known = {
        name for kind in (ranef.EmpiricalBayesFit, ranef.PosteriorFit) for name in (*dir(kind), *kind.__annotations__)
    }
    assert not set(ATTRIBUTES) & known
    for words in ATTRIBUTES.values():
        for name in re.findall(r"(?<![\w)])\.([a-z]\w*)", words):
            assert name in known | {"posterior"}, words


def test_what_posteriors_have_instead():
    """Every one is of fits by REML or ML alone, and what is named is there."""
    for name, words in OF_POSTERIORS.items():
        assert hasattr(ranef.EmpiricalBayesFit, name) or name in ranef.EmpiricalBayesFit.__annotations__
        assert not hasattr(ranef.PosteriorFit, name)
        for other in re.findall(r"(?<![\w)])\.([a-z]\w*)", words):
            assert hasattr(ranef.PosteriorFit, other) or other == "pareto_k", words


def test_a_property_that_fails_says_why_itself():
    class Broken(Answering):
        @property
        def broken(self):
            return [].nothing

    with pytest.raises(AttributeError, match="'list' object has no attribute 'nothing'"):
        _ = Broken().broken


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda fit: fit.plot.acf(lags="many"), "lags='many' must be"),
        (lambda fit: fit.equation(values=np.zeros(2)), "values=array([0., 0.]) must be"),
        (lambda fit: fit.bootstrap(10, kind=np.zeros(2)), "kind=array([0., 0.]) must be"),
        (lambda fit: fit.drop1(None), "scope=None must be"),
        (lambda fit: ranef.emmeans(fit, "Days", by=True), "by=True must be"),
        (lambda _: ranef.emmeans(None, "Days"), "fit=None must be"),
        (lambda _: ranef.ranova("Days"), "fit='Days' must be"),
        (lambda fit: ranef.exact_rlrt(fit, True), "group=True must be"),
        (lambda _: ranef.lm_list(None, {}), "formula=None must be"),
        (lambda _: ranef.families.Ordinal(levels=None), "levels=None must be"),
    ],
)
def test_values_of_a_wrong_type_are_told_by_annotations(call, told):
    fit = ranef.Model("Reaction ~ Days + (1 | Subject)", ranef.datasets.load("sleepstudy")).fit()
    with pytest.raises(ranef.RanefError) as error:
        call(fit)
    assert "must be" in str(error.value)
    assert told.split(" must")[0] in str(error.value)


def test_what_is_no_fit_and_no_frame_is_told():
    with pytest.raises(ranef.DesignError, match="takes fits, or one mapping of names to fits; got int"):
        ranef.anova({"small": 1})
    with pytest.raises(ranef.DesignError, match=r"one column without a name \(Series\)"):
        ranef.Model("y ~ x", pd.Series([1.0, 2.0]))


def test_errors_of_what_users_give_are_theirs():
    """A statistic that fails says so itself."""
    fit = ranef.Model("Reaction ~ Days + (1 | Subject)", ranef.datasets.load("sleepstudy")).fit()
    with pytest.raises(ZeroDivisionError):
        fit.bootstrap(3, seed=1, statistic=lambda _: 1 / 0)
