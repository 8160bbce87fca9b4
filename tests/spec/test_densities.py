"""Densities of priors are proper, and those of the draws."""

import numpy as np
import pytest
import scipy

from _ranef.spec import Flat, correlation_density, scale_density
from _ranef.spec.prior_families import Custom
from ranef.priors import LKJ, Exponential, Gamma, HalfCauchy, HalfNormal, HalfStudentT

PROPER = [HalfStudentT(3, 2.0), HalfNormal(0.7), HalfCauchy(1.5), Exponential(0.4), Gamma(2.0, 3.0)]


@pytest.mark.parametrize("prior", PROPER, ids=str)
def test_density_is_that_of_the_draws(prior):
    draws = prior.sample(np.random.default_rng(1), (200_000,))
    for top in (0.5, 2.0, 5.0):
        x = np.linspace(0.0, top, 20_001)
        mass = scipy.integrate.simpson(scale_density(prior, x), x=x)
        assert mass == pytest.approx((draws < top).mean(), abs=0.005)  # Monte Carlo: sd 0.0011


def test_nothing_below_zero_and_nothing_improper():
    assert scale_density(HalfNormal(1.0), np.array([-0.1]))[0] == 0.0
    assert scale_density(Flat(), np.ones(2)) is None


def test_a_distribution_of_numpyro():
    dist = pytest.importorskip("numpyro.distributions")
    x = np.array([-1.0, 0.5, 2.0])
    expected = np.where(x > 0, scipy.stats.lognorm.pdf(x, 0.8), 0.0)
    # numpyro's single precision, where the session has not asked for double
    np.testing.assert_allclose(scale_density(Custom(dist.LogNormal(0.0, 0.8)), x), expected, rtol=1e-5)


def test_a_distribution_that_reaches_below_zero_is_cut_off_there():
    dist = pytest.importorskip("numpyro.distributions")
    x = np.array([-1.0, 0.5, 2.0])
    for own, expected in (
        (dist.Laplace(0.0, 1.0), np.exp(-x)),
        (dist.Normal(1.0, 2.0), scipy.stats.truncnorm.pdf(x, -0.5, np.inf, 1.0, 2.0)),
        (dist.Uniform(-1.0, 3.0), np.full(3, 1 / 3)),
        (_WithoutDistributionFunction(dist.Laplace(0.0, 1.0)), np.exp(-x)),
    ):
        np.testing.assert_allclose(scale_density(Custom(own), x), np.where(x > 0, expected, 0.0), rtol=1e-5)


class _WithoutDistributionFunction:
    """A distribution of numpyro as some are."""

    def __init__(self, own):
        self.support, self.log_prob = own.support, own.log_prob

    def cdf(self, value):
        raise NotImplementedError


@pytest.mark.parametrize(("eta", "size"), [(1.0, 2), (2.0, 2), (1.0, 4), (3.5, 3)])
def test_marginal_correlation_of_lkj(eta, size):
    """Against the first canonical partial correlation of the vine, which is a correlation."""
    a = eta + (size - 2) / 2.0
    x = np.linspace(-0.95, 0.95, 7)
    expected = scipy.stats.beta.pdf((x + 1) / 2, a, a) / 2
    np.testing.assert_allclose(correlation_density(LKJ(eta), size, x), expected)
    grid = np.linspace(-1, 1, 20_001)
    assert scipy.integrate.simpson(correlation_density(LKJ(eta), size, grid), x=grid) == pytest.approx(1, abs=1e-4)


def test_marginal_correlation_of_drawn_matrices():
    """Matrices of three columns with density ∝ det^(η−1), by weighting uniform ones."""
    eta, rng = 2.0, np.random.default_rng(2)
    r = rng.uniform(-1, 1, (400_000, 3))
    det = 1 + 2 * r.prod(axis=1) - (r**2).sum(axis=1)
    weight = np.where(det > 0, det, 0.0) ** (eta - 1)
    share = weight[np.abs(r[:, 0]) < 0.3].sum() / weight.sum()
    x = np.linspace(-0.3, 0.3, 2001)
    # Monte Carlo: sd about 0.002
    assert scipy.integrate.simpson(correlation_density(LKJ(eta), 3, x), x=x) == pytest.approx(share, abs=0.008)
