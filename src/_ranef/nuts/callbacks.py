"""What NumPyro models ask of numpy.

That is λ(θ) of structures that JAX does not know, and the whole density where the dense tail is too large for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.distributions import ImproperUniform, constraints

from _ranef.likelihood import HostDensity
from _ranef.nuts.collapsed_model import RootsInJax
from _ranef.nuts.sampled_priors import hyperparameters
from _ranef.posterior.blocks import Roots
from _ranef.posterior.layout import Layout
from _ranef.posterior.problem import Gradient
from _ranef.support.arrays import Floats

__all__ = ["asked_posterior", "asked_roots", "hosted_model"]


def _asked(function: Callable[..., Floats], shape: tuple[int, ...], *args: jax.Array) -> jax.Array:
    """An array of doubles that numpy computes of others.

    They go there and back as pairs of words: on threads of its own JAX takes doubles for single precision.
    """

    def call(*words: Any) -> Any:
        doubles = (np.ascontiguousarray(w).view(np.float64)[..., 0] for w in words)
        return np.ascontiguousarray(function(*doubles))[..., None].view(np.uint32)

    out = jax.ShapeDtypeStruct((*shape, 2), jnp.uint32)  # type: ignore[no-untyped-call]
    words = (jax.lax.bitcast_convert_type(a, jnp.uint32) for a in args)
    answer = jax.pure_callback(call, out, *words, vmap_method="sequential")
    return jnp.asarray(jax.lax.bitcast_convert_type(answer, jnp.float64))


def asked_roots(roots: Roots) -> RootsInJax | None:
    """λ (Σ p_k²,) as a differentiable JAX function of θ that numpy computes; None where JAX makes it of θ by itself."""
    if roots.linear:
        return None

    m = sum(p * p for p in roots.products.sizes)

    def both(theta: Floats) -> Floats:
        """λ, and its derivatives beside it (Σ p_k², 1 + n_theta)."""
        return np.column_stack(roots.with_slopes(theta))

    def call(theta: jax.Array) -> jax.Array:
        return _asked(both, (m, 1 + theta.shape[0]), theta)

    @jax.custom_vjp
    def flat(theta: jax.Array) -> jax.Array:
        return call(theta)[:, 0]

    def forward(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = call(theta)
        return out[:, 0], out[:, 1:]

    flat.defvjp(forward, lambda slopes, cotangent: (cotangent @ slopes,))
    return flat


def _log_likelihood(host: HostDensity) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """The host's density as a differentiable JAX function of the raveled λ, σ and the sampled coefficients."""

    def call(flat: jax.Array, sigma: jax.Array, fixed: jax.Array) -> jax.Array:
        return _asked(host.answer, (flat.shape[0] + 2 + fixed.shape[0],), flat, sigma, fixed)

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


def hosted_model(layout: Layout, host: HostDensity, roots: RootsInJax | None) -> Callable[[Mapping[str, Any]], None]:
    """The collapsed NumPyro model with the host's density."""
    log_likelihood = _log_likelihood(host)

    def model(data: Mapping[str, Any]) -> None:
        at = hyperparameters(layout, data["hyper"])
        flat = data["fill"] @ at.theta if roots is None else roots(at.theta)
        numpyro.factor("marginal_likelihood", log_likelihood(flat, at.sigma, at.fixed))

    return model


def asked_posterior(gradient: Gradient, d: int) -> Callable[[Mapping[str, Any]], None]:
    """A NumPyro model whose whole log density numpy computes at unconstrained coordinates q (d,)."""

    def both(q: Floats) -> Floats:
        value, slope = gradient(q)
        return np.append(value, slope)

    @jax.custom_vjp
    def log_density(q: jax.Array) -> jax.Array:
        return _asked(both, (1 + d,), q)[0]

    def forward(q: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = _asked(both, (1 + d,), q)
        return out[0], out[1:]

    log_density.defvjp(forward, lambda slope, cotangent: (cotangent * slope,))

    def model(data: Mapping[str, Any]) -> None:
        q = numpyro.sample("q", ImproperUniform(constraints.real_vector, (), (d,)))
        numpyro.factor("posterior", log_density(q))

    return model
