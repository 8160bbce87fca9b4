"""Modes of the posterior: found from several starts, weighed, and noticed where the draws miss one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ranef
from _ranef.posterior.modes import doubts, find_modes, modes_of
from _ranef.posterior.problem import hyper_draws, prepare
from ranef.priors import HalfStudentT

#: weights, means and sds of two normals in two dimensions
SHARES, MEANS, SDS = np.array([0.7, 0.3]), np.array([[0.0, 0.0], [8.0, -6.0]]), np.array([[1.0, 0.5], [0.4, 2.0]])


def mixture(q):
    """Value and gradient of the log density."""
    logs = np.log(SHARES) + stats.norm.logpdf(q, MEANS, SDS).sum(axis=1)
    total = np.logaddexp.reduce(logs)
    return float(total), np.exp(logs - total) @ ((MEANS - q) / SDS**2)


def drawn(which, rng, n=1000):
    """Draws (4, n, 2) from the normals `which` of every chain."""
    return np.stack([MEANS[k] + SDS[k] * rng.standard_normal((n, 2)) for k in which])


def whitened(modes, draws):
    return (draws - modes.best.centre) @ np.linalg.inv(modes.best.root).T


def test_two_modes_are_found_and_weighed():
    modes = find_modes(mixture, [np.array([0.5, 0.5]), np.array([7.0, -5.0]), np.array([0.4, 0.6])], seed=1)
    assert len(modes.at) == 2
    np.testing.assert_allclose(modes.shares, SHARES, atol=0.05)  # the weights' own error is 0.02
    np.testing.assert_allclose(modes.best.centre, MEANS[0], atol=1e-3)
    starts = modes.starts(4, np.random.default_rng(1))
    at = modes.best.centre + starts @ modes.best.root.T
    assert [int(np.argmin(((x - MEANS) ** 2).sum(axis=1))) for x in at] == [0, 1, 0, 1]


def test_draws_of_one_mode_alone_are_doubted_and_those_of_both_are_not():
    rng = np.random.default_rng(2)
    modes = find_modes(mixture, [np.zeros(2), np.array([8.0, -6.0])], seed=1)
    (sentence,) = doubts(modes, whitened(modes, drawn([1, 1, 1, 1], rng)))
    assert "2 modes" in sentence
    mixed = np.where(rng.uniform(size=(4, 1000, 1)) < SHARES[0], drawn([0] * 4, rng), drawn([1] * 4, rng))
    assert doubts(modes, whitened(modes, mixed)) == ()


def test_draws_that_miss_what_one_mode_shows_are_doubted():
    rng = np.random.default_rng(3)
    modes = find_modes(mixture, [np.zeros(2)], seed=1)
    assert len(modes.at) == 1
    assert doubts(modes, rng.standard_normal((4, 500, 2))) == ()
    assert doubts(modes, rng.standard_normal((4, 500, 2)) + np.array([1.0, 0.0]))  # means are a standard deviation off
    assert doubts(modes, 0.05 * rng.standard_normal((4, 500, 2)))  # most of it is beyond all draws


def years():
    rng = np.random.default_rng(1)
    g, yr = np.repeat(np.arange(20), 11), np.tile(np.arange(2000, 2011), 20)
    y = 50 + 1.5 * (yr - 2005) + rng.normal(0, 5, 20)[g] + rng.normal(0, 1.2, 20)[g] * (yr - 2005)
    return pd.DataFrame({"y": y + rng.normal(0, 3, 220), "yr": yr, "g": g.astype(str)})


#: a scale of s / rms of a year: the prior of the slopes is a thousand times too narrow, with heavy tails
NARROW = {"sd[g, Intercept]": HalfStudentT(3, 7.4), "sd[g, yr]": HalfStudentT(3, 7.4 / 2005)}


@pytest.mark.parametrize("sampler", ["nutpie", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_the_mass_is_found_where_the_prior_and_the_data_disagree(sampler):
    """By weights of importance slopes vary in nearly all of this posterior; chains begun at the prior stay there."""
    model = ranef.Model("y ~ yr + (yr | g)", years())
    fb = model.sample(seed=1, priors=NARROW, sampler=sampler, progress=False)
    problem = prepare(model.spec, model.products, model.priors(NARROW))
    modes = modes_of(problem, model.fit().estimates, 7)
    at = hyper_draws(problem, modes.points)
    sd = np.hypot(at.theta[:, 1], at.theta[:, 2]) * at.sigma
    weighted = modes.weights @ sd
    error = np.sqrt(modes.weights**2 @ (sd - weighted) ** 2)
    assert weighted > 0.5
    assert fb.varcorr["sdcor"][1] == pytest.approx(weighted, abs=5 * error)


@pytest.mark.parametrize("yr", [0.0, 30.0, 2005.0])
def test_the_default_posterior_does_not_know_the_origin_of_a_covariate(yr):
    data = years()
    plain, other = (
        ranef.Model("y ~ yr + (yr | g)", data.assign(yr=data["yr"] - at)).sample(
            seed=seed, sampler="nutpie", progress=False
        )
        for at, seed in ((2005.0, 1), (yr, 2))
    )
    for fb in (plain, other):
        assert fb.ok
    for what in ("sd(yr | g)", "sigma"):
        a, b = (f.confint().loc[what].to_numpy() for f in (plain, other))
        np.testing.assert_allclose(a, b, rtol=0.06)  # ends of intervals of 4000 draws
    assert other.varcorr["sdcor"][1] == pytest.approx(1.34, abs=0.25)  # near the REML estimate


def test_flat_priors_need_levels():
    data = {"y": np.random.default_rng(1).normal(size=12), "g": np.repeat(list("abc"), 4)}
    assert ranef.Model("y ~ 1 + (1 | g)", data).sample(
        draws=50, seed=1, priors="flat", sampler="nutpie", progress=False
    )
    two = {"y": data["y"][:8], "g": data["g"][:8]}
    with pytest.raises(ranef.FitError, match="improper"):
        ranef.Model("y ~ 1 + (1 | g)", two).sample(priors="flat")
