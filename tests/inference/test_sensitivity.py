from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base import array_stats

import ranef
from _ranef.inference import sensitivity


@pytest.mark.parametrize(
    ("name", "formula"), [("pulp", "bright ~ 1 + (1 | operator)"), ("sleepstudy", "Reaction ~ Days + (Days | Subject)")]
)
def test_power_scaling_is_that_of_arviz(name, formula):
    """But for the smoothing of the weights' tails, which a power of 0.99 hardly has."""
    fb = ranef.Model(formula, ranef.datasets.load(name)).sample(seed=3, sampler="direct")
    found = fb.prior_sensitivity()
    logs = sensitivity._log_priors(fb.spec, fb.draws)
    low, high = (np.exp(array_stats.power_scale_lw(logs, alpha=a, axis=(0, 1))) for a in sensitivity.POWERS)
    theirs = array_stats.power_scale_sense(fb.draws.sigma, low, high, *sensitivity.POWERS, chain_axis=0, draw_axis=1)
    assert found.loc["sigma", "prior"] == pytest.approx(float(theirs), rel=0.02)
