"""Figures with names that mean something to matplotlib, or that break a line."""

import warnings

import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text

import ranef
from _ranef.support.escaped_names import printable
from nasty import FEW, MANY, rows_of

FIGURES = (
    *(
        "ranef",
        "shrinkage",
        "lines",
        "path",
        "residuals_by_group",
        "diagnostics",
        "qq_ranef",
        "pattern",
        "joint",
        "ppc",
    ),
    *("ppc", "scale_location", "qq", "residuals"),
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words_of(drawn):
    """All that a figure says, as a reader sees it: matplotlib takes the backslash before a dollar away."""
    figure = drawn.get_figure(root=True)
    figure.canvas.draw()
    return [t.get_text().replace("\\$", "$") for t in figure.findobj(Text)]


def quietly(call, *args, **options):
    """Characters that no font has are told, which is right; everything else is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No installed font")
        return call(*args, **options)


def test_every_level_is_named_in_its_own_characters():
    fit = ranef.Model("y ~ 1 + (1 | g)", rows_of(FEW)).fit()
    words = quietly(lambda: words_of(fit.plot.ranef()))
    for level in FEW:
        assert (printable(level) or "''") in words


def test_the_same_in_the_figure_that_is_saved(tmp_path):
    model = ranef.Model("y ~ 1 + (1 | g)", rows_of(("$10% to $20%", "a\nb", "c\x00")))
    both = ranef.compare({"$\\alpha$ of $\\beta$": model.fit(), "ml": model.fit("ML")})
    for kind in ("png", "svg", "pdf"):
        assert quietly(both.save_figure, tmp_path / f"figure.{kind}").stat().st_size > 1000
    assert any("$\\alpha$ of $\\beta$: BLUP" in words for words in words_of(both.plot.ranef()))


def test_names_of_columns():
    name = "$5 & $6 \\frac{"
    data = rows_of(list("abcdefgh"), f"{name}g", name, f"{name}y")
    fit = ranef.Model(f"`{name}y` ~ `{name}` + (`{name}` | `{name}g`)", data).fit()
    for figure in ("ranef", "path"):
        words = " ".join(words_of(getattr(fit.plot, figure)()))
        assert f"{name}g: {name}" in words
        assert f"{name}y" in words


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_with_every_level(figure):
    fit = ranef.Model("y ~ x + (x | g)", rows_of(MANY)).fit()
    quietly(lambda: words_of(getattr(fit.plot, figure)()))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MANY if name.strip() and "`" not in name])
def test_every_figure_of_such_columns(name):
    data = rows_of([f"l{k}" for k in range(8)], f"{name}g", name, f"{name}y")
    fit = ranef.Model(f"`{name}y` ~ `{name}` + (`{name}` | `{name}g`)", data).fit()
    for figure in FIGURES:
        quietly(lambda figure=figure: words_of(getattr(fit.plot, figure)()))
        plt.close("all")
