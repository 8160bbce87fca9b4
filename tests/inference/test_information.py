"""Observed information of the variance parameters against second differences of a criterion with V built whole."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import oracle
import ranef
import registry
from _ranef.inference import varcorr_frame
from likelihood.designs import SHAPES, make_data
from oracle import dense

OUTPUTS = json.loads((registry.FOLDER / "outputs.json").read_text())
SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep_ml():
    return ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")).fit("ML")


def strong_model(shape, seed, weights=None, sigma=None):
    """A model whose response is simulated with effects larger than the noise, for every variance to be positive."""
    rng, data = np.random.default_rng(seed), make_data(seed, n=150)
    spec = ranef.Model(f"y ~ {SHAPES[shape]}", data).spec
    y = 1.5 * data["x"] + 0.4 * rng.normal(size=len(data))
    for g in spec.groupings:
        y += (g.Z * rng.normal(size=(g.n_levels, len(g.columns)))[g.codes]).sum(axis=1)
    return ranef.Model(f"y ~ {SHAPES[shape]}", data.assign(y=y), weights=weights, sigma=sigma)


def parameters(fit):
    """θ and log σ, unless σ is known."""
    return fit.estimates.theta if fit.spec.sigma is not None else np.append(fit.estimates.theta, np.log(fit.sigma))


def sigma_of(fit, x):
    return fit.spec.sigma if fit.spec.sigma is not None else float(np.exp(x[-1]))


def expected_covariance(fit):
    """Twice the inverse of the Hessian of the deviance in (θ, log σ)."""
    n = fit.spec.n_theta

    deviance = oracle.deviance(fit.spec, fit.engine)

    def value(x):
        return deviance(x[:n], sigma_of(fit, x))

    return 2 * np.linalg.inv(oracle.hessian(value, parameters(fit)))


def components(fit):
    n = fit.spec.n_theta

    def values(x):
        sigma = sigma_of(fit, x)
        return varcorr_frame(fit.spec, x[:n], sigma)["sdcor"].to_numpy()

    return values


SETTINGS = [("REML", None, None), ("ML", "w", None), ("REML", "w", 0.4)]


@pytest.mark.parametrize(("shape", "settings"), [(s, SETTINGS[i % 3]) for i, s in enumerate(SHAPES)])
def test_standard_errors_from_second_differences(shape, settings):
    method, weights, sigma = settings
    fits = (strong_model(shape, seed, weights, sigma).fit(method) for seed in range(20))
    fit = next(fit for fit in fits if not fit.is_singular)
    cov, frame = expected_covariance(fit), fit.varcorr_se()
    J = oracle.jacobian(components(fit), parameters(fit))
    errors = np.sqrt(np.diag(J @ cov @ J.T))[: len(frame)]
    # second differences of a criterion of about 1e3 with steps of 2e-3 keep five digits
    estimate, told = frame["estimate"].to_numpy(), frame["note"].to_numpy() == ""
    np.testing.assert_allclose(frame["std_error"][told], errors[told], rtol=2e-4)
    correlation = frame["term2"].notna().to_numpy()
    assert (errors[~told] > np.sqrt(1 - estimate[~told] ** 2)).all() == correlation[~told].all()
    assert frame["std_error"].isna().tolist() == (~told).tolist()
    np.testing.assert_allclose(frame["estimate"], fit.varcorr["sdcor"][: len(frame)])
    joint = fit.vcov_theta()
    scale = np.ones(len(joint)) if sigma else np.append(np.ones(fit.spec.n_theta), fit.sigma)
    sds = np.sqrt(np.diag(cov)) * scale
    expected = cov * np.outer(scale, scale)
    np.testing.assert_allclose(joint / np.outer(sds, sds), expected / np.outer(sds, sds), atol=5e-4)
    assert list(joint.index) == [*fit.spec.theta_names, *([] if sigma else ["sigma"])]


def test_known_sigma_has_no_row():
    fit = strong_model("intercept", 1, sigma=0.5).fit()
    assert fit.varcorr_se()["group"].tolist() == ["a"]
    assert fit.vcov_theta().shape == (1, 1)


def theta_hessian(information, *, profiled=True):
    """Hessian (n_theta, n_theta) of the deviance in interior θ, profiled over σ or with σ held."""
    kept, n = information.hessian if profiled else information.hessian[:-1, :-1], information.dtheta.shape[1]
    head, mixed, rest = kept[:n, :n], kept[:n, n:], kept[n:, n:]
    inverse = np.linalg.inv(information.dtheta)
    return inverse.T @ (head - mixed @ np.linalg.solve(rest, mixed.T)) @ inverse


def test_theta_hessian_as_published(sleep_ml):
    """σ is held at its estimate in the published matrix, whose θ is 2e-6 off: it moves the fourth decimal."""
    published = [[45.4124, 35.9377, 6.3560], [35.9377, 465.7402, 203.9974], [6.3560, 203.9974, 963.9594]]
    ours = theta_hessian(sleep_ml._information, profiled=False)
    np.testing.assert_allclose(ours, published, rtol=5e-6, atol=3e-4)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_theta_hessian_from_second_differences(method):
    fit = ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")).fit(method)
    theta = fit.estimates.theta
    deviance = oracle.deviance(fit.spec, method)
    expected = oracle.hessian(lambda t: deviance(t, fit.sigma), theta, h=1e-3)
    np.testing.assert_allclose(theta_hessian(fit._information, profiled=False), expected, rtol=1e-5, atol=1e-3)
    expected = oracle.hessian(lambda t: dense(fit.spec, t, method).criterion, theta, h=1e-3)
    np.testing.assert_allclose(theta_hessian(fit._information), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("key", "formula"), [("sleep", SLEEP), ("penicillin", "diameter ~ 1 + (1 | plate)")])
def test_nlme(key, formula):
    """nlme differentiates coarsely, so three per cent; its correlation is on another scale and coarser still."""
    ref = OUTPUTS[f"apvar_{key}"]
    frame = ranef.Model(formula, ranef.datasets.load("sleepstudy" if key == "sleep" else key)).fit().varcorr_se()
    frame = frame[frame["term2"].isna()]
    logs = [se for name, se in zip(ref["names"], ref["se"], strict=True) if name != "reStruct.Subject3"]
    np.testing.assert_allclose(frame["std_error"] / frame["estimate"], logs, rtol=0.03)


def test_zero_variance():
    fit = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("dyestuff2")).fit()
    frame = fit.varcorr_se()
    assert np.isnan(frame["std_error"][0])
    # a least-squares fit is left, with 29 degrees of freedom
    assert frame["std_error"][1] == pytest.approx(fit.sigma / np.sqrt(2 * 29), rel=1e-9)
    cov = fit.vcov_theta()
    assert cov.isna().to_numpy().tolist() == [[True, True], [True, False]]


def test_zero_variance_and_known_sigma():
    fit = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("dyestuff2"), sigma=4.0).fit()
    assert fit.theta.tolist() == [0.0]
    assert fit.varcorr_se()["std_error"].isna().tolist() == [True]
    assert fit.vcov_theta().isna().to_numpy().tolist() == [[True]]


def perfectly_correlated(seed=0):
    rng = np.random.default_rng(seed)
    a, x = np.repeat(np.arange(12), 10), np.tile(np.arange(10.0) - 3, 12)
    b = rng.normal(size=12)
    return pd.DataFrame({"y": 2 * b[a] + 0.5 * b[a] * x + 0.5 * rng.normal(size=120), "x": x, "a": a})


def test_perfect_correlation():
    """Sds are conditional on a covariance matrix of rank one; differences run over (a, b, log σ), D = (a, b)(a, b)ᵀ."""
    fit = next(
        f for f in (ranef.Model("y ~ x + (x | a)", perfectly_correlated(s)).fit() for s in range(20)) if f.is_singular
    )
    frame = fit.varcorr_se()
    assert frame["std_error"].isna().tolist() == [False, False, True, False]
    n = fit.spec.n_theta
    assert n == 3
    assert abs(fit.estimates.theta[2]) < 1e-12

    deviance = oracle.deviance(fit.spec, "REML")

    def on_rank_one(x):
        return deviance([x[0], x[1], 0.0], np.exp(x[2]))

    def values(x):
        return np.exp(x[2]) * np.array([abs(x[0]), abs(x[1]), 1.0])

    x = np.append(fit.estimates.theta[:2], np.log(fit.sigma))
    cov, J = 2 * np.linalg.inv(oracle.hessian(on_rank_one, x)), oracle.jacobian(values, x)
    np.testing.assert_allclose(frame["std_error"][[0, 1, 3]], np.sqrt(np.diag(J @ cov @ J.T)), rtol=2e-4)
    joint = fit.vcov_theta()
    assert joint.isna().sum().tolist() == [1, 1, 4, 1]
    np.testing.assert_allclose(joint.iloc[:2, :2], cov[:2, :2], rtol=1e-3)


def test_one_of_two_terms_on_the_boundary():
    data = make_data(1)
    shuffled = (data.assign(h=np.random.default_rng(seed).permutation(100) % 12) for seed in range(30))
    fit = next(f for f in (ranef.Model("y ~ x + (1 | a) + (1 | h)", d).fit() for d in shuffled) if f.is_singular)
    alone = ranef.Model("y ~ x + (1 | a)", data).fit().varcorr_se()
    frame = fit.varcorr_se()
    assert frame.loc[frame["std_error"].isna(), "group"].tolist() == ["h"]
    # a descent ends at a decrement of 1e-11, and so within some 1e-6 of the θ that the other fit has exactly
    np.testing.assert_allclose(frame["std_error"].dropna(), alone["std_error"], rtol=1e-5)


def test_what_the_data_do_not_determine_is_nan():
    """No subject has both sexes, so that the correlation of their effects is anybody's guess."""
    fit = registry.fit("orthodont_sexslope")
    frame = fit.varcorr_se()
    assert frame["std_error"].isna().tolist() == [False, False, True, False]


