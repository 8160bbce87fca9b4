"""No pooling against least squares done level by level, and the ratios and shares that follow from it."""

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.comparison.shrinkage import COLUMNS, level_sums, no_pooling, shrinkage_frame


def alone(fit, group, weights=None):
    """Within-level weighted least squares by numpy, level by level."""
    spec = fit.spec
    g = next(g for g in spec.groupings if g.name == group)
    d = spec.design
    r = d.y - d.X @ fit.fixef.to_numpy() - (0.0 if d.offset is None else d.offset)
    root = np.ones(spec.n_obs) if weights is None else np.sqrt(weights)
    out = []
    for j in range(g.n_levels):
        at = g.codes == j
        out.append(np.linalg.lstsq(g.Z[at] * root[at, None], r[at] * root[at])[0])
    return np.array(out).ravel()


def test_pulp_ratio_is_the_same_for_every_operator(fit):
    frame = shrinkage_frame(fit("bright ~ 1 + (1 | operator)", "pulp"))
    assert list(frame.columns) == COLUMNS
    # 1 + σ²/(5 τ²) with σ = 0.3259601, τ² = 0.06808333 of tests/reference/pulp_reml.json (lme4 1.1.31)
    np.testing.assert_allclose(frame["ratio"], 1.312117, rtol=1e-6)
    np.testing.assert_allclose(frame["shrinkage"], 1 - 1 / frame["ratio"], rtol=1e-9)
    assert frame["n"].tolist() == [5] * 4


@pytest.mark.parametrize(
    ("formula", "data", "group"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy", "Subject"),
        ("Reaction ~ Days + (Days || Subject)", "sleepstudy", "Subject"),
        ("score ~ Machine + (Machine | Worker)", "Machines", "Worker"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", "sample"),
    ],
)
def test_no_pooling_is_least_squares_of_each_level(fit, formula, data, group):
    f = fit(formula, data)
    frame = shrinkage_frame(f)
    own = frame[frame["group"] == group]
    np.testing.assert_allclose(own["no_pooling"], alone(f, group), rtol=1e-8, atol=1e-10)
    pd.testing.assert_frame_equal(frame[f.ranef().columns], f.ranef())


def test_weights_and_offset_enter():
    data = ranef.datasets.load("sleepstudy").assign(w=lambda d: 1.0 + d["Days"] % 3, o=lambda d: 5.0 * d["Days"] ** 2)
    f = ranef.Model("Reaction ~ Days + (Days | Subject)", data, weights="w", offset="o").fit()
    np.testing.assert_allclose(shrinkage_frame(f)["no_pooling"], alone(f, "Subject", data["w"].to_numpy()), rtol=1e-8)


def test_what_a_level_does_not_determine_is_nan():
    codes = np.array([0, 0, 1, 1, 2])
    Z = np.column_stack([np.ones(5), [1.0, 2.0, 3.0, 3.0, 0.0]])
    out = no_pooling(level_sums(codes, 3, Z, np.array([1.0, 2.0, 3.0, 5.0, 7.0]), np.ones(5)))
    np.testing.assert_allclose(out, [[0.0, 1.0], [np.nan, np.nan], [7.0, np.nan]], atol=1e-12)


def test_a_slope_in_years_is_estimable():
    year = np.tile(np.arange(2000.0, 2010.0), 2)
    Z = np.column_stack([np.ones(20), year])
    own = level_sums(np.repeat([0, 1], 10), 2, Z, 3.0 + 0.5 * year, np.ones(20))
    np.testing.assert_allclose(no_pooling(own), [[3.0, 0.5]] * 2, rtol=1e-4)


def test_zero_variance_is_complete_pooling(fit):
    f = fit("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    frame = shrinkage_frame(f)
    np.testing.assert_array_equal(frame["shrinkage"], 1.0)
    assert frame["ratio"].isna().all()
    assert np.isfinite(frame["no_pooling"]).all()


def test_shrinkage_of_a_posterior_is_not_defined(posterior):
    frame = shrinkage_frame(posterior)
    assert frame["shrinkage"].isna().all()
    assert np.isfinite(frame["no_pooling"]).all()


def test_without_random_effects_it_is_empty(fit):
    frame = shrinkage_frame(fit("Reaction ~ Days", "sleepstudy"))
    assert frame.empty
    assert list(frame.columns) == COLUMNS
