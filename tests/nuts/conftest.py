"""Small models of every structure, and the oracle under their priors."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import oracle
from _ranef.design import build_design, registered
from _ranef.formula import parse_formula
from _ranef.likelihood import cross_products
from _ranef.nuts import Settings, sample_posterior
from _ranef.posterior.problem import prepare
from _ranef.spec import Flat, Normal, default_priors, flat_priors, model_spec

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


def centring(spec, priors):
    """C with γ = Cβ, the coordinates that have priors; their numbers are read from the model."""
    return priors.coordinates(spec.design.fixed_names)[0]


def normal_prior(spec, priors):
    """The priors of β as the oracle wants them, flat where they are not normal."""
    families = priors.coordinates(spec.design.fixed_names)[1]
    normal = [isinstance(p, Normal) for p in families]
    loc = np.array([p.loc if known else 0.0 for p, known in zip(families, normal, strict=True)])
    precision = np.array([p.scale**-2.0 if known else 0.0 for p, known in zip(families, normal, strict=True)])
    return oracle.NormalPrior(centring(spec, priors), loc, precision)


def dense_log_density(spec, priors, theta, sigma):
    """log p(y | θ, σ): one multivariate normal, its flat coefficients integrated."""
    return oracle.log_density(oracle.dense(spec, theta, "ML", sigma), normal_prior(spec, priors))


def dense_conditional(spec, priors, theta, sigma):
    """Mean and covariance of (β, b) given (y, θ, σ)."""
    return oracle.posterior(oracle.dense(spec, theta, "ML", sigma), normal_prior(spec, priors))


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
    """The oracle under the priors of a model."""
    return SimpleNamespace(
        log_density=dense_log_density,
        conditional=dense_conditional,
        prior=normal_prior,
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
