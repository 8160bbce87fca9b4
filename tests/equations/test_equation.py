"""Equations of every kind of model: what they say, and that they are LaTeX."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.equations import STYLES, Equation, model_equation
from _ranef.equations.notation import LATEX, PLAIN, WIDTH

MODELS = {
    "pulp": ("bright ~ 1 + (1 | operator)", "pulp"),
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "zerocorr": ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    "nested": ("strength ~ 1 + (1 | batch/cask)", "Pastes"),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "dummies": ("score ~ Machine + (Machine | Worker)", "Machines"),
    "diag": ("score ~ 0 + Machine + diag(Machine | Worker)", "Machines"),
    "ident": ("score ~ Machine + ident(0 + Machine | Worker)", "Machines"),
    "blocks": ("score ~ Machine + (Machine || Worker)", "Machines"),
    "contrasts": ("score ~ C(Machine, Sum) + (1 | Worker)", "Machines"),
    "ordered": ("angle ~ recipe * temperature + (1 | recipe:replicate)", "cake"),
    "no intercept": ("Reaction ~ 0 + Days + (1 | Subject)", "sleepstudy"),
    "no fixed": ("Reaction ~ 0 + (Days | Subject)", "sleepstudy"),
    "no random": ("Reaction ~ Days", "sleepstudy"),
    "functions": ("log(Reaction) ~ I((Days - 4.5)^2) + sqrt(Days) + bs(Days, df = 4) + (1 | Subject)", "sleepstudy"),
    "crosslevel": ("mAch ~ cses * meanses + (cses | school)", "Hsb82"),
}

TORTURE = "x y\\^~$&#{}'\"`-*<|\n%"


def torture_model(**options):
    data = ranef.datasets.load("sleepstudy").rename(columns={"Days": "my days", "Subject": "sub.ject_id"})
    data["größe %"] = np.arange(len(data)) % 7.0
    data["g"] = ["a:b", "b]c", TORTURE] * 60
    data["w"] = 1.0 + np.arange(len(data)) % 3
    formula = "Reaction ~ `my days` * g + `größe %` + offset(w) + (`my days` | sub.ject_id:g)"
    return ranef.Model(formula, data, **options)


def model(name):
    formula, data = MODELS[name]
    return ranef.Model(formula, ranef.datasets.load(data))


def lines(name, style="scalar"):
    return [re.sub(r"\s+", " ", line.strip()) for line in model(name).equation(style).text.splitlines()]


def assert_is_latex(text):
    """Braces, environments and \\left...\\right are balanced, and nothing special is left bare."""
    bare = text.replace(r"\\", "").replace(r"\{", "").replace(r"\}", "")
    depth = 0
    for c in bare:
        depth += {"{": 1, "}": -1}.get(c, 0)
        assert depth >= 0
    assert depth == 0
    assert Counter(re.findall(r"\\begin\{(\w+)\}", text)) == Counter(re.findall(r"\\end\{(\w+)\}", text))
    assert bare.count(r"\left(") == bare.count(r"\right)")
    assert not re.search(r"(?<!\\)[#$%]", bare)
    assert not re.search(r"[^ -~\n]", re.sub(r"\\text\{[^{}]*\}", "", text))
    for row in re.sub(r"\\begin\{pmatrix\}.*?\\end\{pmatrix\}", "", text).split("\\\\\n"):
        assert len(re.findall(r"(?<!\\)&", row)) == 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_in_every_style_is_latex(name, style):
    equation = model(name).equation(style)
    assert_is_latex(equation.latex)
    assert equation.style == style
    assert equation.text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["slopes", "zerocorr", "nested", "diag", "ident", "blocks", "ordered"])
def test_numbers_leave_no_symbol_of_a_parameter(name, style):
    fit = model(name).fit()
    equation = fit.equation(style, values=True)
    assert_is_latex(equation.latex)
    assert not re.search("[σρ]|β[₀-₉]", equation.text)


@pytest.mark.parametrize("style", STYLES)
def test_awkward_names_are_escaped(style):
    equation = torture_model(weights="w").equation(style)
    assert_is_latex(equation.latex)
    assert r"\mathrm{my\ days}_{i}" in equation.latex or style == "matrix"
    assert "\n%" not in equation.text


def test_scalar_latex_of_random_intercepts():
    assert str(model("pulp").equation()) == (
        "\\begin{aligned}\n"
        "\\mathrm{bright}_{i} &= \\beta_{0} + b_{\\mathrm{operator}[i]} + \\varepsilon_{i} \\\\\n"
        "b_{\\mathrm{operator}} &\\sim \\mathcal{N}\\left(0,\\ \\sigma_{\\mathrm{operator}}^{2}\\right)"
        " \\quad \\text{for 4 levels of }\\mathrm{operator} \\\\\n"
        "\\varepsilon_{i} &\\sim \\mathcal{N}\\left(0,\\ \\sigma^{2}\\right) \\quad \\text{for 20 rows }i\n"
        "\\end{aligned}"
    )


def test_scalar_latex_of_random_slopes():
    first, second = model("slopes").equation().latex.splitlines()[1:3]
    assert first == (
        r"\mathrm{Reaction}_{i} &= \beta_{0} + \beta_{1} \, \mathrm{Days}_{i} + b_{0,\mathrm{Subject}[i]}"
        r" + b_{1,\mathrm{Subject}[i]} \, \mathrm{Days}_{i} + \varepsilon_{i} \\"
    )
    matrix = (
        r"\begin{pmatrix} \sigma_{0}^{2} & \rho_{01} \, \sigma_{0} \, \sigma_{1} \\"
        r" \rho_{01} \, \sigma_{0} \, \sigma_{1} & \sigma_{1}^{2} \end{pmatrix}"
    )
    assert matrix in second


def test_text_of_crossed_factors():
    assert lines("crossed") == [
        "diameterᵢ = β₀ + b[plateᵢ] + b[sampleᵢ] + εᵢ",
        "b[plate] ~ N(0, σ²[plate]) for 24 levels of plate",
        "b[sample] ~ N(0, σ²[sample]) for 6 levels of sample",
        "εᵢ ~ N(0, σ²) for 144 rows i",
    ]


def test_independent_terms_of_one_factor_are_numbered_through():
    text = lines("zerocorr")
    assert text[1:3] == [
        "b₀[Subject] ~ N(0, σ₀²) for 18 levels of Subject",
        "b₁[Subject] ~ N(0, σ₁²) for 18 levels of Subject",
    ]


def test_dummies_are_indicators_and_other_contrasts_keep_their_name():
    assert lines("dummies")[0].startswith("scoreᵢ = β₀ + β₁·1[Machineᵢ = B] + β₂·1[Machineᵢ = C]")
    assert "`C(Machine, Sum)[S.A]`ᵢ" in model("contrasts").equation().text
    assert r"\mathbf{1}[\mathrm{Machine}_{i} = \mathrm{B}]" in model("dummies").equation().latex
    assert "temperature.Lᵢ" in model("ordered").equation().text


def test_structures_have_their_own_matrix():
    assert "N(0, diag(σ₀², σ₁², σ₂²))" in model("diag").equation().text
    assert "N(0, σ²[Worker]·I₃)" in model("ident").equation().text


def test_functions_are_written_as_mathematics():
    equation = model("functions").equation()
    assert equation.text.startswith("log(Reactionᵢ) = β₀ + β₁·(Daysᵢ - 4.5)^2 + β₂·sqrt(Daysᵢ)")
    assert r"\log(\mathrm{Reaction}_{i})" in equation.latex
    assert r"\sqrt{\mathrm{Days}_{i}}" in equation.latex
    assert r"(\mathrm{Days}_{i} - 4.5)^{2}" in equation.latex


def test_matrix_style_gives_dimensions_and_blocks():
    assert lines("nested", "matrix") == [
        "y = Xβ + Zb + ε X: 60 × 1, Z: 60 × 40",
        "β = (β₀)ᵀ of Intercept",
        "b ~ N(0, D)",
        "D = σ²·ΛΛᵀ = diag(σ²[cask:batch]·I₃₀, σ²[batch]·I₁₀)",
        "ε ~ N(0, R)",
        "R = σ²·I₆₀",
        "V = Var(y) = ZDZᵀ + R",
    ]
    assert "D = σ²·ΛΛᵀ = I₁₈ ⊗ Σ[Subject]" in lines("slopes", "matrix")
    assert lines("no random", "matrix")[0] == "y = Xβ + ε X: 180 × 2"
    assert lines("no fixed", "matrix")[0] == "y = Zb + ε Z: 180 × 36"


def test_hierarchical_style_chains_nested_factors():
    assert lines("nested", "hierarchical") == [
        "Level 1: rows",
        "strengthᵢ = α[cask:batchᵢ] + εᵢ",
        "εᵢ ~ N(0, σ²) for 60 rows i",
        "Level 2: cask:batch",
        "α[cask:batch] = α[batch] + b[cask:batch]",
        "b[cask:batch] ~ N(0, σ²[cask:batch]) for 30 levels of cask:batch",
        "Level 3: batch",
        "α[batch] = β₀ + b[batch]",
        "b[batch] ~ N(0, σ²[batch]) for 10 levels of batch",
    ]


def test_hierarchical_style_of_crossed_factors():
    text = lines("crossed", "hierarchical")
    assert text[1] == "diameterᵢ = α[plateᵢ, sampleᵢ] + εᵢ"
    assert text[3:5] == ["Level 2: plate and sample", "α[plate, sample] = β₀ + b[plate] + b[sample]"]


def test_hierarchical_style_puts_variables_of_a_level_where_they_act():
    text = lines("crosslevel", "hierarchical")
    assert text[1] == "mAchᵢ = α₀[schoolᵢ] + α₁[schoolᵢ]·csesᵢ + εᵢ"
    assert text[4:6] == [
        "α₀[school] = β₀ + β₂·meanses[school] + b₀[school]",
        "α₁[school] = β₁ + β₃·meanses[school] + b₁[school]",
    ]


def test_hierarchical_style_leaves_what_varies_within_levels_to_the_rows():
    text = lines("no intercept", "hierarchical")
    assert text[1] == "Reactionᵢ = α[Subjectᵢ] + β₁·Daysᵢ + εᵢ"
    assert text[4] == "α[Subject] = b[Subject]"


def test_weights_offset_and_known_sigma():
    data = ranef.datasets.load("sleepstudy").assign(w=2.0, known=1.0)
    weighted = ranef.Model("Reaction ~ Days + (1 | Subject)", data, weights="w", offset="known", sigma=1.5)
    text = weighted.equation().text
    assert "oᵢ + b[Subjectᵢ] + εᵢ" in text
    assert "εᵢ ~ N(0, σ² / wᵢ)" in text
    assert text.splitlines()[-3:] == ["wᵢ: prior weight", "oᵢ: offset, known", "σ = 1.5, known"]
    matrix = weighted.equation("matrix").text
    assert "R = σ²·W⁻¹" in matrix
    assert "y = Xβ + o + Zb + ε" in matrix


def test_numbers_of_the_sleepstudy():
    """lme4: lmer(Reaction ~ Days + (Days | Subject)): 251.405, 10.467; 612.1, 35.07, cov 9.604; 654.94."""
    fixef = pd.Series({"Intercept": 251.4051, "Days": 10.46729})
    varcorr = pd.DataFrame({"vcov": [612.100, 35.0717, 9.60441, 654.940]})
    equation = model_equation(model("slopes").spec, values=(fixef, varcorr))
    assert equation.text.split("\n")[0].strip().startswith("Reactionᵢ = 251.4 + 10.47·Daysᵢ + b₀[Subjectᵢ]")
    assert "[612.1, 9.604; 9.604, 35.07]" in equation.text
    assert "εᵢ ~ N(0, 654.9)" in equation.text


def test_negative_coefficients_are_subtracted():
    fixef, varcorr = pd.Series({"Intercept": 1.0, "Days": -2.0}), pd.DataFrame({"vcov": [1.0, 1.0, -0.5, 1.0]})
    equation = model_equation(model("slopes").spec, values=(fixef, varcorr))
    assert "= 1.000 - 2.000·Daysᵢ" in equation.text
    assert r"= 1.000 - 2.000 \, \mathrm{Days}_{i}" in equation.latex


@pytest.mark.parametrize(
    ("value", "latex", "plain"),
    [
        (0.0, "0", "0"),
        (-0.0, "0", "0"),
        (251405.1, "251405", "251405"),
        (0.00012345, "0.0001234", "0.0001234"),
        (1.23456e-7, r"1.235 \times 10^{-7}", "1.235e-07"),
        (-4e12, r"-4.000 \times 10^{12}", "-4.000e+12"),
    ],
)
def test_numbers_have_four_significant_digits(value, latex, plain):
    assert LATEX.number(value) == latex
    assert PLAIN.number(value) == plain


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("Days", r"\mathrm{Days}"),
        ("a_b", r"\mathrm{a\_b}"),
        ("a b%", r"\mathrm{a\ b\%}"),
        ("cask:batch", r"\mathrm{cask{:}batch}"),
        ("x-1.5", r"\mathrm{x\text{-}1{.}5}"),
        ("größe", r"\mathrm{gr\text{öß}e}"),
        ("a\\b{c}", r"\mathrm{a{\backslash}b\{c\}}"),
    ],
)
def test_names_are_upright_and_escaped(name, latex):
    assert LATEX.name(name) == latex


def test_long_lines_are_broken():
    text = model("ordered").equation().text.splitlines()
    indent = text[0].index("=") + 2
    assert max(len(line) for line in text if "~" not in line) <= WIDTH + indent
    assert text[1].strip().startswith("+ β")


def test_large_unstructured_matrix_is_named():
    data = ranef.datasets.load("cake")
    equation = ranef.Model("angle ~ temperature + (0 + temperature | replicate)", data).equation()
    assert "N(0, Σ[replicate])" in equation.text
    assert equation.text.endswith("Σ[replicate]: any covariance matrix, 6 × 6")


def test_a_wrong_style_is_refused_with_a_hint():
    with pytest.raises(ranef.DesignError, match=r"'scalar', 'matrix', 'hierarchical'.*Did you mean 'matrix'"):
        model("pulp").equation("matrx")


def test_notebook_forms():
    equation = Equation("x", "scalar", "x")
    assert equation._repr_latex_() == r"$\displaystyle x$"
    assert equation._repr_markdown_() == "$$\nx\n$$"
