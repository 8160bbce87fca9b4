import pytest

from _ranef.errors import FormulaError
from _ranef.formula import (
    Bar,
    Binary,
    Call,
    Name,
    Number,
    Span,
    String,
    Unary,
    label,
    parse_formula,
    walk,
)
from _ranef.formula.parse import parse_sides
from _ranef.formula.tree import is_syntactic

FUNCTIONS = {"I", "log", "poly", "sin", "dummy", "C", "bs", "c", "scale", "factor"}
NOWHERE = Span(0, 0)


def name(text):
    return Name(text, NOWHERE)


def right(source):
    return parse_sides(f"y ~ {source}", FUNCTIONS)[1]


def test_nodes_compare_by_structure():
    assert right("a + b*2") == right("a+(b * 2.0)")
    assert hash(right("log(x, k = 'a')")) == hash(right('log( x,k="a" )'))
    assert right("a + b") != right("b + a")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a", name("a")),
        ("`a b`", name("a b")),
        ("-1", Unary("-", Number(1, "1", NOWHERE), NOWHERE)),
        ("a:b*c", Binary("*", Binary(":", name("a"), name("b"), NOWHERE), name("c"), NOWHERE)),
        ("a - b - c", Binary("-", Binary("-", name("a"), name("b"), NOWHERE), name("c"), NOWHERE)),
        ("a*b %in% c", Binary("*", name("a"), Binary("%in%", name("b"), name("c"), NOWHERE), NOWHERE)),
        ("(x || g)", Bar(True, name("x"), name("g"), NOWHERE)),
        ("diag(x | g)", Call("diag", (Bar(False, name("x"), name("g"), NOWHERE),), (), NOWHERE)),
        ("C(f, k = 'a')", Call("C", (name("f"),), (("k", String("a", NOWHERE)),), NOWHERE)),
        ("I(a | b)", Call("I", (Binary("|", name("a"), name("b"), NOWHERE),), (), NOWHERE)),
    ],
)
def test_trees(source, expected):
    assert right(source) == expected


# Rscript -e 'cat(deparse(quote(<left column>)))', R 4.2.2
LABELS = [
    ("log(x)", "log(x)"),
    ("I(x**2)", "I(x^2)"),
    ("I(age-11)", "I(age - 11)"),
    ("poly(Days,2)", "poly(Days, 2)"),
    ("sin(2*pi*Time)", "sin(2 * pi * Time)"),
    ("dummy(Sex, 'Male')", 'dummy(Sex, "Male")'),
    ("C(f,contr.sum)", "C(f, contr.sum)"),
    ("bs(x,df=4,knots=c(1,2))", "bs(x, df = 4, knots = c(1, 2))"),
    ("I((a+b)*c)", "I((a + b) * c)"),
    ("I(a-(b-c))", "I(a - (b - c))"),
    ("I(a-b-c)", "I(a - b - c)"),
    ("I(-x^2)", "I(-x^2)"),
    ("I((-x)^2)", "I((-x)^2)"),
    ("I(a^b^c)", "I(a^b^c)"),
    ("I((a^b)^c)", "I((a^b)^c)"),
    ("I(!a&b|c)", "I(!a & b | c)"),
    ("I(!(a&b))", "I(!(a & b))"),
    ("I(x>=1&&y<2||z)", "I(x >= 1 && y < 2 || z)"),
    ("I((a==b)==c)", "I((a == b) == c)"),
    ("I(-(a+b))", "I(-(a + b))"),
    ("I(a*-b)", "I(a * -b)"),
    ("I(a^-b)", "I(a^-b)"),
    ("I(- -x)", "I(--x)"),
    ("I(`a b`+1)", "I(`a b` + 1)"),
    ("I('it\\'s')", 'I("it\'s")'),
    ("I('a\nb')", 'I("a\\nb")'),
    ("I(1e-3*x)", "I(0.001 * x)"),
    ("I(100000)", "I(1e+05)"),
    ("I(123456)", "I(123456)"),
    ("I(1.0)", "I(1)"),
    ("I(0.0001)", "I(1e-04)"),
    ("I(0.00012)", "I(0.00012)"),
    ("I(1e16)", "I(1e+16)"),
    # parentheses that precedence does not need are dropped, which R keeps
    ("I((a))", "I(a)"),
    ("I((a*b)*c)", "I(a * b * c)"),
    # R 4.2.2 prints these three operators without spaces
    ("I(a/b %% 2 %/% c)", "I(a/b%%2%/%c)"),
    ("I(a/(b*c))", "I(a/(b * c))"),
]


@pytest.mark.parametrize(("source", "expected"), LABELS)
def test_labels(source, expected):
    assert label(right(source)) == expected
    assert right(expected) == right(source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", True),
        (".a", True),
        ("a.1", True),
        ("größe", True),
        ("a b", False),
        (".1a", False),
        ("..", False),
        ("1a", False),
    ],
)
def test_is_syntactic(text, expected):
    assert is_syntactic(text) is expected


def test_bare_name_is_its_own_label():
    assert label(right("`a b`")) == "a b"
    assert label(right("`a b`:c")) == "`a b`:c"


def test_label_of_formula_operators():
    assert label(right("(a + b)^2 / c + (1 + x || g:h)")) == "(a + b)^2/c + (1 + x || g:h)"


def test_walk_is_depth_first():
    assert [label(node) for node in walk(right("log(a + b, k = c)"))] == ["log(a + b, k = c)", "a + b", "a", "b", "c"]


def test_span_includes_parentheses():
    source = "y ~ (a + b):c"
    assert parse_sides(source, ())[1].left.span == Span(4, 11)


