import subprocess
import sys

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _ranef.design import registered
from _ranef.design.evaluate import Scope, evaluate
from _ranef.design.expression_values import Factor, Logical, Numeric
from _ranef.design.table import read_table
from _ranef.design.transforms import TRANSFORMS
from _ranef.errors import DesignError, FormulaError
from _ranef.formula import parse_formula


def value_of(expression, data):
    source = f"{expression} ~ 1"
    node = parse_formula(source, functions=registered()).response
    return evaluate(node, Scope(read_table(data), source, TRANSFORMS, {}))


X = {"x": [1.0, 2.0, -3.0], "z": [2.0, 0.5, 2.0], "t": ["a", "b", "a"], "b": [True, False, True]}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("I(x^2)", [1, 4, 9]),
        ("I(x**2)", [1, 4, 9]),
        ("I(-x^2)", [-1, -4, -9]),
        ("I(2 * x + z / 2 - 1)", [2, 3.25, -6]),
        ("I(x %% 2)", [1, 0, 1]),
        ("I(x %/% 2)", [0, 1, -2]),
        ("I(x + b)", [2, 2, -2]),
        ("I(b * 2)", [2, 0, 2]),
        ("sin(pi * x / 2)", [1, 0, 1]),
        ("I(x * TRUE + FALSE)", [1, 2, -3]),
        ("I(+x)", [1, 2, -3]),
    ],
)
def test_arithmetic(expression, expected):
    value = value_of(expression, X)
    assert isinstance(value, Numeric)
    np.testing.assert_allclose(value.values, expected, atol=1e-15)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("I(x > 1)", [0, 1, 0]),
        ("I(x >= 1 & z == 2)", [1, 0, 0]),
        ("I(x < 0 | z <= 0.5)", [0, 1, 1]),
        ("I(!b)", [0, 1, 0]),
        ("I(x != 1)", [0, 1, 1]),
        ('I(t == "a")', [1, 0, 1]),
        ('I("a" != t)', [0, 1, 0]),
        ("I(b == TRUE)", [1, 0, 1]),
        ("I(t == t)", [1, 1, 1]),
        ("I(x > 0 && TRUE)", [1, 1, 0]),
    ],
)
def test_logic(expression, expected):
    value = value_of(expression, X)
    assert isinstance(value, Logical)
    np.testing.assert_array_equal(value.values, expected)


def test_ordered_factors_compare_by_their_order():
    data = {"o": pd.Categorical(["s", "m", "l"], categories=["s", "m", "l"], ordered=True), "x": [1, 2, 3]}
    assert value_of('I(o >= "m")', data).values.tolist() == [0, 1, 1]
    assert value_of('I("m" > o)', data).values.tolist() == [1, 0, 0]
    with pytest.raises(DesignError, match="no level 'xl'"):
        value_of('I(o == "xl")', data)


def test_columns_come_before_constants():
    assert value_of("I(pi)", {"pi": [7.0]}).values.tolist() == [7.0]


def test_two_column_arithmetic_keeps_suffixes():
    value = value_of("I(poly(x, 2) * z)", {"x": [1.0, 2, 3], "z": [1.0, 0, 0]})
    assert value.suffixes == ("[1]", "[2]")
    assert value.values[1:].tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("log(x)", r"log\(x\) is nan in row 2, where x = -3. Change"),
        ("I(1 / (x - 2))", r"is inf in row 1, where x = 2"),
        ("sqrt(x * z)", r"is nan in row 2, where x = -3, z = 2"),
        ("exp(1000 * x)", r"is inf in row 0"),
        ("I(log(x) > 0)", r"is nan in row 2"),
        ("I(t + 1)", r"t \+ 1 cannot be evaluated: numbers are expected, and a factor"),
        ('I(t == "q")', r"no level 'q'.*Levels: a, b"),
        ('I(t < "b")', r"ordered"),
        ('I(x == "a")', r"text is compared with a factor only"),
        ("I(-t)", r"a factor was given"),
    ],
)
def test_errors_name_the_expression(expression, words):
    with pytest.raises(DesignError, match=words):
        value_of(expression, X)


def test_unknown_column_is_underlined_with_the_nearest_name():
    data = {"Reaction": [1.0], "Days": [2], "Subject": ["a"]}
    with pytest.raises(FormulaError, match=r"'days' is not a column of the data. Did you mean 'Days'\?") as caught:
        value_of("log(days)", data)
    assert str(caught.value).endswith("    log(days) ~ 1\n        ^^^^")
    assert "Columns: Reaction, Days, Subject." in str(caught.value)


def test_long_lists_of_columns_are_cut():
    with pytest.raises(FormulaError, match=r"v0, v1, .*v11, \.\.\. \(40 in all\)"):
        value_of("nothing", {f"v{k}": [1] for k in range(40)})


def test_an_expression_sees_the_rows_where_its_columns_are_complete():
    value = value_of("scale(x)", {"x": [1.0, None, 3.0, 5.0]})
    np.testing.assert_allclose(value.values, [-1, np.nan, 0, 1])
    factor = value_of("factor(x)", {"x": [3.0, None, 1.0]})
    assert isinstance(factor, Factor)
    assert factor.codes.tolist() == [1, -1, 0]


def test_no_complete_row():
    with pytest.raises(DesignError, match=r"I\(x \+ z\) has no value: in every row x or z is missing"):
        value_of("I(x + z)", {"x": [1.0, None], "z": [None, 2.0]})


def test_python_is_not_reachable():
    for expression in ("__import__('os')", "eval('1')", "open('x')"):
        with pytest.raises(FormulaError, match="Unknown function"):
            value_of(f"I({expression} + x)", X)
    with pytest.raises(FormulaError, match="is not a column"):
        value_of("I(__builtins__ + x)", X)


@given(
    hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e6, 1e6)),
    st.data(),
)
def test_missing_entries_stay_missing_and_change_nothing_else(x, data):
    gaps = data.draw(hnp.arrays(bool, x.shape))
    if gaps.all():
        gaps[0] = False
    holed = np.where(gaps, np.nan, x)
    value = value_of("I(x * 2 + 1)", {"x": holed})
    np.testing.assert_array_equal(np.isnan(value.values), gaps)
    np.testing.assert_array_equal(value.values[~gaps], x[~gaps] * 2 + 1)


def test_formulaic_is_not_loaded_for_plain_formulas():
    code = (
        "import sys; from _ranef.design import *; from _ranef.formula import parse_formula; "
        "build_design(parse_formula('y ~ x * g + (x | h)', functions=registered()), {'y': [1.0, 2, 4, 3, 2, 6], "
        "'x': [1, 2, 3, 1, 0, 2], 'g': list('ababab'), 'h': "
        "list('aaabbb')}, sigma=1); assert 'formulaic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
