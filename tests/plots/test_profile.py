"""ζ curves as they are drawn."""

import numpy as np
import pytest

import ranef
from _ranef.plots.profile import zeta_panel


@pytest.fixture(scope="module")
def pulp():
    return ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()


def test_the_curve_passes_its_intervals(pulp):
    panel = zeta_panel(pulp.profile().curves["sigma"])
    at = [np.interp(end, panel.x, panel.zeta) for end in panel.intervals[0.95]]
    np.testing.assert_allclose(at, [-1.96, 1.96], atol=5e-3)


def test_figure_has_a_panel_for_each(pulp):
    figure = pulp.plot.profile()
    assert [ax.get_title() for ax in figure.axes] == ["Intercept", "sd(Intercept | operator)", "sigma"]
    assert figure.axes[0].get_ylabel() == "ζ, ML"
    figure.canvas.draw()
