"""Equations of generalised responses: those of the Gaussian model, whose numbers are tested, without its residual."""

import pytest

import ranef
from _ranef.equations.tree import Call, Chain, Law, Sum, symbols_in

FORMULAS = {
    "TICKS ~ cHEIGHT + (cHEIGHT | BROOD) + (1 | LOCATION)": "negative binomial",
    "TICKS ~ YEAR + offset(cHEIGHT) + (1 | BROOD)": "poisson",
}


def has_residual(node):
    return any(getattr(p, "key", None) == ("residual",) for p in symbols_in(node))


def without_residual(node):
    if isinstance(node, Chain):
        return Chain(tuple(map(without_residual, node.parts)))
    return Sum(tuple(term for term in node.terms if not has_residual(term)))


@pytest.mark.parametrize("style", ["scalar", "hierarchical", "combined"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_predictor_is_that_of_the_gaussian_model(formula, style):
    data = ranef.datasets.load("grouseticks")
    plain = ranef.Model(formula, data).equation(style).lines
    own = ranef.Model(formula, data, family=FORMULAS[formula]).equation(style).lines
    assert len(own) == len(plain)
    linked = [k for k, line in enumerate(own) if isinstance(line.left, Call)]
    assert len(linked) == 1
    for k, (line, other) in enumerate(zip(own, plain, strict=True)):
        if k in linked:
            assert line.left.function == "log"
            assert line.right == without_residual(other.right)
        elif any(map(has_residual, other.parts)):
            assert isinstance(line.right, Law)
            assert line.right.name in ("NegBinomial", "Poisson")
        else:
            assert line == other


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
