"""Tests of terms: tables of types I, II and III, terms left out, random terms reduced; against lmerTest and oracles."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy

import oracle
import ranef
import registry
from _ranef.inference.term_types import term_hypotheses

#: pbkrtest leaves weights out of V (tests/inference/test_ddf.py)
WEIGHTED = "sleep_weights"

TABLES = [
    (case, kind)
    for case in registry.FITTED
    for kind, own in (registry.reference(case).get("tests", {}).get("anova") or {}).items()
    if isinstance(own, dict) and "F" in own and not (case == WEIGHTED and kind.endswith("kenward_roger"))
]
RANOVA = [case for case in registry.FITTED if registry.reference(case).get("tests", {}).get("ranova")]


def numbers(record, name):
    return np.atleast_1d(np.array(record[name], dtype=float))


@pytest.mark.parametrize(("case", "kind"), TABLES)
def test_tables_as_lmertest(case, kind):
    ref, fit = registry.reference(case)["tests"]["anova"][kind], registry.fit(case)
    type_, ddf = kind.removeprefix("type").split("_", 1)
    frame = fit.anova(type_, ddf=ddf.replace("_", "-"))
    assert len(frame) == len(ref["terms"])
    np.testing.assert_array_equal(frame["ndf"], numbers(ref, "num_df"))
    for ours, theirs in (("sum_sq", "sum_sq"), ("mean_sq", "mean_sq"), ("statistic", "F")):
        # what zapsmall() leaves of lmerTest's hypotheses of type III
        np.testing.assert_allclose(frame[ours], numbers(ref, theirs), rtol=1e-6)
    np.testing.assert_allclose(frame["ddf"], numbers(ref, "den_df"), rtol=1e-6)
    np.testing.assert_allclose(frame["p"], numbers(ref, "p"), rtol=5e-5, atol=1e-300)


#: by tests/reference/r/81_codings.R
OF_LMERTEST = json.loads((Path(__file__).parents[1] / "reference/codings.json").read_text())["cases"]


@pytest.mark.parametrize("coding", range(len(OF_LMERTEST)))
def test_degrees_of_freedom_go_by_the_coding_as_lmertests_do(coding):
    """Of terms with several columns; F does not."""
    ref, data = OF_LMERTEST[coding], ranef.datasets.load("crossed_small")
    data["f"] = pd.Categorical(data["f"].astype(str), categories=ref["levels"])
    f = "C(f, contr.sum)" if ref["contrast"] == "contr.sum" else "f"
    fit = ranef.Model(f"y ~ {f} * x + (1 | a)", data).fit()
    for kind, theirs in enumerate(ref["anova"], 1):
        frame = fit.anova(kind)
        np.testing.assert_allclose(frame["statistic"], theirs["statistic"], rtol=1e-6)
        np.testing.assert_allclose(frame["ddf"], theirs["ddf"], rtol=1e-6)
        np.testing.assert_allclose(frame["p"], theirs["p"], rtol=5e-5)
        np.testing.assert_allclose(frame["statistic"], OF_LMERTEST[0]["anova"][kind - 1]["statistic"], rtol=1e-6)


@pytest.mark.parametrize("case", RANOVA)
def test_ranova_as_lmertest(case):
    ref = registry.reference(case)["tests"]["ranova"]
    frame = ranef.ranova(registry.fit(case))
    assert frame["term"].tolist() == ref["rows"]
    np.testing.assert_array_equal(frame["npar"], numbers(ref, "npar"))
    np.testing.assert_allclose(frame["loglik"], numbers(ref, "logLik"), rtol=1e-9)
    np.testing.assert_allclose(frame["aic"], numbers(ref, "AIC"), rtol=1e-9)
    np.testing.assert_allclose(frame["statistic"], numbers(ref, "LRT"), rtol=1e-7)
    np.testing.assert_allclose(frame["p"], numbers(ref, "p"), rtol=1e-6)


def crossed(seed=3, n=160):
    """Unbalanced, with an empty cell."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"f": rng.choice(list("abc"), n), "h": rng.choice(list("uvw"), n), "g": rng.integers(0, 12, n)})
    data = data[~((data["f"] == "c") & (data["h"] == "w"))].reset_index(drop=True)
    data["x"] = rng.normal(size=len(data))
    data["y"] = rng.normal(size=12)[data["g"]] + 0.5 * (data["f"] == "b") + rng.normal(size=len(data))
    return data


