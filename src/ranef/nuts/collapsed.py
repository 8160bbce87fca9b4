"""The collapsed model in JAX: log p(y | θ, σ) and exact draws of (β, b), from cross-products alone.

The first factor of the elimination order is eliminated level by level in one batch; the others stand with X and y in a
dense tail. Formulas: ``shared/numerics.md`` §2 and §5. With a prior β ~ N(m₀, V₀) the X block gains σ²V₀⁻¹, as if by
rows of pseudo-data, and

−2 log p(y | θ, σ) = (n − p) log 2πσ² + log|I + ΛᵀAΛ| + log|XᵀV⁻¹X + σ²V₀⁻¹| + r²/σ² + q log 2π + log|V₀| − Σ log w

where only the q proper directions of β count in the terms of V₀.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.scipy.linalg import solve_triangular

from ranef.arrays import Floats
from ranef.likelihood import CrossProducts
from ranef.nuts import small
from ranef.nuts.hyper import hyperparameters
from ranef.nuts.layout import FixedPrior, Layout
from ranef.spec import ModelSpec

__all__ = ["Shape", "collapsed_data", "collapsed_model", "draw_effects", "fits_in_jax", "log_likelihood", "make_shape"]

Arrays = Mapping[str, Any]

#: entries of the dense block between the first factor and the tail, and multiplications by it, that JAX is given
MAX_COUPLING, MAX_WORK = 4_000_000, 40_000_000

#: draws of (β, b) made at once
DRAW_BATCH = 64


@dataclass(frozen=True)
class Shape:
    """What compilation depends on besides the shapes of the arrays.

    Attributes
    ----------
    sizes : tuple of int
        p_k in elimination order; empty without random effects.
    levels : tuple of int
        J_k in elimination order.
    n_fixed : int
    """

    sizes: tuple[int, ...]
    levels: tuple[int, ...]
    n_fixed: int

    @property
    def tail(self) -> int:
        """Length t of the random part of the tail."""
        return sum(p * J for p, J in zip(self.sizes[1:], self.levels[1:], strict=True))


def make_shape(products: CrossProducts) -> Shape:
    """The shape of a model."""
    return Shape(products.A.sizes, products.A.n_levels, products.n_fixed)


def fits_in_jax(shape: Shape) -> bool:
    """Whether a dense tail is the cheaper way."""
    if not shape.sizes:
        return True
    coupling = shape.sizes[0] * shape.levels[0] * shape.tail
    return coupling <= MAX_COUPLING and (coupling + shape.tail**2) * shape.tail <= MAX_WORK


def collapsed_data(spec: ModelSpec, products: CrossProducts, prior: FixedPrior) -> dict[str, Floats]:
    """The arrays of the collapsed density, levels on the last axis.

    Returns
    -------
    dict
        ``fill`` (Σ p_k², n_theta) makes internal λ of θ; ``A`` (p, p, J) and ``C`` (p, m, J) are the blocks of the
        first factor, C against tail, X and y; ``T`` (m, m) holds tail, X and y; ``K`` the prior of β; ``nu`` is n − p,
        ``unit`` the unit of y, and ``constant`` what −2 log p adds at any (θ, σ).
    """
    shape = make_shape(products)
    constant = prior.log_scale - 2.0 * products.scaling.log_det_X - products.log_weights
    out = {
        "fill": _fill(spec, products),
        "T": _tail_products(shape, products),
        "K": prior.K,
        "nu": np.array(float(products.n_obs - products.n_fixed)),
        "unit": np.array(products.scaling.y),
        "constant": np.array(constant),
    }
    if shape.sizes:
        out["A"] = np.ascontiguousarray(np.moveaxis(products.A.diag[0], 0, -1))
        out["C"] = _coupling(shape, products)
    return out


def _fill(spec: ModelSpec, products: CrossProducts) -> Floats:
    out = np.zeros((sum(p * p for p in products.A.sizes), spec.n_theta))
    for i, unit in enumerate(np.eye(spec.n_theta)):
        internal = products.scaling.inward(spec.lambdas(unit))
        out[:, i] = np.concatenate([internal[k].ravel() for k in products.order])
    return out


def _places(shape: Shape) -> dict[int, Any]:
    """Rows (J_l, p_l) of every factor of the tail."""
    edges = np.cumsum([0, *(p * J for p, J in zip(shape.sizes[1:], shape.levels[1:], strict=True))])
    return {
        l: np.arange(edges[l - 1], edges[l]).reshape(shape.levels[l], shape.sizes[l])
        for l in range(1, len(shape.sizes))
    }


def _coupling(shape: Shape, products: CrossProducts) -> Floats:
    p, J, t = shape.sizes[0], shape.levels[0], shape.tail
    out = np.zeros((p, t + shape.n_fixed + 1, J))
    for l, at in _places(shape).items():
        pair = products.A.pairs[0, l]
        rows, cols = np.arange(p)[None, :, None], at[pair.cols][:, None, :]
        out[rows, cols, pair.rows[:, None, None]] = pair.blocks
    out[:, t:] = np.moveaxis(products.Xy[0], 0, -1)
    return out


def _tail_products(shape: Shape, products: CrossProducts) -> Floats:
    t, m = shape.tail, shape.tail + shape.n_fixed + 1
    out = np.zeros((m, m))
    out[t:, t:] = products.corner
    at = _places(shape)
    for l, rows in at.items():
        out[rows[:, :, None], rows[:, None, :]] = products.A.diag[l]
        flat = products.Xy[l].reshape(rows.size, -1)
        out[rows.ravel(), t:], out[t:, rows.ravel()] = flat, flat.T
    for (k, l), pair in products.A.pairs.items():
        if k > 0:
            rows, cols = at[k][pair.rows], at[l][pair.cols]
            out[rows[:, :, None], cols[:, None, :]] = pair.blocks
            out[cols[:, :, None], rows[:, None, :]] = np.swapaxes(pair.blocks, 1, 2)
    return out


def _lambdas(shape: Shape, data: Arrays, theta: jax.Array) -> list[jax.Array]:
    """Internal λ_k (p_k, p_k) in elimination order."""
    if not shape.sizes:
        return []
    flat = jnp.sum(data["fill"] * theta, axis=1)
    edges = np.cumsum([0, *(p * p for p in shape.sizes)])
    return [flat[edges[k] : edges[k + 1]].reshape(p, p) for k, p in enumerate(shape.sizes)]


def _eliminate(lam: jax.Array, A: jax.Array, C: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    """Factor I + λᵀAλ of every level: L, B = L⁻¹λᵀC (p, m, J), and the sum of log determinants."""
    p = A.shape[0]
    if p > small.MAX_UNROLLED:
        L = jnp.linalg.cholesky(jnp.einsum("ai,abj,bk->jik", lam, A, lam) + jnp.eye(p))
        B = solve_triangular(L, jnp.einsum("ai,amj->jim", lam, C), lower=True)
        log_det = 2.0 * jnp.sum(jnp.log(jnp.diagonal(L, axis1=1, axis2=2)))
        return L, jnp.moveaxis(B, 0, -1), log_det
    Al = [[sum(A[a, b] * lam[b, k] for b in range(p)) for k in range(p)] for a in range(p)]
    M = [[sum(lam[a, i] * Al[a][k] for a in range(p)) + float(i == k) for k in range(i + 1)] for i in range(p)]
    L = small.cholesky(M)
    B = jnp.stack(small.forward_substitute(L, [sum(lam[a, i] * C[a] for a in range(p)) for i in range(p)]))
    return L, B, 2.0 * jnp.sum(jnp.log(_product([L[i][i] for i in range(p)])))


def _product(factors: list[jax.Array]) -> jax.Array:
    out = factors[0]
    for f in factors[1:]:
        out = out * f
    return out


def _times_tail(shape: Shape, lambdas: list[jax.Array], rows: jax.Array, *, transposed: bool) -> jax.Array:
    """Λᵀ (or Λ) times the tail's rows, those of X and y left alone."""
    parts, start = [], 0
    for p, J, lam in zip(shape.sizes[1:], shape.levels[1:], lambdas[1:], strict=True):
        block = rows[start : start + J * p]
        wide = block.reshape(J, p, -1)
        formula = "ai,jam->jim" if transposed else "ia,jam->jim"
        parts.append((lam[0, 0] * block) if p == 1 else jnp.einsum(formula, lam, wide).reshape(block.shape))
        start += J * p
    return jnp.concatenate([*parts, rows[start:]])


