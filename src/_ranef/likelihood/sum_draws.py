"""Responses drawn as the sums over rows that fits read of them, without rows.

Of y = Xβ + Zb + ε with ε ~ N(0, σ²W⁻¹), [Z X]ᵀWε is normal with the covariance σ²[Z X]ᵀW[Z X]; and given it, εᵀWε is
what of ε these columns explain plus σ²χ² with the degrees of freedom that they leave. So replicates have the law of
those that are drawn row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from _ranef.errors import NotAvailableError
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.responses import Responses
from _ranef.linalg import AnyFactor, all_blocks, backward, factorize, forward, gram, make_plan
from _ranef.support.arrays import Floats

__all__ = ["DrawnSums", "drawn_sums"]

#: λ² at which (I + ΛᵀAΛ)⁻¹ stands for a generalised inverse of A: its errors are 1e-7 of a row's own product
LARGE = 1e7

#: share of the largest eigenvalue below which a column adds nothing to those of Z
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class DrawnSums:
    """What draws of [Z X]ᵀWy and yᵀWy stand on, on the internal scale, factors in the order of elimination.

    Attributes
    ----------
    products : CrossProducts
    factor : BlockedFactor, optional
        Of ZᵀWZ, nearly; None without random effects.
    root : array (p, r)
        Of XᵀWX freed of what Z explains: of rank r.
    freedom : int
        Degrees of freedom beside Z and X.
    """

    products: CrossProducts
    factor: AnyFactor | None
    root: Floats
    freedom: int

    def draw(
        self, beta: Floats, effects: Sequence[Floats], sigma: float, rngs: Sequence[np.random.Generator]
    ) -> Responses:
        """Responses Xβ + Zb + ε, one for each generator.

        Parameters
        ----------
        beta : array (p,)
        effects : sequence of array (J_k, p_k, B)
            B by grouping, on the user's scale.
        sigma : float
        rngs : sequence of Generator (B,)
        """
        products, p, scale = self.products, self.products.n_fixed, self.products.scaling
        A, B = products.A, len(rngs)
        w = self._solved(rngs)
        zeta = np.column_stack([rng.standard_normal(self.root.shape[1]) for rng in rngs])
        chi = np.array([rng.chisquare(self.freedom) if self.freedom else 0.0 for rng in rngs])
        noise, XZ = A.dot(w), [own[:, :, :p] for own in products.Xy]
        b = [
            np.linalg.solve(scale.Z[k], effects[k].swapaxes(0, 1).reshape(len(scale.Z[k]), -1)) for k in products.order
        ]
        inner = [own.reshape(len(own), -1, B).swapaxes(0, 1) for own in b]
        random = A.dot(inner)
        explained = sum((np.einsum("jab,jab->b", u, c) for u, c in zip(w, noise, strict=True)), np.zeros(B))
        yy = sigma**2 * (explained + (zeta**2).sum(axis=0) + chi)
        for own, c, z in zip(inner, noise, random, strict=True):
            yy += np.einsum("jab,jab->b", own, 2.0 * sigma * c + z)
        Xe = sigma * (_summed(XZ, w, B, p) + self.root @ zeta) + _summed(XZ, inner, B, p)
        Ze = [z + sigma * c for z, c in zip(random, noise, strict=True)]
        fitted = np.linalg.solve(products.corner[:p, :p], Xe) if p else Xe
        yy = yy - (fitted * Xe).sum(axis=0)
        unit = np.sqrt(yy / products.corner[p, p]) if products.corner[p, p] > 0 else np.sqrt(yy)
        unit[unit == 0] = 1.0
        Zy = tuple((z - np.tensordot(x, fitted, 1)) / unit for z, x in zip(Ze, XZ, strict=True))
        start = np.array(beta)
        start[:1] -= scale.centre
        known = np.linalg.solve(scale.X, start)[:, None] + fitted if p else fitted
        centre, squares = np.full(B, scale.centre), np.full(B, products.mean_square)
        return Responses(Zy, np.zeros((p, B)), yy / unit**2, centre, known, unit, squares)

    def _solved(self, rngs: Sequence[np.random.Generator]) -> tuple[Floats, ...]:
        """Draws (J_k, p_k, B) of N(0, A⁻): A times them are sums of the errors of rows over Z."""
        if self.factor is None:
            return ()
        shapes = [own.shape[:2] for own in self.products.Xy]
        white = [np.stack([rng.standard_normal(shape) for rng in rngs], axis=2) for shape in shapes]
        return backward(self.factor, white)


def _summed(XZ: Sequence[Floats], effects: Sequence[Floats], B: int, p: int) -> Floats:
    """XᵀWZb (p, B)."""
    return sum((np.einsum("jax,jab->xb", x, b) for x, b in zip(XZ, effects, strict=True)), np.zeros((p, B)))


def drawn_sums(products: CrossProducts) -> DrawnSums:
    """What draws without rows stand on.

    Raises
    ------
    NotAvailableError
        Where the columns of Z and X explain every response, so that there are no degrees of freedom for σ.
    """
    p, A = products.n_fixed, products.A
    S, rank, factor = products.corner[:p, :p], 0, None
    if products.Xy:
        lambdas = [np.sqrt(LARGE) * np.eye(size) for size in products.sizes]
        factor = factorize(A, make_plan(A), lambdas)
        if p:
            white = forward(factor, [own[:, :, :p] for own in products.Xy]).white
            S = S - gram(white, white)
        Q, _ = all_blocks(A, factor)
        blocks = {(k, k): d for k, d in enumerate(A.diag)} | {key: pair.blocks for key, pair in A.pairs.items()}
        rank = round(sum((1.0 if k == l else 2.0) * float(np.vdot(a, Q[k, l])) for (k, l), a in blocks.items()))
    sizes, vectors = np.linalg.eigh(S) if p else (np.empty(0), np.empty((0, 0)))
    kept = sizes > ROUNDING * np.diagonal(products.corner)[:p].max(initial=0.0)
    root = vectors[:, kept] * np.sqrt(sizes[kept])
    freedom = products.n_obs - rank - int(kept.sum())
    if freedom <= 0:
        raise NotAvailableError(
            "The columns of the model explain every response of these rows, so that no residuals can be drawn. Fit "
            "fewer random effects."
        )
    return DrawnSums(products, factor, root, freedom)
