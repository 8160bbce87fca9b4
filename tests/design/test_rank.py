import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _ranef.design.rank import independent_columns

RNG = np.random.default_rng(3)
ONE = np.ones(50)
x, z = RNG.normal(size=(2, 50))


def kept(*columns, intercept=True):
    return independent_columns(np.column_stack(columns), intercept=intercept).tolist()


def test_full_rank():
    assert kept(ONE, x, z, x * z) == [0, 1, 2, 3]


def test_later_columns_go():
    assert kept(ONE, x, 2 * x + 3, z, x - z) == [0, 1, 3]
    assert kept(x, ONE, x + 1, intercept=False) == [0, 1]


def test_constant_and_null_columns_go_beside_an_intercept():
    assert kept(ONE, 7 * ONE, 0 * ONE, 0.1 * ONE, x) == [0, 4]
    assert kept(7 * ONE, 0 * ONE, x, intercept=False) == [0, 2]


def test_large_numbers_that_vary_little_stay():
    assert kept(ONE, 1e8 + x, z) == [0, 1, 2]
    assert kept(ONE, x, 1e8 + 1e-2 * z) == [0, 1, 2]


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1.0, 1e9, 1e200])
def test_units_do_not_matter(scale):
    assert kept(ONE, x * scale, z, x * scale * 3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("distance", "stays"), [(1e-3, True), (1e-5, True), (1e-6, True), (1e-8, False), (1e-10, False)]
)
def test_rs_tolerance(distance, stays):
    assert (kept(ONE, x, x + distance * z) == [0, 1, 2]) is stays


def test_more_columns_than_rows():
    wide = RNG.normal(size=(5, 9))
    assert independent_columns(wide, intercept=False).tolist() == [0, 1, 2, 3, 4]
    assert independent_columns(np.column_stack([np.ones(5), wide]), intercept=True).tolist() == [0, 1, 2, 3, 4]


def test_no_columns():
    assert independent_columns(np.empty((4, 0)), intercept=False).tolist() == []
    assert independent_columns(np.ones((4, 1)), intercept=True).tolist() == [0]


@given(st.integers(2, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_kept_columns_have_the_rank_of_all(rank, more, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(40, rank)) @ rng.integers(-2, 3, size=(rank, rank + more))
    found = independent_columns(matrix, intercept=False)
    assert len(found) == np.linalg.matrix_rank(matrix) == np.linalg.matrix_rank(matrix[:, found])
