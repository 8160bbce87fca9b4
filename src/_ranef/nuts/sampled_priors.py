"""The part that all NumPyro models share: the sampled parameters with their priors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist
from numpyro.distributions import constraints

from _ranef.posterior.layout import Layout, theta_of

__all__ = ["Sampled", "Scalars", "VineCorrelations", "hyperparameters"]


class Scalars(dist.Distribution):  # type: ignore[misc]
    """Independent priors, one family of :data:`_ranef.posterior.layout.FAMILIES` for each entry of a vector.

    `numbers` (n, 4) hold shape, location, scale and log constant.
    """

    support = constraints.dependent(is_discrete=False, event_dim=1)
    pytree_data_fields = ("numbers",)
    pytree_aux_fields = ("families", "positive")

    def __init__(self, families: tuple[str, ...], numbers: jax.Array, *, positive: bool) -> None:
        self.families, self.numbers, self.positive = families, numbers, positive
        self.support = constraints.independent(constraints.positive if positive else constraints.real, 1)
        super().__init__(batch_shape=(), event_shape=(len(families),), validate_args=False)

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        """Sum of the log densities of the entries."""
        a, loc, scale, constant = jnp.moveaxis(self.numbers, -1, 0)
        z = (value - loc) / scale
        kernels: dict[str, Any] = {
            "flat": lambda: jnp.zeros_like(z),
            "normal": lambda: -0.5 * z**2,
            "student": lambda: -0.5 * (a + 1.0) * jnp.log1p(z**2 / a),
            "gamma": lambda: (a - 1.0) * jnp.log(value) - z,
        }
        present = sorted(set(self.families))
        out = kernels[present[0]]()
        for name in present[1:]:
            out = jnp.where(np.array([f == name for f in self.families]), kernels[name](), out)
        return jnp.sum(out + constant)


class VineCorrelations(dist.Distribution):  # type: ignore[misc]
    """Canonical partial correlations z with (z + 1)/2 ~ Beta(a, a), independently.

    With the numbers (n, 2) of :func:`_ranef.posterior.layout.hyper_numbers`, a and a log constant, the correlation
    matrix that they make has the LKJ distribution (Lewandowski, Kurowicka and Joe, 2009).
    """

    support = constraints.independent(constraints.interval(-1.0, 1.0), 1)
    pytree_data_fields = ("numbers",)

    def __init__(self, numbers: jax.Array) -> None:
        self.numbers = numbers
        super().__init__(batch_shape=(), event_shape=jnp.shape(numbers)[:1], validate_args=False)

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        """Sum of the log densities of the entries."""
        return jnp.sum(self.numbers[:, 1] + (self.numbers[:, 0] - 1.0) * jnp.log1p(-(value**2)))


class ShapeCoordinates(dist.Distribution):  # type: ignore[misc]
    """Independent priors of shape parameters, as in :mod:`_ranef.posterior.shape_priors`, in JAX.

    `kinds` are pairs of a family and of what bounds there are; `numbers` (n, 6) those of the family, and the bounds.
    """

    support = constraints.real_vector
    pytree_data_fields = ("numbers",)
    pytree_aux_fields = ("kinds",)

    def __init__(self, kinds: tuple[tuple[str, str], ...], numbers: jax.Array) -> None:
        self.kinds, self.numbers = kinds, numbers
        super().__init__(batch_shape=(), event_shape=(len(kinds),), validate_args=False)

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        """Sum of the log densities of the coordinates, with the Jacobians of the parameters."""
        total = jnp.zeros(())
        for i, (family, bounds) in enumerate(self.kinds):
            u, (low, high) = value[i], self.numbers[i, 4:]
            x: Any = u
            log_dx: Any = 0.0
            if bounds == "both":
                x = low + (high - low) * jax.nn.sigmoid(u)
                log_dx = jnp.log(high - low) + jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u)
            elif bounds == "below":
                x, log_dx = jnp.exp(u), u
            own = Scalars((family,), self.numbers[i : i + 1, :4], positive=bounds == "below")
            total = total + own.log_prob(x[None]) + log_dx
        return total


class Sampled(NamedTuple):
    """What the sampled parameters make, on the user's scale.

    Attributes
    ----------
    theta : array (n_theta,)
    sigma : array
    fixed : array (s,)
        Coefficients that are not integrated out.
    variances : array (q,)
        Prior variances of the coefficients under a global scale.
    """

    theta: jax.Array
    sigma: jax.Array
    fixed: jax.Array
    variances: jax.Array


def hyperparameters(layout: Layout, numbers: Mapping[str, Any]) -> Sampled:
    """Sample, inside a NumPyro model, the sites of ``layout.sites``."""
    own = dict(zip(layout.custom, numbers["custom"], strict=True))
    custom = {name: numpyro.sample(f"custom_{name}", d) for name, d in own.items()}
    sigma = _sigma(layout, numbers, custom)
    theta = _theta(layout, numbers, sigma, custom)
    fixed = _mixed("fixef", layout.fixed_families, numbers["fixef"], custom, positive=False)
    return Sampled(theta, sigma, jnp.stack(fixed) if fixed else jnp.zeros(0), _variances(layout, numbers, sigma))


def _sigma(layout: Layout, numbers: Mapping[str, Any], custom: Mapping[str, Any]) -> Any:
    if layout.sigma_family == "known":
        return jnp.asarray(numbers["known"])
    if layout.sigma_family == "custom":
        return custom["sigma"]
    if layout.flat:
        return jnp.exp(numpyro.sample("log_sigma", _improper(constraints.real, 1))[0])
    return numpyro.sample("sigma", Scalars((layout.sigma_family,), numbers["sigma"][None], positive=True))[0]


def _improper(support: Any, n: int) -> dist.Distribution:
    return dist.ImproperUniform(constraints.independent(support, 1), (), (n,))


def _theta(layout: Layout, numbers: Mapping[str, Any], sigma: Any, custom: Mapping[str, Any]) -> jax.Array:
    if not layout.terms:
        return jnp.zeros(0)
    n = layout.n_partial
    shapes = numpyro.sample("shape", ShapeCoordinates(layout.shapes, numbers["shape"])) if layout.shapes else ()
    if layout.flat:
        diagonal = numpyro.sample("diagonal", _improper(constraints.positive, layout.n_sd))
        off = numpyro.sample("off_diagonal", _improper(constraints.real, n)) if n else ()
        return jnp.asarray(theta_of(layout, list(diagonal), list(off), list(shapes), jnp))
    sds = _mixed("sd", layout.families, numbers["sd"], custom, positive=True)
    partial = numpyro.sample("partial", VineCorrelations(numbers["vine"])) if n else ()
    return jnp.asarray(theta_of(layout, [sd / sigma for sd in sds], list(partial), list(shapes), jnp))


def _mixed(
    site: str, families: tuple[str, ...], numbers: Any, custom: Mapping[str, Any], *, positive: bool
) -> list[jax.Array]:
    """Entries of a vector, of which some have priors that only numpyro knows."""
    plain = [i for i, f in enumerate(families) if f != "custom"]
    drawn: Any = iter(())
    if plain:
        priors = Scalars(tuple(families[i] for i in plain), numbers[np.array(plain)], positive=positive)
        drawn = iter(numpyro.sample(site, priors))
    return [custom[f"{site}{i}"] if f == "custom" else next(drawn) for i, f in enumerate(families)]


def _variances(layout: Layout, numbers: Mapping[str, Any], sigma: Any) -> jax.Array:
    if not layout.r2d2:
        return jnp.zeros(0)
    first, second, concentration = numbers["r2d2"]
    r2 = numpyro.sample("r2", dist.Beta(first, second))
    phi = jnp.ones(1)
    if layout.r2d2 > 1:
        phi = numpyro.sample("phi", dist.Dirichlet(jnp.full(layout.r2d2, concentration)))
    return jnp.asarray(sigma**2 * r2 / (1.0 - r2) * phi / numbers["spreads"] ** 2)
