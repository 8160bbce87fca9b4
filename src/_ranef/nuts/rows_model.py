"""Densities of rows in JAX, for the models that sample β and b; families write them once for numpy and JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special
from numpyro import distributions as dist

from _ranef.spec import GENERALISED, Space

__all__ = ["BY_LINK", "ROUND_ZERO"]

#: distributions of rows round zero, by family
ROUND_ZERO: dict[str, Callable[..., dist.Distribution]] = {"student": lambda scale, nu: dist.StudentT(nu, 0.0, scale)}

Density = Callable[[jax.Array, Mapping[str, Any], Mapping[str, Any]], jax.Array]

IN_JAX = Space(jnp, jax.scipy.special)


def _density(word: str, link: str) -> Density:
    family: Any = GENERALISED[word](link)

    def density(eta: jax.Array, rows: Mapping[str, Any], own: Mapping[str, Any]) -> jax.Array:
        return jnp.asarray(family.log_density(eta, rows["y"], rows["weights"], own, IN_JAX))

    return density


#: log densities of rows by family and link, at η (n,), of `y` and `weights` among the rows and the family's parameters
BY_LINK: dict[tuple[str, str], Density] = {
    (word, link): _density(word, link) for word, kind in GENERALISED.items() for link in kind.links
}
