"""Variance components by name from θ and σ, for any number of values at once."""

from __future__ import annotations

import numpy as np

from _ranef.spec.generalised_response import Generalised
from _ranef.spec.model import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["covariance_arrays", "sdcor_arrays", "varcorr_arrays"]


def covariance_arrays(spec: ModelSpec, theta: Floats, sigma: Floats) -> tuple[Floats, ...]:
    """Covariance matrices σ²λλᵀ (..., p_k, p_k) of the groupings at `theta` (..., n_theta) and `sigma` (...)."""
    out = [np.zeros((*sigma.shape, len(g.columns), len(g.columns))) for g in spec.groupings]
    for t in spec.terms:
        lam = t.structure.root(theta[..., t.theta])
        block = sigma[..., None, None] ** 2 * (lam @ np.swapaxes(lam, -1, -2))
        out[t.grouping][..., t.where, t.where] = block
    return tuple(out)


def varcorr_arrays(spec: ModelSpec, theta: Floats, sigma: Floats) -> list[tuple[str, str, str | None, Floats, Floats]]:
    """Rows of ``varcorr``: group, term1, term2, variance or covariance (...), sd or correlation (...).

    The residual is last; generalised responses have none.

    A correlation with an effect of variance zero is NaN.
    """
    covs = covariance_arrays(spec, theta, sigma)
    rows: list[tuple[str, str, str | None, Floats, Floats]] = []
    for t in spec.terms:
        block = covs[t.grouping][..., t.where, t.where]
        sd = np.sqrt(np.diagonal(block, axis1=-2, axis2=-1))
        rows += [(t.group, c, None, block[..., i, i], sd[..., i]) for i, c in enumerate(t.columns)]
        with np.errstate(invalid="ignore", divide="ignore"):
            corr = np.clip(block / (sd[..., :, None] * sd[..., None, :]), -1.0, 1.0)
        rows += [(t.group, t.columns[j], t.columns[i], block[..., i, j], corr[..., i, j]) for i, j in t.structure.pairs]
    if not isinstance(spec.family, Generalised):
        rows.append(("Residual", "", None, sigma**2, sigma))
    return rows


def sdcor_arrays(spec: ModelSpec, theta: Floats, sigma: Floats) -> dict[str, Floats]:
    """Standard deviations and correlations (...) under the names that ``confint`` gives them; ``sigma`` last."""
    out = {}
    for group, term1, term2, _, sdcor in varcorr_arrays(spec, theta, sigma):
        if group == "Residual" and not term1:
            out["sigma"] = sdcor
        else:
            out[f"sd({term1} | {group})" if term2 is None else f"cor({term1}, {term2} | {group})"] = sdcor
    return out
