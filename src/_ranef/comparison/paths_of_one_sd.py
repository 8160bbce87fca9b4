"""The path of every effect of a factor as the standard deviation of one effect moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.comparison.effects_at_theta import EffectsAt, Moved, column_information, effects_at_ratio, without_column
from _ranef.comparison.reliability import OwnData, reliabilities
from _ranef.errors import DesignError
from _ranef.likelihood import Likelihood
from _ranef.support.arrays import Floats
from _ranef.support.progress import LateBar

__all__ = [
    "PoolingSweep",
    "checked_number",
    "checked_ratios",
    "even_ratios",
    "half_way",
    "ratios_at",
    "sweep",
]


def even_ratios(half: float, n: int) -> Floats:
    """Ratios (n,) from 0 to infinity, even in r²/(r² + half²)."""
    return ratios_at(half, np.linspace(0.0, 1.0, n))


def ratios_at(half: float, position: Floats) -> Floats:
    """Ratios at places r²/(r² + half²) from 0 to 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(half * np.sqrt(position / (1.0 - position)))


def half_way(information: Floats, own: OwnData, lam: Floats, column: Moved) -> float:
    """The ratio at which a typical level is half-way: what the data say of its effect equals what its variance says.

    `information` (J, p, p) is :attr:`_ranef.likelihood.At.information`; levels without any do not count.
    """
    w = column_information(information, own.T, lam, column)[:, column.columns == column.q]
    return float(1.0 / np.sqrt(np.median(w[~without_column(own, column)[:, column.columns == column.q]])))


@dataclass(frozen=True, eq=False, repr=False)
class PoolingSweep:
    """Everything along the path of one relative standard deviation r from 0 to infinity, the others as estimated.

    Correlations and all other relative standard deviations stay, and β̂ and effects are estimated anew at every r; so
    the right end is not no pooling, for the other effects still draw levels together (:class:`CovarianceSweep` ends
    there). At r = infinity stand the limits, and NaN for what
    has none. With correlated effects β̂ and b̂ can grow with r without end: those of a level whose rows do not hold the
    column, and the fixed effect of the column with them; or the fixed effect and all levels' effects, one against the
    other, where an effect correlated with them has no fixed effect itself, as the intercepts of
    ``1 + (Days | Subject)``. Their sum, ``coefficients``, has a limit wherever the rows determine it.

    Attributes
    ----------
    group, term : str
        The effect whose standard deviation moves; with an ``ident`` structure all columns of the term move with it.
    levels : array of str (J,)
    columns : tuple of str (p_k,)
        All effects of `group`.
    fixed_names : tuple of str (p,)
    half : float
        The ratio at which a typical level is half-way: with one factor of one effect its reliability is ½ there, and
        else what its rows say beside other effects counts.
    ratios : array (R,)
        Standard deviation of the effect over σ.
    beta : array (R, p)
        β̂ by generalised least squares at each ratio.
    b : array (R, J, p_k)
        b̂ of `group`.
    coefficients : array (R, J, p_k)
        b̂ with the fixed effect of the same name, if there is one.
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
    coefficients: Floats
    reliability: Floats
    sigma: Floats
    criterion: Floats

    def position(self, ratio: Floats | float) -> Floats:
        """Place r²/(r² + half²) of a ratio between 0 (at zero) and 1 (at infinity)."""
        return reliabilities(np.asarray(self.half**2), np.asarray(ratio, dtype=float))

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
    likelihood: Likelihood,
    theta: Floats,
    own: OwnData,
    column: Moved,
    half: float,
    ratios: Sequence[float] | Floats | None = None,
    n: int = 41,
) -> PoolingSweep:
    """Effects at every ratio of one standard deviation to σ, all else at `theta` (n_theta,).

    Parameters
    ----------
    half : float
        Of :func:`half_way`.
    ratios : sequence of float, optional
        Not negative; infinity is allowed. By default `n` of them from 0 to infinity, even in r²/(r² + half²).

    Raises
    ------
    DesignError
        If a ratio is negative or NaN, or `n` is below 2.
    """
    at = even_ratios(half, checked_number(n)) if ratios is None else checked_ratios(ratios)
    spec = likelihood.spec
    found = list(_effects_along(likelihood, spec.lambdas(theta), own, column, at))
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
        np.array([f.coef[column.k] for f in found]),
        reliabilities(own.variances[:, column.q], at[:, None]),
        np.array([f.sigma for f in found]),
        np.array([f.criterion for f in found]),
    )


def _effects_along(
    likelihood: Likelihood, lambdas: Sequence[Floats], own: OwnData, column: Moved, ratios: Floats
) -> Iterator[EffectsAt]:
    with LateBar("Path of pooling", "ratio", len(ratios)) as bar:
        for ratio in ratios:
            yield effects_at_ratio(likelihood, lambdas, own, column, float(ratio))
            bar.update()


def checked_number(n: int, what: str = "ratios") -> int:
    """A number of places on a path.

    Raises
    ------
    DesignError
        If it is not a whole number of 2 or more.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise DesignError(f"n={n!r} must be a whole number of 2 or more: the {what} from 0 to infinity, both included.")
    return int(n)


def checked_ratios(
    given: Sequence[float] | Floats,
    name: str = "ratios",
    what: str = "the standard deviation of the effect over σ",
) -> Floats:
    """Places on a path (R,), from 0 to infinity.

    Raises
    ------
    DesignError
        If they are not numbers of one dimension, or one is negative or NaN.
    """
    try:
        values = np.atleast_1d(np.asarray(given, dtype=float))
    except (TypeError, ValueError):
        values = np.empty((0, 0))
    if values.ndim != 1 or not values.size or np.isnan(values).any() or (values < 0).any():
        raise DesignError(f"{name}={given!r} must be numbers from 0 to infinity: {what}.")
    return values
