"""Each loop is there twice, by numpy and compiled, or summed in two ways: both are what they are called."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from _ranef.linalg import kernels
from _ranef.linalg.kernels import add_products, add_squares, quadratic_forms, subtract_gram


def level_rows(p, widths, columns=11, seed=0):
    """p sparse rows for every level, which share their `widths` columns."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((len(widths) * p, columns))
    for level, width in enumerate(widths):
        at = np.sort(rng.choice(columns, width, replace=False))
        dense[level * p : (level + 1) * p, at] = rng.normal(size=(p, width))
    rows = scipy.sparse.csr_array(dense)
    rows.sort_indices()
    return rows, dense


@pytest.mark.parametrize("often", [False, True])
@pytest.mark.parametrize("p", [1, 3])
def test_the_gram_of_sparse_rows(p, often):
    rows, dense = level_rows(p, [2, 5, 0, 11, 1])
    before = dense.T @ dense + np.eye(11)
    out = before.copy()
    subtract_gram(rows, out, often=often)
    np.testing.assert_allclose(out, np.eye(11), atol=1e-13)
    np.testing.assert_array_equal(out, out.T)


@pytest.mark.parametrize("entries", [4_000_000, 10])
@pytest.mark.parametrize("often", [False, True])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_quadratic_forms_of_levels(p, often, entries, monkeypatch):
    """Levels of equal and of different widths, all at once and a few at a time."""
    monkeypatch.setattr(kernels, "CHUNK_ENTRIES", entries)
    rows, dense = level_rows(p, [2, 5, 0, 5, 2, 11, 1])
    M = np.random.default_rng(1).normal(size=(11, 11))
    M = M + M.T
    levels = dense.reshape(-1, p, 11)
    expected = levels @ M @ np.swapaxes(levels, 1, 2)
    np.testing.assert_allclose(quadratic_forms(rows, M, p, often=often), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("p", "m"), [(1, 1), (2, 3), (4, 4), (4, 5), (7, 3)])
def test_products_of_columns_are_added_by_level(p, m):
    """One by one up to FEW, and side by side beyond; a level without rows keeps what it had."""
    rng = np.random.default_rng(2)
    codes, left, right = rng.integers(0, 5, 40), rng.normal(size=(40, p)), rng.normal(size=(40, m))
    before = rng.normal(size=(6, p, m))
    out = before.copy()
    add_products(codes, left, right, out)
    expected = [before[j] + left[codes == j].T @ right[codes == j] for j in range(6)]
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("p", [1, 4, 5, 6, 8])
def test_squares_of_columns_are_added_by_level(p):
    rng = np.random.default_rng(3)
    codes, columns, before = rng.integers(0, 5, 40), rng.normal(size=(40, p)), rng.normal(size=(6, p, p))
    out = before.copy()
    add_squares(codes, columns, out)
    expected = [before[j] + columns[codes == j].T @ columns[codes == j] for j in range(6)]
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)
