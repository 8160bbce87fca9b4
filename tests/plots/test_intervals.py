"""Intervals by method as they are drawn."""

import numpy as np
import pytest

import ranef
from _ranef.plots.intervals import interval_panels


@pytest.fixture(scope="module")
def both():
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    return ranef.compare({"REML": model.fit(), "ML": model.fit("ML")})


def test_each_line_is_the_interval_of_its_fit_and_method(both):
    panels = {p.parameter: p for p in interval_panels(both.intervals("wald", "profile", "bootstrap", n=60, seed=1))}
    assert list(panels) == ["Intercept", "sd(Intercept | operator)", "sigma"]
    lines = ["REML wald", "REML profile", "REML bootstrap", "ML wald", "ML profile", "ML bootstrap"]
    assert panels["sigma"].labels == tuple(lines)
    assert np.isnan(panels["sigma"].ends[[0, 3]]).all()
    for name, panel in panels.items():
        for k, options in ((1, {"method": "profile"}), (2, {"method": "bootstrap", "n": 60, "seed": 1})):
            np.testing.assert_array_equal(panel.ends[k, 1:], both.fits["REML"].confint(**options).loc[name])


def test_figure_has_a_panel_for_each_parameter(both):
    figure = both.plot.intervals("wald", "profile")
    assert [ax.get_title() for ax in figure.axes] == ["Intercept", "sd(Intercept | operator)", "sigma"]
    drawn = [line.get_xdata() for line in figure.axes[2].lines if len(line.get_xdata()) == 2]
    np.testing.assert_array_equal(drawn[1], both.fits["REML"].confint(method="profile").loc["sigma"])
    assert both.plot.intervals("profile", parameters="sigma").get_title() == "sigma"
    with pytest.raises(ranef.DesignError, match="no parameter 'sigmas'"):
        both.plot.intervals("profile", parameters="sigmas")
    with pytest.raises(ranef.DesignError, match="method='likelihood'"):
        both.plot.intervals("likelihood")
