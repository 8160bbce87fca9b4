"""Predictions layer by layer: against dense algebra, against simulated data and effects, and against a posterior."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy

import oracle
import ranef
from _ranef.inference import PredictOptions, chosen_groupings, rows_for
from _ranef.inference.estimate_draws import estimate_draws
from _ranef.likelihood import combination_variances, prediction_covariances
from small_fits import fit_of

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")
CROSSED = ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
NESTED = ("yield ~ nitro * Variety + (1 | Block/Variety)", "Oats")
MACHINES = ("score ~ Machine + (1 | Worker/Machine)", "Machines")


def new_rows(formula, data):
    """Rows of the data with another order of levels, so that crossed ones meet that never met, and one level unseen."""
    rows = ranef.datasets.load(data).sample(12, random_state=3)
    names = {"pulp": ["operator"], "sleepstudy": ["Subject"], "Penicillin": ["plate", "sample"], "Oats": ["Block"]}
    for name in names.get(data, ["Worker"]):
        own = rows[name].astype(str).sample(frac=1.0, random_state=4).to_numpy()
        rows[name] = np.where(np.arange(12) == 5, "nobody", own)
    return rows


def parts(fit, data, re, theta=None, sigma=None):
    """x (m, p), z (m, q) and the places of rows with an unseen level, from the encoded rows; V at θ and σ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        rows = rows_for(fit.spec, data, PredictOptions(re, "population", "prediction", 0.95))
    chosen, blocks = chosen_groupings(fit.spec, re), []
    for k, g in enumerate(fit.spec.groupings):
        z = np.zeros((len(rows.X), g.n_levels, len(g.columns)))
        for i, code in enumerate(rows.codes[k]):
            if k in chosen and 0 <= code < g.n_levels:
                z[i, code] = rows.Z[k][i]
        blocks.append(z.reshape(len(z), -1))
    theta = fit.estimates.theta if theta is None else theta
    at = oracle.dense(fit.spec, theta, fit.engine, fit.sigma if sigma is None else sigma)
    unseen = np.zeros(len(rows.X))
    for k in chosen:
        lost = (rows.codes[k] < 0) | (rows.codes[k] >= fit.spec.groupings[k].n_levels)
        D = at.sigma**2 * at.roots[k] @ at.roots[k].T
        unseen[lost] += np.einsum("na,ab,nb->n", rows.Z[k], D, rows.Z[k])[lost]
    return at, rows.X, np.hstack(blocks), unseen


def variances(at, X, Z):
    """Var(zᵀ(b̂ − b)) with β known, and Var(xᵀβ̂ + zᵀ(b̂ − b))."""
    own = oracle.block_diagonal(at.cov_b) if len(at.Z) == 1 else None
    if own is None:
        D, ZZ = at.all_D, at.all_Z
        own = at.sigma**2 * (D - D @ ZZ.T @ at.inverse @ ZZ @ D)
    both = np.hstack([X, Z])
    return np.einsum("ij,jk,ik->i", Z, own, Z), np.einsum("ij,jk,ik->i", both, at.joint_covariance, both)


@pytest.mark.parametrize("case", [PULP, SLEEP, CROSSED, NESTED, MACHINES], ids=lambda c: c[1])
@pytest.mark.parametrize("re", ["all", "none", "first"])
def test_layers_given_theta(case, re):
    fit = fit_of(*case)
    data = new_rows(*case)
    re = [fit.spec.groupings[0].name] if re == "first" else re
    at, X, Z, unseen = parts(fit, data, re)
    plugin, fixef = variances(at, X, Z)
    for layer, own in (("plugin", plugin), ("fixef", fixef)):
        column = {"plugin": "sd_given_theta_fixef", "fixef": "sd_given_theta"}[layer]
        found = fit.predict(data, re=re, interval="confidence", uncertainty=layer)
        assert found.columns.tolist() == ["estimate", column, "lower", "upper"]
        np.testing.assert_allclose(found[column] ** 2, own, atol=1e-9 * fit.sigma**2)
        found = fit.predict(data, re=re, interval="prediction", uncertainty=layer)
        np.testing.assert_allclose(found[column] ** 2, own + unseen + fit.sigma**2, rtol=1e-9)
        found = fit.predict(data, re=re, interval="confidence", new_levels="sample", uncertainty=layer)
        np.testing.assert_allclose(found[column] ** 2, own + unseen, atol=1e-9 * fit.sigma**2)
    np.testing.assert_array_equal(
        fit.predict(data, re=re, interval="prediction"),
        fit.predict(data, re=re, interval="prediction", uncertainty="fixef").drop(columns="sd_given_theta"),
    )


@pytest.mark.parametrize("case", [SLEEP, CROSSED, NESTED], ids=lambda c: c[1])
def test_many_rows_are_read_from_blocks(case, monkeypatch):
    """The same numbers where nothing of rows by effects is made, but for rows whose levels never met."""
    fit = fit_of(*case)
    at, d = fit.likelihood.at(fit.estimates.theta), fit.spec
    rng = np.random.default_rng(1)
    codes = [rng.permutation(g.codes) for g in d.groupings]
    arguments = (at, d.design.X, codes, [g.Z for g in d.groupings], range(len(d.groupings)))
    few = combination_variances(*arguments)
    monkeypatch.setattr(prediction_covariances, "CHUNK_ENTRIES", 700)
    np.testing.assert_allclose(combination_variances(*arguments), few, rtol=1e-9)


