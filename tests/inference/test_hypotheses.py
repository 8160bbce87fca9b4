"""Linear hypotheses: how they are written, and what is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from _ranef.inference import hypotheses

NAMES = ["Intercept", "x", "x:z", "poly(x, 2)[1]", "f[T.a b]", "I(x == 1)[T.True]", "x2"]


def row(**coefficients):
    return [coefficients.get(name, 0.0) for name in ("Intercept", "x", "xz", "poly", "f", "i", "x2")]


@pytest.mark.parametrize(
    ("text", "L", "value"),
    [
        ("x", [row(x=1)], [0]),
        ("x = 3", [row(x=1)], [3]),
        ("x == 3", [row(x=1)], [3]),
        ("3 = x", [row(x=-1)], [-3]),
        ("x - 2*Intercept = 1", [row(x=1, Intercept=-2)], [1]),
        ("x2 = x", [row(x2=1, x=-1)], [0]),
        ("x:z = 0, f[T.a b] = 1e-2", [row(xz=1), row(f=1)], [0, 0.01]),
        ("poly(x, 2)[1] + 1 = 2*(x - x:z)/4", [row(poly=1, x=-0.5, xz=0.5)], [-1]),
        ("I(x == 1)[T.True] = -.5", [row(i=1)], [-0.5]),
        ("`x:z`*2 = `x`", [row(xz=2, x=-1)], [0]),
        ("x = x2 = 1", [row(x=1, x2=-1), row(x2=1)], [0, 1]),
        ("-x = +4", [row(x=-1)], [4]),
        (["x", "x2 = 1"], [row(x=1), row(x2=1)], [0, 1]),
        (np.eye(7)[1], [row(x=1)], [0]),
        (np.eye(7)[1:3], [row(x=1), row(xz=1)], [0, 0]),
        (pd.DataFrame({"x2": [2.0], "x": [1.0]}), [row(x=1, x2=2)], [0]),
    ],
)
def test_what_is_written(text, L, value):
    asked = hypotheses(text, NAMES)
    np.testing.assert_allclose(asked.L, L)
    np.testing.assert_allclose(asked.value, value)
    assert len(asked.texts) == len(L)


def test_rows_of_numbers_are_put_in_words():
    asked = hypotheses([[0, -1, 2, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, -0.5]], NAMES, value=[0, 3])
    assert asked.texts == ("-x + 2*x:z = 0", "Intercept - 0.5*x2 = 3")
    assert np.array_equal(hypotheses(", ".join(asked.texts), NAMES).L, asked.L)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("xs = 0", "Did you mean 'x'"),
        ("x*x2 = 0", "not linear"),
        ("1/x = 0", "not linear"),
        ("x/0 = 0", "not linear"),
        ("x = ", "expected at its end"),
        ("(x = 1", "a closing bracket is expected at '= 1'"),
        ("x = x", "on no coefficient"),
        ("x 2", "expected at '2'"),
        ("gone = 0", "other columns of X determine it"),
        ([[1, 2]], r"shape \(1, 2\); it must have 7"),
        ([[0] * 7], "Row 0 of L is zero"),
        ([[np.nan] + [0] * 6], "finite"),
        (object(), "must be equations as text"),
        (pd.DataFrame({"q": [1.0]}), "'q' of L is no coefficient"),
    ],
)
def test_what_cannot_be_read(given, words):
    with pytest.raises(ranef.DesignError, match=words):
        hypotheses(given, NAMES, ["gone"])


def test_a_value_beside_text():
    with pytest.raises(ranef.DesignError, match="after the equals sign"):
        hypotheses("x", NAMES, value=2)


@pytest.fixture(scope="module")
def oats():
    return ranef.Model("yield ~ nitro * Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()


@pytest.mark.parametrize("ddf", [None, "residual", "satterthwaite", "kenward-roger"])
def test_one_row_is_the_t_test_of_the_coefficient(oats, ddf):
    frame = oats.tidy(ddf=ddf or "satterthwaite").set_index("term").loc["nitro"]
    found = oats.test("nitro", ddf=ddf)
    t = oats.test("nitro", ddf=ddf).rows.iloc[0]
    assert found["statistic"][0] == pytest.approx(t["statistic"] ** 2, rel=1e-9)
    assert found["p"][0] == pytest.approx(t["p"], rel=1e-8)
    if ddf in ("satterthwaite", "kenward-roger"):
        assert t["df"] == pytest.approx(oats.tidy(ddf=ddf).set_index("term").loc["nitro", "df"], rel=1e-9)
    assert np.isinf(found["ddf"][0]) == (ddf is None)
    assert frame["estimate"] == pytest.approx(t["estimate"])


def test_chi_squared_is_the_quadratic_form(oats):
    L = np.eye(6)[[1, 3]] + 0.3
    c = np.array([1.0, -2.0])
    effect = L @ oats.fixef.to_numpy() - c
    expected = effect @ np.linalg.solve(L @ oats.vcov.to_numpy() @ L.T, effect)
    found = oats.test(L, c)
    assert found["statistic"][0] == pytest.approx(expected, rel=1e-10)
    assert found["p"][0] == pytest.approx(scipy.stats.chi2.sf(expected, 2), rel=1e-10)
    assert oats.test(L, c, ddf="residual")["statistic"][0] == pytest.approx(expected / 2, rel=1e-10)


@pytest.mark.parametrize("ddf", [None, "kenward-roger"])
def test_rows_that_others_make_do_not_count(oats, ddf):
    twice = oats.test("nitro = 70, Intercept = 80, Intercept + nitro = 150, 2*nitro = 140", ddf=ddf)
    once = oats.test("nitro = 70, Intercept = 80", ddf=ddf)
    assert twice["ndf"][0] == 2
    np.testing.assert_allclose(twice.to_numpy(float), once.to_numpy(float), rtol=1e-7)


def test_contradictions(oats):
    with pytest.raises(ranef.DesignError, match="contradict"):
        oats.test("nitro = 0, 2*nitro = 1")


def test_any_basis_of_the_rows_gives_the_same(oats):
    L, A = np.eye(6)[[1, 3, 4]], np.array([[2.0, 1, 0], [0, 1, -3], [1, 1, 1]])
    for ddf in (None, "residual", "kenward-roger"):
        first, second = oats.test(L, ddf=ddf), oats.test(A @ L, ddf=ddf)
        np.testing.assert_allclose(first.to_numpy(float), second.to_numpy(float), rtol=1e-8)


def test_it_prints_and_is_a_frame(oats):
    found = oats.test("nitro = 0, Variety[T.Marvellous] = 0", ddf="satterthwaite")
    assert str(found).splitlines()[0] == "Linear hypotheses. Tests use Satterthwaite's method"
    assert "F value NumDF DenDF   Pr(>F)" in str(found)
    assert type(found[["p"]]) is pd.DataFrame
    assert "<table>" in found._repr_html_()
    assert "Pr(>|z|)" in str(oats.test("nitro = 0"))


def test_the_posterior_says_where_it_is():
    data = ranef.datasets.load("sleepstudy")
    fb = ranef.Model("Reaction ~ Days + (Days | Subject)", data).sample(
        draws=300, seed=1, progress=False, sampler="direct"
    )
    found = fb.test("Days = 10, Intercept - 10*Days = 0")
    draws = fb.draws.beta.reshape(-1, 2)
    assert found["probability"].tolist() == [(draws[:, 1] > 10).mean(), (draws[:, 0] - 10 * draws[:, 1] > 0).mean()]
    assert found["estimate"][0] == pytest.approx(fb.fixef["Days"])
    low, high = np.quantile(draws[:, 1], [0.025, 0.975])
    assert found.loc[0, ["lower", "upper"]].tolist() == pytest.approx([low, high])


def test_names_of_any_columns():
    """As fixef has them, with blanks, commas and equals signs in them; R's brackets round the intercept do no harm."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"my x": rng.normal(size=60), "f, or h": rng.choice(["a b", "c=d", "e"], 60)})
    data = data.assign(g=np.arange(60) % 6, y=rng.normal(size=60))
    fit = ranef.Model("y ~ `my x` * `f, or h` + (1 | g)", data).fit()
    names = list(fit.fixef.index)
    assert names[2] == "f, or h[T.c=d]"
    for name in names:
        row = fit.test(f"2*{name} = 1").rows.iloc[0]
        assert row["estimate"] == pytest.approx(2 * fit.fixef[name], rel=1e-12)
    assert fit.test(", ".join(f"{name} = 0" for name in names))["ndf"][0] == len(names)
    assert fit.test("(Intercept) = 0")["p"][0] == fit.test("Intercept")["p"][0]
    assert fit.test("`my x`").rows["estimate"][0] == fit.fixef["my x"]
