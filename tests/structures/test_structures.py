from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import _ranef.formula
import ranef
from _ranef.structures import STRUCTURES, lower_root
from structures.toy import ToySymmetry

matrices = hnp.arrays(
    float, st.integers(1, 5).map(lambda p: (p, p)), elements=st.floats(-5, 5).map(lambda v: round(v, 3))
)


@given(matrices)
def test_lower_root_keeps_the_product(root):
    lower = lower_root(root)
    np.testing.assert_allclose(lower @ lower.T, root @ root.T, atol=1e-12 * (1 + np.abs(root).max() ** 2))
    assert (np.triu(lower, 1) == 0).all()
    assert (np.diag(lower) >= 0).all()


#: and one that is not linear in θ
ALL = {**STRUCTURES, "toy": ToySymmetry}


def structure(word, size=3):
    return ALL[word](size)


@pytest.mark.parametrize(("word", "n_theta"), [("us", 6), ("diag", 3), ("ident", 1)])
def test_theta_of_a_root_is_the_theta_it_was_made_of(word, n_theta):
    own, theta = structure(word), np.arange(1.0, n_theta + 1)
    assert own.n_theta == n_theta
    lam = own.root(theta)
    assert (np.triu(lam, 1) == 0).all()
    turned = lam @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(own.closest(turned), theta, rtol=1e-13)


def test_formulas_have_a_word_for_every_structure():
    assert {_ranef.formula.STRUCTURES[word] for word in STRUCTURES} == set(STRUCTURES)


def test_theta_is_in_lme4s_order():
    np.testing.assert_array_equal(structure("us").root(np.arange(1.0, 7.0)), [[1, 0, 0], [2, 4, 0], [3, 5, 6]])
    assert structure("us", 2).labels(["a", "b"]) == ["a", "b.a", "b"]


@pytest.mark.parametrize("word", ALL)
def test_every_structure_says_what_the_samplers_need(word):
    """Sds over σ first, then coordinates of shapes; or a whole triangle. What JAX knows is linear."""
    own, rng = structure(word, 4), np.random.default_rng(1)
    n, theta = len(own.own_sds), rng.uniform(0.2, 1.0, own.n_theta)
    assert own.free or own.n_theta == n + len(own.shapes)
    if not own.free:
        sds = np.linalg.norm(own.root(theta), axis=1)
        np.testing.assert_allclose(sds[list(own.own_sds)], theta[:n], rtol=1e-12)
    if own.kernels:
        assert not own.shapes
        np.testing.assert_allclose(own.root(theta), np.einsum("i,ijk->jk", theta, own.root(np.eye(own.n_theta))))
    for s in own.shapes:
        u = np.array([-2.0, s.usual, 3.0])
        np.testing.assert_allclose(s.coordinate(s.value(u)), u, atol=1e-12)
        slope = (s.value(u + 1e-6) - s.value(u - 1e-6)) / 2e-6
        np.testing.assert_allclose(s.log_slope(u)[0], np.log(slope), atol=1e-8)
        bend = (s.log_slope(u + 1e-6)[0] - s.log_slope(u - 1e-6)[0]) / 2e-6
        np.testing.assert_allclose(s.log_slope(u)[1], bend, atol=1e-8)


def test_terms_in_order_of_levels_and_grouped_by_factor():
    data = ranef.datasets.load("pastes")
    data["x"] = np.arange(60) % 7.0
    spec = ranef.Model("strength ~ 1 + (1 | batch) + (0 + x | sample) + (1 | sample)", data).spec
    assert [t.group for t in spec.terms] == ["sample", "sample", "batch"]
    assert [g.name for g in spec.groupings] == ["sample", "batch"]
    assert spec.theta_names == ("sample.x", "sample.Intercept", "batch.Intercept")
    lam = spec.lambdas(np.array([2.0, 3.0, 5.0]))
    np.testing.assert_array_equal(lam[0], np.diag([2.0, 3.0]))
    np.testing.assert_array_equal(spec.theta_of(lam), [2.0, 3.0, 5.0])