@pytest.mark.parametrize("case", [PULP, SLEEP, CROSSED], ids=lambda c: c[1])
@pytest.mark.parametrize("interval", ["confidence", "prediction"])
def test_corrected_is_the_delta_method(case, interval):
    """Slopes of prediction and variance in (θ, σ) from the dense model, and the covariance that the fit tells."""
    fit = fit_of(*case)
    data = new_rows(*case)
    cov = fit.vcov_theta().to_numpy()
    here = np.append(fit.estimates.theta, fit.sigma)

    def of(x):
        at, X, Z, unseen = parts(fit, data, "all", x[:-1], x[-1])
        own = variances(at, X, Z)[1] + (unseen + x[-1] ** 2 if interval == "prediction" else 0.0)
        return np.stack([X @ at.beta + Z @ np.concatenate([b.ravel() for b in at.b]), own])

    slopes = oracle.jacobian(of, here)
    moved, spread = np.einsum("rma,ab,rmb->rm", slopes, cov, slopes)
    variance = of(here)[1]
    df = 2 * variance**2 / spread
    half = scipy.stats.t.ppf(0.975, df) * np.sqrt(variance + 2 * moved)
    found = fit.predict(data, interval=interval, uncertainty="corrected")
    np.testing.assert_allclose(found["sd_corrected"], np.sqrt(variance + 2 * moved), rtol=1e-4)
    np.testing.assert_allclose((found["upper"] - found["lower"]) / 2, half, rtol=1e-4)


def test_of_fixed_effects_alone_corrected_is_satterthwaite():
    """In a balanced design β̂ does not move with θ̂, and the interval of the mean is that of the coefficient."""
    fit = fit_of(*PULP)
    found = fit.predict({"operator": ["a"]}, re="none", interval="confidence", uncertainty="corrected")
    expected = fit.confint(ddf="satterthwaite").loc["Intercept"]
    np.testing.assert_allclose(found[["lower", "upper"]].iloc[0], expected, rtol=1e-6)


def test_corrected_counts_parameters_of_residuals():
    data = ranef.datasets.load("Machines")
    model = ranef.Model("score ~ Machine + (1 | Worker)", data, variance=ranef.VarIdent("Machine"))
    fit, rows = model.fit(), data.groupby("Machine", observed=True).head(1)
    found = fit.predict(rows, interval="prediction", uncertainty="corrected")
    plain = fit.predict(rows, interval="prediction", uncertainty="fixef")
    assert (found["sd_corrected"] > plain["sd_given_theta"]).all()
    half = (found["upper"] - found["lower"]) / 2 / found["sd_corrected"]
    df = 1 / scipy.optimize.brentq(lambda v: scipy.stats.t.ppf(0.975, 1 / v) - half.iloc[0], 1e-4, 0.5)
    assert 5 < df < 54  # the rows of one machine are 18, and the first machine's residuals have their own variance
    with pytest.raises(ranef.NotAvailableError, match="'corrected' is"):
        fit.predict(rows, interval="prediction", uncertainty="bootstrap")


def test_bootstrap_is_a_mixture():
    fit = fit_of(*PULP)
    data = {"operator": ["a", "nobody"]}
    found = fit.predict(data, interval="prediction", uncertainty="bootstrap", n=60, seed=5)
    same = fit.predict(data, interval="prediction", uncertainty="bootstrap", n=60, seed=5)
    pd.testing.assert_frame_equal(found, same)
    rng = np.random.default_rng(5)
    drawn = estimate_draws(fit.likelihood, fit.estimates, 60, int(rng.integers(2**32)))
    means, sds = [], []
    for theta, sigma in zip(drawn.theta, drawn.sigma, strict=True):
        at, X, Z, unseen = parts(fit, data, "all", theta, sigma)
        means.append(X @ at.beta + Z @ at.b[0].ravel())
        sds.append(np.sqrt(variances(at, X, Z)[1] + unseen + sigma**2))
    below = scipy.stats.norm.cdf(found["lower"].to_numpy(), means, sds).mean(axis=0)
    above = scipy.stats.norm.sf(found["upper"].to_numpy(), means, sds).mean(axis=0)
    np.testing.assert_allclose([below, above], 0.025, atol=1e-7)


