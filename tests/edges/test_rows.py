"""Missing and infinite values, unused levels, empty and unreadable data, unknown columns, unseen levels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

import ranef

FORMULA = "y ~ x + (x | g)"


def clean(seed: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(10), 6), rng.normal(size=60)
    y = 1 + x + rng.normal(size=10)[g] * (1 + x) + 0.5 * rng.normal(size=60)
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{k}" for k in g], "w": rng.uniform(0.5, 2, 60)})


def test_incomplete_rows_are_dropped_and_counted():
    data = clean()
    for row, column in ((3, "y"), (7, "x"), (11, "g"), (20, "w")):
        data.loc[row, column] = None
    fit = ranef.Model(FORMULA, data, weights="w").fit()
    rest = ranef.Model(FORMULA, clean().drop(index=[3, 7, 11, 20]), weights="w").fit()
    assert fit.criterion == rest.criterion
    assert "Number of obs: 56, groups:  g, 10 (4 rows with missing values left out)" in str(fit.summary())
    assert fit.fitted().index.tolist() == [row for row in range(60) if row not in (3, 7, 11, 20)]
    with pytest.raises(ranef.DesignError, match="missing in 4 of 60 rows"):
        ranef.Model(FORMULA, data, weights="w", na_action="error")


def test_a_gap_in_a_column_that_is_not_used_costs_nothing():
    data = clean()
    data.loc[3, "w"] = np.nan
    assert ranef.Model(FORMULA, data, na_action="error").spec.n_obs == 60


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("column", ["y", "x", "w"])
@pytest.mark.parametrize("frame", [lambda data: data, pl.from_pandas])
def test_infinite_values_name_column_and_row(frame, column, value):
    data = clean()
    data.loc[[13, 40], column] = value
    with pytest.raises(ranef.DesignError, match=f"'{column}' is {value} in row 13"):
        ranef.Model(FORMULA, frame(data), weights="w")


def test_an_infinite_value_in_data_with_an_index_of_its_own():
    data = clean().set_index(pd.Index(range(100, 160)))
    data.loc[113, "x"] = np.inf
    with pytest.raises(ranef.DesignError, match=r"'x' is inf in row 13 \(index 113\)"):
        ranef.Model(FORMULA, data)


def test_an_infinite_transform_names_expression_and_row():
    with pytest.raises(ranef.DesignError, match=r"log\(x\) is -inf in row 5"):
        ranef.Model("y ~ log(x) + (1 | g)", clean().assign(x=np.r_[np.ones(5), 0.0, np.ones(54)]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.date_range("2020-01-01", periods=60), "'x' holds Datetime.*row 0"),
        ([[1]] * 60, "'x' holds .*list.*row 0"),
        (np.ones(60) * 1j, "'x' holds complex128.*row 0"),
        ([1.0] * 30 + ["a"] + [1.0] * 29, "'x' holds a mixture, float and str.*a in row 30"),
    ],
)
def test_wrong_types_name_column_and_first_row(values, words):
    with pytest.raises(ranef.DesignError, match=words):
        ranef.Model(FORMULA, clean().assign(x=values))


def test_unknown_columns_are_named_where_they_stand():
    with pytest.raises(ranef.FormulaError, match=r"(?s)'X' is not a column.*Did you mean 'x'\?.*\n {8}\^"):
        ranef.Model("y ~ X + (x | g)", clean())
    with pytest.raises(ranef.FormulaError, match="'G' is not a column"):
        ranef.Model("y ~ x + (x | G)", clean())
    with pytest.raises(ranef.DesignError, match="weights='ww' names no column"):
        ranef.Model(FORMULA, clean(), weights="ww")


@pytest.mark.parametrize("data", [clean().head(0), {}, pl.DataFrame(), {"y": [], "x": [], "g": []}])
def test_empty_data(data):
    with pytest.raises(ranef.DesignError, match="The data are empty"):
        ranef.Model(FORMULA, data)


@pytest.mark.parametrize("data", [None, "data.csv", [1, 2], 3.0])
def test_what_is_no_data_at_all(data):
    with pytest.raises(ranef.DesignError, match=f"of type {type(data).__name__}"):
        ranef.Model(FORMULA, data)


def test_unused_levels_change_nothing():
    data = clean().assign(f=[["a", "b", "c"][row % 3] for row in range(60)])
    formula = "y ~ f + x + (x | g) + (1 | f:g)"
    wide = data.assign(
        g=pd.Categorical(data["g"], categories=[f"g{k}" for k in range(10)] + ["never", "nor this"]),
        f=pd.Categorical(data["f"], categories=["a", "none", "b", "c"]),
    )
    plain, other = ranef.Model(formula, data).fit(), ranef.Model(formula, wide).fit()
    assert other.criterion == plain.criterion
    assert list(other.fixef.index) == ["Intercept", "f[T.b]", "f[T.c]", "x"]
    pd.testing.assert_frame_equal(other.ranef(), plain.ranef())


def test_levels_that_lose_all_their_rows_to_missing_values_are_no_levels():
    data = clean()
    data.loc[data["g"] == "g4", "x"] = np.nan
    fit = ranef.Model(FORMULA, data).fit()
    assert "g4" not in fit.ranef()["level"].to_numpy()
    assert fit.criterion == ranef.Model(FORMULA, clean().query("g != 'g4'")).fit().criterion


# -- levels that the model has not seen ----------------------------------------------------------------------------


def test_unseen_levels_get_the_population_value():
    fit = ranef.Model(FORMULA, clean()).fit()
    new = pd.DataFrame({"x": [0.5, 0.5, -1.0], "g": ["g3", "new", "other"]})
    found = fit.predict(new)
    X = np.column_stack([np.ones(3), new["x"]])
    b = fit.ranef().query("level == 'g3'")["estimate"].to_numpy()
    np.testing.assert_allclose(found, X @ fit.fixef + [b @ X[0], 0, 0], rtol=1e-13)


def test_unseen_levels_can_be_refused():
    fit = ranef.Model(FORMULA, clean()).fit()
    with pytest.raises(ranef.DesignError, match=r"'g' has levels that the model was not fitted to: 'new'"):
        fit.predict(pd.DataFrame({"x": [0.5, 0.5], "g": ["g3", "new"]}), new_levels="error")
    seen = pd.DataFrame({"x": [0.5], "g": ["g3"]})
    assert fit.predict(seen, new_levels="error")[0] == fit.predict(seen)[0]


def test_unseen_levels_can_be_drawn():
    """One draw a level from N(0, Σ̂): over 4000 levels the moments are those of b₀ + b₁x."""
    fit = ranef.Model(FORMULA, clean()).fit()
    new = pd.DataFrame({"x": np.tile([0.0, 2.0], 4000), "g": np.repeat([f"new{k}" for k in range(4000)], 2)})
    drawn = fit.predict(new, new_levels="sample", seed=1).to_numpy().reshape(4000, 2)
    Z = np.array([[1.0, 0.0], [1.0, 2.0]])
    lam = fit.spec.lambdas(fit.estimates.theta)[0]
    cov = fit.sigma**2 * Z @ lam @ lam.T @ Z.T
    # six standard errors of a mean; 4000 draws give a variance to 2.2 per cent
    assert np.abs(drawn.mean(axis=0) - Z @ fit.fixef).max() < 6 * np.sqrt(cov.max() / 4000)
    np.testing.assert_allclose(np.cov(drawn.T), cov, atol=0.1 * cov.max())
    assert stats.kstest((drawn[:, 0] - fit.fixef["Intercept"]) / np.sqrt(cov[0, 0]), "norm").pvalue > 1e-4


@pytest.mark.parametrize("word", ["mean", "Population", None])
def test_other_words_are_refused(word):
    with pytest.raises(ranef.DesignError, match="new_levels="):
        ranef.Model(FORMULA, clean()).fit().predict(clean(), new_levels=word)
