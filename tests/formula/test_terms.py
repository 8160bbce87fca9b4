import pytest

from _ranef.errors import FormulaError
from _ranef.formula import label, parse_formula

FUNCTIONS = {"I", "log", "poly", "sin"}


def parse(source):
    return parse_formula(source, functions=FUNCTIONS)


# Rscript -e 't <- terms(y ~ f + x:f - 1); attr(t, "intercept"); attr(t, "term.labels")' for every row, R 4.2.2
R_TERMS = [
    ("a", 1, "a"),
    ("a + b", 1, "a, b"),
    ("a + a", 1, "a"),
    ("a + (b + c)", 1, "a, b, c"),
    ("a*b", 1, "a, b, a:b"),
    ("a:b + a", 1, "a, a:b"),
    ("a:b + c + a", 1, "c, a, a:b"),
    ("f + x:f - 1", 0, "f, f:x"),
    ("x:f + f", 1, "f, x:f"),
    ("b:a + a:b", 1, "b:a"),
    ("z:b:a + a + b", 1, "a, b, z:b:a"),
    ("(b + a) + (a:c + b:a)", 1, "b, a, a:c, b:a"),
    ("c + b %in% a + d:a:c", 1, "c, b:a, c:a:d"),
    ("a:a", 1, "a"),
    ("a:b:a", 1, "a:b"),
    ("(a+b):c", 1, "a:c, b:c"),
    ("(a+b):(c+d)", 1, "a:c, a:d, b:c, b:d"),
    ("a*(b+c)", 1, "a, b, c, a:b, a:c"),
    ("a:b*c", 1, "c, a:b, a:b:c"),
    ("a/b", 1, "a, a:b"),
    ("a/b/c", 1, "a, a:b, a:b:c"),
    ("a/(b+c)", 1, "a, a:b, a:c"),
    ("(a+b)/c", 1, "a, b, a:b:c"),
    ("a*b/c", 1, "a, b, a:b, a:b:c"),
    ("a/b:c", 1, "a, a:b:c"),
    ("a %in% b", 1, "a:b"),
    ("a + b %in% a", 1, "a, a:b"),
    ("b %in% a + a", 1, "a, b:a"),
    ("a %in% (b+c)", 1, "a:b:c"),
    ("(a/b) %in% d", 1, "a:d, a:b:d"),
    ("a*b %in% c", 1, "a, b:c, a:b:c"),
    ("(a+b)^2", 1, "a, b, a:b"),
    ("(a+b)**2", 1, "a, b, a:b"),
    ("(a*b)^2", 1, "a, b, a:b"),
    ("(a+b+c)^2", 1, "a, b, c, a:b, a:c, b:c"),
    ("(a+b+c)^3", 1, "a, b, c, a:b, a:c, b:c, a:b:c"),
    ("(a+b+c)^2 - a:b", 1, "a, b, c, a:c, b:c"),
    ("a*b*c - a:b:c", 1, "a, b, c, a:b, a:c, b:c"),
    ("a*b*c - a", 1, "b, c, a:b, a:c, b:c, a:b:c"),
    ("a - (b + a)", 1, ""),
    ("(a - b)*c", 1, "a, c, a:c"),
    ("-a + b", 1, "b"),
    ("-a + a", 1, "a"),
    ("+a", 1, "a"),
    ("--a", 1, ""),
    ("a + -b", 1, "a"),
    ("1", 1, ""),
    ("0", 0, ""),
    ("-1", 0, ""),
    ("0 + a", 0, "a"),
    ("a + 0", 0, "a"),
    ("a - 1", 0, "a"),
    ("-1 + a", 0, "a"),
    ("a + -1", 0, "a"),
    ("a - (1)", 0, "a"),
    ("a - 0", 1, "a"),
    ("-0 + a", 1, "a"),
    ("0 + 1", 1, ""),
    ("-1 + 1", 1, ""),
    ("a + 1 - 1", 0, "a"),
    ("a + (b - 1)", 0, "a, b"),
    ("a - (0 + b)", 1, "a"),
    ("-(1+a)+b", 0, "b"),
    ("(a+1)*b", 1, "a, b, a:b"),
    ("(0 + a):b", 0, "a:b"),
    ("(a+0)/b", 0, "a, a:b"),
    ("(a+b+0)^2", 0, "a, b, a:b"),
    ("log(x) + I(x^2) + poly(z,2)", 1, "log(x), I(x^2), poly(z, 2)"),
    ("log(x):f", 1, "log(x):f"),
    ("sin(2*pi*x):f + f", 1, "f, sin(2 * pi * x):f"),
]


