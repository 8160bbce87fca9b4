"""Figures of residuals and BLUPs; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ranef.arrays import Floats
from ranef.errors import DesignError
from ranef.inference import effect_scores
from ranef.plots.axes import axes_for
from ranef.plots.diagnostics import (
    GroupedResiduals,
    QuantilePlot,
    chosen_quantiles,
    grouped_residuals,
    normal_quantiles,
    scale_location_cloud,
)
from ranef.plots.drawing import BLUE, GREY, VERMILLION, draw_residuals, new_axes, plain_frame, returned, returned_figure
from ranef.plots.fonts import legible
from ranef.plots.names import as_drawn, name_levels, shortened
from ranef.plots.panels import residual_cloud
from ranef.plots.selection import LevelsArgument, TermArgument, select
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["diagnostics_figure", "qq_axes", "qq_ranef_axes", "residuals_by_group_axes", "scale_location_axes"]

#: levels up to which residuals are drawn as boxes with names; rows of a level below which they are drawn one by one
BOXES, FEW = 60, 5

#: inches that boxes with names may be high together
TALLEST = 7.8

#: median of √|z| of a standard normal z
NORMAL_ROOT = 0.8212


def diagnostics_figure(fit: Fit, group: str | None = None, levels: LevelsArgument = None) -> Figure:
    """Four panels: residual against fitted, normal quantiles, scale-location, and residuals by group."""
    axes = axes_for(None, 4 if fit.spec.groupings else 3, (5.2, 3.9), 2)
    fitted, residual = fit.fitted().to_numpy(), fit.residuals("pearson").to_numpy()
    draw_residuals(axes[0], residual_cloud(fitted, residual))
    _headroom(axes[0], 0.12)
    _draw_quantiles(axes[1], normal_quantiles(residual, "Normal quantiles of residuals"), "Pearson residual (in σ)")
    _draw_scale_location(axes[2], fitted, residual, fit.spec.design.response)
    if fit.spec.groupings:
        _draw_groups(axes[3], grouped_residuals(fit, residual, group, levels), sideways=True)
    _name_fitted(axes[0], fit.spec.design.response)
    for ax, title in ((axes[0], "Residual against fitted"), (axes[2], "Spread against fitted")):
        thinned = ax.get_title().removesuffix(", evenly spaced by rank")
        ax.set_title(f"{title}: {thinned}" if thinned else title, fontsize="medium")
    legible(axes[0])
    return returned_figure(axes[0])


def qq_axes(fit: Fit, ax: Axes | None = None, level: float = 0.95) -> Axes:
    """Ordered Pearson residuals against normal quantiles."""
    ax = new_axes() if ax is None else ax
    plot = normal_quantiles(fit.residuals("pearson").to_numpy(), "Normal quantiles of residuals", level=level)
    _draw_quantiles(ax, plot, "Pearson residual (in σ)", level)
    legible(ax)
    return ax


def scale_location_axes(fit: Fit, ax: Axes | None = None) -> Axes:
    """Square root of absolute Pearson residuals against fitted values."""
    ax = new_axes() if ax is None else ax
    fitted, residual = fit.fitted().to_numpy(), fit.residuals("pearson").to_numpy()
    _draw_scale_location(ax, fitted, residual, fit.spec.design.response)
    legible(ax)
    return ax


def residuals_by_group_axes(
    fit: Fit, group: str | None = None, ax: Axes | None = None, levels: LevelsArgument = None
) -> Axes:
    """Pearson residuals of every level, in order of their medians."""
    groups = grouped_residuals(fit, fit.residuals("pearson").to_numpy(), group, levels)
    if ax is None:
        n = len(groups.levels)
        height = 1.2 + min(max(2.6, 0.2 * n), TALLEST) if n <= BOXES else 4.4
        ax = axes_for(None, 1, (6.4, height))[0]
    _draw_groups(ax, groups)
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
    if not selection.columns:
        raise DesignError("There are no random effects to draw: the model has no (… | group) term.")
    axes = axes_for(ax, len(selection.columns), (4.6, 4.2))
    kind = "posterior mean" if fit.engine == "NUTS" else "BLUP"
    scores = {k: effect_scores(fit, fit.spec.groupings[k].name) for k, _ in selection.columns}
    for a, (k, q) in zip(axes, selection.columns, strict=True):
        grouping, (column, values) = fit.spec.groupings[k], scores[k][q]
        plot = chosen_quantiles(values, grouping.levels.tolist(), selection, f"{grouping.name}: {column}", level)
        _draw_quantiles(a, plot, f"{kind} / its marginal sd", level)
    return returned(axes)


def _draw_quantiles(ax: Axes, plot: QuantilePlot, label: str, level: float = 0.95) -> None:
    ax.set_title(as_drawn(plot.title), fontsize="medium")
    ax.set_xlabel("normal quantile")
    ax.set_ylabel(label)
    plain_frame(ax)
    if not plot.n:
        words = (
            "All are zero:\nthe variance is estimated as 0." if label.startswith("BLUP") else "No positive variance."
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
    _headroom(ax, 0.16)
    ax.legend(frameon=False, fontsize="small", loc="upper left")
    if len(plot.values) < plot.n:
        ax.set_title(as_drawn(f"{plot.title}: {len(plot.values)} of {plot.n}"), fontsize="medium")


def _draw_scale_location(ax: Axes, fitted: Floats, residual: Floats, response: str) -> None:
    draw_residuals(ax, scale_location_cloud(fitted, residual))
    ax.lines[0].remove()  # the line at zero, which no root of an absolute value can straddle
    ax.axhline(NORMAL_ROOT, color=GREY, linewidth=1.0, linestyle="--", label="median if normal with sd σ")
    ax.legend(frameon=False, fontsize="small", loc="upper left")
    ax.set_ylim(0.0, ax.get_ylim()[1] * 1.25)
    ax.set_ylabel("√|Pearson residual|")
    _name_fitted(ax, response)


def _headroom(ax: Axes, share: float) -> None:
    """Room above what is drawn, for a legend."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + share * (high - low))