@pytest.mark.parametrize(
    ("source", "start", "end", "words"),
    [
        ("", 0, 0, "empty"),
        ("   ", 3, 3, "empty"),
        ("~ x", 0, 1, "response is needed"),
        ("y", 1, 1, "'~' between"),
        ("y = x", 2, 3, "'~' between"),
        ("y ~", 3, 3, "ends where a column"),
        ("y ~ x ~ z", 6, 7, "stands once"),
        ("y ~ x | g", 6, 7, "parentheses"),
        ("y ~ x + 1 | g", 10, 11, "(effects | group)"),
        ("y ~ x +", 7, 7, "ends where a column"),
        ("y ~ x + * z", 8, 9, "found '*'"),
        ("y ~ x z", 6, 7, "the name 'z'"),
        ("y ~ (x", 4, 5, "never closed"),
        ("y ~ x)", 5, 6, "end of the formula"),
        ("y ~ ()", 5, 6, "found ')'"),
        ("y ~ (1 | g | h)", 11, 12, "one bar"),
        ("y ~ x > 1", 6, 7, "I(...)"),
        ("y ~ x & z", 6, 7, "I(...)"),
        ("y ~ !x", 4, 5, "I(...)"),
        ("y ~ x %% 2", 6, 8, "I(...)"),
        ("y ~ x := 2", 7, 8, "'='"),
        ("y ~ lgo(x)", 4, 7, "Did you mean 'log'? Registered: C, I, bs, c,"),
        ("y ~ lgo(x)", 4, 7, "transforms={'name': function}"),
        ("y ~ log(foo(x))", 8, 11, "Unknown function 'foo'"),
        ("y ~ s(x)", 4, 5, "Unknown function 's'"),
        ("y ~ log(a:b)", 9, 10, "arithmetic"),
        ("y ~ log(a %in% b)", 10, 14, "arithmetic"),
        ("y ~ log(a ~ b)", 10, 11, "'~'"),
        ("y:z ~ x", 1, 2, "right side"),
        ("y ~ log(x,)", 10, 11, "found ')'"),
        ("y ~ bs(df = 4, x)", 15, 16, "put it before"),
        ("y ~ bs(x, df = 4, df = 5)", 18, 20, "given twice"),
        ("y ~ I(a < b < c)", 12, 13, "chained"),
        ("y ~ (log)(x)", 9, 10, "Only a function's name can be called"),
        ("y ~ log(x)(z)", 10, 11, "Only a function's name can be called"),
        ("y ~ 'a'(z)", 7, 8, "Only a function's name can be called"),
        ("y ~ I(1e999)", 6, 11, "too large"),
        ("y ~ log(x", 7, 8, "never closed"),
        ("y ~ log(x z)", 10, 11, "','"),
        ("y | g ~ x", 0, 5, "no bar"),
        ("1 ~ x", 0, 1, "names no column"),
        ("log(2) ~ x", 0, 6, "names no column"),
        ("offset(y) ~ x", 0, 6, "right side"),
        ("y ~ log(offset(x))", 8, 14, "right side"),
    ],
)
def test_errors_point(source, start, end, words):
    with pytest.raises(FormulaError) as caught:
        parse_formula(source, functions=FUNCTIONS)
    error = caught.value
    assert (error.source, error.start, error.end) == (source, start, end)
    assert words in error.message


def test_not_text():
    with pytest.raises(FormulaError, match="A formula is text"):
        parse_formula(3, functions=())


def test_registered_functions_may_be_none():
    with pytest.raises(FormulaError, match="Registered: none"):
        parse_formula("y ~ f(x)", functions=())


def test_response_is_arithmetic():
    assert label(parse_formula("log(total.fruits+1)/2 ~ 1", functions={"log"}).response) == "log(total.fruits + 1)/2"


def test_newlines_are_white_space():
    assert parse_sides("y\n ~ a\n + b", ()) == parse_sides("y ~ a + b", ())


@pytest.mark.parametrize(
    "source",
    [
        "(" * 200 + "x" + ")" * 200,
        "log(" * 200 + "x" + ")" * 200,
        "-" * 200 + "x",
        "^".join(["x"] * 200),
        "(" * 9000,
        "diag(" + "(" * 200 + "1 | g" + ")" * 201,
        "*".join(["x"] * 200),
        "I(" + "+".join(["x"] * 2000) + ")",
        "(1 | " + "/".join(["x"] * 2000) + ")",
        "a - (" * 200 + "x" + ")" * 200,
    ],
)
def test_deep_nesting_is_refused(source):
    with pytest.raises(FormulaError, match="deep"):
        parse_formula(f"y ~ {source}", functions={"I", "log"})


@pytest.mark.parametrize("right", ["a:(-({}))", "(1 | {})", "({})*(1 | g)", "a - ({}) - 2", "({}):I({})"])
def test_long_sums_are_refused_where_they_cannot_stand(right):
    with pytest.raises(FormulaError):
        parse_formula(f"y ~ {right.replace('{}', '+'.join(['x'] * 2000))}", functions={"I"})


def test_moderate_nesting_and_long_sums_are_read():
    assert label(right("(" * 40 + "x" + ")" * 40)) == "x"
    many = " + ".join(f"x{i}" for i in range(2000))
    assert len(parse_formula(f"y ~ {many} + ({many[:2000]} | g)", functions=()).fixed.terms) == 2000
    few = " + ".join(f"x{i}" for i in range(300))
    assert len(parse_formula(f"y ~ ({few}):z", functions=()).fixed.terms) == 300
