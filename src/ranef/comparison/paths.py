"""Random effects at any θ, and along the path from complete pooling to none.

At given θ the effects are b̂ = D ZᵀV⁻¹(y − Xβ̂) with β̂ by generalised least squares at that θ: one factorisation, no
selected inverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ranef.arrays import Bools, Floats, Ints
from ranef.comparison.reliability import OwnData, reliabilities
from ranef.errors import DesignError
from ranef.likelihood import CrossProducts, Method, evaluate
from ranef.linalg import backward
from ranef.progress import LateBar
from ranef.spec import ModelSpec, lower_root

__all__ = [
    "EffectsAt",
    "Moved",
    "PoolingSweep",
    "effects_at",
    "effects_at_ratio",
    "even_ratios",
    "half_way",
    "moved",
    "sweep",
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
        levels, columns = np.nonzero(_without(own, column))
        found.b[column.k][levels, column.columns[columns]] = np.nan
    return found


def _without(own: OwnData, column: Moved) -> Bools:
    """Which levels hold nothing of each moved column (J, columns)."""
    information = own.information[:, column.columns]
    return np.asarray(information <= NO_INFORMATION * information.mean(axis=0))


def _large_ratio(products: CrossProducts, lambdas: Sequence[Floats], own: OwnData, column: Moved) -> float:
    """A ratio that is large beside all that competes with the moved effects, noise and other effects alike."""
    rest = np.linalg.solve(own.T, column.conditional(lambdas[column.k]))
    half = np.swapaxes(own.A @ rest, 1, 2)
    left = own.A - np.swapaxes(half, 1, 2) @ np.linalg.solve(rest.T @ own.A @ rest + np.eye(len(rest)), half)
    back = np.linalg.inv(own.T)[:, column.columns]
    information = np.einsum("aq,jab,bq->jq", back, left, back)[~_without(own, column)]
    needed = 1.0 / max(information.min(), SLOWEST * float(np.median(information)))
    inward = products.scaling.inward(tuple(lambdas))
    others = sum(float((root**2).sum()) for k, root in enumerate(inward) if k != column.k)
    unit = products.n_obs / own.information[:, column.columns].sum(axis=0).min()
    return float(np.sqrt((needed + others * unit) / SMALLEST_STEP))


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


def even_ratios(half: float, n: int) -> Floats:
    """Ratios (n,) from 0 to infinity, even in r²/(r² + half²)."""
    position = np.linspace(0.0, 1.0, n)[:-1]
    return np.append(half * np.sqrt(position / (1.0 - position)), np.inf)


def half_way(own: OwnData, column: Moved) -> float:
    """The ratio at which a typical level's own coefficient has reliability ½: the root of the median of v."""
    v = own.variances[:, column.q]
    if np.isfinite(v).any():
        return float(np.sqrt(np.median(v[np.isfinite(v)])))
    return float(1.0 / np.sqrt(own.information[:, column.q].mean()))


