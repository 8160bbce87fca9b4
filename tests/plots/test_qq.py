"""Ordered values against normal quantiles, and the bands that hold whole samples."""

import numpy as np
import pytest
import scipy

from _ranef.plots.qq import normal_quantiles, simultaneous_bounds


def test_quantile_plot_line_is_that_of_r_qqline():
    values = np.random.default_rng(2).normal(5.0, 3.0, 40)
    plot = normal_quantiles(values)
    q1, q3 = np.quantile(values, [0.25, 0.75])
    z1, z3 = scipy.stats.norm.ppf([0.25, 0.75])
    assert plot.scale == pytest.approx((q3 - q1) / (z3 - z1))
    assert plot.centre == pytest.approx(q1 - plot.scale * z1)
    np.testing.assert_array_equal(plot.values, np.sort(values))
    np.testing.assert_allclose(plot.theoretical, -plot.theoretical[::-1], atol=1e-12)


def test_band_holds_whole_samples_as_often_as_it_says():
    n, level, rng = 60, 0.9, np.random.default_rng(3)
    low, high = simultaneous_bounds(n, np.arange(n), level)
    samples = np.sort(rng.standard_normal((4000, n)), axis=1)
    inside = ((samples >= low) & (samples <= high)).all(axis=1).mean()
    # Monte Carlo: sd 0.005 of this estimate, 0.007 of the level from 2000 samples
    assert inside == pytest.approx(level, abs=0.03)
    np.testing.assert_allclose(low, -high[::-1], rtol=1e-9)


@pytest.mark.parametrize("n", [3, 5, 18, 180, 1000])
def test_band_round_the_quartiles_holds_as_often_as_it_says(n):
    """The line is that of each sample; of 1000 values the band is computed at some positions."""
    samples = np.sort(np.random.default_rng(5).normal(4.0, 3.0, (4000, n)), axis=1)
    plot = normal_quantiles(samples[0])
    at = np.searchsorted(plot.theoretical, plot.band_x - 1e-9)
    q1, q3 = np.quantile(samples, [0.25, 0.75], axis=1)
    scale = (q3 - q1) / (2 * scipy.stats.norm.ppf(0.75))
    z = (samples[:, at] - ((q1 + q3) / 2)[:, None]) / scale[:, None]
    low, high = ((band - plot.centre) / plot.scale for band in (plot.lower, plot.upper))
    inside = ((z >= low) & (z <= high)).all(axis=1).mean()
    # Monte Carlo: sd 0.003 of this estimate, 0.005 of the level from 2000 samples
    assert inside == pytest.approx(0.95, abs=0.02)


def test_one_value_and_equal_values_have_a_band():
    for values in ([2.0], [2.0, 2.0, 2.0]):
        plot = normal_quantiles(np.array(values))
        np.testing.assert_array_equal(plot.lower, 2.0)
        np.testing.assert_array_equal(plot.upper, 2.0)


def test_band_over_few_positions_is_no_wider():
    every = simultaneous_bounds(500, np.arange(500))
    some = simultaneous_bounds(500, np.array([0, 250, 499]))
    assert (some[0] > every[0][[0, 250, 499]]).all()
    assert (some[1] < every[1][[0, 250, 499]]).all()


def test_many_values_keep_both_tails():
    values = np.random.default_rng(4).standard_normal(50_000)
    plot = normal_quantiles(values)
    assert plot.n == 50_000
    assert len(plot.values) < 5000
    np.testing.assert_array_equal(plot.values[[0, 1, -2, -1]], np.sort(values)[[0, 1, -2, -1]])
