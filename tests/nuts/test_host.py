from __future__ import annotations

import signal

import numpy as np
import pytest

from _ranef.errors import FitError, RanefWarning
from _ranef.likelihood import HostDensity
from _ranef.nuts import numpyro_engine
from _ranef.posterior import problem


@pytest.mark.slow
def test_sampling_through_the_host_follows_the_same_path(make, monkeypatch):
    spec = make.spec(make.formulas["intercept only"])
    settings = {"priors": make.priors["default"](spec), "seed": 8, "chains": 1, "warmup": 0, "draws": 10}
    one = make.sample(spec, **settings)
    monkeypatch.setattr(numpyro_engine, "fits_in_jax", lambda shape: False)
    two = make.sample(spec, **settings)
    # the two densities differ in their last digits, which the trajectories magnify
    np.testing.assert_allclose(two.theta, one.theta, rtol=1e-5)
    np.testing.assert_allclose(two.sigma, one.sigma, rtol=1e-5)
    assert [x.shape for x in two.b] == [x.shape for x in one.b]


@pytest.mark.slow
def test_sampling_by_the_loops_from_numpyro_follows_the_same_path(make, monkeypatch):
    spec = make.spec(make.formulas["nested"])
    settings = {"priors": make.priors["default"](spec), "seed": 8, "chains": 1, "warmup": 0, "draws": 10}
    one = make.sample(spec, **settings)
    monkeypatch.setattr(problem, "MUCH_IN_JAX", 0)
    two = make.sample(spec, **settings)
    np.testing.assert_allclose(two.theta, one.theta, rtol=1e-5)
    np.testing.assert_allclose(two.sigma, one.sigma, rtol=1e-5)


@pytest.fixture
def pressed(monkeypatch):
    """Sample through the host, and press Ctrl-C within an evaluation; counts evaluations after that."""
    monkeypatch.setattr(numpyro_engine, "fits_in_jax", lambda shape: False)
    original, calls = HostDensity.evaluated, []

    def evaluate(self, *at):
        calls.append(at)
        if len(calls) == 400:
            signal.raise_signal(signal.SIGINT)
        return original(self, *at)

    monkeypatch.setattr(HostDensity, "evaluated", evaluate)
    return calls


@pytest.mark.slow
def test_an_interrupt_within_a_callback_ends_sampling(make, pressed):
    spec = make.spec(make.formulas["one"])
    with pytest.warns(RanefWarning, match="interrupted"):
        draws = make.sample(spec, make.priors["default"](spec), draws=1000, warmup=0, chains=1, seed=1)
    assert len(pressed) < 410  # those that follow are not computed
    assert not draws.complete
    assert 0 < draws.sigma.shape[1] < 1000
    assert np.isfinite(draws.sample_stats["lp"]).all()


@pytest.mark.slow
def test_a_handler_of_the_users_may_let_it_go_on(make, pressed):
    spec = make.spec(make.formulas["one"])
    called = []
    before = signal.signal(signal.SIGINT, lambda *_: called.append("once"))
    try:
        draws = make.sample(spec, make.priors["default"](spec), draws=400, warmup=0, chains=1, seed=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert called == ["once"]
    assert draws.complete
    undisturbed = make.sample(spec, make.priors["default"](spec), draws=400, warmup=0, chains=1, seed=1)
    np.testing.assert_array_equal(draws.sigma, undisturbed.sigma)


def test_a_density_that_is_not_finite_is_refused(make, monkeypatch):
    spec = make.spec(make.formulas["one"])
    monkeypatch.setattr(numpyro_engine, "fits_in_jax", lambda shape: False)
    monkeypatch.setattr(HostDensity, "evaluated", lambda self, flat, *at: (np.full(flat.size + 2, np.nan),))
    with pytest.raises(FitError, match="not finite"):
        make.sample(spec, make.priors["default"](spec), seed=1)
