"""The collapsed NumPyro model whose density the host computes, for designs whose dense tail is too large for JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro

from ranef.likelihood import HostDensity
from ranef.nuts.hyper import hyperparameters
from ranef.nuts.layout import Layout

__all__ = ["hosted_model"]


def _log_likelihood(host: HostDensity) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """The host's density as a differentiable JAX function of the raveled λ, σ and the sampled coefficients."""

    def call(flat: jax.Array, sigma: jax.Array, fixed: jax.Array) -> jax.Array:
        shape = jax.eval_shape(lambda: jnp.zeros(flat.shape[0] + 2 + fixed.shape[0], flat.dtype))
        both = jax.pure_callback(host.answer, shape, flat, sigma, fixed, vmap_method="sequential")
        return jnp.asarray(both)

    @jax.custom_vjp
    def log_likelihood(flat: jax.Array, sigma: jax.Array, fixed: jax.Array) -> jax.Array:
        return call(flat, sigma, fixed)[0]

    def forward(flat: jax.Array, sigma: jax.Array, fixed: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        both, n = call(flat, sigma, fixed), flat.shape[0]
        return both[0], (both[1 : n + 1], both[n + 1], both[n + 2 :])

    def reverse(slopes: tuple[jax.Array, ...], cotangent: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(cotangent * s for s in slopes)

    log_likelihood.defvjp(forward, reverse)
    return log_likelihood


def hosted_model(layout: Layout, host: HostDensity) -> Callable[[Mapping[str, Any]], None]:
    """The collapsed NumPyro model with the host's density."""
    log_likelihood = _log_likelihood(host)

    def model(data: Mapping[str, Any]) -> None:
        at = hyperparameters(layout, data["hyper"])
        numpyro.factor("marginal_likelihood", log_likelihood(data["fill"] @ at.theta, at.sigma, at.fixed))

    return model