DEAR = ("insteval_1", "insteval_2", "star_math")


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow if c in DEAR else []) for c in registry.FITTED]
)
def test_every_reference_has_standard_errors_inside_the_boundary(case):
    fit = registry.fit(case)
    errors = fit.varcorr_se()["std_error"]
    if fit.status == "converged" and case != "orthodont_sexslope":
        assert (errors > 0).all()
        assert np.linalg.eigvalsh(fit.vcov_theta()).min() > 0
    assert errors.iloc[-1] > 0


def test_no_random_part():
    fit = ranef.Model("Yield ~ 1", ranef.datasets.load("dyestuff2")).fit()
    assert fit.varcorr_se()["std_error"].tolist() == pytest.approx([fit.sigma / np.sqrt(2 * 29)])
    assert fit.vcov_theta().to_numpy() == pytest.approx(fit.sigma**2 / (2 * 29))
    known = ranef.Model("Yield ~ 1", ranef.datasets.load("dyestuff2"), sigma=1.0).fit()
    assert len(known.varcorr_se()) == 0
    assert known.vcov_theta().shape == (0, 0)


def test_units_do_not_matter(sleep_ml):
    data = ranef.datasets.load("sleepstudy")
    moved = data.assign(Reaction=1e6 + 1e-3 * data["Reaction"], Days=1e3 * data["Days"])
    other = ranef.Model(SLEEP, moved).fit("ML").varcorr_se()["std_error"]
    factors = np.array([1e-3, 1e-6, 1.0, 1e-3])
    np.testing.assert_allclose(other, factors * sleep_ml.varcorr_se()["std_error"], rtol=1e-5)
    # a far-off origin changes the intercept's parameters, not those of the slope
    far = ranef.Model(SLEEP, data.assign(Days=data["Days"] + 2000)).fit("ML").varcorr_se()["std_error"]
    np.testing.assert_allclose(far[[1, 3]], sleep_ml.varcorr_se()["std_error"][[1, 3]], rtol=1e-4)


@pytest.mark.parametrize(("seed", "left_out"), [(4, [2]), (5, [2]), (10, [2]), (20, [0, 1, 2])])
def test_no_standard_error_that_cannot_be_one(seed, left_out):
    """The curvature gives 1.24 for a correlation of .42 (seed 5), 71 for −.63 and 3.7 for an sd of .035 (seed 20)."""
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(6), 5), np.tile(np.arange(5) - 2.0, 6)
    b = rng.normal(size=(6, 2)) * [0.6, 0.25]
    y = 5 + x + b[g, 0] + b[g, 1] * x + rng.normal(size=30)
    frame = ranef.Model("y ~ x + (x | g)", {"y": y, "x": x, "g": g.astype(str)}).fit().varcorr_se()
    missing = frame["std_error"].isna()
    assert np.flatnonzero(missing).tolist() == left_out
    assert (frame.loc[missing, "note"] == "the curvature gives a larger one than such a quantity can have").all()
    assert (frame.loc[~missing, "note"] == "").all()
