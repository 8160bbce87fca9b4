import pytest

from _ranef.errors import FormulaError
from _ranef.formula import label, parse_formula

FUNCTIONS = {"I", "log", "factor", "cc"}


def parse(source):
    return parse_formula(source, functions=FUNCTIONS)


def shown(term):
    effects = ["1"] * term.effects.intercept + [effect.name for effect in term.effects.terms]
    return f"{term.structure}: {' + '.join(effects)} | {term.group_name}"


# Rscript -e 'lme4::findbars(y ~ 1 + (x | a/b))' for the rows marked R (lme4 1.1-31); names(mkReTrms(...)$cnms) agree
BARS = [
    ("(1 | g)", ["us: 1 | g"]),  # R
    ("(x | g)", ["us: 1 + x | g"]),  # R
    ("((x | g))", ["us: 1 + x | g"]),  # R
    ("(1 + x | g)", ["us: 1 + x | g"]),
    ("(0 + x | g)", ["us: x | g"]),
    ("(x - 1 | g)", ["us: x | g"]),
    ("(-1 + x | g)", ["us: x | g"]),
    ("(x * z | g)", ["us: 1 + x + z + x:z | g"]),
    ("(z:x + x | g)", ["us: 1 + x + z:x | g"]),
    ("(log(x) | g)", ["us: 1 + log(x) | g"]),
    ("(1 | a:b)", ["us: 1 | a:b"]),  # R
    ("(1 | a:b:c)", ["us: 1 | a:b:c"]),  # R
    ("(1 | b %in% a)", ["us: 1 | b:a"]),
    ("(1 | a:a)", ["us: 1 | a"]),
    ("(1 | a:b:a)", ["us: 1 | a:b"]),
    ("(1 | a/b)", ["us: 1 | b:a", "us: 1 | a"]),  # R
    ("(x | a/b)", ["us: 1 + x | b:a", "us: 1 + x | a"]),  # R
    ("(1 | a/b/c)", ["us: 1 | c:(b:a)", "us: 1 | b:a", "us: 1 | a"]),  # R
    ("(1 | a/b:c)", ["us: 1 | b:c:a", "us: 1 | a"]),  # R
    ("(1 | a/(b:c))", ["us: 1 | b:c:a", "us: 1 | a"]),
    ("(1 | (a:b)/c)", ["us: 1 | c:(a:b)", "us: 1 | a:b"]),
    ("(1 | a/(b/c))", ["us: 1 | c:b:a", "us: 1 | b:a", "us: 1 | a"]),
    ("(1 | a*b)", ["us: 1 | a", "us: 1 | b", "us: 1 | a:b"]),
    ("(1 | (a*b)/c)", ["us: 1 | c:(a:b)", "us: 1 | a", "us: 1 | b", "us: 1 | a:b"]),
    ("(1 | a/b) + (1 | c)", ["us: 1 | b:a", "us: 1 | a", "us: 1 | c"]),  # R
    ("(1 | factor(g))", ["us: 1 | factor(g)"]),
    ("(1 | I(g > 1):h)", ["us: 1 | I(g > 1):h"]),
    ("(1 | `my g`)", ["us: 1 | my g"]),
    ("(x || g)", ["us: 1 | g", "us: x | g"]),  # R
    ("(0 + x || g)", ["us: x | g"]),  # R
    ("(1 || g)", ["us: 1 | g"]),
    ("(x * z || g)", ["us: 1 | g", "us: x | g", "us: z | g", "us: x:z | g"]),  # R
    ("(x || a/b)", ["us: 1 | b:a", "us: x | b:a", "us: 1 | a", "us: x | a"]),
    ("us(x | g)", ["us: 1 + x | g"]),
    ("diag(x | g)", ["diag: 1 + x | g"]),
    ("diag((x | g))", ["diag: 1 + x | g"]),
    ("ident(0 + f | g)", ["ident: f | g"]),
    ("homdiag(0 + f | g)", ["ident: f | g"]),
    ("cs(f | a/b)", ["cs: 1 + f | b:a", "cs: 1 + f | a"]),
    ("ar1(0 + time | g)", ["ar1: time | g"]),
    ("x + cs(0 + f | g) + (1 | h)", ["cs: f | g", "us: 1 | h"]),
]


