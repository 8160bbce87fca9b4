"""The collapsed model in JAX: log p(y | θ, σ), from cross-products alone.

The first factor of the elimination order is eliminated level by level in one batch; the others stand with X and y in a
dense tail. Formulas: ``docs/mathematics.md`` §2 and §6. With a prior c ~ N(m₀, V₀) the X block gains σ²V₀⁻¹, as if by
rows of pseudo-data, and

−2 log p(y | θ, σ) = (n − g) log 2πσ² + log|I + ΛᵀAΛ| + log|XᵀV⁻¹X + σ²V₀⁻¹| + r²/σ² + q log 2π + log|V₀| − Σ log w

where only the q proper directions of the g coefficients that are integrated out count in the terms of V₀.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.scipy.linalg import solve_triangular
from numpyro import distributions as dist
from numpyro.distributions import constraints

from _ranef.nuts import small_matrices
from _ranef.nuts.sampled_priors import Sampled, hyperparameters
from _ranef.posterior.blocks import Shape, dense_work
from _ranef.posterior.layout import Layout
from _ranef.residuals import LogLaw

__all__ = [
    "RootsInJax",
    "at_rho",
    "collapsed_model",
    "contrast",
    "fits_in_jax",
    "lambdas_of",
    "log_likelihood",
    "normal_priors",
]

Arrays = Mapping[str, Any]

#: λ of all factors, raveled one after the other, of θ; None where it is ``fill`` times θ
RootsInJax = Callable[[jax.Array], jax.Array]

#: entries of the dense block between the first factor and the tail, and multiplications by it, that JAX is given
MAX_COUPLING, MAX_WORK = 4_000_000, 40_000_000


def fits_in_jax(shape: Shape) -> bool:
    """Whether a dense tail is the cheaper way, and JAX knows the model: not where levels are related."""
    if not shape.sizes:
        return True
    if shape.related:
        return False
    coupling = shape.sizes[0] * shape.levels[0] * shape.tail
    return coupling <= MAX_COUPLING and dense_work(shape) <= MAX_WORK


def lambdas_of(shape: Shape, data: Arrays, theta: jax.Array, roots: RootsInJax | None = None) -> list[jax.Array]:
    """Internal λ_k (p_k, p_k) in elimination order."""
    if not shape.sizes:
        return []
    flat = jnp.sum(data["fill"] * theta, axis=1) if roots is None else roots(theta)
    edges = np.cumsum([0, *(p * p for p in shape.sizes)])
    return [flat[edges[k] : edges[k + 1]].reshape(p, p) for k, p in enumerate(shape.sizes)]


def _eliminate(lam: jax.Array, A: jax.Array, C: jax.Array) -> tuple[jax.Array, jax.Array]:
    """B = L⁻¹λᵀC (p, m, J) with LLᵀ = I + λᵀAλ of every level, and the sum of log determinants."""
    p = A.shape[0]
    if p > small_matrices.MAX_UNROLLED:
        L = jnp.linalg.cholesky(jnp.einsum("ai,abj,bk->jik", lam, A, lam) + jnp.eye(p))
        B = solve_triangular(L, jnp.einsum("ai,amj->jim", lam, C), lower=True)
        log_det = 2.0 * jnp.sum(jnp.log(jnp.diagonal(L, axis1=1, axis2=2)))
        return jnp.moveaxis(B, 0, -1), log_det
    Al = [[sum(A[a, b] * lam[b, k] for b in range(p)) for k in range(p)] for a in range(p)]
    M = [[sum(lam[a, i] * Al[a][k] for a in range(p)) + float(i == k) for k in range(i + 1)] for i in range(p)]
    L = small_matrices.cholesky(M)
    B = jnp.stack(small_matrices.forward_substitute(L, [sum(lam[a, i] * C[a] for a in range(p)) for i in range(p)]))
    return B, 2.0 * jnp.sum(jnp.log(_product([L[i][i] for i in range(p)])))


def _product(factors: list[jax.Array]) -> jax.Array:
    out = factors[0]
    for f in factors[1:]:
        out = out * f
    return out


def _times_tail(shape: Shape, lambdas: list[jax.Array], rows: jax.Array) -> jax.Array:
    """Λᵀ times the tail's rows, those of X and y left alone."""
    parts, start = [], 0
    for p, J, lam in zip(shape.sizes[1:], shape.levels[1:], lambdas[1:], strict=True):
        block = rows[start : start + J * p]
        wide = block.reshape(J, p, -1)
        parts.append((lam[0, 0] * block) if p == 1 else jnp.einsum("ai,jam->jim", lam, wide).reshape(block.shape))
        start += J * p
    return jnp.concatenate([*parts, rows[start:]])


