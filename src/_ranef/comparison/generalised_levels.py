"""Levels of a generalised response alone, pooled, and on the way: penalised likelihoods of each level's own rows.

Given η of the fixed effects and of other factors, the effects of a level maximise log f(its rows | η + zᵀb) −
bᵀ(s²D̂)⁻¹b/2: zero at s = 0, the conditional modes at s = 1, and what the level's rows say alone at s = ∞. Where these
are all at an end of the response's range (zeros, or ones) the last has no maximum: it is ±∞.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from _ranef.comparison.pooling import effects_frame, relative_sds
from _ranef.comparison.reliability import OwnData, own_data, reliabilities
from _ranef.comparison.scaled_covariance import CovarianceSweep, Scaled, scaled_covariance
from _ranef.comparison.shrinkage import beside_alone, level_effects, level_sums, no_pooling, shrinkage_frame
from _ranef.inference import dispersions_at
from _ranef.likelihood import LaplaceAt, outward_direction, response_rows
from _ranef.results import Fit, PosteriorDraws
from _ranef.spec import Generalised, ModelSpec, Rows
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = [
    "LevelRows",
    "LinkedBase",
    "level_alone",
    "level_modes",
    "level_rows",
    "levels_frame",
    "linked_base",
    "linked_sweep",
]

#: Newton's steps, halvings of one, the decrement that ends them, and how far one may move η
STEPS, HALVINGS, DONE, LONGEST = 60, 25, 1e-12, 8.0

#: precision of effects that stands for none, and linear predictor beyond which there may be no maximum
NO_PENALTY, FAR_OUT = 1e-11, 10.0


@dataclass(frozen=True, eq=False, repr=False)
class LevelRows:
    """Rows of the levels of one factor.

    Attributes
    ----------
    family : Generalised
    rows : Rows
    own : mapping str to float
        Dispersions.
    rest : array (n,)
        η without the factor's effects.
    Z : array (n, p)
    codes : array of int (n,)
    n_levels : int
    """

    family: Generalised
    rows: Rows
    own: Mapping[str, float]
    rest: Floats
    Z: Floats
    codes: Ints
    n_levels: int

    def summed(self, rows: Floats) -> Floats:
        """Sums (J, ...) by level of rows (n, ...)."""
        flat = rows.reshape(len(rows), -1)
        columns = [np.bincount(self.codes, column, minlength=self.n_levels) for column in flat.T]
        return np.column_stack(columns).reshape(self.n_levels, *rows.shape[1:]).astype(float)

    @cached_property
    def squares(self) -> Floats:
        """Zᵀ by Z of every row (n, p, p)."""
        return self.Z[:, :, None] * self.Z[:, None, :]

    @cached_property
    def unknown(self) -> Bools:
        """Which effects (J, p) a level's rows do not determine, whatever the response."""
        nothing = np.zeros(len(self.rest))
        return np.isnan(no_pooling(level_sums(self.codes, self.n_levels, self.Z, nothing, np.ones(len(self.rest)))))


def level_rows(
    spec: ModelSpec, beta: Floats, effects: Sequence[Floats], own: Mapping[str, float]
) -> tuple[LevelRows, ...]:
    """By grouping, given coefficients (p,) and the `effects` (J_k, p_k) of the other factors."""
    assert isinstance(spec.family, Generalised)
    d = spec.design
    fixed = d.X @ beta + (0.0 if d.offset is None else d.offset)
    parts = [np.einsum("na,na->n", g.Z, b[g.codes]) for g, b in zip(spec.groupings, effects, strict=True)]
    rows = response_rows(spec)
    return tuple(
        LevelRows(spec.family, rows, own, fixed + sum(parts[:k]) + sum(parts[k + 1 :]), g.Z, g.codes, g.n_levels)
        for k, g in enumerate(spec.groupings)
    )


