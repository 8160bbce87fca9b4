"""From complete pooling to none: the whole covariance of a factor's effects scaled, everything else as estimated.

The effects of a level are b̂ⱼ = D(I + AⱼD)⁻¹gⱼ with gⱼ = ZⱼᵀW(y − Xβ̂ − other factors' BLUPs), Aⱼ = ZⱼᵀWZⱼ and D
relative to σ². With D = s²D̂ they are zero at s = 0, the BLUPs at s = 1, and the level's own least squares at s = ∞:
what ``pooling`` calls complete, partial and no pooling, whatever the other factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.comparison.effects_at_theta import EffectsAt
from _ranef.comparison.reliability import OwnData, own_estimates, reliabilities
from _ranef.comparison.shrinkage import RANK_TOLERANCE
from _ranef.spec import ModelSpec
from _ranef.structures import Structure, lower_root
from _ranef.support.arrays import Floats

__all__ = [
    "CovarianceSweep",
    "Scaled",
    "covariance_sweep",
    "scaled_covariance",
    "scaled_effects",
    "scaled_theta",
]

#: share of the largest variance of a term, in units of what the rows say, below which a direction has none
NO_VARIANCE = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Scaled:
    """D(s) = s²D̂ + max(s² − 1, 0) N of one factor, relative to σ².

    N is zero where D̂ is regular. Multiples of a singular D̂ (a variance of zero, correlations of ±1) never reach no
    pooling, so that N gives what D̂ lacks: variances as large as the sampling variances of a typical level's own
    coefficients, in the directions that D̂ leaves out and within the structure of each term. At s = 1 stands D̂ itself.

    Attributes
    ----------
    root : array (p, p)
        λ̂ with D̂ = λ̂λ̂ᵀ, in the user's columns.
    missing : array (p, m)
        A square root of N.
    half : float
        The s at which a typical level is half-way: the geometric mean, over effects, of that where the level's own
        coefficient has reliability ½; if D̂ is zero, the root of s² − 1 there.
    """

    root: Floats
    missing: Floats
    half: float

    @property
    def zero(self) -> bool:
        """Whether D̂ is zero: the estimate is complete pooling, and so is all of s ≤ 1."""
        return bool(np.all(self.root == 0.0))

    @property
    def singular(self) -> bool:
        """Whether D̂ lacks a direction."""
        return bool(self.missing.shape[1] > 0)

    def shape(self, scale: float) -> tuple[Floats, float]:
        """A square root (p, p + m) of D(s)/s², and 1/s², if s is above 1; else of D(s), and 1: never infinite."""
        if scale <= 1.0:
            return np.hstack([scale * self.root, 0.0 * self.missing]), 1.0
        noise = float(scale) ** -2.0
        return np.hstack([self.root, np.sqrt(1.0 - noise) * self.missing]), noise

    def sds(self, scales: Floats) -> Floats:
        """Standard deviations over σ (..., p) at scales (...)."""
        s2 = np.square(scales)[..., None]
        grown, added = (self.root**2).sum(axis=1), (self.missing**2).sum(axis=1)
        with np.errstate(invalid="ignore"):
            parts = grown * s2, added * np.maximum(s2 - 1.0, 0.0)
        return np.asarray(np.sqrt(sum(np.where(np.isnan(part), 0.0, part) for part in parts)))

    def position(self, scales: Floats | float) -> Floats:
        """Place between 0 (complete pooling) and 1 (none): s²/(s² + half²), with s² − 1 for s² where D̂ is zero."""
        moved = np.square(np.asarray(scales, dtype=float)) - (1.0 if self.zero else 0.0)
        return reliabilities(np.asarray(self.half**2), np.sqrt(np.maximum(moved, 0.0)))

    def scale(self, position: Floats) -> Floats:
        """Inverse of :meth:`position`; 0 at complete pooling, infinity at none."""
        with np.errstate(divide="ignore"):
            moved = self.half**2 * position / (1.0 - position)
        return np.where(position == 0.0, 0.0, np.sqrt(moved + (1.0 if self.zero else 0.0)))

    def even(self, n: int) -> Floats:
        """Scales (n,) from 0 to infinity, even in :meth:`position`; a singular D̂ itself is among them, if n > 2."""
        scales = self.scale(np.linspace(0.0, 1.0, n))
        if self.singular and not self.zero and n > 2:
            scales[1 + np.argmin(np.abs(self.position(scales[1:-1]) - self.position(1.0)))] = 1.0
        return scales


def scaled_covariance(spec: ModelSpec, k: int, lam: Floats, own: OwnData) -> Scaled:
    """The path of the covariance of grouping `k` through λ_k (p, p), by the rows of its levels."""
    typical, parts = own.A.mean(axis=0), []
    for term in spec.terms:
        if term.grouping == k:
            at = (term.where, term.where)
            part = _missing(term.structure, lam[at], typical[at], own.T[at])
            whole = np.zeros((len(lam), part.shape[1]))
            whole[term.where] = part
            parts.append(whole)
    missing = np.hstack(parts)
    sds = np.linalg.norm(lam if lam.any() else missing, axis=1)
    return Scaled(lam, missing, _half(own, sds))


def _missing(structure: Structure, lam: Floats, typical: Floats, T: Floats) -> Floats:
    """A root (p, m) of what a term's λ (p, p) lacks of full rank: variances of a typical level's own coefficients.

    `typical` (p, p) is the mean information about its internal effects b̃, with b = T b̃.
    """
    values, axes = np.linalg.eigh(typical)
    size = np.sqrt(np.maximum(values, np.finfo(float).eps * values.max()))
    inward = (size * axes).T @ np.linalg.inv(T)
    if structure.free:
        # in coordinates where the typical level's information is the identity: the same whatever columns span the term
        directions, sds, _ = np.linalg.svd(inward @ lam)
        return np.asarray(T @ (axes / size) @ directions[:, sds**2 <= NO_VARIANCE * sds[0] ** 2])
    information = (inward**2).sum(axis=0)
    if structure.shared:
        information = np.full(len(lam), information.mean())
    return np.asarray((np.eye(len(lam)) / np.sqrt(information))[:, np.diag(lam) == 0.0])


def _half(own: OwnData, sds: Floats) -> float:
    """Geometric mean of √v/sd over effects with a variance, v the median own variance of levels that have one."""
    known = np.where(np.isfinite(own.variances), own.variances, np.nan)
    counted = (sds > 0) & np.isfinite(known).any(axis=0)
    if not counted.any():
        return 1.0
    typical = np.nanmedian(known[:, counted], axis=0)
    return float(np.exp(np.mean(0.5 * np.log(typical) - np.log(sds[counted]))))


@dataclass(frozen=True, eq=False, repr=False)
class _OwnRows:
    """The rows of all levels, as b̂ⱼ = D Cⱼ(I + CⱼᵀD Cⱼ)⁻¹hⱼ needs them: regular also where Aⱼ = CⱼCⱼᵀ is not."""

    own: OwnData
    right: Floats

    @cached_property
    def roots(self) -> tuple[Floats, Floats, Floats]:
        """C (J, p, p), zero in directions that no row shows, h (J, p) with C h = g, and which those are (J, p)."""
        A = self.own.A
        scale = np.sqrt(np.diagonal(A, axis1=1, axis2=2))
        scale = np.where(scale > 0, scale, 1.0)
        values, vectors = np.linalg.eigh(A / (scale[:, :, None] * scale[:, None, :]))
        known = values > RANK_TOLERANCE
        size = np.sqrt(np.where(known, values, 1.0))
        C = scale[:, :, None] * vectors * np.where(known, size, 0.0)[:, None, :]
        h = np.einsum("jab,ja->jb", vectors, self.right / scale) / size
        return C, np.where(known, h, 0.0), np.where(known, 0.0, 1.0)

    @cached_property
    def alone(self) -> Floats:
        """Least squares of each level (J, p), in the user's columns; NaN where its rows do not determine one."""
        return own_estimates(self.own, self.right)

    def effects(self, covariance: Scaled, scale: float) -> Floats:
        """b̂ (J, p) of the user's columns; at infinity the level's own least squares."""
        if np.isinf(scale):
            return self.alone
        T = self.own.T
        root, noise = covariance.shape(scale)
        root = np.linalg.solve(T, root)
        D = root @ root.T
        C, h, unknown = self.roots
        middle = np.swapaxes(C, 1, 2) @ D @ C
        places = np.arange(len(D))
        middle[:, places, places] += np.where(unknown > 0, 1.0, noise)
        return np.asarray((D @ C @ np.linalg.solve(middle, h[:, :, None]))[:, :, 0] @ T.T)


