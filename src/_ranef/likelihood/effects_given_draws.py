"""Moments of the random effects given (θ, σ): of many draws at once where levels are independent, else one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from _ranef.likelihood.at import Likelihood
from _ranef.likelihood.coefficients import FixedPart
from _ranef.likelihood.criterion import Evaluation, score
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.prediction_covariances import given_variances
from _ranef.likelihood.under_priors import HostDensity
from _ranef.linalg import factorize, selected_blocks
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints
from _ranef.support.progress import LateBar

__all__ = ["Given", "Moments", "conditional_variances", "drawn_variances", "effect_moments"]

#: numbers held at once where many draws are treated together
BLOCK_ENTRIES = 4_000_000

#: E[b | y, θ, σ], Var(b | y, β, θ, σ) and what β adds to it, each (..., J, p)
Moments: TypeAlias = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, eq=False, repr=False)
class Given:
    """What is conditioned on, at S draws.

    Attributes
    ----------
    theta : array (S, n_theta)
    sigma : array (S,)
    sampled : array (S, s)
        Coefficients that are not integrated out.
    priors : array (S or 1, p + 1, p + 1)
        K of :class:`FixedPart` at each draw.
    """

    theta: Floats
    sigma: Floats
    sampled: Floats
    priors: Floats

    def only(self, which: Ints) -> Given:
        """Some of the draws."""
        priors = self.priors if len(self.priors) == 1 else self.priors[which]
        return Given(self.theta[which], self.sigma[which], self.sampled[which], priors)


def effect_moments(spec: ModelSpec, products: CrossProducts, fixed: FixedPart, given: Given) -> list[Moments]:
    """Moments (S, J_k, p_k) by grouping of the spec, with the coefficients integrated over their normal priors."""
    if len(spec.groupings) == 1 and not spec.related:
        return [_of_one_factor(spec, products, fixed, given)]
    found = [_of_factors(spec, products, fixed, given.only(np.array([s]))) for s in range(len(given.sigma))]
    return [tuple(np.concatenate(part) for part in zip(*own, strict=True)) for own in zip(*found, strict=True)]  # type: ignore[misc]


def conditional_variances(likelihood: Likelihood, theta: Floats, k: int) -> Floats:
    """Var(b | y, β)/σ² (S, J, p) of every level of grouping `k` at θ (S, n_theta), for the columns as written."""
    spec, products, T = likelihood.spec, likelihood.products, likelihood.maps[k]
    S, (J, p) = len(theta), likelihood.levels(k).shape[:2]
    out = np.empty((S, J, p))
    if len(spec.groupings) == 1 and not spec.related:
        step = max(1, BLOCK_ENTRIES // (J * p**2))
        for start in range(0, S, step):
            _, Q = _one_factor(spec, products, theta[start : start + step])
            out[start : start + step] = _on_columns(T, Q)
        return out
    place = products.order.index(k)
    with LateBar("Conditional variances", "draw", S) as bar:
        for s in range(S):
            roots = likelihood.standard(theta[s])
            factor = factorize(products.A, products.plan, [roots[i] for i in products.order])
            out[s] = _on_columns(T, selected_blocks(products.A, factor)[0][place])
            bar.update()
    return out


def _on_columns(T: Floats, Q: Floats) -> Floats:
    """Diagonals (..., p) of T Q Tᵀ."""
    return np.asarray(np.einsum("ab,...bc,ac->...a", T, Q, T, optimize=True))


def _one_factor(spec: ModelSpec, products: CrossProducts, theta: Floats) -> tuple[Floats, Floats]:
    """λ (S, 1, p, p) for standard columns, and λ(I + λᵀA_jλ)⁻¹λᵀ (S, J, p, p) of every level."""
    T, A = products.scaling.Z[0], products.A.diag[0]
    lam: Floats = np.zeros((len(theta), 1, len(T), len(T)))
    for t in spec.terms:
        lam[:, 0, t.where, t.where] = t.structure.root(theta[:, t.theta])
    lam = np.linalg.solve(T, lam)
    middle = np.eye(len(T)) + np.swapaxes(lam, -1, -2) @ A @ lam
    return lam, np.asarray(lam @ np.linalg.solve(middle, np.swapaxes(np.broadcast_to(lam, middle.shape), -1, -2)))


def _of_one_factor(spec: ModelSpec, products: CrossProducts, fixed: FixedPart, given: Given) -> Moments:
    """With Q_j = λ(I + λᵀA_jλ)⁻¹λᵀ: E[b_j | β] = Q_j Z_jᵀ(y − Xβ), Var = σ²Q_j, XᵀV⁻¹X = XᵀX − Σ XᵀZ_jQ_jZ_jᵀX."""
    T, g, S = products.scaling.Z[0], len(fixed.integrated), len(given.sigma)
    _, Q = _one_factor(spec, products, given.theta)
    Xy = products.Xy[0] @ fixed.columns
    fold = np.zeros((S, g + 1, fixed.K.shape[0]))  # [integrated, response less what sampled ones take out]
    fold[:, :g, :g], fold[:, g, g:] = np.eye(g), fixed.contrast(given.sampled)
    back = np.swapaxes(fold, -1, -2)
    corner = fixed.columns.T @ products.corner @ fixed.columns
    inner = corner + (given.sigma / fixed.unit)[:, None, None] ** 2 * given.priors
    slopes = Q @ Xy  # of E[b_j | β], with the response last
    inner = fold @ (inner - np.einsum("jax,sjay->sxy", Xy, slopes, optimize=True)) @ back
    slopes = T @ slopes @ back[:, None]
    root = np.linalg.inv(np.linalg.cholesky(inner[:, :g, :g]))
    beta = np.swapaxes(root, -1, -2) @ root @ inner[:, :g, g:]
    mean = slopes[..., g] - (slopes[..., :g] @ beta[:, None])[..., 0]
    half = slopes[..., :g] @ np.swapaxes(root, -1, -2)[:, None]
    s2 = given.sigma[:, None, None] ** 2
    return products.scaling.y * mean, s2 * _on_columns(T, Q), s2 * (half**2).sum(axis=-1)


def drawn_variances(
    spec: ModelSpec,
    products: CrossProducts,
    fixed: FixedPart,
    given: Given,
    X: Floats,
    codes: Sequence[Ints],
    Z: Sequence[Floats],
    groupings: Collection[int],
) -> tuple[Floats, Floats]:
    """Var(xᵀβ + zᵀb | y, θ, σ) (m,) at one draw: with the integrated coefficients known, and what they add.

    X (m, p), levels (m,) and columns (m, p_k) by grouping, as :func:`~_ranef.likelihood.combination_variances` has.
    """
    used, evaluation, _ = _under_priors(spec, products, fixed, given)
    columns = [z @ T for z, T in zip(Z, products.scaling.Z, strict=True)]
    inner = (X @ products.scaling.X) @ fixed.columns[: X.shape[1], : len(fixed.integrated)]
    known, beta = given_variances(used, evaluation, inner, codes, columns, groupings)
    s2 = float(given.sigma[0]) ** 2
    return s2 * known, s2 * beta


def _under_priors(
    spec: ModelSpec, products: CrossProducts, fixed: FixedPart, given: Given
) -> tuple[CrossProducts, Evaluation, tuple[Floats, ...]]:
    """One draw through the blocked factor: cross-products with the priors in, the evaluation, and λ_k as eliminated."""
    (theta,), (sigma,) = given.theta, given.sigma.tolist()
    internal = products.scaling.inward(spec.lambdas(theta))
    lambdas = tuple(internal[k] for k in products.order)
    density = HostDensity(products, replace(fixed, K=given.priors[0]))
    return *density.evaluate(lambdas, sigma, fixed.contrast(given.sampled[0])), lambdas


def _of_factors(spec: ModelSpec, products: CrossProducts, fixed: FixedPart, given: Given) -> Sequence[Moments]:
    """Moments (1, J, p) at one draw, by grouping, through the blocked factor."""
    used, evaluation, lambdas = _under_priors(spec, products, fixed, given)
    first, sigma = score(used, evaluation), float(given.sigma[0])
    out: list[Moments] = []
    for k, T in enumerate(products.scaling.Z):
        place = products.order.index(k)
        lam = lambdas[place]
        half = first.T[place].swapaxes(1, 2) @ (T @ lam @ lam.T).T
        mean = products.scaling.y * first.b[place] @ T.T
        variances = sigma**2 * _on_columns(T, first.Q[place]), sigma**2 * (half**2).sum(axis=1)
        out.append((mean[None], variances[0][None], variances[1][None]))
    return out
