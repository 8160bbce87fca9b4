"""Sums over rows add up: in any order, in any parts."""

from __future__ import annotations

import numpy as np
import pytest

import ranef
from _ranef.likelihood import make_scaling, row_sums
from _ranef.likelihood.crossproducts import arranged
from _ranef.likelihood.level_sums import add_up, rescaled
from _ranef.reml import fit_reml
from likelihood.designs import SHAPES, Shape, make_data


def assert_equal(first, second):
    for a, b in zip((*first.diag, *first.Xy, first.corner), (*second.diag, *second.Xy, second.corner), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12 * (1 + np.abs(b).max(initial=0)))
    for key, pair in first.pairs.items():
        np.testing.assert_array_equal(pair.rows, second.pairs[key].rows)
        np.testing.assert_array_equal(pair.cols, second.pairs[key].cols)
        np.testing.assert_allclose(pair.blocks, second.pairs[key].blocks, atol=1e-12)
    assert first.n_obs == second.n_obs
    assert first.weights == pytest.approx(second.weights)
    assert first.log_weights == pytest.approx(second.log_weights)


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("name", SHAPES)
def test_parts_add_up_in_any_order(name, weights):
    formula, data = f"y ~ {SHAPES[name]}", make_data(31)
    whole = ranef.Model(formula, data, weights=weights).spec
    if whole.design.dropped:
        pytest.skip("aliased columns are dropped after the sums")
    pieces = [data.iloc[i::5] for i in range(5)]
    parts = list(ranef.Model(formula, pieces, weights=weights).spec.parts())
    scaling = make_scaling(whole)
    expected = row_sums(whole, scaling)
    sums = [row_sums(part, scaling) for part in parts]
    assert_equal(add_up(sums), expected)
    assert_equal(add_up(reversed(sums)), expected)
    assert_equal(sums[3].merge(sums[1]).merge(sums[0].merge(sums[4])).update(parts[2]), expected)


@pytest.mark.parametrize("name", ["slope", "crossed slopes", "nested and crossed", "no intercept", "identical"])
def test_a_poor_scale_is_put_right_afterwards(name):
    """Sums on the scale of five rows become those on the scale of all, exactly but for rounding."""
    spec = Shape(f"y ~ {SHAPES[name]}", make_data(32), "w", None).model().spec
    poor = make_scaling(spec.thinned(5))
    mended, right = rescaled(row_sums(spec, poor), spec.terms), row_sums(spec, make_scaling(spec))
    # a coordinate system that is exact to the ridge of the preconditioner, 1e-12, and rounding
    for a, b in zip((*mended.diag, *mended.Xy, mended.corner), (*right.diag, *right.Xy, right.corner), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8 * (1 + np.abs(b).max()))
    a, b = (fit_reml(spec, products=arranged(spec, sums)) for sums in (mended, right))
    assert a.criterion == pytest.approx(b.criterion, rel=1e-12)
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-8, atol=1e-8)