CODINGS = ["contr.sum", "contr.helmert", "contr.SAS"]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("formula", ["{f} * {h} + x", "{f} * x + {h}", "0 + {f} + {h} + {f}:{h}", "{f} * {h} * x"])
def test_no_coding_changes_a_table(formula, kind, coding):
    """But that of type II without an intercept, where what stands before the first factor has no constant."""
    if kind == 2 and formula.startswith("0"):
        return
    data = crossed()
    formula = f"y ~ {formula} + (1 | g)"
    plain = ranef.Model(formula.format(f="f", h="h"), data).fit()
    other = ranef.Model(formula.format(f=f"C(f, {coding})", h=f"C(h, {coding})"), data).fit()
    for ddf in ("kenward-roger", None):
        first, second = (fit.anova(kind, ddf=ddf).iloc[:, 1:].to_numpy(float) for fit in (plain, other))
        np.testing.assert_allclose(first, second, rtol=1e-6)


def test_type_three_with_all_cells_tests_equal_means_of_cells():
    """The means of rows of a table of cells, every cell with the weight of any other, from the fitted cells."""
    data = crossed().query("h != 'w'").reset_index(drop=True)
    fit = ranef.Model("y ~ f * h + (1 | g)", data).fit()
    cells = pd.DataFrame([(f, h) for f in "abc" for h in "uv"], columns=["f", "h"])
    X = np.array([fit.predict(cells, re="none")])
    assert X.shape == (1, 6)
    design = fit.spec.design
    rows = np.array([design.X[(data["f"] == f) & (data["h"] == h)][0] for f, h in cells.to_numpy()])
    means = np.array([rows[cells["f"] == f].mean(axis=0) for f in "abc"])
    expected = fit.test(means[1:] - means[0], ddf="kenward-roger")
    found = fit.anova(3, ddf="kenward-roger").iloc[0]
    np.testing.assert_allclose(found[["statistic", "ndf", "ddf", "p"]].to_numpy(float), expected.to_numpy(float)[0])


@pytest.mark.parametrize("kind", [1, 2])
def test_types_one_and_two_are_extra_sums_of_squares(kind):
    """With one group of random effects of variance zero they are those of least squares."""
    data = crossed()
    rng = np.random.default_rng(1)
    data["g"] = np.arange(len(data)) % 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.SingularFitWarning)
        fits = (
            ranef.Model("y ~ f * h + x + (1 | g)", data.assign(y=rng.normal(size=len(data)))).fit() for _ in range(99)
        )
        fit = next(fit for fit in fits if fit.is_singular)
    X, y, assign = fit.spec.design.X, fit.spec.design.y, fit.spec.design.assign

    def rss(terms):
        some = X[:, np.isin(assign, [0, *terms])]
        return float(((y - some @ np.linalg.lstsq(some, y)[0]) ** 2).sum())

    terms = fit.spec.design.fixed_terms
    assert terms == ("f", "h", "x", "f:h")
    before = {1: [[], [1], [1, 2], [1, 2, 3]], 2: [[2, 3], [1, 3], [1, 2, 4], [1, 2, 3]]}[kind]
    expected = [rss(own) - rss([*own, k + 1]) for k, own in enumerate(before)]
    np.testing.assert_allclose(fit.anova(kind, ddf="residual")["sum_sq"], expected, rtol=1e-8)


def test_chi_squared_tables():
    fit = registry.fit("oats")
    frame = fit.anova(ddf=None)
    F = fit.anova(ddf="residual")
    np.testing.assert_allclose(frame["statistic"], F["statistic"] * F["ndf"])
    np.testing.assert_allclose(frame["p"], scipy.stats.chi2.sf(frame["statistic"], frame["ndf"]))
    assert "Type III Wald chi-square tests" in str(frame)


