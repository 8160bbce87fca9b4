"""The figure of deletions shows the largest ones."""

from __future__ import annotations

import numpy as np
import pytest

import ranef
from _ranef.plots.influence import MEASURES, NAMED, influence_panel
from small_fits import scattered_posterior


@pytest.fixture(scope="module")
def fit():
    return ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()


@pytest.mark.parametrize("measure", MEASURES)
def test_the_largest_are_uppermost(fit, measure):
    found = fit.influence("Subject", refit=False)
    panel = influence_panel(found, measure)
    order = found.deleted.sort_values(measure, ascending=False)
    assert list(panel.names) == order["deleted"].tolist()
    np.testing.assert_array_equal(panel.values, order[measure])
    ax = fit.plot.influence("Subject", measure)
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == list(panel.names)
    assert ax.get_xlabel() == MEASURES[measure]


def test_of_many_rows_the_first_are_drawn(fit):
    panel = influence_panel(fit.influence(refit=False))
    assert len(panel.names) == NAMED
    assert panel.left_out == 180 - NAMED


def test_refusals(fit):
    with pytest.raises(ranef.DesignError, match="measure='cook' must be"):
        fit.plot.influence("Subject", "cook")
    with pytest.raises(ranef.DesignError, match="REML or ML"):
        scattered_posterior().plot.influence()
