"""What stands on a figure can be read: names do not overlap, nothing is cut, every script has its font."""

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.ft2font import FT2Font

import ranef
from _ranef.plots import ComparisonPlots, FitPlots
from _ranef.plots.names import name_levels, shortened

LONG = [f"A very long name of a school in the district number {i} of somewhere" for i in range(12)]


def fitted(names, rows=4, formula="y ~ x + (x | g)", seed=1, other=6):
    """A model of levels of these names, crossed with a few others."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(names)), rows)
    x = np.tile(np.arange(rows, dtype=float), len(names))
    b = rng.standard_normal((len(names), 2)) * [2.0, 0.6]
    data = pd.DataFrame({"x": x, "g": np.array(names)[g], "h": [f"item {i % other}" for i in range(len(g))]})
    data["f"] = np.array(["low", "mid", "high"])[np.arange(len(g)) % 3]
    data["y"] = 10 + 0.7 * x + b[g, 0] + b[g, 1] * x + rng.standard_normal(len(g))
    return ranef.Model(formula, data).fit()


def boxes(labels):
    return [t.get_window_extent() for t in labels if t.get_text() and t.get_visible()]


def apart(labels):
    """Whether the boxes of texts beside or above each other do not meet (slanted ones by their corners)."""
    return all(not a.overlaps(b) for a, b in pairwise(boxes(labels)))


def drawn(figure):
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize("n", [18, 60])
def test_names_of_levels_do_not_overlap(n):
    plots = FitPlots(fitted([f"level {i}" for i in range(n)]))
    for figure in (plots.ranef(term="x").figure, plots.residuals_by_group().figure, plots.diagnostics()):
        for ax in drawn(figure).axes:
            assert apart(ax.get_yticklabels())
            assert all(a.x1 <= b.x0 for a, b in pairwise(boxes(ax.get_xticklabels())))


def test_a_larger_figure_names_more_levels():
    ax = FitPlots(fitted([f"level {i}" for i in range(60)])).ranef(term="x")
    figure = ax.figure
    figure.set_size_inches(6.0, 3.0)
    few = len(boxes(drawn(figure).axes[0].get_yticklabels()))
    figure.set_size_inches(6.0, 14.0)
    assert len(boxes(drawn(figure).axes[0].get_yticklabels())) == 60
    assert 5 < few < 30


@pytest.mark.parametrize("n", [60, 2000])
def test_residuals_of_many_levels_stay_on_a_page(n):
    ax = FitPlots(fitted([str(i) for i in range(n)])).residuals_by_group()
    assert ax.figure.get_size_inches()[1] < 9.5


def test_crossed_effects_stay_on_a_page():
    """Four panels of up to 80 named levels once were 17 inches tall."""
    fit = fitted([str(i) for i in range(80)], formula="y ~ x + (x | g) + (x | h)", other=45)
    for figure in (fit.plot.ranef(), fit.plot.shrinkage(kind="dumbbell")):
        assert len(figure.axes) == 4
        assert figure.get_size_inches()[1] < 10.5


def test_long_names_leave_room_and_stay_apart():
    plots = FitPlots(fitted(LONG))
    lines = plots.lines(levels=8)
    for figure in (plots.ranef(), plots.diagnostics(), lines):
        for ax in drawn(figure).axes:
            assert ax.get_window_extent().width > 0.15 * figure.get_window_extent().width
            assert ax.get_window_extent().height > 0.15 * figure.get_window_extent().height
    titles = [ax.title for ax in lines.axes]
    assert apart(titles)
    assert len({t.get_text() for t in titles}) == 8


def test_shortened_names_keep_what_tells_them_apart():
    assert shortened(LONG)[:2] == ["…number 0 of…", "…number 1 of…"]
    assert shortened(["short", "names"]) == ["short", "names"]
    cut = shortened(["x" * 50, "y" * 50])
    assert [len(name) for name in cut] == [30, 30]
    alike = ["a" * 20 + "b" + "c" * 60, "a" * 20 + "d" + "c" * 60, "short"]
    assert len(set(shortened(alike))) == 3
    assert shortened([]) == []


@pytest.mark.parametrize("which", ["Z", "ZtZ", "L"])
@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | g) + (1 | h)", "y ~ x + (x | g) + (x | h) + (1 | f)"])
def test_blocks_of_a_pattern_have_names_that_do_not_meet(which, formula):
    ax = fitted([f"level {i}" for i in range(30)], formula=formula).plot.pattern(which)
    drawn(ax.figure)
    labels = ax.get_xticklabels()
    if labels[0].get_rotation():
        ends = [t.get_transform().transform(t.get_unitless_position())[0] for t in labels]
        high = labels[0].get_fontsize() * ax.figure.dpi / 72
        assert np.diff(ends).min() * np.sin(np.deg2rad(labels[0].get_rotation())) > high
    else:
        assert apart(labels)
    assert apart(ax.get_yticklabels()) or which == "Z"


def test_a_slopes_axis_has_its_unit(fit):
    f = fit("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    assert [ax.get_xlabel() for ax in f.plot.ranef().axes] == [
        "random effect on Reaction",
        "random effect on Reaction per unit of Days",
    ]
    plane = f.plot.shrinkage()
    assert plane.get_ylabel() == "Days: random effect on Reaction per unit of Days"


def test_ellipses_of_every_fit_are_in_the_legend(fit):
    f = fit("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    ml = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit("ML")
    ax = ComparisonPlots({"REML": f, "ML": ml}, 0.95).shrinkage()
    (legend,) = ax.figure.legends
    looks = {t.get_text(): h.get_linestyle() for t, h in zip(legend.get_texts(), legend.legend_handles, strict=True)}
    ellipses = {words: look for words, look in looks.items() if "Sigma" in words}
    assert list(ellipses.values()) == ["-", "--"]
    assert [words.split(": ")[1] for words in ellipses] == ["REML", "ML"]


# -- scripts ----------------------------------------------------------------------------------------------------


def test_characters_are_taken_from_another_font_that_has_them(monkeypatch):
    """STIX, which comes with matplotlib, has what DejaVu Sans lacks; matplotlib alone would draw a box."""
    own = FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap()
    stix = FT2Font(font_manager.findfont("STIXGeneral")).get_charmap()
    kept = [f for f in font_manager.fontManager.ttflist if f.name in ("DejaVu Sans", "DejaVu Sans Mono", "STIXGeneral")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", kept)
    known = {c for path in {f.fname for f in kept if f.name != "STIXGeneral"} for c in FT2Font(path).get_charmap()}
    letter = next(chr(c) for c in sorted(set(stix) - set(own) - known) if chr(c).isalpha() and chr(c).isprintable())
    names = [f"{letter}{i}" for i in range(6)]
    plots = FitPlots(fitted(names))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = [drawn(figure) for figure in (plots.ranef(), plots.lines(levels=4), plots.shrinkage().figure)]
    labels = figures[0].axes[0].get_yticklabels()
    assert sorted(t.get_text() for t in labels) == names
    assert {family for t in labels for family in t.get_fontfamily()} == {"sans-serif", "STIXGeneral"}
    assert all("STIXGeneral" in ax.title.get_fontfamily() for ax in figures[1].axes)


def test_without_a_font_there_is_one_warning_with_the_remedy(monkeypatch):
    kept = [f for f in font_manager.fontManager.ttflist if f.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", kept)
    plots = FitPlots(fitted(["北京", "上海", "広島", "서울", "ソウル"]))
    for draw in (plots.ranef, plots.lines, plots.shrinkage, plots.residuals_by_group):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            drawn(draw().figure)
        assert [w.category for w in caught] == [ranef.RanefWarning]
        assert "fonts-noto-cjk" in str(caught[0].message)
        assert "北" in str(caught[0].message)
        plt.close("all")


def test_settings_of_the_user_are_kept_first():
    with plt.rc_context({"font.family": ["DejaVu Serif"]}):
        ax = FitPlots(fitted(["a", "b", "ç", "d"])).ranef(term="x")
        assert ax.get_yticklabels()[0].get_fontfamily() == ["DejaVu Serif"]


def test_names_stand_at_their_places():
    _, ax = plt.subplots()
    ax.set_ylim(-0.5, 3.5)
    name_levels(ax, ["a", "b", "c", "d"])
    assert [(t.get_position()[1], t.get_text()) for t in ax.get_yticklabels()] == list(enumerate("abcd"))
