"""Sums over rows that are never together give the model of all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
from likelihood.designs import SHAPES, make_data
from test_chunks import assert_same_fit, in_chunks


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "rank-deficient"])
def test_parts_with_levels_of_their_own(name):
    """Sorted by one factor, so that parts share few levels of it, and differ in which factor has the most."""
    data, formula = make_data(11).sort_values("a", kind="stable"), f"y ~ {SHAPES[name]}"
    whole = ranef.Model(formula, data, weights="w")
    like = ranef.sums(formula, data, weights="w")
    parts = [ranef.sums(formula, rows, weights="w", like=like) for rows in in_chunks(data, 23)]
    model = ranef.Model.from_sums(*parts)
    assert model.spec.n_obs == len(data)
    assert_same_fit(model, whole)
    assert model.priors().lines() == whole.priors().lines()


def test_rows_of_one_day_say_little_and_add_up():
    """A part may have fewer rows than effects, a covariate that does not vary, and a constant response."""
    data, formula = ranef.datasets.load("sleepstudy"), "Reaction ~ scale(Days) + (Days | Subject)"
    like = ranef.Model(formula, data)
    total = ranef.sums(formula, data[data["Days"] == 0], like=like)
    for day in range(1, 10):
        total += ranef.sums(formula, data[data["Days"] == day].sample(frac=1.0, random_state=day), like=like)
    first, *rest = (ranef.sums(formula, data.iloc[k : k + 3], like=like) for k in range(0, 180, 3))
    for model in (ranef.Model.from_sums(total), ranef.Model.from_sums(first, *rest)):
        assert_same_fit(model, like, "ML")


def test_aliased_columns_are_found_over_all_rows():
    data = make_data(11)
    data["twice"] = 2 * data["x"] + np.where(np.arange(len(data)) < 50, 0.0, 1.0)
    formula = "y ~ x + twice + (1 | a)"
    parts = [ranef.sums(formula, rows) for rows in (data.head(50), data.tail(50))]
    assert ranef.Model.from_sums(parts[0]).spec.design.dropped == ("twice",)
    assert ranef.Model.from_sums(*parts).spec.design.dropped == ()
    assert_same_fit(ranef.Model.from_sums(*parts), ranef.Model(formula, data))


def test_sums_of_an_engine_and_from_a_file(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    data, formula = make_data(5, n=400), "y ~ x + (x | a) + (1 | b)"
    connection = duckdb.connect()
    connection.register("rows", data.head(250))
    here = ranef.sums(formula, connection.sql("SELECT * FROM rows"))
    there = ranef.load(ranef.sums(formula, data.tail(150)).save(tmp_path / "there.ranef"), ranef.RowSums)
    fit = ranef.Model.from_sums(here, there).fit()
    whole = ranef.Model(formula, data).fit()
    assert fit.criterion == pytest.approx(whole.criterion, rel=1e-12)
    again = ranef.load(fit.save(tmp_path / "fit.ranef"))
    new = data.head(7)
    np.testing.assert_allclose(again.predict(new), whole.predict(new), rtol=1e-9)


def test_levels_are_in_the_order_that_all_rows_would_give():
    data = make_data(11)
    data["n"] = np.arange(len(data)) % 11 + 1  # as text 10 would stand before 2
    data["k"] = pd.Categorical(data["a"].astype(str), categories=sorted(data["a"].astype(str).unique(), reverse=True))
    formula = "y ~ x + (1 | n) + (1 | k)"
    parts = [rows.sort_values("n", ascending=False) for rows in in_chunks(data, 30)]
    merged, whole = ranef.Model.from_sums(*(ranef.sums(formula, rows) for rows in parts)), ranef.Model(formula, data)
    for ours, theirs in zip(merged.spec.groupings, whole.spec.groupings, strict=True):
        assert ours.levels.tolist() == theirs.levels.tolist()
    assert_same_fit(merged, whole)


def test_what_needs_rows_says_so():
    data = make_data(11)
    fit = ranef.Model.from_sums(ranef.sums("y ~ x + (1 | a)", data)).fit()
    needing = (
        fit.fitted,
        fit.residuals,
        fit.augment,
        fit.hatvalues,
        fit.simulate,
        lambda: fit.bootstrap(10, kind="residual"),
        fit.influence,
        fit.predict,
    )
    for asked in (
        *needing,
        lambda: fit.equation("cluster"),
        lambda: fit.refit(data["y"]),
        lambda: ranef.compare(fit, fit),
    ):
        with pytest.raises(ranef.DesignError, match="sums over rows that are elsewhere"):
            asked()
    assert np.isfinite(fit.confint().to_numpy()).all()
    assert "Number of obs" in str(fit.summary())


def of_sums(formula, data, folder):
    return ranef.Model.from_sums(ranef.sums(formula, data)).fit()


def of_file(formula, data, folder):
    return ranef.load(of_sums(formula, data, folder).save(folder / "fit.ranef"))


def of_engine(formula, data, folder):
    """Read again from a file, where the engine is no more."""
    connection = pytest.importorskip("duckdb").connect()
    connection.register("rows", data)
    return ranef.load(ranef.Model(formula, connection.sql("SELECT * FROM rows")).fit().save(folder / "fit.ranef"))


@pytest.mark.parametrize(
    ("formula", "made"),
    [
        ("y ~ x + f + (x | a)", of_sums),
        ("y ~ x + f + (x | a)", of_file),
        ("y ~ x + f + (x | a)", of_engine),
        ("y ~ x + twice + (1 | a)", of_file),
    ],
    ids=["sums", "file", "engine", "aliased"],
)
def test_what_sums_tell_without_rows(formula, made, tmp_path):
    data = make_data(11).assign(twice=lambda d: 2 * d["x"])
    fits = [made(formula, data, tmp_path), ranef.Model(formula, data).fit()]
    for ask in (
        lambda fit: fit.r2(),
        lambda fit: fit.icc().select_dtypes("number"),
        lambda fit: fit.anova().select_dtypes("number"),
        lambda fit: fit.drop1().select_dtypes("number"),
        lambda fit: fit.parameters[["estimate", "lower", "upper"]],
        lambda fit: ranef.pooling(fit).frame[["n", "no_pooling", "partial", "reliability"]],
        lambda fit: ranef.Model.of(fit).sample(20, seed=1, sampler="direct", progress=False).r2(),
    ):
        ours, theirs = map(ask, fits)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    if "f" in formula:
        ours, theirs = (ranef.emmeans(fit, "f").frame["estimate"] for fit in fits)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert fits[0].equation("hierarchical").text == fits[1].equation("hierarchical").text


@pytest.mark.parametrize("random", ["(1 | a) + (1 | b)", "(x | g / h)"])
def test_equations_know_what_is_nested(random):
    data = make_data(11)
    data["g"], data["h"] = data["a"], np.arange(len(data)) % 3
    models = ranef.Model.from_sums(ranef.sums(f"y ~ x + {random}", data)), ranef.Model(f"y ~ x + {random}", data)
    assert models[0].equation("hierarchical").text == models[1].equation("hierarchical").text


def test_shares_of_variance_from_replicates_of_sums():
    """Intervals from responses drawn as sums and from those drawn by rows differ by Monte-Carlo error."""
    data, formula = make_data(11), "y ~ x + (1 | a)"
    fits = of_sums(formula, data, None), ranef.Model(formula, data).fit()
    ours, theirs = (fit.r2(interval="bootstrap", n=1000, seed=k).to_numpy() for k, fit in enumerate(fits))
    width = theirs[:, 2] - theirs[:, 1]
    assert (np.abs(ours - theirs) <= 0.12 * width[:, None]).all()  # ends of 1000 have sds of up to 0.03 widths


def test_rows_of_weighted_levels_are_not_told_by_sums():
    model = ranef.Model.from_sums(ranef.sums("y ~ x + (1 | a)", make_data(11), weights="w"))
    assert ranef.pooling(model.fit()).frame["n"].isna().all()


def test_what_does_not_add_up():
    data = make_data(11)
    one = ranef.sums("y ~ f + (1 | a)", data)
    with pytest.raises(ranef.DesignError, match="formulas are the same"):
        one.merge(ranef.sums("y ~ x + (1 | a)", data))
    with pytest.raises(ranef.DesignError, match=r"f has the levels .* like="):
        one.merge(ranef.sums("y ~ f + (1 | a)", data[data["f"] != data["f"].iloc[0]]))
    with pytest.raises(ranef.DesignError, match="has learnt other numbers"):
        ranef.sums("y ~ scale(x) + (1 | a)", data.head(50)).merge(ranef.sums("y ~ scale(x) + (1 | a)", data.tail(50)))
    with pytest.raises(ranef.DesignError, match="has the level 'new' here"):
        ranef.sums("y ~ f + (1 | a)", data.assign(f="new"), like=one)
    with pytest.raises(ranef.DesignError, match="like= is of the formula"):
        ranef.sums("y ~ x + (1 | a)", data, like=one)
    with pytest.raises(ranef.DesignError, match=r"what ranef\.sums\(\) made"):
        one.merge(3)
    with pytest.raises(ranef.DesignError, match="levels"):
        ranef.Model.from_sums(ranef.sums("y ~ x + (1 | a)", data.head(1)))
    with pytest.raises(ranef.FitError, match="residual variance is zero"):
        ranef.Model.from_sums(ranef.sums("y ~ x + (1 | a)", data.assign(y=2.0)))
