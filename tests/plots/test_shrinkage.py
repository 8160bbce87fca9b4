"""Shrinkage in the plane (arrays against closed forms) and as dumbbells, and what is drawn."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

import ranef
from _ranef.comparison.shrinkage import shrinkage_frame
from _ranef.plots import ComparisonPlots, FitPlots
from _ranef.plots.selection import select
from _ranef.plots.shrinkage import HEADED, covariance_of, ellipse, plane_limits, planes, uncrowded
from drawn import points, words

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def test_planes_hold_the_frames_numbers(fit):
    f = fit(*SLEEP)
    (plane,) = planes({"a": f}, select(f.spec))
    frame = shrinkage_frame(f).pivot(index="level", columns="term").loc[list(plane.levels)]
    assert plane.terms == ("Intercept", "Days")
    np.testing.assert_array_equal(plane.alone, frame["no_pooling"][["Intercept", "Days"]])
    np.testing.assert_array_equal(plane.pooled["a"], frame["estimate"][["Intercept", "Days"]])


def test_covariance_is_that_of_theta(fit):
    for formula in (SLEEP[0], "Reaction ~ Days + (Days || Subject)"):
        f = fit(formula, "sleepstudy")
        (lam,) = f.spec.lambdas(f.estimates.theta)
        np.testing.assert_allclose(covariance_of(f, "Subject"), f.sigma**2 * lam @ lam.T, rtol=1e-12, atol=1e-12)


def test_three_effects_make_three_planes(fit):
    f = fit("score ~ Machine + (Machine | Worker)", "Machines")
    pairs = [p.terms for p in planes({"a": f}, select(f.spec))]
    assert [(len(pairs)), *{len(p) for p in pairs}] == [3, 2]
    assert len(set(pairs)) == 3


def test_an_ellipse_is_a_contour_that_holds_its_probability():
    cov = np.array([[4.0, 1.0], [1.0, 0.5]])
    outline = ellipse(cov, 0.95)
    distance = np.einsum("na,ab,nb->n", outline, np.linalg.inv(cov), outline)
    np.testing.assert_allclose(distance, stats.chi2(2).ppf(0.95), rtol=1e-10)


def test_a_singular_covariance_makes_a_segment():
    outline = ellipse(np.array([[4.0, 2.0], [2.0, 1.0]]), 0.5)
    np.testing.assert_allclose(outline[:, 0], 2 * outline[:, 1], atol=1e-12)
    assert np.ptp(outline[:, 0]) > 1


def test_limits_hold_all_of_few_levels(fit):
    (plane,) = planes({"a": fit(*SLEEP)}, select(fit(*SLEEP).spec))
    low, high = plane_limits(plane, ellipse(plane.covariances["a"], 0.95))
    assert (plane.alone > low).all()
    assert (plane.alone < high).all()


def test_two_effects_are_drawn_as_arrows(fit):
    f = fit(*SLEEP)
    ax = FitPlots(f).shrinkage()
    (plane,) = planes({"eb": f}, select(f.spec))
    arrows = [t for t in ax.texts if t.arrow_patch is not None]
    np.testing.assert_allclose([t.xy for t in arrows], plane.pooled["eb"])
    np.testing.assert_allclose([t.get_position() for t in arrows], plane.alone)
    named = {t.get_text() for t in ax.texts} - {""}
    assert named <= set(plane.levels)
    assert {"308", "335", "309"} <= named
    assert ax.get_xlabel() == "Intercept: random effect on Reaction"
    ax.figure.canvas.draw()


def test_further_fits_are_hollow_marks_in_their_place(fit):
    ml = ranef.Model(SLEEP[0], ranef.datasets.load("sleepstudy")).fit("ML")
    ax = ComparisonPlots({"REML": fit(*SLEEP), "ML": ml}, 0.95).shrinkage()
    (line,) = [line for line in ax.lines if line.get_label() == "ML: BLUP"]
    np.testing.assert_array_equal(line.get_xydata(), planes({"ML": ml}, select(ml.spec))[0].pooled["ML"])
    assert line.get_markerfacecolor() == "none"


def test_many_levels_are_lines_and_a_level_with_one_row_has_none():
    rng = np.random.default_rng(3)
    g = np.r_[np.repeat(np.arange(HEADED + 50), 4), 10_000]
    x = rng.standard_normal(g.size)
    y = rng.standard_normal(10_001)[g] + x * rng.standard_normal(10_001)[g] + 0.3 * rng.standard_normal(g.size)
    ax = ranef.Model("y ~ x + (x | g)", {"y": y, "x": x, "g": g}).fit().plot.shrinkage()
    (lines,) = [c for c in ax.collections if len(c.get_segments()) > 1]
    assert len(lines.get_segments()) == HEADED + 50
    assert "1 of 201 levels do not determine both effects alone" in ax.get_title()
    assert not ax.texts


def test_names_that_would_overlap_are_left_out():
    rng = np.random.default_rng(4)
    centres, sizes = rng.uniform(0, 100, (40, 2)), np.tile([20.0, 8.0], (40, 1))
    kept = uncrowded(centres, sizes, np.arange(40))
    apart = np.abs(centres[kept, None] - centres[None, kept]) >= [20.0, 8.0]
    assert (apart.any(axis=2) | np.eye(len(kept), dtype=bool)).all()
    for j in set(range(40)) - set(kept):
        assert (np.abs(centres[j] - centres[[k for k in kept if k < j]]) < [20.0, 8.0]).all(axis=1).any()


def test_a_plane_needs_two_effects(fit):
    plots = FitPlots(fit("bright ~ 1 + (1 | operator)", "pulp"))
    with pytest.raises(ranef.DesignError, match="two random effects"):
        plots.shrinkage(kind="plane")
    with pytest.raises(ranef.DesignError, match="Did you mean 'plane'"):
        plots.shrinkage(kind="plan")


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
