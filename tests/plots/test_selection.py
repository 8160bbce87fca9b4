"""`group=`, `term=` and `levels=` mean the same in every figure."""

import numpy as np
import pytest

import ranef
from _ranef.inference import effect_scores
from _ranef.plots import ComparisonPlots, FitPlots
from _ranef.plots.qq import chosen_quantiles
from _ranef.plots.selection import Selection, select, spread

SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")
CROSSED = ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
THREE = ["308", "337", "351"]


def named(ax, which="y"):
    return [t.get_text() for t in (ax.get_yticklabels() if which == "y" else ax.get_xticklabels())]


def axes_of(drawn):
    return drawn.axes if hasattr(drawn, "axes") and not hasattr(drawn, "get_xlim") else [drawn]


@pytest.fixture
def both(fit):
    ml = ranef.Model(SLEEP[0], ranef.datasets.load("sleepstudy")).fit("ML")
    return ComparisonPlots({"REML": fit(*SLEEP), "ML": ml}, 0.95)


def test_a_column_or_several_choose_panels(fit):
    spec = fit("score ~ Machine + (Machine | Worker)", "Machines").spec
    assert select(spec).columns == ((0, 0), (0, 1), (0, 2))
    assert select(spec, term="Machine[T.B]").columns == ((0, 1),)
    assert select(spec, term=["Machine[T.C]", "Intercept"]).columns == ((0, 0), (0, 2))


def test_a_column_of_several_factors(fit):
    spec = fit(*CROSSED).spec
    assert select(spec, term="Intercept").columns == ((0, 0), (1, 0))
    assert select(spec, "sample", "Intercept").columns == ((1, 0),)


def test_levels_by_name_leave_out_factors_that_have_none(fit):
    selection = select(fit(*CROSSED).spec, levels=["A", "F"])
    assert selection.columns == ((1, 0),)
    assert selection.positions(["F", "B", "A"]).tolist() == [0, 2]


def test_levels_by_number_are_evenly_spaced_in_the_order_of_the_figure():
    assert Selection((), 3).positions("abcde").tolist() == [0, 2, 4]
    assert Selection((), 9).positions("abcde").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("levels", [[308, 337, 351], THREE, np.array([351, 337, 308]), ("308", 337, "351", 337)])
def test_levels_of_any_type_of_name(fit, levels):
    assert sorted(named(FitPlots(fit(*SLEEP)).ranef(term="Days", levels=levels))) == THREE


def test_one_name_is_a_list_of_one(fit):
    assert named(FitPlots(fit(*SLEEP)).ranef(term="Days", levels="308")) == ["308"]


def test_every_figure_of_levels_shows_those_chosen(fit, both):
    plots = FitPlots(fit(*SLEEP))
    ask = {"term": "Days", "levels": THREE}
    for drawn in (
        plots.ranef(**ask),
        plots.shrinkage(**ask),
        both.ranef(**ask),
        both.shrinkage(**ask),
        both(**ask),
        plots.residuals_by_group(levels=THREE),
        plots.ppc(20, group="Subject", levels=THREE, seed=1),
    ):
        (ax,) = axes_of(drawn)
        assert sorted(named(ax)) == THREE
        drawn.figure.canvas.draw()
    assert sorted(named(plots.diagnostics(levels=THREE).axes[3], "x")) == THREE
    for drawn in (plots.lines(levels=THREE), both.lines(levels=THREE, term="Days")):
        assert sorted(ax.get_title() for ax in axes_of(drawn)) == THREE
    spaghetti = plots.lines(kind="spaghetti", levels=THREE)
    assert spaghetti.get_title() == "Subject: 3 of 18 levels"
    plane = plots.shrinkage(levels=THREE)
    assert plane.get_title() == "Subject: Intercept and Days\n3 of 18 levels"
    (line,) = [line for line in plane.lines if line.get_label() == "no pooling"]
    assert len(line.get_xdata()) == 3


def test_decomposition_of_some_levels(fit, posterior):
    plots = ComparisonPlots({"eb": fit("bright ~ 1 + (1 | operator)", "pulp"), "fb": posterior}, 0.95)
    assert sorted(named(plots.decomposition(levels=["a", "d"], draws=20))) == ["a", "d"]
    with pytest.raises(ranef.DesignError, match="no level of operator"):
        plots.decomposition(levels=["x"], draws=20)


def test_panels_say_how_many_levels_they_show(fit):
    plots = FitPlots(fit(*SLEEP))
    assert plots.ranef(term="Days", levels=THREE).get_title() == "Subject: Days\n3 of 18 levels"
    assert plots.ranef(term="Days", levels=3).get_title() == "Subject: Days\n3 of 18 levels, evenly spaced by rank"


def test_chosen_levels_keep_their_place_among_all_quantiles(fit):
    f = fit(*SLEEP)
    (_, scores), _ = effect_scores(f, "Subject")
    names = list(f.spec.groupings[0].levels)
    plot = chosen_quantiles(scores, names, select(f.spec, levels=THREE))
    whole = chosen_quantiles(scores, names, select(f.spec))
    assert set(plot.names) == set(THREE)
    for x, y, name in zip(plot.theoretical, plot.values, plot.names, strict=True):
        assert y == scores[names.index(name)]
        assert x == whole.theoretical[whole.values == y]
    ax = FitPlots(f).qq_ranef(term="Days", levels=THREE)
    assert sorted(t.get_text() for t in ax.texts) == THREE


def test_quantiles_of_all_factors_or_of_one(fit):
    plots = FitPlots(fit(*CROSSED))
    assert [ax.get_title() for ax in plots.qq_ranef().axes] == ["plate: Intercept", "sample: Intercept"]
    assert plots.qq_ranef("sample").get_title() == "sample: Intercept"
    with pytest.raises(ranef.DesignError, match="no random effects to draw"):
        FitPlots(fit("Reaction ~ Days", "sleepstudy")).qq_ranef()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (
            {"levels": ["38"]},
            r"names '38', which is no level of Subject. Did you mean '308'\? .* 308, .* \(18 in all\)",
        ),
        ({"levels": []}, "names no level"),
        ({"levels": 0}, "at least 1"),
        ({"levels": 1.5}, "at least 1, or a list of names"),
        ({"levels": True}, "at least 1"),
        ({"term": "Dayz"}, "Did you mean 'Days'"),
        ({"term": []}, "names no effect"),
        ({"term": ["Intercept", "x"]}, "no random effect 'x'"),
        ({"group": "Subjet"}, "Did you mean 'Subject'"),
    ],
)
def test_what_does_not_exist_is_named_in_every_figure(fit, both, ask, words):
    plots = FitPlots(fit(*SLEEP))
    for draw in (plots.ranef, plots.shrinkage, plots.qq_ranef, plots.lines, both, both.ranef):
        with pytest.raises(ranef.DesignError, match=words):
            draw(**ask)
    if "levels" in ask:
        for draw in (plots.residuals_by_group, plots.diagnostics):
            with pytest.raises(ranef.DesignError, match=words):
                draw(**ask)


def test_levels_of_a_check_need_its_group(fit):
    with pytest.raises(ranef.DesignError, match="name it by group="):
        FitPlots(fit(*SLEEP)).ppc(5, levels=["308"])


def test_spread_keeps_the_ends():
    assert spread(5, 60).tolist() == [0, 1, 2, 3, 4]
    assert spread(1000, 3).tolist() == [0, 500, 999]
    assert spread(0, 3).size == 0
