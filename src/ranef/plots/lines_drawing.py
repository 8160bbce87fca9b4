"""Drawing of data with fitted lines by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ranef.arrays import Floats
from ranef.errors import DesignError, suggestion
from ranef.plots.drawing import NAMED, entitle, given_axes, legend_on, new_axes, new_grid, plain_frame, returned_figure
from ranef.plots.lines import GroupLines, by_level, group_lines, lines_group, population_lines
from ranef.plots.marks import BLACK, GREY, Mark, fit_marks
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_facets", "draw_spaghetti", "draw_strip", "lines_figure"]

KINDS = ("facets", "spaghetti")

#: levels shown by default: panels of facets, places of a strip
PANELS, PLACES = 12, 40

#: length of the line of a level with one value of the covariate, as a share of the axis
STUB = 0.04


def lines_figure(
    fits: Mapping[str, Fit],
    *,
    x: object,
    group: str | None,
    kind: str,
    levels: int | None,
    ax: Axes | Sequence[Axes] | None,
    level: float,
) -> Axes | Figure:
    """Draw the data of levels with lines without pooling, with partial and with complete pooling.

    Raises
    ------
    DesignError
        For an unknown group, kind or covariate, `levels` below one, or a wrong number of axes.
    """
    if kind not in KINDS:
        raise DesignError(f"kind={kind!r} must be one of {', '.join(map(repr, KINDS))}.{suggestion(str(kind), KINDS)}")
    if levels is not None and levels < 1:
        raise DesignError(f"levels={levels!r} must be at least 1.")
    spec = next(iter(fits.values())).spec
    name = lines_group(spec, group, x)
    facets = kind == "facets"
    lines = group_lines(fits, name, x, (levels or PANELS) if facets else levels, level=level, bands=facets)
    if not lines.x_name and levels is None:
        lines = group_lines(fits, name, x, PLACES, level=level)
    marks = _named(fits, level)
    if facets and lines.x_name:
        return draw_facets(lines, marks, ax, spec.design.formula)
    wide = not lines.x_name and len(lines.levels) > 16
    axes = new_axes(9.0 if wide else 6.4) if ax is None else given_axes(ax, 1)[0]
    (draw_spaghetti if lines.x_name else draw_strip)(axes, lines, marks)
    if ax is None:
        entitle(axes, spec.design.formula)
    else:
        legend_on(axes)
    return axes


def _named(fits: Mapping[str, Fit], level: float) -> dict[str, Mark]:
    """Marks by name of the fit; the label of a posterior tells its band."""
    marks = fit_marks({name: fit.engine for name, fit in fits.items()}, level)
    return {
        name: mark if fit.engine not in ("REML", "ML") else replace(mark, label=mark.label.split(",")[0])
        for (name, fit), mark in zip(fits.items(), marks, strict=True)
    }


def draw_facets(
    lines: GroupLines, marks: Mapping[str, Mark], ax: Axes | Sequence[Axes] | None, formula: str
) -> Axes | Figure:
    """Draw a panel for each level: its rows, its own line, the lines of fits with bands, and the population line."""
    n = len(lines.levels)
    columns = n if n < 4 else 4 if n <= 16 else 6
    rows = -(-n // columns)
    size = (2.3 * columns + 0.6, 2.1 * rows + 1.0)
    axes = new_grid(n, columns, size, sharex=True, sharey=True) if ax is None else given_axes(ax, n)
    points, fitted = (dict(list(f.groupby("level", sort=False))) for f in (lines.points, lines.lines))
    stub = STUB * float(np.ptp(lines.points["x"]))
    for a, name in zip(axes, lines.levels, strict=True):
        own, line = points[name], fitted[name]
        a.plot(
            own["x"], own["y"], "o", color=BLACK, markersize=3, alpha=0.65, markeredgewidth=0, label="data", zorder=2
        )
        _draw_lines(a, line, marks, stub)
        a.set_title(name, fontsize="small", pad=3)
        plain_frame(a)
    _label_outside(axes, columns, lines)
    first = axes[0]
    if ax is not None:
        legend_on(first)
        return axes[0] if n == 1 else returned_figure(first)
    words = (
        formula
        if n == lines.n_levels
        else f"{formula}\n{n} of {lines.n_levels} levels of {lines.group}, by fitted value"
    )
    entitle(first, words)
    return first if n == 1 else returned_figure(first)


def _draw_lines(ax: Axes, line: pd.DataFrame, marks: Mapping[str, Mark], stub: float) -> None:
    x = line["x"].to_numpy(dtype=float)
    ends = np.array([-stub, stub]) if len(x) == 1 else np.zeros(len(x))

    def draw(values: Floats, **look: Any) -> None:
        ax.plot(x + ends, values + 0 * ends, **look)

    draw(line["population"].to_numpy(), color=BLACK, linewidth=1.0, linestyle=":", label="complete pooling", zorder=3)
    draw(line["no_pooling"].to_numpy(), color=GREY, linewidth=1.3, linestyle="--", label="no pooling", zorder=4)
    for name, mark in marks.items():
        band = f"{name}_lower" in line
        style = "-." if band and len(marks) > 1 else "-"
        draw(line[name].to_numpy(), color=mark.colour, linewidth=1.8, linestyle=style, label=mark.label, zorder=5)
        if band:
            low, high = (line[f"{name}_{side}"].to_numpy() for side in ("lower", "upper"))
            ax.fill_between(
                x + ends, low + 0 * ends, high + 0 * ends, color=mark.colour, alpha=0.2, linewidth=0, zorder=1
            )


def _label_outside(axes: Sequence[Axes], columns: int, lines: GroupLines) -> None:
    """Label the axes at the left, and those with none below."""
    for i, a in enumerate(axes):
        if i % columns == 0:
            a.set_ylabel(lines.response)
        if i + columns >= len(axes):
            a.set_xlabel(lines.x_name)
            a.tick_params(labelbottom=True)


def draw_spaghetti(ax: Axes, lines: GroupLines, marks: Mapping[str, Mark]) -> None:
    """Draw the lines of all levels in one panel, with the population line and the data behind.

    The first fit's lines are thin; those of others lie broad and light behind them.
    """
    from matplotlib.collections import LineCollection  # noqa: PLC0415 - heavy: only where a figure is made

    n, rows = len(lines.levels), len(lines.points)
    dots: dict[str, Any] = {"markersize": 3.5, "alpha": 0.45}
    if rows > 500:
        dots = {"markersize": 1.5, "alpha": max(0.04, 60.0 / rows), "rasterized": rows > 5000}
    ax.plot(lines.points["x"], lines.points["y"], "o", color=GREY, markeredgewidth=0, zorder=1, **dots)
    thin, alpha = (1.1, 0.8) if n <= NAMED else (0.5, max(0.1, 80.0 / n))
    for k, (name, mark) in enumerate(marks.items()):
        paths = by_level(lines, name)
        width, opacity = (thin, alpha) if k == 0 else (4.0 * thin, 0.35 * alpha)
        look: dict[str, Any] = {"linewidths": width, "alpha": opacity, "zorder": 3.0 - 0.1 * k}
        ax.add_collection(LineCollection(paths, colors=mark.colour, **look))
        shown = 0.8 if k == 0 else 0.35
        ax.plot([], [], color=mark.colour, linewidth=width, alpha=shown, label=mark.label.split(",")[0])
    for k, line in enumerate(population_lines(lines)):
        ax.plot(
            line[:, 0],
            line[:, 1],
            color=BLACK,
            linewidth=3.0,
            zorder=4,
            label="complete pooling" if k == 0 else "_population",
        )
    ax.autoscale_view()
    of_all = "" if n == lines.n_levels else f" of {lines.n_levels}"
    ax.set_title(f"{lines.group}: {n}{of_all} levels", fontsize="medium")
    ax.set_xlabel(lines.x_name)
    ax.set_ylabel(lines.response)
    plain_frame(ax)


def draw_strip(ax: Axes, lines: GroupLines, marks: Mapping[str, Mark]) -> None:
    """Draw rows by level, each level's mean, its estimates, and the population value; levels along the axis."""
    n, frame = len(lines.levels), lines.lines
    place = {name: i for i, name in enumerate(lines.levels)}
    at = lines.points["level"].map(place).to_numpy(dtype=float)
    # spread evenly by the golden ratio, the same at every drawing
    jitter = 0.3 * (np.arange(len(at)) * 0.6180339887 % 1.0 - 0.5)
    size, alpha = (3.5, 0.5) if len(at) <= 500 else (2.0, 0.2)
    look: dict[str, Any] = {"markersize": size, "alpha": alpha, "markeredgewidth": 0}
    ax.plot(at + jitter, lines.points["y"], "o", color=BLACK, zorder=1, **look)
    ax.plot([], [], "o", color=BLACK, markersize=3.5, alpha=0.6, markeredgewidth=0, label="data")
    x = np.arange(n, dtype=float)
    edges = np.append(x, n) - 0.5
    ax.stairs(frame["population"], edges, baseline=None, color=BLACK, label="complete pooling", zorder=2)
    alone: dict[str, Any] = {"markerfacecolor": "white", "markersize": 7 if n <= 16 else 5, "linestyle": "none"}
    ax.plot(x, frame["no_pooling"], "o", color=GREY, label="no pooling", zorder=4, **alone)
    size = 5.0 if n <= 16 else 3.5
    for i, (name, mark) in enumerate(marks.items()):
        shifted = x + (0.24 if n <= 16 else 0.4) * (i - 0.5 * (len(marks) - 1))
        if f"{name}_lower" in frame:
            bounds = frame[f"{name}_lower"], frame[f"{name}_upper"]
            ax.vlines(shifted, *bounds, color=mark.colour, linewidth=2.2, alpha=0.5, zorder=3)
        ax.plot(shifted, frame[name], mark.marker, color=mark.colour, markersize=size, label=mark.label, zorder=5)
    ax.set_xticks(x, lines.levels, rotation=90 if n > 12 else 0, fontsize=8 if n > 12 else 9)
    ax.set_xlim(-0.7, n - 0.3)
    shown = "" if n == lines.n_levels else f": {n} of {lines.n_levels} levels, by fitted value"
    ax.set_xlabel(lines.group + shown)
    ax.set_ylabel(lines.response)
    plain_frame(ax)
