"""Residuals and BLUPs as their figures show them: arrays, nothing here draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy

from ranef.arrays import Floats, Ints
from ranef.errors import DesignError
from ranef.inference import grouping_named
from ranef.plots.panels import ResidualCloud, residual_cloud
from ranef.plots.selection import LevelsArgument, Selection, selected_levels
from ranef.results import Fit

__all__ = [
    "GroupedResiduals",
    "QuantilePlot",
    "chosen_quantiles",
    "grouped_residuals",
    "neighbour_means",
]
__all__ += ["normal_quantiles", "scale_location_cloud", "simultaneous_bounds"]

#: points of a quantile plot, and of its band
POINTS, BAND_POINTS = 4000, 160

#: levels up to which each has quantiles of its own
LEVEL_POINTS = 200

#: samples by which the band is made simultaneous
SAMPLES = 2000

#: interquartile range of the standard normal distribution
NORMAL_IQR = 1.3489795003921634


@dataclass(frozen=True)
class QuantilePlot:
    """Ordered values against normal quantiles.

    Attributes
    ----------
    title : str
    theoretical, values : array (shown,)
        Φ⁻¹((i − ½)/n) and the i-th smallest value.
    n : int
        How many values there are, shown or not.
    centre, scale : float
        The line centre + scale · quantile; by the quartiles, as R's ``qqline``.
    band_x, lower, upper : array (points,)
        Band that holds all points of a normal sample with the probability asked for. Round a line through the
        quartiles it is wider, for they are the sample's.
    names : tuple of str
        Of the values shown, where they have names to be seen.
    """

    title: str
    theoretical: Floats
    values: Floats
    n: int
    centre: float
    scale: float
    band_x: Floats
    lower: Floats
    upper: Floats
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupedResiduals:
    """Residuals by level, the levels in order of their medians.

    Attributes
    ----------
    group : str
    levels : tuple of str
        Those shown.
    n_levels : int
        How many there are.
    values : tuple of array
        Residuals of each level.
    quantiles : array (5, points)
        0.1, 0.25, 0.5, 0.75 and 0.9 quantiles of each level; of very many, means over neighbours.
    at : array (points,)
        Where the quantiles stand among the levels.
    """

    group: str
    levels: tuple[str, ...]
    n_levels: int
    values: tuple[Floats, ...]
    quantiles: Floats
    at: Floats


def normal_quantiles(values: Floats, title: str = "", *, standard: bool = False, level: float = 0.95) -> QuantilePlot:
    """Order values against normal quantiles, with a band that is simultaneous over all of them.

    Parameters
    ----------
    values : array (n,)
        NaN are left out.
    title : str
    standard : bool
        Whether the values should have mean 0 and sd 1: the line then is that of equality. Otherwise it goes through
        the quartiles.
    level : float
        Probability that all points of a normal sample lie within the band.

    Examples
    --------
    >>> import numpy as np
    >>> plot = normal_quantiles(np.array([-1.0, 0.0, 1.0, np.nan]), standard=True)
    >>> plot.n, plot.theoretical.round(3).tolist(), plot.scale
    (3, [-0.967, 0.0, 0.967], 1.0)
    """
    ordered = np.sort(values[np.isfinite(values)])
    n = ordered.shape[0]
    shown = _even_quantiles(n, POINTS)
    theoretical = scipy.special.ndtri((np.arange(n) + 0.5) / n)
    centre, scale = 0.0, 1.0
    if not standard and n:
        centre, scale = _quartile_line(ordered)
    at = _even_quantiles(n, BAND_POINTS)
    bounds = [centre + scale * z for z in simultaneous_bounds(n, at, level, standard=standard)]
    lower, upper = bounds
    return QuantilePlot(
        title, theoretical[shown], ordered[shown], n, float(centre), float(scale), theoretical[at], lower, upper
    )


def _even_quantiles(n: int, limit: int) -> Ints:
    """At most about `limit` of n ranks, evenly spaced by normal quantile, so that tails keep their points."""
    if n <= limit:
        return np.arange(n)
    end = scipy.special.ndtri(0.5 / n)
    ranks = n * scipy.special.ndtr(np.linspace(end, -end, limit)) - 0.5
    return np.unique(np.clip(ranks.round(), 0, n - 1).astype(np.intp))


def _quartile_line(ordered: Floats) -> tuple[float, float]:
    """Centre and scale of the normal distribution whose quartiles are those of the values."""
    first, third = np.quantile(ordered, [0.25, 0.75]).tolist()
    return 0.5 * (first + third), (third - first) / NORMAL_IQR


def simultaneous_bounds(n: int, at: Ints, level: float = 0.95, *, standard: bool = True) -> tuple[Floats, Floats]:
    """Bounds (m,) for the order statistics at the positions `at` (m,) of n of a normal sample, that hold together.

    Each order statistic Φ(z₍ᵢ₎) ~ Beta(i, n + 1 − i) has the same chance of leaving its bounds, chosen so that all stay
    within them with probability `level` (equal local levels: Aldor-Noiman et al. 2013, Am. Stat. 67, 249-260). The
    local level is the quantile of the smallest p-value in 2000 samples of a fixed seed. The bounds are for a `standard`
    sample, or for any less its centre and over its scale by the quartiles: then the simulated samples are so too.
    """
    if not n:
        return np.empty(0), np.empty(0)
    places = (n - 1) * np.array([0.25, 0.75])
    below = np.floor(places).astype(np.intp)
    drawn = np.unique(np.concatenate([at, below, np.minimum(below + 1, n - 1)]))
    # the gaps between order statistics are Dirichlet: only those asked for are drawn
    gaps = np.diff(np.concatenate([[0.0], drawn + 1.0, [n + 1.0]]))
    sums = np.cumsum(np.random.default_rng(0).gamma(gaps, size=(SAMPLES, len(gaps))), axis=1)
    z = scipy.special.ndtri(sums[:, :-1] / sums[:, -1:])
    if not standard and n > 1:
        i = np.searchsorted(drawn, below)
        first, third = np.hsplit(z[:, i] + (places - below) * (z[:, i + 1] - z[:, i]), 2)
        z = (z - 0.5 * (first + third)) / ((third - first) / NORMAL_IQR)
    z, rank = z[:, np.isin(drawn, at)], at + 1.0
    # the lesser tail: far out the other one is 1 to rounding
    low = scipy.special.ndtr(z) * (n + 1.0) < rank
    a = np.where(low, rank, n + 1.0 - rank)
    tail = scipy.special.betainc(a, n + 1.0 - a, scipy.special.ndtr(np.where(low, z, -z)))
    local = float(np.quantile(tail.min(axis=1), 1.0 - level))
    lower = scipy.special.ndtri(scipy.special.betaincinv(rank, n + 1.0 - rank, local))
    upper = -scipy.special.ndtri(scipy.special.betaincinv(n + 1.0 - rank, rank, local))
    return lower, upper


def scale_location_cloud(fitted: Floats, residual: Floats) -> ResidualCloud:
    """Square roots of absolute residuals against fitted values, with their running median."""
    return residual_cloud(fitted, np.sqrt(np.abs(residual)))


def grouped_residuals(
    fit: Fit, residual: Floats, group: str | None = None, levels: LevelsArgument = None
) -> GroupedResiduals:
    """Residuals (n,) by level of a grouping factor; by default of all levels of the one with the most.

    Raises
    ------
    DesignError
        If the model has no such factor or level.
    """
    if not fit.spec.groupings:
        raise DesignError("There are no groups to draw: the model has no (… | group) term.")
    _, g = grouping_named(fit.spec, fit.spec.groupings[0].name if group is None else group)
    by_level = pd.Series(residual).groupby(g.codes)
    quantiles = (
        by_level.quantile(np.array([0.1, 0.25, 0.5, 0.75, 0.9])).unstack().reindex(range(g.n_levels)).to_numpy().T
    )
    order = np.argsort(quantiles[2], kind="stable")
    order = order[selected_levels(fit.spec, g.name, levels).positions(g.levels[order])]
    rows = np.argsort(g.codes, kind="stable")
    parts = np.split(residual[rows], np.cumsum(np.bincount(g.codes, minlength=g.n_levels))[:-1])
    names = tuple(str(g.levels[j]) for j in order)
    values = tuple(parts[j] for j in order)
    return GroupedResiduals(g.name, names, g.n_levels, values, *neighbour_means(quantiles[:, order]))


def neighbour_means(columns: Floats) -> tuple[Floats, Floats]:
    """Of very many columns (r, levels) the means of neighbours (r, points), and where they stand (points,)."""
    levels = columns.shape[1]
    bins = np.array_split(np.arange(levels), min(levels, LEVEL_POINTS))
    means = np.column_stack([columns[:, own].mean(axis=1) for own in bins])
    return means, np.array([own.mean() for own in bins])


def chosen_quantiles(
    values: Floats, levels: Sequence[object], selection: Selection, title: str = "", level: float = 0.95
) -> QuantilePlot:
    """Scores (J,) of all levels against normal quantiles, of which those of the chosen levels are shown.

    Quantiles and band are those of all levels, so that a level stands where it does among them.
    """
    plot = normal_quantiles(values, title, standard=True, level=level)
    if selection.names is None and selection.limit is None:
        return plot
    ordered = [j for j in np.argsort(values, kind="stable") if np.isfinite(values[j])]
    kept = selection.positions([levels[j] for j in ordered])
    theoretical = scipy.special.ndtri((np.arange(plot.n) + 0.5) / max(plot.n, 1))
    names = tuple(str(levels[ordered[i]]) for i in kept)
    return replace(plot, theoretical=theoretical[kept], values=values[[ordered[i] for i in kept]], names=names)
