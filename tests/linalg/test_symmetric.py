"""Factors of symmetric matrices of known pattern, sparse and dense, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from _ranef.linalg.symmetric import SMALL, make_pattern


def matrix(n, links, seed=0):
    """Rows, columns and entries of one triangle of I + RᵀR with few entries in each row of R."""
    rng = np.random.default_rng(seed)
    R = scipy.sparse.csr_array(
        (rng.normal(size=n * links), (np.repeat(np.arange(n), links), rng.integers(0, n, n * links))), shape=(n, n)
    )
    upper = scipy.sparse.coo_array(scipy.sparse.triu(R.T @ R + scipy.sparse.eye_array(n)))
    swap = rng.uniform(size=upper.nnz) < 0.5  # either of a pair of places may be named
    rows, cols = (part.astype(np.int64) for part in upper.coords)
    return np.where(swap, rows, cols), np.where(swap, cols, rows), upper.data


@pytest.mark.parametrize(("n", "links", "sparse"), [(SMALL + 100, 1, True), (SMALL + 100, 8, False), (60, 1, False)])
def test_factors_are_those_of_numpy(n, links, sparse):
    rows, cols, entries = matrix(n, links)
    pattern = make_pattern(n, rows, cols)
    assert (pattern.sparse is not None) == sparse
    H = np.zeros((n, n))
    H[rows, cols] = H[cols, rows] = entries
    factor, inverse = pattern.factor(entries), np.linalg.inv(H)
    assert factor.log_det == pytest.approx(np.linalg.slogdet(H)[1], rel=1e-12)
    columns = np.random.default_rng(1).normal(size=(n, 3))
    half = factor.half(columns)
    np.testing.assert_allclose(half.T @ half, columns.T @ inverse @ columns, rtol=1e-10)
    np.testing.assert_allclose(factor.back(half), inverse @ columns, atol=1e-11)
    np.testing.assert_allclose(factor.inverse_at(pattern), inverse[rows, cols], atol=1e-11)
    again = pattern.factor(2.0 * entries)
    np.testing.assert_allclose(again.inverse_at(pattern), 0.5 * inverse[rows, cols], atol=1e-11)


@pytest.mark.parametrize(("n", "links"), [(SMALL + 100, 1), (60, 1)])
def test_what_is_not_positive_definite(n, links):
    rows, cols, entries = matrix(n, links)
    entries = entries - 1.5 * (rows == cols)
    with pytest.raises(np.linalg.LinAlgError):
        make_pattern(n, rows, cols).factor(entries)
