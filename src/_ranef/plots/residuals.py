"""Residuals: against fitted values, their spread, by level, and four panels that hold what a model is doubted by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from _ranef.errors import DesignError
from _ranef.inference import grouping_named, shown_fitted, shown_residuals
from _ranef.plots.drawing import (
    BLACK,
    BLUE,
    GREY,
    VERMILLION,
    axes_for,
    headroom,
    one_axes,
    plain_frame,
    returned_figure,
)
from _ranef.plots.fonts import legible
from _ranef.plots.names import as_drawn, name_levels
from _ranef.plots.qq import draw_quantiles, normal_quantiles
from _ranef.plots.selection import LevelsArgument, selected_levels, spread
from _ranef.results import Fit
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GroupedResiduals",
    "ResidualCloud",
    "diagnostics_figure",
    "draw_residuals",
    "grouped_residuals",
    "neighbour_means",
    "residual_cloud",
    "residuals_axes",
    "residuals_by_group_axes",
    "scale_location_axes",
    "scale_location_cloud",
]

#: rows drawn one by one in a plot of residuals
ROWS_SHOWN = 20_000

#: points of the running median, and the share of the rows and fewest rows on either side of one
POINTS, SIDE_SHARE, SIDE_ROWS = 60, 0.1, 5

#: levels up to which each has quantiles of its own
LEVEL_POINTS = 200

#: levels up to which residuals are drawn as boxes with names; rows of a level below which they are drawn one by one
BOXES, FEW = 60, 5

#: inches that boxes with names may be high together
TALLEST = 7.8

#: median of √|z| of a standard normal z
NORMAL_ROOT = 0.8212


@dataclass(frozen=True)
class ResidualCloud:
    """Residuals against fitted values.

    Attributes
    ----------
    fitted, residual : array (shown,)
        The rows drawn.
    n : int
        How many rows there are.
    line_x, line_y : array (points,)
        Medians of fitted value and residual of neighbouring rows; empty where there are too few rows.
    """

    fitted: Floats
    residual: Floats
    n: int
    line_x: Floats
    line_y: Floats


def residual_cloud(fitted: Floats, residual: Floats) -> ResidualCloud:
    """Rows in order of their fitted value, thinned evenly where there are very many, with medians of neighbours."""
    n = fitted.shape[0]
    order = np.argsort(fitted, kind="stable")
    x, y = fitted[order], residual[order]
    side = max(SIDE_ROWS, round(SIDE_SHARE * n))
    windows = [slice(max(0, c - side), c + side + 1) for c in spread(n, POINTS).tolist()] if n > 4 * side else []
    line = _joined_ties(np.array([[np.median(x[w]), np.median(y[w])] for w in windows]).reshape(-1, 2))
    shown = spread(n, ROWS_SHOWN)
    return ResidualCloud(x[shown], y[shown], n, line[:, 0], line[:, 1])


def _joined_ties(points: Floats) -> Floats:
    """Points (m, 2), those of one x made one at the mean of their y: rows of a group may share a fitted value."""
    x, place = np.unique(points[:, 0], return_inverse=True)
    return np.column_stack([x, np.bincount(place, points[:, 1]) / np.bincount(place)])


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
    _, g = grouping_named(fit.spec.held, fit.spec.groupings[0].name if group is None else group)
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


def diagnostics_figure(fit: Fit, group: str | None = None, levels: LevelsArgument = None) -> Figure:
    """Four panels: residual against fitted, normal quantiles, scale-location, and residuals by group."""
    axes = axes_for(None, 4 if fit.spec.groupings else 3, (5.2, 3.9), 2)
    fitted, (residual, label) = shown_fitted(fit), shown_residuals(fit)
    draw_residuals(axes[0], residual_cloud(fitted, residual), label)
    headroom(axes[0], 0.12)
    draw_quantiles(axes[1], normal_quantiles(residual, "Normal quantiles of residuals"), label)
    _draw_scale_location(axes[2], fitted, residual, fit.spec.design.response, label)
    if fit.spec.groupings:
        _draw_groups(axes[3], grouped_residuals(fit, residual, group, levels), label, sideways=True)
    _name_fitted(axes[0], fit.spec.design.response)
    for ax, title in ((axes[0], "Residual against fitted"), (axes[2], "Spread against fitted")):
        thinned = ax.get_title().removesuffix(", evenly spaced by rank")
        ax.set_title(f"{title}: {thinned}" if thinned else title, fontsize="medium")
    legible(axes[0])
    return returned_figure(axes[0])


def residuals_axes(fit: Fit, ax: Axes | None = None) -> Axes:
    """Pearson residuals against fitted values, with their running median."""
    ax = one_axes(ax)
    residual, label = shown_residuals(fit)
    draw_residuals(ax, residual_cloud(shown_fitted(fit), residual), label)
    legible(ax)
    return ax


def scale_location_axes(fit: Fit, ax: Axes | None = None) -> Axes:
    """Square root of absolute Pearson residuals against fitted values."""
    ax = one_axes(ax)
    fitted, (residual, label) = shown_fitted(fit), shown_residuals(fit)
    _draw_scale_location(ax, fitted, residual, fit.spec.design.response, label)
    legible(ax)
    return ax


def residuals_by_group_axes(
    fit: Fit, group: str | None = None, ax: Axes | None = None, levels: LevelsArgument = None
) -> Axes:
    """Pearson residuals of every level, in order of their medians."""
    residual, label = shown_residuals(fit)
    groups = grouped_residuals(fit, residual, group, levels)
    if ax is None:
        n = len(groups.levels)
        height = 1.2 + min(max(2.6, 0.2 * n), TALLEST) if n <= BOXES else 4.4
        ax = axes_for(None, 1, (6.4, height))[0]
    _draw_groups(ax, groups, label)
    legible(ax)
    return ax


def _draw_scale_location(ax: Axes, fitted: Floats, residual: Floats, response: str, label: str) -> None:
    draw_residuals(ax, scale_location_cloud(fitted, residual), label)
    ax.lines[0].remove()  # the line at zero, which no root of an absolute value can straddle
    ax.axhline(
        NORMAL_ROOT,
        color=GREY,
        linewidth=1.0,
        linestyle="--",
        label="median if normal" + (" with sd σ" if "σ" in label else ""),
    )
    ax.legend(frameon=False, fontsize="small", loc="upper left")
    ax.set_ylim(0.0, ax.get_ylim()[1] * 1.25)
    ax.set_ylabel(f"√|{label.partition(' (')[0]}|")
    _name_fitted(ax, response)


def _name_fitted(ax: Axes, response: str) -> None:
    ax.set_xlabel(as_drawn(f"fitted {response}"))


def _draw_groups(ax: Axes, groups: GroupedResiduals, label: str, *, sideways: bool = False) -> None:
    """Draw boxes with names for few levels (names below where `sideways`), bands of quantiles for many."""
    n = len(groups.levels)
    shown = (
        f": {n} of {groups.n_levels} levels" if n < groups.n_levels else f": {n} levels by median" if n > BOXES else ""
    )
    ax.set_title(as_drawn(f"Residuals by {groups.group}{shown}"), fontsize="medium")
    plain_frame(ax)
    if n > BOXES:
        at = groups.at
        low, first, median, third, high = groups.quantiles
        ax.fill_between(at, low, high, color=BLUE, alpha=0.2, linewidth=0, label="middle 80 % of a level's rows")
        ax.fill_between(at, first, third, color=BLUE, alpha=0.45, linewidth=0, label="middle half")
        ax.plot(at, median, color=VERMILLION, linewidth=1.6, label="median")
        ax.axhline(0.0, color="black", linewidth=0.8)
        ax.set(xlabel=as_drawn(f"{n} levels of {groups.group}, in order"), ylabel=label, xticks=[])
        headroom(ax, 0.4)
        ax.legend(frameon=False, fontsize="small", loc="upper left")
        return
    box = ax.get_window_extent()
    broad = 0.6 * 72.0 / ax.figure.dpi * (box.width if sideways else box.height) / (n + 0.6)
    for j, values in enumerate(groups.values):
        _draw_level(ax, j, values, min(6.0, broad), sideways=sideways)
    _name_levels(ax, groups, label, sideways=sideways)


def _draw_level(ax: Axes, j: int, values: Floats, broad: float, *, sideways: bool) -> None:
    """Draw the residuals of one level: a box after Tukey `broad` points wide, or a few rows tied by a line."""
    if not len(values):
        return
    lines = ax.vlines if sideways else ax.hlines
    points = values
    if len(values) >= FEW:
        first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
        inside = values[np.abs(values - 0.5 * (first + third)) <= 2.0 * (third - first)]  # 1.5 boxes from either end
        points = np.setdiff1d(values, inside)
        lines(j, inside.min(), inside.max(), color=BLUE, linewidth=1.0)
        lines(j, first, third, color=BLUE, linewidth=broad, alpha=0.55)
        at = (j, median) if sideways else (median, j)
        ax.plot(*at, marker="_" if sideways else "|", markersize=1.5 * broad, markeredgewidth=2.2, color=VERMILLION)
    else:
        lines(j, values.min(), values.max(), color=BLUE, linewidth=0.8)
    level = np.full(len(points), j)
    pair = (level, points) if sideways else (points, level)
    ax.plot(*pair, linestyle="none", marker="o", markersize=min(4.0, broad), color=BLUE, markeredgewidth=0)


def _name_levels(ax: Axes, groups: GroupedResiduals, label: str, *, sideways: bool) -> None:
    n = len(groups.levels)
    if sideways:
        ax.axhline(0.0, color="black", linewidth=0.8, zorder=0)
        ax.set(ylabel=label, xlim=(-0.8, n - 0.2))
        name_levels(ax, groups.levels, "x", size=9 if n <= 20 else 7, long=20)
    else:
        ax.axvline(0.0, color="black", linewidth=0.8, zorder=0)
        ax.set(xlabel=label, ylim=(-0.8, n - 0.2))
        name_levels(ax, groups.levels, size=9 if n <= 40 else 7)


def draw_residuals(ax: Axes, cloud: ResidualCloud, label: str) -> None:
    """Draw residuals against fitted values, a line at zero, and their running median."""
    shown = cloud.fitted.shape[0]
    size, alpha = (18.0, 0.7) if shown <= 1000 else (6.0, 0.25)
    ax.scatter(cloud.fitted, cloud.residual, s=size, alpha=alpha, color=BLUE, linewidths=0)
    ax.axhline(0.0, color=BLACK, linewidth=0.8)
    if cloud.line_x.size:
        ax.plot(cloud.line_x, cloud.line_y, color=VERMILLION, linewidth=1.8, label="running median")
        ax.legend(frameon=False, fontsize="small")
    if shown < cloud.n:
        ax.set_title(f"{shown} of {cloud.n} rows, evenly spaced by rank", fontsize="medium")
    ax.set_xlabel("fitted value")
    ax.set_ylabel(label)
    plain_frame(ax)