def normal_priors(data: Arrays, variances: jax.Array) -> tuple[jax.Array, jax.Array | float]:
    """K (r, r) with the priors of given `variances` (q,) in it, and what −2 log density adds for them."""
    if not variances.size:
        return data["K"], 0.0
    scaled = data["rows"] / jnp.sqrt(variances)[:, None]
    return data["K"] + scaled.T @ scaled, jnp.sum(jnp.log(2.0 * np.pi * variances))


def contrast(data: Arrays, fixed: jax.Array) -> list[Any]:
    """V (s + 1,): what the sampled coefficients take out of the response, with 1 for the response."""
    return [-(fixed[i] - data["origin"][i]) / data["unit"] for i in range(fixed.shape[0])] + [1.0]


def _factorize(
    shape: Shape, data: Arrays, lambdas: list[jax.Array], sigma2: jax.Array, K: jax.Array
) -> tuple[jax.Array, list[list[Any]] | jax.Array]:
    """Log determinant of the first factor, and U (m, m) of the tail with X and y; `sigma2` is internal."""
    t, log_det, H = shape.tail, jnp.zeros(()), data["T"]
    if lambdas:
        B, log_det = _eliminate(lambdas[0], data["A"], data["C"])
        H = H - jnp.einsum("imj,inj->mn", B, B)
    if t:
        H = _times_tail(shape, lambdas, _times_tail(shape, lambdas, H).T)
        H = H + np.diag(np.arange(H.shape[0]) < t).astype(float)
    H = H.at[t:, t:].add(sigma2 * K) if t else H + sigma2 * K
    return log_det, _lower(H)


def _lower(H: jax.Array) -> list[list[Any]] | jax.Array:
    m = H.shape[0]
    if m > small_matrices.MAX_UNROLLED:
        return jnp.asarray(jnp.linalg.cholesky(H))
    return small_matrices.cholesky([[H[i, j] for j in range(i + 1)] for i in range(m)])


def log_likelihood(shape: Shape, data: Arrays, at: Sampled, roots: RootsInJax | None = None) -> jax.Array:
    """Log p(y | θ, σ, sampled coefficients), user's units."""
    sigma2 = (at.sigma / data["unit"]) ** 2
    K, log_scale = normal_priors(data, at.variances)
    log_det, U = _factorize(shape, data, lambdas_of(shape, data, at.theta, roots), sigma2, K)
    v, a = contrast(data, at.fixed), shape.tail + shape.n_integrated
    if isinstance(U, list):
        diagonal = [U[i][i] for i in range(a)]
        log_det = log_det + (2.0 * jnp.log(_product(diagonal)) if diagonal else 0.0)
        left = [sum(U[a + i][a + j] * v[i] for i in range(j, len(v))) for j in range(len(v))]
        rss = sum(x**2 for x in left)
    else:
        log_det = log_det + 2.0 * jnp.sum(jnp.log(jnp.diagonal(U)[:a]))
        rss = jnp.sum((jnp.array(v) @ U[a:, a:]) ** 2)
    deviance = data["nu"] * jnp.log(2.0 * np.pi * at.sigma**2) + log_det + rss / sigma2 + log_scale + data["constant"]
    return jnp.asarray(-0.5 * deviance)


def at_rho(arrays: Arrays, law: LogLaw | None, n_rho: int) -> Arrays:
    """The arrays of the density at ρ (:class:`~_ranef.likelihood.FixedSums`), which is sampled where there is a law.

    ``log_det`` is then what ``constant`` has lost.
    """
    if law is None:
        return arrays
    rho = numpyro.sample("rho", dist.ImproperUniform(constraints.real_vector, (), (n_rho,)))
    numpyro.factor("prior_of_rho", law.log_prior(rho, jnp))
    logs = law.logs(arrays["law"], rho, jnp)
    made = {
        name: jnp.tensordot(jnp.exp(logs), arrays[f"{name}_parts"], 1) for name in ("A", "C", "T") if name in arrays
    }
    log_det = arrays["counts"] @ logs
    return {**arrays, **made, "constant": arrays["constant"] - log_det, "log_det": log_det}


@lru_cache(maxsize=32)
def collapsed_model(
    layout: Layout, shape: Shape, roots: RootsInJax | None = None, law: LogLaw | None = None
) -> Callable[[Arrays], None]:
    """The NumPyro model of the sampled parameters, the other coefficients and b integrated out.

    With a `law` of residual variances or correlations the cross-products are made of its fixed ones at every ρ.
    """

    def model(data: Arrays) -> None:
        at = hyperparameters(layout, data["hyper"])
        arrays = at_rho(data["collapsed"], law, layout.rows)
        numpyro.factor("marginal_likelihood", log_likelihood(shape, arrays, at, roots))

    return model