def scaled_effects(own: OwnData, right: Floats, covariance: Scaled, scale: float) -> Floats:
    """b̂ (J, p) of one factor at s from 0 to infinity, all else as estimated.

    `right` (J, p) is of :class:`EffectsAt`. At infinity an effect that the level's rows do not determine is NaN.
    """
    return _OwnRows(own, right).effects(covariance, scale)


def scaled_theta(spec: ModelSpec, theta: Floats, covariances: Mapping[int, Scaled], scale: float) -> Floats:
    """θ (n_theta,) with the covariances of some groupings at s; infinite where it grows with s, if s is."""
    lambdas = list(spec.lambdas(theta))
    for k, covariance in covariances.items():
        root, noise = covariance.shape(scale)
        lambdas[k] = np.zeros_like(lambdas[k])
        for term in spec.terms:
            if term.grouping == k:
                lambdas[k][term.where, term.where] = lower_root(root[term.where]) / (np.sqrt(noise) if noise else 1.0)
    values = spec.theta_of(lambdas)
    if not np.isinf(scale):
        return values
    moved = np.concatenate([np.full(t.structure.n_theta, t.grouping in covariances) for t in spec.terms])
    moved &= ~spec.is_shape
    return np.where(moved & (values != 0), np.copysign(np.inf, values), values)


