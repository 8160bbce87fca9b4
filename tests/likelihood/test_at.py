"""The door to everything at θ, as users come to it."""

from __future__ import annotations

import pytest

import ranef


@pytest.fixture(scope="module")
def likelihood():
    return ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).likelihood("ML")


@pytest.mark.parametrize("theta", ["x", None, [1.0, 0.0], [1.0, 0.0, float("nan")], [[1.0, 0.0, 1.0]]])
def test_what_is_no_theta_is_refused_by_name(likelihood, theta):
    with pytest.raises(ranef.DesignError, match=r"must hold 3 finite numbers: Subject\.Intercept"):
        likelihood.at(theta)


@pytest.mark.parametrize("sigma", [-1.0, 0.0, float("nan"), "one"])
def test_what_is_no_sigma_is_refused(likelihood, sigma):
    with pytest.raises(ranef.DesignError, match="sigma"):
        likelihood.at([1.0, 0.0, 1.0], sigma)


def test_with_sigma_given_the_criterion_is_least_at_the_profiled_one(likelihood):
    theta = [0.9, 0.02, 0.2]
    profiled = likelihood.at(theta)
    assert likelihood.at(theta, profiled.sigma).criterion == pytest.approx(profiled.criterion, rel=1e-12)
    assert min(likelihood.at(theta, s * profiled.sigma).criterion for s in (0.99, 1.01)) > profiled.criterion


def test_attributes_that_are_not_there_are_answered(likelihood):
    with pytest.raises(AttributeError, match="Coefficients are"):
        _ = likelihood.at([1.0, 0.0, 1.0]).coefficients