def test_refusals():
    fit = registry.fit("pulp_reml")
    with pytest.raises(ranef.DesignError, match="besides the intercept"):
        fit.anova()
    with pytest.raises(ranef.DesignError, match="nothing to leave out"):
        fit.drop1()
    with pytest.raises(ranef.DesignError, match="type=4 must be 1, 2, 3, '1'"):
        registry.fit("oats").anova(4)
    with pytest.raises(ranef.DesignError, match=r"'Variety' cannot be left out\..*: nitro:Variety;"):
        registry.fit("oats").drop1(["Variety"])
    with pytest.raises(ranef.DesignError, match="no random effects"):
        ranef.ranova(ranef.Model("Reaction ~ Days", ranef.datasets.load("sleepstudy")).fit())


def test_printed_as_r_does():
    text = str(registry.fit("oats").anova(ddf="satterthwaite"))
    assert text.splitlines()[0] == "Type III Analysis of Variance Table with Satterthwaite's method"
    assert text.splitlines()[1].split() == ["Sum", "Sq", "Mean", "Sq", "NumDF", "DenDF", "F", "value", "Pr(>F)"]
    text = str(ranef.ranova(registry.fit("sleep_rs")))
    assert "npar  logLik     AIC   LRT Df Pr(>Chisq) Pr(>mix)" in text
    assert "Days in (Days | Subject)    4 -893.23 1794.47 42.84  2   4.99e-10" in text


# -- terms left out ----------------------------------------------------------------------------------------------------


def minimum(fit, X):
    """−2 log L by ML of the model with columns X, from the oracle over one variance parameter."""

    def value(theta):
        at = oracle.dense(fit.spec, [theta], "ML")
        return oracle.Dense(at.y, X, at.Z, at.roots, at.R, "ML").criterion

    return scipy.optimize.minimize_scalar(value, bounds=(0, 5), method="bounded", options={"xatol": 1e-9}).fun


@pytest.mark.parametrize("formula", ["f * h + x", "0 + f + h", "f + h + x:f", "f:h + x"])
def test_drop1_against_a_search(formula):
    data = crossed()
    fit = ranef.Model(f"y ~ {formula} + (1 | g)", data).fit()
    frame = fit.drop1().set_index("term")
    whole = minimum(fit, fit.spec.design.X)
    for term in frame.index[1:]:
        kept = [t for t in fit.spec.design.fixed_terms if t != term]
        smaller = ranef.Model(f"y ~ {'0' if formula.startswith('0') else '1'} + {' + '.join(kept)} + (1 | g)", data)
        X = smaller.spec.design.X
        rank = np.linalg.matrix_rank(X)
        assert frame.loc[term, "npar"] == fit.spec.n_fixed - rank
        assert frame.loc[term, "statistic"] == pytest.approx(minimum(fit, X) - whole, abs=1e-6)
        assert frame.loc[term, "aic"] == pytest.approx(smaller.fit("ML").aic, abs=1e-6)
    assert frame.loc["<none>", "aic"] == pytest.approx(
        ranef.Model(fit.spec.design.formula, data).fit("ML").aic, abs=1e-8
    )


def test_drop1_respects_hierarchy():
    fit = ranef.Model("y ~ f * h + x + (1 | g)", crossed()).fit()
    assert fit.drop1()["term"].tolist() == ["<none>", "x", "f:h"]


def test_drop1_of_a_response_far_from_zero():
    """What is gone was taken out of y by the pilot fit, and is put back without a loss of digits."""
    data = crossed()
    near, far = (ranef.Model("y ~ f + x + (1 | g)", data.assign(y=data["y"] + add)).fit() for add in (0.0, 1e7))
    np.testing.assert_allclose(far.drop1()["statistic"][1:], near.drop1()["statistic"][1:], rtol=1e-6)


