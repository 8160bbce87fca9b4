"""The unit of the weights, for all that is read from draws: one posterior, put into another unit by its definition.

With weights c·w the model is the same for σ√c and θ/√c; coefficients and random effects stay.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import ranef
import transformations as tr
from edges.made import made


def weighted() -> tr.Case:
    rng = np.random.default_rng(8)
    return tr.Case("y ~ x + (x | a) + (1 | b)", made(8).assign(w=np.exp(rng.uniform(-3, 3, 96))), {"weights": "w"})


@pytest.fixture(scope="module")
def plain():
    model = weighted().model()
    return model.fit(), model.sample(draws=200, chains=2, seed=1, sampler="nutpie", progress=False)


@pytest.fixture(scope="module", params=[1e-8, 1e4, 1e8])
def other(plain, request):
    unit, (_, fb) = request.param, plain
    case = weighted()
    model = ranef.Model(case.formula, case.data.assign(w=unit * case.data["w"]), weights="w")
    draws = dataclasses.replace(fb.draws, sigma=fb.draws.sigma * np.sqrt(unit), theta=fb.draws.theta / np.sqrt(unit))
    return model.fit(), dataclasses.replace(fb, spec=model.spec, draws=draws)


@pytest.mark.parametrize("name", ["r2", "icc", "shrinkage", "contrast", "rank"])
def test_derived(plain, other, name):
    arguments = {} if name in ("r2", "icc") else {"group": "a"}
    ours, theirs = (fb.derive(name, **arguments).draws for _, fb in (other, plain))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_predictions_and_residuals(plain, other):
    (_, ours), (_, theirs) = other, plain
    for options in ({"interval": "confidence"}, {"interval": "prediction"}):
        found = [fb.predict(seed=1, **options) for fb in (ours, theirs)]
        np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.residuals("pearson"), theirs.residuals("pearson"), rtol=1e-9)
    np.testing.assert_allclose(
        ours.simulate(5, re="fitted", seed=1), theirs.simulate(5, re="fitted", seed=1), rtol=1e-9
    )
    np.testing.assert_allclose(ours.r2(), theirs.r2(), rtol=1e-9)
    np.testing.assert_allclose(ours.icc()["adjusted"], theirs.icc()["adjusted"], rtol=1e-9)


@pytest.mark.filterwarnings("ignore::_ranef.errors.RanefWarning")  # Pareto k of few draws
def test_leave_one_out(plain, other):
    for options in ({}, {"kind": "group", "group": "b"}):
        ours, theirs = (fb.loo(**options) for _, fb in (other, plain))
        np.testing.assert_allclose(ours.elpd_i, theirs.elpd_i, rtol=1e-5, atol=1e-6)


def test_comparison(plain, other):
    ours, theirs = ranef.compare(*other), ranef.compare(*plain)
    np.testing.assert_allclose(*(c.shrinkage.select_dtypes("number") for c in (ours, theirs)), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(*(c.decomposition.select_dtypes("number") for c in (ours, theirs)), rtol=2e-5, atol=1e-9)
    agree = [c.agreement[c.agreement["term"] != "sigma"].select_dtypes("number") for c in (ours, theirs)]
    np.testing.assert_allclose(agree[0]["difference_in_sd"], agree[1]["difference_in_sd"], atol=2e-5)
    lines = [[row for row in str(c).splitlines() if not row.startswith(" Residual")] for c in (ours, theirs)]
    assert [row.split() for row in lines[0]] == [row.split() for row in lines[1]]


def test_pooling(plain, other):
    ours, theirs = ranef.pooling(*other), ranef.pooling(*plain)
    np.testing.assert_allclose(*(p.frame.select_dtypes("number") for p in (ours, theirs)), rtol=2e-5, atol=1e-6)
