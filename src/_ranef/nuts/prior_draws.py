"""Draws from the priors of a model, in the shape of draws from its posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from _ranef.errors import FitError
from _ranef.posterior.layout import hyper_numbers, make_layout, theta_of
from _ranef.results import PosteriorDraws, response_fields
from _ranef.spec import (
    Cauchy,
    Custom,
    Flat,
    Gamma,
    ModelSpec,
    Normal,
    Priors,
    StudentT,
    mean_log_sds,
    outward_theta,
    rho_prior_draws,
)
from _ranef.structures import ShapeParameter
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["draw_components", "sample_prior"]


def sample_prior(
    spec: ModelSpec, priors: Priors, *, draws: int, chains: int = 1, seed: int | None = None
) -> PosteriorDraws:
    """Draw parameters and random effects from their priors.

    Raises
    ------
    FitError
        If a prior is improper: there is nothing to draw from.
    """
    _require_proper(spec, priors)
    seed = int(np.random.default_rng(seed).integers(2**31)) if seed is None else int(seed)
    rng, shape = np.random.default_rng(seed), (chains, draws)
    theta, sigma = draw_components(spec, priors, rng, shape)
    beta, extras = _beta(spec, priors, sigma, rng)
    if spec.rho_names:
        extras["rho"] = rho_prior_draws(spec, rng, shape, priors.rho)
        factor = np.exp(mean_log_sds(spec, extras["rho"]))  # σ was that of the rows' mean
        theta, sigma = spec.times(theta, factor), sigma / factor
    b = []
    for g, lam in zip(spec.groupings, spec.lambdas(theta), strict=True):
        z = rng.standard_normal((*shape, g.n_levels, len(g.columns)))
        if g.name in priors.effects:
            df = extras[f"nu_{g.name}"] = _degrees(priors.effects[g.name], rng, shape)
            z /= np.sqrt(rng.chisquare(df[..., None], (*shape, g.n_levels)) / df[..., None])[..., None]
        z = z if g.among is None else np.asarray(g.among.coloured(z), dtype=np.float64)
        b.append(sigma[..., None, None] * (z @ np.swapaxes(lam, -1, -2)))
    extras |= {name: _degrees(priors.response[name], rng, shape) for name in spec.family.parameters}
    return PosteriorDraws(
        theta=theta,
        sigma=sigma,
        beta=beta,
        b=tuple(b),
        sample_stats={},
        parameterization="prior",
        priors=priors,
        seed=seed,
        warmup=0,
        seconds=0.0,
        complete=True,
        extras=extras,
        sampler="numpy",
        **response_fields(spec.family),
    )


def draw_components(
    spec: ModelSpec, priors: Priors, rng: np.random.Generator, shape: tuple[int, ...]
) -> tuple[Floats, Floats]:
    """θ (..., n_theta) and σ (...) from their priors, which must be proper."""
    sigma = np.full(shape, spec.sigma) if spec.sigma is not None else _draw(priors.sigma, rng, shape)
    return _theta(spec, priors, sigma, rng), sigma


def _require_proper(spec: ModelSpec, priors: Priors) -> None:
    named: dict[str, Any] = {**priors.fixef, **{f"sd({c} | {g})": p for (g, c), p in priors.sd.items()}}
    if priors.flat:
        named["theta"] = Flat()
    if spec.sigma is None:
        named["sigma"] = priors.sigma
    named |= priors.shape
    flat = [name for name, p in named.items() if isinstance(p, Flat) and (priors.r2d2 is None or name == "Intercept")]
    if flat:
        raise FitError(
            f"The prior of {', '.join(flat)} is flat, so nothing can be drawn from it. Give a "
            "proper one, or leave the default."
        )


def _draw(prior: Any, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    if not isinstance(prior, Custom):
        return np.asarray(prior.sample(rng, shape))
    jax, jaxed = load("jax"), load("_ranef.nuts.jax_settings")
    with jaxed.own_settings(double=False):
        key = jax.random.key(int(rng.integers(2**31)))
        return np.asarray(prior.distribution.sample(key, shape), dtype=float)


def _coordinate(s: ShapeParameter, prior: Any, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Coordinates of a shape parameter, from what its prior has between its bounds."""
    if isinstance(prior, Normal | StudentT | Cauchy) and s.bounded:
        own = scipy.stats.norm if isinstance(prior, Normal) else scipy.stats.t(getattr(prior, "df", 1.0))
        low, high = own.cdf((np.array([s.low, s.high]) - prior.loc) / prior.scale)
        return s.coordinate(prior.loc + prior.scale * own.ppf(rng.uniform(low, high, shape)))
    return s.coordinate(_draw(prior, rng, shape))


def _degrees(df: float | Gamma, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return df.sample(rng, shape) if isinstance(df, Gamma) else np.full(shape, df)


def _theta(spec: ModelSpec, priors: Priors, sigma: Floats, rng: np.random.Generator) -> Floats:
    relative, shapes = [], []
    for t in spec.terms:
        own = zip(t.structure.shapes, priors.shapes(t), strict=True)
        shapes += [_coordinate(s, prior, rng, sigma.shape) for s, prior in own]
        relative += [_draw(prior, rng, sigma.shape) / sigma for prior in priors.sds(t)]
    vine = hyper_numbers(spec, priors)["vine"][:, 0]
    partial = [2.0 * rng.beta(a, a, sigma.shape) - 1.0 for a in vine]
    if not spec.terms:
        return np.zeros((*sigma.shape, 0))
    inner = np.moveaxis(theta_of(make_layout(spec, priors), relative, partial, shapes, np), 0, -1)
    return outward_theta(spec, priors.columns, inner)


def _beta(spec: ModelSpec, priors: Priors, sigma: Floats, rng: np.random.Generator) -> tuple[Floats, dict[str, Floats]]:
    """β (..., p), and what a global scale adds."""
    names, shape = spec.design.fixed_names, sigma.shape
    extras: dict[str, Floats] = {}
    c = np.empty((*shape, spec.n_fixed))
    governed = [i for i, n in enumerate(names) if priors.r2d2 is not None and n != "Intercept"]
    C, kinds = priors.coordinates(names)
    for i, kind in enumerate(kinds):
        if i not in governed:
            c[..., i] = _draw(kind, rng, shape)
    if priors.r2d2 is not None:
        r2 = extras["R2"] = rng.beta(*priors.r2d2.shapes, shape)
        phi = extras["phi"] = rng.dirichlet([priors.r2d2.concentration] * len(governed), shape)
        spreads = np.array([priors.spreads[names[i]] for i in governed])
        sd = (sigma * np.sqrt(r2 / (1.0 - r2)))[..., None] * np.sqrt(phi) / spreads
        c[..., governed] = sd * rng.standard_normal(sd.shape)
    return np.asarray(np.linalg.solve(C, c[..., None])[..., 0]), extras
