"""The bootstrap: what is drawn, what comes of it, and what happens when it is stopped."""

import os
import signal
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from _ranef.inference.bootstrapping import _ends
from _ranef.inference.resampling import make_resampling
from _ranef.spec import covariance_arrays

SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")
PULP = ("bright ~ 1 + (1 | operator)", "pulp")


def fitted(formula, data, method="REML", **options):
    data = ranef.datasets.load(data) if isinstance(data, str) else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return ranef.Model(formula, data, **options).fit(method)


@pytest.fixture(scope="module")
def pulp():
    return fitted(*PULP)


@pytest.fixture(scope="module")
def sleep():
    return fitted(*SLEEP)


@pytest.mark.parametrize("kind", ["parametric", "residual"])
@pytest.mark.parametrize("re", ["new", "fitted"])
def test_replicates_are_refits_of_the_responses_drawn(pulp, kind, re):
    boot = pulp.bootstrap(6, kind=kind, re=re, seed=4)
    drawn = make_resampling(pulp.spec, pulp.estimates, kind, re)
    for k, seed in enumerate(np.random.SeedSequence(4).spawn(6)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ranef.RanefWarning)
            fit = pulp.refit(drawn.draw(seed))
        expected = [*fit.fixef, *fit.varcorr["sdcor"]]
        np.testing.assert_allclose(boot.replicates.iloc[k], expected, atol=1e-6)


@pytest.mark.parametrize("formula", [SLEEP[0], "Reaction ~ Days + (1 | Subject)"])
def test_what_the_residual_bootstrap_draws_from_has_the_estimated_variances(formula):
    fit = fitted(formula, "sleepstudy")
    drawn = make_resampling(fit.spec, fit.estimates, "residual", "new")
    (effects,) = drawn._effects
    (cov,) = covariance_arrays(fit.spec, fit.estimates.theta, np.asarray(fit.sigma))
    np.testing.assert_allclose(effects.T @ effects / len(effects), cov, rtol=1e-8)
    np.testing.assert_allclose(effects.mean(axis=0), 0.0, atol=1e-9)
    assert np.mean(drawn._errors) == pytest.approx(0.0, abs=1e-12)
    assert np.mean(drawn._errors**2) == pytest.approx(1.0)


