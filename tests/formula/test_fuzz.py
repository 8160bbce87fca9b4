import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _ranef.errors import FormulaError
from _ranef.formula import Binary, Call, Name, Number, Span, String, Unary, label, parse_formula
from _ranef.formula.parse import parse_sides
from _ranef.formula.tree import COMPARISONS

FUNCTIONS = {"I", "log", "poly"}
NOWHERE = Span(0, 0)
FEW = settings(max_examples=150, deadline=None)

columns = st.sampled_from(["a", "b", "c", "d", "x.1", "θ"])
odd_names = st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]), min_size=1, max_size=5)
numbers = st.one_of(
    st.integers(0, 10**15 - 1), st.floats(0, allow_nan=False, allow_infinity=False, allow_subnormal=False)
).map(lambda value: Number(value, str(value), NOWHERE))
leaves = st.one_of(
    st.one_of(columns, odd_names).map(lambda text: Name(text, NOWHERE)),
    numbers,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(lambda text: String(text, NOWHERE)),
)
ARITHMETIC = ["+", "-", "*", "/", "^", "%%", "%/%", "&", "&&", "|", "||", *sorted(COMPARISONS)]


def larger(nodes):
    return st.one_of(
        st.builds(Binary, st.sampled_from(ARITHMETIC), nodes, nodes, st.just(NOWHERE)),
        st.builds(Unary, st.sampled_from(["-", "+", "!"]), nodes, st.just(NOWHERE)),
        st.builds(
            Call,
            st.sampled_from(sorted(FUNCTIONS)),
            st.lists(nodes, max_size=2).map(tuple),
            st.dictionaries(columns, nodes, max_size=2).map(lambda named: tuple(named.items())),
            st.just(NOWHERE),
        ),
    )


arithmetic = st.recursive(leaves, larger, max_leaves=12)
expressions = st.recursive(
    st.one_of(columns, st.just("log(a)"), st.just("I(b^2)"), st.just("poly(c, 2)")),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", ":", "/", "%in%", "-"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.builds("({} + a)^{}".format, inner, st.integers(1, 3)),
    ),
    max_leaves=6,
)
sums = st.lists(expressions, min_size=1, max_size=4)
bars = st.builds("({} {} {})".format, expressions, st.sampled_from(["|", "||"]), st.sampled_from(["g", "g/h", "g:h"]))


def fixed(right):
    return parse_formula(f"y ~ {right}", functions=FUNCTIONS).fixed


def as_sets(terms):
    return terms.intercept, {frozenset(term.factors) for term in terms.terms}


def mains(terms):
    return [term for term in terms.terms if term.degree == 1]


@FEW
@given(arithmetic)
def test_labels_read_back(node):
    call = Call("I", (node,), (), NOWHERE)
    assert parse_sides(f"y ~ {label(call)}", FUNCTIONS)[1] == call


@FEW
@given(sums, st.lists(bars, max_size=2), st.booleans())
def test_names_of_terms_read_back(operands, random, intercept):
    start = "1" if intercept else "0"
    parsed = parse_formula(f"y ~ {' + '.join([start, *operands, *random])}", functions=FUNCTIONS)
    again = [start, *(term.name for term in parsed.fixed.terms)]
    for term in parsed.random:
        effects = [str(int(term.effects.intercept)), *(effect.name for effect in term.effects.terms)]
        again.append(f"({' + '.join(effects)} | {term.group_name})")
    read = parse_formula(f"y ~ {' + '.join(again)}", functions=FUNCTIONS)
    assert as_sets(read.fixed) == as_sets(parsed.fixed)
    assert [main.name for main in mains(read.fixed)] == [main.name for main in mains(parsed.fixed)]
    for one, other in zip(read.random, parsed.random, strict=True):
        assert (as_sets(one.effects), one.group) == (as_sets(other.effects), other.group)


@FEW
@given(sums, st.randoms())
def test_order_of_a_sum_leaves_the_set_of_terms(operands, random):
    shuffled = list(operands)
    random.shuffle(shuffled)
    assert as_sets(fixed(" + ".join(operands))) == as_sets(fixed(" + ".join(shuffled)))


@FEW
@given(expressions, expressions, expressions)
def test_laws_of_the_algebra(a, b, c):
    def same(left, right):
        return as_sets(fixed(left)) == as_sets(fixed(right))

    assert same(f"{a} * {b}", f"{a} + {b} + {a}:{b}")
    assert same(f"{a} : {b}", f"{b} : {a}")
    assert same(f"({a} : {b}) : {c}", f"{a} : ({b} : {c})")
    assert same(f"({a} + {b}) : {c}", f"{a}:{c} + {b}:{c}")
    assert same(f"{a} + {a}", a)
    assert same(f"({a} + {b})^2", f"({a} + {b}) * ({a} + {b})")
    assert same(f"({a} + {b}) - {b}", f"{a} - {b}")


@FEW
@given(columns, columns)
def test_laws_of_nesting(a, b):
    assert as_sets(fixed(f"{a}/{b}")) == as_sets(fixed(f"{a} + {a}:{b}"))
    assert as_sets(fixed(f"{b} %in% {a}")) == as_sets(fixed(f"{a}:{b}"))


PIECES = [*"yxg012 ~+-*/:^|()!<>=&%,.`'\"\\[]{}@$;\n", "||", "%in%", "%%", "log(", "I(", "diag(", "offset(", "f("]


def refusal(source):
    try:
        parse_formula(source, functions=FUNCTIONS)
    except FormulaError as error:
        return error
    return None


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.booleans())
def test_any_text_is_read_or_refused(text, has_response):
    source = f"y ~ {text}" if has_response else text
    error = refusal(source)
    assert error is None or (error.source == source and 0 <= error.start <= error.end <= len(source))


@FEW
@given(st.text(max_size=40))
def test_any_unicode_is_read_or_refused(text):
    for error in (refusal(text), refusal(f"y ~ {text}")):
        assert error is None or error.message


@pytest.mark.parametrize("piece", PIECES)
def test_long_runs_are_read_or_refused(piece):
    for source in (f"y ~ {piece * 2000}", piece * 2000, f"y ~ {'x' + piece * 700}1"):
        error = refusal(source)
        assert error is None or error.message