def test_drop1_with_residual_structures():
    data = ranef.datasets.load("Orthodont")
    model = ranef.Model("distance ~ age + Sex + (1 | Subject)", data, variance=ranef.VarIdent("Sex"))
    without = ranef.Model("distance ~ age + (1 | Subject)", data, variance=ranef.VarIdent("Sex")).fit("ML")
    frame = model.fit().drop1().set_index("term")
    assert frame.loc["Sex", "aic"] == pytest.approx(without.aic, abs=1e-5)


@pytest.mark.skipif("soybean_full_ml" not in registry.CASES, reason="its data may not be committed")
def test_soybean_columns():
    """The table of the teaching notes: AIC of the whole model less that without a genotype's column."""
    notes = registry.LOCAL / "teaching_notes.json"
    text = pd.read_json(notes)
    row = text[text["what"].str.startswith("soybean AIC differences, 40")].iloc[0]
    frame = registry.fit("soybean_full_ml").drop1("coefficients")
    own = frame[frame["term"].str.startswith("C(ID")]
    np.testing.assert_allclose(-own["delta_aic"], np.array(row["got"], dtype=float), atol=1e-5)


# -- random terms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "steps"),
    [
        ("(1 | a)", {"(1 | a)": None}),
        ("(x | a)", {"x in (x | a)": "(1 | a)"}),
        ("(0 + x | a)", {"x in (0 + x | a)": "(1 | a)"}),
        ("(x || a)", {"(1 | a)": "(0 + x | a)", "(0 + x | a)": "(1 | a)"}),
        ("(x + z | a)", {"x in (x + z | a)": "(z | a)", "z in (x + z | a)": "(x | a)"}),
        ("(x * z | a)", {"x:z in (x + z + x:z | a)": "(x + z | a)"}),
        ("(f | a)", {"f in (f | a)": "(1 | a)"}),
        ("(0 + f | a)", {"f in (0 + f | a)": "(1 | a)"}),
        ("(f + x | a)", {"f in (f + x | a)": "(x | a)", "x in (f + x | a)": "(f | a)"}),
        ("(0 + f + x | a)", {"f in (0 + f + x | a)": "(0 + x | a)", "x in (0 + f + x | a)": "(0 + f | a)"}),
        ("(x | a) + (1 | b)", {"x in (x | a)": "(1 | a) + (1 | b)", "(1 | b)": "(x | a)"}),
        ("diag(x | a) + (1 | b)", {"diag(x | a)": "(1 | b)", "(1 | b)": "diag(x | a)"}),
    ],
)
def test_steps_are_the_models_they_say(formula, steps):
    from likelihood.designs import make_data  # noqa: PLC0415 - a folder of tests

    data = make_data(4, n=150)
    fit = ranef.Model(f"y ~ x + {formula}", data).fit()
    frame = ranef.ranova(fit).set_index("term")
    assert frame.index.tolist() == ["<none>", *steps]
    for term, smaller in steps.items():
        expected = ranef.Model(f"y ~ x + {smaller}" if smaller else "y ~ x", data).fit()
        assert frame.loc[term, "loglik"] == pytest.approx(expected.loglik, abs=1e-6)
        assert frame.loc[term, "npar"] == expected.df


def test_the_mixture():
    frame = ranef.ranova(registry.fit("sleep_rs"))
    lrt = frame["statistic"][1]
    expected = (scipy.stats.chi2.sf(lrt, 1) + scipy.stats.chi2.sf(lrt, 2)) / 2
    assert frame["p_mixture"][1] == pytest.approx(expected, rel=1e-9)
    frame = ranef.ranova(registry.fit("penicillin"))
    np.testing.assert_allclose(frame["p_mixture"][1:], frame["p"][1:] / 2)
    assert "a variance cannot be below zero" in str(frame)


def test_ranova_of_a_posterior_says_where_to_look():
    fb = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).sample(
        draws=50, seed=1, progress=False, sampler="direct"
    )
    with pytest.raises(ranef.DesignError, match=r"fit\.confint\(\)"):
        ranef.ranova(fb)


def test_hypotheses_of_type_three_of_one_term():
    assert set(term_hypotheses(registry.fit("ergostool").spec, 3)) == {"Type"}
