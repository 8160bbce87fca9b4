"""From a spec to posterior draws: the module behind the gate, which imports jax.

All arithmetic is in double precision inside ``jax.enable_x64(True)``, so that the user's own jax settings stay as they
are.
"""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import biject_to

from ranef.arrays import Floats
from ranef.errors import FitError, RanefWarning
from ranef.likelihood import CrossProducts, cross_products
from ranef.nuts.collapsed import (
    collapsed_data,
    collapsed_model,
    draw_effects,
    fits_in_jax,
    log_likelihood,
    make_shape,
)
from ranef.nuts.hyper import HYPER_SITES, hyperparameters
from ranef.nuts.kernels import HostDensity, hosted_model
from ranef.nuts.layout import FixedPrior, Layout, fixed_prior, hyper_numbers, make_layout
from ranef.nuts.rows import row_data, row_model
from ranef.nuts.sampler import Model, Raw, run_nuts
from ranef.nuts.settings import Settings
from ranef.nuts.start import effect_positions, hyper_positions
from ranef.results import PosteriorDraws, RemlEstimates
from ranef.spec import ModelSpec, Priors

__all__ = ["log_density", "sample"]

Effects = tuple[Floats, tuple[Floats, ...]]


@dataclass(frozen=True)
class _Problem:
    """One model with everything prepared."""

    spec: ModelSpec
    products: CrossProducts
    layout: Layout
    numbers: dict[str, Floats]
    prior: FixedPrior


def _prepare(spec: ModelSpec, products: CrossProducts | None, priors: Priors) -> _Problem:
    products = cross_products(spec) if products is None else products
    layout, numbers = make_layout(spec, priors), hyper_numbers(spec, priors)
    return _Problem(spec, products, layout, numbers, fixed_prior(spec, products, priors))


def log_density(
    spec: ModelSpec, products: CrossProducts, priors: Priors, path: str | None
) -> Callable[[Floats, float], float]:
    """See :func:`ranef.nuts.log_density`."""
    problem = _prepare(spec, products, priors)
    shape, data = make_shape(products), collapsed_data(spec, products, problem.prior)
    if path == "numpy" or (path is None and not fits_in_jax(shape)):
        host = HostDensity(products, problem.prior)
        return lambda theta, sigma: float(host.value_and_gradient(data["fill"] @ theta, np.asarray(sigma))[0])
    compiled = jax.jit(partial(log_likelihood, shape))

    def density(theta: Floats, sigma: float) -> float:
        with jax.enable_x64(True):
            return float(compiled(data, jnp.asarray(theta, dtype=float), jnp.asarray(sigma, dtype=float)))

    return density


def sample(
    spec: ModelSpec,
    priors: Priors,
    settings: Settings,
    start: RemlEstimates | None,
    products: CrossProducts | None,
) -> PosteriorDraws:
    """See :func:`ranef.nuts.sample_posterior`."""
    begin = time.perf_counter()
    problem = _prepare(spec, products, priors)
    seed = secrets.randbits(31) if settings.seed is None else int(settings.seed)
    kind = "marginal" if settings.parameterization == "auto" else settings.parameterization
    run = _collapsed if kind == "marginal" else _row_level
    settings = replace(settings, parameterization=kind)
    with jax.enable_x64(True):
        raw, theta, sigma, (beta, b) = run(problem, settings, seed, start)
    if not raw.complete:
        warnings.warn(
            f"Sampling was interrupted: {sigma.shape[1]} of {settings.draws} draws of each chain are kept.",
            RanefWarning,
            stacklevel=3,
        )
    return PosteriorDraws(
        theta=theta,
        sigma=sigma,
        beta=beta,
        b=b,
        sample_stats=raw.stats,
        parameterization=kind,
        priors=priors,
        seed=seed,
        warmup=settings.warmup,
        seconds=time.perf_counter() - begin,
        complete=raw.complete,
    )


def _collapsed(
    problem: _Problem, settings: Settings, seed: int, start: RemlEstimates | None
) -> tuple[Raw, Floats, Floats, Effects]:
    shape = make_shape(problem.products)
    arrays = collapsed_data(problem.spec, problem.products, problem.prior)
    data = {"hyper": problem.numbers, "collapsed": arrays}
    in_jax = fits_in_jax(shape)
    host = HostDensity(problem.products, problem.prior)
    model = collapsed_model(problem.layout, shape) if in_jax else hosted_model(problem.layout, host)
    rng = np.random.default_rng(seed)
    positions = hyper_positions(problem.spec, problem.products, problem.layout, start, settings.chains, rng)
    raw = _run(
        model, data, positions, settings, seed, vectorized=in_jax, reusable=in_jax, interrupted=lambda: host.interrupted
    )
    theta, sigma = _theta_and_sigma(problem, raw)
    flat = theta.reshape(sigma.size, theta.shape[-1]), sigma.ravel()
    if in_jax:
        key = jax.random.fold_in(jax.random.key(seed), 1)
        internal = jax.tree.map(np.asarray, draw_effects(shape, arrays, key, *map(jnp.asarray, flat)))
    else:
        draws = [host.draw(arrays["fill"] @ t, float(s), rng) for t, s in zip(*flat, strict=True)]
        internal = np.stack([d[0] for d in draws]), tuple(map(np.stack, zip(*(d[1] for d in draws), strict=True)))
    return raw, theta, sigma, _outward(problem.products, internal, sigma.shape)


