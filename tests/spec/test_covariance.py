from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ranef
from ranef.spec import covariance_template, lower_root

matrices = hnp.arrays(
    float, st.integers(1, 5).map(lambda p: (p, p)), elements=st.floats(-5, 5).map(lambda v: round(v, 3))
)


@given(matrices)
def test_lower_root_keeps_the_product(root):
    lower = lower_root(root)
    np.testing.assert_allclose(lower @ lower.T, root @ root.T, atol=1e-12 * (1 + np.abs(root).max() ** 2))
    assert (np.triu(lower, 1) == 0).all()
    assert (np.diag(lower) >= 0).all()


@pytest.mark.parametrize(("kind", "n_theta"), [("us", 6), ("diag", 3), ("ident", 1)])
def test_templates_read_what_they_fill(kind, n_theta):
    template = covariance_template(kind, 3)
    theta = np.arange(1.0, n_theta + 1)
    assert template.n_theta == n_theta
    np.testing.assert_array_equal(template.read(template.fill(theta)), theta)
    lam = template.fill(theta)
    assert (np.triu(lam, 1) == 0).all()


def test_theta_is_in_lme4s_order():
    lam = covariance_template("us", 3).fill(np.arange(1.0, 7.0))
    np.testing.assert_array_equal(lam, [[1, 0, 0], [2, 4, 0], [3, 5, 6]])


def test_pull_back_is_the_transpose_of_fill():
    rng = np.random.default_rng(0)
    for kind in ("us", "diag", "ident"):
        template = covariance_template(kind, 4)
        theta, G = rng.normal(size=template.n_theta), rng.normal(size=(4, 4))
        assert template.pull_back(G) @ theta == pytest.approx(np.sum(G * template.fill(theta)))


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
