"""The three parts of Var(b | y) against dense algebra at every draw, and against draws of b."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import oracle
import ranef
from _ranef.comparison import decomposition_frame, split_variances
from _ranef.inference import given_draws, thinned
from _ranef.likelihood import fixed_part
from _ranef.likelihood.effects_given_draws import _of_factors, _of_one_factor
from _ranef.posterior.problem import Hyper, draw_effects, prepare
from _ranef.results import PosteriorDraws
from _ranef.spec import Normal
from ranef.priors import R2D2, StudentT

FORMULAS = {
    "one": "y ~ x + (1 | g)",
    "slopes": "y ~ x + (x | g)",
    "diagonal": "y ~ x + diag(x | g)",
    "no fixed": "y ~ 0 + (x | g)",
    "crossed": "y ~ x + (x | g) + (1 | h)",
    "nested": "y ~ x + (1 | h / k)",
    "three": "y ~ x + (1 | g) + (x | h) + (1 | k)",
}

PRIORS = {"default": None, "flat": "flat", "sampled": {"x": StudentT(4, 0, 0.5)}, "global": {"fixef": R2D2(mean=0.4)}}


LEVELS = {"g": 7, "h": 5, "k": 3}


def data(n=60, seed=3):
    rng = np.random.default_rng(seed)
    codes = {name: np.concatenate([np.arange(J), rng.integers(0, J, n - J)]) for name, J in LEVELS.items()}
    x = rng.normal(2.0, 1.5, n)
    y = 5.0 + 0.7 * x + rng.normal(size=7)[codes["g"]] + rng.normal(size=5)[codes["h"]] + rng.normal(size=n)
    columns = {"y": y, "x": x, "w": rng.uniform(0.5, 2.0, n), "o": rng.normal(size=n)}
    return pd.DataFrame(columns | {name: c.astype(str) for name, c in codes.items()})


def made(formula, priors=None, S=6, seed=0, **extras):
    """A model with hyperparameters that are drawn anyhow."""
    model = ranef.Model(formula, data(), **extras)
    spec, rng = model.spec, np.random.default_rng(seed)
    theta = rng.normal(0.0, 0.7, (2, S // 2, spec.n_theta))
    for t in spec.terms:
        diagonal = np.array(t.structure.on_diagonal)
        theta[..., t.theta] = np.where(diagonal, np.abs(theta[..., t.theta]) + 0.05, theta[..., t.theta])
    own = model.priors(priors)
    shape = theta.shape[:2]
    more = {"R2": rng.uniform(0.2, 0.7, shape), "phi": np.ones((*shape, 1))} if own.r2d2 is not None else {}
    sigma, beta = rng.uniform(0.5, 1.5, shape), rng.normal(size=(*shape, spec.n_fixed))
    b = tuple(np.zeros((*shape, g.n_levels, len(g.columns))) for g in spec.groupings)
    draws = PosteriorDraws(
        theta, sigma, beta, b, {}, "marginal", own, seed, 0, 0.0, complete=True, family="gaussian", extras=more
    )
    return model, draws


def dense(spec, draws, s):
    """Mean, variances given β and variances of b at draw `s`, by the oracle."""
    d, priors = spec.design, draws.priors
    theta, sigma = draws.theta.reshape(-1, spec.n_theta)[s], draws.sigma.ravel()[s]
    C = np.eye(spec.n_fixed)
    if d.has_intercept:
        C[0, 1:] = d.X[:, 1:].mean(axis=0)
    X, c = d.X @ np.linalg.inv(C), C @ draws.beta.reshape(draws.sigma.size, -1)[s]
    loc, precision, free = np.zeros(len(c)), np.zeros(len(c)), np.ones(len(c), dtype=bool)
    for i, (name, prior) in enumerate(priors.fixef.items()):
        if priors.r2d2 is not None and name != "Intercept":
            R2, spread = draws.extras["R2"].ravel()[s], d.X[:, i].std(ddof=0)
            precision[i] = spread**2 / (R2 / (1 - R2) * draws.extras["phi"].reshape(-1, 1)[s, 0] * sigma**2)
        elif isinstance(prior, Normal):
            loc[i], precision[i] = prior.loc, prior.scale**-2.0
        else:
            free[i] = priors.flat
    at = oracle.dense(spec, theta, "ML", sigma)
    at = replace(at, y=at.y - X[:, ~free] @ c[~free], X=X[:, free])
    mean, cov = oracle.posterior(at, oracle.NormalPrior(np.eye(free.sum()), loc[free], precision[free]))
    k = free.sum()
    return mean[k:], np.concatenate([np.diag(given) for given in at.cov_b]), np.diag(cov)[k:]


WITH_PRIORS = [(case, priors) for case in FORMULAS for priors in PRIORS if case != "no fixed" or priors == "default"]


@pytest.mark.parametrize(("case", "priors"), WITH_PRIORS)
def test_parts_are_those_of_dense_algebra(case, priors):
    check(*made(FORMULAS[case], PRIORS[priors]))


@pytest.mark.parametrize("case", ["slopes", "crossed"])
def test_weights_and_offset_count(case):
    check(*made(FORMULAS[case], weights="w", offset="o"))


def check(model, draws):
    spec = model.spec
    split = split_variances(spec, draws, draws.sigma.size, model.products)
    every = [dense(spec, draws, s) for s in range(draws.sigma.size)]
    mean, given, whole = (np.array(x) for x in zip(*every, strict=True))
    for found, wanted in (
        ([p.mean for p in split], mean.mean(axis=0)),
        ([p.given_theta_beta for p in split], given.mean(axis=0)),
        ([p.beta for p in split], (whole - given).mean(axis=0)),
        ([p.theta for p in split], mean.var(axis=0, ddof=1)),
        ([p.total for p in split], whole.mean(axis=0) + mean.var(axis=0, ddof=1)),
    ):
        np.testing.assert_allclose(np.concatenate([f.ravel() for f in found]), wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("priors", PRIORS)
@pytest.mark.parametrize("case", ["one", "slopes", "diagonal"])
def test_many_draws_at_once_are_one_at_a_time(case, priors):
    model, draws = made(FORMULAS[case], PRIORS[priors])
    fixed = fixed_part(model.spec, model.products, draws.priors)
    given = given_draws(model.spec, draws, fixed).only(np.arange(6))
    together = _of_one_factor(model.spec, model.products, fixed, given)
    single = [_of_factors(model.spec, model.products, fixed, given.only(np.array([s])))[0] for s in range(6)]
    for i in range(3):
        np.testing.assert_allclose(together[i], np.concatenate([m[i] for m in single]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ["slopes", "crossed"])
def test_law_of_total_variance_against_draws_of_b(case):
    """Exact draws of b given 8000 (θ, σ): mean and variance agree to their Monte-Carlo error, by batches."""
    model, draws = made(FORMULAS[case], S=8_000)
    problem = prepare(model.spec, model.products, draws.priors)
    none = np.zeros((*draws.sigma.shape, 0))
    _, b = draw_effects(problem, Hyper(draws.theta, draws.sigma, none, {}), np.random.default_rng(1))
    split = split_variances(model.spec, draws, 800, model.products)
    for part, own in zip(split, b, strict=True):
        batches = own.reshape(40, -1, *own.shape[2:])
        for found, values in ((part.mean, batches.mean(axis=1)), (part.total, batches.var(axis=1, ddof=1))):
            error = values.std(axis=0, ddof=1) / np.sqrt(40)
            error = error * np.sqrt(1 + 10)  # the split is of a tenth of the draws, and noisy itself
            assert (np.abs(values.mean(axis=0) - found) < 4.5 * error).all()


def test_one_value_of_theta_leaves_the_plug_in_of_henderson():
    """All draws at REML's (θ̂, σ̂) under flat priors: the parts are condVar, what β̂ adds to it, and nothing."""
    model = ranef.Model("strength ~ 1 + (1 | batch/cask)", ranef.datasets.load("pastes"))
    eb = model.fit()
    shape = (1, 3)
    draws = PosteriorDraws(
        np.tile(eb.estimates.theta, (*shape, 1)),
        np.full(shape, eb.sigma),
        np.tile(eb.estimates.beta, (*shape, 1)),
        tuple(np.zeros((*shape, *m.values.shape)) for m in eb.estimates.modes),
        {},
        "marginal",
        model.priors("flat"),
        0,
        0,
        0.0,
        complete=True,
    )
    frame = decomposition_frame(model.spec, split_variances(model.spec, draws, 3), eb.estimates.modes)
    np.testing.assert_allclose(frame["given_theta_beta"], frame["plug_in"], rtol=1e-8)
    np.testing.assert_allclose(frame["total"], frame["plug_in_beta"], rtol=1e-8)
    np.testing.assert_allclose(frame["theta"], 0.0, atol=1e-12)
    np.testing.assert_allclose(frame["beta_share"], 1.0)
    np.testing.assert_allclose(frame["left_out"], 1 - np.sqrt(frame["plug_in"] / frame["total"]))
    assert frame["group"].value_counts().to_dict() == {"cask:batch": 30, "batch": 10}


