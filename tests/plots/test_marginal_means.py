"""Marginal means as they are drawn."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

import ranef
from _ranef.plots.marginal_means import means_panel


@pytest.fixture(scope="module")
def oats():
    return ranef.Model("yield ~ nitro * Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()


def test_what_is_drawn_is_the_frame(oats):
    panel = means_panel(oats, "nitro", by="Variety", at={"nitro": [0, 0.3, 0.6]})
    frame = ranef.emmeans(oats, "nitro", by="Variety", at={"nitro": [0, 0.3, 0.6]}).frame
    assert panel.levels == ("0", "0.3", "0.6")
    assert list(panel.series) == ["Golden Rain", "Marvellous", "Victory"]
    np.testing.assert_array_equal(np.concatenate(list(panel.series.values()))[:, 0], frame["estimate"])


def test_figure_has_levels_and_a_legend(oats):
    _, ax = plt.subplots()
    drawn = oats.plot.emmeans("nitro | Variety", ax=ax, at={"nitro": [0, 0.6]})
    assert drawn is ax
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "0.6"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["Golden Rain", "Marvellous", "Victory"]
    assert ax.get_ylabel() == "mean of yield"
    ax.figure.canvas.draw()


def test_the_overall_mean(oats):
    ax = oats.plot.emmeans("1")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["overall"]
    assert ax.get_legend() is None
