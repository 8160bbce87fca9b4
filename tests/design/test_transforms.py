import numpy as np
import pandas as pd
import pytest

from _ranef.design import encode, registered
from _ranef.errors import DesignError, FormulaError, RanefWarning
from ranef import datasets

STATEFUL = [
    "poly(Days, 3)",
    "poly(Days, 2, raw = TRUE)",
    "scale(Days)",
    "scale(Days, scale = FALSE)",
    "scale(Days, center = 2, scale = 3)",
    "center(Days)",
    "bs(Days, df = 5)",
    "bs(Days, knots = c(2, 4), degree = 2, intercept = TRUE)",
    "cr(Days, df = 4)",
    "cs(Days, df = 4)",
    "factor(Days)",
    "as.factor(Days)",
    "ordered(Days)",
    "C(factor(Days), contr.sum)",
    "relevel(factor(Days), '3')",
    "dummy(factor(Days))",
    "dummy(Subject, '309')",
    "I((Days - mean(Days)) / sd(Days))",
    "I(Days - median(Days) + min(Days) * max(Days))",
    "I(scale(log(Days + 1)) ^ 2)",
]


@pytest.mark.parametrize("expression", STATEFUL)
def test_a_subset_of_the_data_encodes_as_it_did(expression, build):
    data = datasets.load("sleepstudy")
    design = build(f"Reaction ~ {expression} + (1 | Subject) + (0 + {expression} | Subject)", data, sigma=1)
    some = [3, 17, 44, 45]
    encoded = encode(design.encoding, data.iloc[some])
    np.testing.assert_allclose(encoded.X, design.X[some], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(encoded.random[1].values, design.random[1].values[some], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("log(x)", np.log([1, 2, 4])),
        ("log(x, 2)", [0, 1, 2]),
        ("log2(x)", [0, 1, 2]),
        ("log10(x * 10)", 1 + np.log10([1, 2, 4])),
        ("round(x / 3, 1)", [0.3, 0.7, 1.3]),
        ("ceiling(x / 3) + ceil(x / 3) + floor(x / 3)", [2, 2, 5]),
        ("abs(-x) + sign(-x)", [0, 1, 3]),
        ("pmin(x, 3) + pmax(2, x, 1)", [3, 4, 7]),
        ("ifelse(x > 1, x, 0)", [0, 2, 4]),
        ("ifelse(x > 3, 1 / (x - 1), 0)", [0, 0, 1 / 3]),
        ("as.numeric(x > 1)", [0, 1, 1]),
        ("dummy(t, 'b')", [1, 0, 1]),
    ],
)
def test_values(expression, expected, build):
    data = {"y": [1.0, 2.0, 4.0], "x": [1, 2, 4], "t": ["b", "a", "b"], "g": ["a", "b", "b"]}
    design = build(f"y ~ 0 + I({expression}) + (1 | g)", data)
    np.testing.assert_allclose(design.X[:, 0], expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("poly(x, 2)", ["poly(x, 2)[1]", "poly(x, 2)[2]"]),
        ("dummy(text)", ["dummy(text)[b]", "dummy(text)[c]"]),
        ("relevel(f, 'mid')", ['relevel(f, "mid")[T.lo]', 'relevel(f, "mid")[T.hi]']),
        ("ordered(text)", ["ordered(text).L", "ordered(text).Q"]),
        ("ifelse(x > 9, 'up', text)", [f'ifelse(x > 9, "up", text)[T.{level}]' for level in ("b", "c", "up")]),
        ("C(text, Treatment('c'))", ['C(text, Treatment("c"))[T.a]', 'C(text, Treatment("c"))[T.b]']),
        ("C(text, contr.treatment(base = 'b'))", [f'C(text, contr.treatment(base = "b"))[T.{x}]' for x in "ac"]),
        ("C(text, Sum)", ["C(text, Sum)[S.a]", "C(text, Sum)[S.b]"]),
        ("C(text, 'contr.sum')", ['C(text, "contr.sum")[S.a]', 'C(text, "contr.sum")[S.b]']),
        ("C(text, Helmert)", ["C(text, Helmert)[H.b]", "C(text, Helmert)[H.c]"]),
        ("C(text, contr.poly())", ["C(text, contr.poly()).L", "C(text, contr.poly()).Q"]),
        ("C(text, Diff)", ["C(text, Diff)[D.b]", "C(text, Diff)[D.c]"]),
        ("C(text, contr.SAS)", ["C(text, contr.SAS)[T.a]", "C(text, contr.SAS)[T.b]"]),
        ("I(x > 3)", ["I(x > 3)[T.True]"]),
    ],
)
def test_columns_are_named_as_formulaic_names_them(expression, names, frame, build):
    design = build(f"y ~ {expression} + (1 | g)", frame)
    assert list(design.fixed_names + design.dropped) == ["Intercept", *names]


