"""Replicated responses beside the observed one."""

import numpy as np
import pytest
import scipy

import ranef
from _ranef.plots.ppc import (
    Replicated,
    distribution_curves,
    group_check,
    is_discrete,
    replicated,
    statistic_check,
)

SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def legend(ax):
    return [t.get_text() for t in ax.get_legend().get_texts()]


def test_replications_are_those_of_simulate(fit):
    f = fit(*SLEEP)
    data = replicated(f, 7, "fitted", 3)
    np.testing.assert_array_equal(data.values, f.simulate(7, re="fitted", seed=3))
    np.testing.assert_array_equal(data.observed, ranef.datasets.load("sleepstudy")["Reaction"])


def test_densities_have_unit_mass_and_steps_are_distribution_functions():
    rng = np.random.default_rng(1)
    data = Replicated(rng.standard_normal(400), rng.standard_normal((400, 2)))
    for x, y in distribution_curves(data, cumulative=False):
        assert scipy.integrate.trapezoid(y, x) == pytest.approx(1, abs=0.01)
    (x, y), *others = distribution_curves(data, cumulative=True)
    np.testing.assert_allclose(y, (data.observed[:, None] <= x).mean(axis=0))
    assert len(others) == 2


def test_share_above_counts_ties_half():
    check = statistic_check(Replicated(np.array([1.0, 2.0]), np.array([[1.0, 0.0, 3.0], [2.0, 0.0, 4.0]])), "max")
    assert check.observed == 2
    np.testing.assert_array_equal(check.values, [2, 0, 4])
    assert check.p == pytest.approx((1 + 0.5) / 3)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_statistic_of_every_level_by_hand(fit, statistic):
    f, rng = fit(*SLEEP), np.random.default_rng(2)
    frame = ranef.datasets.load("sleepstudy")
    data = Replicated(frame["Reaction"].to_numpy(), rng.standard_normal((180, 30)) + 300)
    check = group_check(f, data, "Subject", statistic)
    observed = frame.groupby("Subject", observed=True)["Reaction"].agg(statistic).sort_values()
    np.testing.assert_allclose(check.observed, observed)
    assert list(check.levels) == observed.index.astype(str).tolist()
    rows = (frame["Subject"].astype(str) == check.levels[4]).to_numpy()
    own = getattr(np, statistic)(data.values[rows], axis=0)
    np.testing.assert_allclose(check.quantiles[:, 4], np.quantile(own, [0.025, 0.25, 0.5, 0.75, 0.975]))
    assert check.inside == np.mean((check.observed > check.quantiles[0]) & (check.observed < check.quantiles[4]))


def test_few_values_are_drawn_as_steps():
    rng = np.random.default_rng(3)
    assert is_discrete(rng.integers(1, 6, 500).astype(float))
    assert not is_discrete(rng.standard_normal(500))


def test_figures_name_what_they_show(fit, posterior):
    ax = posterior.plot.ppc(20, seed=1, kind="density")
    assert legend(ax) == ["20 responses, posterior predictive", "observed"]
    assert ax.get_xlabel() == "bright"
    assert len(ax.lines) == 21
    handle = ax.get_legend().get_lines()[0]
    assert (handle.get_color(), handle.get_alpha()) == (ax.lines[0].get_color(), 1.0)
    assert handle.get_linewidth() > 2 * ax.lines[0].get_linewidth()
    eb = fit(*SLEEP).plot
    assert eb.ppc(5, seed=1, kind="ecdf").get_ylabel() == "share of rows at or below"
    ax = eb.ppc(100, lambda y: np.ptp(y), seed=1)
    assert ax.get_xlabel() == "statistic of Reaction"
    assert ax.lines[0].get_xdata()[0] == np.ptp(ranef.datasets.load("sleepstudy")["Reaction"])
    assert sum(p.get_height() for p in ax.patches) == 100
    ax = eb.ppc(60, group="Subject", seed=1, re="new")
    assert ax.get_xlabel() == "mean of Reaction by Subject"
    assert len(ax.get_yticks()) == 18
    assert ax.get_title().endswith("simulated at the REML estimates")


def test_a_good_model_covers_the_means_of_its_groups(fit):
    f = fit(*SLEEP)
    assert group_check(f, replicated(f, 400, "fitted", 1), "Subject", "mean").inside >= 0.9


def test_impossible_requests_say_why(fit):
    plots = fit(*SLEEP).plot
    with pytest.raises(ranef.DesignError, match="Did you mean 'mean'"):
        plots.ppc(statistic="meen")
    with pytest.raises(ranef.DesignError, match="one number"):
        plots.ppc(2, np.sort)
    with pytest.raises(ranef.DesignError, match="positive whole number"):
        plots.ppc(0)
    with pytest.raises(ranef.DesignError, match="n=111111 or less"):
        plots.ppc(1_000_000)
    with pytest.raises(ranef.DesignError, match="'density', 'ecdf'"):
        plots.ppc(kind="histogram")
    with pytest.raises(ranef.DesignError, match="Did you mean 'Subject'"):
        plots.ppc(group="Subjet")
