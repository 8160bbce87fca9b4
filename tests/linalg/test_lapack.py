from __future__ import annotations

import numpy as np
import pytest

from _ranef.linalg.lapack import BLOCK, cholesky_lower, inverse_of_lower, invert_lower, mirror_lower
from _ranef.linalg.panel_cholesky import cholesky_by_panels, invert_by_panels


@pytest.mark.parametrize("n", [1, 2, 7, 60, BLOCK + 44])
def test_against_numpy(n):
    rng = np.random.default_rng(n)
    root = rng.standard_normal((n, n))
    A = root @ root.T + np.eye(n)
    before = A.copy()
    L = cholesky_lower(A)
    assert L is A  # in its place
    np.testing.assert_array_equal(np.triu(L, 1), np.triu(before, 1))
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(before), rtol=1e-11, atol=1e-12)
    kept = L.copy()
    np.testing.assert_allclose(inverse_of_lower(L) @ before, np.eye(n), atol=1e-10)
    np.testing.assert_array_equal(L, kept)


def test_arrays_in_either_order():
    A = np.asfortranarray(np.array([[4.0, 1.0], [1.0, 3.0]]))
    L = cholesky_lower(A)
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(A))
    np.testing.assert_allclose(inverse_of_lower(np.asfortranarray(L)), np.linalg.inv(A))


def test_not_positive_definite():
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_lower(np.array([[1.0, 2.0], [2.0, 1.0]]))


def test_nan_is_not_positive_definite():
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_lower(np.array([[np.nan, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("n", [1, 5, BLOCK, 2 * BLOCK + 3])
def test_a_triangle_is_mirrored_in_place(n):
    a = np.random.default_rng(n).normal(size=(n, n))
    expected = np.tril(a) + np.tril(a, -1).T
    mirror_lower(a)
    np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize(("n", "size"), [(40, 10), (53, 8), (7, 8)])
def test_panels_are_the_whole(n, size):
    """Above the diagonal other numbers stand, which are left alone."""
    rng = np.random.default_rng(n)
    root = rng.standard_normal((n, n))
    A = np.tril(root @ root.T + n * np.eye(n)) + np.triu(rng.standard_normal((n, n)), 1)
    whole, parts = A.copy(), A.copy()
    cholesky_lower(whole)
    cholesky_by_panels(parts, cholesky_lower, size)
    np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-14)
    invert_lower(whole)
    invert_by_panels(parts, size)
    np.testing.assert_allclose(parts, whole, rtol=1e-11, atol=1e-14)


def test_panels_of_what_is_not_positive_definite():
    A = np.eye(20)
    A[15, 15] = -1.0
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_by_panels(A, cholesky_lower, 6)