def test_a_zero_variance_leaves_nothing():
    model, draws = made(FORMULAS["slopes"])
    split = split_variances(model.spec, replace(draws, theta=0 * draws.theta), 6)
    assert (split[0].total == 0).all()
    frame = decomposition_frame(model.spec, split, model.fit().estimates.modes)
    assert frame["left_out"].isna().all()


def test_units_of_the_response():
    """Var(1000 b) is a million times Var(b)."""
    table = data()
    parts = []
    for unit in (1.0, 1000.0):
        model = ranef.Model(FORMULAS["crossed"], table.assign(y=unit * table["y"] + 1e5 * (unit - 1)))
        _, draws = made(FORMULAS["crossed"])
        scaled = replace(draws, sigma=unit * draws.sigma, priors=model.priors())
        parts.append(split_variances(model.spec, scaled, 6))
    for small, large in zip(*parts, strict=True):
        np.testing.assert_allclose(large.total, 1e6 * small.total, rtol=1e-6)
        np.testing.assert_allclose(large.beta, 1e6 * small.beta, rtol=1e-6)


def test_what_has_no_closed_form_is_refused():
    model, draws = made(FORMULAS["one"])
    student = replace(draws, family="student", extras={"nu": np.full((2, 3), 4.0)})
    with pytest.raises(ranef.FitError, match=r"Student t in this model: the response\."):
        split_variances(model.spec, student, 6)
    heavy = replace(draws, priors=model.priors({"ranef": StudentT(4)}))
    with pytest.raises(ranef.FitError, match="the random effects of g"):
        split_variances(model.spec, heavy, 6)


def test_thinned_draws_span_all():
    assert thinned(1000, 5).tolist() == [0, 250, 500, 749, 999]
    assert thinned(3, 200).tolist() == [0, 1, 2]
    with pytest.raises(ranef.DesignError, match="draws=1 of 3 are too few"):
        thinned(3, 1)
