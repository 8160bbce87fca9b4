"""The part that all models share: variance parameters with their priors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.scipy.special import gammaln
from numpyro import distributions as dist
from numpyro.distributions import constraints

from ranef.nuts.layout import Layout, TermLayout

__all__ = ["HYPER_SITES", "HalfScale", "VineCorrelations", "hyperparameters", "theta_of"]

#: the sites of :func:`hyperparameters`
HYPER_SITES = frozenset({"sd", "partial", "sigma", "diagonal", "off_diagonal", "log_sigma"})


class HalfScale(dist.Distribution):  # type: ignore[misc]
    """Half Student t, half normal or flat on the positive half-line, one family for each entry of a vector."""

    support = constraints.independent(constraints.positive, 1)
    pytree_data_fields = ("df", "scale")
    pytree_aux_fields = ("families",)

    def __init__(self, families: tuple[str, ...], df: jax.Array, scale: jax.Array) -> None:
        self.families, self.df, self.scale = families, df, scale
        super().__init__(batch_shape=(), event_shape=(len(families),), validate_args=False)

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        """Sum of the log densities of the entries."""
        densities: dict[str, Any] = {"student": self._student, "normal": self._normal, "flat": jnp.zeros_like}
        present = sorted(set(self.families))
        out = densities[present[0]](value)
        for name in present[1:]:
            out = jnp.where(np.array([f == name for f in self.families]), densities[name](value), out)
        return jnp.sum(out)

    def _student(self, x: jax.Array) -> jax.Array:
        half = 0.5 * (self.df + 1.0)
        constant: Any = (
            jnp.log(2.0 / self.scale) + gammaln(half) - gammaln(0.5 * self.df) - 0.5 * jnp.log(np.pi * self.df)
        )
        return jnp.asarray(constant - half * jnp.log1p((x / self.scale) ** 2 / self.df))

    def _normal(self, x: jax.Array) -> jax.Array:
        return jnp.asarray(jnp.log(2.0 / self.scale) - 0.5 * np.log(2.0 * np.pi) - 0.5 * (x / self.scale) ** 2)


class VineCorrelations(dist.Distribution):  # type: ignore[misc]
    """Canonical partial correlations z with (z + 1)/2 ~ Beta(a, a), independently.

    With the shapes of :func:`ranef.nuts.layout.hyper_numbers` the correlation matrix that they make has the LKJ
    distribution (Lewandowski, Kurowicka and Joe, 2009).
    """

    support = constraints.independent(constraints.interval(-1.0, 1.0), 1)
    pytree_data_fields = ("shape_parameter",)

    def __init__(self, shape_parameter: jax.Array) -> None:
        self.shape_parameter = shape_parameter
        super().__init__(batch_shape=(), event_shape=jnp.shape(shape_parameter), validate_args=False)

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        """Sum of the log densities of the entries."""
        a = self.shape_parameter
        constant = gammaln(2.0 * a) - 2.0 * gammaln(a) - (2.0 * a - 1.0) * np.log(2.0)
        return jnp.sum(constant + (a - 1.0) * jnp.log1p(-(value**2)))


def hyperparameters(layout: Layout, numbers: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
    """θ (n_theta,) and σ on the user's scale, sampled inside a NumPyro model.

    Sites: ``sd``, ``partial`` and ``sigma``; with flat priors ``diagonal``, ``off_diagonal`` and ``log_sigma``.
    """
    if layout.flat:
        return _flat_theta(layout), _flat_sigma(layout, numbers)
    sigma = numbers["sigma"]
    if layout.sigma_family != "known":
        prior = HalfScale((layout.sigma_family,), numbers["sigma_df"][None], numbers["sigma_scale"][None])
        sigma = numpyro.sample("sigma", prior)[0]
    if not layout.terms:
        return jnp.zeros(0), sigma
    sd = numpyro.sample("sd", HalfScale(layout.families, numbers["df"], numbers["scale"]))
    partial = numpyro.sample("partial", VineCorrelations(numbers["shape"])) if layout.n_partial else jnp.zeros(0)
    return theta_of(layout, sd / sigma, partial), sigma


def _flat_theta(layout: Layout) -> jax.Array:
    if not layout.terms:
        return jnp.zeros(0)
    diagonal, off = (
        numpyro.sample(name, dist.ImproperUniform(constraints.independent(support, 1), (), (n,))) if n else jnp.zeros(0)
        for name, support, n in (
            ("diagonal", constraints.positive, layout.n_sd),
            ("off_diagonal", constraints.real, layout.n_partial),
        )
    )
    return jnp.stack([e for t in layout.terms for e in _flat_entries(t, diagonal, off)])


def _flat_entries(term: TermLayout, diagonal: jax.Array, off: jax.Array) -> list[jax.Array]:
    on, below = iter(diagonal[slice(*term.sd)]), iter(off[slice(*term.partial)])
    if term.kind != "us":
        return list(on)
    return [next(on) if i == j else next(below) for j in range(term.size) for i in range(j, term.size)]


def _flat_sigma(layout: Layout, numbers: Mapping[str, Any]) -> jax.Array:
    if layout.sigma_family == "known":
        return jnp.asarray(numbers["sigma"])
    return jnp.exp(numpyro.sample("log_sigma", dist.ImproperUniform(constraints.real, (), ())))


def theta_of(layout: Layout, relative_sd: jax.Array, partial: jax.Array) -> jax.Array:
    """θ (n_theta,) from sd/σ (n_sd,) and partial correlations (n_partial,)."""
    entries: list[jax.Array] = []
    for t in layout.terms:
        sd = [relative_sd[i] for i in range(*t.sd)]
        if t.kind != "us":
            entries += sd
            continue
        root = _correlation_root([partial[i] for i in range(*t.partial)], t.size)
        entries += [sd[i] * root[i][j] for j in range(t.size) for i in range(j, t.size)]
    return jnp.stack(entries)


def _correlation_root(partial: list[jax.Array], size: int) -> list[list[Any]]:
    """Lower Cholesky factor of the correlation matrix that canonical partial correlations make."""
    z = iter(partial)
    rows: list[list[Any]] = []
    for i in range(size):
        rest: Any = 1.0
        row: list[Any] = []
        for _ in range(i):
            value = next(z)
            row.append(value * rest)
            rest = rest * jnp.sqrt(1.0 - value**2)
        rows.append([*row, rest])
    return rows
