from __future__ import annotations

import numpy as np
import pytest

from _ranef.linalg.lapack import cholesky_lower, inverse_of_lower


@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_against_numpy(n):
    rng = np.random.default_rng(n)
    root = rng.standard_normal((n, n))
    A = root @ root.T + np.eye(n)
    before = A.copy()
    L = cholesky_lower(A)
    np.testing.assert_array_equal(A, before)
    np.testing.assert_allclose(L, np.linalg.cholesky(A), rtol=1e-12, atol=1e-14)
    kept = L.copy()
    np.testing.assert_allclose(inverse_of_lower(L) @ A, np.eye(n), atol=1e-11)
    np.testing.assert_array_equal(L, kept)


def test_arrays_in_either_order():
    A = np.asfortranarray(np.array([[4.0, 1.0], [1.0, 3.0]]))
    np.testing.assert_allclose(cholesky_lower(A), np.linalg.cholesky(A))
    np.testing.assert_allclose(inverse_of_lower(np.asfortranarray(cholesky_lower(A))), np.linalg.inv(A))


def test_not_positive_definite():
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_lower(np.array([[1.0, 2.0], [2.0, 1.0]]))


def test_nan_is_not_positive_definite():
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_lower(np.array([[np.nan, 0.0], [0.0, 1.0]]))
