"""Exact tests of a variance against RLRsim's, and against refits of simulated responses."""

import json
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import ranef
import registry
from registry import CASES, model, reference

TESTED = [case for case in CASES if "p" in (reference(case).get("exactRLRT") or {})]
PULP = ("bright ~ 1 + (1 | operator)", "pulp")


def fitted(formula, name, method="REML"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return ranef.Model(formula, ranef.datasets.load(name)).fit(method)


def same(test, ref, statistic=1e-5):
    """p within four standard errors of the difference of two simulations."""
    assert test.statistic == pytest.approx(ref["statistic"], abs=statistic)
    if ref["statistic"] > 1e-8:  # RLRsim compares rounding errors at zero
        p = max(ref["p"], test.p_value, 1e-5)
        assert abs(test.p_value - ref["p"]) < 4 * np.sqrt(2 * p * (1 - p) / 1e5)
    else:
        assert test.p_value == 1.0


@pytest.mark.parametrize("case", TESTED)
def test_it_is_rlrsims(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        same(ranef.exact_rlrt(model(case).fit(), seed=1), reference(case)["exactRLRT"])


def compared(name):
    for folder in (registry.FOLDER, registry.LOCAL):
        if folder is not None and (Path(folder) / f"{name}.json").is_file():
            return json.loads((Path(folder) / f"{name}.json").read_text())
    pytest.skip("its data may not be committed")


@pytest.mark.parametrize("name", ["cmp_pulp", "cmp_sleep", "cmp_soybean"])
def test_the_exact_lrt_is_rlrsims(name):
    ref = compared(name)
    (test,) = [t for t in ref["tests"] if "exactLRT" in t]
    fit = fitted(ref["models"][test["large"]], ref["dataset"], "ML")
    same(ranef.exact_rlrt(fit, seed=1), test["exactLRT"])


@pytest.mark.parametrize(
    ("name", "choice"),
    [("cmp_sleep_slope", {"term": "Days"}), ("cmp_eggs", {"group": "Lab:Technician:Sample"})],
)
def test_one_variance_among_several_is_rlrsims(name, choice):
    ref = compared(name)
    (test,) = [t for t in ref["tests"] if "exactRLRT_m_mA_m0" in t]
    fit = fitted(ref["models"][test["large"]], ref["dataset"])
    same(ranef.exact_rlrt(fit, seed=1, **choice), test["exactRLRT_m_mA_m0"])


@pytest.mark.parametrize(("method", "fixed"), [("REML", ()), ("ML", ()), ("ML", "x")])
def test_simulated_ratios_are_those_of_refits(method, fixed):
    """Responses simulated under the null hypothesis, in an unbalanced design with a covariate."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(6), [2, 3, 3, 4, 5, 7])
    x, n = rng.normal(size=len(g)), len(g)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        fit = ranef.Model("y ~ x + (1 | g)", {"y": rng.normal(size=n), "x": x, "g": g.astype(str)}).fit(method)
        Y = rng.normal(size=(n, 4000))
        larger = fit.refit(Y).criterion
    X = np.column_stack([np.ones(n), x])
    null = X[:, :1] if fixed else X

    def criterion(X, Y):
        q, r = np.linalg.qr(X)
        rss = ((Y - q @ (q.T @ Y)) ** 2).sum(axis=0)
        nu = n - X.shape[1] * (method == "REML")
        log_det = 2 * np.log(np.abs(np.diag(r))).sum() if method == "REML" else 0.0
        return nu * (1 + np.log(2 * np.pi * rss / nu)) + log_det

    ratios = np.maximum(criterion(null, Y) - larger, 0.0)
    test = ranef.exact_rlrt(fit, fixed=fixed, seed=2)
    levels = np.array([0.3, 0.2, 0.1, 0.05])
    for share, cut in zip(levels, np.quantile(test.simulated, 1 - levels), strict=True):
        assert np.mean(ratios > cut) == pytest.approx(share, abs=4 * np.sqrt(share / 4000))
    if not fixed:
        assert test.share_of_zeros == pytest.approx(np.mean(ratios < 1e-8), abs=0.04)


def test_a_statistic_of_zero_has_p_one():
    test = ranef.exact_rlrt(fitted("Yield ~ 1 + (1 | Batch)", "Dyestuff2"), nsim=1000, seed=1)
    assert (test.statistic, test.p_value) == (0.0, 1.0)
    assert "p = 1 " in repr(test)


def test_a_seed_is_a_result():
    fit = fitted(*PULP)
    assert ranef.exact_rlrt(fit, seed=3).p_value == ranef.exact_rlrt(fit, seed=3).p_value


def test_units_and_weights_do_not_matter():
    data = ranef.datasets.load("pulp")
    p = ranef.exact_rlrt(fitted(*PULP), seed=1).p_value
    other = ranef.Model(PULP[0], data.assign(bright=1e6 + 1e3 * data["bright"], w=4.0), weights="w").fit()
    assert ranef.exact_rlrt(other, seed=1).p_value == p


@pytest.mark.parametrize(
    ("formula", "data", "choice", "words"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {}, "has 3 variance parameters"),
        ("Reaction ~ Days + (Days || Subject)", "sleepstudy", {}, r"Choose by group= and term= one of: Intercept of"),
        ("bright ~ 1 + (1 | operator)", "pulp", {"group": "op"}, "There is no grouping factor 'op'"),
        ("bright ~ 1 + (1 | operator)", "pulp", {"fixed": "Intercept"}, r"by model\.fit\('ML'\)"),
    ],
)
def test_what_it_cannot_test_says_so(formula, data, choice, words):
    with pytest.raises(ranef.RanefError, match=words):
        ranef.exact_rlrt(fitted(formula, data), nsim=10, **choice)


def test_a_hundred_thousand_take_a_second():
    fit = fitted("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    start = time.process_time()
    ranef.exact_rlrt(fit, seed=1)
    assert time.process_time() - start < 1.0
