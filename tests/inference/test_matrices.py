"""Patterns of Z, ZᵀZ and L against the matrices themselves."""

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.inference import matrix_pattern

CASES = [
    ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    ("strength ~ 1 + (1 | batch/cask)", "pastes"),
    ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
]


def dense(pattern):
    out = np.zeros(pattern.shape, dtype=int)
    np.add.at(out, (pattern.rows, pattern.cols), 1)
    assert out.max() == 1  # no place twice
    return out.astype(bool)


def crossed_slopes():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"a": rng.integers(0, 7, 60), "b": rng.integers(0, 5, 60), "c": rng.integers(0, 4, 60)})
    data["x"], data["y"] = rng.standard_normal((2, 60))
    return ranef.Model("y ~ x + (x | a) + (1 | b) + (x | c)", data).fit()


@pytest.mark.parametrize("case", CASES)
def test_products_are_not_zero_where_the_pattern_says(fit, case):
    f = fit(*case)
    Z = f.matrices.Z
    pattern = matrix_pattern(f, "Z")
    assert (dense(pattern) >= (Z.toarray() != 0)).all()  # a covariate may be zero in a row of its level
    ones = dense(pattern).astype(int)
    np.testing.assert_array_equal(dense(matrix_pattern(f, "ZtZ")), ones.T @ ones > 0)
    assert pattern.col_blocks[-1][2] == Z.shape[1]


@pytest.mark.parametrize("case", [*CASES, None], ids=str)
def test_factor_is_not_zero_where_the_pattern_says(fit, case):
    f = crossed_slopes() if case is None else fit(*case)
    pattern, spec = matrix_pattern(f, "L"), f.spec
    # columns of Z by factor in the order of elimination, those of all terms of one level together
    ends = np.cumsum([0, *(spec.groupings[t.grouping].n_levels * len(t.columns) for t in spec.terms)])
    order = []
    for k in f.products.order:
        at = [
            start + np.arange(spec.groupings[k].n_levels * len(t.columns)).reshape(-1, len(t.columns))
            for t, start in zip(spec.terms, ends, strict=False)
            if t.grouping == k
        ]
        order += np.hstack(at).ravel().tolist()
    # at a θ whose λ are full; the plan does not know that some are diagonal
    Z = f.matrices.Z.toarray()[:, order]
    A = Z.T @ Z + np.diag(1.0 + np.arange(len(order)) / 50)
    L = np.abs(np.linalg.cholesky(A)) > 1e-10
    assert (dense(pattern) >= L).all()
    assert pattern.filled <= 1.25 * L.sum() / (len(order) * (len(order) + 1) / 2)  # crossed tails are stored full
