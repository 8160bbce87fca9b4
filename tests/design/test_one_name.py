"""An interaction is the set of its factors: written in another order it is the same column, of the same name."""

import warnings

import numpy as np
import pandas as pd
import pytest

import ranef

RNG = np.random.default_rng(4)
N = 240
DATA = pd.DataFrame(
    {
        "a": RNG.normal(size=N),
        "b": RNG.normal(size=N),
        "k": RNG.normal(size=N),
        "f": RNG.choice(list("pq"), N),
        "h": RNG.choice(list("uvw"), N),
        "s": np.repeat(list("ABCDEFGHIJKL"), 20),
    }
)
SLOPES = dict(zip("ABCDEFGHIJKL", RNG.normal(0, 0.7, 12), strict=True))
DATA["y"] = (2.9 + DATA.s.map(SLOPES)) * DATA.a * DATA.b + DATA.s.map(SLOPES) + RNG.normal(size=N)


@pytest.mark.parametrize(
    ("formula", "straight"),
    [
        ("y ~ a*b + (1 + b:a | s)", "y ~ a*b + (1 + a:b | s)"),
        ("y ~ k*f + (f*k | s)", "y ~ k*f + (f + k + k:f | s)"),
        ("y ~ a*b*f + (0 + f:b:a | s)", "y ~ a*b*f + (0 + a:b:f | s)"),
        ("y ~ poly(a, 2):f + (0 + f:poly(a, 2) | s)", "y ~ poly(a, 2):f + (0 + poly(a, 2):f | s)"),
        ("y ~ a*f + (0 + f:a || s)", "y ~ a*f + (0 + a:f || s)"),
        ("y ~ (0 + b:a | s) + (0 + a:b | h)", "y ~ (0 + b:a | s) + (0 + b:a | h)"),
        ("y ~ a + (1 | f:h) + (0 + a | h:f)", "y ~ a + (1 | f:h) + (0 + a | f:h)"),
        ("y ~ b:a + (a*b | s)", "y ~ b:a + (a + b + b:a | s)"),
    ],
)
def test_the_first_name_written_is_the_name_everywhere(formula, straight):
    one, other = (ranef.Model(text, DATA).spec for text in (formula, straight))
    assert one.design.fixed_names == other.design.fixed_names
    for mine, theirs in zip(one.groupings, other.groupings, strict=True):
        assert (mine.name, set(mine.columns)) == (theirs.name, set(theirs.columns))
        np.testing.assert_array_equal(mine.levels, theirs.levels)
        for name in mine.columns:  # whatever their order, columns of one name hold the same numbers
            np.testing.assert_array_equal(
                mine.Z[:, mine.columns.index(name)], theirs.Z[:, theirs.columns.index(name)], err_msg=name
            )


def test_columns_keep_the_order_of_their_bar():
    """And with them θ, which is R's for `y ~ f:h + (h:f | s)`."""
    terms = ranef.Model("y ~ f*h + (0 + h:f | s)", DATA).spec.terms
    assert terms[0].columns == tuple(f"f[{f}]:h[{h}]" for f in "pq" for h in "uvw")


def test_coefficients_are_of_one_column():
    eb = ranef.Model("y ~ a*b + (1 + b:a | s)", DATA).fit()
    coef = eb.coef("s")
    assert list(coef.columns) == ["Intercept", "a", "b", "a:b"]
    effects = eb.ranef("s").query("term == 'a:b'").set_index("level").estimate
    np.testing.assert_allclose(coef["a:b"], eb.fixef["a:b"] + effects.loc[coef.index], rtol=1e-12)
    assert coef["a:b"].mean() == pytest.approx(2.9, abs=0.5)
    by_level = {s: np.linalg.lstsq(_own(rows), rows.y, rcond=None)[0][1] for s, rows in DATA.groupby("s")}
    assert np.corrcoef(coef["a:b"], pd.Series(by_level).loc[coef.index])[0, 1] > 0.9
    pooled = ranef.pooling(eb).coef.query("term == 'a:b'")
    np.testing.assert_allclose(pooled.complete, eb.fixef["a:b"])
    np.testing.assert_allclose(pooled.partial, coef.loc[pooled.level, "a:b"], rtol=1e-8)


def _own(rows):
    return np.column_stack([np.ones(len(rows)), rows.a * rows.b])


def test_draws_are_named_alike():
    """What the posterior's draws are stored by, seen in those of the prior."""
    drawn = ranef.Model("y ~ a*b + (1 + b:a | s)", DATA).prior_predictive(draws=2, seed=1)["prior"]
    assert drawn.coords["coefficient"].values.tolist() == ["Intercept", "a", "b", "a:b"]
    assert drawn.coords["s_term"].values.tolist() == ["Intercept", "a:b"]
    assert drawn.coords["theta_name"].values.tolist() == ["s.Intercept", "s.a:b.Intercept", "s.a:b"]


def test_equations_take_the_product_apart():
    text = ranef.Model("y ~ k*f + (f*k | s)", DATA).equation().text
    assert "k:f" not in text
    assert text.count("kᵢ·1[fᵢ = q]") == 2


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("y ~ f + (0 + f | s)", "f in (0 + f | s)"),
        ("y ~ 0 + f + (f | s)", "f in (f | s)"),
        ("y ~ a*f + (0 + f:a | s)", "a:f in (0 + f:a | s)"),
        ("y ~ f + (f | s)", None),
        ("y ~ 0 + f + (0 + f | s)", None),
    ],
)
def test_other_codings_of_one_factor_are_told(formula, told):
    notes = [note for note in ranef.Model(formula, DATA).spec.design.notes if "coded otherwise" in note]
    assert [note.split(" is coded")[0] for note in notes] == ([told] if told else [])


def test_other_codings_add_up_by_name_only():
    """As lme4's coef() does: a column of zeros stands for what the other part has not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        eb = ranef.Model("y ~ f + (0 + f | s)", DATA).fit()
    coef = eb.coef("s")
    assert list(coef.columns) == ["Intercept", "f[T.q]", "f[p]", "f[q]"]
    np.testing.assert_allclose(coef["f[T.q]"], eb.fixef["f[T.q]"])
    effects = eb.ranef("s").pivot(index="level", columns="term", values="estimate")
    np.testing.assert_allclose(coef["f[p]"], effects.loc[coef.index, "f[p]"])


@pytest.mark.parametrize(
    ("formula", "name", "other"),
    [
        ("y ~ a + (I(a) | s)", "I(a)", "a"),
        ("y ~ poly(a, 1) + (poly(a, degree = 1) | s)", "poly(a, degree = 1)[1]", "poly(a, 1)[1]"),
        ("y ~ I(a * b) + (0 + I(b * a) | s)", "I(b * a)", "I(a * b)"),
        ("y ~ a:b + (0 + I(b * a) | s)", "I(b * a)", "a:b"),
    ],
)
def test_one_column_by_two_names_is_told(formula, name, other):
    (told,) = ranef.Model(formula, DATA).spec.design.notes
    assert told.startswith(f"{name} in (")
    assert f"is the column {other} of the fixed part by another name" in told
