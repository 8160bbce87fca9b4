"""What figures show, tested as arrays."""

import numpy as np
import pandas as pd

from ranef.comparison.shrinkage import shrinkage_frame
from ranef.plots.ranef import (
    comparison_panels,
    estimates_frame,
    joined_panels,
    overlay_panels,
    smoothed,
    smoothing,
    wide_frame,
)
from ranef.plots.residuals import ROWS_SHOWN, residual_cloud
from ranef.plots.selection import Selection, spread

ALL = Selection(())


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


def test_running_median_follows_a_bend_and_not_an_outlier():
    x = np.linspace(-1, 1, 400)
    y = x**2
    y[200] = 1e6
    cloud = residual_cloud(x[::-1], y[::-1])
    np.testing.assert_array_equal(cloud.fitted, x)
    np.testing.assert_allclose(cloud.line_y[3:-3], cloud.line_x[3:-3] ** 2, atol=0.02)


def test_few_rows_have_no_line_and_many_rows_are_thinned():
    assert residual_cloud(np.arange(10.0), np.zeros(10)).line_x.size == 0
    many = residual_cloud(np.arange(50_000.0), np.zeros(50_000))
    assert many.n == 50_000
    assert many.fitted.size == ROWS_SHOWN


def test_spread_keeps_the_ends():
    assert spread(5, 60).tolist() == [0, 1, 2, 3, 4]
    assert spread(1000, 3).tolist() == [0, 500, 999]
    assert spread(0, 3).size == 0


def test_bounds_of_few_levels_stay_and_of_many_are_running_medians():
    few = np.random.default_rng(1).standard_normal(300)
    np.testing.assert_array_equal(smoothed(few), few)
    trend = np.linspace(-1, 1, 1001)
    noise = np.where(np.arange(1001) % 5 == 0, 3.0, 0.0)
    side = smoothing(1001)
    assert side == 20
    np.testing.assert_allclose(smoothed(trend), trend, atol=1e-12)
    np.testing.assert_allclose(smoothed(trend + noise)[side:-side], trend[side:-side], atol=0.02)
