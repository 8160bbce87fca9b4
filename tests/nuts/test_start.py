"""Where chains begin, when priors and data pull apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from _ranef.posterior.modes import laplace
from _ranef.posterior.start import start_vector
from _ranef.reml import fit_reml
from _ranef.spec import default_priors
from ranef.priors import Exponential, Gamma, HalfCauchy, HalfNormal


def data_of(seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": np.repeat(np.arange(6), 5).astype(str), "x": rng.normal(size=30)})
    return frame.assign(y=1 + frame.x + np.repeat(rng.normal(size=6), 5) + rng.normal(size=30))


@pytest.mark.parametrize("seed", [0, 3, 4])
@pytest.mark.parametrize("scale", [1e-6, 1e-5, 1e-3, 1e6])
def test_the_mode_is_found_under_priors_far_narrower_or_wider_than_the_data(seed, scale, make):
    spec = make.spec("y ~ x + (1 | g)", data_of(seed))
    for prior in (HalfNormal(scale), HalfCauchy(scale), Exponential(1 / scale), Gamma(2.0, 1 / scale)):
        problem = make.problem(spec, default_priors(spec, {"sd": prior}))
        at = laplace(problem.gradient, start_vector(problem, fit_reml(spec)))
        assert np.abs(problem.gradient(at.centre)[1]).max() < 0.1
        assert 0.3 < np.exp(at.centre[1]) < 3.0  # σ
        assert np.exp(at.centre[0]) < 30 * min(scale, 1.0)


def test_a_narrow_prior_is_followed(make):
    """The data say next to nothing of an sd of 1e-5, so its posterior is its prior."""
    spec = make.spec("y ~ x + (1 | g)", data_of(0))
    draws = make.sample(spec, default_priors(spec, {"sd": HalfNormal(1e-5)}), seed=1, sampler="nutpie")
    assert np.median(draws.theta[..., 0] * draws.sigma) == pytest.approx(0.6745e-5, rel=0.15)
    assert draws.sample_stats["diverging"].mean() < 0.01
