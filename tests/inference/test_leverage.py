"""Leverages, Cook's distances and the joint covariance of the mixed-model equations."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
import ranef
import registry
from _ranef import inference as inf
from _ranef.likelihood import Leverages
from likelihood.designs import SHAPES, Shape, make_data, shapes, thetas

OUTPUTS = json.loads((registry.FOLDER / "outputs.json").read_text())


@given(st.data())
@settings(max_examples=60)
def test_leverages_are_the_diagonal_of_the_hat_matrix(data):
    model = data.draw(shapes()).model()
    theta = data.draw(thetas(model.spec.n_theta))
    ours = Leverages(model.likelihood().at(np.asarray(theta, float))).of(model.spec)
    # the oracle inverts V, whose condition is about 1e4 here
    np.testing.assert_allclose(ours, oracle.dense(model.spec, theta, "REML", model.spec.sigma).leverages, atol=1e-9)


@pytest.mark.parametrize(
    ("random", "given"),
    [
        ("+ (x | a)", {"correlation": ranef.AR1(group="a:h")}),
        ("+ (1 | a) + (0 + x | a)", {"correlation": ranef.CompSymm(group="a:h"), "variance": ranef.VarIdent("f")}),
        ("", {"correlation": ranef.Exponential("x", group="a"), "weights": "w"}),
    ],
)
def test_leverages_of_correlated_rows(random, given):
    """And the conditional AIC that counts them."""
    data = make_data(4, n=120)
    model = ranef.Model(f"y ~ x {random}", data.assign(h=data.index % 3), **given)
    fit = model.fit("ML")
    at = oracle.dense(fit.spec, fit.theta, "ML", fit.sigma)
    np.testing.assert_allclose(fit.hatvalues(), at.leverages, atol=1e-9)
    density = scipy.stats.multivariate_normal.logpdf(fit.residuals(), cov=fit.sigma**2 * at.R)
    assert fit.caic() == pytest.approx(-2.0 * density + 2.0 * (at.leverages.sum() + 1.0), rel=1e-9)
    with pytest.raises(ranef.FitError, match=r"independent residuals.*influence\(\) deletes"):
        fit.cooks_distance()


@given(st.data())
@settings(max_examples=60)
def test_joint_covariance_from_its_definition(data):
    model, method = data.draw(shapes()).model(), data.draw(st.sampled_from(["REML", "ML"]))
    theta = data.draw(thetas(model.spec.n_theta))
    ours = inf.joint_covariance(model.likelihood(method).at(np.asarray(theta, float)))
    expected = oracle.joint_covariance(model.spec, theta, method)
    np.testing.assert_allclose(ours, expected, atol=1e-9 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("shape", ["slope", "nested", "crossed slopes", "no fixed effects", "rank-deficient"])
def test_joint_covariance_solves_hendersons_equations(shape):
    models = (Shape(f"y ~ {SHAPES[shape]}", make_data(seed), "w", None).model() for seed in range(20))
    fit = next(fit for fit in (model.fit() for model in models) if not fit.is_singular)  # the equations need D⁻¹
    m = fit.matrices
    XZ = np.hstack([m.X.to_numpy(), m.Z.toarray()])
    precision = np.zeros((XZ.shape[1],) * 2)
    precision[fit.spec.n_fixed :, fit.spec.n_fixed :] = np.linalg.inv(m.D.toarray())
    henderson = np.linalg.inv(XZ.T @ np.linalg.inv(m.R.toarray()) @ XZ + precision)
    joint = fit.vcov_joint()
    np.testing.assert_allclose(joint, henderson, atol=1e-8 * np.abs(henderson).max())
    assert list(joint.columns) == list(joint.index) == [*fit.fixef.index, *m.Z_names]
    part = fit.vcov_joint(fit.spec.groupings[-1].name)
    np.testing.assert_allclose(part, joint.loc[part.index, part.columns])


def test_joint_covariance_holds_vcov_and_prediction_variances():
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    joint = fit.vcov_joint()
    np.testing.assert_allclose(joint.iloc[:2, :2], fit.vcov, rtol=1e-10)
    own = joint.iloc[2:4, 2:4]
    np.testing.assert_allclose(own, fit.estimates.modes[0].cov_prediction[0], rtol=1e-9)


def test_joint_covariance_without_random_effects_and_at_zero_variance():
    flat = ranef.Model("Yield ~ 1", ranef.datasets.load("dyestuff2")).fit()
    np.testing.assert_allclose(flat.vcov_joint(), flat.vcov)
    singular = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("dyestuff2")).fit()
    joint = singular.vcov_joint()
    assert (joint.iloc[1:] == 0).all(axis=None)
    np.testing.assert_allclose(joint.iloc[:1, :1], singular.vcov)


def test_joint_covariance_refuses_what_is_too_large():
    n = 20_000
    data = pd.DataFrame({"y": np.random.default_rng(0).normal(size=n), "g": np.repeat(np.arange(n // 2), 2)})
    fit = ranef.Model("y ~ 1 + (1 | g)", data).fit()
    with pytest.raises(ranef.FitError, match=r"10001 effects.*group=.*vcov.*ranef\(\).*predict"):
        fit.vcov_joint()
    with pytest.raises(ranef.DesignError, match="no grouping factor 'h'"):
        fit.vcov_joint("h")


def test_published_leverages():
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit("ML")
    # the published 28.611653305 is that of a θ 2e-6 off the optimum; lme4 with rhoend 1e-10 gives 28.611601066
    assert fit.hatvalues().sum() == pytest.approx(28.611653305, abs=1e-4)
    assert fit.hatvalues().sum() == pytest.approx(28.611601066, abs=2e-6)


WITH_LEVERAGE = [c for c in registry.FITTED if "hatvalues" in registry.reference(c)]


@pytest.mark.parametrize("case", WITH_LEVERAGE)
def test_lme4_leverages_and_cooks_distances(case):
    ref, fit = registry.reference(case), registry.fit(case)
    # derivatives of both in θ are of order one, and θ agrees to 1e-7
    np.testing.assert_allclose(fit.hatvalues(), ref["hatvalues"], atol=1e-6)
    np.testing.assert_allclose(fit.cooks_distance(), ref["cooks_distance"], atol=1e-6)


@pytest.mark.parametrize(
    ("key", "dataset", "formula"),
    [
        ("weighted", "sleepstudy", "Reaction ~ Days + (Days | Subject)"),
        ("nested", "pastes", "strength ~ 1 + (1 | batch / cask)"),
        ("crossed", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    ],
)
def test_lme4_leverages_of_other_designs(key, dataset, formula):
    data = ranef.datasets.load(dataset)
    weights = 1.0 + np.arange(1, len(data) + 1) % 3 if key == "weighted" else None
    fit = ranef.Model(formula, data, weights=weights).fit()
    expected = OUTPUTS[f"leverage_{key}"]
    # lme4's θ is that of BOBYQA with a final radius of 1e-9
    np.testing.assert_allclose(fit.hatvalues(), expected["hatvalues"], atol=2e-6)
    np.testing.assert_allclose(fit.cooks_distance(), expected["cooks_distance"], atol=2e-6)


@pytest.mark.parametrize("shape", ["slope", "nested three levels", "crossed slopes"])
def test_leverages_do_not_depend_on_units(shape):
    data = make_data(5)
    fit = Shape(f"y ~ {SHAPES[shape]}", data, "w", None).model().fit()
    moved = data.assign(y=1e4 + 10 * data["y"], x=1000 * data["x"])
    other = Shape(f"y ~ {SHAPES[shape]}", moved, "w", None).model().fit()
    # the two optima agree to about 1e-6 in θ
    np.testing.assert_allclose(fit.hatvalues(), other.hatvalues(), atol=2e-5)
    np.testing.assert_allclose(fit.cooks_distance(), other.cooks_distance(), atol=2e-4)
    assert fit.hatvalues().between(0, 1).all()


def test_rows_and_an_offset():
    data = ranef.datasets.load("sleepstudy").iloc[::-1]
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", data, offset=np.arange(180.0)).fit()
    assert fit.hatvalues().index.equals(data.index)
    assert fit.hatvalues().name == "hatvalue"
    assert fit.cooks_distance().index.equals(data.index)


def test_cooks_distance_without_fixed_effects_is_refused():
    fit = ranef.Model("y ~ 0 + (1 | a)", make_data(2)).fit()
    assert 0 < fit.hatvalues().sum() < 7
    with pytest.raises(ranef.FitError, match="at least one fixed effect"):
        fit.cooks_distance()


def test_cooks_distance_is_nan_where_a_row_is_fitted_exactly():
    data = make_data(3).assign(only=lambda d: (np.arange(len(d)) == 4).astype(float))
    values = ranef.Model("y ~ x + only + (1 | a)", data).fit().cooks_distance()
    assert values.isna().to_numpy().nonzero()[0].tolist() == [4]


@pytest.mark.parametrize(
    ("method", "options"),
    [("REML", {}), ("ML", {"weights": "w"}), ("ML", {"sigma": 25.0}), ("REML", {"variance": ranef.VarExp("Days")})],
)
def test_conditional_aic(method, options):
    """From the density of y given β̂ and b̂, and the trace of the matrix that maps y to the fitted values."""
    data = ranef.datasets.load("sleepstudy")
    data["w"] = 1.0 + np.arange(len(data)) % 3
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", data, **options).fit(method)
    at = oracle.dense(fit.spec, fit.estimates.theta, method, fit.sigma)
    sds = fit.sigma * np.sqrt(np.diag(at.R))
    density = scipy.stats.norm.logpdf(at.y, fit.fitted(), sds).sum()
    expected = -2 * density + 2 * (at.leverages.sum() + ("sigma" not in options))
    assert fit.caic() == pytest.approx(expected, rel=1e-8)


def test_corrected_aic():
    fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit("ML")
    assert fit.aicc == pytest.approx(fit.aic + 2 * 3 * 4 / (20 - 3 - 1))