def level_modes(levels: LevelRows, root: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Effects b = root c (J, p) that maximise log f − penalty cᵀc/2, by Newton's steps, and ZⱼᵀWZⱼ (J, p, p) there."""
    Z, squares = levels.Z @ root, root.T @ levels.squares @ root
    c = np.zeros((levels.n_levels, root.shape[1]))
    eye = np.maximum(penalty, NO_PENALTY) * np.eye(root.shape[1])

    def moved(at: Floats) -> Floats:
        return np.asarray(np.einsum("na,na->n", Z, at[levels.codes]))

    def heights(value: Floats, at: Floats) -> Floats:
        return np.asarray(levels.summed(value) - 0.5 * np.einsum("ja,ab,jb->j", at, eye, at))

    now = levels.family.slopes(levels.rest, levels.rows, levels.own)
    height = heights(now.value, c)
    for _ in range(STEPS):
        slope = levels.summed(Z * now.first[:, None]) - c @ eye
        step = np.linalg.solve(levels.summed(squares * now.curvature[:, None, None]) + eye, slope[:, :, None])[:, :, 0]
        longest = np.zeros(levels.n_levels)
        np.maximum.at(longest, levels.codes, np.abs(moved(step)))
        step = step * np.minimum(1.0, LONGEST / np.maximum(longest, 1e-300))[:, None]
        if not (np.einsum("ja,ja->j", slope, step) > DONE).any():
            break
        length = np.ones(levels.n_levels)
        for _ in range(HALVINGS):
            trial = c + length[:, None] * step
            at = levels.family.slopes(levels.rest + moved(trial), levels.rows, levels.own)
            lower = ~(heights(at.value, trial) >= height - 1e-13 * np.abs(height))
            if not lower.any():
                break
            length[lower] *= 0.5
        c, now, height = trial, at, heights(at.value, trial)
    return c @ root.T, levels.summed(levels.squares * now.curvature[:, None, None])


def level_alone(levels: LevelRows) -> Floats:
    """What each level's rows say alone (J, p): ±∞ where the likelihood has no maximum, NaN where it is flat."""
    b, _ = level_modes(levels, np.eye(levels.Z.shape[1]), 0.0)
    eta = np.abs(np.einsum("na,na->n", levels.Z, b[levels.codes]))
    farthest = np.zeros(levels.n_levels)
    np.maximum.at(farthest, levels.codes, eta)
    out = np.where(levels.unknown, np.nan, b)
    y, family = levels.rows.y, levels.family
    for j in np.flatnonzero(farthest > FAR_OUT):
        own = levels.codes == j
        way = outward_direction(levels.Z[own], y[own], family.lower, family.upper)
        if way is not None:
            out[j] = np.where(np.isnan(out[j]) | (way == 0.0), out[j], np.copysign(np.inf, way))
    return out


@dataclass(frozen=True, eq=False, repr=False)
class LinkedBase:
    """What every question about pooling in one model of a generalised response stands on.

    Attributes
    ----------
    at : LaplaceAt
        At the estimates.
    theta : array (n_theta,)
    levels : tuple of LevelRows
    own : tuple of OwnData
        Of the working response at the conditional modes, whose σ is 1: its reliabilities are Laplace's,
        1 − conditional over prior variance where a level has one effect.
    b : tuple of array (J_k, p_k)
        Conditional modes.
    rows : tuple of array of int (J_k,)
    """

    at: LaplaceAt
    theta: Floats
    levels: tuple[LevelRows, ...]
    own: tuple[OwnData, ...]
    b: tuple[Floats, ...]
    rows: tuple[Ints, ...]

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return self.at.laplace.spec

    @cached_property
    def alone(self) -> tuple[Floats, ...]:
        """Effects (J_k, p_k) without pooling."""
        return tuple(level_alone(levels) for levels in self.levels)

    @cached_property
    def covariances(self) -> tuple[Scaled, ...]:
        """The path of every grouping's covariance through θ̂."""
        lambdas = self.spec.lambdas(self.theta)
        return tuple(scaled_covariance(self.spec, k, lambdas[k], own) for k, own in enumerate(self.own))


def linked_base(at: LaplaceAt, theta: Floats) -> LinkedBase:
    """Of a model at its estimates."""
    spec, laplace = at.laplace.spec, at.laplace
    b = tuple(modes.values for modes in at.modes())
    levels = level_rows(spec, at.beta, b, laplace.own(at.logs))
    rows = tuple(np.bincount(g.codes, minlength=g.n_levels) for g in spec.groupings)
    return LinkedBase(at, theta, levels, own_data(at.working.likelihood), b, rows)


def linked_frame(base: LinkedBase, draws: PosteriorDraws | None) -> pd.DataFrame:
    """``group, level, term, n, no_pooling, partial, complete, posterior, reliability``; NaN without a posterior."""
    ratios = relative_sds(base.spec, base.theta)
    columns: dict[str, Sequence[Floats | Ints]] = {
        "n": [np.repeat(n, own.variances.shape[1]) for n, own in zip(base.rows, base.own, strict=True)],
        "no_pooling": base.alone,
        "partial": base.b,
        "complete": [np.zeros_like(b) for b in base.b],
        "posterior": [np.full(b.shape, np.nan) for b in base.b]
        if draws is None
        else [b.mean(axis=(0, 1)) for b in draws.b],
        "reliability": [reliabilities(own.variances, r) for own, r in zip(base.own, ratios, strict=True)],
    }
    return effects_frame(base, columns)


def linked_sweep(base: LinkedBase, k: int, scales: Floats) -> CovarianceSweep:
    """Effects of grouping `k` at every scale (S,) of its covariance, all else as estimated.

    Reliabilities are of the curvature at the effects of each scale; at infinity they are 1.
    """
    g, levels, own, covariance = base.spec.groupings[k], base.levels[k], base.own[k], base.covariances[k]
    fixed = dict(zip(base.spec.design.fixed_names, base.at.beta.tolist(), strict=True))
    ratios, b, reliability = covariance.sds(scales), [], []
    for scale, ratio in zip(scales, ratios, strict=True):
        if np.isinf(scale):
            b.append(base.alone[k])
            reliability.append(reliabilities(own.variances, ratio))
            continue
        root, noise = covariance.shape(float(scale))
        found, information = level_modes(levels, root, noise)
        b.append(found)
        reliability.append(reliabilities(_variances(own, information), ratio))
    return CovarianceSweep(
        g.name,
        g.levels,
        g.columns,
        covariance,
        scales,
        ratios,
        np.array([fixed.get(name, 0.0) for name in g.columns]),
        np.array(b),
        np.array(reliability),
    )


def _variances(own: OwnData, information: Floats) -> Floats:
    """[Aⱼ⁻¹]_qq (J, p) of what rows say of effects (J, p, p) in the user's columns; infinite where `own` has it so."""
    known = np.isfinite(own.variances)
    everywhere = known[:, :, None] & known[:, None, :]
    regular = np.where(everywhere, information, np.eye(information.shape[1]))
    return np.where(known, np.diagonal(np.linalg.inv(regular), axis1=1, axis2=2), np.inf)


def levels_frame(fit: Fit, level: float = 0.95) -> pd.DataFrame:
    """Random effects beside what each level's own rows say, of any response (see :func:`shrinkage_frame`).

    Of generalised responses all stand on the scale of the link, and ``no_pooling`` is ±∞ where a level's rows are all
    at an end of their range.
    """
    spec = fit.spec
    if not isinstance(spec.family, Generalised):
        return shrinkage_frame(fit, level)
    out = fit.ranef(level=level)
    effects = level_effects(spec, out["estimate"].to_numpy())
    levels = level_rows(spec, fit.fixef.to_numpy(), effects, dispersions_at(fit))
    rows = [np.bincount(g.codes, minlength=g.n_levels) for g in spec.groupings]
    return beside_alone(fit, out, rows, [level_alone(own) for own in levels])