def test_bs_goes_on_beyond_the_data(frame, build):
    design = build("y ~ bs(x, df = 4) + (1 | g)", frame)
    with pytest.warns(RanefWarning, match="2 of the 2 values given to bs"):
        assert np.isfinite(encode(design.encoding, {"x": [-3.0, 20.0]}, groups=()).X).all()


def test_user_transforms_are_functions_of_arrays(frame, build):
    transforms = {
        "cube": lambda x: x**3,
        "pair": lambda x: np.column_stack([x, x**2]),
        "framed": lambda x: pd.DataFrame({"one": x, "two": x > 3}),
        "upper": lambda t: np.char.upper(t.astype(str)),
        "opposite": np.logical_not,
        "always": lambda x: 7,
        "log": lambda x: x * 0 + 1,
    }
    formula = "y ~ 0 + cube(x) + pair(x) + framed(x) + opposite(flag) + upper(text) + always(x) + log(x) + (1 | g)"
    design = build(formula, frame, transforms=transforms)
    assert design.fixed_names[:3] == ("cube(x)", "pair(x)[1]", "pair(x)[2]")
    assert "framed(x)[one]" in design.dropped
    assert "framed(x)[two]" in design.fixed_names
    assert "upper(text)[T.B]" in design.fixed_names
    assert "cube" in registered(transforms)
    encoded = encode(design.encoding, frame.iloc[2:5])
    np.testing.assert_allclose(encoded.X, design.X[2:5])


def test_a_user_transform_cannot_change_the_data(frame, build):
    def spoil(x):
        x[:] = 0
        return x + 1

    before = frame.copy(deep=True)
    build("y ~ 0 + spoil(x) + (1 | g)", frame, transforms={"spoil": spoil})
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x[:3], r"t\(x\) has 3 entries for 12 rows"),
        (lambda x: np.array([1, "a"] * 6, dtype=object), r"t\(x\).*mixture"),
        (lambda x: np.zeros((len(x), 2, 2)), r"shape \(12, 2, 2\)"),
        (lambda x: {"a": 1}, r"t\(x\) cannot be evaluated"),
        (lambda x: x / 0, r"t\(x\) is nan in row 0, where x = 0"),
        (lambda x: 1 / x, r"t\(x\) is inf in row 0, where x = 0"),
        (lambda x: x + undefined, r"t\(x\) cannot be evaluated: .*undefined"),  # noqa: F821
        (lambda: 1, r"t\(x\) cannot be evaluated: .*takes 0 positional"),
    ],
)
def test_what_a_user_transform_may_not_return(function, words, frame, build):
    with pytest.raises((DesignError, FormulaError), match=words):
        build("y ~ t(x) + (1 | g)", frame, transforms={"t": function})


def test_a_transform_must_be_callable(frame, build):
    with pytest.raises(DesignError, match=r"transforms\['t'\] is of type int"):
        build("y ~ t(x) + (1 | g)", frame, transforms={"t": 3})


