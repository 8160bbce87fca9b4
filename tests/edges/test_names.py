"""Names and levels with spaces, other scripts, and characters that R, LaTeX or HTML reserve."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.support.escaped_names import printable
from nasty import MANY, rows_of

FORMULA = "y ~ x + f + (x | g)"
LEVELS = ("a:b", "a b", "it's", 'say "hi"', "😀", "`tick`", "<b>x</b> & y", "α_1 $ % #")
NAMES = (
    "dose (mg/kg)",
    " leading",
    "1st",
    "if",
    "TRUE",
    "NA",
    "T",
    "0",
    "log",
    "I(x)",
    "x.y",
    "_x",
    "a:b",
    "a|b",
    "a ~ b",
    "a-b",
    "#",
    '"quoted"',
    "réaction",
    "日本",
    "😀",
    "<i>",
)


def data() -> pd.DataFrame:
    rng = np.random.default_rng(6)
    g, x, f = np.repeat(np.arange(8), 6), rng.normal(size=48), rng.permutation(np.arange(48) % 3)
    y = 1 + x + (f == 1) + rng.normal(size=8)[g] * (1 + x) + 0.5 * rng.normal(size=48)
    return pd.DataFrame({"y": y, "x": x, "f": np.array(["p", "q", "r"])[f], "g": [f"g{k}" for k in g]})


@pytest.fixture(scope="module")
def plain():
    return ranef.Model(FORMULA, data()).fit()


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_predictor(name, plain):
    renamed = data().rename(columns={"x": name})
    fit = ranef.Model(f"y ~ `{name}` + f + (`{name}` | g)", renamed).fit()
    assert fit.criterion == plain.criterion
    assert list(fit.fixef.index) == ["Intercept", name, "f[T.q]", "f[T.r]"]
    assert list(fit.theta.index) == ["g.Intercept", f"g.{name}.Intercept", f"g.{name}"]
    assert set(fit.ranef()["term"]) == {"Intercept", name}
    assert list(fit.coef().columns) == ["Intercept", name, "f[T.q]", "f[T.r]"]
    assert name in fit.tidy()["term"].tolist()
    assert name in str(fit.summary())
    assert html.escape(name) in fit.summary()._repr_html_()
    np.testing.assert_array_equal(fit.predict(renamed), fit.fitted())


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_response_and_group(name, plain):
    other = data().rename(columns={"y": f"{name}y", "g": name, "f": f"{name} f"})
    fit = ranef.Model(f"`{name}y` ~ x + `{name} f` + (x | `{name}`)", other).fit()
    assert fit.criterion == plain.criterion
    assert fit.varcorr["group"].tolist() == [name] * 3 + ["Residual"]
    assert fit.coef(name).shape == (8, 4)
    assert list(fit.fixef.index)[2:] == [f"{name} f[T.q]", f"{name} f[T.r]"]
    assert f"groups:  {name}, 8" in str(fit.summary())
    assert f"{name}y" in fit.augment()
    np.testing.assert_array_equal(fit.predict(other, re=[name]), fit.fitted())


@pytest.mark.parametrize("style", ["scalar", "matrix", "hierarchical"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_in_equations(name, style):
    """LaTeX must not see a reserved character bare, and its braces must match."""
    renamed = data().rename(columns={"x": name, "g": f"{name} g"})
    equation = ranef.Model(f"y ~ `{name}` + f + (`{name}` | `{name} g`)", renamed).fit().equation(style)
    latex = equation.latex.replace(r"\\", "")
    assert latex.replace(r"\{", "").count("{") == latex.replace(r"\}", "").count("}")
    for reserved in "#$%":
        assert latex.count(reserved) == latex.count(f"\\{reserved}")


def test_any_label_of_a_level(plain):
    label = {f"g{k}": level for k, level in enumerate(LEVELS)}
    factor = {"p": "a:b", "q": "c d", "r": "[T.q]"}
    other = data().assign(g=lambda d: d["g"].map(label), f=lambda d: d["f"].map(factor))
    fit = ranef.Model(FORMULA, other).fit()
    # levels are sorted by their labels, so sums run in another order: rounding only
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-7)
    effects = fit.ranef().set_index(["level", "term"])["estimate"]
    assert set(effects.index.get_level_values("level")) == set(LEVELS)
    for level, term, estimate in plain.ranef()[["level", "term", "estimate"]].itertuples(index=False):
        assert effects[label[level], term] == pytest.approx(estimate, abs=1e-5)
    np.testing.assert_array_equal(fit.predict(other), fit.fitted())
    assert str(fit.summary())
    assert fit.matrices.cluster("😀").y.shape == (6,)


def test_interactions_of_labels_with_colons(plain):
    """Labels are joined by ':'; two cells that would get one label are refused, others are not."""
    twice = pd.concat([data().assign(h="u:v"), data().assign(h="w")], ignore_index=True)
    fit = ranef.Model("y ~ x + (1 | g:h)", twice).fit()
    assert {"g0:u:v", "g0:w"} < set(fit.ranef()["level"])
    clash = data().assign(a=lambda d: np.where(d["x"] < 0, "p:q", "p"), b=lambda d: np.where(d["x"] < 0, "r", "q:r"))
    with pytest.raises(ranef.DesignError, match=r"Different levels of a:b have the same label"):
        ranef.Model("y ~ x + (1 | a:b)", clash)


@pytest.mark.parametrize("formula", ["y ~ Intercept + (1 | g)", "y ~ 1 + (Intercept | g)"])
def test_a_column_named_as_the_intercept_is(formula):
    with pytest.raises(ranef.DesignError, match=r"have the name 'Intercept'.*Rename that column"):
        ranef.Model(formula, data().rename(columns={"x": "Intercept"}))


@pytest.mark.parametrize(
    ("name", "given"), [("sigma", {}), ("power", {"variance": ranef.VarPower("z")}), ("Phi", {"correlation": "AR1"})]
)
def test_a_column_named_as_a_parameter_of_the_residuals_is(name, given):
    """Intervals and priors go by names, in which one hid the other."""
    given = {"correlation": ranef.AR1("row", group="g")} if given.get("correlation") else given
    own = data().assign(z=2.0 + data()["x"] ** 2, row=lambda d: d.groupby("g").cumcount())
    own = own.rename(columns={"x": name})
    with pytest.raises(ranef.DesignError, match=f"name '{name}'.*parameter of the residuals. Rename"):
        ranef.Model(f"y ~ {name} + (1 | g)", own, **given)
    assert name == "sigma" or ranef.Model(f"y ~ {name} + (1 | g)", own).fit().fixef[name]
    assert ranef.Model(f"y ~ {'f'} + (0 + {name} | g)", own).fit().ok


def test_a_column_named_intercept_without_an_intercept():
    """It is an effect like any other, and not taken for a column of ones."""
    far = data().assign(y=lambda d: d["y"] + 1e4)
    plain = ranef.Model("y ~ 0 + x + (0 + x | g)", far).fit()
    fit = ranef.Model("y ~ 0 + Intercept + (0 + Intercept | g)", far.rename(columns={"x": "Intercept"})).fit()
    assert fit.criterion == pytest.approx(plain.criterion, rel=1e-12)
    assert fit.fixef["Intercept"] == pytest.approx(plain.fixef["x"], rel=1e-10)
    np.testing.assert_allclose(fit.fitted(), plain.fitted(), rtol=1e-8)


def test_a_column_named_as_a_level_is():
    with pytest.raises(ranef.DesignError, match=r"have the name 'f\[T.q\]'"):
        ranef.Model("y ~ `f[T.q]` + f + (1 | g)", data().rename(columns={"x": "f[T.q]"}))


@pytest.mark.parametrize("style", ["latex", "html", "markdown", "text"])
def test_names_that_would_break_a_table(style):
    """Each level has one line of its own in every rendering, and its name stands there."""
    fit = ranef.Model("y ~ 1 + (1 | g)", rows_of(MANY)).fit()
    table = ranef.pooling(fit).table(max_levels=100)
    source = str(table) if style == "text" else getattr(table, f"to_{style}")()
    assert not set(source) & set("\x00\x07\r\t\u2028\u2029\u202e\u200b")
    if style != "html":
        assert sum("Intercept" in line for line in source.splitlines()) == len(MANY)
    for hidden in ("line\nbreak", "nul\x00l", "u\u2028v", "\u202eevil"):
        escaped = {"latex": r"\textbackslash{}", "markdown": r"\\"}.get(style, "\\")
        assert printable(hidden).replace("\\", escaped) in source


def test_equations_of_names_with_hidden_characters():
    name = "a\n\nb\x00\u2028"
    data = rows_of(list("abcdefgh"), f"{name}g", name)
    for style in ("scalar", "matrix", "hierarchical"):
        equation = ranef.Model(f"y ~ `{name}` + (`{name}` | `{name}g`)", data).fit().equation(style)
        for source in (equation.latex, str(equation)):
            assert not set(source) & set("\x00\u2028")
            assert "\n\n" not in source
