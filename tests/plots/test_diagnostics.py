"""Residuals and BLUPs as diagnostics show them."""

import numpy as np
import pandas as pd
import pytest
import scipy
from matplotlib import pyplot as plt

import ranef
from ranef.inference import effect_scores
from ranef.plots.qq import normal_quantiles, simultaneous_bounds
from ranef.plots.residuals import grouped_residuals, scale_location_cloud

SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")
PENICILLIN = ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")


def many_groups(n_levels=300, seed=1):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": np.repeat(np.arange(n_levels), rng.integers(1, 8, n_levels))})
    data["y"] = 2.0 * rng.standard_normal(n_levels)[data["g"]] + rng.standard_normal(len(data))
    return ranef.Model("y ~ 1 + (1 | g)", data).fit()


def test_quantile_plot_line_is_that_of_r_qqline():
    values = np.random.default_rng(2).normal(5.0, 3.0, 40)
    plot = normal_quantiles(values)
    q1, q3 = np.quantile(values, [0.25, 0.75])
    z1, z3 = scipy.stats.norm.ppf([0.25, 0.75])
    assert plot.scale == pytest.approx((q3 - q1) / (z3 - z1))
    assert plot.centre == pytest.approx(q1 - plot.scale * z1)
    np.testing.assert_array_equal(plot.values, np.sort(values))
    np.testing.assert_allclose(plot.theoretical, -plot.theoretical[::-1], atol=1e-12)


def test_band_holds_whole_samples_as_often_as_it_says():
    n, level, rng = 60, 0.9, np.random.default_rng(3)
    low, high = simultaneous_bounds(n, np.arange(n), level)
    samples = np.sort(rng.standard_normal((4000, n)), axis=1)
    inside = ((samples >= low) & (samples <= high)).all(axis=1).mean()
    # Monte Carlo: sd 0.005 of this estimate, 0.007 of the level from 2000 samples
    assert inside == pytest.approx(level, abs=0.03)
    np.testing.assert_allclose(low, -high[::-1], rtol=1e-9)


@pytest.mark.parametrize("n", [3, 5, 18, 180, 1000])
def test_band_round_the_quartiles_holds_as_often_as_it_says(n):
    """The line is that of each sample; of 1000 values the band is computed at some positions."""
    samples = np.sort(np.random.default_rng(5).normal(4.0, 3.0, (4000, n)), axis=1)
    plot = normal_quantiles(samples[0])
    at = np.searchsorted(plot.theoretical, plot.band_x - 1e-9)
    q1, q3 = np.quantile(samples, [0.25, 0.75], axis=1)
    scale = (q3 - q1) / (2 * scipy.stats.norm.ppf(0.75))
    z = (samples[:, at] - ((q1 + q3) / 2)[:, None]) / scale[:, None]
    low, high = ((band - plot.centre) / plot.scale for band in (plot.lower, plot.upper))
    inside = ((z >= low) & (z <= high)).all(axis=1).mean()
    # Monte Carlo: sd 0.003 of this estimate, 0.005 of the level from 2000 samples
    assert inside == pytest.approx(0.95, abs=0.02)


def test_one_value_and_equal_values_have_a_band():
    for values in ([2.0], [2.0, 2.0, 2.0]):
        plot = normal_quantiles(np.array(values))
        np.testing.assert_array_equal(plot.lower, 2.0)
        np.testing.assert_array_equal(plot.upper, 2.0)


def test_band_over_few_positions_is_no_wider():
    every = simultaneous_bounds(500, np.arange(500))
    some = simultaneous_bounds(500, np.array([0, 250, 499]))
    assert (some[0] > every[0][[0, 250, 499]]).all()
    assert (some[1] < every[1][[0, 250, 499]]).all()


def test_many_values_keep_both_tails():
    values = np.random.default_rng(4).standard_normal(50_000)
    plot = normal_quantiles(values)
    assert plot.n == 50_000
    assert len(plot.values) < 5000
    np.testing.assert_array_equal(plot.values[[0, 1, -2, -1]], np.sort(values)[[0, 1, -2, -1]])


def test_scores_divide_blups_by_their_marginal_sd(fit):
    f = fit("Reaction ~ 1 + (1 | Subject)", "sleepstudy")
    m = f.matrices
    V, X, Z, D = m.V.toarray(), m.X.to_numpy(), m.Z.toarray(), m.D.toarray()
    Vi = np.linalg.inv(V)
    P = Vi - Vi @ X @ np.linalg.solve(X.T @ Vi @ X, X.T @ Vi)
    marginal = np.diag(D @ Z.T @ P @ Z @ D)  # Var(b̂) with b̂ = D ZᵀP y
    ((term, scores),) = effect_scores(f, "Subject")
    assert term == "Intercept"
    np.testing.assert_allclose(scores, f.ranef()["estimate"] / np.sqrt(marginal), rtol=1e-8)


def test_scores_of_normal_effects_are_standard_whatever_the_group_sizes():
    ((_, scores),) = effect_scores(many_groups(), "g")
    # 300 nearly independent standard normal values: the sd of their sd is 0.04
    assert scores.std() == pytest.approx(1.0, abs=0.13)


def test_scores_at_the_boundary_are_missing(fit):
    ((_, scores),) = effect_scores(fit("Yield ~ 1 + (1 | Batch)", "dyestuff2"), "Batch")
    assert np.isnan(scores).all()
    ax = fit("Yield ~ 1 + (1 | Batch)", "dyestuff2").plot.qq_ranef()
    assert "variance is estimated as 0" in ax.texts[0].get_text()


def test_scores_of_a_posterior_are_those_at_its_mean(fit, posterior):
    ((_, scores),) = effect_scores(posterior, "operator")
    m = fit("bright ~ 1 + (1 | operator)", "pulp").matrices
    d = posterior.draws
    sigma, theta = d.sigma.mean(), d.theta.mean()
    X, Z = m.X.to_numpy(), m.Z.toarray()
    D = (sigma * theta) ** 2 * np.eye(4)
    Vi = np.linalg.inv(Z @ D @ Z.T + sigma**2 * np.eye(20))
    P = Vi - Vi @ X @ np.linalg.solve(X.T @ Vi @ X, X.T @ Vi)
    marginal = np.diag(D @ Z.T @ P @ Z @ D)
    np.testing.assert_allclose(scores, posterior.ranef()["estimate"] / np.sqrt(marginal), rtol=1e-8)
    assert posterior.plot.qq_ranef().get_ylabel() == "posterior mean / its marginal sd"


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
