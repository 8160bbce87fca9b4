"""Every line of every style holds: evaluated with numbers, it is what dense matrices of the design give."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import ranef
from _ranef.equations import STYLES, Asked, Chosen, model_equation
from _ranef.equations.tree import Literal, Negative, Product, Sum, Symbol, squared
from equations.linked_truth import LinkedTruth
from equations.models import LINKED, MADE, data, equation, model
from equations.truth import Truth


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", MADE)
def test_every_line_holds(name, style):
    truth = Truth(model(name).spec, data=data(name))
    assert truth.check(equation(name, style).lines) >= 2


CLUSTERS = [
    ("slopes", "309", None, "symbols"),
    ("slopes", "372", "Subject", "numbers"),
    ("crossed", "C", "sample", "symbols"),
    ("nested", "B", "batch", "numbers"),
    ("nested", "B", "batch", "symbols"),
    ("three levels", "b", "school", "numbers"),
    ("blocks", "3", None, "symbols"),
    ("related", "310", None, "numbers"),
    ("AR1 in order", "310", None, "symbols"),
    ("cross-level", None, None, "symbols"),
    ("functions", None, None, "numbers"),
]


@pytest.mark.parametrize(("name", "level", "group", "entries"), CLUSTERS)
def test_the_rows_of_any_level_hold(name, level, group, entries):
    spec = model(name).spec
    lines = model_equation(spec, style="cluster", asked=Asked(Chosen(level, group, entries))).lines
    assert Truth(spec, data=data(name), level=level, group=group).check(lines) >= 4


@cache
def linked_truth(name):
    return LinkedTruth(model(name).spec, data=data(name))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", LINKED)
def test_every_line_of_generalised_responses_holds(name, style):
    assert linked_truth(name).check(equation(name, style).lines) >= 3


LINKED_CLUSTERS = [
    ("logit", "7", None, "symbols"),
    ("nested counts", "32", "LOCATION", "numbers"),
    ("nested counts", "32", "LOCATION", "symbols"),
    ("times", "372", None, "symbols"),
    ("shares", "2", None, "symbols"),
]


@pytest.mark.parametrize(("name", "level", "group", "entries"), LINKED_CLUSTERS)
def test_the_rows_of_any_level_of_generalised_responses_hold(name, level, group, entries):
    spec = model(name).spec
    lines = model_equation(spec, style="cluster", asked=Asked(Chosen(level, group, entries))).lines
    assert LinkedTruth(spec, data=data(name), level=level, group=group).check(lines) >= 6


def test_student_responses_hold():
    spec = model("slopes").spec.with_family("student")
    lines = model_equation(spec, style="scalar").lines
    assert "t(ν, 0, σ²)" in model_equation(spec).text
    assert Truth(spec).check(lines) >= 3


WRONG = {
    "a coefficient at another variable": ("β", lambda s: replace(s, key=("fixef", 1 - s.key[1]))),
    "an effect of another column": ("b", lambda s: replace(s, key=(*s.key[:2], 1 - s.key[2], *s.key[3:]))),
    "an effect with the other sign": ("b", Negative),
    "a standard deviation for a variance": ("ρ", lambda s: Product((s, s))),
    "a variance of a variance": ("σ", squared),
}


@pytest.mark.parametrize("style", ["scalar", "cluster", "matrix", "distribution"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_equation_is_seen(style, wrong):
    letter, change = WRONG[wrong]
    spec = model("slopes").spec
    lines = model_equation(spec, style=style).lines

    def changed(node):
        known = ("fixef", "ranef", "sd", "cor")
        return change(node) if isinstance(node, Symbol) and node.letter == letter and node.key[0] in known else None

    moved = [replace(line, right=line.mapped(changed).right) for line in lines]
    if moved == list(lines):
        pytest.skip("the style has no such symbol")
    with pytest.raises(AssertionError):
        Truth(spec, data=data("slopes")).check(moved)


WRONG_LINKED = {
    "a working response without its step": ("z", lambda s: Symbol("η", s.below, ("predictors",))),
    "a mean of the other outcome": ("p", lambda s: Sum((Literal("1"), Negative(s)))),
    "no trials": ("n", lambda s: Literal("1")),
    "effects on another scale": ("u", lambda s: Product((Literal("2"), s))),
    "a coefficient with the other sign": ("β", Negative),
}


@pytest.mark.parametrize("wrong", WRONG_LINKED)
def test_a_wrong_equation_of_a_generalised_response_is_seen(wrong):
    letter, change = WRONG_LINKED[wrong]

    def changed(node):
        return change(node) if isinstance(node, Symbol) and node.letter == letter else None

    moved = [replace(line, right=line.mapped(changed).right) for line in equation("logit", "matrix").lines]
    assert any(a.right != b.right for a, b in zip(moved, equation("logit", "matrix").lines, strict=True))
    with pytest.raises(AssertionError):
        linked_truth("logit").check(moved)


def test_numbers_of_calendar_years_give_the_fitted_values():
    data = ranef.datasets.load("sleepstudy")
    data["Year"] = 1990 + data["Days"]
    fit = ranef.Model("Reaction ~ Year + (1 | Subject)", data).fit()
    intercept, slope = re.search(r"= (-[\d.]+) \+ ([\d.]+)·Year", fit.equation(values=True).text).groups()
    by_hand = float(intercept) + float(slope) * data["Year"]
    np.testing.assert_allclose(by_hand, fit.fitted(re="none"), atol=0.01 * data["Reaction"].std())