@dataclass(frozen=True, eq=False, repr=False)
class CovarianceSweep:
    """All effects of one factor from complete pooling (s = 0) to none (infinity), as s scales their covariance.

    Standard deviations move in proportion and correlations stay. β̂, σ̂ and the effects of other factors stay as
    estimated, so that the ends are those of :attr:`Pooling.frame`, and s = 1 its BLUPs, to rounding.

    Attributes
    ----------
    group : str
    levels : array of str (J,)
    columns : tuple of str (p,)
        Its effects.
    covariance : Scaled
        D(s) over σ².
    scales : array (S,)
    ratios : array (S, p)
        Standard deviation of each effect over σ.
    beta : array (p,)
        Of the fixed effect of each column's name, 0 without one.
    b : array (S, J, p)
        b̂; NaN at infinity for an effect that the level's rows do not determine.
    coefficients : array (S, J, p)
        With the fixed effect of the same name, if there is one.
    reliability : array (S, J, p)
        Of the level's own coefficients.
    """

    group: str
    levels: NDArray[np.object_]
    columns: tuple[str, ...]
    covariance: Scaled
    scales: Floats
    ratios: Floats
    beta: Floats
    b: Floats
    reliability: Floats

    @property
    def half(self) -> float:
        """The scale at which a typical level is half-way (see :class:`Scaled`)."""
        return self.covariance.half

    @property
    def coefficients(self) -> Floats:
        """b̂ with the fixed effects (S, J, p)."""
        return self.b + self.beta

    def position(self, scale: Floats | float) -> Floats:
        """Place of a scale between 0 (complete pooling) and 1 (none)."""
        return self.covariance.position(scale)

    @property
    def frame(self) -> pd.DataFrame:
        """``group, level, term, ratio, estimate, reliability, position, coef, scale``, one effect after the other."""
        return pd.concat([self.frame_of(q) for q in range(len(self.columns))], ignore_index=True)

    def frame_of(self, q: int) -> pd.DataFrame:
        """The rows of one effect."""
        J = len(self.levels)
        return pd.DataFrame(
            {
                "group": self.group,
                "level": np.tile(self.levels, len(self.scales)),
                "term": self.columns[q],
                "ratio": np.repeat(self.ratios[:, q], J),
                "estimate": self.b[:, :, q].ravel(),
                "reliability": self.reliability[:, :, q].ravel(),
                "position": np.repeat(self.position(self.scales), J),
                "coef": self.coefficients[:, :, q].ravel(),
                "scale": np.repeat(self.scales, J),
            }
        )

    def __repr__(self) -> str:
        return f"<CovarianceSweep of {self.group} ({', '.join(self.columns)}) at {len(self.scales)} scales>"


def covariance_sweep(
    spec: ModelSpec, k: int, own: OwnData, at: EffectsAt, covariance: Scaled, scales: Floats
) -> CovarianceSweep:
    """Effects of grouping `k` at every scale (S,), all else as in `at`."""
    g, rows = spec.groupings[k], _OwnRows(own, at.right[k])
    fixed = dict(zip(spec.design.fixed_names, at.beta.tolist(), strict=True))
    ratios = covariance.sds(scales)
    return CovarianceSweep(
        g.name,
        g.levels,
        g.columns,
        covariance,
        scales,
        ratios,
        np.array([fixed.get(name, 0.0) for name in g.columns]),
        np.array([rows.effects(covariance, float(s)) for s in scales]),
        reliabilities(own.variances, ratios[:, None, :]),
    )