def _factorize(shape: Shape, data: Arrays, theta: jax.Array, sigma2: jax.Array) -> tuple[Any, ...]:
    """λ, L and B of the first factor, its log determinant, and U (m, m) of the tail with X and y.

    `sigma2` is internal; r² is the square of the last entry of U.
    """
    lambdas, t = _lambdas(shape, data, theta), shape.tail
    L, B, log_det, H = None, None, jnp.zeros(()), data["T"]
    if lambdas:
        L, B, log_det = _eliminate(lambdas[0], data["A"], data["C"])
        H = H - jnp.einsum("imj,inj->mn", B, B)
    if t:
        H = _times_tail(shape, lambdas, _times_tail(shape, lambdas, H, transposed=True).T, transposed=True)
        H = H + np.diag(np.arange(H.shape[0]) < t).astype(float)
    H = H.at[t:, t:].add(sigma2 * data["K"]) if t else H + sigma2 * data["K"]
    return lambdas, L, B, log_det, _lower(H)


def _lower(H: jax.Array) -> list[list[Any]] | jax.Array:
    m = H.shape[0]
    if m > small.MAX_UNROLLED:
        return jnp.asarray(jnp.linalg.cholesky(H))
    return small.cholesky([[H[i, j] for j in range(i + 1)] for i in range(m)])


