"""Random effects at any θ, and at any ratio of one standard deviation to σ, zero and infinity among them.

At given θ the effects are b̂ = D ZᵀV⁻¹(y − Xβ̂) with β̂ by generalised least squares at that θ: one factorisation, no
selected inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ranef.arrays import Bools, Floats, Ints
from ranef.comparison.reliability import OwnData
from ranef.likelihood import CrossProducts, Method, evaluate
from ranef.linalg import backward
from ranef.spec import ModelSpec, lower_root

__all__ = [
    "EffectsAt",
    "Moved",
    "column_information",
    "effects_at",
    "effects_at_ratio",
    "moved",
    "without_column",
]

#: 1/r² at the largest ratio by whose neighbours an infinite one is extrapolated, in units of the slowest level's
SMALLEST_STEP = 1e-4

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
    right : tuple of array (J_k, p_k)
        ZᵀW(y − Xβ̂) for the internal columns of Z and the user's y.
    """

    criterion: float
    sigma: float
    beta: Floats
    b: tuple[Floats, ...]
    right: tuple[Floats, ...]


def effects_at(products: CrossProducts, lambdas: Sequence[Floats], method: Method, sigma: float | None) -> EffectsAt:
    """β̂ and b̂ at λ_k (p_k, p_k) of the user's scale, any square roots of D_k, in the order of the spec's groupings."""
    scale, order = products.scaling, products.order
    inward = scale.inward(tuple(lambdas))
    at = evaluate(products, [inward[k] for k in order], method, sigma)
    contrast = np.append(-at.beta, 1.0)
    modes = backward(at.factor, [(white @ contrast)[:, :, None] for white in at.columns.white])
    places = [order.index(k) for k in range(len(order))]
    return EffectsAt(
        at.criterion,
        at.sigma * scale.y,
        scale.pilot + scale.y * (scale.X @ at.beta),
        tuple(scale.y * modes[i][:, :, 0] @ scale.Z[k].T for k, i in enumerate(places)),
        tuple(products.Xy[i] @ contrast * scale.y for i in places),
    )


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

    def released(self, lam: Floats, ratio: float) -> Floats:
        """λ_k (p, p) near the limit of :meth:`conditional`: the moved columns independent, with a large `ratio`."""
        return self._beside(self.conditional(lam), ratio)

    def _beside(self, lam: Floats, ratio: float) -> Floats:
        kept = lam.copy()
        kept[self.columns] = 0.0
        return lower_root(np.hstack([kept, ratio * np.eye(len(lam))[:, self.columns]]))


def moved(spec: ModelSpec, k: int, q: int) -> Moved:
    """Column `q` of grouping `k`, with those that must move with it."""
    term = next(t for t in spec.terms if t.grouping == k and t.where.start <= q < t.where.stop)
    together = term.template.kind == "ident"
    return Moved(k, q, np.arange(term.where.start, term.where.stop) if together else np.array([q]))


def effects_at_ratio(
    spec: ModelSpec,
    products: CrossProducts,
    lambdas: Sequence[Floats],
    method: Method,
    own: OwnData,
    column: Moved,
    ratio: float,
) -> EffectsAt:
    """Effects at λ with one relative standard deviation changed, to anything from 0 to infinity.

    At infinity: the limit, by extrapolation in 1/r² from three large ratios. Effects without a limit are NaN: those of
    a level whose rows do not hold the column, where it is correlated with another one.
    """

    def at(lam: Floats) -> EffectsAt:
        return effects_at(products, [lam if k == column.k else l for k, l in enumerate(lambdas)], method, spec.sigma)

    lam = lambdas[column.k]
    if np.isfinite(ratio):
        found = at(column.scaled(lam, ratio))
        if ratio == 0.0:
            found.b[column.k][:, column.columns] = 0.0  # without the rounding of the internal scale
        return found
    large = _large_ratio(products, lambdas, own, column)
    near = [at(column.released(lam, large / np.sqrt(d))) for d in (1.0, 2.0, 4.0)]
    found = _extrapolated(near)
    correlated = np.any(np.delete(lam @ lam.T, column.columns, axis=1)[column.columns] != 0)
    if correlated:
        levels, columns = np.nonzero(without_column(own, column))
        found.b[column.k][levels, column.columns[columns]] = np.nan
    return found


def without_column(own: OwnData, column: Moved) -> Bools:
    """Which levels hold nothing of each moved column (J, columns)."""
    information = own.information[:, column.columns]
    return np.asarray(information <= NO_INFORMATION * information.mean(axis=0))


def _large_ratio(products: CrossProducts, lambdas: Sequence[Floats], own: OwnData, column: Moved) -> float:
    """A ratio that is large beside all that competes with the moved effects, noise and other effects alike."""
    information = column_information(own.A, own.T, lambdas[column.k], column)[~without_column(own, column)]
    needed = 1.0 / max(information.min(), SLOWEST * float(np.median(information)))
    inward = products.scaling.inward(tuple(lambdas))
    others = sum(float((root**2).sum()) for k, root in enumerate(inward) if k != column.k)
    unit = products.n_obs / own.information[:, column.columns].sum(axis=0).min()
    return float(np.sqrt((needed + others * unit) / SMALLEST_STEP))


def column_information(A: Floats, T: Floats, lam: Floats, column: Moved) -> Floats:
    """Information (J, columns) about moved effects from A (J, p, p) of internal columns, the others unknown.

    These have the conditional distribution of :meth:`Moved.conditional`; `lam` (p, p) and the answer are the user's.
    """
    rest = np.linalg.solve(T, column.conditional(lam))
    half = A @ rest
    left = A - half @ np.linalg.solve(rest.T @ half + np.eye(len(rest)), np.swapaxes(half, 1, 2))
    back = np.linalg.inv(T)[:, column.columns]
    return np.asarray(np.maximum(np.einsum("aq,jab,bq->jq", back, left, back), 0.0))


def _extrapolated(near: Sequence[EffectsAt]) -> EffectsAt:
    """The value at h = 0 of quadratics through those at h, 2h and 4h; the criterion has no limit but infinity."""

    def limit(values: Sequence[Floats]) -> Floats:
        return np.asarray((8.0 * values[0] - 6.0 * values[1] + values[2]) / 3.0)

    groups = range(len(near[0].b))
    return EffectsAt(
        np.inf,
        float(limit([np.asarray(at.sigma) for at in near])),
        limit([at.beta for at in near]),
        tuple(limit([at.b[k] for at in near]) for k in groups),
        tuple(limit([at.right[k] for at in near]) for k in groups),
    )
