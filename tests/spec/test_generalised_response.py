"""Families of responses: densities by scipy.stats, derivatives by differences, means and draws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from _ranef.spec import GENERALISED, Rows, Space
from generalised import INVERSES, OWN, density, family_of, predictors, responses

EVERY = [(word, link) for word, kind in GENERALISED.items() for link in kind.links]


def case(word, link, n=60):
    rng = np.random.default_rng(3)
    family = family_of(word, link)
    return family, responses(word, rng, n), predictors(family, rng, n), {name: OWN[name] for name in family.dispersions}


def whole(family, rows, eta, own):
    return family.slopes(eta, rows, own).value + family.constant(rows, own)


def near(exact, high, low, h):
    numeric = (high - low) / (2 * h)
    assert np.abs(exact - numeric).max() < 1e-6 * max(1.0, np.abs(numeric).max())


@pytest.mark.parametrize(("word", "link"), EVERY)
def test_densities_are_those_of_scipy(word, link):
    family, rows, eta, own = case(word, link)
    truth = density(word, link, rows, eta, own)
    tolerance = 1e-6 if word == "ordinal" else 1e-9  # by its definition a small share is a difference of large ones
    assert np.allclose(whole(family, rows, eta, own), truth, rtol=tolerance, atol=tolerance)
    space = Space(np, scipy.special)
    assert np.allclose(family.log_density(eta, rows.y, rows.weights, own, space), truth, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("word", "link"), EVERY)
def test_derivatives_are_those_of_differences(word, link):
    family, rows, eta, own = case(word, link)
    at, h = family.slopes(eta, rows, own), 1e-5
    high, low = (family.slopes(eta + side * h, rows, own) for side in (1.0, -1.0))
    near(at.first, high.value, low.value, h)
    near(-at.curvature, high.first, low.first, h)
    near(-at.third, high.curvature, low.curvature, h)
    for name, exact in zip(family.dispersions, family.in_dispersions(eta, rows, own), strict=True):
        ends = [own | {name: own[name] * np.exp(side * h)} for side in (1.0, -1.0)]
        near(exact.value, *(whole(family, rows, eta, end) for end in ends), h)
        high, low = (family.slopes(eta, rows, end) for end in ends)
        near(exact.first, high.first, low.first, h)
        near(exact.curvature, high.curvature, low.curvature, h)


#: what deviances are not divided by
SCALES = {"gamma": 0.4, "inverse gaussian": 0.4, "gaussian": 1.3**2}


@pytest.mark.parametrize(("word", "link"), EVERY)
def test_links_and_deviances(word, link):
    family, rows, eta, own = case(word, link)
    means = [family.mean(eta), family.mean(0.9 * eta)]
    assert np.allclose(family.linked(means[0]), eta, rtol=1e-8, atol=1e-8)
    assert word == "ordinal" or np.allclose(means[0], INVERSES[link](eta))
    parts = [family.deviances(rows, mean, own) for mean in means]
    first, other = (density(word, link, rows, e, own) for e in (eta, 0.9 * eta))
    assert (parts[0] >= 0).all()
    assert np.allclose(parts[0] - parts[1], -2.0 * SCALES.get(word, 1.0) * (first - other), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("word", GENERALISED)
def test_draws_have_the_moments_of_the_family(word):
    family = family_of(word)
    own = {name: OWN[name] for name in family.dispersions}
    eta = np.full(200_000, 0.4)
    weights = np.full(len(eta), 3.0 if word == "binomial" else 1.0)
    y = family.draw(np.random.default_rng(1), family.mean(eta), weights, own)
    variance = family.spread(eta, weights, own)[0]
    assert abs(y.mean() - family.expected(eta, own)[0]) < 5 * np.sqrt(variance / len(y))
    assert y.var() == pytest.approx(variance, rel=0.1 if word == "t" else 0.03)
    family.refuse(y[:100], "y", str)


@pytest.mark.parametrize(("word", "link"), [e for e in EVERY if e[1] in ("identity", "inverse", "1/mu^2")])
def test_where_there_is_no_mean_there_is_no_density(word, link):
    family, rows, _, own = case(word, link, 4)
    if family.lower < 0:
        pytest.skip("any mean will do")
    at = family.slopes(np.full(4, -1.0), Rows(rows.y, rows.weights), own)
    assert (at.value == -np.inf).all()
    assert not at.first.any()
    assert not at.third.any()
