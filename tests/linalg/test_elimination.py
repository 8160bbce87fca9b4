"""The blocked factor against dense algebra on matrices that come from no data at all."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _ranef.linalg import (
    BlockMatrix,
    PairBlocks,
    backward,
    elimination_order,
    factorize,
    forward,
    gram,
    make_plan,
    selected_blocks,
    solve_columns,
)


def random_design(rng, codes, sizes, n):
    """Dense Z by factor and the block matrix of ZᵀZ."""
    Zs, columns = [], [rng.normal(size=(n, p)) for p in sizes]
    for c, X in zip(codes, columns, strict=True):
        J, p = c.max() + 1, X.shape[1]
        Z = np.zeros((n, J * p))
        for i in range(n):
            Z[i, c[i] * p : (c[i] + 1) * p] = X[i]
        Zs.append(Z)
    diag = tuple(blocks(Z.T @ Z, p, p)[range(J), range(J)] for Z, p, J in shapes_of(Zs, sizes))
    pairs = {}
    for l in range(len(Zs)):
        for k in range(l):
            cells = np.unique(codes[k] * (codes[l].max() + 1) + codes[l])
            rows, cols = np.divmod(cells, codes[l].max() + 1)
            whole = blocks(Zs[k].T @ Zs[l], sizes[k], sizes[l])
            pairs[k, l] = PairBlocks(rows, cols, whole[rows, cols])
    return Zs, BlockMatrix(diag, pairs)


def shapes_of(Zs, sizes):
    return [(Z, p, Z.shape[1] // p) for Z, p in zip(Zs, sizes, strict=True)]


def blocks(matrix, p, q):
    """(J, K, p, q) view of a (J p, K q) matrix."""
    J, K = matrix.shape[0] // p, matrix.shape[1] // q
    return matrix.reshape(J, p, K, q).swapaxes(1, 2)


def codes_for(rng, kind, n):
    a = rng.permutation(np.concatenate([np.arange(5), rng.integers(0, 5, n - 5)]))
    b = rng.permutation(np.concatenate([np.arange(4), rng.integers(0, 4, n - 4)]))
    inner = np.unique(a * 3 + rng.integers(0, 3, n), return_inverse=True)[1]
    innermost = np.unique(inner * 2 + rng.integers(0, 2, n), return_inverse=True)[1]
    cells = np.unique(a * 4 + b, return_inverse=True)[1]
    return {
        "one": [a],
        "nested": [a, inner, innermost],
        "crossed": [a, b],
        "crossed with cells": [a, b, cells],
        "nested then crossed": [inner, a, b],
        "three crossed": [a, b, rng.permutation(a)],
    }[kind]


KINDS = ["one", "nested", "crossed", "crossed with cells", "nested then crossed", "three crossed"]


@given(st.integers(0, 10**6), st.sampled_from(KINDS), st.sampled_from([0.0, 1e-5, 1.0, 30.0]), st.booleans())
@settings(max_examples=60)
def test_everything_against_dense(seed, kind, size, held):
    with mock.patch(
        "_ranef.linalg.elimination.HELD", 4096 if held else 0
    ):  # the tail is made again where it is not held
        everything_against_dense(seed, kind, size)


def everything_against_dense(seed, kind, size):
    rng, n = np.random.default_rng(seed), 40
    codes = codes_for(rng, kind, n)
    sizes = [int(p) for p in rng.integers(1, 4, len(codes))]
    Zs, A = random_design(rng, codes, sizes, n)
    order = elimination_order(A)
    A, Zs = A.permuted(order), [Zs[k] for k in order]
    lambdas = [size * rng.normal(size=(p, p)) for p in A.sizes]
    factor = factorize(A, make_plan(A), lambdas)

    Z = np.hstack(Zs)
    D = np.zeros((Z.shape[1],) * 2)
    start = 0
    for J, lam in zip(A.n_levels, lambdas, strict=True):
        stop = start + J * len(lam)
        D[start:stop, start:stop] = np.kron(np.eye(J), lam @ lam.T)
        start = stop
    V = np.eye(n) + Z @ D @ Z.T
    scale = np.linalg.cond(V)
    assert factor.log_det == pytest.approx(np.linalg.slogdet(V)[1], rel=1e-9, abs=1e-9)

    W = rng.normal(size=(n, 3))
    columns = [(Zk.T @ W).reshape(J, p, 3) for Zk, J, p in zip(Zs, A.n_levels, A.sizes, strict=True)]
    carried = forward(factor, columns)
    inverse = np.linalg.inv(V)
    tolerance = 1e-12 * scale
    np.testing.assert_allclose(W.T @ W - gram(carried.white, carried.white), W.T @ inverse @ W, atol=tolerance)
    b = backward(factor, carried.white)
    np.testing.assert_allclose(flat(b), D @ Z.T @ inverse @ W, atol=tolerance)
    c = solve_columns(factor, carried, b)
    np.testing.assert_allclose(flat(c), Z.T @ inverse @ W, atol=tolerance)
    np.testing.assert_allclose(flat(A.dot(b)), Z.T @ Z @ flat(b), atol=tolerance)
    E_whole = Z.T @ inverse @ Z
    Q_whole = D - D @ E_whole @ D
    start = 0
    for Q, E, J, p in zip(*selected_blocks(A, factor), A.n_levels, A.sizes, strict=True):
        at = slice(start, start + J * p)
        np.testing.assert_allclose(E, blocks(E_whole[at, at], p, p)[range(J), range(J)], atol=tolerance)
        np.testing.assert_allclose(Q, blocks(Q_whole[at, at], p, p)[range(J), range(J)], atol=tolerance * (1 + size**4))
        start += J * p


def flat(parts):
    return np.concatenate([x.reshape(-1, x.shape[2]) for x in parts])


@pytest.mark.parametrize(
    ("kind", "nested", "crossed"),
    [
        ("one", 1, False),
        ("nested", 3, False),
        ("crossed", 0, True),
        ("crossed with cells", 1, True),
        ("nested then crossed", 0, True),
    ],
)
def test_the_plan_is_read_off_the_pattern(kind, nested, crossed):
    rng = np.random.default_rng(1)
    codes = codes_for(rng, kind, 60)
    _, A = random_design(rng, codes, [1] * len(codes), 60)
    plan = make_plan(A.permuted(elimination_order(A)))
    assert len(plan.nested) == nested
    assert (plan.crossed is not None) == crossed


def test_nested_factors_never_form_a_dense_block():
    """Two thousand schools in a chain: the outer factor stays block-diagonal."""
    n, schools = 8000, 2000
    inner = np.arange(n) // 2
    outer = inner // 2
    diag = tuple(np.bincount(c).reshape(-1, 1, 1).astype(float) for c in (inner, outer))
    pairs = {(0, 1): PairBlocks(np.arange(4000), np.arange(4000) // 2, np.full((4000, 1, 1), 2.0))}
    A = BlockMatrix(diag, pairs)
    factor = factorize(A, make_plan(A), [np.eye(1), np.eye(1)])
    assert factor.crossed is None
    assert [f.L.shape for f in factor.nested] == [(4000, 1, 1), (schools, 1, 1)]


def test_a_long_tail_that_lost_its_array_is_made_again():
    rng, n = np.random.default_rng(5), 60
    codes = [rng.integers(0, 7, n), rng.integers(0, 6, n)]
    _, A = random_design(rng, codes, [1, 2], n)
    A = A.permuted(elimination_order(A))
    plan, columns = make_plan(A), [rng.normal(size=(J, p, 2)) for J, p in zip(A.n_levels, A.sizes, strict=True)]
    at = [[size * np.eye(p) for p in A.sizes] for size in (0.7, 1.3)]

    def everything(factor):
        white = forward(factor, columns).white
        return [*white, *backward(factor, white), *(part for parts in selected_blocks(A, factor) for part in parts)]

    expected = [everything(factorize(A, plan, lambdas)) for lambdas in at]
    with mock.patch("_ranef.linalg.elimination.HELD", 0):
        first, second = (factorize(A, plan, lambdas) for lambdas in at)
        assert first.crossed.U._lower is None
        array = second.crossed.U.lower
        for factor, values in [(second, expected[1]), (first, expected[0]), (second, expected[1])]:
            for found, value in zip(everything(factor), values, strict=True):
                np.testing.assert_allclose(found, value, rtol=1e-11, atol=1e-12)
            assert factor.crossed.U.lower is array
