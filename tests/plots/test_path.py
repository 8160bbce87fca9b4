"""Paths of pooling: against the closed form of one random intercept, and what is drawn."""

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.plots import ComparisonPlots, FitPlots
from _ranef.plots.names import spread_labels
from _ranef.plots.path import path_figure, pooling_paths
from _ranef.plots.selection import Selection

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
RATIOS = np.array([0.0, 0.2, 0.5, 1.0, 3.0, np.inf])


def closed_form(own, rows, group="g"):
    """λ times the level's own estimate, λ = n r²/(n r² + 1)."""
    parts = []
    for i, (y, n) in enumerate(zip(own, rows, strict=True)):
        with np.errstate(divide="ignore"):
            weight = 1.0 / (1.0 + 1.0 / (n * RATIOS**2))
        row = {"group": group, "level": f"l{i}", "term": "Intercept", "ratio": RATIOS}
        parts.append(pd.DataFrame({**row, "estimate": weight * y, "reliability": weight}))
    return pd.concat(parts, ignore_index=True)


def test_balanced_paths_are_straight_in_the_position():
    (path,) = pooling_paths(closed_form([-1.0, 0.5, 2.0], [4, 4, 4]))
    assert path.half == pytest.approx(0.5, rel=1e-12)
    position = path.position(path.ratios)
    assert position[[0, -1]].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(path.estimates, np.outer(position, [-1.0, 0.5, 2.0]), rtol=1e-12)
    np.testing.assert_allclose(path.at(0.7), 4 * 0.49 / (4 * 0.49 + 1) * np.array([-1.0, 0.5, 2.0]), rtol=1e-12)


def test_half_way_is_that_of_the_median_level():
    assert pooling_paths(closed_form([1.0, 1.0, 1.0], [1, 16, 100]))[0].half == pytest.approx(0.25)


def test_positions_of_the_frame_count():
    frame = closed_form([1.0, 2.0], [4, 4])
    frame["position"] = 1.0 - 9.0 / (frame["ratio"] ** 2 + 9.0)
    assert pooling_paths(frame)[0].half == pytest.approx(3.0)


@pytest.mark.parametrize("rows", [1, 25, 4000])
def test_ticks_are_round_and_apart(rows):
    (path,) = pooling_paths(closed_form([1.0], [rows]))
    ticks = path.ticks()
    assert ticks[0] == 0
    assert np.isinf(ticks[-1])
    assert len(ticks) >= 5
    assert (np.diff(path.position(ticks)) >= 0.085 - 1e-12).all()


def test_of_many_levels_some_are_shown():
    (path,) = pooling_paths(closed_form(np.linspace(-1, 1, 40), [4] * 40), Selection((), 5))
    assert path.title == "g: Intercept\n5 of 40 levels, evenly spaced by rank"
    assert set(path.estimates[-1]) >= {-1.0, 1.0}


def test_labels_are_moved_apart_and_no_further():
    rng = np.random.default_rng(1)
    for _ in range(50):
        heights = rng.standard_normal(12)
        out = spread_labels(heights, 0.1)
        assert (np.diff(out[np.argsort(heights)]) >= 0.1 - 1e-12).all()
        assert out.mean() == pytest.approx(heights.mean())
    apart = np.array([3.0, 1.0, 2.0])
    np.testing.assert_allclose(spread_labels(apart, 0.5), apart)
    np.testing.assert_allclose(spread_labels(np.zeros(3), 1.0), [-1.0, 0.0, 1.0])


def test_a_frame_without_its_columns_is_refused():
    with pytest.raises(ranef.DesignError, match="lacks the columns ratio"):
        path_figure(closed_form([1.0], [2]).drop(columns="ratio"))
    with pytest.raises(ranef.DesignError, match="two or more"):
        path_figure(closed_form([1.0], [2]).query("ratio == 1"))


