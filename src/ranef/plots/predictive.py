"""Replicated responses beside the observed one, as arrays: nothing here draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranef.arrays import Floats, Ints
from ranef.errors import DesignError, suggestion
from ranef.inference import grouping_named
from ranef.interrupts import load
from ranef.plots.selection import LevelsArgument, selected_levels
from ranef.results import Fit

__all__ = ["STATISTICS", "GroupCheck", "Replicated", "StatisticCheck", "group_check", "replicated", "statistic_check"]
__all__ += ["distribution_curves", "is_discrete"]

Statistic = str | Callable[[Floats], float]

#: statistics by name: of a column of responses
STATISTICS: dict[str, Callable[[Floats], float]] = {
    "mean": lambda y: float(np.mean(y)),
    "sd": lambda y: float(np.std(y, ddof=1)),
    "min": lambda y: float(np.min(y)),
    "max": lambda y: float(np.max(y)),
    "median": lambda y: float(np.median(y)),
}

#: replicated responses by default: for curves, and for a statistic
CURVES, STATISTIC_DRAWS = 50, 1000

#: numbers of replicated responses held
MAX_NUMBERS = 20_000_000

#: rows of a response that a curve is made of
ROWS = 20_000

#: a response with fewer distinct values than this share of its rows is drawn as steps rather than a density
DISTINCT = 0.1


@dataclass(frozen=True)
class Replicated:
    """A response and its replications.

    Attributes
    ----------
    observed : array (rows,)
    values : array (rows, n)
    """

    observed: Floats
    values: Floats


@dataclass(frozen=True)
class StatisticCheck:
    """A statistic of the replications beside that of the data.

    Attributes
    ----------
    name : str
    observed : float
    values : array (n,)
    p : float
        Share of replications whose statistic is at least the observed one, ties counted half: the posterior
        predictive p-value.
    """

    name: str
    observed: float
    values: Floats
    p: float


@dataclass(frozen=True)
class GroupCheck:
    """A statistic of every level, levels in order of the observed one.

    Attributes
    ----------
    name, group : str
    levels : tuple of str
        Those shown.
    n_levels : int
        How many there are.
    observed : array (levels,)
    quantiles : array (5, levels)
        0.025, 0.25, 0.5, 0.75 and 0.975 quantiles of the replications.
    inside : float
        Share of all levels whose observed statistic lies between the outer two.
    """

    name: str
    group: str
    levels: tuple[str, ...]
    n_levels: int
    observed: Floats
    quantiles: Floats
    inside: float


def replicated(fit: Fit, n: int, re: str, seed: int | None) -> Replicated:
    """The response of a fit and `n` replications of it.

    Raises
    ------
    DesignError
        If `n` is not positive, or all would hold more than 2e7 numbers.
    """
    rows = fit.spec.n_obs
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise DesignError(f"n={n!r} must be a positive whole number: how many responses to replicate.")
    if n * rows > MAX_NUMBERS:
        raise DesignError(
            f"{n} responses of {rows} rows are {n * rows:.2g} numbers, too many to hold. Ask for fewer: "
            f"n={max(1, MAX_NUMBERS // rows)} or less."
        )
    return Replicated(fit.spec.design.y, fit.simulate(n, re=re, seed=seed))


def default_number(fit: Fit, *, curves: bool) -> int:
    """How many replications a figure has room for."""
    return CURVES if curves else min(STATISTIC_DRAWS, max(CURVES, MAX_NUMBERS // fit.spec.n_obs))


def is_discrete(y: Floats) -> bool:
    """Whether a response takes few values, for which a smooth density would be a picture of the kernel."""
    return len(np.unique(y)) < max(12.0, DISTINCT * len(y))


def distribution_curves(data: Replicated, *, cumulative: bool) -> list[tuple[Floats, Floats]]:
    """Curves of the observed response (first) and of every replication: x and height.

    Kernel densities by ArviZ, with Silverman's bandwidth (others follow the rounding of an observed response), or
    empirical distribution functions on a common grid. Of very many rows evenly chosen ones are taken, the same for all.
    """
    step = np.linspace(0, len(data.observed) - 1, min(len(data.observed), ROWS)).round().astype(np.intp)
    columns = [data.observed[step], *data.values[step].T]
    if cumulative:
        low, high = np.quantile(np.concatenate(columns), [0.0005, 0.9995]).tolist()
        grid = np.unique(np.concatenate([np.linspace(low, high, 600), np.unique(data.observed)[:2000]]))
        return [(grid, np.searchsorted(np.sort(y), grid, side="right") / len(y)) for y in columns]
    array_stats = load("arviz_stats.base").array_stats  # heavy: only where a figure is made
    curves = []
    for y in columns:
        pad = 0.75 * float(y.std())
        ends = [float(y.min()) - pad, float(y.max()) + pad]
        x, height, _ = array_stats.kde(y, custom_lims=ends, bw="silverman")
        curves.append((np.asarray(x), np.asarray(height)))
    return curves


def statistic_check(data: Replicated, statistic: Statistic) -> StatisticCheck:
    """A statistic of every replication and of the data.

    Raises
    ------
    DesignError
        If the name is not known, or the function does not give a number.
    """
    name, function = _named(statistic)
    observed = _number(function(data.observed), name)
    values = np.array([_number(function(y), name) for y in data.values.T])
    p = float((values > observed).mean() + 0.5 * (values == observed).mean())
    return StatisticCheck(name, observed, values, p)


def group_check(
    fit: Fit, data: Replicated, group: str, statistic: Statistic, levels: LevelsArgument = None
) -> GroupCheck:
    """A statistic of the levels of a grouping factor, in the data and in the replications.

    Raises
    ------
    DesignError
        If there is no such factor or level, or the statistic is not known.
    """
    _, g = grouping_named(fit.spec, group)
    name, function = _named(statistic)
    observed = _by_level(data.observed[:, None], g.codes, g.n_levels, name, function)[:, 0]
    values = _by_level(data.values, g.codes, g.n_levels, name, function)
    quantiles = np.quantile(values, [0.025, 0.25, 0.5, 0.75, 0.975], axis=1)
    order = np.argsort(observed, kind="stable")
    order = order[selected_levels(fit.spec, g.name, levels).positions(g.levels[order])]
    inside = float(((observed >= quantiles[0]) & (observed <= quantiles[4])).mean())
    names = tuple(str(g.levels[j]) for j in order)
    return GroupCheck(name, g.name, names, g.n_levels, observed[order], quantiles[:, order], inside)


def _by_level(y: Floats, codes: Ints, n_levels: int, name: str, function: Callable[[Floats], float]) -> Floats:
    """The statistic by level (levels, columns) of responses (rows, columns)."""
    if name == "mean":  # the common one, at once
        sums = np.zeros((n_levels, y.shape[1]))
        np.add.at(sums, codes, y)
        return np.asarray(sums / np.bincount(codes, minlength=n_levels)[:, None])
    parts = pd.Series(np.arange(len(codes))).groupby(codes).indices
    return np.array([[_number(function(c), name) for c in y[parts[j]].T] for j in range(n_levels)])


def _named(statistic: Statistic) -> tuple[str, Callable[[Floats], float]]:
    if callable(statistic):
        return getattr(statistic, "__name__", "statistic").replace("<lambda>", "statistic"), statistic
    if statistic not in STATISTICS:
        raise DesignError(
            f"statistic={statistic!r} is not known.{suggestion(str(statistic), list(STATISTICS))} Give one of "
            f"{', '.join(STATISTICS)}, or a function of an array that returns a number."
        )
    return statistic, STATISTICS[statistic]


def _number(value: object, name: str) -> float:
    if np.ndim(value) or not isinstance(value, int | float | np.number):  # type: ignore[arg-type]
        raise DesignError(f"The statistic {name!r} gave {value!r}; it must give one number for a response.")
    return float(value)
