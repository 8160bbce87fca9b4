"""θ by moments, from the least-squares effects of every level: near the optimum where residuals are small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["LeastSquares", "least_squares"]

#: added to covariances so that no direction is zero, from where no descent leads away
RIDGE = 1e-6

#: residual sd, beside the response's without its fixed part, that is rounding
NOTHING = 2e-14

#: least residual sd beside the effects': that of numbers, and where no row tells of it
FARTHEST, NOT_FAR = 1e-13, 1e-3

#: share of a column of X below which what no random effect touches of it is rounding
IN_Z = 1e-8


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """What least squares says with all effects as coefficients.

    Attributes
    ----------
    theta : array (n_theta,)
        Internal, D that of the effects.
    sigma : float
        Internal residual sd of the rows that no coefficient fits.
    saturated : bool
        Whether there are no such rows: fixed and random effects together fit the response.
    """

    theta: Floats
    sigma: float
    saturated: bool


def least_squares(spec: ModelSpec, products: CrossProducts) -> LeastSquares | None:
    """Least-squares effects of every level and what they leave; None where rows are not at hand."""
    rotated = products.rotated
    if rotated is None:
        return None
    y = rotated.C[:, :, -1]
    flat = np.array([np.linalg.lstsq(Z, own)[0] for Z, own in zip(rotated.Z, y, strict=True)])
    effects = rotated.effects(flat[:, :, None])
    fixed = np.linalg.svd(rotated.rest[:-1, :-1], compute_uv=False)
    rank = sum(int(np.linalg.matrix_rank(Z)) for Z in rotated.Z)
    left = products.n_obs - rank - int((fixed > IN_Z * np.sqrt(np.trace(products.corner[:-1, :-1]))).sum())
    own = abs(float(rotated.rest[-1, -1])) / np.sqrt(max(left, 1))
    saturated = left <= 0 or own <= NOTHING
    size = float(np.sqrt((flat**2).mean()))
    least = NOT_FAR if saturated else FARTHEST
    sigma = max(own, least * size) if spec.sigma is None else spec.sigma / products.scaling.y
    out = np.empty(spec.n_theta)
    for t in spec.terms:
        b = effects[products.order.index(t.grouping)][:, t.where, 0]
        root = np.vstack([b / np.sqrt(len(b)), RIDGE * size * np.eye(b.shape[1])]) / sigma
        out[t.theta] = t.structure.closest(root.T)
    return LeastSquares(out, own, saturated)