def log_likelihood(shape: Shape, data: Arrays, theta: jax.Array, sigma: jax.Array) -> jax.Array:
    """Log p(y | θ, σ), user's units."""
    sigma2 = (sigma / data["unit"]) ** 2
    *_, log_det, U = _factorize(shape, data, theta, sigma2)
    diagonal = [row[-1] for row in U] if isinstance(U, list) else list(jnp.split(jnp.diagonal(U), [U.shape[0] - 1]))
    last = jnp.squeeze(diagonal[-1])
    log_det = log_det + 2.0 * sum(jnp.sum(jnp.log(d)) for d in diagonal[:-1])
    deviance = data["nu"] * jnp.log(2.0 * np.pi * sigma**2) + log_det + last**2 / sigma2 + data["constant"]
    return jnp.asarray(-0.5 * deviance)


@lru_cache(maxsize=32)
def collapsed_model(layout: Layout, shape: Shape) -> Callable[[Mapping[str, Any]], None]:
    """The NumPyro model of the variance parameters, β and b integrated out."""

    def model(data: Mapping[str, Any]) -> None:
        theta, sigma = hyperparameters(layout, data["hyper"])
        numpyro.factor("marginal_likelihood", log_likelihood(shape, data["collapsed"], theta, sigma))

    return model


def draw_effects(
    shape: Shape, data: Arrays, key: jax.Array, theta: jax.Array, sigma: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """One exact draw of (β, b) for each of N (θ, σ), internal scale.

    Returns
    -------
    tuple
        β̃ (N, p) and b̃_k (N, J_k, p_k) in elimination order.
    """
    n = theta.shape[0]
    block = min(n, _draws_at_once(shape))
    fill = np.arange(-(-n // block) * block) % n
    keys = jax.random.split(key, fill.size)
    by_block = [v.reshape(fill.size // block, block, *v.shape[1:]) for v in (keys, theta[fill], sigma[fill])]
    blocks = _draw_blocks(shape, dict(data), *by_block)
    out: tuple[jax.Array, tuple[jax.Array, ...]] = jax.tree.map(
        lambda v: v.reshape(fill.size, *v.shape[2:])[:n], blocks
    )
    return out


def _draws_at_once(shape: Shape) -> int:
    coupling = shape.sizes[0] * shape.levels[0] * (shape.tail + shape.n_fixed + 1) if shape.sizes else 1
    return max(1, min(DRAW_BATCH, MAX_COUPLING // coupling))


@partial(jax.jit, static_argnums=0)
def _draw_blocks(shape: Shape, data: Arrays, keys: jax.Array, theta: jax.Array, sigma: jax.Array) -> Any:
    batch: Any = jax.vmap(lambda key, t, s: _draw_one(shape, data, key, t, s))
    return jax.lax.map(lambda at: batch(*at), (keys, theta, sigma))


def _draw_one(shape: Shape, data: Arrays, key: jax.Array, theta: jax.Array, sigma: jax.Array) -> Any:
    """U = U⁻ᵀ(U⁻¹y + σε) for the tail and β, then level by level for the first factor."""
    sd, t = sigma / data["unit"], shape.tail
    lambdas, L, B, _, U = _factorize(shape, data, theta, sd**2)
    tail_key, first_key = jax.random.split(key)
    if isinstance(U, list):
        U = jnp.array([[*row, *[jnp.zeros(())] * (len(U) - len(row))] for row in U])
    n = U.shape[0] - 1
    noisy = U[n, :n] + sd * jax.random.normal(tail_key, (n,))
    v = solve_triangular(U[:n, :n], noisy, lower=True, trans=1) if n else noisy
    if not lambdas:
        return v, ()
    v = _times_tail(shape, lambdas, v[:, None], transposed=False)[:, 0]
    noise = jax.random.normal(first_key, (shape.sizes[0], shape.levels[0]))
    white = B[:, n] - jnp.einsum("imj,m->ij", B[:, :n], v) + sd * noise
    if isinstance(L, list):
        u = jnp.stack(small.back_substitute(L, list(white)))
    else:
        u = solve_triangular(L, white.T[:, :, None], lower=True, trans=1)[:, :, 0].T
    tail = [v[at] for at in _places(shape).values()]
    return v[t:], ((lambdas[0] @ u).T, *tail)
