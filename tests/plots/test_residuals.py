"""Residuals as their figures show them."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

import ranef
from _ranef.plots import FitPlots
from _ranef.plots.residuals import ROWS_SHOWN, grouped_residuals, residual_cloud, scale_location_cloud
from small_fits import many_groups

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")
PENICILLIN = ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")


def test_residuals_show_every_row_and_a_running_median(fit):
    f = fit(*SLEEP)
    ax = FitPlots(f).residuals()
    shown = ax.collections[0].get_offsets()
    assert sorted(shown[:, 1]) == sorted(f.residuals("pearson"))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["running median"]


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


def test_residuals_by_level_are_in_order_of_medians(fit):
    f = fit(*SLEEP)
    residual = f.residuals("pearson").to_numpy()
    groups = grouped_residuals(f, residual)
    medians = [np.median(v) for v in groups.values]
    assert medians == sorted(medians)
    np.testing.assert_allclose(groups.quantiles[2], medians)
    subject = ranef.datasets.load("sleepstudy")["Subject"].astype(str).to_numpy()
    np.testing.assert_array_equal(groups.values[3], residual[subject == groups.levels[3]])


def test_quantiles_of_very_many_levels_are_means_of_neighbours():
    f = many_groups(450)
    groups = grouped_residuals(f, f.residuals("pearson").to_numpy())
    assert len(groups.levels) == 450
    assert groups.quantiles.shape == (5, 200)
    first = [np.median(v) for v in groups.values[:3]]  # 450 levels in 200 bins: the first fifty bins hold three
    assert groups.quantiles[2, 0] == pytest.approx(np.mean(first))
    assert groups.at[0] == 1.0
    assert groups.at[-1] == 448.5


def test_scale_location_is_the_root_of_absolute_residuals():
    cloud = scale_location_cloud(np.array([3.0, 1.0, 2.0]), np.array([-4.0, 1.0, 9.0]))
    np.testing.assert_array_equal(cloud.residual, [1.0, 3.0, 2.0])


def test_diagnostics_have_four_panels_with_names(fit):
    figure = fit(*SLEEP).plot.diagnostics()
    assert [ax.get_title() for ax in figure.axes] == [
        "Residual against fitted",
        "Normal quantiles of residuals",
        "Spread against fitted",
        "Residuals by Subject",
    ]
    assert [ax.get_xlabel() for ax in figure.axes[:3]] == ["fitted Reaction", "normal quantile", "fitted Reaction"]
    assert len(figure.axes[3].get_xticks()) == 18
    assert fit(*PENICILLIN).plot.diagnostics("sample").axes[3].get_title() == "Residuals by sample"
    assert len(fit("Reaction ~ Days", "sleepstudy").plot.diagnostics().axes) == 3


def test_each_panel_alone_takes_axes(fit):
    plots = fit(*SLEEP).plot
    _, (a, b, c) = plt.subplots(1, 3)
    assert plots.qq(ax=a) is a
    assert plots.scale_location(ax=b) is b
    assert plots.residuals_by_group(ax=c) is c
    assert (
        next(t.get_text() for t in c.get_yticklabels())
        == grouped_residuals(plots.fit, plots.fit.residuals("pearson").to_numpy()).levels[0]
    )
    _, pair = plt.subplots(1, 2)
    assert [ax.get_title() for ax in plots.qq_ranef(ax=pair).axes] == ["Subject: Intercept", "Subject: Days"]
    with pytest.raises(ranef.DesignError, match="2 panels but 1 axes"):
        plots.qq_ranef(ax=a)


def test_many_levels_are_drawn_as_bands():
    ax = many_groups().plot.residuals_by_group()
    assert ax.get_xlabel() == "300 levels of g, in order"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "middle 80 % of a level's rows",
        "middle half",
        "median",
    ]
    ax.figure.canvas.draw()


def test_impossible_requests_say_why(fit):
    with pytest.raises(ranef.DesignError, match="no \\(… \\| group\\) term"):
        fit("Reaction ~ Days", "sleepstudy").plot.residuals_by_group()
    with pytest.raises(ranef.DesignError, match="Did you mean 'Subject'"):
        fit(*SLEEP).plot.residuals_by_group("subject")
    with pytest.raises(ranef.DesignError, match="95 per cent"):
        fit(*SLEEP).plot.qq(level=95)


def test_fitted_values_of_ordered_classes_are_their_mean_places():
    rng, g = np.random.default_rng(1), np.repeat(np.arange(8), 10)
    y = np.digitize(rng.normal(size=8)[g] + rng.logistic(size=80), [0.0, 1.5])
    fit = ranef.Model("y ~ 1 + (1 | g)", {"y": y, "g": g.astype(str)}, family="ordinal").fit()
    shown = np.asarray(fit.plot.residuals().collections[0].get_offsets())[:, 0]
    np.testing.assert_allclose(np.sort(shown), np.sort(fit.fitted().to_numpy() @ [0, 1, 2]))
    assert len(fit.plot.diagnostics().axes) == 4
    assert fit.plot.scale_location().get_xlabel() == "fitted y"
