"""What is read off a posterior under changes that must not matter: its draws answer alike for the changed model.

That the posteriors themselves are the same is tests/nuts/test_changes.py. No number here is of Monte Carlo: both fits
hold the same draws, written for two ways to write one model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import ranef
import transformations as tr
from _ranef.inference import covariance_draws, mean_inverse_weight
from edges.test_changes import NOTHING, REGISTERED, WEIGHTED, case_of
from transformations import Array, Back

pytestmark = [
    pytest.mark.filterwarnings("ignore::_ranef.errors.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Pareto k is above:_ranef.errors.RanefWarning"),
]

#: in units of their own; conditional moments are solved for on internal scales that are the same to rounding
CLOSE = 2e-5

QUICK = ["weighted slope", "sleep_weights", "oats"]
OTHERS = [name for name in (*WEIGHTED, *REGISTERED) if name not in QUICK]


@cache
def plain(name: str) -> tuple[ranef.EmpiricalBayesFit, ranef.PosteriorFit]:
    model = case_of(name).model()
    return model.fit(), model.sample(60, chains=2, seed=1, sampler="nutpie", progress=False)


def carried(fb: ranef.PosteriorFit, model: ranef.Model, back: Back) -> ranef.PosteriorFit:
    """The same posterior, its draws those of the changed model."""
    d, spec = fb.draws, model.spec
    sigma = d.sigma * abs(back.unit) * np.sqrt(back.weight)
    covs, effects = [np.zeros(0)] * len(spec.groupings), [np.zeros(0)] * len(spec.groupings)
    old = covariance_draws(fb.spec, d)
    for place, at, K, cov, b in zip(back.groupings, back.levels, back.random, old, d.b, strict=True):
        inverse = np.linalg.inv(K)
        covs[place] = back.unit**2 * inverse @ cov @ inverse.T
        effects[place] = np.empty_like(b)
        effects[place][..., at, :] = back.unit * b @ inverse.T
    theta = np.empty((*sigma.shape, spec.n_theta))
    for t in spec.terms:
        own = covs[t.grouping][..., t.where, t.where] / sigma[..., None, None] ** 2
        free = t.structure.word == "us"
        roots = np.linalg.cholesky(own) if free else np.sqrt(own * np.eye(t.structure.size))
        for draw in np.ndindex(sigma.shape):
            theta[(*draw, t.theta)] = t.structure.closest(roots[draw])
    beta = np.linalg.solve(back.fixed, (back.unit * d.beta + back.shift * back.constant)[..., None])[..., 0]
    record = replace(d, theta=theta, sigma=sigma, beta=beta, b=tuple(effects), priors=model.priors())
    return ranef.PosteriorFit(spec, record)


def answers(eb: ranef.EmpiricalBayesFit, fb: ranef.PosteriorFit, new: object, back: Back) -> dict[str, Array]:
    """What a posterior answers alone and beside REML, on the scale of the plain model."""
    n, unit = fb.spec.n_obs, abs(back.unit)
    both = ranef.compare(eb, fb)
    out = {
        "fixef": back.beta(fb.fixef),
        "fitted": back.response(fb.fitted()),
        "residuals": back.differences(fb.residuals()),
        "r2": fb.r2().to_numpy(),
        "icc": fb.icc()[["adjusted", "unadjusted"]].to_numpy()[[*back.groupings, -1]],
        "elpd": np.asarray(fb.loo().elpd + n * np.log(unit)),
        "predictions": np.sort(back.response(both.predictions().to_numpy().T), axis=0),
    }
    for interval in ("confidence", "prediction"):
        if interval == "prediction" and ((np.diff(back.rows) != 1).any() or back.unit < 0):
            continue  # noise of given numbers falls on other rows
        for what, rows in {"the rows used": None, "new rows": new}.items():
            found = fb.predict(rows, interval=interval, seed=3).to_numpy().T
            there = back.response(found) if rows is None else (found - back.shift) / back.unit
            out[f"{interval} interval of {what}"] = np.sort(there, axis=0)
    if all(((K != 0).sum(axis=0) == 1).all() for K in (*back.random, back.fixed)):
        out |= by_column(both, ranef.pooling(eb, fb), fb, unit)
    return out


def by_column(both: ranef.Comparison, pooled: ranef.Pooling, fb: ranef.PosteriorFit, unit: float) -> dict[str, Array]:
    """Answers that belong to one column each, sizes without a sign, in order of size: units and names may change."""
    sizes = {"weighing": both.agreement[["difference_in_sd", "overlap", "width_ratio"]]}
    decomposed = both.decomposition
    parts = ["given_theta_beta", "beta", "theta", "plug_in", "plug_in_beta"]
    sizes["decomposition"] = decomposed[parts].div(decomposed["total"], axis=0)
    sizes["reliability"] = pooled.frame.filter(like="reliability")
    sizes["ratios"] = both.random_effects[["sd_ratio"]]
    sizes["path"] = pooled.at(scale=0.5).frame[["reliability"]]
    sizes["sensitivity"] = fb.prior_sensitivity()[["prior"]]  # that to the likelihood reads what the sampler recorded
    return {name: np.sort(np.abs(frame.to_numpy(dtype=float)), axis=0) for name, frame in sizes.items()}


def assert_unchanged(name: str) -> None:
    case = case_of(name)
    eb, fb = plain(name)
    noise = eb.sigma * np.sqrt(mean_inverse_weight(eb.spec))
    units = {"fixef": np.sqrt(np.diag(eb.vcov)), "r2": 1.0, "icc": 1.0, "elpd": 1.0}
    index = eb.spec.design.index
    expected = answers(eb, fb, case.data.loc[index], NOTHING.back(case, case))
    tried = 0
    for change, changed, back in tr.pairs(case):
        model = changed.model()
        for what, ours in answers(model.fit(), carried(fb, model, back), changed.data.loc[index], back).items():
            if what in expected:
                unit = units.get(what, noise if "fit" in what or "residuals" in what or "predict" in what else 1.0)
                unit = noise if "interval" in what else unit
                theirs = expected[what]
                endless = np.isinf(theirs)  # ratios over a standard deviation of zero
                np.testing.assert_array_equal(ours[endless], theirs[endless], f"{what}, {change}")
                finite = np.subtract(ours, theirs, where=~endless, out=np.zeros_like(theirs))
                apart = np.nanmax(np.abs(finite / unit), initial=0.0)
                assert apart < CLOSE, f"{what} changes with {change}: {apart:.2g}"
        tried += 1
    assert tried >= 8


@pytest.mark.parametrize("name", QUICK)
def test_changes_that_must_not_matter_to_a_posterior(name):
    assert_unchanged(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_changes_that_must_not_matter_to_posteriors_of_other_designs(name):
    assert_unchanged(name)
