"""Equations of generalised responses: their numbers, and what is said of rows. ``test_evaluated.py`` has every line."""

import pytest

import ranef
from _ranef import inference as inf
from _ranef.equations.tree_values import evaluated
from _ranef.inference import FitMatrices
from _ranef.spec import ModelMatrices
from equations.linked_truth import LINKS
from equations.models import model


@pytest.mark.parametrize("name", ["logit", "nested counts", "size"])
def test_numbers_in_the_rows_of_a_level(name):
    fit = model(name).fit()
    spec, at = fit.spec, inf.laplace_at(fit.spec, fit.estimates)
    lines = fit.equation("cluster", values=True).lines
    by_words = {str(getattr(line.words, "text", "")): line for line in lines}
    row = next(line for words, line in by_words.items() if words.startswith("(2)"))
    assert evaluated(row.right, None) == pytest.approx(LINKS[row.left.function](evaluated(row.left.arguments[0], None)))
    variance = next(line for words, line in by_words.items() if words.startswith("(4): "))
    k = variance.left.arguments[0].key[1]
    z = ModelMatrices(spec).Z[[k]].toarray()[0]
    D = FitMatrices(spec, fit.estimates.theta, 1.0).D.toarray()
    assert evaluated(variance.right, None) == pytest.approx(z @ D @ z + 1.0 / at.mode.at.curvature[k])


def test_what_rows_are_round_their_mean():
    cbpp, ticks = ranef.datasets.load("cbpp"), ranef.datasets.load("grouseticks")
    counts = ranef.Model("cbind(incidence, size - incidence) ~ 1 + (1 | herd)", cbpp, family="binomial")
    share = cbpp.assign(share=cbpp["incidence"] / cbpp["size"])
    shares = ranef.Model("share ~ 1 + (1 | herd)", share, family="binomial", weights="size")
    some = ranef.Model("any ~ 1 + (1 | BROOD)", ticks.assign(any=1 * (ticks["TICKS"] > 0)), family="binomial")
    texts = [model.equation("distribution").text.splitlines()[0].strip() for model in (counts, shares, some)]
    assert [text.partition("   ")[0] for text in texts] == [
        "incidenceᵢ ~ Binomial(nᵢ, pᵢ)",
        "nᵢ·shareᵢ ~ Binomial(nᵢ, pᵢ)",
        "anyᵢ ~ Bernoulli(pᵢ)",
    ]
    assert "V" not in counts.equation("distribution").text


def test_parameters_have_no_residual():
    data = ranef.datasets.load("grouseticks")
    table = ranef.Model("TICKS ~ 1 + (1 | BROOD)", data, family="negative binomial").parameters
    assert table["parameter"].tolist() == ["Intercept", "sd(Intercept | BROOD)", "size"]
    assert table["prior"].tolist()[-1] == "Gamma(1, 0.1)"


def test_thresholds_of_classes_are_those_of_the_fit():
    fit = model("classes").fit()
    first, steps = (line for line in fit.equation("distribution", values=True).lines[:2])
    assert first.left.function == "logit"
    numbers = evaluated(steps.right, None).ravel() - fit.fixef["Intercept"]
    assert numbers == pytest.approx(fit.thresholds.to_numpy(), abs=2e-3)  # of steps in four digits
    assert model("classes").parameters["symbol"].tolist()[-2:] == ["δ₂", "δ₃"]


def test_long_responses_are_named_by_their_first_and_last_classes():
    data = ranef.datasets.load("sleepstudy").assign(place=lambda d: d["Reaction"].rank(method="dense") // 15)
    text = ranef.Model("place ~ Days + (1 | Subject)", data, family="ordinal").equation().text
    assert "of 13: 0, 1, 2, …, 12" in text
    assert "δ₂ + … + δ₁₂" in text
