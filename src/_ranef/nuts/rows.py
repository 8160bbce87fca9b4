"""Densities of rows in JAX, for the models that sample β and b; families have them in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, log_ndtr
from numpyro import distributions as dist

__all__ = ["BY_LINK", "ROUND_ZERO"]

#: distributions of rows round zero, by family
ROUND_ZERO: dict[str, Callable[..., dist.Distribution]] = {"student": lambda scale, nu: dist.StudentT(nu, 0.0, scale)}

Density = Callable[[jax.Array, Mapping[str, Any], Mapping[str, Any]], jax.Array]

#: linear predictor below which log(1 − exp(−exp η)) is η to rounding
FAR_BELOW = -36.0


def _logit(eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    return -jax.nn.softplus(-eta), -jax.nn.softplus(eta)


def _probit(eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    return log_ndtr(eta), log_ndtr(-eta)


def _cloglog(eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    inside = jnp.maximum(eta, FAR_BELOW)
    return jnp.where(eta < FAR_BELOW, eta, jnp.log(-jnp.expm1(-jnp.exp(inside)))), -jnp.exp(eta)


def _binomial(tails: Callable[[jax.Array], tuple[jax.Array, jax.Array]]) -> Density:
    """Of proportions `y` of `weights` trials, by the logarithms of both probabilities."""

    def density(eta: jax.Array, rows: Mapping[str, Any], own: Mapping[str, Any]) -> jax.Array:
        trials = rows["weights"]
        hits, misses = rows["y"] * trials, (1.0 - rows["y"]) * trials
        success, failure = tails(eta)
        ways = gammaln(trials + 1.0) - gammaln(hits + 1.0) - gammaln(misses + 1.0)
        # a tail that no trial has may be infinite
        return ways + jnp.where(hits > 0, hits * success, 0.0) + jnp.where(misses > 0, misses * failure, 0.0)

    return density


def _poisson(eta: jax.Array, rows: Mapping[str, Any], own: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(rows["weights"] * (rows["y"] * eta - jnp.exp(eta) - gammaln(rows["y"] + 1.0)))


def _negative_binomial(eta: jax.Array, rows: Mapping[str, Any], own: Mapping[str, Any]) -> jax.Array:
    y, size = rows["y"], own["size"]
    ways = gammaln(y + size) - gammaln(size) - gammaln(y + 1.0)
    below = jnp.logaddexp(eta, jnp.log(size))
    return jnp.asarray(rows["weights"] * (ways + size * (jnp.log(size) - below) + y * (eta - below)))


def _gamma(eta: jax.Array, rows: Mapping[str, Any], own: Mapping[str, Any]) -> jax.Array:
    y, shape = rows["y"], rows["weights"] / own["dispersion"]
    value = shape * (jnp.log(shape) + jnp.log(y) - eta - y * jnp.exp(-eta)) - jnp.log(y) - gammaln(shape)
    return jnp.asarray(value)


#: log densities of rows by family and link, at η (n,)
BY_LINK: dict[tuple[str, str], Density] = {
    ("binomial", "logit"): _binomial(_logit),
    ("binomial", "probit"): _binomial(_probit),
    ("binomial", "cloglog"): _binomial(_cloglog),
    ("poisson", "log"): _poisson,
    ("negative binomial", "log"): _negative_binomial,
    ("gamma", "log"): _gamma,
}
