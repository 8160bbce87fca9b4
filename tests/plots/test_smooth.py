"""Kernel densities against ArviZ's own."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base import array_stats

from _ranef.plots.smooth import kernel_density

RNG = np.random.default_rng(3)
CASES = {
    "exponential": (RNG.exponential(size=4000), 0.0, 12.0),
    "bounded": (np.tanh(2.0 * RNG.normal(size=1500)), -1.0, 1.0),
    "two modes": (np.concatenate([RNG.normal(size=300), RNG.normal(9.0, 0.2, 500)]), -6.0, 13.0),
    "rounded": (RNG.normal(size=400).round(1), -4.5, 4.5),
    "few": (RNG.normal(size=7), -4.0, 4.0),
    "far tail": (np.append(RNG.normal(size=500), 1e4), -5.0, 1.1e4),
}


@pytest.mark.parametrize("bandwidth", ["experimental", "silverman"])
@pytest.mark.parametrize("case", CASES)
def test_as_arviz(case, bandwidth):
    draws, low, high = CASES[case]
    for points, factor in [(512, 1.0), (1024, 1.25)]:
        x, height = kernel_density(draws, (low, high), points, bandwidth, factor)
        options = {"grid_len": points, "bw": bandwidth, "bw_fct": factor, "custom_lims": (low, high)}
        grid, expected, _ = array_stats.kde(draws, bound_correction=True, **options)
        np.testing.assert_allclose(x, grid, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(height, expected, rtol=1e-9, atol=1e-11 * expected.max())
