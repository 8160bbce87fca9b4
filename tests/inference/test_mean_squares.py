"""Expected mean squares of balanced designs, against textbooks, REML and simulation."""

import numpy as np
import pytest

import ranef


def machines():
    data = ranef.datasets.load("Machines")
    return data.groupby(["Worker", "Machine"], observed=True).head(3)


def test_pulp():
    found = ranef.anova_components("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    assert found.table["expected"].tolist() == ["σ² + 5 σ²[operator]", "σ²"]
    assert found.components["anova"].round(5).tolist() == [0.06808, 0.10625]
    assert found.table[["f", "p_value"]].iloc[0].round(4).tolist() == [4.2039, 0.0226]


def test_nested_and_crossed_in_symbols():
    nested = ranef.anova_components("strength ~ 1 + (1 | batch/cask)", ranef.datasets.load("pastes"))
    assert nested.table["expected"].tolist() == [
        "σ² + 2 σ²[cask:batch] + 6 σ²[batch]",
        "σ² + 2 σ²[cask:batch]",
        "σ²",
    ]
    crossed = ranef.anova_components("score ~ 1 + (1 | Machine) + (1 | Worker) + (1 | Worker:Machine)", machines())
    assert crossed.components["formula"].tolist() == [
        "(MS[Machine] - MS[Worker:Machine])/18",
        "(MS[Worker] - MS[Worker:Machine])/9",
        "(MS[Worker:Machine] - MS[Residual])/3",
        "MS[Residual]",
    ]
    assert crossed.table["df"].tolist() == [2, 5, 10, 36]


DESIGNS = [
    ("bright ~ 1 + (1 | operator)", lambda: ranef.datasets.load("pulp")),
    ("strength ~ 1 + (1 | batch/cask)", lambda: ranef.datasets.load("pastes")),
    ("diameter ~ 1 + (1 | plate) + (1 | sample)", lambda: ranef.datasets.load("Penicillin")),
    ("score ~ Machine + (1 | Worker/Machine)", machines),
    ("effort ~ 0 + Type + (1 | Subject)", lambda: ranef.datasets.load("ergoStool")),
]


@pytest.mark.parametrize(("formula", "data"), DESIGNS)
def test_reml_is_the_same_where_none_is_negative(formula, data):
    found = ranef.anova_components(formula, data()).components
    np.testing.assert_allclose(found["anova"], found["reml"], rtol=1e-5)


def test_a_negative_estimate_is_shown_as_it_is():
    found = ranef.anova_components("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("Dyestuff2")).components
    assert found["anova"][0] == pytest.approx((8.336326 - 14.945890) / 5, abs=1e-6)
    assert found["reml"][0] == 0.0
    assert found["reml"][1] < found["anova"][1]


def test_expectations_are_those_of_simulated_mean_squares():
    data = ranef.datasets.load("pastes")
    model = ranef.Model("strength ~ 1 + (1 | batch/cask)", data)
    fit = model.fit()
    variances = {row.group: row.vcov for row in fit.varcorr.itertuples()}
    Y = fit.simulate(200, seed=1)
    squares = [
        ranef.anova_components("strength ~ 1 + (1 | batch/cask)", data.assign(strength=y)).table["mean_sq"] for y in Y.T
    ]
    found = ranef.anova_components("strength ~ 1 + (1 | batch/cask)", data)
    expected = found.coefficients.to_numpy() @ [variances[name] for name in found.coefficients.columns]
    error = expected * np.sqrt(2 / found.table["df"].to_numpy() / len(Y.T))
    assert (np.abs(np.mean(squares, axis=0) - expected) < 4 * error).all()


@pytest.mark.parametrize(
    ("formula", "data", "words"),
    [
        ("bright ~ 1 + (1 | operator)", lambda: ranef.datasets.load("pulp").iloc[1:], "operator have 4 to 5 rows"),
        ("Reaction ~ Days + (Days | Subject)", lambda: ranef.datasets.load("sleepstudy"), "A random slope has no"),
    ],
)
def test_what_has_no_analysis_of_variance_says_so(formula, data, words):
    with pytest.raises(ranef.RanefError, match=words):
        ranef.anova_components(formula, data())
