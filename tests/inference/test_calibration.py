"""Intervals and exact tests over simulated small designs: how often they hold the truth, or reject it."""

import warnings

import numpy as np
import pytest
import scipy

import ranef

SIMS = 400


def simulated(rng, groups, sd, method="REML"):
    g = np.repeat(np.arange(groups), 5)
    x = rng.standard_normal(len(g))
    y = 1.0 + 0.5 * x + sd * rng.standard_normal(groups)[g] + rng.standard_normal(len(g))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return ranef.Model("y ~ x + (1 | g)", {"y": y, "x": x, "g": [f"g{k}" for k in g]}).fit(method)


def within(count, share):
    """Whether a binomial count is where all but one in ten thousand are."""
    low, high = scipy.stats.binom.ppf([5e-5, 1 - 5e-5], SIMS, share)
    return low <= count <= high


@pytest.mark.slow
@pytest.mark.parametrize("groups", [3, 10])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_exact_tests_keep_their_level(groups, method):
    rng = np.random.default_rng(groups)
    p = [ranef.exact_rlrt(simulated(rng, groups, 0.0, method), nsim=4000, seed=k).p_value for k in range(SIMS)]
    for level in (0.05, 0.2):
        assert within(int((np.array(p) < level).sum()), level)


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "least"), [(6, 0.91), (15, 0.93)])
def test_profiles_hold_the_truth(groups, least):
    """Coefficients by the ML deviance are short in few groups; all else is near the level, or above it at a bound."""
    rng = np.random.default_rng(groups)
    truth = {"x": 0.5, "sd(Intercept | g)": 0.7, "sigma": 1.0}
    inside = dict.fromkeys(truth, 0)
    for _ in range(SIMS):
        ends = simulated(rng, groups, 0.7).confint(method="profile")
        for name, value in truth.items():
            inside[name] += ends.loc[name, "lower"] <= value <= ends.loc[name, "upper"]
    assert min(inside.values()) / SIMS > least - 3 * np.sqrt(least * (1 - least) / SIMS)
    assert within(inside["sigma"], 0.95)
