"""Weighted draws whose tails are heavier than the posterior's, for expectations under posteriors of less data."""

from __future__ import annotations

import numpy as np
import scipy

from _ranef.posterior.modes import laplace
from _ranef.posterior.problem import draw_effects, hyper_draws, prepare
from _ranef.posterior.start import start_vector
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec, Priors
from _ranef.support.arrays import Floats

__all__ = ["wide_draws"]

#: degrees of freedom and scale of the proposal, in whitened coordinates around the posterior mode
DF, SPREAD = 2.0, 2.0

#: draws less probable than the best by this factor's logarithm are left out: no posterior of less data would want them
HOPELESS = 100.0

#: effects larger than this against a row's noise leave nothing of it in double precision
LARGEST = 1e5

#: fewer draws than this in reach of the posterior mean that its mode was not found
FEWEST = 500

#: more parameters than these are too many for importance sampling
MOST_PARAMETERS = 12


def wide_draws(spec: ModelSpec, priors: Priors, n: int, seed: int) -> tuple[PosteriorDraws, Floats] | None:
    """Draws of (θ, σ, ρ) from a multivariate t around the posterior mode, β and b given them, and log weights (1, n).

    The weights, posterior over proposal density, are not normalised. None where the model is not one of few sampled
    parameters whose density the compiled loops can compute.
    """
    problem = prepare(spec, None, priors)
    d = problem.layout.n_hyper
    if priors.effects or not (problem.layout.plain and problem.compiled and 0 < d <= MOST_PARAMETERS):
        return None
    at, rng = laplace(problem.gradient, start_vector(problem, None)), np.random.default_rng(seed)
    w = SPREAD * rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(DF, (n, 1)) / DF)
    flat = at.centre + w @ at.root.T
    log_proposal = -0.5 * (DF + d) * np.log1p((w**2).sum(axis=1) / (SPREAD**2 * DF))
    log_proposal += (
        scipy.special.gammaln(0.5 * (DF + d))
        - scipy.special.gammaln(0.5 * DF)
        - 0.5 * d * np.log(DF * np.pi * SPREAD**2)
    )
    gradient = problem.gradient
    log_posterior = np.array([gradient(q)[0] for q in flat])
    relative = np.abs(hyper_draws(problem, flat).theta @ problem.fill.T).max(axis=1, initial=0.0)
    keep = (log_posterior > np.nanmax(log_posterior) - HOPELESS) & (relative < LARGEST)
    if keep.sum() < FEWEST:
        return None
    hyper = hyper_draws(problem, flat[keep][None])
    beta, b = draw_effects(problem, hyper, rng)
    draws = PosteriorDraws(
        theta=hyper.theta,
        sigma=hyper.sigma,
        beta=beta,
        b=b,
        sample_stats={},
        parameterization="marginal",
        priors=priors,
        seed=seed,
        warmup=0,
        seconds=0.0,
        complete=True,
        sampler="importance",
        extras=hyper.extras,
    )
    return draws, (log_posterior - log_proposal)[keep][None]