def _run(
    model: Model,
    data: Mapping[str, Any],
    positions: Mapping[str, Floats],
    settings: Settings,
    seed: int,
    **options: Any,
) -> Raw:
    if not positions:
        return _nothing_to_sample(settings)
    hyper = tuple(sorted(set(positions) & HYPER_SITES))
    key = jax.random.fold_in(jax.random.key(seed), 0)
    return run_nuts(model, data, positions, key, settings, dense=(hyper,) if hyper else (), **options)


def _nothing_to_sample(settings: Settings) -> Raw:
    """All variance parameters are known: every draw is exact and independent."""
    shape = (settings.chains, settings.draws)
    counts = {name: np.zeros(shape, dtype=int) for name in ("n_steps", "tree_depth")}
    others = {name: np.zeros(shape) for name in ("energy", "lp", "step_size")}
    stats = {"diverging": np.zeros(shape, dtype=bool), "acceptance_rate": np.ones(shape), **counts, **others}
    return Raw({}, stats, True)


def _theta_and_sigma(problem: _Problem, raw: Raw) -> tuple[Floats, Floats]:
    """θ (chains, draws, n_theta) and σ (chains, draws) of unconstrained draws."""
    shape = raw.stats["diverging"].shape

    def at(unconstrained: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        with handlers.block(), handlers.substitute(substitute_fn=_constrain(unconstrained)):
            return hyperparameters(problem.layout, problem.numbers)

    hyper = {name: jnp.asarray(v) for name, v in raw.positions.items() if name in HYPER_SITES}
    if not hyper:
        return np.zeros((*shape, 0)), np.full(shape, float(problem.numbers["sigma"]))
    theta, sigma = jax.jit(jax.vmap(jax.vmap(at)))(hyper)
    return np.asarray(theta), np.broadcast_to(np.asarray(sigma), shape).copy()


def _constrain(unconstrained: Mapping[str, jax.Array]) -> Callable[[Mapping[str, Any]], Any]:
    return lambda site: biject_to(site["fn"].support)(unconstrained[site["name"]])


def _outward(products: CrossProducts, internal: Any, shape: tuple[int, ...]) -> Effects:
    """β and b by grouping on the user's scale, from the internal one in elimination order."""
    scale = products.scaling
    beta = scale.pilot + scale.y * (internal[0] @ scale.X.T)
    b = []
    for k, T in enumerate(scale.Z):
        own = internal[1][products.order.index(k)]
        b.append((scale.y * (own @ T.T)).reshape(*shape, *own.shape[1:]))
    return beta.reshape(*shape, beta.shape[-1]), tuple(b)


def _row_level(
    problem: _Problem, settings: Settings, seed: int, start: RemlEstimates | None
) -> tuple[Raw, Floats, Floats, Effects]:
    spec, products = problem.spec, problem.products
    centered = settings.parameterization == "centered"
    model = row_model(problem.layout, tuple(g.n_levels for g in spec.groupings), centered=centered)
    rows = row_data(spec, products, problem.prior)
    rng = np.random.default_rng(seed)
    positions = {
        **hyper_positions(spec, products, problem.layout, start, settings.chains, rng),
        **effect_positions(spec, products, start, settings.chains, rng, centered=centered),
    }
    if not positions:
        raise FitError("Nothing is left to sample: the model has neither effects nor unknown variances.")
    raw = _run(model, {"hyper": problem.numbers, "rows": rows}, positions, settings, seed)
    theta, sigma = _theta_and_sigma(problem, raw)
    beta = rows["pilot"] + raw.positions["beta"] @ rows["beta_map"].T
    b = []
    for k, fill in enumerate(rows["fill"]):
        if centered:
            b.append(raw.positions[f"b{k}"])
        else:
            roots = sigma[..., None, None] * np.einsum("pqi,cdi->cdpq", fill, theta)
            b.append(raw.positions[f"z{k}"] @ np.swapaxes(roots, -1, -2))
    return raw, theta, sigma, (beta, tuple(b))