@pytest.mark.parametrize(
    ("expression", "error", "words"),
    [
        ("poly(x, 20)", DesignError, "degree 20 needs at least 21 distinct values"),
        ("poly(x, 1.5)", DesignError, "degree must be a whole number, and the constant 1.5 was given"),
        ("bs(x, df = 'a')", DesignError, "df must be a whole number"),
        ("bs(x, knots = x)", DesignError, "knots must be numbers"),
        ("scale(x, center = 'a')", DesignError, "center must be TRUE, FALSE or a number"),
        ("dummy(f, x)", DesignError, "a level is expected, and a numeric column was given"),
        ("poly(x, 0)", DesignError, "at least 1"),
        ("poly(x, degre = 2)", FormulaError, r"(?s)Expected: poly\(x, degree=1.*\^\^\^"),
        ("poly()", FormulaError, "missing a required argument"),
        ("log(text)", DesignError, r"log\(text\) cannot be evaluated: numbers are expected.*a factor"),
        ("poly(text, 2)", DesignError, "numbers are expected"),
        ("bs(x, df = 2)", DesignError, r"bs\(x, df = 2\) cannot be evaluated"),
        ("as.numeric(text)", DesignError, "number the levels"),
        ("relevel(f, 'lo2')", DesignError, "no level 'lo2'. Did you mean 'lo'"),
        ("dummy(f, 'x')", DesignError, "no level 'x'"),
        ("C(f, 'contr.som')", DesignError, "contr.sum"),
        ("C(f, x)", DesignError, "second argument must be one of"),
        ("C(f, contr.treatment('nope'))", DesignError, "base level 'nope'"),
        ("c(1, 2)", FormulaError, "is no column"),
        ("c(x, 2)", DesignError, "a numeric column"),
        ("scale(log(x - 5))", DesignError, r"log\(x - 5\) in scale\(log\(x - 5\)\) is nan in row 0, where x = 0"),
        ("scale(I(x * 0))", DesignError, r"is nan in row 0"),
        ("factor(poly(x, 2))", DesignError, "one column is expected"),
    ],
)
def test_wrong_calls(expression, error, words, frame, build):
    with pytest.raises(error, match=words):
        build(f"y ~ {expression} + (1 | g)", frame)


def test_every_transform_says_what_it_is():
    assert {"log", "poly", "I", "factor", "C", "contr.sum", "Treatment"} <= set(registered())


@pytest.mark.parametrize(("degree", "told"), [(30, False), (40, False), (80, True), (150, True)])
def test_polynomials_beyond_double_precision_are_refused(degree, told, build):
    """At degree 80 the columns are no longer orthogonal, and from 100 on they overflow."""
    x = np.random.default_rng(0).normal(size=200)
    data = {"y": x[::-1], "x": x, "g": np.resize(list("abcd"), 200)}
    if told:
        with pytest.raises(DesignError, match=f"degree {degree} of its numbers are beyond double precision.*bs"):
            build(f"y ~ poly(x, {degree}) + (1 | g)", data)
        return
    X = build(f"y ~ poly(x, {degree}) + (1 | g)", data).X[:, 1:]
    np.testing.assert_allclose(X.T @ X, np.eye(degree), atol=1e-9)


def test_ordered_factors_of_many_levels(build):
    rng = np.random.default_rng(1)
    data = {"y": rng.normal(size=360), "k": np.resize(np.arange(120), 360), "g": rng.choice(list("ab"), 360)}
    build("y ~ ordered(k %% 20) + (1 | g)", data)
    for levels in (60, 120):
        with pytest.raises(DesignError, match=rf"{levels} levels, and orthogonal polynomials of degree {levels - 1}"):
            build(f"y ~ ordered(k %% {levels}) + (1 | g)", data)
    build("y ~ C(ordered(k), contr.treatment) + (1 | g)", data)