def test_a_singular_covariance_is_drawn_as_it_is():
    fit = fitted("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    (effects,) = make_resampling(fit.spec, fit.estimates, "residual", "new")._effects
    np.testing.assert_array_equal(effects, 0.0)
    assert fit.bootstrap(20, kind="residual", seed=1).failed == 0


def test_cases_are_whole_levels(sleep):
    drawn = make_resampling(sleep.spec, sleep.estimates, "cases", "new").draw(np.random.SeedSequence(1))
    (g,) = drawn.groupings
    assert g.n_levels == 18
    (own,) = sleep.spec.groupings
    for j, label in enumerate(g.levels):
        whole = sleep.spec.design.y[own.codes == list(own.levels).index(label.rsplit(".", 1)[0])]
        np.testing.assert_array_equal(drawn.design.y[g.codes == j], whole)
    boot = sleep.bootstrap(100, kind="cases", seed=1)
    assert boot.frame["std_error"]["Days"] == pytest.approx(np.sqrt(sleep.vcov.loc["Days", "Days"]), rel=0.25)


def test_cases_of_nested_factors_hold_the_levels_within():
    fit = fitted("strength ~ 1 + (1 | batch/cask)", "pastes")
    spec = make_resampling(fit.spec, fit.estimates, "cases", "new").draw(np.random.SeedSequence(2))
    assert {g.name: g.n_levels for g in spec.groupings} == {g.name: g.n_levels for g in fit.spec.groupings}
    assert spec.n_obs == fit.spec.n_obs


def test_standard_errors_are_those_of_theory(sleep):
    frame = sleep.bootstrap(2000, seed=1).frame
    np.testing.assert_allclose(frame["std_error"][:2], np.sqrt(np.diag(sleep.vcov)), rtol=0.06)
    assert abs(frame["bias"]["Days"]) < 4 * frame["std_error"]["Days"] / np.sqrt(2000)


@pytest.mark.parametrize("statistic", [None, lambda fit: fit.r2()])
def test_the_same_for_a_seed_whatever_the_jobs(pulp, statistic):
    joblib = pytest.importorskip("joblib")
    one = pulp.bootstrap(60, statistic, seed=5).replicates
    two = pulp.bootstrap(60, statistic, seed=5, n_jobs=2).replicates
    with joblib.parallel_config("threading", n_jobs=3):
        three = pulp.bootstrap(60, statistic, seed=5).replicates
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    pd.testing.assert_frame_equal(one, three, check_exact=True)
    assert not one.equals(pulp.bootstrap(60, statistic, seed=6).replicates)


@pytest.mark.parametrize("asked", [list, pd.Series, np.array, lambda v: dict(zip("ab", v, strict=True))])
def test_any_statistic(pulp, asked):
    boot = pulp.bootstrap(5, lambda fit: asked([fit.sigma, fit.fixef["Intercept"]]), seed=1)
    np.testing.assert_allclose(boot.estimates, [pulp.sigma, pulp.fixef["Intercept"]])
    np.testing.assert_allclose(boot.replicates, pulp.bootstrap(5, seed=1).replicates[["sigma", "Intercept"]], atol=1e-6)


def test_structured_residuals_are_bootstrapped_by_fits():
    fit = fitted("score ~ Machine + (1 | Worker)", "Machines", variance=ranef.VarIdent("Machine"))
    boot = fit.bootstrap(4, seed=1)
    assert boot.replicates.columns.tolist()[-3:] == ["ratio(B)", "ratio(C)", "sigma"]
    assert boot.failed == 0
    np.testing.assert_allclose(boot.estimates["ratio(B)"], fit.residual_parameters["estimate"][1])


def test_intervals_of_known_replicates():
    """Of quantiles of an exponential distribution, whose ends can be written down."""
    values = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    lower, upper = -np.log([0.975, 0.025])
    assert _ends(values, 1.0, 0.95, "percentile", np.empty(0)) == pytest.approx((lower, upper), abs=1e-3)
    assert _ends(values, 1.0, 0.95, "basic", np.empty(0)) == pytest.approx((2 - upper, 2 - lower), abs=1e-3)
    assert _ends(values, 1.0, 0.95, "normal", np.empty(0)) == pytest.approx((1 - 1.96, 1 + 1.96), abs=1e-3)
    assert _ends(values, 1.0, 0.95, "shortest", np.empty(0)) == pytest.approx((0.0, -np.log(0.05)), abs=1e-3)


def test_bca_is_that_of_scipy():
    """The mean of a sample, where units are single and scipy has the interval."""
    rng = np.random.default_rng(1)
    sample = rng.exponential(size=40)
    theirs = scipy.stats.bootstrap((sample,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(2))
    jackknife = np.array([np.delete(sample, k).mean() for k in range(40)])
    ours = _ends(theirs.bootstrap_distribution, float(sample.mean()), 0.95, "bca", jackknife)
    np.testing.assert_allclose(ours, theirs.confidence_interval, rtol=2e-3)


def test_ends_keep_to_the_bounds_of_parameters(pulp):
    boot = pulp.bootstrap(300, seed=1)
    for interval in ("percentile", "basic", "normal", "bca", "shortest"):
        ends = boot.confint(0.99, interval)
        assert (ends.loc["sd(Intercept | operator)"] >= 0).all()
        assert (ends["lower"] < ends["upper"]).all()
    assert boot.jackknife.shape == (4, 3)
    with pytest.raises(ranef.DesignError, match="'percentile', 'basic', 'normal', 'bca' or 'shortest'"):
        boot.confint(interval="studentized")


def test_confint_by_bootstrap(pulp):
    ends = pulp.confint(method="bootstrap", n=100, seed=3, interval="basic")
    pd.testing.assert_frame_equal(ends, pulp.bootstrap(100, seed=3).confint(interval="basic"))


@pytest.mark.skipif("RANEF_DATA" not in os.environ, reason="its data may not be committed")
def test_eggs():
    """The notes: intervals that reach 0 for each sd, and near (0.06, 0.107) for σ, (0.31, 0.48) for the mean."""
    fit = fitted("Fat ~ 1 + (1 | Lab) + (1 | Lab:Technician) + (1 | Lab:Technician:Sample)", "eggs")
    ends = fit.confint(method="bootstrap", n=2000, seed=1)
    assert (ends.filter(like="sd(", axis=0)["lower"] < 1e-6).all()
    np.testing.assert_allclose(ends.loc["sigma"], [0.06, 0.107], atol=0.005)
    np.testing.assert_allclose(ends.loc["Intercept"], [0.31, 0.48], atol=0.02)


def test_failures_are_counted_and_shown(pulp):
    def often(fit):
        if fit.sigma < pulp.sigma and fit is not pulp:
            raise ranef.FitError("too small")
        return fit.sigma

    boot = pulp.bootstrap(40, often, seed=1)
    assert 0 < boot.failed < 40
    assert boot.replicates["statistic"].isna().sum() == boot.failed == boot.failures["FitError: too small"]
    assert f"{boot.failed} failed: FitError: too small" in repr(boot)


def test_an_interrupt_keeps_what_is_finished(pulp):
    calls = []

    def stopped(fit):
        calls.append(1)
        if len(calls) == 26:  # the first is of the fit itself, and tasks are of ten
            signal.raise_signal(signal.SIGINT)
        return fit.sigma

    with pytest.warns(ranef.RanefWarning, match="Interrupted: 20 of 100 replicates are finished"):
        boot = pulp.bootstrap(100, stopped, seed=1)
    assert boot.replicates["statistic"].notna().sum() == 20
    expected = pulp.bootstrap(20, lambda fit: fit.sigma, seed=1).replicates
    pd.testing.assert_frame_equal(boot.replicates[:20], expected)
    assert "20 replicates of 100 asked for" in repr(boot)


def test_an_interrupt_before_anything_is_finished_is_passed_on(pulp):
    def stopped(fit):
        if fit is not pulp:
            signal.raise_signal(signal.SIGINT)
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        pulp.bootstrap(10, stopped, seed=1)


def test_a_killed_worker_keeps_what_is_finished(pulp, tmp_path):
    pytest.importorskip("joblib")
    here, mark = os.getpid(), str(tmp_path / "count")

    def deadly(fit):
        if os.getpid() != here:
            with open(mark, "a") as f:
                f.write("x")
            if os.path.getsize(mark) > 150:
                time.sleep(1.0)  # what is finished arrives meanwhile
                os.kill(os.getpid(), signal.SIGKILL)
        return fit.sigma

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        boot = pulp.bootstrap(400, deadly, seed=1, n_jobs=2)
    assert any("A worker process was killed" in str(w.message) for w in told)
    done = boot.replicates["statistic"].notna()
    assert 0 < done.sum() < 400
    expected = pulp.bootstrap(400, seed=1).replicates["sigma"]
    np.testing.assert_allclose(boot.replicates["statistic"][done], expected[done], atol=1e-6)


CROSSED = ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")


@pytest.mark.parametrize(
    ("case", "call", "words"),
    [
        (PULP, {"kind": "wild"}, "kind='wild' must be 'parametric', 'residual' or 'cases'"),
        (PULP, {"re": "none"}, "re='none' must be 'new' or 'fitted'"),
        (PULP, {"kind": "cases", "re": "fitted"}, "cases are whole levels"),
        (CROSSED, {"kind": "cases"}, "sample and plate are crossed"),
        (PULP, {"statistic": lambda fit: "a"}, "The statistic returned str"),
        (PULP, {"statistic": "sigma"}, "statistic='sigma' must be a function of a fit"),
        (PULP, {"seed": "a"}, "seed='a' must be a whole number"),
        (PULP, {"n": 0}, "n=0 must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_asked_says_so(case, call, words):
    with pytest.raises(ranef.DesignError, match=words):
        fitted(*case).bootstrap(**{"n": 5} | call)


def test_a_thousand_with_intervals_take_two_seconds(sleep):
    start = time.process_time()
    sleep.bootstrap(1000, seed=1).confint(interval="bca")
    assert time.process_time() - start < 2.0