def test_errors_of_prediction_are_those_of_simulated_data():
    """At known (θ, σ), over data sets and effects drawn together: the variance of xᵀβ̂ + zᵀb̂ less what was true."""
    fit = fit_of(*SLEEP)
    spec, rng = fit.spec, np.random.default_rng(2)
    at, X, Z, _ = parts(fit, ranef.datasets.load("sleepstudy").iloc[[0, 9, 55]], "all")
    n = 20_000
    b = np.linalg.cholesky(at.sigma**2 * at.all_D + 1e-9 * np.eye(len(at.all_D))) @ rng.normal(size=(len(at.all_D), n))
    y = (at.X @ at.beta)[:, None] + at.all_Z @ b + at.sigma * rng.normal(size=(spec.n_obs, n))
    error = X @ (at.A @ y) + Z @ (at.all_D @ at.all_Z.T @ at.P @ y) - (X @ at.beta)[:, None] - Z @ b
    rows = ranef.datasets.load("sleepstudy").iloc[[0, 9, 55]]
    found = fit.predict(rows, interval="confidence", uncertainty="fixef")["sd_given_theta"]
    np.testing.assert_allclose(error.std(axis=1), found, rtol=4 / np.sqrt(2 * n))  # Monte Carlo error


@pytest.fixture(scope="module")
def posterior():
    model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    priors = {"Days": ranef.priors.Normal(8.0, 1.5)}
    return model.sample(draws=300, warmup=300, seed=1, priors=priors, sampler="nutpie", progress=False)


def test_layers_of_a_posterior(posterior):
    """Moments given (θ, σ) and the priors of β by the dense model, and the law of total variance."""
    rows = ranef.datasets.load("sleepstudy").iloc[[0, 9, 55]]
    asked = {"data": rows, "interval": "confidence", "n": 40}
    plugin, fixef, whole = (posterior.predict(**asked, uncertainty=u) for u in ("plugin", "fixef", "posterior"))
    assert [f.columns[1] for f in (plugin, fixef, whole)] == ["sd_given_theta_fixef", "sd_given_theta", "sd"]
    pd.testing.assert_frame_equal(whole.drop(columns="sd"), posterior.predict(rows, interval="confidence"))
    draws, spec = posterior.draws, posterior.spec
    chosen = np.linspace(0, draws.sigma.size - 1, 40).round().astype(int)
    theta, sigma = draws.theta.reshape(-1, 3)[chosen], draws.sigma.ravel()[chosen]
    C, kinds = draws.priors.coordinates(spec.design.fixed_names)
    prior = oracle.NormalPrior(
        C,
        np.array([getattr(k, "loc", 0.0) for k in kinds]),
        np.array([getattr(k, "scale", np.inf) for k in kinds]) ** -2.0,
    )
    given, all_of_it, means = [], [], []
    for t, s in zip(theta, sigma, strict=True):
        at, X, Z, _ = parts(posterior, rows, "all", t, float(s))
        mean, cov = oracle.posterior(at, prior)
        both = np.hstack([X, Z])
        given.append(variances(at, X, Z)[0])
        all_of_it.append(np.einsum("ij,jk,ik->i", both, cov, both))
        means.append(both @ mean)
    np.testing.assert_allclose(plugin["sd_given_theta_fixef"] ** 2, np.mean(given, axis=0), rtol=1e-6)
    np.testing.assert_allclose(fixef["sd_given_theta"] ** 2, np.mean(all_of_it, axis=0), rtol=1e-6)
    total = np.mean(all_of_it, axis=0) + np.var(means, axis=0)
    np.testing.assert_allclose(whole["sd"] ** 2, total, rtol=0.25)  # forty draws, and 1200


def test_layers_of_both_engines_agree(posterior):
    """With a prior that says little, layers of the posterior are near those at the REML estimate."""
    rows = ranef.datasets.load("sleepstudy").iloc[[0, 9, 55]]
    eb = fit_of(*SLEEP)
    for interval in ("confidence", "prediction"):
        for ours, theirs in (("plugin", "plugin"), ("corrected", "posterior"), ("bootstrap", "posterior")):
            a = eb.predict(rows, interval=interval, uncertainty=ours, seed=1).iloc[:, 1]
            b = posterior.predict(rows, interval=interval, uncertainty=theirs, n=100, seed=1).iloc[:, 1]
            np.testing.assert_allclose(a, b, rtol=0.15)


def test_side_by_side(posterior):
    both = ranef.compare(fit_of(*SLEEP), posterior)
    rows = ranef.datasets.load("sleepstudy").iloc[:3]
    found = both.predictions(rows, uncertainty="corrected")
    expected = fit_of(*SLEEP).predict(rows, interval="confidence", uncertainty="corrected")
    np.testing.assert_array_equal(found["eb_lower"], expected["lower"])
    np.testing.assert_array_equal(found["fb_lower"], posterior.predict(rows, interval="confidence")["lower"])


def test_refusals(posterior):
    fit = fit_of(*PULP)
    with pytest.raises(ranef.DesignError, match="give interval="):
        fit.predict(uncertainty="plugin")
    with pytest.raises(ranef.DesignError, match="'everything' must be 'plugin', 'fixef'"):
        fit.predict(interval="confidence", uncertainty="everything")
    with pytest.raises(ranef.DesignError, match="is what Model"):
        fit.predict(interval="confidence", uncertainty="posterior")
    with pytest.raises(ranef.DesignError, match="is of estimates"):
        posterior.predict(interval="confidence", uncertainty="corrected")
    student = posterior.predict(interval="confidence", uncertainty="posterior")
    assert (student["sd"] > 0).all()
