"""The collapsed density through the numpy kernels of engine A, for designs whose dense tail would be too large.

A prior c ~ N(m₀, V₀) adds σ²V₀⁻¹ to the cross-products of X, as rows of pseudo-data would; everything else is the REML
criterion with σ known, and its gradient. Coefficients that are sampled are taken out of the response.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from _ranef.likelihood.coefficients import FixedPart
from _ranef.likelihood.criterion import Evaluation, evaluate, score
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.linalg import backward
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import waiting

__all__ = ["HostDensity"]


class HostDensity:
    """log p(y | θ, σ, sampled coefficients) with its gradient, and exact draws, on the host.

    An interrupt cannot pass through a compiled sampler. While one is waiting, what :meth:`answer` gives is NaN, so that
    the sampler soon returns to those who can let it through.

    Attributes
    ----------
    gave_up : bool
        Whether that has happened: what was computed meanwhile is worth nothing.
    """

    def __init__(self, products: CrossProducts, fixed: FixedPart) -> None:
        self.products, self.fixed = replace(products, plan=products.plan.taken_often(), rows=None), fixed
        self.gave_up = False

    def answer(self, flat: Floats, sigma: Floats, sampled: Floats) -> Floats:
        """:meth:`value_and_gradient` for a compiled sampler."""
        if waiting():
            self.gave_up = True
            return np.full(flat.size + 2 + np.size(sampled), np.nan)
        return self.value_and_gradient(flat, sigma, sampled)

    def value_and_gradient(self, flat: Floats, sigma: Floats, sampled: Floats) -> Floats:
        """Value; gradient in the internal λ_k raveled one after the other, in σ and in the sampled coefficients."""
        try:
            return self.evaluated(np.asarray(flat, dtype=float), float(sigma), np.asarray(sampled))[0]
        except np.linalg.LinAlgError:
            return np.full(flat.size + 2 + np.size(sampled), np.nan)

    def evaluated(self, flat: Floats, sigma: float, sampled: Floats) -> tuple[Floats, CrossProducts, Evaluation]:
        """The same, with the cross-products and the evaluation that it stands on.

        Raises
        ------
        LinAlgError
            So far out that a matrix is singular to rounding.
        """
        lambdas, v = self.unravel(flat), self.fixed.contrast(sampled)
        products, at = self.evaluate(lambdas, sigma, v)
        first = score(products, at)
        slopes = [-0.5 * g.ravel() for g in first.gradient(lambdas)]
        value = self._log_density(at)
        own = [self._sigma_slope(at, sigma, v)]
        return np.concatenate([[value], *slopes, own, self._fixed_slope(at, first.b, v)]), products, at

    def value(self, flat: Floats, sigma: float, sampled: Floats) -> float:
        """The value alone.

        Raises
        ------
        LinAlgError
            So far out that a matrix is singular to rounding.
        """
        return self._log_density(self.evaluate(self.unravel(flat), sigma, self.fixed.contrast(sampled))[1])

    def _log_density(self, at: Evaluation) -> float:
        return -0.5 * (at.criterion + self._constant)

    @property
    def _constant(self) -> float:
        """What the criterion of the integrated coefficients lacks."""
        own = -2.0 * self.products.scaling.log_det_X - self.products.log_weights
        return self.fixed.constant + self.fixed.log_scale - own

    def _sigma_slope(self, at: Evaluation, sigma: float, v: Floats) -> float:
        """From ∂r²/∂σ² = wᵀKw and ∂log|Ω|/∂σ² = tr Ω⁻¹K, internal scale."""
        g, K = len(self.fixed.integrated), self.fixed.K
        w = np.concatenate([-at.beta, v])
        trace = np.trace(at.inverse_root.T @ at.inverse_root @ K[:g, :g])
        s2 = at.sigma**2
        return float(-(at.nu + s2 * trace + w @ K @ w - at.rss / s2) / sigma)

    def _fixed_slope(self, at: Evaluation, b: tuple[Floats, ...], v: Floats) -> Floats:
        """X_Sᵀ(y − Xβ̂ − Zb̂)/σ² with the priors (s,), by the envelope theorem."""
        fixed, products, g = self.fixed, self.products, len(self.fixed.integrated)
        if not fixed.sampled.size:
            return np.zeros(0)
        corner = fixed.columns.T @ products.corner @ fixed.columns + at.sigma**2 * fixed.K
        own = corner[g:-1] @ np.concatenate([-at.beta, v])
        for Xy, modes in zip(products.Xy, b, strict=True):
            own = own - np.einsum("jax,ja->x", Xy, modes) @ fixed.columns[:, g:-1]
        return np.asarray(own / (fixed.unit * at.sigma**2))

    def evaluate(self, lambdas: tuple[Floats, ...], sigma: float, v: Floats) -> tuple[CrossProducts, Evaluation]:
        """The REML criterion with the priors as pseudo-data and the response Xy v, and the cross-products used."""
        fixed, both = self.fixed, self._both(v)
        s2, fold = (sigma / fixed.unit) ** 2, fixed.columns @ both.T
        products = replace(
            self.products,
            corner=fold.T @ self.products.corner @ fold + s2 * both @ fixed.K @ both.T,
            Xy=tuple(Xy @ fold for Xy in self.products.Xy),
        )
        return products, evaluate(products, lambdas, "REML", sigma)

    def fold(self, v: Floats) -> Floats:
        """The map (p + 1, g + 1) from [X y] to the columns that are integrated and the response less the others."""
        return np.asarray(self.fixed.columns @ self._both(v).T)

    def _both(self, v: Floats) -> Floats:
        g = len(self.fixed.integrated)
        out = np.zeros((g + 1, self.fixed.K.shape[0]))
        out[:g, :g], out[g, g:] = np.eye(g), v
        return out

    def unravel(self, flat: Floats) -> tuple[Floats, ...]:
        """λ_k (p_k, p_k) in elimination order."""
        edges = np.cumsum([0, *(p * p for p in self.products.sizes)])
        return tuple(flat[edges[k] : edges[k + 1]].reshape(p, p) for k, p in enumerate(self.products.sizes))

    def draw(
        self, flat: Floats, sigma: float, sampled: Floats, n: int, rng: np.random.Generator
    ) -> tuple[Floats, tuple[Floats, ...]]:
        """Exact draws of the integrated coefficients (n, g) and of b̃_k (n, J_k, p_k), internal scale."""
        _, at = self.evaluate(self.unravel(flat), sigma, self.fixed.contrast(sampled))
        noisy = at.z + at.sigma * rng.standard_normal((n, *at.z.shape))
        beta = noisy @ at.inverse_root
        contrast = np.column_stack([-beta, np.ones(n)]).T
        noise = [np.moveaxis(rng.standard_normal((n, *w.shape[:2])), 0, 2) for w in at.columns.white]
        white = [w @ contrast + at.sigma * eps for w, eps in zip(at.columns.white, noise, strict=True)]
        return beta, tuple(np.moveaxis(x, 2, 0) for x in backward(at.factor, white))
