"""What equations say of every kind of model, in every rendering."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.equations import STYLES, model_equation, numbers_of
from _ranef.equations.latex import LATEX
from _ranef.equations.mathml import MATHML
from _ranef.equations.plain import PLAIN
from _ranef.equations.tree import Line, Matrix, Name, Number, Product, Sum, Symbol, Transposed
from _ranef.equations.typst import TYPST
from _ranef.equations.writing import WIDTH
from equations.models import MADE, model
from equations.models import equation as written

TORTURE = "x y\\^~$&#{}'\"`-*<|\n%"


def torture_model(**options):
    data = ranef.datasets.load("sleepstudy").rename(columns={"Days": "my days", "Subject": "sub.ject_id"})
    data["größe %"] = np.arange(len(data)) % 7.0
    data["g"] = ["a:b", "b]c", TORTURE] * 60
    data["w"] = 1.0 + np.arange(len(data)) % 3
    formula = "Reaction ~ `my days` * g + `größe %` + offset(w) + (`my days` | sub.ject_id:g)"
    return ranef.Model(formula, data, **options)


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


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", MADE)
def test_every_model_in_every_style_is_written(name, style):
    equation = written(name, style)
    for part in (equation, equation.legend):
        assert_is_latex(part.latex)
        assert part.text
        assert not re.search("[\ue000-\ue003]", part.text + part.mathml + part.typst + part.latex)
    assert equation.style == style


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", MADE)
def test_every_symbol_has_one_meaning(name, style):
    """The legend names all, and no two things share a symbol."""
    told = [line.split(" : ", 1) for line in written(name, style).legend.text.splitlines()]
    symbols = [entry[0].strip() for entry in told if len(entry) == 2]
    assert len(symbols) == len(set(symbols))
    assert all(entry[1].strip() for entry in told if len(entry) == 2)
    assert len(symbols) >= 4


@pytest.mark.parametrize("style", ["scalar", "hierarchical", "combined", "matrix", "distribution"])
@pytest.mark.parametrize("name", ["slopes", "zerocorr", "nested", "diag", "ident", "blocks", "ordered", "VarIdent"])
def test_numbers_leave_no_symbol_of_a_parameter(name, style):
    fit = model(name).fit()
    equation = fit.equation(style, values=True)
    assert_is_latex(equation.latex)
    assert not re.search("[σργδ]|β[₀-₉](?!\\[)", equation.text)


@pytest.mark.parametrize("style", STYLES)
def test_awkward_names_are_escaped(style):
    equation = torture_model(weights="w").equation(style)
    assert_is_latex(equation.latex)
    assert r"\mathrm{my\ days}_{i}" in equation.latex or style in ("matrix", "cluster")
    assert "\n%" not in equation.text


def test_scalar_latex_of_random_intercepts():
    assert str(model("pulp").equation()) == (
        "\\begin{aligned}\n"
        "\\mathrm{bright}_{i} &= \\beta_{0} + b_{j[i]} + \\varepsilon_{i} \\\\\n"
        "b_{j} &\\sim \\mathcal{N}\\left(0,\\ \\sigma_{\\mathrm{operator}}^{2}\\right)"
        " \\quad \\text{for 4 levels }j\\text{ of operator} \\\\\n"
        "\\varepsilon_{i} &\\sim \\mathcal{N}\\left(0,\\ \\sigma^{2}\\right) \\quad \\text{for 20 rows }i\n"
        "\\end{aligned}"
    )


def test_scalar_latex_of_random_slopes():
    first, second = model("slopes").equation().latex.splitlines()[1:3]
    assert first == (
        r"\mathrm{Reaction}_{i} &= \beta_{0} + \beta_{1} \, \mathrm{Days}_{i} + b_{0,j[i]}"
        r" + b_{1,j[i]} \, \mathrm{Days}_{i} + \varepsilon_{i} \\"
    )
    matrix = (
        r"\begin{pmatrix} \sigma_{0}^{2} & \rho_{01} \, \sigma_{0} \, \sigma_{1} \\"
        r" \rho_{01} \, \sigma_{0} \, \sigma_{1} & \sigma_{1}^{2} \end{pmatrix}"
    )
    assert matrix in second


def test_one_tree_in_four_languages():
    tree = Sum((Symbol("β", ("0",)), Product((Number(-2.0), Symbol("b", ("1", "j"))))))
    assert PLAIN.node(tree) == "β₀ - 2.000·b₁[j]"
    assert LATEX.node(tree) == r"\beta_{0} - 2.000 \, b_{1,j}"
    assert TYPST.node(tree) == "β_(0) - 2.000 thin b_(1, j)"
    assert MATHML.node(tree) == (
        "<mrow><msub><mi>β</mi><mrow><mn>0</mn></mrow></msub><mo>−</mo><mrow><mn>2.000</mn>"
        '<mspace width="0.17em"/><msub><mi>b</mi><mrow><mn>1</mn><mo>,</mo><mi>j</mi></mrow></msub></mrow></mrow>'
    )


def test_matrices_stand_on_several_lines_of_text():
    inner = Matrix(((Symbol("a"), Symbol("b")), (Symbol("c"), Symbol("d"))))
    tree = Matrix(((inner, Number(0.0)), (Number(0.0), Transposed(Symbol("x")))))

    assert PLAIN.page([Line(Symbol("A"), "=", tree)]).splitlines() == [
        "    ⎡⎡a  b⎤  0 ⎤",
        "A = ⎢⎣c  d⎦    ⎥",
        "    ⎣  0     xᵀ⎦",
    ]


def test_text_of_crossed_factors():
    assert lines("crossed") == [
        "diameterᵢ = β₀ + b[j[i]] + b[k[i]] + εᵢ",
        "b[j] ~ N(0, σ²[plate]) for 24 levels j of plate",
        "b[k] ~ N(0, σ²[sample]) for 6 levels k of sample",
        "εᵢ ~ N(0, σ²) for 144 rows i",
    ]


def test_independent_terms_of_one_factor_are_numbered_through():
    text = lines("zerocorr")
    assert text[1:3] == [
        "b₀[j] ~ N(0, σ₀²) for 18 levels j of Subject",
        "b₁[j] ~ N(0, σ₁²) for 18 levels j of Subject",
    ]


def test_dummies_are_indicators_and_other_contrasts_keep_their_name():
    assert lines("dummies")[0].startswith("scoreᵢ = β₀ + β₁·1[Machineᵢ = B] + β₂·1[Machineᵢ = C]")
    assert "`C(Machine, Sum)[S.A]`ᵢ" in model("contrasts").equation().text
    assert r"\mathbf{1}[\mathrm{Machine}_{i} = \mathrm{B}]" in model("dummies").equation().latex
    assert "temperature.Lᵢ" in model("ordered").equation().text


def test_structures_have_their_own_matrix():
    assert "N(0, diag(σ₀², σ₁², σ₂²))" in model("diag").equation().text
    assert "N(0, σ²[Worker]·I₃)" in model("ident").equation().text
    assert "ρ²[Worker]·σ²[Worker]" in model("ar1").equation().text
    assert "ρ₂[Worker]·σ₀·σ₂" in model("toep").equation().text


def test_functions_are_written_as_mathematics():
    equation = model("functions").equation()
    assert equation.text.startswith("log(Reactionᵢ) = β₀ + β₁·(Daysᵢ - 4.5)² + β₂·sqrt(Daysᵢ)")
    assert r"\log(\mathrm{Reaction}_{i})" in equation.latex
    assert r"\sqrt{\mathrm{Days}_{i}}" in equation.latex
    assert r"(\mathrm{Days}_{i} - 4.5)^{2}" in equation.latex


def test_matrix_style_gives_dimensions_and_blocks():
    text = lines("nested", "matrix")
    assert text[:2] == ["y = Xβ + Zb + ε X: 60 × 1, Z: 60 × 40", "β = (β₀)ᵀ of Intercept"]
    assert "D = σ²·ΛΛᵀ = ⎡σ²[cask:batch]·I₃₀ 0 ⎤" in text
    assert text[-1] == "V = Var(y) = ZDZᵀ + R"
    assert any(line.startswith("Effects of different factors have no covariance") for line in text)
    assert "D = σ²·ΛΛᵀ = I₁₈ ⊗ Σ[Subject]" in lines("slopes", "matrix")
    assert lines("no random", "matrix")[0] == "y = Xβ + ε X: 180 × 2"
    assert lines("no fixed", "matrix")[0] == "y = Zb + ε Z: 180 × 36"


def test_hierarchical_style_chains_nested_factors():
    assert lines("nested", "hierarchical") == [
        "Level 1: rows",
        "strengthᵢ = β₀[j[i]] + εᵢ",
        "εᵢ ~ N(0, σ²) for 60 rows i",
        "Level 2: cask:batch",
        "β₀[j] = α₀[k[j]] + U₀[j]",
        "U₀[j] ~ N(0, σ²[cask:batch]) for 30 levels j of cask:batch",
        "Level 3: batch",
        "α₀[k] = γ₀₀ + U₀[k]",
        "U₀[k] ~ N(0, σ²[batch]) for 10 levels k of batch",
    ]


def test_hierarchical_style_of_crossed_factors():
    text = lines("crossed", "hierarchical")
    assert text[1] == "diameterᵢ = β₀[j[i], k[i]] + εᵢ"
    assert text[3:5] == ["Level 2: plate and sample", "β₀[j, k] = γ₀₀ + U₀[j] + U₀[k]"]


def test_hierarchical_style_puts_variables_of_a_level_where_they_act():
    text = lines("cross-level", "hierarchical")
    assert text[1] == "mAchᵢ = β₀[j[i]] + β₁[j[i]]·csesᵢ + εᵢ"
    assert text[4:6] == [
        "β₀[j] = γ₀₀ + γ₀₁·meanses[j] + γ₀₂·1[sector[j] = Catholic] + U₀[j]",
        "β₁[j] = γ₁₀ + γ₁₁·meanses[j] + γ₁₂·1[sector[j] = Catholic] + U₁[j]",
    ]


def test_three_levels_have_each_variable_at_its_own():
    text = lines("three levels", "hierarchical")
    assert "β₁[j] = α₁[k[j]] + γ₁₁·size[j] + U₁[j]" in text
    assert "α₁[k] = γ₁₀ + γ₁₂·rich[k] + U₁[k]" in text
    assert "β₀[j] = α₀[k[j]] + γ₀₁·size[j] + γ₀₃·size[j]·rich[j] + U₀[j]" in text


def test_combined_style_multiplies_out():
    equation = model("cross-level").equation("combined").text
    assert "γ₁₁·meanses[j[i]]·csesᵢ" in equation
    assert "U₁[j[i]]·csesᵢ" in equation


def test_hierarchical_style_leaves_what_varies_within_levels_to_the_rows():
    text = lines("no intercept", "hierarchical")
    assert text[1] == "Reactionᵢ = β₀[j[i]] + γ₁₀·Daysᵢ + εᵢ"
    assert text[4] == "β₀[j] = U₀[j]"


def test_cluster_style_answers_why_x_stands_again_in_z():
    text = lines("slopes", "cluster")
    assert text[1] == "y[j] = X[j]β + Z[j]b[j] + ε[j] (1)"
    assert "250.8 = β₀ + β₁·2 + b₀[308] + b₁[308]·2 + ε₃ (2): row 3 of (1), as style='scalar' has it" in text
    assert "In both: Intercept, Days: β has what they do on average, b[j] the deviations from it" in text
    assert "Var(y₃) = σ₀² + 4·ρ₀₁·σ₀·σ₁ + 4·σ₁² + σ² (4): an entry of (3) multiplied out" in text
    other = model("slopes").equation("cluster", level="309", entries="symbols").text
    assert "y₁₃ = β₀ + β₁·Days₁₃ + b₀[309] + b₁[309]·Days₁₃ + ε₁₃" in other


def test_cluster_of_a_factor_by_name():
    text = model("nested").equation("cluster", level="B", group="batch").text
    assert text.startswith("The 6 rows of batch B")
    with pytest.raises(ranef.DesignError, match="no level 'Q'"):
        model("nested").equation("cluster", level="Q")
    with pytest.raises(ranef.DesignError, match="entries='words'"):
        model("nested").equation("cluster", entries="words")


def test_weights_offset_and_known_sigma():
    data = ranef.datasets.load("sleepstudy").assign(w=2.0, known=1.0)
    weighted = ranef.Model("Reaction ~ Days + (1 | Subject)", data, weights="w", offset="known", sigma=1.5)
    equation = weighted.equation()
    assert "oᵢ + b[j[i]] + εᵢ" in equation.text
    assert "εᵢ ~ N(0, σ² / wᵢ)" in equation.text
    assert "residual standard deviation, known: 1.5" in equation.legend.text
    matrix = weighted.equation("matrix").text
    assert "R = σ²·W⁻¹" in matrix
    assert "y = Xβ + o + Zb + ε" in matrix


def test_residual_structures_are_formulas():
    assert "hᵢ = 1[Machineᵢ = A] + δ[B]·1[Machineᵢ = B] + δ[C]·1[Machineᵢ = C]" in lines("VarIdent")
    assert "hᵢ = |vᵢ|^δ" in lines("VarPower")
    assert "Cor(εᵢ, εᵢ′) = φ^|Daysᵢ - Daysᵢ′| for two rows of the same Subject; others have none" in lines("AR1")


def test_numbers_of_the_sleepstudy():
    """lme4: lmer(Reaction ~ Days + (Days | Subject)): 251.405, 10.467; 612.1, 35.07, cov 9.604; 654.94."""
    fixef = pd.Series({"Intercept": 251.4051, "Days": 10.46729})
    vcov = [612.100, 35.0717, 9.60441, 654.940]
    varcorr = pd.DataFrame({"vcov": vcov, "sdcor": [24.74, 5.922, 0.066, 25.59]})
    spec = model("slopes").spec
    equation = model_equation(spec, values={"REML": numbers_of(spec, fixef, varcorr)})
    text = equation.text.split("\n")
    assert text[0].strip().startswith("Reactionᵢ = 251.4 + 10.47·Daysᵢ + b₀[j[i]]")
    assert "⎡612.1  9.604⎤" in text[1]
    assert "⎣9.604  35.07⎦" in text[2]
    assert "εᵢ ~ N(0, 654.9)" in equation.text


def test_negative_coefficients_are_subtracted():
    fixef = pd.Series({"Intercept": 1.0, "Days": -2.0})
    varcorr = pd.DataFrame({"vcov": [1.0, 1.0, -0.5, 1.0], "sdcor": [1.0, 1.0, -0.5, 1.0]})
    spec = model("slopes").spec
    equation = model_equation(spec, values={"": numbers_of(spec, fixef, varcorr)})
    assert "= 1.000 - 2.000·Daysᵢ" in equation.text
    assert r"= 1.000 - 2.000 \, \mathrm{Days}_{i}" in equation.latex


def test_both_engines_stand_side_by_side():
    made = model("pulp")
    both = ranef.compare(made.fit(), made.sample(draws=100, seed=1, sampler="nutpie", progress=False))
    text = both.equation().text.splitlines()
    assert [line.rsplit("(", 1)[1] for line in text] == ["REML)", "NUTS)"] * 3
    assert f"{both.fb.fixef.iloc[0]:.2f}" in text[1]


def test_priors_have_their_numbers():
    text = re.sub(" +", " ", model("pulp").equation("priors", priors={"sigma": ranef.priors.HalfNormal(2.5)}).text)
    assert "σ ~ HalfNormal(2.500)" in text
    assert "β₀ ~ N(60.40, 0.9747²)" in text
    assert "σ ~ " in model("VarPower").equation("priors").text
    heavy = model("slopes").equation("priors", priors={"ranef": ranef.priors.StudentT(4.0)})
    assert "~ t(ν[Subject], 0, ⎡" in heavy.text
    assert "ν[Subject] = 4   known" in heavy.text
    assert "degrees of freedom of the random effects of Subject" in heavy.legend.text
    assert "flat on β" in model("pulp").equation("priors", priors="flat").text


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
    assert LATEX.node(Name(name)) == latex


def test_long_lines_are_broken():
    text = model("ordered").equation().text.splitlines()
    indent = text[0].index("=") + 2
    assert max(len(line) for line in text if "~" not in line) <= WIDTH + indent
    assert text[1].strip().startswith("+ β")


def test_a_large_matrix_has_dots():
    assert "⋱" not in model("large").equation().text
    wide = ranef.Model(
        "Reaction ~ 1 + (0 + factor(Days) | Subject)", ranef.datasets.load("sleepstudy"), sigma=1.0
    ).equation()
    assert "⋱" in wide.text
    assert r"\ddots" in wide.latex


def test_a_wrong_style_is_refused_with_a_hint():
    with pytest.raises(ranef.DesignError, match=r"'scalar', 'hierarchical', .*'priors'.*Did you mean 'matrix'"):
        model("pulp").equation("matrx")


def test_notebook_forms():
    equation = model("pulp").equation()
    assert equation._repr_latex_() == rf"$\displaystyle {equation.latex}$"
    assert equation._repr_markdown_() == f"$$\n{equation.latex}\n$$"
    assert equation.legend._repr_latex_().startswith(r"$\displaystyle \begin{aligned}")
