"""Figures are drawn, labelled in words, and leave the state of matplotlib alone."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ranef
from ranef.comparison.shrinkage import shrinkage_frame
from ranef.plots import ComparisonPlots, FitPlots, comparison_figure

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def words(figure):
    return [t.get_text() for legend in figure.legends for t in legend.get_texts()]


def points(ax, label):
    """Coordinates of the marks that the legend calls by `label`."""
    (line,) = [line for line in ax.lines if line.get_label().startswith(label)]
    return line.get_xdata(), line.get_ydata()


def test_shrinkage_draws_both_estimates_of_every_level(fit):
    f = fit(*PULP)
    ax = FitPlots(f).shrinkage()
    assert isinstance(ax, Axes)
    frame = shrinkage_frame(f).sort_values("no_pooling")
    np.testing.assert_array_equal(points(ax, "no pooling")[0], frame["no_pooling"])
    np.testing.assert_array_equal(points(ax, "BLUP")[0], frame["estimate"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "a", "c", "d"]
    assert words(ax.figure) == [
        "complete pooling: zero",
        "no pooling: each level alone",
        r"BLUP, 95 % given $\hat{\theta}$",
    ]
    assert ax.figure.legends[0].get_title().get_text() == PULP[0]
    assert ax.get_xlabel() == "random effect on bright"
    ax.figure.canvas.draw()


def test_a_posterior_is_called_so(posterior):
    assert "posterior mean, 95 %" in words(FitPlots(posterior).shrinkage().figure)


def test_several_terms_make_a_figure(fit):
    figure = FitPlots(fit(*SLEEP)).shrinkage(kind="dumbbell")
    assert isinstance(figure, Figure)
    assert [ax.get_title() for ax in figure.axes] == ["Subject: Intercept", "Subject: Days"]


def test_one_group_of_several(fit):
    plots = FitPlots(fit("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"))
    assert plots.shrinkage("sample").get_title() == "sample: Intercept"
    assert plots.ranef("plate").get_title() == "plate: Intercept"
    assert len(plots.ranef().axes) == 2


def test_given_axes_are_used(fit):
    figure, ax = plt.subplots()
    plots = FitPlots(fit(*PULP))
    assert plots.ranef(ax=ax) is ax
    assert plots.shrinkage(ax=ax) is ax
    assert plots.residuals(ax=ax) is ax
    assert plt.get_fignums() == [figure.number]
    _, pair = plt.subplots(1, 2)
    assert [a.get_title() for a in FitPlots(fit(*SLEEP)).ranef(ax=pair).axes] == ["Subject: Intercept", "Subject: Days"]


def test_a_wrong_number_of_axes_is_refused(fit):
    _, ax = plt.subplots()
    with pytest.raises(ranef.DesignError, match="2 panels"):
        FitPlots(fit(*SLEEP)).shrinkage(ax=ax, kind="dumbbell")


def test_impossible_requests_say_why(fit):
    plots = FitPlots(fit(*PULP))
    with pytest.raises(ranef.DesignError, match="Did you mean 'operator'"):
        plots.shrinkage("operater")
    with pytest.raises(ranef.DesignError, match="max_levels"):
        plots.shrinkage(max_levels=1)
    with pytest.raises(ranef.DesignError, match="95 per cent"):
        plots.shrinkage(level=95)
    with pytest.raises(ranef.DesignError, match="no random effects"):
        FitPlots(fit("Reaction ~ Days", "sleepstudy")).shrinkage()


def test_residuals_show_every_row_and_a_running_median(fit):
    f = fit(*SLEEP)
    ax = FitPlots(f).residuals()
    shown = ax.collections[0].get_offsets()
    assert sorted(shown[:, 1]) == sorted(f.residuals("pearson"))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["running median"]


def test_many_levels_become_a_band():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(np.arange(150), 4)})
    data["y"] = rng.standard_normal(150)[data["g"]] + rng.standard_normal(600)
    ax = ranef.Model("y ~ 1 + (1 | g)", data).fit().plot.ranef()
    assert ax.get_ylabel() == "150 levels, in order"
    assert len(points(ax, "BLUP")[0]) == 150
    ax.figure.canvas.draw()


def comparison(fit, posterior):
    frame = shrinkage_frame(fit(*PULP))[["group", "level", "term", "no_pooling"]]
    for engine, f in (("eb", fit(*PULP)), ("fb", posterior)):
        frame[[f"{engine}_{c}" for c in ("estimate", "lower", "upper")]] = f.ranef()[["estimate", "lower", "upper"]]
    return frame


def test_comparison_figure_says_what_each_interval_is(fit, posterior):
    frame = comparison(fit, posterior)
    figure = comparison_figure(frame)
    (ax,) = figure.axes
    assert words(figure) == [
        "complete pooling: zero",
        "no pooling: level alone",
        r"BLUP, 95 % given $\hat{\theta}$",
        "posterior mean, 95 %",
    ]
    x, y = points(ax, "posterior")
    np.testing.assert_array_equal(np.sort(x), np.sort(frame["fb_estimate"]))
    assert (y < points(ax, "BLUP")[1]).all()
    figure.canvas.draw()


def test_comparison_figure_names_missing_columns(fit, posterior):
    with pytest.raises(ranef.DesignError, match="lacks the columns fb_lower"):
        comparison_figure(comparison(fit, posterior).drop(columns="fb_lower"))


def test_global_settings_are_left_alone(fit):
    before = dict(mpl.rcParams)
    FitPlots(fit(*PULP)).shrinkage()
    assert dict(mpl.rcParams) == before


def strokes(ax):
    """Widths of the interval strokes, by colour."""
    return {tuple(np.round(c.get_color()[0][:3], 3)): c.get_linewidth()[0] for c in ax.collections}


def test_conditional_and_posterior_intervals_lie_on_each_other(fit, posterior):
    ax = ComparisonPlots({"eb": fit(*PULP), "fb": posterior}, 0.95).ranef()
    np.testing.assert_array_equal(points(ax, "BLUP")[1], points(ax, "posterior")[1])
    assert sorted(strokes(ax).values()) == [1.6, 8.0]
    drawn = np.sort([s[:, 0] for c in ax.collections for s in c.get_segments()], axis=0)
    frames = [f.ranef()[["lower", "upper"]].to_numpy() for f in (fit(*PULP), posterior)]
    np.testing.assert_allclose(drawn, np.sort(np.vstack(frames), axis=0))


def test_other_sets_of_fits_stand_side_by_side_under_their_names(fit, posterior):
    ml = ranef.Model(PULP[0], ranef.datasets.load("pulp")).fit("ML")
    ax = ComparisonPlots({"REML": fit(*PULP), "ML": ml, "flat": posterior}, 0.9).ranef()
    heights = [points(ax, name)[1][0] for name in ("REML: BLUP", "ML: BLUP", "flat: posterior mean, 90 %")]
    assert heights[0] > heights[1] > heights[2]


def test_comparison_of_named_fits_is_called_as_it_is(fit, posterior):
    both = ComparisonPlots({"eb": fit(*PULP), "fb": posterior}, 0.95)
    expected = comparison(fit, posterior)
    (ax,) = both().axes
    np.testing.assert_array_equal(np.sort(points(ax, "posterior")[0]), np.sort(expected["fb_estimate"]))
    assert both.shrinkage().get_title() == "operator: Intercept"
    with pytest.raises(ranef.DesignError, match="max_levels"):
        both.ranef(max_levels=1)
    assert len(both.ranef(max_levels=2).get_yticklabels()) == 2
