"""How far each random effect is drawn from what its own rows say towards zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from _ranef.results import ESTIMATING, Fit
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "OwnSums",
    "beside_alone",
    "level_effects",
    "level_sums",
    "no_pooling",
    "own_sums",
    "prior_variances",
    "shrinkage_frame",
]

#: eigenvalues of a within-level correlation matrix below this count as zero: that direction is not estimable
RANK_TOLERANCE = 1e-12

#: share of a unit vector in the null space above which its coefficient is not estimable
NULL_SHARE = 1e-8

COLUMNS = ["group", "level", "term", "n", "no_pooling", "estimate", "sd", "lower", "upper", "ratio", "shrinkage"]


def shrinkage_frame(fit: Fit, level: float = 0.95) -> pd.DataFrame:
    """Random effects beside what each level's own rows say without pooling.

    Parameters
    ----------
    fit : Fit
        Of either engine.
    level : float
        Probability of the intervals.

    Returns
    -------
    DataFrame
        ``group, level, term`` as :meth:`Fit.ranef`; ``n``, the rows of that level; ``no_pooling``, weighted least
        squares on the level's own columns, (ZⱼᵀWZⱼ)⁻¹ZⱼᵀWr, of r = y − offset − Xβ̂ less the effects of other factors
        as the fit has them, NaN where not estimable from that level alone; ``estimate, sd, lower, upper`` of the fit;
        ``ratio`` = no_pooling / estimate, NaN where the estimate is zero; ``shrinkage``, for REML and ML the
        conditional variance over the prior variance of the effect (1 − reliability with one factor; 1 where the
        variance is zero), NaN for a posterior.

    Raises
    ------
    DesignError
        If `level` is not strictly between 0 and 1.

    Notes
    -----
    With one random intercept and levels of n rows the ratio is 1 + σ²/(n τ²), the same for every level.

    Examples
    --------
    >>> import ranef
    >>> from _ranef.comparison.shrinkage import shrinkage_frame
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> shrinkage_frame(fit)["ratio"].round(4).tolist()
    [1.3121, 1.3121, 1.3121, 1.3121]
    """
    spec, out = fit.spec, fit.ranef(level=level)
    own = own_sums(spec, fit.fixef.to_numpy(), level_effects(spec, out["estimate"].to_numpy()))
    return beside_alone(fit, out, [o.n for o in own], [no_pooling(o) for o in own])


def beside_alone(fit: Fit, out: pd.DataFrame, rows: Sequence[Ints], alone: Sequence[Floats]) -> pd.DataFrame:
    """The columns of :func:`shrinkage_frame` from ``fit.ranef()`` and, by grouping, rows (J,) and no pooling (J, p)."""
    spec = fit.spec
    counts = [np.repeat(n, own.shape[1]) for n, own in zip(rows, alone, strict=True)]
    prior = [np.tile(v, g.n_levels) for v, g in zip(prior_variances(spec, fit.varcorr), spec.groupings, strict=True)]
    estimate, sd = (out[name].to_numpy(dtype=float) for name in ("estimate", "sd"))
    out["n"] = np.concatenate([np.empty(0, dtype=np.intp), *counts])
    out["no_pooling"] = _joined([own.ravel() for own in alone])
    out["ratio"] = _divided(out["no_pooling"].to_numpy(), estimate, np.nan)
    out["shrinkage"] = _divided(sd**2, _joined(prior), 1.0) if fit.engine in ESTIMATING else np.nan
    return out[COLUMNS]


@dataclass(frozen=True, eq=False, repr=False)
class OwnSums:
    """What the rows of every level say of its effects, all else being known; J levels with p columns.

    Attributes
    ----------
    n : array of int (J,)
        Rows.
    gram : array (J, p, p)
        ZⱼᵀWZⱼ.
    right : array (J, p)
        ZⱼᵀWr, of what is left for the effects.
    """

    n: Ints
    gram: Floats
    right: Floats

    def plus(self, other: OwnSums) -> OwnSums:
        """Those of more rows, too."""
        return OwnSums(self.n + other.n, self.gram + other.gram, self.right + other.right)


def own_sums(spec: ModelSpec, beta: Floats, effects: Sequence[Floats]) -> list[OwnSums]:
    """By grouping, with coefficients (p,) and the `effects` (J_k, p_k) of the other factors as they are given."""
    out: list[OwnSums] = []
    for part in spec.parts():
        d, w = part.design, part.residual.precision
        left = d.y - d.X @ beta - (0.0 if d.offset is None else d.offset)
        rows = [np.einsum("na,na->n", g.Z, b[g.codes]) for g, b in zip(part.groupings, effects, strict=True)]
        found = [
            level_sums(g.codes, g.n_levels, g.Z, left - sum(rows[:k]) - sum(rows[k + 1 :]), w)
            for k, g in enumerate(part.groupings)
        ]
        out = [a.plus(b) for a, b in zip(out, found, strict=True)] if out else found
    return out


def level_sums(codes: Ints, n_levels: int, Z: Floats, left: Floats, weights: Floats) -> OwnSums:
    """Of rows with their levels `codes` (n,) and columns Z (n, p), of which `left` (n,) is to be explained."""
    p = Z.shape[1]
    WZ = Z * weights[:, None]
    gram, right = np.empty((n_levels, p, p)), np.empty((n_levels, p))
    for a in range(p):
        right[:, a] = np.bincount(codes, WZ[:, a] * left, minlength=n_levels)
        for b in range(a + 1):
            gram[:, a, b] = gram[:, b, a] = np.bincount(codes, WZ[:, a] * Z[:, b], minlength=n_levels)
    return OwnSums(np.bincount(codes, minlength=n_levels), gram, right)


def level_effects(spec: ModelSpec, values: Floats) -> list[Floats]:
    """Effects (J_k, p_k) by grouping of a column in the order of :meth:`Fit.ranef`."""
    sizes = [g.n_levels * len(g.columns) for g in spec.groupings]
    parts = np.split(values, np.cumsum(sizes)[:-1]) if sizes else []
    return [part.reshape(g.n_levels, len(g.columns)) for part, g in zip(parts, spec.groupings, strict=True)]


def no_pooling(own: OwnSums) -> Floats:
    """Coefficients (J, p) of every level alone; NaN where its rows do not determine a coefficient."""
    gram, right = own.gram, own.right
    scale = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(gram / (scale[:, :, None] * scale[:, None, :]))
    known = values > RANK_TOLERANCE
    inverse = np.where(known, 1.0 / np.where(known, values, 1.0), 0.0)
    rotated = np.einsum("jak,ja->jk", vectors, right / scale) * inverse
    solution = np.einsum("jak,jk->ja", vectors, rotated) / scale
    null_share = np.einsum("jak,jk->ja", vectors**2, (~known).astype(float))
    return np.where(null_share > NULL_SHARE, np.nan, solution)


def prior_variances(spec: ModelSpec, varcorr: pd.DataFrame) -> tuple[Floats, ...]:
    """Variances (p_k,) of the random effects of every grouping, read from a frame in the layout of ``varcorr``."""
    variances = varcorr.loc[varcorr["term2"].isna(), "vcov"].to_numpy(dtype=float)
    out = tuple(np.empty(len(g.columns)) for g in spec.groupings)
    start = 0
    for t in spec.terms:
        out[t.grouping][t.where] = variances[start : start + len(t.columns)]
        start += len(t.columns)
    return out


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.empty(0)


def _divided(top: Floats, bottom: Floats, otherwise: float) -> Floats:
    out = np.full(top.shape, otherwise)
    np.divide(top, bottom, out=out, where=bottom != 0)
    return out
