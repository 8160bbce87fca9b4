"""The collapsed model through the numpy kernels, for designs whose dense tail would be too large for JAX.

A prior β ~ N(m₀, V₀) adds σ²V₀⁻¹ to the cross-products of X, as rows of pseudo-data would; everything else is the REML
criterion with σ known, and its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from ranef.arrays import Floats
from ranef.likelihood import CrossProducts, Evaluation, evaluate, score
from ranef.linalg import backward
from ranef.nuts.hyper import hyperparameters
from ranef.nuts.layout import FixedPrior, Layout

__all__ = ["HostDensity", "hosted_log_likelihood", "hosted_model"]


class HostDensity:
    """log p(y | θ, σ) with its gradient, and exact draws, on the host.

    An interrupt that arrives within a callback cannot pass through the compiled sampler. It is noted, and the density
    is NaN from then on, so that the sampler soon returns to those who can raise it.
    """

    def __init__(self, products: CrossProducts, prior: FixedPrior) -> None:
        self.products, self.prior = products, prior
        self.interrupted = False

    def value_and_gradient(self, flat: Floats, sigma: Floats) -> Floats:
        """Value, gradient in the internal λ_k raveled one after the other, and derivative in σ (user's units)."""
        out = np.full(flat.size + 2, np.nan)
        if self.interrupted:
            return out
        try:
            return self._value_and_gradient(np.asarray(flat, dtype=float), float(sigma))
        except KeyboardInterrupt:
            self.interrupted = True
        except np.linalg.LinAlgError:
            pass
        return out

    def _value_and_gradient(self, flat: Floats, sigma: float) -> Floats:
        lambdas = self.unravel(flat)
        products, at = self.evaluate(lambdas, sigma)
        gradients = score(products, at).gradient(lambdas)
        value = -0.5 * (at.criterion + self.prior.log_scale)
        slopes = [-0.5 * g.ravel() for g in gradients]
        return np.concatenate([[value], *slopes, [self._sigma_slope(at, sigma)]])

    def _sigma_slope(self, at: Evaluation, sigma: float) -> float:
        """From ∂r²/∂σ² = (β̂ − m₀)ᵀV₀⁻¹(β̂ − m₀) and ∂log|Ω|/∂σ² = tr Ω⁻¹V₀⁻¹, internal scale."""
        K, p = self.prior.K, self.products.n_fixed
        v = np.append(at.beta, -1.0)
        trace = np.trace(at.inverse_root.T @ at.inverse_root @ K[:p, :p])
        s2 = at.sigma**2
        return float(-(at.nu + s2 * trace + v @ K @ v - at.rss / s2) / sigma)

    def evaluate(self, lambdas: tuple[Floats, ...], sigma: float) -> tuple[CrossProducts, Evaluation]:
        """The REML criterion of the model with the prior as pseudo-data, and the cross-products used."""
        s2 = (sigma / self.products.scaling.y) ** 2
        products = replace(self.products, corner=self.products.corner + s2 * self.prior.K)
        return products, evaluate(products, lambdas, "REML", sigma)

    def unravel(self, flat: Floats) -> tuple[Floats, ...]:
        """λ_k (p_k, p_k) in elimination order."""
        edges = np.cumsum([0, *(p * p for p in self.products.A.sizes)])
        return tuple(flat[edges[k] : edges[k + 1]].reshape(p, p) for k, p in enumerate(self.products.A.sizes))

    def draw(self, flat: Floats, sigma: float, rng: np.random.Generator) -> tuple[Floats, tuple[Floats, ...]]:
        """One exact draw of β̃ (p,) and b̃_k (J_k, p_k), internal scale."""
        _, at = self.evaluate(self.unravel(flat), sigma)
        noisy = at.z + at.sigma * rng.standard_normal(at.z.shape)
        beta = at.inverse_root.T @ noisy
        contrast = np.append(-beta, 1.0)
        white = [w @ contrast + at.sigma * rng.standard_normal(w.shape[:2]) for w in at.columns.white]
        b = backward(at.factor, [w[:, :, None] for w in white])
        return np.asarray(beta), tuple(x[:, :, 0] for x in b)


def hosted_log_likelihood(host: HostDensity) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The host's density as a differentiable JAX function of the raveled λ and σ."""

    def call(flat: jax.Array, sigma: jax.Array) -> jax.Array:
        shape = jax.eval_shape(lambda v: jnp.zeros(v.shape[0] + 2, v.dtype), flat)
        return jnp.asarray(jax.pure_callback(host.value_and_gradient, shape, flat, sigma, vmap_method="sequential"))

    @jax.custom_vjp
    def log_likelihood(flat: jax.Array, sigma: jax.Array) -> jax.Array:
        return call(flat, sigma)[0]

    def forward(flat: jax.Array, sigma: jax.Array) -> tuple[jax.Array, jax.Array]:
        both = call(flat, sigma)
        return both[0], both[1:]

    def reverse(slopes: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        return cotangent * slopes[:-1], cotangent * slopes[-1]

    log_likelihood.defvjp(forward, reverse)
    return log_likelihood


def hosted_model(layout: Layout, host: HostDensity) -> Callable[[Mapping[str, Any]], None]:
    """The collapsed NumPyro model with the host's density."""
    log_likelihood = hosted_log_likelihood(host)

    def model(data: Mapping[str, Any]) -> None:
        theta, sigma = hyperparameters(layout, data["hyper"])
        numpyro.factor("marginal_likelihood", log_likelihood(data["collapsed"]["fill"] @ theta, sigma))

    return model
