"""Many responses at once are what one after the other would be."""

from __future__ import annotations

import numpy as np
import pytest

import ranef
from _ranef.errors import DesignError, FitError, RanefWarning
from _ranef.reml import refits as module
from likelihood.designs import SHAPES, Shape, make_data

METHODS = ("REML", "ML")


def assert_same(many, fit, Y):
    """Every response's criterion is that of its own fit or lower, and where it is the same so are the estimates."""
    assert len(many) == Y.shape[1]
    for b, y in enumerate(Y.T):
        one = fit.refit(y)
        assert many.criterion[b] <= one.criterion + 1e-8 * abs(one.criterion)
        assert many.converged[b]
        if many.criterion[b] > one.criterion - 1e-6:
            assert many.sigma[b] == pytest.approx(one.sigma, rel=1e-5)
            np.testing.assert_allclose(many.beta[b], one.estimates.beta, rtol=1e-5, atol=1e-5 * one.sigma)
            size = np.abs(one.estimates.vcov).max(initial=0.0)
            np.testing.assert_allclose(many.vcov[b], one.estimates.vcov, rtol=1e-4, atol=1e-4 * size)
            ours, theirs = ([lam @ lam.T for lam in fit.spec.lambdas(t)] for t in (many.theta[b], one.estimates.theta))
            for k in range(len(ours)):
                # a criterion good to 1e-10 leaves θ² free by its square root over the curvature
                np.testing.assert_allclose(ours[k], theirs[k], atol=2e-4 * (1 + np.abs(theirs[k]).max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape(name, method):
    fit = Shape(f"y ~ {SHAPES[name]}", make_data(21), "w", None).model().fit(method)
    Y = fit.simulate(6, seed=2)
    assert_same(fit.refit(Y), fit, Y)


@pytest.mark.parametrize("name", ["intercept", "slope", "identical", "crossed", "nested"])
def test_known_sigma(name):
    fit = Shape(f"y ~ {SHAPES[name]}", make_data(22), None, 0.8).model().fit()
    Y = fit.simulate(6, seed=3)
    assert_same(fit.refit(Y), fit, Y)


@pytest.mark.parametrize("name", ["intercept", "slope", "crossed slopes", "three columns"])
def test_responses_without_any_random_effect(name):
    """Fits end on the boundary, and are certified there."""
    fit = Shape(f"y ~ {SHAPES[name]}", make_data(23), None, None).model().fit()
    Y = np.random.default_rng(4).normal(size=(100, 12))
    many = fit.refit(Y)
    assert many.singular.any()
    assert_same(many, fit, Y)


def test_balanced_data_have_a_closed_form():
    """The REML estimate of one balanced factor is the ANOVA estimate, cut off at zero."""
    data = ranef.datasets.load("pulp")
    fit = ranef.Model("bright ~ 1 + (1 | operator)", data).fit()
    Y = fit.simulate(50, seed=5)
    many = fit.refit(Y)
    cells = np.array([Y[data["operator"] == level] for level in sorted(data["operator"].unique())])
    means = cells.mean(axis=1)
    within = ((cells - means[:, None]) ** 2).sum(axis=(0, 1)) / 16
    between = 5 * ((means - means.mean(axis=0)) ** 2).sum(axis=0) / 3
    positive = between > within
    np.testing.assert_allclose(many.sigma[positive] ** 2, within[positive], rtol=1e-10)
    variance = (many.theta[:, 0] * many.sigma) ** 2
    np.testing.assert_allclose(variance, np.maximum(between - within, 0) / 5, rtol=1e-9, atol=1e-12)
    assert (many.singular == ~positive).all()
    assert 0 < positive.sum() < 50


def test_large_crossed_models_go_one_by_one(monkeypatch):
    fit = Shape(f"y ~ {SHAPES['crossed slopes']}", make_data(24), None, None).model().fit()
    Y = fit.simulate(4, seed=6)
    together = fit.refit(Y)
    monkeypatch.setattr("_ranef.reml.refits.has_blocks", lambda spec: False)
    apart = fit.refit(Y)
    np.testing.assert_allclose(together.criterion, apart.criterion, rtol=1e-9)
    np.testing.assert_allclose(together.beta, apart.beta, rtol=1e-5)  # as far as criteria equal to 1e-11 fix θ


def test_slices_do_not_matter(monkeypatch):
    fit = Shape(f"y ~ {SHAPES['slope']}", make_data(25), None, None).model().fit()
    Y = fit.simulate(10, seed=7)
    whole = fit.refit(Y)
    monkeypatch.setattr("_ranef.reml.refits.SLICE_ENTRIES", 100)
    np.testing.assert_allclose(fit.refit(Y).theta, whole.theta, rtol=1e-8)


def test_shift_scale_and_the_frame():
    fit = Shape(f"y ~ {SHAPES['slope']}", make_data(26), None, None).model().fit()
    Y = fit.simulate(5, seed=8)
    plain, moved = fit.refit(Y), fit.refit(1e6 + 1e-3 * Y)
    np.testing.assert_allclose(moved.theta, plain.theta, rtol=1e-4)
    np.testing.assert_allclose(moved.sigma, 1e-3 * plain.sigma, rtol=1e-6)
    frame = plain.frame
    assert frame.columns[:2].tolist() == ["Intercept", "x"]
    np.testing.assert_allclose(frame["sigma"], plain.sigma)
    one = fit.refit(Y[:, 2])
    expected = one.varcorr["sdcor"].to_numpy()
    np.testing.assert_allclose(frame.iloc[2, 2:6].astype(float), expected, rtol=1e-5)
    assert frame.columns[2:6].tolist() == ["sd(Intercept | a)", "sd(x | a)", "cor(Intercept, x | a)", "sigma"]


def test_interruption_keeps_what_is_done(monkeypatch):
    fit = Shape(f"y ~ {SHAPES['slope']}", make_data(27), None, None).model().fit()
    Y, calls, fit_slice = fit.simulate(6, seed=9), [], module._fit_slice

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit_slice(*args)

    monkeypatch.setattr(module, "SLICE_ENTRIES", 100)
    monkeypatch.setattr(module, "_fit_slice", interrupted)
    with pytest.warns(RanefWarning, match="4 of 6 responses are fitted"):
        many = fit.refit(Y)
    assert many.converged.tolist() == [True, True, True, True, False, False]
    assert np.isnan(many.criterion[4:]).all()


def test_bad_responses():
    fit = Shape(f"y ~ {SHAPES['slope']}", make_data(28), None, None).model().fit()
    Y = fit.simulate(3, seed=1)
    with pytest.raises(DesignError, match="has 99 rows; it must have 100"):
        fit.refit(Y[:99])
    Y[7, 2] = np.nan
    with pytest.raises(DesignError, match="nan in row 7 of column 2"):
        fit.refit(Y)
    with pytest.raises(DesignError, match="looks transposed"):
        fit.refit(Y.T)
    for wrong in ("y", None, ["text"] * 100, 1j * Y[:, 0]):
        with pytest.raises(DesignError, match="new response"):
            fit.refit(wrong)


@pytest.mark.parametrize("name", ["intercept", "slope", "crossed"])
def test_a_response_that_is_fitted_exactly_costs_no_other(name):
    fit = Shape(f"y ~ {SHAPES[name]}", make_data(28), None, None).model().fit()
    Y = fit.simulate(4, seed=1)
    Y[:, 1] = 3.0
    Y[:, 2] = 2.0 + 5.0 * (fit.spec.groupings[0].codes == 1)  # by the random effects
    with pytest.warns(RanefWarning, match="2 of 4 responses have no residual variance, the first in column 1"):
        many = fit.refit(Y)
    assert many.converged.tolist() == [True, False, False, True]
    assert np.isnan(many.frame.loc[1, "sigma"])
    assert np.isnan(many.frame.loc[2, "sigma"])
    for y in Y[:, 1:3].T:
        with pytest.raises(FitError, match="residual variance"):
            fit.refit(y)
    with pytest.raises(FitError, match="every response"):
        fit.refit(Y[:, 1:3])


def test_a_model_without_random_effects():
    fit = ranef.Model("y ~ x", make_data(29)).fit()
    Y = fit.simulate(3, seed=1)
    many = fit.refit(Y)
    X = fit.spec.design.X
    np.testing.assert_allclose(many.beta, np.linalg.lstsq(X, Y)[0].T, rtol=1e-9)
    with pytest.raises(FitError, match="residual variance"):
        fit.refit(np.ones(100))


def test_pandas_is_aligned_by_its_index():
    data = make_data(30)
    data.index = [f"row {i}" for i in range(100)]
    data.loc["row 5", "x"] = np.nan
    fit = ranef.Model("y ~ x + (x | a)", data).fit()
    new = data["y"] + np.random.default_rng(1).normal(size=100)
    expected = fit.refit(new.drop("row 5").to_numpy()).criterion
    assert fit.refit(new.sample(frac=1, random_state=2)).criterion == pytest.approx(expected, rel=1e-12)
    assert fit.refit(new.to_frame()).criterion[0] == pytest.approx(expected, rel=1e-10)
    with pytest.raises(DesignError, match="index of the new response"):
        fit.refit(new.reset_index(drop=True))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("distance", [1e-5, 1e-6, 2e-7])
def test_nearly_collinear_predictors(distance, method):
    """The columns of X are not orthonormal there, and one sweep of them leaves much of the response in their span."""
    data = make_data(27)
    rest = np.random.default_rng(5).normal(size=len(data)) + data["a"]
    data = data.assign(near=data["x"] + distance * rest, y=data["y"] + 5 * rest, rest=rest)
    fit = ranef.Model("y ~ x + near + (1 | a)", data).fit(method)
    Y = np.column_stack([data["y"], fit.simulate(3, seed=6)])
    many = fit.refit(Y)
    other = ranef.Model("y ~ x + rest + (1 | a)", data).fit(method).refit(Y)
    np.testing.assert_allclose(many.theta, other.theta, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(many.sigma, other.sigma, rtol=1e-7)
    change = 2 * np.log(distance) if method == "REML" else 0.0
    np.testing.assert_allclose(many.criterion, other.criterion + change, rtol=1e-7)


def test_a_start_far_out():
    """Where the model's own response lies far from zero, and others do not, EM's moments are lost to rounding."""
    data = make_data(28, shift=1e4)
    Y = np.random.default_rng(7).normal(size=(100, 6))
    for formula in ("y ~ 0 + (1 | a) + (1 | b)", "y ~ 0 + (x || a) + (1 | b)"):
        fit = ranef.Model(formula, data).fit("ML")
        assert_same(fit.refit(Y), ranef.Model(formula, data.assign(y=Y[:, 0])).fit("ML"), Y)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("options", [{}, {"sigma": 30.0}, {"weights": "w"}])
def test_without_random_effects(options, method):
    """All responses at once as each alone."""
    data = ranef.datasets.load("sleepstudy")
    data["w"] = 1.0 + np.arange(len(data)) % 3
    fit = ranef.Model("Reaction ~ Days", data, **options).fit(method)
    Y = fit.simulate(4, seed=1)
    many = fit.refit(Y)
    for b, y in enumerate(Y.T):
        one = fit.refit(y)
        assert many.criterion[b] == pytest.approx(one.criterion, rel=1e-12)
        assert many.sigma[b] == pytest.approx(one.sigma, rel=1e-12)
        np.testing.assert_allclose(many.beta[b], one.fixef, rtol=1e-10)
    assert many.converged.all()
    assert not many.singular.any()
