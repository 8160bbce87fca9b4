import ast
from pathlib import Path

import pytest

import _ranef.formula
from _ranef.errors import FormulaError
from _ranef.formula import Name, parse_formula

ATTACKS = [
    "__import__('os').system('x')",
    "__import__('os')",
    "().__class__.__bases__",
    "''.__class__",
    "x.__class__()",
    "x.__class__.__init__(y)",
    "(lambda: 1)()",
    "lambda: 1",
    "lambda x: x",
    "[i for i in x]",
    "(i for i in x)",
    "{i: i}",
    "x[0]",
    "eval('1')",
    "exec('1')",
    "open('f')",
    "getattr(x, 'y')",
    "globals()",
    "f'{x}'",
    "f'x'",
    "(z := 1)",
    "import os",
    "x; y",
    "x = 1",
    "*x",
    "**x",
    "log(*x)",
    "log(**x)",
    "x if y else z",
    "not x",
    "await x",
    "@x",
    "x -> y",
    "`__import__`('os')",
    "log(__import__('os'))",
    "log(x, k = eval('1'))",
    "(1 | eval('g'))",
    "(eval('x') | g)",
    "offset(eval('1'))",
    "diag(eval('x') | g)",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused_on_the_right(attack):
    with pytest.raises(FormulaError) as caught:
        parse_formula(f"y ~ {attack}", functions={"log", "I"})
    assert caught.value.source == f"y ~ {attack}"


@pytest.mark.parametrize("attack", ["eval('1')", "__import__('os').system('x')", "x[0]", "(lambda: 1)()", "x; y"])
def test_attacks_are_refused_on_the_left(attack):
    with pytest.raises(FormulaError):
        parse_formula(f"{attack} ~ 1", functions={"log", "I"})


@pytest.mark.parametrize("text", ["x.__class__", "__class__", "yield", "class", "lambda", "None"])
def test_words_of_python_are_only_columns(text):
    (term,) = parse_formula(f"y ~ {text}", functions={"log"}).fixed.terms
    (factor,) = term.factors
    assert type(factor) is Name
    assert factor.name == text


def test_the_layer_never_evaluates():
    for path in Path(_ranef.formula.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"eval", "exec", "compile", "getattr", "__import__", "open"}


def test_the_layer_knows_no_data():
    standard = {"__future__", "collections", "collections.abc", "dataclasses", "decimal", "re", "typing"}
    allowed = standard | {"_ranef.errors"}
    for path in Path(_ranef.formula.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert {module for module in modules if not module.startswith("_ranef.formula")} <= allowed
