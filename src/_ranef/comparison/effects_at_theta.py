"""Random effects at any θ, and at any ratio of one standard deviation to σ, zero and infinity among them.

At given θ the effects are b̂ = D ZᵀV⁻¹(y − Xβ̂) with β̂ by generalised least squares at that θ: one factorisation, no
selected inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from _ranef.comparison.reliability import OwnData
from _ranef.likelihood import Likelihood
from _ranef.spec import ModelSpec
from _ranef.structures import lower_root
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = [
    "EffectsAt",
    "Moved",
    "column_information",
    "effects_at",
    "effects_at_ratio",
    "moved",
    "without_column",
]

#: h at the ratios from which an infinite one is extrapolated, in units of the smallest, and weights of a cubic at h = 0
STEPS = np.array([1.0, 2.0, 4.0, 8.0])
WEIGHTS = np.array([64.0, -56.0, 14.0, -1.0]) / 21.0

#: 1/r² at the largest of them, in units of the slowest level's, where h = 1/r² and where h = 1/r
SMALLEST_STEP, SMALLEST_CORRELATED = 1e-4, 1e-5

#: growth in proportion to r, as a share of its size there, from which a value has no limit
GROWTH = 1e-4

#: no level is waited for that has less information than this share of a typical one
SLOWEST = 1e-6

#: information of a column in a level, as a share of the mean level's, below which its rows do not hold the column
NO_INFORMATION = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class EffectsAt:
    """Everything that is estimated given θ, on the user's scale.

    Attributes
    ----------
    criterion : float
        −2 log-likelihood or REML criterion.
    sigma : float
        Profiled over, or the known one.
    beta : array (p,)
    b : tuple of array (J_k, p_k)
    coef : tuple of array (J_k, p_k)
        b̂ with the fixed effect of the same name, if there is one. At an infinite ratio it may have a limit where
        neither part has.
    right : tuple of array (J_k, p_k)
        Z_kᵀW(y − Xβ̂ − Σ Z_l b̂_l), without the effects of the other factors l, for standard columns of Z_k
        (:mod:`_ranef.likelihood.at`).
    """

    criterion: float
    sigma: float
    beta: Floats
    b: tuple[Floats, ...]
    coef: tuple[Floats, ...]
    right: tuple[Floats, ...]


def effects_at(likelihood: Likelihood, lambdas: Sequence[Floats]) -> EffectsAt:
    """β̂ and b̂ at λ_k (p_k, p_k) of the user's scale, any square roots of D_k, in the order of the spec's groupings."""
    spec, at = likelihood.spec, likelihood.at_roots(lambdas)
    fixed = dict(zip(spec.design.fixed_names, at.beta.tolist(), strict=True))
    coef = tuple(
        own + np.array([fixed.get(name, 0.0) for name in g.columns])
        for own, g in zip(at.effects, spec.groupings, strict=True)
    )
    return EffectsAt(at.criterion, at.sigma, at.beta, at.effects, coef, at.left)


@dataclass(frozen=True, eq=False, repr=False)
class Moved:
    """The column of a grouping whose relative standard deviation is moved.

    Attributes
    ----------
    k, q : int
        Grouping of the spec and column in it.
    columns : array of int
        All columns that move: of an ``ident`` term every one, for they share one standard deviation.
    """

    k: int
    q: int
    columns: Ints

    def scaled(self, lam: Floats, ratio: float) -> Floats:
        """λ_k (p, p) with standard deviation `ratio` (finite) of the moved columns; correlations stay.

        A standard deviation that was zero has no correlations to keep: it becomes that of an independent effect.
        """
        norms = np.linalg.norm(lam[self.columns], axis=1)
        if norms.min() > 0:
            out = lam.copy()
            out[self.columns] *= (ratio / norms)[:, None]
            return out
        return self._beside(lam, ratio)

    def theta(self, spec: ModelSpec, theta: Floats, ratio: float) -> Floats:
        """θ (n_theta,) with standard deviation `ratio` of the moved columns, whose entries are infinite where it is."""
        lambdas = list(spec.lambdas(theta))
        lam = self.scaled(lambdas[self.k], ratio if np.isfinite(ratio) else 1.0)
        if np.isinf(ratio):
            own = lam[self.columns]
            lam[self.columns] = np.where(own == 0, 0.0, np.copysign(np.inf, own))
        lambdas[self.k] = lam
        return spec.theta_of(lambdas)

    def conditional(self, lam: Floats) -> Floats:
        """λ_k (p, p) of the other columns given that the effects of the moved ones are zero, whose rows are zero.

        When their standard deviation goes to infinity, what they say of the others vanishes, and this is left.
        """
        own = lam[self.columns]
        out = lam - lam @ np.linalg.pinv(own) @ own
        out[self.columns] = 0.0
        return np.asarray(out)

    def correlated(self, lam: Floats) -> bool:
        """Whether the effects of the moved columns are correlated with other ones."""
        return bool(np.any(np.delete(lam @ lam.T, self.columns, axis=1)[self.columns] != 0))

    def _beside(self, lam: Floats, ratio: float) -> Floats:
        kept = lam.copy()
        kept[self.columns] = 0.0
        return lower_root(np.hstack([kept, ratio * np.eye(len(lam))[:, self.columns]]))


def moved(spec: ModelSpec, k: int, q: int) -> Moved:
    """Column `q` of grouping `k`, with those that must move with it."""
    term = next(t for t in spec.terms if t.grouping == k and t.where.start <= q < t.where.stop)
    together = term.structure.shared
    return Moved(k, q, np.arange(term.where.start, term.where.stop) if together else np.array([q]))


def effects_at_ratio(
    likelihood: Likelihood, lambdas: Sequence[Floats], own: OwnData, column: Moved, ratio: float
) -> EffectsAt:
    """Effects at λ with one relative standard deviation changed, to anything from 0 to infinity.

    At infinity: the limit, by extrapolation in 1/r (in 1/r² without correlations) from four large ratios. What grows
    with r has no limit, and is NaN. That takes a correlation, and a shift of the moved effects that no row shows: of
    those of a level whose rows do not hold the column, or of all of them against β̂ where an effect correlated with
    them has no fixed effect. The shift, however large, then costs little and explains the correlated effects.
    """

    def at(lam: Floats) -> EffectsAt:
        return effects_at(likelihood, [lam if k == column.k else l for k, l in enumerate(lambdas)])

    lam = lambdas[column.k]
    if np.isfinite(ratio):
        found = at(column.scaled(lam, ratio))
        if ratio == 0.0:
            found.b[column.k][:, column.columns] = 0.0  # without the rounding of the internal scale
        return found
    correlated = column.correlated(lam)
    large = _large_ratio(likelihood, lambdas, own, column, SMALLEST_CORRELATED if correlated else SMALLEST_STEP)
    near = [at(column.scaled(lam, large / h)) for h in (STEPS if correlated else np.sqrt(STEPS))]
    return _extrapolated(likelihood, near, correlated=correlated)


def without_column(own: OwnData, column: Moved) -> Bools:
    """Which levels hold nothing of each moved column (J, columns)."""
    information = own.information[:, column.columns]
    return np.asarray(information <= NO_INFORMATION * information.mean(axis=0))


def _large_ratio(likelihood: Likelihood, lambdas: Sequence[Floats], own: OwnData, column: Moved, step: float) -> float:
    """A ratio that is large beside all that competes with the moved effects, noise and other effects alike."""
    information = column_information(own.A, own.T, lambdas[column.k], column)[~without_column(own, column)]
    needed = 1.0 / max(information.min(), SLOWEST * float(np.median(information)))
    others = [lam.copy() for lam in lambdas]
    others[column.k][column.columns] = 0.0
    competing = sum(float((root**2).sum()) for root in likelihood.standard_roots(others))
    unit = likelihood.spec.n_obs / own.information[:, column.columns].sum(axis=0).min()
    return float(np.sqrt((needed + competing * unit) / step))


def column_information(A: Floats, T: Floats, lam: Floats, column: Moved) -> Floats:
    """Information (J, columns) about moved effects from A (J, p, p) of standard columns, the others unknown.

    These have the conditional distribution of :meth:`Moved.conditional`; `lam` (p, p) and the answer are the user's.
    """
    rest = np.linalg.solve(T, column.conditional(lam))
    half = A @ rest
    left = A - half @ np.linalg.solve(rest.T @ half + np.eye(len(rest)), np.swapaxes(half, 1, 2))
    back = np.linalg.inv(T)[:, column.columns]
    return np.asarray(np.maximum(np.einsum("aq,jab,bq->jq", back, left, back), 0.0))


def _extrapolated(likelihood: Likelihood, near: Sequence[EffectsAt], *, correlated: bool) -> EffectsAt:
    """The value at h = 0 of cubics through those at :data:`STEPS`; the criterion has no limit but infinity."""
    last = near[0]

    def limit(values: Sequence[Floats], size: Floats | float) -> Floats:
        stacked = np.array(values)
        found = np.tensordot(WEIGHTS, stacked, 1)
        # a value a/h + c₀ + c₁h + … times h is a at h = 0
        growth = np.abs(np.tensordot(WEIGHTS * STEPS, stacked, 1))
        return np.where(correlated & (growth > GROWTH * size), np.nan, found)

    def by_level(values: Sequence[Floats], unit: Floats | float) -> Floats:
        return limit(values, unit + np.abs(values[0]).max(axis=0))

    units, size = likelihood.effect_units, likelihood.coefficient_units + np.abs(last.beta - likelihood.pilot)
    groups = range(len(last.b))
    return EffectsAt(
        np.inf,
        float(WEIGHTS @ [at.sigma for at in near]),
        limit([at.beta for at in near], size),
        tuple(by_level([at.b[k] for at in near], units[k]) for k in groups),
        tuple(limit([at.coef[k] for at in near], units[k] + np.abs(last.b[k]).max(axis=0)) for k in groups),
        tuple(by_level([at.right[k] for at in near], likelihood.response_unit) for k in groups),
    )
