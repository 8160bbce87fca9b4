"""Residuals and random effects against normal quantiles, with bands that hold whole samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy

from _ranef.inference import effect_scores, shown_residuals
from _ranef.plots.drawing import BLUE, GREY, VERMILLION, axes_for, headroom, one_axes, plain_frame, returned
from _ranef.plots.fonts import legible
from _ranef.plots.names import as_drawn, shortened
from _ranef.plots.selection import LevelsArgument, Selection, TermArgument, require_effects, select
from _ranef.results import ESTIMATING, Fit
from _ranef.support.arrays import Floats, Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "QuantilePlot",
    "chosen_quantiles",
    "draw_quantiles",
    "normal_quantiles",
    "qq_axes",
    "qq_ranef_axes",
    "simultaneous_bounds",
]

#: points of a quantile plot, and of its band
POINTS, BAND_POINTS = 4000, 160

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


def qq_axes(fit: Fit, ax: Axes | None = None, level: float = 0.95) -> Axes:
    """Ordered residuals against normal quantiles."""
    ax = one_axes(ax)
    residual, label = shown_residuals(fit)
    draw_quantiles(ax, normal_quantiles(residual, "Normal quantiles of residuals", level=level), label, level)
    legible(ax)
    return ax


def qq_ranef_axes(
    fit: Fit,
    group: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    level: float = 0.95,
    *,
    term: TermArgument = None,
    levels: LevelsArgument = None,
) -> Axes | Figure:
    """Standardised random effects against normal quantiles, a panel for each."""
    selection = select(fit.spec, group, term, levels)
    require_effects(selection.columns)
    axes = axes_for(ax, len(selection.columns), (4.6, 4.2))
    kind = "posterior mean" if fit.engine not in ESTIMATING else "BLUP"
    kind = "conditional mode" if fit.engine in ("Laplace", "AGQ") else kind
    scores = {k: effect_scores(fit, fit.spec.groupings[k].name) for k, _ in selection.columns}
    for a, (k, q) in zip(axes, selection.columns, strict=True):
        grouping, (column, values) = fit.spec.groupings[k], scores[k][q]
        plot = chosen_quantiles(values, grouping.levels.tolist(), selection, f"{grouping.name}: {column}", level)
        draw_quantiles(a, plot, f"{kind} / its marginal sd", level)
    return returned(axes)


def draw_quantiles(ax: Axes, plot: QuantilePlot, label: str, level: float = 0.95) -> None:
    """Draw ordered values with the line and the band of a normal sample; words where there is none."""
    ax.set_title(as_drawn(plot.title), fontsize="medium")
    ax.set_xlabel("normal quantile")
    ax.set_ylabel(label)
    plain_frame(ax)
    if not plot.n:
        words = (
            "All are zero:\nthe variance is estimated as 0."
            if label.startswith(("BLUP", "conditional mode"))
            else "No positive variance."
        )
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, color=GREY)
        ax.set(xticks=[], yticks=[])
        return
    ax.fill_between(
        plot.band_x,
        plot.lower,
        plot.upper,
        color=GREY,
        alpha=0.22,
        linewidth=0,
        label=f"{100 * level:g} % band for the whole of a normal sample",
    )
    line = plot.centre + plot.scale * plot.band_x
    name = "equality" if (plot.centre, plot.scale) == (0.0, 1.0) else "through the quartiles"
    ax.plot(plot.band_x, line, color=VERMILLION, linewidth=1.5, label=name)
    size = 22.0 if plot.n <= 200 else 10.0 if plot.n <= 2000 else 4.0
    ax.scatter(plot.theoretical, plot.values, s=size, color=BLUE, linewidths=0, alpha=0.85, zorder=3)
    for x, y, name in zip(plot.theoretical, plot.values, map(as_drawn, shortened(plot.names, 18)), strict=False):
        ax.annotate(name, (x, y), xytext=(5, -1), textcoords="offset points", va="top", fontsize=7.5, color=GREY)
    headroom(ax, 0.16)
    ax.legend(frameon=False, fontsize="small", loc="upper left")
    if len(plot.values) < plot.n:
        ax.set_title(as_drawn(f"{plot.title}: {len(plot.values)} of {plot.n}"), fontsize="medium")