@dataclass(frozen=True, eq=False, repr=False)
class PoolingSweep:
    """Everything along the path of one relative standard deviation r from complete pooling (0) to none (infinity).

    Correlations and all other relative standard deviations stay.

    Attributes
    ----------
    group, term : str
        The effect whose standard deviation moves; with an ``ident`` structure all columns of the term move with it.
    levels : array of str (J,)
    columns : tuple of str (p_k,)
        All effects of `group`.
    fixed_names : tuple of str (p,)
    half : float
        The ratio at which a typical level's own coefficient has reliability ½.
    ratios : array (R,)
        Standard deviation of the effect over σ.
    beta : array (R, p)
        β̂ by generalised least squares at each ratio.
    b : array (R, J, p_k)
        b̂ of `group`.
    reliability : array (R, J)
        Of the level's own coefficient of `term`.
    sigma, criterion : array (R,)
        σ̂ and the REML criterion (or −2 log-likelihood) at each ratio; infinite at the end.
    """

    group: str
    term: str
    levels: NDArray[np.object_]
    columns: tuple[str, ...]
    fixed_names: tuple[str, ...]
    half: float
    ratios: Floats
    beta: Floats
    b: Floats
    reliability: Floats
    sigma: Floats
    criterion: Floats

    def position(self, ratio: Floats | float) -> Floats:
        """Place r²/(r² + half²) of a ratio between 0 (complete pooling) and 1 (none)."""
        return reliabilities(np.asarray(self.half**2), np.asarray(ratio, dtype=float))

    @property
    def coefficients(self) -> Floats:
        """Fixed plus random effects (R, J, p_k) of `group`."""
        out = self.b.copy()
        for i, name in enumerate(self.columns):
            if name in self.fixed_names:
                out[:, :, i] += self.beta[:, [self.fixed_names.index(name)]]
        return out

    @property
    def frame(self) -> pd.DataFrame:
        """``group, level, term, ratio, estimate, reliability, position, coef``, one row a ratio and level."""
        q, J = self.columns.index(self.term), len(self.levels)
        return pd.DataFrame(
            {
                "group": self.group,
                "level": np.tile(self.levels, len(self.ratios)),
                "term": self.term,
                "ratio": np.repeat(self.ratios, J),
                "estimate": self.b[:, :, q].ravel(),
                "reliability": self.reliability.ravel(),
                "position": np.repeat(self.position(self.ratios), J),
                "coef": self.coefficients[:, :, q].ravel(),
            }
        )

    @property
    def fixef(self) -> pd.DataFrame:
        """``group, term, ratio, position, coefficient, estimate``, one row a ratio and coefficient."""
        p = len(self.fixed_names)
        return pd.DataFrame(
            {
                "group": self.group,
                "term": self.term,
                "ratio": np.repeat(self.ratios, p),
                "position": np.repeat(self.position(self.ratios), p),
                "coefficient": list(self.fixed_names) * len(self.ratios),
                "estimate": self.beta.ravel(),
            }
        )

    def __repr__(self) -> str:
        return f"<PoolingSweep of sd({self.term} | {self.group}) over σ at {len(self.ratios)} ratios>"


def sweep(
    spec: ModelSpec,
    products: CrossProducts,
    theta: Floats,
    method: Method,
    own: OwnData,
    column: Moved,
    ratios: Sequence[float] | Floats | None = None,
    n: int = 41,
) -> PoolingSweep:
    """Effects at every ratio of one standard deviation to σ, all else at `theta` (n_theta,).

    Parameters
    ----------
    ratios : sequence of float, optional
        Not negative; infinity is allowed. By default `n` of them from 0 to infinity, even in the reliability of a
        typical level.

    Raises
    ------
    DesignError
        If a ratio is negative or NaN, or `n` is below 2.
    """
    half = half_way(own, column)
    at = even_ratios(half, _checked_number(n)) if ratios is None else _checked_ratios(ratios)
    found = list(_effects_along(spec, products, spec.lambdas(theta), method, own, column, at))
    g = spec.groupings[column.k]
    return PoolingSweep(
        g.name,
        g.columns[column.q],
        g.levels,
        g.columns,
        spec.design.fixed_names,
        half,
        at,
        np.array([f.beta for f in found]).reshape(len(at), spec.n_fixed),
        np.array([f.b[column.k] for f in found]),
        reliabilities(own.variances[:, column.q], at[:, None]),
        np.array([f.sigma for f in found]),
        np.array([f.criterion for f in found]),
    )


def _effects_along(
    spec: ModelSpec,
    products: CrossProducts,
    lambdas: Sequence[Floats],
    method: Method,
    own: OwnData,
    column: Moved,
    ratios: Floats,
) -> Iterator[EffectsAt]:
    with LateBar("Path of pooling", "ratio", len(ratios)) as bar:
        for ratio in ratios:
            yield effects_at_ratio(spec, products, lambdas, method, own, column, float(ratio))
            bar.update()


def _checked_number(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise DesignError(f"n={n!r} must be a whole number of 2 or more: the ratios from 0 to infinity, both included.")
    return int(n)


def _checked_ratios(ratios: Sequence[float] | Floats) -> Floats:
    try:
        values = np.atleast_1d(np.asarray(ratios, dtype=float))
    except (TypeError, ValueError):
        values = np.empty((0, 0))
    if values.ndim != 1 or not values.size or np.isnan(values).any() or (values < 0).any():
        raise DesignError(
            f"ratios={ratios!r} must be numbers from 0 to infinity: the standard deviation of the effect over σ."
        )
    return values