def _name_fitted(ax: Axes, response: str) -> None:
    ax.set_xlabel(as_drawn(f"fitted {response}"))


def _draw_groups(ax: Axes, groups: GroupedResiduals, *, sideways: bool = False) -> None:
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
        ax.set(xlabel=as_drawn(f"{n} levels of {groups.group}, in order"), ylabel="Pearson residual (in σ)", xticks=[])
        _headroom(ax, 0.4)
        ax.legend(frameon=False, fontsize="small", loc="upper left")
        return
    box = ax.get_window_extent()
    broad = 0.6 * 72.0 / ax.figure.dpi * (box.width if sideways else box.height) / (n + 0.6)
    for j, values in enumerate(groups.values):
        _draw_level(ax, j, values, min(6.0, broad), sideways=sideways)
    _name_levels(ax, groups, sideways=sideways)


def _draw_level(ax: Axes, j: int, values: Floats, broad: float, *, sideways: bool) -> None:
    """Draw the residuals of one level: a box after Tukey `broad` points wide, or a few rows tied by a line."""
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


def _name_levels(ax: Axes, groups: GroupedResiduals, *, sideways: bool) -> None:
    n = len(groups.levels)
    if sideways:
        ax.axhline(0.0, color="black", linewidth=0.8, zorder=0)
        ax.set(ylabel="Pearson residual (in σ)", xlim=(-0.8, n - 0.2))
        name_levels(ax, groups.levels, "x", size=9 if n <= 20 else 7, long=20)
    else:
        ax.axvline(0.0, color="black", linewidth=0.8, zorder=0)
        ax.set(xlabel="Pearson residual (in σ)", ylim=(-0.8, n - 0.2))
        name_levels(ax, groups.levels, size=9 if n <= 40 else 7)
