"""A model built from chunks is the model built from one frame of the same rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import ranef
from _ranef.errors import DesignError
from _ranef.likelihood import at_edge
from _ranef.likelihood.crossproducts import SAMPLE
from likelihood.designs import SHAPES, make_data


def in_chunks(data: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    return [data.iloc[i : i + size] for i in range(0, len(data), size)]


def assert_same_fit(chunked: ranef.Model, whole: ranef.Model, method: str = "REML") -> None:
    """Equal but for rounding, of which sums in another order leave some 1e-12; the issue asks for 1e-10."""
    a, b = chunked.fit(method), whole.fit(method)
    assert a.criterion == pytest.approx(b.criterion, rel=1e-10)
    assert a.sigma == pytest.approx(b.sigma, rel=1e-10)
    assert list(a.fixef.index) == list(b.fixef.index)
    np.testing.assert_allclose(a.fixef, b.fixef, rtol=1e-10, atol=1e-10 * np.abs(b.fixef.to_numpy()).max(initial=0.0))
    ours, theirs = a.ranef(), b.ranef()
    pd.testing.assert_frame_equal(ours[["group", "level", "term"]], theirs[["group", "level", "term"]])
    scale = theirs["estimate"].abs().max() if len(theirs) else 1.0
    np.testing.assert_allclose(ours["estimate"], theirs["estimate"], rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(ours["sd"], theirs["sd"], rtol=1e-9, atol=1e-10 * scale)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape(name):
    data, formula = make_data(11), f"y ~ {SHAPES[name]}"
    whole = ranef.Model(formula, data, weights="w")
    chunked = ranef.Model(formula, in_chunks(data, 17), weights="w")
    assert chunked.spec.design.dropped == whole.spec.design.dropped
    assert_same_fit(chunked, whole)


STRATA = {"one factor": "f", "two factors": "f:two", "numbers": "two"}


def in_strata(**others) -> pd.DataFrame:
    """Rows whose residuals are of six sizes, of which no chunk has all."""
    data = make_data(11, n=400, **others)
    data["two"] = np.random.default_rng(1).integers(1, 3, len(data))
    sizes = data["f"].map(dict(zip(sorted(data["f"].unique()), [1.0, 2.0, 0.5], strict=True))) * data["two"]
    data["y"] += np.random.default_rng(2).normal(size=len(data)) * sizes
    return data.sort_values(["two", "f"], kind="stable").reset_index(drop=True)


@pytest.mark.parametrize(
    ("name", "strata", "method"),
    [
        ("slope", "two factors", "REML"),
        ("crossed", "one factor", "ML"),
        ("nested three levels", "numbers", "REML"),
        ("no random effects", "two factors", "ML"),
    ],
)
def test_strata_of_residuals(name, strata, method):
    data = in_strata()
    formula = "y ~ x" if name == "no random effects" else f"y ~ {SHAPES[name]}"
    given = {"variance": ranef.VarIdent(STRATA[strata]), "weights": "w"}
    chunked, whole = ranef.Model(formula, in_chunks(data, 37), **given), ranef.Model(formula, data, **given)
    assert_same_fit(chunked, whole, method)
    a, b = chunked.fit(method), whole.fit(method)
    pd.testing.assert_series_equal(a.residual_sd, b.residual_sd, rtol=1e-8)
    pd.testing.assert_frame_equal(a.residual_parameters, b.residual_parameters, rtol=1e-6)  # second differences
    pd.testing.assert_frame_equal(a.vcov_theta(), b.vcov_theta(), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(a.residuals("pearson"), b.residuals("pearson"), rtol=1e-7, atol=1e-9)
    new = data.head(5)
    pd.testing.assert_frame_equal(
        a.predict(new, interval="prediction"), b.predict(new, interval="prediction"), rtol=1e-7
    )


@pytest.mark.slow
def test_strata_of_residuals_in_the_posterior():
    data, variance = in_strata(), ranef.VarIdent("f")
    settings = {"draws": 500, "chains": 2, "seed": 1, "progress": False}
    a = ranef.Model("y ~ x + (1 | a)", in_chunks(data, 37), variance=variance).sample(**settings)
    b = ranef.Model("y ~ x + (1 | a)", data, variance=variance).sample(**settings)
    away = (a.residual_sd["estimate"] - b.residual_sd["estimate"]).abs() / b.residual_sd["sd"]
    assert away.max() < 0.25  # rounding parts the chains; of some 700 draws' worth each


def test_strata_that_no_chunk_may_have_alone():
    data = in_strata()
    alone = data.assign(f=np.where(data.index == 5, "alone", data["f"]))
    with pytest.raises(DesignError, match=r"'alone' of VarIdent.*has one row"):
        ranef.Model("y ~ x + (1 | a)", in_chunks(alone, 37), variance=ranef.VarIdent("f"))
    with pytest.raises(DesignError, match="has the one stratum"):
        ranef.Model("y ~ x + (1 | a)", in_chunks(data.assign(f="same"), 37), variance=ranef.VarIdent("f"))


def in_pairs_and_more(order: str) -> pd.DataFrame:
    """Rows of groups of one to four within levels of a, those of one group far apart or side by side."""
    data = make_data(11, n=300)
    rng = np.random.default_rng(3)
    data["h"] = rng.integers(0, 25, len(data))
    data["h"] = data["a"].astype(str) + "." + data["h"].astype(str)
    codes = data["h"].factorize()[0]
    data["y"] += rng.normal(size=codes.max() + 1)[codes]
    return data if order == "scattered" else data.sort_values("h", kind="stable").reset_index(drop=True)


@pytest.mark.parametrize(
    ("random", "order", "method"),
    [
        ("+ (x | a)", "scattered", "REML"),
        ("+ (1 | a) + (0 + x | a)", "side by side", "ML"),
        ("", "scattered", "ML"),
    ],
)
def test_groups_of_correlated_residuals(random, order, method):
    """Groups reach over chunks."""
    data, formula = in_pairs_and_more(order), f"y ~ x {random}"
    given = {"correlation": ranef.CompSymm(group="h"), "weights": "w"}
    chunked, whole = ranef.Model(formula, in_chunks(data, 37), **given), ranef.Model(formula, data, **given)
    assert_same_fit(chunked, whole, method)
    a, b = chunked.fit(method), whole.fit(method)
    pd.testing.assert_frame_equal(a.residual_parameters, b.residual_parameters, rtol=1e-6)  # second differences
    pd.testing.assert_frame_equal(a.vcov_theta(), b.vcov_theta(), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(a.residuals("pearson"), b.residuals("pearson"), rtol=1e-7, atol=1e-9)
    pd.testing.assert_frame_equal(a.confint(method="profile"), b.confint(method="profile"), rtol=1e-5, atol=1e-6)
    with pytest.raises(ranef.NotAvailableError, match=r"CompSymm\(group='h'\) may be in several chunks"):
        a.residuals("normalized")


@pytest.mark.parametrize("rho", [-1.0, 0.5, 25.0])
def test_one_edge_by_sums_and_by_rows(rho):
    """A correlation of 1, to which whitened rows stay as they are but for their length."""
    data, correlation = in_pairs_and_more("scattered"), ranef.CompSymm(group="h")
    chunked, whole = (ranef.Model("y ~ x", d, correlation=correlation) for d in (in_chunks(data, 37), data))
    edges = [at_edge(model.spec.with_rho(np.array([rho]))).tolist() for model in (chunked, whole)]
    assert edges == [[rho > 20.0]] * 2


@pytest.mark.slow
def test_groups_of_correlated_residuals_in_the_posterior():
    data, correlation = in_pairs_and_more("scattered"), ranef.CompSymm(group="h")
    settings = {"draws": 500, "chains": 2, "seed": 1, "progress": False}
    a = ranef.Model("y ~ x + (1 | a)", in_chunks(data, 37), correlation=correlation).sample(**settings)
    b = ranef.Model("y ~ x + (1 | a)", data, correlation=correlation).sample(**settings)
    assert a.residual_parameters["estimate"][0] == pytest.approx(b.residual_parameters["estimate"][0], abs=0.02)


def test_structures_that_do_not_add_up():
    data = in_pairs_and_more("scattered")
    chunks, same = in_chunks(data, 37), ranef.CompSymm(group="h")
    for given, words in (
        ({"correlation": ranef.AR1(group="h")}, r"^AR1\(time=None, group='h'\) in a model from chunks"),
        (
            {"correlation": same, "variance": ranef.VarIdent("f")},
            r"^VarIdent\('f'\) and CompSymm\(group='h'\) together",
        ),
        ({"correlation": same, "variance": ranef.VarExp("x")}, r"^VarExp\('x'\) in a model from chunks"),
        ({"correlation": ranef.CompSymm()}, r"^CompSymm\(group=None\) in a model"),
    ):
        with pytest.raises(ranef.NotAvailableError, match=words):
            ranef.Model("y ~ x", chunks, **given)
    for own in (data, chunks):
        with pytest.raises(DesignError, match=r"rows (\d+) and (\d+) of those used.*levels .* of f: .*group='h:f'"):
            ranef.Model("y ~ x + (1 | f)", own, correlation=same)
        with pytest.raises(DesignError, match=r"\(1 \| h\) and CompSymm\(group='h'\) both"):
            ranef.Model("y ~ x + (1 | h)", own, correlation=same)
        with pytest.raises(DesignError, match="has one row"):
            ranef.Model("y ~ x", own, correlation=ranef.CompSymm(group="h:x"))


@pytest.mark.parametrize("name", ["slope", "crossed", "nested three levels", "rank-deficient"])
def test_more_rows_than_are_sampled(name):
    """Rows are scaled by the look of a sample; the sums of all are put right, in memory too."""
    data = make_data(12, n=2 * SAMPLE + 1234, shift=1e3)
    data = data.sort_values("x", kind="stable").reset_index(drop=True)  # no chunk looks like the others
    formula = f"y ~ {SHAPES[name]}"
    assert_same_fit(ranef.Model(formula, in_chunks(data, 7777)), ranef.Model(formula, data))


@pytest.mark.parametrize("name", ["slope", "crossed slopes", "nested three levels", "no fixed effects"])
def test_diagnostics(name):
    """To 1e-7: the variances of two optima agree to about that."""
    data, formula = make_data(11), f"y ~ {SHAPES[name]}"
    data.loc[60:69, "y"] = np.nan  # a whole chunk
    whole = ranef.Model(formula, data, weights="w").fit()
    chunked = ranef.Model(formula, in_chunks(data, 10), weights="w").fit()
    np.testing.assert_allclose(chunked.hatvalues(), whole.hatvalues(), atol=1e-7)
    assert chunked.hatvalues().index.equals(whole.hatvalues().index)
    if whole.spec.n_fixed:
        np.testing.assert_allclose(chunked.cooks_distance(), whole.cooks_distance(), atol=1e-6)
    np.testing.assert_allclose(chunked.r2(), whole.r2(), atol=1e-7)
    np.testing.assert_allclose(chunked.icc().iloc[:, 1:], whole.icc().iloc[:, 1:], atol=1e-6)
    np.testing.assert_allclose(chunked.varcorr_se()["std_error"], whole.varcorr_se()["std_error"], rtol=1e-5)
    np.testing.assert_allclose(chunked.vcov_joint(), whole.vcov_joint(), atol=1e-6)


def test_rows_that_miss_something_and_levels_that_only_they_have():
    data = make_data(13).astype({"a": object})
    data.loc[3, "x"], data.loc[40, "y"], data.loc[77, "a"] = np.nan, np.nan, None
    data.loc[3, "f"] = "only here"
    data.loc[60:69, "x"] = np.nan  # a whole chunk
    formula = "y ~ x + f + (x | a) + (1 | b)"
    whole, chunked = ranef.Model(formula, data), ranef.Model(formula, in_chunks(data, 10))
    assert chunked.spec.n_obs == whole.spec.n_obs == 87
    assert chunked.spec.design.n_dropped == 13
    assert_same_fit(chunked, whole)
    np.testing.assert_allclose(chunked.fit().fitted(), whole.fit().fitted(), rtol=1e-9)
    assert chunked.fit().fitted().index.equals(whole.fit().fitted().index)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ center(x) + scale(z) + (center(x) | a)",
        "y ~ scale(x, center=FALSE) + I(z - mean(z)) + (1 | a)",
        "y ~ I(x / sd(x)) + I(x > 2) + (1 | factor(a))",
        "y ~ C(f, contr.sum) * x + (1 | a)",
        "y ~ relevel(f, 'q') + I(f == 'r') + (1 | a)",
        "y ~ factor(b) + offset(z) + (1 | a:b)",
        "log(y + 100) ~ log(x + 10) + (1 | a) + (0 + z | a)",
    ],
)
def test_functions_of_columns(formula):
    data = make_data(14).sort_values("f")  # so that chunks hold one level of f each
    assert_same_fit(ranef.Model(formula, in_chunks(data, 9)), ranef.Model(formula, data))


def test_what_learns_from_all_rows_at_once_is_refused():
    with pytest.raises(DesignError, match=r"poly\(x, 2\) learns from all rows at once"):
        ranef.Model("y ~ poly(x, 2) + (1 | a)", in_chunks(make_data(1), 50))


@pytest.mark.parametrize("kind", ["dataset", "parquet file", "polars", "dicts", "function"])
def test_sources(kind, tmp_path):
    data = make_data(15)[["y", "x", "f", "a", "b"]]
    table = pa.Table.from_pandas(data)
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=23)
    source = {
        "dataset": lambda: ds.dataset(tmp_path / "data.parquet"),
        "parquet file": lambda: pq.ParquetFile(tmp_path / "data.parquet"),
        "polars": lambda: [pl.from_pandas(part) for part in in_chunks(data, 30)],
        "dicts": lambda: [part.to_dict("list") for part in in_chunks(data, 30)],
        "function": lambda: lambda: iter(in_chunks(data, 30)),
    }[kind]()
    formula = "y ~ x + f + (x | a) + (1 | b)"
    chunked = ranef.Model(formula, source)
    assert_same_fit(chunked, ranef.Model(formula, data))
    assert chunked.fit().residuals("pearson").shape == (100,)


def test_categories_keep_their_order():
    data = make_data(16)
    data["f"] = pd.Categorical(data["f"], ["r", "p", "q", "never"])
    formula = "y ~ f + (1 | a)"
    whole, chunked = ranef.Model(formula, data), ranef.Model(formula, in_chunks(data, 20))
    assert chunked.spec.design.fixed_names == whole.spec.design.fixed_names == ("Intercept", "f[T.p]", "f[T.q]")
    assert_same_fit(chunked, whole)


def test_rows_are_read_again_or_it_is_said_why_not():
    data = make_data(17)
    whole, chunked = (ranef.Model("y ~ x + (x | a)", d).fit() for d in (data, in_chunks(data, 33)))
    pd.testing.assert_frame_equal(chunked.augment(), whole.augment(), rtol=1e-9)
    np.testing.assert_allclose(chunked.predict(data, interval="prediction"), whole.predict(data, interval="prediction"))
    assert "read in chunks" in str(chunked)


#: what needs all rows at once: as numbers of a fit
WHOLE = {
    "simulate": lambda fit: fit.simulate(3, seed=1),
    "refit": lambda fit: fit.refit(np.sin(np.arange(fit.spec.n_obs))).fixef,
    "predict": lambda fit: fit.predict(interval="prediction"),
    "bootstrap": lambda fit: fit.bootstrap(10, seed=1).replicates,
    "cases": lambda fit: fit.bootstrap(3, statistic=lambda own: own.fixef, kind="cases", seed=1).replicates,
    "influence": lambda fit: fit.influence("a").deleted[["cooks_distance", "sigma"]],
    "robust": lambda fit: fit.vcov_robust(),
    "ranef": lambda fit: fit.ranef(interval="bootstrap", n=50, seed=1)["sd_bootstrap"],
    "r2": lambda fit: fit.r2("bootstrap", n=20, seed=1),
    "emmeans": lambda fit: ranef.emmeans(fit, "f").frame.select_dtypes("number"),
    "drop1": lambda fit: fit.drop1().select_dtypes("number"),
    "ranova": lambda fit: ranef.ranova(fit).select_dtypes("number"),
    "residuals": lambda fit: fit.simulated_residuals(60, seed=1).residuals,
    "V": lambda fit: fit.matrices.V.toarray(),
}


@pytest.mark.parametrize("asked", WHOLE)
def test_all_rows_at_once(asked):
    """To 1e-5: the two optima agree to about 1e-7, and refits of refits magnify that."""
    data = make_data(17)
    whole, chunked = (ranef.Model("y ~ x + f + (x | a)", d, weights="w").fit() for d in (data, in_chunks(data, 33)))
    np.testing.assert_allclose(WHOLE[asked](chunked), WHOLE[asked](whole), rtol=1e-5, atol=1e-5)


def test_equations_and_pages_of_chunks(tmp_path):
    data = make_data(17)
    whole, chunked = (ranef.Model("y ~ x + (x | a)", d) for d in (data, in_chunks(data, 33)))
    for style in ("hierarchical", "cluster"):
        assert chunked.equation(style).text == whole.equation(style).text
    page = ranef.compare(chunked.fit(), chunked.fit("ML")).report(tmp_path / "page.html")
    assert "Residuals" in page.read_text(encoding="utf-8")


def test_a_page_of_more_rows_than_memory_holds_leaves_some_things_out(tmp_path, monkeypatch):
    model = ranef.Model("y ~ x + (x | a)", in_chunks(make_data(17), 33))
    both = ranef.compare(model.fit(), model.fit("ML"))
    monkeypatch.setattr("_ranef.design.parts_of_rows.MOST_ENTRIES", 100)
    page = both.report(tmp_path / "page.html").read_text(encoding="utf-8")
    titles = "Level by level, Intervals by method, Data and fitted lines, Residuals"
    assert f"What needs all rows in memory at once is left out: {titles}." in page
    assert "Levels, in order" in page
    assert "explorer-0" in page


def test_rows_that_would_fill_memory(monkeypatch):
    fit = ranef.Model("y ~ x + (1 | a)", in_chunks(make_data(17), 33)).fit()
    monkeypatch.setattr("_ranef.design.parts_of_rows.MOST_ENTRIES", 100)
    with pytest.raises(DesignError, match="rows in memory at once"):
        fit.simulate()
    assert len(fit.residuals()) == fit.spec.n_obs


def test_the_posterior_from_chunks_is_that_of_one_frame():
    """Priors to rounding, and draws to Monte-Carlo error: their last digits differ, which trajectories magnify."""
    data = make_data(17)
    data.loc[33:65, "y"] = np.nan  # a whole chunk
    data["o"] = np.linspace(0.0, 1.0, len(data))
    whole, chunked = (ranef.Model("y ~ x + (x | a)", d, weights="w", offset="o") for d in (data, in_chunks(data, 33)))
    ours, theirs = chunked.priors(), whole.priors()
    assert ours.lines() == theirs.lines()
    names = ("Intercept", "x")
    np.testing.assert_allclose(ours.coordinates(names)[0], theirs.coordinates(names)[0], rtol=1e-12)
    np.testing.assert_allclose(ours.columns["a", 0].outward, theirs.columns["a", 0].outward, rtol=1e-12)
    a, b = (m.sample(seed=1, sampler="nutpie", progress=False) for m in (chunked, whole))
    for x, y in ((a.draws.beta, b.draws.beta), (a.draws.sigma, b.draws.sigma), (a.draws.b[0], b.draws.b[0])):
        x, y = (v.reshape(4000, -1) for v in (x, y))
        assert (np.abs(x.mean(axis=0) - y.mean(axis=0)) < 0.2 * y.std(axis=0)).all()
    assert set(a.datatree.children) == {"posterior", "sample_stats"}
    assert a.derive("shrinkage").frame().shape == b.derive("shrinkage").frame().shape
    pd.testing.assert_series_equal(a.fitted(), b.fitted(), rtol=0.2, atol=0.2)
    ours, theirs = (own.loo("group").elpd for own in (a, b))
    assert ours == pytest.approx(theirs, rel=0.01)
    assert a.posterior_predictive(5, seed=1).shape == b.posterior_predictive(5, seed=1).shape


def test_one_row_that_alone_shows_a_level():
    """The sample by which rows are scaled may miss a level: its column is zero there."""
    rng = np.random.default_rng(3)
    n = 3 * SAMPLE + 1
    data = pd.DataFrame({"x": rng.normal(size=n), "a": rng.integers(0, 50, n), "f": "common"})
    data.loc[1, "f"] = "rare"
    data["y"] = data.x + rng.normal(size=50)[data.a] + rng.normal(size=n)
    assert_same_fit(
        ranef.Model("y ~ x + f + (1 | a)", in_chunks(data, 10_000)), ranef.Model("y ~ x + f + (1 | a)", data)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda parts: iter(parts), "an iterator, which can be read once"),
        (lambda parts: [parts[0], parts[1].assign(x="text")], "x is numeric in the first chunks, and factor"),
        (lambda parts: [parts[0], parts[1].assign(x=np.inf)], "Column 'x' is inf in row 50"),
        (lambda parts: [parts[0], parts[1].assign(w=-1.0)], "The weight is -1 in row 50"),
        (lambda parts: [part.assign(x=np.nan) for part in parts], "No row is complete"),
        (lambda parts: [part.iloc[:0] for part in parts], "The data are empty"),
        (lambda parts: [part.drop(columns="a") for part in parts], "'a' is not a column of the data"),
    ],
)
def test_bad_chunks(change, words):
    with pytest.raises((DesignError, ranef.FormulaError), match=words):
        ranef.Model("y ~ x + (1 | a)", change(in_chunks(make_data(18), 50)), weights="w")


def test_chunks_that_change_between_readings():
    data, readings = make_data(19), []

    def read():
        readings.append(1)
        return iter([data if len(readings) == 1 else data.assign(a=data.a + 100)])

    with pytest.raises(DesignError, match="must hold the same rows every time"):
        ranef.Model("y ~ x + (1 | a)", read)


def swapped(data, *rows):
    order = np.arange(len(data))
    order[list(rows)] = order[list(rows)[::-1]]
    return data.iloc[order].reset_index(drop=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop(columns="x"), r"that begins with row 0 has no column 'x'.*Its columns: "),
        (lambda d: d.drop(columns="w"), "has no column 'w'"),
        (lambda d: d.assign(x=d.x.where(d.index != 41, d.x + 1e-9)), "hold other values of x than when they were read"),
        (lambda d: d.assign(y=-d.y), "other values of y than"),
        (lambda d: d.assign(w=2 * d.w), "other values of w than"),
        (lambda d: d.assign(z=d.z + 1), "other values of z than"),
        (lambda d: d.assign(f=d.f.astype(str).where(d.index != 3, "q" if d.f[3] != "q" else "r")), "other values of f"),
        (lambda d: swapped(d, 3, 90), "other values of y, x, z.*or hold them in another order"),
        (lambda d: d.iloc[:-1], "held 100 complete rows when they were read first, and 99 now"),
        (lambda d: pd.concat([d, d.tail(1)]), "held 100 complete rows when they were read first, and 101 now"),
        (lambda d: d.assign(x=d.x.astype(str)), "x is factor in the chunk that begins with row 0, and was numeric"),
        (lambda d: d.assign(f=np.arange(len(d))), "f is numeric in the chunk that begins with row 0, and was factor"),
        (lambda d: d.assign(x=np.inf), "Column 'x' is inf in row 0"),
    ],
)
def test_whatever_changes_between_readings_is_noticed(change, words):
    data, readings = make_data(19).drop(columns=["b"]), []

    def read():
        readings.append(1)
        return iter(in_chunks(data if len(readings) == 1 else change(data), 30))

    with pytest.raises(DesignError, match=words):
        ranef.Model("y ~ x + f + offset(z) + (1 | a)", read, weights="w")
    assert len(readings) == 2


def test_what_changes_after_the_fit_is_noticed_too():
    data = make_data(19)
    held = {"data": data}
    fit = ranef.Model("y ~ x + (1 | a)", lambda: iter(in_chunks(held["data"], 30))).fit()
    fit.fitted()
    held["data"] = data.assign(x=data.x[::-1].to_numpy())
    with pytest.raises(DesignError, match="other values of x"):
        fit.fitted()


def test_chunks_may_begin_elsewhere_at_the_next_reading():
    """A column without entries has no type of its own, and missing ones no value; -0.0 is 0.0."""
    data, sizes = make_data(19), iter([30, 7, 100, 11, 13])
    data.loc[60:75, "f"] = None
    data.loc[3, "x"] = -0.0

    def read():
        parts = in_chunks(data.assign(x=data.x + 0.0) if (size := next(sizes)) == 7 else data, size)
        return iter([*parts[:2], parts[0].iloc[:0], {}, *parts[2:]])

    chunked = ranef.Model("y ~ x + f + (1 | a)", read)
    np.testing.assert_allclose(chunked.fit().criterion, ranef.Model("y ~ x + f + (1 | a)", data).fit().criterion)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda path: [path], "called without arguments, and needs some .*lambda: function"),
        (lambda: None, "returned NoneType; expected is an iterator of frames"),
        (lambda: iter([1, 2]), "of type int"),
        (lambda: iter([]), "The data are empty"),
        (lambda: iter([{}]), "The data are empty"),
    ],
)
def test_functions_that_give_no_frames(function, words):
    with pytest.raises(DesignError, match=words):
        ranef.Model("y ~ 1 + (1 | a)", function)


def test_functions_of_the_user():
    """Row by row they are as good as the built-in ones; one that learns from its rows would give other estimates."""
    data = make_data(22)
    squared, centred = {"own": lambda x: x**2}, {"own": lambda x: x - x.mean()}
    formula = "y ~ own(x) + (1 | a)"
    chunked = ranef.Model(formula, in_chunks(data, 30), transforms=squared)
    assert_same_fit(chunked, ranef.Model(formula, data, transforms=squared))
    with pytest.raises(DesignError, match=r"own\(x\) gives a row another value when it sees fewer rows"):
        ranef.Model(formula, in_chunks(data, 30), transforms=centred)


def test_a_chunk_whose_rows_are_lost_in_an_expression():
    data = make_data(21).sort_values("f").reset_index(drop=True)
    formula = "y ~ x + factor(f, levels=c('q', 'r')) + (1 | a)"  # rows of p are missing, whole chunks of them
    assert_same_fit(ranef.Model(formula, in_chunks(data, 5)), ranef.Model(formula, data))


def test_chunks_that_are_gone_at_the_second_reading():
    once = iter(in_chunks(make_data(19), 30))
    with pytest.raises(DesignError, match="held 100 complete rows when they were read first, and 0 now"):
        ranef.Model("y ~ x + (1 | a)", lambda: once)


def test_batches_of_pyarrow():
    data = make_data(15)[["y", "x", "a"]]
    batches = pa.Table.from_pandas(data).to_batches(max_chunksize=30)
    assert_same_fit(ranef.Model("y ~ x + (x | a)", batches), ranef.Model("y ~ x + (x | a)", data))
    reader = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    with pytest.raises(DesignError, match="an iterator, which can be read once"):
        ranef.Model("y ~ x + (x | a)", reader)


def test_an_unknown_na_action():
    with pytest.raises(DesignError, match="na_action='drop' must be 'omit' or 'error'"):
        ranef.Model("y ~ x + (1 | a)", in_chunks(make_data(20), 30), na_action="drop")


def test_na_action_error_names_the_row():
    data = make_data(20)
    data.loc[71, "x"] = np.nan
    with pytest.raises(DesignError, match="x is missing in row 71"):
        ranef.Model("y ~ x + (1 | a)", in_chunks(data, 30), na_action="error")


@pytest.mark.parametrize("distance", [8e-8, 1e-8, 1e-10])
def test_columns_that_are_dropped_though_not_quite_aliased(distance):
    """What a dropped column would have explained is left in the response, as if it had never been there."""
    data = make_data(14)
    rest = np.random.default_rng(3).normal(size=len(data))
    data = data.assign(near=data["x"] + distance * rest, y=data["y"] + 3 * rest, e=rest + data["z"])
    for formula in ("y ~ x + near + (1 | a)", "y ~ x + near + e + f + (x | a) + (1 | b)"):
        whole, chunked = ranef.Model(formula, data), ranef.Model(formula, in_chunks(data, 17))
        assert chunked.spec.design.dropped == whole.spec.design.dropped == ("near",)
        assert_same_fit(chunked, whole)


def test_moments_are_learnt_from_chunks_without_a_complete_row():
    data = make_data(15).astype({"f": object})
    data.loc[20:39, "f"] = None
    data.loc[40:59, "x"] = np.nan
    for formula in ("y ~ scale(x) + f + (1 | a)", "y ~ I(x - mean(x)) + scale(z) + (1 | f:a)"):
        assert_same_fit(ranef.Model(formula, in_chunks(data, 20)), ranef.Model(formula, data))


def test_a_column_named_intercept_is_no_intercept():
    """Not even where every row of the sample has a one there."""
    data = make_data(16, n=2 * SAMPLE + 2)
    data["Intercept"] = np.where(np.arange(len(data)) % 3, 2.0, 1.0)  # a third of the rows are looked at
    fit = ranef.Model("y ~ 0 + Intercept + x + (1 | a)", data).fit()
    other = ranef.Model("y ~ 0 + other + x + (1 | a)", data.rename(columns={"Intercept": "other"})).fit()
    assert fit.criterion == pytest.approx(other.criterion, rel=1e-10)
    np.testing.assert_allclose(fit.fixef, other.fixef, rtol=1e-8)


@pytest.mark.parametrize(
    "term", ["factor(k)", "ordered(k)", "C(k, contr.sum)", "C(ordered(round(z)), contr.helmert)", "factor(k):x"]
)
@pytest.mark.parametrize("bar", ["(1 | g)", "(1 | factor(k):g)"])
def test_numbers_made_factors_are_in_their_order(term, bar):
    """Also where no chunk holds two of the levels."""
    rng = np.random.default_rng(0)
    k = np.repeat([2, 10, 30, 100], 12)
    data = pd.DataFrame({"y": rng.normal(size=48) + k / 30, "k": k, "z": k + 0.1, "x": rng.normal(size=48)})
    data["g"] = np.tile(list("abcdef"), 8)
    whole, chunked = (ranef.Model(f"y ~ {term} + {bar}", rows).fit() for rows in (data, in_chunks(data, 12)))
    pd.testing.assert_series_equal(chunked.fixef, whole.fixef, rtol=1e-8, atol=1e-9)
    assert chunked.ranef()["level"].tolist() == whole.ranef()["level"].tolist()


@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_chunk_in_which_a_factor_is_missing_throughout(place):
    data = make_data(11)
    data["h"] = np.resize(["u", "v", "w"], len(data))
    chunks = in_chunks(data, 17)
    chunks.insert(place, chunks[0].assign(h=np.nan))
    assert_same_fit(ranef.Model("y ~ h + (1 | a)", chunks), ranef.Model("y ~ h + (1 | a)", data))


@pytest.mark.parametrize("name", ["slope", "crossed slopes", "nested three levels"])
def test_comparisons_read_rows_by_parts(name):
    data, formula = make_data(11), f"y ~ {SHAPES[name]}"
    whole, chunked = ranef.Model(formula, data, weights="w"), ranef.Model(formula, in_chunks(data, 17), weights="w")
    a, b = (ranef.compare(model.fit(), model.fit("ML")) for model in (chunked, whole))
    pd.testing.assert_frame_equal(a.random_effects, b.random_effects, rtol=1e-8, atol=1e-9)
