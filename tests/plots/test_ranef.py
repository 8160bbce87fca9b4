"""Random effects by level: panels as arrays, and what is drawn of one fit or several."""

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.comparison.shrinkage import shrinkage_frame
from _ranef.plots import ComparisonPlots, FitPlots
from _ranef.plots.ranef import (
    comparison_panels,
    estimates_frame,
    joined_panels,
    overlay_panels,
    smoothed,
    smoothing,
    wide_frame,
)
from _ranef.plots.selection import Selection
from drawn import points, words

ALL = Selection(())
PULP = ("bright ~ 1 + (1 | operator)", "pulp")
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def test_one_panel_for_each_term_sorted_by_no_pooling(fit):
    f = fit("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    frame = shrinkage_frame(f)
    panels = joined_panels(wide_frame({"eb": f}, 0.95), ["eb"], ALL)
    assert [p.title for p in panels] == ["Subject: Intercept", "Subject: Days"]
    alone, blup = panels[1].series
    assert (np.diff(alone.x) >= 0).all()
    days = frame[frame["term"] == "Days"].set_index("level")
    np.testing.assert_array_equal(blup.x, days.loc[list(panels[1].levels), "estimate"])
    np.testing.assert_array_equal(blup.lower, days.loc[list(panels[1].levels), "lower"])


def test_of_many_levels_some_are_shown_and_the_title_says_so(fit):
    frame = wide_frame({"eb": fit("strength ~ 1 + (1 | batch/cask)", "Pastes")}, 0.95)
    panel = joined_panels(frame, ["eb"], Selection((), 12))[0]
    assert len(panel.levels) == 12
    assert panel.title == "cask:batch: Intercept\n12 of 30 levels, evenly spaced by rank"
    own = frame[frame["group"] == "cask:batch"]["no_pooling"]
    assert (panel.series[0].x.min(), panel.series[0].x.max()) == (own.min(), own.max())


def test_caterpillar_is_sorted_by_estimate(fit):
    frame = estimates_frame({"eb": fit("bright ~ 1 + (1 | operator)", "pulp")}, 0.95)
    (panel,) = overlay_panels(frame, ["eb"], ALL)
    assert panel.levels == ("b", "a", "c", "d")


def test_levels_without_own_estimate_stay(fit):
    frame = wide_frame({"eb": fit("bright ~ 1 + (1 | operator)", "pulp")}, 0.95)
    frame.loc[2, "no_pooling"] = np.nan
    (panel,) = joined_panels(frame, ["eb"], ALL)
    assert panel.levels[0] == "c"
    assert np.isfinite(panel.series[1].x).all()


def test_comparison_panels_hold_three_series():
    frame = pd.DataFrame({"group": "g", "term": "t", "level": ["a", "b"], "no_pooling": [2.0, 1.0]})
    for i, e in enumerate(("eb", "fb")):
        for j, c in enumerate(("estimate", "lower", "upper")):
            frame[f"{e}_{c}"] = [20.0 + i + j / 10, 10.0 + i + j / 10]
    (panel,) = comparison_panels(frame, ["eb", "fb"], ALL)
    assert panel.levels == ("b", "a")
    assert [s.x.tolist() for s in panel.series] == [[1.0, 2.0], [10.0, 20.0], [11.0, 21.0]]
    assert panel.series[2].upper.tolist() == [11.2, 21.2]


def test_wide_frame_holds_the_numbers_of_each_fit(fit, posterior):
    eb = fit("bright ~ 1 + (1 | operator)", "pulp")
    frame = wide_frame({"REML": eb, "flat": posterior}, 0.9)
    np.testing.assert_array_equal(frame["no_pooling"], shrinkage_frame(eb)["no_pooling"])
    for name, f in (("REML", eb), ("flat", posterior)):
        for column in ("estimate", "lower", "upper"):
            np.testing.assert_array_equal(frame[f"{name}_{column}"], f.ranef(level=0.9)[column])
    (panel,) = overlay_panels(frame, ["flat", "REML"], ALL)
    assert (np.diff(panel.series[0].x) >= 0).all()
    np.testing.assert_array_equal(np.sort(panel.series[1].lower), np.sort(frame["REML_lower"]))


def test_bounds_of_few_levels_stay_and_of_many_are_running_medians():
    few = np.random.default_rng(1).standard_normal(300)
    np.testing.assert_array_equal(smoothed(few), few)
    trend = np.linspace(-1, 1, 1001)
    noise = np.where(np.arange(1001) % 5 == 0, 3.0, 0.0)
    side = smoothing(1001)
    assert side == 20
    np.testing.assert_allclose(smoothed(trend), trend, atol=1e-12)
    np.testing.assert_allclose(smoothed(trend + noise)[side:-side], trend[side:-side], atol=0.02)


def test_one_group_of_several(fit):
    plots = FitPlots(fit("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"))
    assert plots.shrinkage("sample").get_title() == "sample: Intercept"
    assert plots.ranef("plate").get_title() == "plate: Intercept"
    assert len(plots.ranef().axes) == 2


def test_many_levels_become_a_band():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(np.arange(150), 4)})
    data["y"] = rng.standard_normal(150)[data["g"]] + rng.standard_normal(600)
    ax = ranef.Model("y ~ 1 + (1 | g)", data).fit().plot.ranef()
    assert ax.get_ylabel() == "150 levels, in order"
    assert len(points(ax, "BLUP")[0]) == 150
    ax.figure.canvas.draw()


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
    figure = both()
    (ax,) = figure.axes
    np.testing.assert_array_equal(np.sort(points(ax, "posterior")[0]), np.sort(posterior.ranef()["estimate"]))
    assert words(figure)[:2] == ["complete pooling: zero", "no pooling: level alone"]
    assert both.shrinkage().get_title() == "operator: Intercept"
    with pytest.raises(ranef.DesignError, match="max_levels"):
        both.ranef(max_levels=1)
    assert len(both.ranef(max_levels=2).get_yticklabels()) == 2
