"""Figures take axes, count them, and leave the state of matplotlib alone."""

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

import ranef
from _ranef.plots import FitPlots

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def test_given_axes_are_used(fit):
    others = plt.get_fignums()  # that tests before left open
    figure, ax = plt.subplots()
    plots = FitPlots(fit(*PULP))
    assert plots.ranef(ax=ax) is ax
    assert plots.shrinkage(ax=ax) is ax
    assert plots.residuals(ax=ax) is ax
    assert plt.get_fignums() == [*others, figure.number]
    _, pair = plt.subplots(1, 2)
    assert [a.get_title() for a in FitPlots(fit(*SLEEP)).ranef(ax=pair).axes] == ["Subject: Intercept", "Subject: Days"]


def test_a_wrong_number_of_axes_is_refused(fit):
    _, ax = plt.subplots()
    with pytest.raises(ranef.DesignError, match="2 panels"):
        FitPlots(fit(*SLEEP)).shrinkage(ax=ax, kind="dumbbell")


def test_global_settings_are_left_alone(fit):
    before = dict(mpl.rcParams)
    FitPlots(fit(*PULP)).shrinkage()
    assert dict(mpl.rcParams) == before


def test_a_notebook_shows_a_figure_once(fit):
    pytest.importorskip("matplotlib_inline", reason="no notebooks are installed")
    both = ranef.compare(fit(*PULP), ranef.Model(PULP[0], ranef.datasets.load(PULP[1])).fit("ML"))
    before = plt.get_backend()
    plt.switch_backend("module://matplotlib_inline.backend_inline")
    try:
        assert len(both.plot().axes) == 1
        assert plt.get_fignums() == []  # what is left open is shown at the end of a cell, beside the value of the cell
    finally:
        plt.switch_backend(before)
