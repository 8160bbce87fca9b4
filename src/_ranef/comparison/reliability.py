"""What the rows of a level say of its effects alone, and how much of it partial pooling keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.comparison.shrinkage import NULL_SHARE, RANK_TOLERANCE
from _ranef.likelihood import Likelihood
from _ranef.support.arrays import Floats

__all__ = ["OwnData", "own_data", "own_estimates", "reliabilities", "reliability_matrices", "reliability_summary"]

#: reliabilities of draws held at once
BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True, eq=False, repr=False)
class OwnData:
    """Information in the rows of every level of one grouping factor, all else known.

    Attributes
    ----------
    A : array (J, p, p)
        ZⱼᵀWZⱼ of standard columns (:mod:`_ranef.likelihood.at`).
    T : array (p, p)
        Effects of the columns as written are ``T @ b`` for b of standard ones.
    inverse : array (J, p, p)
        Of A; a generalised one where A is singular.
    variances : array (J, p)
        [(ZⱼᵀWZⱼ)⁻¹]_qq on the user's scale: σ² times it is the variance of the level's own least-squares coefficient.
        Infinite where the level's rows do not determine it.
    """

    A: Floats
    T: Floats
    inverse: Floats
    variances: Floats

    @property
    def information(self) -> Floats:
        """Diagonal (J, p) of ZⱼᵀWZⱼ on the user's scale."""
        back = np.linalg.inv(self.T)
        return np.asarray(np.maximum(np.einsum("aq,jab,bq->jq", back, self.A, back), 0.0))


def own_data(likelihood: Likelihood) -> tuple[OwnData, ...]:
    """Own data of every grouping of the spec."""
    return tuple(_own_data(likelihood.levels(k), T) for k, T in enumerate(likelihood.maps))


def _own_data(A: Floats, T: Floats) -> OwnData:
    scale = np.sqrt(np.diagonal(A, axis1=1, axis2=2))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(A / (scale[:, :, None] * scale[:, None, :]))
    known = values > RANK_TOLERANCE
    reciprocal = np.where(known, 1.0 / np.where(known, values, 1.0), 0.0)
    unscaled = vectors / scale[:, :, None]
    inverse = (unscaled * reciprocal[:, None, :]) @ np.swapaxes(unscaled, 1, 2)
    # the coefficient q of the user is row q of T on the internal ones: is it free of the directions without data?
    rows = (T / scale[:, None, :]) @ vectors
    unknown = (rows**2 * ~known[:, None, :]).sum(axis=2) / (rows**2).sum(axis=2)
    variances = (rows**2 * reciprocal[:, None, :]).sum(axis=2)
    return OwnData(A, T, inverse, np.where(unknown > NULL_SHARE, np.inf, variances))


def own_estimates(own: OwnData, right: Floats) -> Floats:
    """Least-squares coefficients (J, p) of each level alone from ZⱼᵀW(y − Xβ̂) (J, p) for standard columns of Z.

    NaN where the level's rows do not determine one.
    """
    solution = np.einsum("jab,jb->ja", own.inverse, right) @ own.T.T
    return np.where(np.isinf(own.variances), np.nan, solution)


def reliability_matrices(own: OwnData, lam: Floats) -> Floats:
    """Λⱼ = DAⱼ(I + DAⱼ)⁻¹ (J, p, p) with D = λλᵀ for the user's λ (p, p) and Aⱼ = ZⱼᵀWZⱼ, singular or not.

    Where Aⱼ is regular this is D(D + Aⱼ⁻¹)⁻¹, the multivariate reliability of Raudenbush & Bryk (2002, *Hierarchical
    Linear Models*, 2nd ed., ch. 3); b̂ⱼ = Λⱼ b̃ⱼ for the level's own coefficients b̃ⱼ.
    """
    root = np.linalg.solve(own.T, lam)
    middle = root.T @ own.A @ root + np.eye(len(lam))
    inner = root @ np.linalg.solve(middle, root.T @ own.A)
    return np.asarray(own.T @ inner @ np.linalg.inv(own.T))


def reliabilities(own_variances: Floats, ratios: Floats) -> Floats:
    """λ = r²/(r² + v) for v = [Aⱼ⁻¹]_qq and r the standard deviation of the effect over σ, by broadcasting.

    Raudenbush & Bryk (2002, ch. 3): the reliability of the level's own coefficient. 0 where the level's rows do not
    determine one (v infinite), and where the variance is zero; 1 for an infinite ratio.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        odds = np.square(ratios) / own_variances
        inner = odds / (1.0 + odds)
    estimable = np.isfinite(own_variances)
    return np.where(estimable, np.where(np.isinf(ratios), 1.0, inner), 0.0)


def reliability_summary(own: OwnData, ratios: Floats, level: float) -> Floats:
    """Posterior mean and ends of the equal-tailed interval (3, J, p) of λ from draws (S, p) of the ratios.

    Levels with the same information share their numbers, so a factor of thousands of levels costs a few of them.
    """
    J, p = own.variances.shape
    out = np.empty((3, J, p))
    ends = [0.5 - level / 2.0, 0.5 + level / 2.0]
    step = max(1, BLOCK_ENTRIES // len(ratios))
    for q in range(p):
        distinct, where = np.unique(own.variances[:, q], return_inverse=True)
        found = np.empty((3, len(distinct)))
        for start in range(0, len(distinct), step):
            part = slice(start, start + step)
            drawn = reliabilities(distinct[part], ratios[:, [q]])
            found[0, part], found[1:, part] = drawn.mean(axis=0), np.quantile(drawn, ends, axis=0)
        out[:, :, q] = found[:, where]
    return out
