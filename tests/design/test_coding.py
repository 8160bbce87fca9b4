import numpy as np
import pytest

from _ranef.design.coding import code_terms
from _ranef.design.expression_values import Contrast, Factor, Logical, Numeric, take
from _ranef.errors import DesignError
from _ranef.formula import parse_formula

N = 24
RNG = np.random.default_rng(1)
VALUES = {
    "a": Factor(RNG.permutation(np.repeat([0, 1, 2], 8)), ("p", "q", "r")),
    "b": Factor(RNG.permutation(np.repeat([0, 1], 12)), ("u", "v")),
    "o": Factor(RNG.permutation(np.repeat([0, 1, 2, 3], 6)), ("1", "2", "3", "4"), ordered=True),
    "l": Logical(RNG.integers(0, 2, N).astype(float)),
    "x": Numeric(RNG.normal(size=N)),
    "m": Numeric(RNG.normal(size=(N, 2)), ("[1]", "[2]")),
}


def coded(formula, values=VALUES):
    terms = parse_formula(f"y ~ {formula}", functions=()).fixed
    nodes = {factor.name: factor for term in terms.terms for factor in term.factors}
    return code_terms(terms, {node: values[name] for name, node in nodes.items()}, N)


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("1", ["Intercept"]),
        ("0", []),
        ("a", ["Intercept", "a[T.q]", "a[T.r]"]),
        ("0 + a", ["a[p]", "a[q]", "a[r]"]),
        ("0 + a + b", ["a[p]", "a[q]", "a[r]", "b[T.v]"]),
        ("0 + x + a", ["x", "a[p]", "a[q]", "a[r]"]),
        ("l", ["Intercept", "l[T.True]"]),
        ("0 + l", ["l[False]", "l[True]"]),
        ("o", ["Intercept", "o.L", "o.Q", "o.C"]),
        ("0 + o", ["o[1]", "o[2]", "o[3]", "o[4]"]),
        ("m", ["Intercept", "m[1]", "m[2]"]),
        ("a:x", ["Intercept", "a[p]:x", "a[q]:x", "a[r]:x"]),
        ("x + a:x", ["Intercept", "x", "x:a[T.q]", "x:a[T.r]"]),
        ("x:m", ["Intercept", "x:m[1]", "x:m[2]"]),
        ("b:l", ["Intercept", "b[u]:l[False]", "b[v]:l[False]", "b[u]:l[True]", "b[v]:l[True]"]),
        ("b + b:l", ["Intercept", "b[T.v]", "b[u]:l[T.True]", "b[v]:l[T.True]"]),
        ("b * l", ["Intercept", "b[T.v]", "l[T.True]", "b[T.v]:l[T.True]"]),
        ("0 + b * l", ["b[u]", "b[v]", "l[T.True]", "b[T.v]:l[T.True]"]),
    ],
)
def test_names_follow_rs_rule(formula, names):
    assert list(coded(formula).names) == names


@pytest.mark.parametrize(
    "formula", ["a * b * x", "a:b", "0 + a:b:l", "a / b", "b %in% a", "0 + a * o", "a:b + b:x + a:l:b"]
)
def test_the_columns_span_the_saturated_cells(formula):
    """R's rule keeps the space: coding every factor fully, redundantly, adds nothing to it."""
    matrix = coded(formula).matrix
    terms = parse_formula(f"y ~ {formula}", functions=()).fixed
    everything = [np.ones((N, 1))] if terms.intercept else []
    for term in terms.terms:
        product = np.ones((N, 1))
        for factor in term.factors:
            value = VALUES[factor.name]
            if isinstance(value, Numeric):
                columns = value.values.reshape(N, -1)
            else:
                codes = value.codes if isinstance(value, Factor) else value.values.astype(int)
                columns = np.eye(codes.max() + 1)[codes]
            product = np.einsum("ni,nj->nij", product, columns).reshape(N, -1)
        everything.append(product)
    full = np.hstack(everything)
    rank = np.linalg.matrix_rank(full)
    assert np.linalg.matrix_rank(np.hstack([matrix, full])) == np.linalg.matrix_rank(matrix) == rank


def test_assign_numbers_the_terms():
    assert coded("a + x").assign.tolist() == [0, 1, 1, 2]
    assert coded("0 + a + x").assign.tolist() == [1, 1, 1, 2]


def test_the_first_factor_of_an_interaction_varies_fastest():
    result = coded("a:b")
    indicator = (VALUES["a"].codes == 1) & (VALUES["b"].codes == 0)
    np.testing.assert_array_equal(result.matrix[:, result.names.index("a[q]:b[u]")], indicator)
    assert result.names[1:4] == ("a[p]:b[u]", "a[q]:b[u]", "a[r]:b[u]")


def test_missing_codes_give_nan():
    holed = VALUES | {"a": Factor(np.where(np.arange(N) == 3, -1, VALUES["a"].codes), ("p", "q", "r"))}
    matrix = coded("a * b", holed).matrix
    assert np.isnan(matrix[3, 1:3]).all()
    assert np.isfinite(np.delete(matrix, 3, axis=0)).all()


@pytest.mark.parametrize("kind", ["treatment", "sum", "helmert", "diff", "poly", "SAS"])
def test_contrasts_and_the_intercept_span_all_levels(kind):
    factor = Factor(VALUES["o"].codes, VALUES["o"].levels, contrast=Contrast(kind))
    assert np.linalg.matrix_rank(coded("o", {"o": factor}).matrix) == 4


def test_row_permutation_permutes_the_matrix():
    order = RNG.permutation(N)
    permuted = {name: take(value, order) for name, value in VALUES.items()}
    np.testing.assert_array_equal(coded("a * x + m:b", permuted).matrix, coded("a * x + m:b").matrix[order])


def test_one_level():
    with pytest.raises(DesignError, match=r"a has one level in the rows used, 'p'.*Leave it out"):
        coded("a", {"a": Factor(np.zeros(N, dtype=np.intp), ("p",))})
    assert coded("0 + a", {"a": Factor(np.zeros(N, dtype=np.intp), ("p",))}).names == ("a[p]",)
