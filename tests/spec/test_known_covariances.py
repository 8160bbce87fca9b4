"""Known covariances among levels: labels, errors, and what an inverse is read as."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef

LEVELS = [f"s{i}" for i in range(8)]
K = 0.6 ** np.abs(np.arange(8)[:, None] - np.arange(8))


def rows(levels=6):
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(levels), 5)
    b = np.linalg.cholesky(K) @ rng.normal(size=8)
    x = rng.normal(size=len(g))
    return pd.DataFrame({"y": 1 + x + 2 * b[g] + rng.normal(size=len(g)), "x": x, "g": [LEVELS[i] for i in g]})


def model(given, data=None, formula="y ~ x + (1 | g)", name="g"):
    return ranef.Model(formula, rows() if data is None else data, cov={name: given})


def frame(matrix=K, index=LEVELS, columns=LEVELS):
    return pd.DataFrame(matrix, index=index, columns=columns)


def test_all_ways_to_give_it_are_one_model():
    first = model(frame()).fit()
    turned = frame().iloc[[3, 1, 0, 2, 7, 5, 4, 6], ::-1]
    sparse = scipy.sparse.csr_array(K)
    inverse = np.linalg.inv(K)
    ways = [
        turned,
        (K, LEVELS),
        (sparse, LEVELS),
        ranef.Precision(frame(inverse)),
        ranef.Precision(inverse, LEVELS),
        ranef.Precision(scipy.sparse.csc_array(inverse), LEVELS),
    ]
    for given in ways:
        again = model(given).fit()
        assert again.criterion == pytest.approx(first.criterion, rel=1e-11)
        mine = again.ranef().set_index("level")["estimate"]
        np.testing.assert_allclose(mine[LEVELS], first.ranef().set_index("level")["estimate"][LEVELS], rtol=1e-6)


def test_levels_without_rows_come_after_those_of_the_data():
    own = model(frame())
    assert list(own.spec.groupings[0].levels) == LEVELS
    root = own.spec.groupings[0].root
    np.testing.assert_allclose(root @ root.T, K, rtol=1e-12)
    assert len(own.fit().ranef()) == 8


def test_numbers_are_labels_as_text():
    data = rows().assign(g=lambda d: d["g"].str[1:].astype(int))
    own = model(frame(index=range(8), columns=range(8)), data)
    assert own.fit().criterion == pytest.approx(model(frame()).fit().criterion, rel=1e-11)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (K, r"cov\['g'\] has no labels: give a pandas DataFrame .* or \(K, levels\)"),
        (frame().iloc[:5, :5], r"lacks 1 of the 6 levels of g in the data: 's5'"),
        (frame(index=["a", *LEVELS[1:]]), r"same labels; only one of the two has 'a', 's0'"),
        ((K, ["s0", *LEVELS[:-1]]), r"some levels more than once: 's0'"),
        ((K, LEVELS[:-1]), r"has 8 rows and 7 levels"),
        ((K[:, :5], LEVELS), r"is of shape \(8, 5\): a square matrix"),
        ((np.where(np.eye(8) > 0, np.nan, K), LEVELS), r"is nan for 's0' and 's0'"),
        ((K + np.triu(K, 1), LEVELS), r"is not symmetric: for 's0' and 's1' it has 1.2 and 0.6"),
        ((K - 0.5 * np.eye(8), LEVELS), r"is not positive definite: .* variance -0\.2\d*, mostly of 's"),
        (ranef.Precision(K - 0.5 * np.eye(8), LEVELS), r"is not positive definite"),
        ((np.array([["a"]]), ["s0"]), r"does not hold numbers"),
        ((np.zeros((8, 8)), LEVELS), r"is not positive definite"),
    ],
)
def test_what_is_no_covariance_of_these_levels(given, words):
    with pytest.raises(ranef.DesignError, match=words):
        model(given)


def test_arguments_that_are_none():
    with pytest.raises(ranef.DesignError, match=r"cov= names 'h', which is no grouping factor .* It has: g"):
        model(frame(), name="h")
    with pytest.raises(ranef.DesignError, match=r"must be a dict from a grouping factor"):
        ranef.Model("y ~ x + (1 | g)", rows(), cov=frame())


def test_a_singular_covariance_is_one():
    """Two levels that are the same have the same effect."""
    same = np.ones((8, 8)) * 0.0 + np.eye(8)
    same[0, 1] = same[1, 0] = 1.0
    found = model((same, LEVELS)).fit().ranef().set_index("level")["estimate"]
    assert found["s0"] == pytest.approx(found["s1"], rel=1e-10)
    assert found["s2"] != pytest.approx(found["s3"])


def test_one_row_for_each_level_is_allowed():
    rng = np.random.default_rng(1)
    R = 0.9 ** np.abs(np.arange(40)[:, None] - np.arange(40))
    names = [f"t{i}" for i in range(40)]
    y = np.linalg.cholesky(R) @ rng.normal(size=40) + rng.normal(size=40)
    own = ranef.Model("y ~ 1 + (1 | t)", {"y": y, "t": names}, cov={"t": (R, names)})
    assert own.fit().status == "converged"
    with pytest.raises(ranef.DesignError, match="number of levels"):
        ranef.Model("y ~ 1 + (1 | t)", {"y": y, "t": names})
    alone = ranef.Model("y ~ 1 + (1 | t)", {"y": y, "t": names}, cov={"t": (np.eye(40), names)})
    with pytest.warns(ranef.ConvergenceWarning):
        assert alone.fit().status == "not identified"
