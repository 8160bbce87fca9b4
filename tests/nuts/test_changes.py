"""The default posterior under changes that must not matter, as a density: exact, with no sampling.

For one model written two ways, the density of (Σ, σ) given y differs by a constant: differences of log densities
between points are compared. The prior of β is compared by its mean and covariance.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import registry
from _ranef.nuts import log_density
from edges.made import made
from transformations import CHANGES, Case

#: rows up to which a design of the registry is tried
SMALL = 500

#: condition number of a covariance matrix of which the smallest directions are not lost
WORST = 1e14

QUICK = [
    "year",
    "factor",
    "factor and slope",
    "products",
    "two levels",
    "threes added",
    "slopes by level",
    "sleep_rs",
    "machines_factor",
    "cake_main",
]


def _years(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = made(seed)
    year, two = rng.integers(2000, 2011, len(frame)).astype(float), rng.integers(0, 2, len(frame)).astype(float)
    h = [f"h{code}" for code in rng.permutation(np.arange(len(frame)) % 3)]
    return frame.assign(year=year, two=two, h=h, w=np.exp(rng.normal(size=len(frame))))


def _own() -> dict[str, Case]:
    frame = _years(3)
    formulas = {
        "year": "y ~ year + (year | a)",
        "factor": "y ~ f + (f | a)",
        "factor and slope": "y ~ f * year + (f * year | a)",
        "products": "y ~ x * year + (x * year | a)",
        "powers": "y ~ year + I(year^2) + (year + I(year^2) | a)",
        "two levels": "y ~ c + (c | a)",
        "two levels and slope": "y ~ c * year + (c * year | a)",
        "cells of two and three": "y ~ c * f + (c * f | a)",
        "three and two added": "y ~ c + f + (c + f | a)",
        "threes added": "y ~ f + h + (f + h | a)",
        "threes added, slopes in one": "y ~ f + h + year + (f + h + f:year | a)",
        "slopes by level": "y ~ f * year + (1 | a)",
        "slopes by level in products": "y ~ f * h * year + x + (1 | a)",
        "two values": "y ~ two + (two | a)",
        "slopes alone": "y ~ year + (0 + year | a)",
        "diagonal": "y ~ year + diag(year | a)",
    }
    return {name: Case(formula, frame, {"weights": "w"}) for name, formula in formulas.items()}


OWN = _own()


@cache
def case_of(name: str) -> Case:
    return OWN[name] if name in OWN else Case.registered(name)


def log_law(model, covs, sigma: float) -> float:
    """Log density of (Σ, log σ) given y at Σ_k (p_k, p_k), but for a constant."""
    spec, priors = model.spec, model.priors()
    theta, out = np.empty(spec.n_theta), 0.0
    for t in spec.terms:
        cov = covs[t.grouping][t.where, t.where]
        theta[t.theta] = t.structure.closest(np.linalg.cholesky(cov) / sigma)
        T = np.linalg.inv(priors.term(t).outward)
        own = T @ cov @ T.T
        sds = np.sqrt(np.diag(own))
        families = priors.sds(t)
        p = len(sds) if t.structure.word == "us" else 1
        for sd, prior in zip(sds, families, strict=False):
            out += stats.t.logpdf(sd, prior.df, scale=prior.scale) - p * np.log(sd)
        if t.structure.word == "us" and p > 1:
            (eta,) = {prior.eta for prior in priors.corr.values()}
            out += (eta - 1.0) * np.linalg.slogdet(own / np.outer(sds, sds))[1]
    if spec.sigma is None:
        out += stats.t.logpdf(sigma, priors.sigma.df, scale=priors.sigma.scale) + np.log(sigma)
    return out + log_density(spec, model.products, priors)(theta, sigma)


def points(model, rng: np.random.Generator):
    """Three points (Σ by grouping, σ), on the scale of the data."""
    spec, s = model.spec, model.products.scaling.y
    for _ in range(3):
        covs = [np.zeros((len(g.columns),) * 2) for g in spec.groupings]
        for t in spec.terms:
            sizes = model.priors().term(t).sizes
            root = rng.normal(size=(len(sizes), len(sizes) + 2))
            if t.structure.word != "us":
                root = np.diag(np.full(len(sizes), rng.normal()) if t.structure.word == "ident" else root[:, 0])
                sizes = np.ones_like(sizes) if t.structure.word == "ident" else sizes
            T = model.priors().term(t).outward @ np.diag(s / sizes) @ root
            covs[t.grouping][t.where, t.where] = T @ T.T
        yield covs, spec.sigma or s * np.exp(0.3 * rng.normal())


def moved(back, covs, sigma: float):
    """Σ_k and σ of the changed model."""
    out = [np.zeros((0, 0))] * len(covs)
    for K, cov, place in zip(back.random, covs, back.groupings, strict=True):
        out[place] = back.unit**2 * np.linalg.solve(K, np.linalg.solve(K, cov).T).T
    return out, sigma * abs(back.unit) * np.sqrt(back.weight)


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow)
        for n in (*OWN, *(n for n in registry.BUNDLED if n in registry.FITTED and registry.rows_of(n) <= SMALL))
    ],
)
def test_the_default_posterior_does_not_change(name, change):
    case = case_of(name)
    changed = change.apply(case)
    back = None if changed is None else change.back(case, changed)
    if back is None:
        pytest.skip("there is nothing to change, or it is another model")
    plain, other = case.model(), changed.model()
    at = list(points(plain, np.random.default_rng(5)))
    worst = max(np.linalg.cond(cov) for point in at for cov in moved(back, *point)[0])
    if worst > WORST:
        pytest.skip("double precision cannot hold D in the columns of the changed model")
    if plain.spec.design.dropped and change.name == "order of terms":
        pytest.skip("the term that comes last loses the column that two terms share, and with it some of its prior")
    ours = np.array([log_law(plain, *point) for point in at])
    theirs = np.array([log_law(other, *moved(back, *point)) for point in at])
    # rounding of log densities of some hundreds, of columns far from zero, and of D in them
    np.testing.assert_allclose(np.diff(theirs), np.diff(ours), rtol=1e-6, atol=1e-5 + 1e-15 * worst)
    (C, kinds), (D, others) = (m.priors().coordinates(m.spec.design.fixed_names) for m in (plain, other))
    mean = np.linalg.solve(C, [k.loc for k in kinds])
    cov = np.linalg.inv(C) @ np.diag([k.scale**2 for k in kinds]) @ np.linalg.inv(C).T
    again = back.beta(np.linalg.solve(D, [k.loc for k in others]))
    other_cov = back.vcov(np.linalg.inv(D) @ np.diag([k.scale**2 for k in others]) @ np.linalg.inv(D).T)
    sd = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(again / sd, mean / sd, atol=1e-6)
    np.testing.assert_allclose(other_cov / np.outer(sd, sd), cov / np.outer(sd, sd), atol=1e-6)
