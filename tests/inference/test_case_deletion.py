"""Deletion diagnostics against models built from the data left, and against lme4."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import ranef
import registry
from _ranef.inference import influence
from _ranef.spec import without_rows
from likelihood.designs import make_data

OUTPUTS = json.loads((registry.FOLDER / "outputs.json").read_text())
SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.mark.parametrize(
    ("key", "dataset", "formula"),
    [
        ("sleep", "sleepstudy", SLEEP),
        ("sleep_weighted", "sleepstudy", SLEEP),
        ("penicillin", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    ],
)
def test_lme4(key, dataset, formula):
    data = ranef.datasets.load(dataset)
    weights = 1.0 + np.arange(1, len(data) + 1) % 3 if "weighted" in key else None
    ref = OUTPUTS[f"influence_{key}"]
    found = ranef.Model(formula, data, weights=weights).fit().influence(ref["group"])
    deleted = found.deleted.set_index("deleted").loc[ref["labels"]]
    # lme4's optima are those of BOBYQA with a final radius of 1e-9
    np.testing.assert_allclose(deleted["sigma"], ref["sigma"], rtol=1e-6)
    np.testing.assert_allclose(deleted["cooks_distance"], ref["cooks"], rtol=1e-4)
    J, p = len(deleted), np.shape(ref["fixef"])[1]
    np.testing.assert_allclose(deleted["cooks_distance"] * (J - p) / J, ref["lme4_cooks"], rtol=1e-3)
    names = list(dict.fromkeys(found.fixef["term"]))
    for column, expected in (("estimate", ref["fixef"]), ("dfbetas", ref["dfbetas"])):
        wide = found.fixef.pivot(index="deleted", columns="term", values=column).loc[ref["labels"], names]
        np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-5)
    if key != "penicillin":  # there lme4 stops short of the boundary for one sample
        np.testing.assert_allclose(found.theta.loc[ref["labels"]], ref["theta"], atol=1e-5)


@pytest.mark.parametrize(
    ("formula", "group", "options"),
    [
        ("y ~ x + (x | a)", "a", {}),
        ("y ~ x + (1 | a) + (z | b)", "b", {"weights": "w"}),
        ("y ~ f + (1 | a / c)", "a", {"offset": "z"}),
        ("y ~ x + (1 | a) + (1 | b)", "b", {"sigma": 0.9}),
        ("y ~ 0 + (1 | a)", "a", {}),
    ],
)
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_deleting_a_level_is_fitting_the_rest(formula, group, options, method):
    data = make_data(11)
    found = ranef.Model(formula, data, **options).fit(method).influence(group)
    assert found.deleted["n_rows"].sum() == len(data)
    for label in found.deleted["deleted"]:
        rest = ranef.Model(formula, data[data[group].astype(str) != label], **options).fit(method)
        row = found.deleted[found.deleted["deleted"] == label].iloc[0]
        fixef = found.fixef[found.fixef["deleted"] == label]
        # two optima, of criteria equal to rounding
        assert row["sigma"] == pytest.approx(rest.sigma, rel=1e-5)
        se = np.sqrt(np.diag(rest.vcov))
        assert np.all(np.abs(fixef["estimate"].to_numpy() - rest.fixef.to_numpy()) < 1e-4 * se)
        if len(se):  # Loy & Hofmann 2014, from their definitions
            whole = ranef.Model(formula, data, **options).fit(method)
            change, ratio = (whole.fixef - rest.fixef).to_numpy(), np.linalg.solve(whole.vcov, rest.vcov)
            mdffits = change @ np.linalg.solve(rest.vcov, change) / len(se)
            assert row["mdffits"] == pytest.approx(mdffits, rel=1e-2, abs=1e-6)  # small changes of two optima
            assert row["covtrace"] == pytest.approx(abs(np.trace(ratio) - len(se)), rel=1e-3, abs=1e-4)
            assert row["covratio"] == pytest.approx(np.linalg.det(ratio), rel=1e-3)
        varcorr = found.varcorr[found.varcorr["deleted"] == label]
        np.testing.assert_allclose(varcorr["vcov"], rest.varcorr["vcov"], atol=1e-4 * rest.sigma**2)


def test_single_rows():
    data = make_data(12, n=40).set_index(pd.Index([f"r{i}" for i in range(40)]))
    fit = ranef.Model("y ~ x + (1 | a)", data).fit()
    found = fit.influence()
    assert found.deleted["deleted"].tolist() == list(data.index)
    assert found.group is None
    rest = ranef.Model("y ~ x + (1 | a)", data.drop("r7")).fit()
    change = (fit.fixef - rest.fixef).to_numpy()
    expected = change @ np.linalg.solve(fit.vcov, change) / 2
    assert found.deleted["cooks_distance"][7] == pytest.approx(expected, rel=1e-4)


def test_theta_kept():
    """With V known, deleting rows is adding a coefficient for each of them."""
    data = make_data(13)
    fit = ranef.Model("y ~ x + (x | a) + (1 | b)", data, weights="w").fit("ML")
    found = fit.influence("b", refit=False)
    assert (found.deleted["status"] == "theta kept").all()
    V, X, y = fit.matrices.V.toarray(), fit.matrices.X.to_numpy(), fit.matrices.y.to_numpy()
    for label in found.deleted["deleted"]:
        dummies = np.eye(len(data))[:, data["b"].astype(str).to_numpy() == label]
        XD = np.hstack([X, dummies])
        beta = np.linalg.solve(XD.T @ np.linalg.solve(V, XD), XD.T @ np.linalg.solve(V, y))[:2]
        np.testing.assert_allclose(found.fixef.loc[found.fixef["deleted"] == label, "estimate"], beta, rtol=1e-8)
    np.testing.assert_array_equal(found.theta, np.tile(fit.estimates.theta, (5, 1)))


def test_a_coefficient_that_only_one_level_determines():
    data = make_data(14)
    data["own"] = np.where(data["a"] == 3, data["z"], 0.0)
    fit = ranef.Model("y ~ own + x + (1 | a)", data).fit()
    found = fit.influence("a")
    row = found.deleted.set_index("deleted").loc["3"]
    assert row["note"] == "The rows left do not determine own."
    assert np.isnan(row["cooks_distance"])
    fixef = found.fixef[found.fixef["deleted"] == "3"].set_index("term")
    assert fixef["estimate"].isna().tolist() == [False, True, False]
    rest = ranef.Model("y ~ x + (1 | a)", data[data["a"] != 3]).fit()
    assert fixef.loc["x", "estimate"] == pytest.approx(rest.fixef["x"], rel=1e-5)
    assert found.deleted["cooks_distance"].notna().sum() == 6


def test_a_rest_that_is_no_model():
    data = make_data(15).assign(g=lambda d: np.where(d["a"] < 3, "u", "v"))
    found = ranef.Model("y ~ x + (1 | g)", data).fit().influence("g")
    assert found.deleted["status"].tolist() == ["not fitted"] * 2
    assert found.deleted["note"].str.contains("has one level").all()
    assert found.fixef["estimate"].isna().all()


def test_singular_fits_are_deleted_from_too():
    fit = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("dyestuff2")).fit()
    found = fit.influence("Batch")
    data = ranef.datasets.load("dyestuff2")
    means = [data.loc[data["Batch"] != b, "Yield"].mean() for b in found.deleted["deleted"]]
    on_boundary = found.deleted["status"] == "boundary"
    assert on_boundary.any()
    # a balanced design: the estimate is the mean whatever the variances
    np.testing.assert_allclose(found.fixef["estimate"], means, rtol=1e-10)


def test_without_random_effects_single_rows_are_those_of_least_squares():
    data = make_data(16, n=30)
    fit = ranef.Model("y ~ x", data).fit()
    X, y = fit.matrices.X.to_numpy(), fit.matrices.y.to_numpy()
    H = X @ np.linalg.solve(X.T @ X, X.T)
    r, h = y - H @ y, np.diag(H)
    cooks = r**2 * h / ((1 - h) ** 2 * 2 * fit.sigma**2)
    np.testing.assert_allclose(fit.cooks_distance(), cooks, rtol=1e-9)
    np.testing.assert_allclose(fit.influence().deleted["cooks_distance"], cooks, rtol=1e-8)


def test_the_spec_of_some_rows():
    model = ranef.Model("y ~ x + (1 | a / c) + (z | b)", make_data(17), weights="w", offset="z")
    keep = make_data(17)["a"].to_numpy() != 2
    rest = without_rows(model.spec, keep)
    direct = ranef.Model("y ~ x + (1 | a / c) + (z | b)", make_data(17)[keep], weights="w", offset="z").spec
    assert rest.theta_names == model.spec.theta_names
    assert sorted(g.name for g in rest.groupings) == sorted(g.name for g in direct.groupings)
    by_name = {g.name: g for g in direct.groupings}
    for g in rest.groupings:
        np.testing.assert_array_equal(g.levels[g.codes], by_name[g.name].levels[by_name[g.name].codes])
        np.testing.assert_array_equal(g.Z, by_name[g.name].Z)
    for name in ("y", "X", "weights", "offset"):
        np.testing.assert_array_equal(getattr(rest.design, name), getattr(direct.design, name))
    assert rest.design.index.equals(direct.design.index)
    with pytest.raises(ranef.DesignError, match="No row is left"):
        without_rows(model.spec, np.zeros(100, dtype=bool))


def test_unknown_factor():
    fit = ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")).fit()
    with pytest.raises(ranef.DesignError, match=r"no grouping factor 'Subjct'.*Did you mean 'Subject'"):
        fit.influence("Subjct")


def test_an_interrupt_ends_it(monkeypatch):
    fit = ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")).fit()

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("_ranef.inference.case_deletion.without_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        influence(fit.spec, fit.estimates, "Subject")