@pytest.mark.parametrize(("source", "expected"), BARS)
def test_random_terms(source, expected):
    assert [shown(term) for term in parse(f"y ~ {source}").random] == expected


def test_group_factors_follow_the_name():
    first, second, third = parse("y ~ (1 | a/b/c)").random
    assert [[label(factor) for factor in term.group] for term in (first, second, third)] == [
        ["c", "b", "a"],
        ["b", "a"],
        ["a"],
    ]


def test_text_and_span():
    source = "y ~ x + diag( x |g ) + ( 1|h)"
    one, other = parse(source).random
    assert (one.text, other.text) == ("diag( x |g )", "( 1|h)")
    assert source[one.span.start : one.span.end] == one.text


def test_only_double_bars_are_marked():
    assert [term.from_double for term in parse("y ~ (x || g) + (1 | h)").random] == [True, True, False]


def test_a_registered_function_may_share_a_structure_name():
    parsed = parse_formula("y ~ cs(x) + cs(x | g) + log(cs(x))", functions={"cs", "log"})
    assert [term.name for term in parsed.fixed.terms] == ["cs(x)", "log(cs(x))"]
    assert [term.structure for term in parsed.random] == ["cs"]


def test_no_bars():
    assert parse("y ~ x").random == ()


@pytest.mark.parametrize(
    ("source", "start", "end", "words"),
    [
        ("y ~ (0 | g)", 4, 11, "no effects"),
        ("y ~ (0 || g)", 4, 12, "no effects"),
        ("y ~ (1 | a + b)", 9, 14, "(... | a) + (... | b), or a:b"),
        ("y ~ (1 | a + b + c)", 9, 18, "(... | a) + (... | b) + (... | c), or a:b:c"),
        ("y ~ (1 | a - b)", 9, 14, "no grouping factor"),
        ("y ~ (1 | a^2)", 9, 12, "no grouping factor"),
        ("y ~ (1 | 1)", 9, 10, "no grouping factor"),
        ("y ~ (1 | 'g')", 9, 12, "no grouping factor"),
        ("y ~ (1 | offset(g))", 9, 18, "no grouping factor"),
        ("y ~ (1 | (1 | g))", 9, 16, "inside another"),
        ("y ~ ((1 | g) | h)", 5, 12, "inside another"),
        ("y ~ (x + diag(1 | g) | h)", 9, 20, "inside another"),
        ("y ~ (1 | diag(1 | g))", 9, 20, "inside another"),
        ("y ~ (offset(x) | g)", 5, 14, "inside a random term"),
        ("y ~ (2 | g)", 5, 6, "not a term"),
        ("y ~ ( | g)", 6, 7, "found '|'"),
        ("y ~ (1 | )", 9, 10, "found ')'"),
        ("y ~ diag(x)", 4, 8, "needs a bar: diag(effects | group)"),
        ("y ~ diag(1 + x || g)", 4, 20, "both state the covariances"),
        ("y ~ dig(x | g)", 4, 7, "Did you mean 'diag'? Those that may stand round a bar: ar1, cs, diag"),
        ("y ~ foo(x | g)", 4, 7, "not a covariance structure"),
        ("y ~ ar1(x | g, 2)", 13, 14, "one random term and nothing else"),
        ("y ~ diag((x | g) + 1)", 9, 20, "one random term and nothing else"),
        ("y ~ log(diag(x | g))", 8, 12, "cannot stand inside a call"),
        ("y ~ (1 | a > 1)", 11, 12, "I(...)"),
        ("y ~ (1 | a*b*c*d*e*f*g*h)", 9, 24, "too many grouping factors"),
    ],
)
def test_errors_point(source, start, end, words):
    with pytest.raises(FormulaError) as caught:
        parse(source)
    error = caught.value
    assert words in error.message
    assert (error.source, error.start, error.end) == (source, start, end)
