"""Small models of every structure, and dense formulas that share nothing with the package."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ranef.design import build_design, registered
from ranef.formula import parse_formula
from ranef.likelihood import cross_products
from ranef.nuts import Settings, sample_posterior
from ranef.nuts.problem import prepare
from ranef.spec import Flat, Normal, default_priors, flat_priors, model_spec

FORMULAS = {
    "one": "y ~ x + (1 | g)",
    "slope": "y ~ x + z + (x | g)",
    "three": "y ~ x + (x + z | g)",
    "diag": "y ~ x + diag(x | g)",
    "ident": "y ~ x + ident(0 + a | g)",
    "double": "y ~ x + (x || g)",
    "crossed": "y ~ x + (x | g) + (1 | h)",
    "crossed slopes": "y ~ x + (1 | g) + (z | h) + (1 | k)",
    "nested": "y ~ x + (x | h) + (1 | h:k)",
    "no intercept": "y ~ 0 + x + (1 | g)",
    "no fixed": "y ~ 0 + (x | g)",
    "intercept only": "y ~ 1 + (1 | g) + (1 | h)",
    "no random": "y ~ x",
    "large p": "y ~ x + (x + z + poly2 + poly3 + poly4 | h)",
}


def make_data(n=72, seed=0):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(3.0, 2.0, n), rng.normal(size=n)
    g, h, k = (np.concatenate([np.arange(J), rng.integers(0, J, n - J)]) for J in (9, 5, 4))
    a = rng.integers(0, 2, n)
    y = 10.0 + 0.5 * x + rng.normal(size=9)[g] + 0.3 * rng.normal(size=9)[g] * x + rng.normal(size=5)[h]
    y += 0.8 * rng.normal(size=n)
    frame = {"y": y, "x": x, "z": z, "poly2": z**2, "poly3": np.sin(3 * z), "poly4": np.cos(3 * z)}
    frame |= {name: v.astype(str) for name, v in {"a": a, "g": g, "h": h, "k": k}.items()}
    return pd.DataFrame(frame | {"w": rng.uniform(0.5, 2.0, n), "o": rng.normal(size=n)})


def build(formula, data=None, *, sigma=None, **extras):
    parsed = parse_formula(formula, functions=registered())
    design = build_design(parsed, make_data() if data is None else data, sigma=sigma, **extras)
    return model_spec(design, sigma)


def random_theta(spec, rng, kind="random"):
    theta = rng.normal(0.0, 0.7, spec.n_theta)
    for t in spec.terms:
        diagonal = np.array(t.structure.on_diagonal)
        theta[t.theta] = np.where(diagonal, np.abs(theta[t.theta]), theta[t.theta])
    return 0.0 * theta if kind == "zero" else theta


def dense_Z(spec):
    blocks = []
    for g in spec.groupings:
        indicator = np.eye(g.n_levels)[g.codes]
        blocks.append(np.einsum("nj,np->njp", indicator, g.Z).reshape(spec.n_obs, -1))
    return blocks


def dense_pieces(spec, theta, sigma):
    """X, y without offset, Z with its covariance, and the residual covariance."""
    d = spec.design
    y = d.y - (0.0 if d.offset is None else d.offset)
    R = sigma**2 * np.diag(np.ones(spec.n_obs) if d.weights is None else 1.0 / d.weights)
    Z = np.hstack([np.zeros((spec.n_obs, 0)), *dense_Z(spec)])
    G = np.zeros((Z.shape[1],) * 2)
    start = 0
    for g, lam in zip(spec.groupings, spec.lambdas(theta), strict=True):
        size = g.n_levels * len(g.columns)
        G[start : start + size, start : start + size] = np.kron(np.eye(g.n_levels), sigma**2 * lam @ lam.T)
        start += size
    return d.X, y, Z, G, R


def centring(spec, priors):
    """C with γ = Cβ, the coordinates that have priors; their numbers are read from the model."""
    return priors.coordinates(spec.design.fixed_names)[0]


def prior_moments(spec, priors):
    """Which coordinates have proper priors, with their means and standard deviations."""
    families = priors.coordinates(spec.design.fixed_names)[1]
    proper = np.array([isinstance(p, Normal) for p in families], dtype=bool)
    loc = np.array([p.loc if isinstance(p, Normal) else 0.0 for p in families])
    scale = np.array([p.scale if isinstance(p, Normal) else 1.0 for p in families])
    return proper, loc, scale


def dense_log_density(spec, priors, theta, sigma):
    """log p(y | θ, σ): one multivariate normal, its flat coefficients integrated."""
    X, y, Z, G, R = dense_pieces(spec, theta, sigma)
    Xc = X @ np.linalg.inv(centring(spec, priors))
    proper, loc, scale = prior_moments(spec, priors)
    V = R + Z @ G @ Z.T + (Xc[:, proper] * scale[proper] ** 2) @ Xc[:, proper].T
    r, F = y - Xc[:, proper] @ loc[proper], Xc[:, ~proper]
    FVF = F.T @ np.linalg.solve(V, F)
    r = r - F @ np.linalg.solve(FVF, F.T @ np.linalg.solve(V, r))
    free = spec.n_obs - F.shape[1]
    logs = np.linalg.slogdet(V)[1] + np.linalg.slogdet(FVF)[1]
    return -0.5 * (free * np.log(2 * np.pi) + logs + r @ np.linalg.solve(V, r))


def dense_conditional(spec, priors, theta, sigma):
    """Mean and covariance of (β, b) given (y, θ, σ); every λ must be non-singular."""
    X, y, Z, G, R = dense_pieces(spec, theta, sigma)
    C = centring(spec, priors)
    proper, loc, scale = prior_moments(spec, priors)
    P = C.T @ np.diag(np.where(proper, scale**-2.0, 0.0))
    W = np.hstack([X, Z])
    precision = W.T @ np.linalg.solve(R, W)
    p = spec.n_fixed
    precision[:p, :p] += P @ C
    precision[p:, p:] += np.linalg.inv(G)
    rhs = W.T @ np.linalg.solve(R, y)
    rhs[:p] += P @ loc
    cov = np.linalg.inv(precision)
    return cov @ rhs, cov


def mixed_priors(spec):
    """Default priors, flat on every second coefficient."""
    priors = default_priors(spec)
    fixef = {n: Flat() if i % 2 else p for i, (n, p) in enumerate(priors.fixef.items())}
    return replace(priors, fixef=fixef)


PRIORS = {"default": default_priors, "flat": flat_priors, "mixed": mixed_priors}


def check_moments(draws, mean, cov):
    """Compare the sample's moments with N(mean, cov) in whitened coordinates, to Monte-Carlo error."""
    n, d = draws.shape
    white = np.linalg.solve(np.linalg.cholesky(cov), (draws - mean).T)
    limit = 4.5 + 0.3 * np.log(d)  # some thousand entries are looked at
    assert np.abs(white.mean(axis=1)).max() * np.sqrt(n) < limit
    z = (white @ white.T / n - np.eye(d)) * np.sqrt(n) / np.sqrt(1.0 + np.eye(d))
    assert np.abs(z).max() < limit


@pytest.fixture(scope="session")
def dense():
    """Dense formulas."""
    return SimpleNamespace(
        log_density=dense_log_density,
        conditional=dense_conditional,
        pieces=dense_pieces,
        centring=centring,
        theta=random_theta,
        check_moments=check_moments,
    )


def problem_of(spec, priors):
    """What all samplers share."""
    return prepare(spec, cross_products(spec), priors)


def sample(spec, priors, start=None, family="gaussian", **settings):
    """Draws with the settings given, and no progress."""
    spec = spec.with_family(family)
    return sample_posterior(spec, priors=priors, start=start, settings=Settings(progress=False, **settings))


@pytest.fixture(scope="session")
def make():
    """Make specs, data, problems and draws."""
    return SimpleNamespace(
        spec=build, data=make_data, formulas=FORMULAS, priors=PRIORS, problem=problem_of, sample=sample
    )
