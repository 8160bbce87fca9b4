"""Patterns of Z, ZᵀZ and L against the matrices themselves."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import ranef
from ranef.inference import Pattern, matrix_pattern
from ranef.plots.pattern import shares

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


def test_raster_adds_up_to_the_pattern():
    rng = np.random.default_rng(2)
    pattern = Pattern("Z", (1003, 57), rng.integers(0, 1003, 400), np.arange(400) % 57, (), ())
    part = shares(pattern, 40)
    assert part.shape == (40, 40)
    rows = np.bincount(np.arange(1003) * 40 // 1003)
    cols = np.bincount(np.arange(57) * 40 // 57)
    assert (part * np.outer(rows, cols)).sum() == pytest.approx(400)


def test_small_patterns_are_drawn_place_by_place(fit):
    f = fit(*CASES[0])
    np.testing.assert_array_equal(shares(matrix_pattern(f, "Z")) > 0, dense(matrix_pattern(f, "Z")))


def test_figures_name_the_blocks(fit, posterior):
    plots = fit(*CASES[2]).plot
    _, ax = plt.subplots()
    assert plots.pattern("ZtZ", ax=ax) is ax
    assert [t.get_text() for t in ax.get_xticklabels()] == ["cask:batch\n30 columns", "batch\n10 columns"]
    ax = fit(*CASES[0]).plot.pattern()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["Subject: Intercept, Days\n36 columns"]
    assert ax.get_ylabel() == "rows of the data"
    assert "4 × 4, 40 % of its lower triangle not zero" in posterior.plot.pattern("L").get_title()


def test_impossible_requests_say_why(fit):
    with pytest.raises(ranef.DesignError, match="Z, ZtZ, L"):
        fit(*CASES[0]).plot.pattern("V")
    with pytest.raises(ranef.DesignError, match="no Z"):
        fit("Reaction ~ Days", "sleepstudy").plot.pattern()
