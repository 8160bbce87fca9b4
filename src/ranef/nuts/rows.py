"""Row-level NumPyro models, non-centred and centred, under the priors of the collapsed model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist
from numpyro.distributions import constraints

from ranef.arrays import Floats
from ranef.likelihood import CrossProducts
from ranef.nuts.hyper import hyperparameters
from ranef.nuts.layout import FixedPrior, Layout
from ranef.spec import ModelSpec

__all__ = ["row_data", "row_model"]


def row_data(spec: ModelSpec, products: CrossProducts, prior: FixedPrior) -> dict[str, Any]:
    """The rows of a model as arrays.

    Returns
    -------
    dict
        ``y``, ``offset`` and ``root_weights`` (n,), ``X`` (n, p), ``codes`` and ``Z`` by grouping; ``fill`` by grouping
        makes λ (p, p) of θ; ``beta_map`` (p, p) and ``pilot`` (p,) make β of its internal value, in which the quadratic
        form ``K`` of its prior is given.
    """
    d, scale = spec.design, products.scaling
    n = spec.n_obs
    units = [spec.lambdas(unit) for unit in np.eye(spec.n_theta)]
    return {
        "y": d.y,
        "offset": np.zeros(n) if d.offset is None else d.offset,
        "root_weights": np.ones(n) if d.weights is None else np.sqrt(d.weights),
        "X": d.X,
        "codes": tuple(g.codes for g in spec.groupings),
        "Z": tuple(g.Z for g in spec.groupings),
        "fill": tuple(np.stack([u[k] for u in units], axis=-1) for k in range(len(spec.groupings))),
        "beta_map": scale.y * scale.X,
        "pilot": scale.pilot,
        "K": prior.K,
    }


@lru_cache(maxsize=32)
def row_model(layout: Layout, levels: tuple[int, ...], *, centered: bool) -> Callable[[Mapping[str, Any]], None]:
    """The model y ~ Normal(Xβ + Zb + offset, σ/√w).

    Sites besides the variance parameters: ``beta`` on the internal scale, on which its coefficients are nearly
    independent, and for every grouping k ``b{k}`` (J_k, p_k), or non-centred ``z{k}`` with b = z λᵀσ.
    """

    def model(data: Mapping[str, Any]) -> None:
        rows = data["rows"]
        theta, sigma = hyperparameters(layout, data["hyper"])
        internal = numpyro.sample("beta", _QuadraticPrior(rows["K"]))
        mean = rows["X"] @ (rows["pilot"] + rows["beta_map"] @ internal) + rows["offset"]
        for k, (codes, Z) in enumerate(zip(rows["codes"], rows["Z"], strict=True)):
            root = sigma * (rows["fill"][k] @ theta)
            b = _effects(k, root, levels[k], centered=centered)
            mean = mean + jnp.sum(Z * b[codes], axis=1)
        numpyro.sample("y", dist.Normal(mean, sigma / rows["root_weights"]), obs=rows["y"])

    return model


def _effects(k: int, root: jax.Array, n_levels: int, *, centered: bool) -> jax.Array:
    p = root.shape[0]
    if centered:
        prior = dist.MultivariateNormal(jnp.zeros(p), scale_tril=root).expand([n_levels]).to_event(1)
        return jnp.asarray(numpyro.sample(f"b{k}", prior))
    z = numpyro.sample(f"z{k}", dist.Normal(0.0, 1.0).expand([n_levels, p]).to_event(2))
    return jnp.asarray(z @ root.T)


class _QuadraticPrior(dist.Distribution):  # type: ignore[misc]
    """Gaussian density exp(−½ vᵀKv), v = (x, −1), up to a constant; K may leave directions flat."""

    support = constraints.independent(constraints.real, 1)
    pytree_data_fields = ("K",)

    def __init__(self, K: jax.Array | Floats) -> None:
        self.K = K
        super().__init__(batch_shape=(), event_shape=(K.shape[0] - 1,), validate_args=False)

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        """Log density up to a constant."""
        v = jnp.append(value, -1.0)
        return -0.5 * v @ self.K @ v
