"""Sampling without JAX."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
from arviz_stats.base import array_stats

from _ranef.errors import FitError, RanefWarning
from _ranef.nuts import nutpie_run
from _ranef.posterior import problem
from _ranef.spec import default_priors, flat_priors
from ranef.priors import Cauchy, StudentT


def assert_one_posterior(one, two):
    """Means within five standard errors of both, quartiles alike."""
    quantities = [(np.log(d.sigma), np.tanh(d.theta), d.beta, *d.b) for d in (one, two)]
    for a, b in zip(*quantities, strict=True):
        a, b = (np.moveaxis(x.reshape(*x.shape[:2], -1), 2, 0) for x in (a, b))
        for x, y in zip(a[:12], b[:12], strict=True):
            errors = [v.std() ** 2 / array_stats.ess(v, chain_axis=0, draw_axis=1, method="mean") for v in (x, y)]
            assert abs(x.mean() - y.mean()) < 5.0 * np.sqrt(sum(errors))
            spreads = [np.subtract(*np.quantile(v, [0.75, 0.25])) for v in (x, y)]
            assert spreads[0] == pytest.approx(spreads[1], rel=0.3)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        pytest.param("one", "flat", marks=SLOW),
        pytest.param("three", "default", marks=SLOW),
        pytest.param("nested", "sampled", marks=SLOW),
        pytest.param("crossed slopes", "default", marks=SLOW),
        pytest.param("one", "default", marks=SLOW),
        pytest.param("one", "sampled", marks=SLOW),
        pytest.param("nested", "default", marks=SLOW),
        pytest.param("nested", "flat", marks=SLOW),
        pytest.param("no fixed", "default", marks=SLOW),
    ],
)
def test_nutpie_and_numpyro_draw_from_one_posterior(name, prior, make):
    """Means and standard deviations of σ and θ, within the error of both."""
    spec = make.spec(make.formulas[name], weights="w", offset="o")
    changes = {"x": StudentT(3.0, 0.0, 0.2), "Intercept": Cauchy(9.0, 1.0)} if prior == "sampled" else None
    priors = flat_priors(spec) if prior == "flat" else default_priors(spec, changes)
    one = make.sample(spec, priors, seed=1, sampler="nutpie", draws=2000)
    two = make.sample(spec, priors, seed=2)
    assert one.sampler == "nutpie"
    assert set(one.sample_stats) == set(two.sample_stats)
    assert_one_posterior(one, two)


def test_the_same_seed_gives_the_same_draws(make):
    spec = make.spec(make.formulas["three"])
    one, two, other = (
        make.sample(spec, default_priors(spec), draws=100, seed=seed, sampler="nutpie") for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one.theta, two.theta)
    np.testing.assert_array_equal(one.b[0], two.b[0])
    assert not np.array_equal(one.theta, other.theta)
    assert one.sigma.shape == (4, 100)


@pytest.mark.slow
def test_large_crossed_designs_go_through_the_numpy_kernels(make, monkeypatch):
    spec = make.spec(make.formulas["crossed"])
    settings = {"priors": default_priors(spec), "sampler": "nutpie"}
    one = make.sample(spec, seed=3, **settings)
    monkeypatch.setattr(problem, "MAX_TAIL", -1)
    two = make.sample(spec, seed=4, warmup=100, draws=250, **settings)
    assert_one_posterior(one, two)


def test_an_interrupt_keeps_what_was_drawn(make, monkeypatch):
    spec = make.spec(make.formulas["crossed"])
    monkeypatch.setattr(problem, "MAX_TAIL", -1)

    def interrupted(running):
        try:
            running.wait(timeout=6.0)
        except TimeoutError:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(nutpie_run, "_wait", interrupted)
    with pytest.warns(RanefWarning, match="interrupted"):
        draws = make.sample(spec, default_priors(spec), seed=3, sampler="nutpie", draws=1_000_000, warmup=20)
    assert not draws.complete
    assert 0 < draws.sigma.shape[1] < 1_000_000
    assert draws.beta.shape[:2] == draws.sigma.shape


def test_without_jax():
    script = """
    import sys, nutpie, ranef
    nutpie_itself = set(sys.modules)  # later ones load jax through arviz
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    fit = model.sample(seed=1, progress=False, sampler="nutpie")
    print(fit.summary())
    print({"jax", "numpyro"} & (set(sys.modules) - nutpie_itself))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert "by nutpie" in done.stdout


def test_a_missing_package_is_named(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "nutpie", None)
    spec = make.spec(make.formulas["one"])
    with pytest.raises(FitError, match=r"pip install 'ranef\[nutpie\]'"):
        make.sample(spec, default_priors(spec), sampler="nutpie")


def test_what_nutpie_asks_of_arviz_is_loaded_then(monkeypatch):
    monkeypatch.delitem(sys.modules, "arviz", raising=False)
    with nutpie_run._arviz_later():
        own = import_module("arviz")
        assert isinstance(own.InferenceData, type)
    assert "arviz" not in sys.modules
    there = ModuleType("arviz")
    there.from_dict = lambda: "draws"
    monkeypatch.setitem(sys.modules, "arviz", there)
    assert own.from_dict() == "draws"
    with nutpie_run._arviz_later():
        assert import_module("arviz") is there