@pytest.mark.parametrize(("right", "intercept", "names"), R_TERMS)
def test_terms_are_those_of_r(right, intercept, names):
    fixed = parse(f"y ~ {right}").fixed
    assert ", ".join(term.name for term in fixed.terms) == names
    assert fixed.intercept is bool(intercept)


def test_degree_and_raw_name():
    (term,) = parse("y ~ `a b`:log(`a b`)").fixed.terms
    assert term.degree == 2
    assert term.name == "a b:log(`a b`)"


def test_bars_leave_the_fixed_part():
    fixed = parse("y ~ (z | g) + b:z + z").fixed
    assert [term.name for term in fixed.terms] == ["z", "b:z"]
    assert parse("y ~ (1 | g)").fixed.intercept
    assert not parse("y ~ (1 | g) - 1").fixed.intercept
    assert not parse("y ~ 0 + (1 | g)").fixed.intercept


def test_offsets_are_collected():
    parsed = parse("y ~ offset(log(n)) + a + (b + offset(w / 2))")
    assert [label(offset) for offset in parsed.offsets] == ["log(n)", "w/2"]
    assert [term.name for term in parsed.fixed.terms] == ["a", "b"]


def test_span_of_a_term():
    source = "y ~ a + b:log(x)"
    span = parse(source).fixed.terms[1].span
    assert source[span.start : span.end] == "b:log(x)"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("y ~ a - b", "'- b' removes nothing"),
        ("y ~ x^2", "write I(x^2)"),
        ("y ~ 1 + (x^2 | g)", "write I(x^2)"),
        ("y ~ (1 | g) + (1 | g)", "(1 | g) repeats"),
    ],
)
def test_notes(source, words):
    (note,) = parse(source).notes
    assert words in note


def test_no_notes_without_need():
    assert parse("y ~ (a + b)^2 - a:b - 1 + (x | g) + (1 | h)").notes == ()


@pytest.mark.parametrize(
    ("source", "start", "end", "words"),
    [
        ("y ~ 2", 4, 5, "number 2 is not a term"),
        ("y ~ x/2", 6, 7, "cannot be part of an interaction"),
        ("y ~ 1:a", 4, 5, "cannot be part of an interaction"),
        ("y ~ a^0", 6, 7, "positive integer"),
        ("y ~ a^b", 6, 7, "positive integer"),
        ("y ~ a^2.5", 6, 9, "positive integer"),
        ("y ~ a^-1", 6, 8, "positive integer"),
        ("y ~ a^2^1", 6, 9, "positive integer"),
        ("y ~ a:(-b)", 6, 10, "I(...)"),
        ("y ~ 'a'", 4, 7, "string is not a term"),
        ("y ~ a - (1 | g)", 8, 15, "can only be added"),
        ("y ~ -(1 | g)", 5, 12, "can only be added"),
        ("y ~ a*(1 | g)", 6, 13, "can only be added"),
        ("y ~ (a + (1 | g)):b", 9, 16, "can only be added"),
        ("y ~ a:diag(1 | g)", 6, 17, "can only be added"),
        ("y ~ (1 | g)^2", 4, 11, "can only be added"),
        ("y ~ a:offset(w)", 6, 15, "in an interaction"),
        ("y ~ a - offset(w)", 8, 17, "after '-'"),
        ("y ~ offset()", 4, 12, "takes one expression"),
        ("y ~ offset(a, b)", 4, 16, "takes one expression"),
    ],
)
def test_errors_point(source, start, end, words):
    with pytest.raises(FormulaError) as caught:
        parse(source)
    error = caught.value
    assert (error.source, error.start, error.end) == (source, start, end)
    assert words in error.message


@pytest.mark.parametrize("power", ["^9", "^999999999"])
def test_expansion_is_limited(power):
    names = "+".join(f"x{i}" for i in range(40))
    with pytest.raises(FormulaError, match="too many terms"):
        parse(f"y ~ ({names}){power}")


def test_a_large_power_of_few_factors_ends():
    assert len(parse("y ~ (a + b + c)^999999999").fixed.terms) == 7
