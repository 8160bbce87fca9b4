"""The benchmark that calibrates the posterior by simulation, run as a test."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ranef
from ranef.priors import HalfNormal

FILE = Path(__file__).parents[2] / "benchmarks" / "calibration.py"

#: arguments of `sample` by which samplers are chosen
SAMPLERS = [pytest.param({"sampler": s}, id=s) for s in ("numpyro", "nutpie")]

#: chance that any of the p values of all studies and samplers is too small by luck
FAMILY_WISE = 1e-3


@pytest.fixture(scope="module")
def calibration():
    name = "benchmark_calibration"
    found = importlib.util.spec_from_file_location(name, FILE)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    yield module
    del sys.modules[name]


def test_ranks_of_a_biased_or_overconfident_sampler_are_found_not_uniform(calibration):
    """The power of the test at 200 simulations: shifts of half a posterior sd, intervals too short by a third."""
    rng = np.random.default_rng(1)
    truth, draws = rng.normal(size=(200, 1)), rng.normal(size=(200, calibration.RANKED))
    ranks = {"fair": draws, "shifted": draws + 0.5, "too narrow": 0.67 * draws}
    p_values = calibration.uniformity(pd.DataFrame({n: (d < truth).sum(axis=1) for n, d in ranks.items()}))
    assert p_values.loc["fair"].min() > 0.01
    assert (p_values.min(axis=1)[["shifted", "too narrow"]] < 1e-4).all()


def cdf_of(prior):
    if isinstance(prior, HalfNormal):
        return stats.halfnorm(scale=prior.scale).cdf
    return lambda x: 2.0 * stats.t.cdf(x, prior.df, scale=prior.scale) - 1.0


@pytest.mark.parametrize("study", ["random intercept", "correlated slope", "crossed", "strata", "autoregression"])
def test_truths_are_drawn_from_the_priors(study, calibration):
    case = calibration.STUDIES[study]
    frame, rng = case.columns(), np.random.default_rng(2)
    model = case.model(frame, rng.normal(size=len(frame)))
    priors = model.priors(case.priors)
    truths = pd.DataFrame([calibration.draw_truth(model, priors, rng)[0] for _ in range(2000)])
    mean_response = truths["Intercept"] + (truths["x"] * frame["x"].mean() if "x" in truths else 0.0)
    prior = priors.fixef["Intercept"]
    assert abs(mean_response.mean() - prior.loc) < 4.5 * prior.scale / np.sqrt(2000)
    assert mean_response.std() == pytest.approx(prior.scale, rel=4.5 / np.sqrt(2 * 2000))
    for (group, column), scale in priors.sd.items():
        assert stats.kstest(truths[f"sd({column} | {group})"], cdf_of(scale)).pvalue > 1e-4
    if study == "autoregression":
        assert stats.kstest(np.tanh(truths["Phi"]), stats.uniform(-1.0, 2.0).cdf).pvalue > 1e-4
    if study == "strata":  # log sds are exchangeable with variance one, and σ is that of the first
        ratios = truths[[name for name in truths if name.startswith("log ratio")]]
        np.testing.assert_allclose(ratios.cov(), np.ones((2, 2)) + np.eye(2), atol=0.3)
        mean = np.log(truths["sigma"]) + ratios.to_numpy() @ np.bincount(pd.factorize(frame["s"])[0])[1:] / len(frame)
        assert stats.kstest(np.exp(mean), cdf_of(priors.sigma)).pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_ranks_of_true_values_are_uniform(sampler, calibration, tmp_path):
    """200 simulations of every study, with residual strata and autoregression; the figure is drawn."""
    ranks = {name: calibration.calibrate(name, 200, sampler) for name in calibration.STUDIES}
    p_values = pd.concat({name: calibration.uniformity(r) for name, r in ranks.items()})
    assert p_values.min(axis=None) > FAMILY_WISE / (p_values.size * len(SAMPLERS)), p_values
    calibration.draw_ranks(ranks, tmp_path / "sbc.png")
    assert (tmp_path / "sbc.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "sims"), [("direct", 100), ("nutpie", 40), ("marginal", 40)])
def test_ranks_of_generalised_responses_are_uniform(sampler, sims, calibration):
    """Binomial and Poisson intercepts, two minutes of a core each; all three fail by luck once in a thousand runs."""
    asked = calibration.LINKED_SAMPLERS[sampler]
    ranks = {name: calibration.calibrate(name, sims, asked) for name in calibration.LINKED}
    p_values = pd.concat({name: calibration.uniformity(r) for name, r in ranks.items()})
    assert p_values.min(axis=None) > FAMILY_WISE / (p_values.size * 3), p_values


def test_kass_and_steffey_add_to_hendersons_variance_and_henderson_to_the_conditional_one(calibration):
    """And modes by dense algebra at θ̂ are those of the fit."""
    data, _ = calibration.simulate(calibration.DESIGNS["slopes"], 10, np.random.default_rng(3))
    model = ranef.Model("y ~ x + (x | g)", data)
    eb = model.fit()
    np.testing.assert_allclose(calibration.modes_at(model, eb.estimates.theta), eb.ranef()["estimate"], atol=1e-8)
    widths = {name: high - low for name, (low, high) in calibration.eb_intervals(model, eb).items()}
    assert (widths["conditional"] < widths["henderson"]).all()
    assert (widths["henderson"] < widths["corrected"]).all()