def test_figure_marks_the_estimate_and_the_posterior():
    frame = closed_form([-1.0, 2.0], [4, 4])
    draws = np.random.default_rng(1).uniform(0.3, 0.9, 500)
    ax = path_figure(frame, 0.5, draws, response="bright")
    (path,) = pooling_paths(frame)
    (line,) = [line for line in ax.lines if line.get_label() == "REML estimate"]
    assert line.get_xdata()[0] == pytest.approx(0.5)
    (marks,) = [line for line in ax.lines if line.get_label() == "BLUP"]
    np.testing.assert_allclose(marks.get_ydata(), [-0.5, 1.0])
    (strip,) = ax.child_axes
    assert strip.lines[0].get_xdata()[0] == pytest.approx(float(path.position(np.median(draws))))
    values, edges, _ = strip.patches[0].get_data()
    assert np.sum(values * np.diff(edges)) == pytest.approx(1.0)
    assert next(t.get_text() for t in ax.get_xticklabels()).startswith("0")
    assert {t.get_text() for t in ax.texts} == {"l0", "l1"}
    ax.figure.canvas.draw()


def test_the_line_of_a_fit_meets_its_blups(fit, posterior):
    eb = fit(*PULP)
    ax = ComparisonPlots({"eb": eb, "fb": posterior}, 0.95).path()
    (marks,) = [line for line in ax.lines if line.get_label() == "BLUP"]
    # straight paths between the ratios evaluated, with β̂ fixed by balance
    np.testing.assert_allclose(marks.get_ydata(), eb.ranef()["estimate"], rtol=1e-6)
    assert len(ax.child_axes) == 1
    assert ax.figure.legends[0].get_title().get_text() == PULP[0]


def test_one_term_of_several(fit):
    plots = FitPlots(fit("Reaction ~ Days + (Days | Subject)", "sleepstudy"))
    assert plots.path(term="Days").get_title() == "Subject: Days"
    assert len(plots.path().axes) == 2
    with pytest.raises(ranef.DesignError, match="Days"):
        plots.path(term="days")


def test_a_posterior_alone_has_no_estimate(posterior):
    ax = FitPlots(posterior).path()
    assert not [line for line in ax.lines if line.get_label() in ("REML estimate", "BLUP")]
    assert len(ax.child_axes) == 1


def test_the_ends_of_a_path_are_what_they_are_called(fit):
    """All of a factor in proportion ends at no pooling; one effect alone does not, and does not say so."""
    eb = fit("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    frame = ranef.pooling(eb).frame
    for ax, term in zip(FitPlots(eb).path().axes, ("Intercept", "Days"), strict=True):
        words = [t.get_text() for t in ax.get_xticklabels()]
        assert (words[0], words[-1]) == ("0\ncomplete\npooling", "∞\nno\npooling")
        assert ax.get_xlabel() == f"sd({term} | Subject) / σ, others in proportion"
        (lines,) = ax.collections
        own = frame.loc[frame["term"] == term, "no_pooling"]
        np.testing.assert_allclose([line[-1, 1] for line in lines.get_segments()], own, rtol=1e-9)
    ax = FitPlots(eb).path(term="Days")
    words = [t.get_text() for t in ax.get_xticklabels()]
    assert (words[0], words[-1]) == ("0", "∞")
    assert ax.get_xlabel() == "sd(Days | Subject) / σ alone, other variances as estimated"


def test_an_effect_without_variance_beside_one_with():
    """Its ratio is zero up to the estimate; the axis still holds each ratio once, and the path each place."""
    frame = pd.DataFrame(
        {
            "group": "g",
            "level": "l",
            "term": "x",
            "scale": [0.0, 0.5, 1.0, 2.0, np.inf],
            "ratio": [0.0, 0.0, 0.0, np.sqrt(3.0), np.inf],
            "estimate": [0.0, 0.0, 0.0, 1.5, 2.0],
            "reliability": [0.0, 0.0, 0.0, 0.75, 1.0],
            "position": [0.0, 0.2, 0.5, 0.8, 1.0],
        }
    )
    (path,) = pooling_paths(frame)
    np.testing.assert_allclose(path.position(np.array([0.0, 1e-9, np.sqrt(3.0), np.inf])), [0.0, 0.5, 0.8, 1.0])
    # odds 1 + r²
    np.testing.assert_allclose(path.position(np.sqrt([1.0, 2.0])), [2 / 3, 3 / 4])
    assert path.at(0.0) == 0.0
    path_figure(frame, 0.0).figure.canvas.draw()
