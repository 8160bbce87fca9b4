import pytest

from _ranef.errors import FormulaError
from _ranef.formula.tokens import MAX_LENGTH, tokenize


def texts(source):
    return [token.text for token in tokenize(source)][:-1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", []),
        ("a+b", ["a", "+", "b"]),
        ("bdi.pre", ["bdi.pre"]),
        (".x + _y", [".x", "+", "_y"]),
        ("a ** 2", ["a", "^", "2"]),
        ("1e-3 .5 2. 10", ["1e-3", ".5", "2.", "10"]),
        ("a %in% b %% c %/% d", ["a", "%in%", "b", "%%", "c", "%/%", "d"]),
        ("a<=b==c!=d&&e||f", ["a", "<=", "b", "==", "c", "!=", "d", "&&", "e", "||", "f"]),
        ("`a b` ~\n\tθ + größe", ["a b", "~", "θ", "+", "größe"]),
        (r"""'it\'s' "q\"\n" """, ["it's", 'q"\n']),
        ("e\u0301tude", ["e\u0301tude"]),
        ("`.`", ["."]),
    ],
)
def test_texts(source, expected):
    assert texts(source) == expected


def test_spans_cover_the_source_text():
    source = "y ~ `a b` + log(x, 'k')"
    written = [source[token.span.start : token.span.end] for token in tokenize(source)]
    assert written == ["y", "~", "`a b`", "+", "log", "(", "x", ",", "'k'", ")", ""]


@pytest.mark.parametrize(
    ("source", "start", "end", "words"),
    [
        ("y ~ .", 4, 5, "name the columns"),
        ("y ~ ...", 4, 7, "name the columns"),
        ("y ~ x[0]", 5, 6, "not part of a formula"),
        ("y ~ x; z", 5, 6, "not part of a formula"),
        ("y ~ x$z", 5, 6, "Backquote"),
        ("y ~ x@z", 5, 6, "not part of a formula"),
        ("y ~ x # z", 6, 7, "not part of a formula"),
        ("y ~ {x}", 4, 5, "not part of a formula"),
        ("y ~ \\x", 4, 5, "not part of a formula"),
        ("y ~ x²", 5, 6, "not part of a formula"),
        ("y ~ x % z", 6, 7, "%in%"),
        ("y ~ x − 1", 6, 7, "plain '-'"),
        ("y ~ 2x", 4, 6, "neither a number nor a name"),
        ("y ~ 1L", 4, 6, "neither a number nor a name"),
        ("y ~ 1_000", 4, 9, "neither a number nor a name"),
        ("y ~ splines::bs(x)", 11, 13, "write the name alone"),
        ("y ~ `x", 4, 5, "never closed"),
        ("y ~ ``", 4, 6, "a column's name is expected"),
        ("y ~ f('a", 6, 7, "never closed"),
        (r"y ~ f('\x')", 7, 9, "Unknown escape"),
        ("y ~ f('a\\", 8, 9, "Unknown escape"),
    ],
)
def test_errors_point(source, start, end, words):
    with pytest.raises(FormulaError) as caught:
        tokenize(source)
    error = caught.value
    assert (error.source, error.start, error.end) == (source, start, end)
    assert words in error.message


def test_length_is_limited():
    assert len(tokenize("x" * MAX_LENGTH)) == 2
    with pytest.raises(FormulaError, match="20001 characters; at most 20000"):
        tokenize("x" * (MAX_LENGTH + 1))
