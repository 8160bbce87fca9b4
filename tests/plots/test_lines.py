"""Lines by group: against own least squares, predictions of substituted rows, and the draws themselves."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

import ranef
from _ranef.plots import ComparisonPlots, FitPlots
from _ranef.plots.lines import by_level, group_lines, lines_group, population_lines

SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")
PULP = ("bright ~ 1 + (1 | operator)", "pulp")


@cache
def mixed():
    """Rows with two covariates that vary within levels, an offset, and a crossed factor."""
    rng = np.random.default_rng(5)
    n = 400
    data = pd.DataFrame({"g": rng.integers(0, 12, n).astype(str), "h": rng.integers(0, 7, n).astype(str)})
    data["x"], data["z"], data["o"] = rng.uniform(1, 4, n).round(1), rng.standard_normal(n), rng.uniform(0, 1, n)
    slope = rng.standard_normal(12)[data["g"].astype(int)]
    data["y"] = data["o"] + 2 * data["x"] + data["z"] * data["x"] + slope * data["x"] + rng.standard_normal(n)
    data["y"] += rng.standard_normal(7)[data["h"].astype(int)]
    return data, ranef.Model("y ~ x * z + offset(o) + (x | g) + (1 | h)", data).fit()


def of_level(lines, level):
    return lines.lines[lines.lines["level"] == level]


def test_own_lines_are_least_squares_of_each_level(fit):
    data = ranef.datasets.load("sleepstudy")
    lines = group_lines({"eb": fit(*SLEEP)}, "Subject", None, None)
    assert (lines.x_name, lines.response, lines.n_levels) == ("Days", "Reaction", 18)
    for level in lines.levels:
        own = data[data["Subject"].astype(str) == level]
        slope, intercept = np.polyfit(own["Days"], own["Reaction"], 1)
        line = of_level(lines, level)
        np.testing.assert_allclose(line["no_pooling"], intercept + slope * line["x"], rtol=1e-9)
        np.testing.assert_array_equal(np.sort(lines.points.query("level == @level")["y"]), np.sort(own["Reaction"]))


def test_partial_and_complete_lines_are_the_coefficients(fit):
    f = fit(*SLEEP)
    lines = group_lines({"eb": f}, "Subject", "Days", None)
    coef = f.coef().loc[lines.lines["level"]]
    x = lines.lines["x"].to_numpy()
    np.testing.assert_allclose(
        lines.lines["eb"], coef["Intercept"].to_numpy() + coef["Days"].to_numpy() * x, rtol=1e-12
    )
    np.testing.assert_allclose(lines.lines["population"], f.fixef["Intercept"] + f.fixef["Days"] * x, rtol=1e-12)


def test_lines_are_means_of_predictions_with_the_covariate_put_in_place():
    data, f = mixed()
    lines = group_lines({"eb": f}, "g", "x", None)
    for level in lines.levels[:4]:
        own = data[data["g"] == level]
        for x in own["x"].unique()[:3]:
            at = of_level(lines, level).query("x == @x")
            there = own.assign(x=x)
            np.testing.assert_allclose(at["eb"], f.predict(there).mean(), rtol=1e-10)
            np.testing.assert_allclose(at["population"], f.predict(there, re="none").mean(), rtol=1e-10)


def test_curves_join_fitted_values(fit):
    f = fit("Reaction ~ Days + I(Days^2) + (Days | Subject)", "sleepstudy")
    lines = group_lines({"eb": f}, "Subject", "Days", None)
    data = ranef.datasets.load("sleepstudy").assign(fitted=f.fitted(), level=lambda d: d["Subject"].astype(str))
    both = lines.lines.merge(data, left_on=["level", "x"], right_on=["level", "Days"])
    assert len(both) == 180
    np.testing.assert_allclose(both["eb"], both["fitted"], rtol=1e-12)


def test_values_may_be_given_for_a_covariate_that_only_enters_bent(fit):
    data = ranef.datasets.load("sleepstudy")
    f = fit("Reaction ~ poly(Days, 2) + (1 | Subject)", "sleepstudy")
    with pytest.raises(ranef.DesignError, match=r"x=data\['Days'\]"):
        group_lines({"eb": f}, "Subject", "Days", None)
    lines = group_lines({"eb": f}, "Subject", data["Days"], None)
    assert lines.x_name == "Days"
    both = lines.lines.merge(
        data.assign(fitted=f.fitted(), level=data["Subject"].astype(str)),
        left_on=["level", "x"],
        right_on=["level", "Days"],
    )
    np.testing.assert_allclose(both["eb"], both["fitted"], rtol=1e-12)


def test_without_covariate_a_level_has_its_means(fit):
    f = fit("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
    data = ranef.datasets.load("Penicillin").assign(fitted=f.fitted())
    lines = group_lines({"eb": f}, "sample", None, None)
    means = data.groupby("sample", observed=True)[["diameter", "fitted"]].mean().loc[list(lines.levels)]
    np.testing.assert_allclose(lines.lines["no_pooling"], means["diameter"], rtol=1e-12)
    np.testing.assert_allclose(lines.lines["eb"], means["fitted"], rtol=1e-12)
    assert (np.diff(lines.lines["eb"]) >= 0).all()


def test_bands_are_quantiles_of_the_draws(fit, posterior):
    lines = group_lines({"fb": posterior}, "operator", None, None, level=0.8)
    values = posterior.draws.beta + posterior.draws.b[0][..., 0]
    at = [list(posterior.spec.groupings[0].levels).index(level) for level in lines.levels]
    low, high = np.quantile(values.reshape(-1, 4)[:, at], [0.1, 0.9], axis=0)
    np.testing.assert_allclose(lines.lines["fb_lower"], low, rtol=1e-12)
    np.testing.assert_allclose(lines.lines["fb_upper"], high, rtol=1e-12)
    np.testing.assert_allclose(lines.lines["fb"], values.mean(axis=(0, 1))[at], rtol=1e-12)


def test_the_group_is_the_one_with_the_slope():
    f = mixed()[1]
    assert lines_group(f.spec, None, None) == "g"
    assert lines_group(f.spec, "h", None) == "h"
    assert lines_group(f.spec, None, "z") == "g"


def test_one_population_line_for_each_sex_and_one_mean_of_many(fit):
    lines = group_lines({"eb": fit("distance ~ age * Sex + (age | Subject)", "Orthodont")}, "Subject", None, None)
    assert len(population_lines(lines)) == 2
    (mean,) = population_lines(group_lines({"eb": mixed()[1]}, "g", "x", None))
    assert (np.diff(mean[:, 0]) > 0).all()
    (straight,) = population_lines(group_lines({"eb": fit(*SLEEP)}, "Subject", None, None))
    np.testing.assert_allclose(straight[:, 0], [0, 9])


def test_facets_have_a_panel_for_each_level_with_all_lines(fit):
    figure = FitPlots(fit(*SLEEP)).lines(levels=5)
    lines = group_lines({"eb": fit(*SLEEP)}, "Subject", None, 5)
    assert [ax.get_title() for ax in figure.axes] == list(lines.levels)
    assert "5 of 18 levels of Subject" in figure.legends[0].get_title().get_text()
    words = [t.get_text() for t in figure.legends[0].get_texts()]
    assert words == ["data", "complete pooling", "no pooling", "BLUP"]
    (drawn,) = [line for line in figure.axes[2].lines if line.get_label() == "BLUP"]
    np.testing.assert_array_equal(drawn.get_ydata(), of_level(lines, lines.levels[2])["eb"])
    figure.canvas.draw()


def test_spaghetti_has_a_line_for_each_level(fit):
    ax = FitPlots(fit(*SLEEP)).lines(kind="spaghetti")
    (drawn,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    expected = by_level(group_lines({"eb": fit(*SLEEP)}, "Subject", None, None), "eb")
    np.testing.assert_array_equal(np.array(drawn.get_segments()), np.array(expected))
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("Days", "Reaction", "Subject: 18 levels")


def test_a_strip_stands_in_where_there_is_no_covariate(fit, posterior):
    ax = ComparisonPlots({"eb": fit(*PULP), "fb": posterior}, 0.95).lines()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["b", "a", "c", "d"]
    words = [t.get_text() for t in ax.figure.legends[0].get_texts()]
    assert words == ["data", "complete pooling", "no pooling", "BLUP", "posterior mean, 95 %"]


def test_a_level_with_one_value_of_the_covariate_has_a_short_line():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 4), "x": np.tile([1.0, 2.0, 3.0, 4.0], 6)})
    data.loc[data["g"] == "f", "x"] = 2.0
    data["y"] = data["x"] + rng.standard_normal(6)[np.repeat(np.arange(6), 4)] + 0.1 * rng.standard_normal(24)
    figure = ranef.Model("y ~ x + (1 | g)", data).fit().plot.lines()
    (ax,) = [ax for ax in figure.axes if ax.get_title() == "f"]
    (line,) = [line for line in ax.lines if line.get_label() == "no pooling"]
    assert np.ptp(line.get_xdata()) > 0
    np.testing.assert_allclose(line.get_ydata(), data.loc[data["g"] == "f", "y"].mean())


def test_impossible_requests_say_why(fit):
    plots = FitPlots(fit(*SLEEP))
    for options, words in (
        ({"kind": "facet"}, "Did you mean 'facets'"),
        ({"x": "days"}, "Did you mean 'Days'"),
        ({"levels": 0}, "at least 1"),
        ({"group": "subject"}, "Did you mean 'Subject'"),
        ({"x": np.arange(3)}, "180 rows"),
        ({"x": ["a"] * 180}, "numbers"),
    ):
        with pytest.raises(ranef.DesignError, match=words):
            plots.lines(**options)
    with pytest.raises(ranef.DesignError, match=r"no .* term"):
        FitPlots(fit("Reaction ~ Days", "sleepstudy")).lines()


# -- factors ----------------------------------------------------------------------------------------------------


def categorised(coding="f", within=True):
    """Rows with a factor in a random part; the same numbers whatever its coding."""
    rng = np.random.default_rng(2)
    n = 360
    data = pd.DataFrame({"g": np.repeat(np.arange(10), 36).astype(str)})
    turn = np.arange(n) % 3 if within else np.repeat(np.arange(10) % 3, 36)
    data["f"] = np.array(["low", "mid", "high"])[turn]
    data["ordered"] = pd.Categorical(data["f"], ["low", "mid", "high"], ordered=True)
    data["y"] = turn + rng.standard_normal((10, 3))[data["g"].astype(int), turn] + rng.standard_normal(n)
    bar = f"(1 + {coding} | g)" if within else "(1 | g)"
    return data, ranef.Model(f"y ~ {coding} + {bar}", data).fit()


@pytest.mark.parametrize("coding", ["f", "C(f, Sum)", "C(f, Helmert)", "relevel(f, 'mid')", "ordered"])
def test_along_a_factor_lines_join_the_means_of_its_categories(coding):
    """Each level alone is its cell means, the fit is the fitted values, the population the fixed effects."""
    data, f = categorised(coding)
    lines = group_lines({"eb": f}, "g", None, None)
    frame = lines.lines.assign(category=[lines.categories[int(x)] for x in lines.lines["x"]])
    assert set(lines.categories) == {"low", "mid", "high"}
    assert len(frame) == 30
    own = data.assign(fitted=f.fitted(), population=f.predict(data, re="none")).groupby(["g", "f"])
    place = pd.MultiIndex.from_frame(frame[["level", "category"]])
    np.testing.assert_allclose(frame["no_pooling"], own["y"].mean()[place], rtol=1e-6)
    np.testing.assert_allclose(frame["eb"], own["fitted"].mean()[place], rtol=1e-9)
    np.testing.assert_allclose(frame["population"], own["population"].mean()[place], rtol=1e-9)


def test_a_factors_categories_stand_on_the_axis_in_every_panel():
    _, f = categorised()
    figure = f.plot.lines(levels=["3", "7"])
    figure.canvas.draw()
    assert sorted(ax.get_title() for ax in figure.axes) == ["3", "7"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["high", "low", "mid"]
    spaghetti = f.plot.lines("f", kind="spaghetti")
    assert spaghetti.get_xlabel() == "f"
    (bundle,) = [c for c in spaghetti.collections if isinstance(c, LineCollection)]
    assert len(bundle.get_segments()) == 10
    assert all(len(line) == 3 for line in bundle.get_segments())


def test_a_factor_without_columns_for_levels_is_drawn_too(fit):
    lines = group_lines({"eb": fit("score ~ Machine + (0 + Machine | Worker)", "Machines")}, "Worker", None, None)
    assert (lines.x_name, lines.categories) == ("Machine", ("A", "B", "C"))
    assert lines_group(fit("score ~ Machine + (0 + Machine | Worker)", "Machines").spec, None, "Machine") == "Worker"


def test_a_factor_of_the_data_may_be_given():
    data, f = categorised()
    np.testing.assert_array_equal(
        group_lines({"eb": f}, "g", data["f"], None).lines, group_lines({"eb": f}, "g", "f", None).lines
    )


def test_a_factor_that_levels_are_constant_in_sorts_them():
    data, f = categorised(within=False)
    lines = group_lines({"eb": f}, "g", None, None)
    assert lines.x_name == ""
    assert lines.stretches == (("f: high", 3), ("f: low", 4), ("f: mid", 3))
    category = data.groupby("g")["f"].first()[list(lines.levels)]
    assert category.tolist() == ["high"] * 3 + ["low"] * 4 + ["mid"] * 3
    ax = f.plot.lines()
    assert [t.get_text() for t in ax.texts] == ["f: high", "f: low", "f: mid"]


def test_a_term_names_its_covariate(fit):
    plots = FitPlots(fit(*SLEEP))
    assert plots.lines(term="Days").axes[0].get_title() == plots.lines("Days").axes[0].get_title()
    with pytest.raises(ranef.DesignError, match="not both"):
        plots.lines("Days", term="Days")
    with pytest.raises(ranef.DesignError, match=r"no random effect 'day'\. Did you mean 'Days'"):
        plots.lines(term="day")


def test_levels_by_name(fit):
    lines = group_lines({"eb": fit(*SLEEP)}, "Subject", None, [335, "308"])
    assert lines.levels == ("335", "308")
    assert set(lines.points["level"]) == {"335", "308"}
