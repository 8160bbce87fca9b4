"""Panels to Axes; matplotlib is loaded here, when something is drawn."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ranef.arrays import Floats
from ranef.errors import DesignError
from ranef.interrupts import load
from ranef.plots.fonts import legible
from ranef.plots.marks import BLACK, BLUE, GREY, VERMILLION, Mark
from ranef.plots.names import as_drawn, cut_words, name_levels, shortened, text_width
from ranef.plots.panels import Panel, ResidualCloud, Series, smoothed, smoothing
from ranef.plots.units import effect_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREY",
    "VERMILLION",
    "Mark",
    "draw_panel",
    "draw_panels",
    "draw_residuals",
    "entitle",
    "figure_of",
    "given_axes",
    "legend_entries",
    "legend_on",
    "new_axes",
    "new_grid",
    "plain_frame",
    "returned",
    "returned_figure",
]

#: levels up to which each gets its name on the axis
NAMED = 80

#: panels side by side
COLUMNS = 3

#: inches that all rows of panels may be high together, and that one row is at least
TALLEST, LEAST = 9.2, 2.6

#: characters of a line of a panel's title
TITLE = 50

#: a legend that takes little room
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": "small", "columnspacing": 1.4, "handletextpad": 0.5}
LEGEND |= {"borderaxespad": 0.2, "labelspacing": 0.3}


def draw_panels(
    panels: Sequence[Panel],
    marks: Sequence[Mark],
    ax: Axes | Sequence[Axes] | None,
    *,
    joined: bool = False,
    formula: str = "",
    response: str = "",
) -> Axes | Figure:
    """Draw panels on new axes or on given ones: Axes back for one panel, else their Figure.

    A new figure has one legend, and `formula` above it.

    Raises
    ------
    DesignError
        If there is nothing to draw, or `ax` holds another number of axes than there are panels.
    """
    if not panels:
        raise DesignError("There are no random effects to draw: the model has no (… | group) term.")
    axes = _panel_axes(panels, marks) if ax is None else given_axes(ax, len(panels))
    for a, panel in zip(axes, panels, strict=True):
        draw_panel(a, panel, marks, joined=joined)
        a.set_xlabel(as_drawn(effect_on(response, panel.term)))
        if ax is not None:
            legend_on(a, marks)
    if ax is None:
        entitle(axes[0], formula, marks)
    return returned(axes)


def draw_panel(ax: Axes, panel: Panel, marks: Sequence[Mark], *, joined: bool = False) -> None:
    """Draw one panel: levels upwards, one mark for each series; `joined` ties the first two series by a line."""
    n = len(panel.levels)
    y = np.arange(n, dtype=float)
    scale = 1.0 if n <= 30 else max(0.45, 30.0 / n)
    ax.axvline(0.0, color=BLACK, linewidth=0.8, label="complete pooling: zero", zorder=1)
    if joined and n <= NAMED:
        pairs = np.array([panel.series[0].x, panel.series[1].x])
        heights = np.array([y + marks[0].offset, y + marks[1].offset])
        ax.plot(pairs, heights, color=GREY, linewidth=1.1 * scale, zorder=3)
    for series, mark in zip(panel.series, marks, strict=True):
        _draw_series(ax, y + mark.offset, series, mark, scale)
    ax.set_title(as_drawn(_folded(panel.title, TITLE)), fontsize="medium")
    ax.set_ylim(-0.8, n - 0.2)
    if n <= NAMED:
        name_levels(ax, panel.levels, size=9 if n <= 40 else 7)
    else:
        ax.set_yticks([])
        side = smoothing(n)
        ax.set_ylabel(f"{n} levels, in order" + (f"; bounds: medians of {2 * side + 1} neighbours" if side else ""))
    ax.tick_params(axis="y", length=0)
    plain_frame(ax)


def entitle(ax: Axes, formula: str, marks: Sequence[Mark] = (), columns: int | None = None) -> None:
    """Put the formula and one legend, that of `ax`, above all panels of its figure."""
    figure = figure_of(ax)
    handles, labels = legend_entries(ax, marks)
    # letters of the formula are 5 points wide
    words = as_drawn(_folded(formula, int(72 * figure.get_figwidth() / 5.0)))
    if labels:
        columns = _legend_columns(figure, labels) if columns is None else columns
        # the formula as title of the legend: matplotlib would lay a title of the figure over a legend outside
        legend = figure.legend(
            handles, labels, loc="outside upper center", ncols=columns, title=words or None, **LEGEND
        )
        legend.get_title().set(fontsize="small", color=GREY, family="monospace", multialignment="center")
    elif formula:
        figure.suptitle(words, fontsize="small", color=GREY, family="monospace")


def _folded(text: str, width: int) -> str:
    return "\n".join(textwrap.fill(line, max(24, width)) for line in cut_words(text).split("\n"))


def legend_on(ax: Axes, marks: Sequence[Mark] = (), **place: Any) -> None:
    """Put a legend on given axes, where it covers least unless `place` says where."""
    handles, labels = legend_entries(ax, marks)
    if labels:
        ax.legend(handles, labels, **LEGEND, **place)


def legend_entries(ax: Axes, marks: Sequence[Mark] = ()) -> tuple[list[Any], list[str]]:
    """Handles and labels of what is drawn; the points of `marks` lie on the stroke of their intervals."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - heavy: only where a figure is made

    strokes = {
        m.label: Line2D([], [], color=m.colour, linewidth=m.width, alpha=m.alpha, solid_capstyle="butt")
        for m in marks
        if not m.hollow
    }
    handles, labels = ax.get_legend_handles_labels()
    return [(strokes[t], h) if t in strokes else h for h, t in zip(handles, labels, strict=True)], labels


def draw_residuals(ax: Axes, cloud: ResidualCloud) -> None:
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
    ax.set_ylabel("Pearson residual (in σ)")
    plain_frame(ax)


def _draw_series(ax: Axes, y: Floats, series: Series, mark: Mark, scale: float) -> None:
    if len(y) > NAMED:
        _draw_band(ax, y, series, mark)
        return
    if series.lower is not None and series.upper is not None:
        # a broad stroke lies behind a thin one
        stroke: dict[str, Any] = {"linewidth": mark.width * scale, "zorder": 2.0 + 0.1 / mark.width}
        ax.hlines(y, series.lower, series.upper, color=mark.colour, alpha=mark.alpha, **stroke)
    ax.plot(
        series.x,
        y,
        linestyle="none",
        marker=mark.marker,
        markersize=mark.size * np.sqrt(scale),
        markerfacecolor="white" if mark.hollow else mark.colour,
        markeredgecolor=mark.colour,
        markeredgewidth=2.0 if mark.marker == "|" else 1.0,
        label=mark.label,
        zorder=4.0 - 0.01 * mark.width,
    )


def _draw_band(ax: Axes, y: Floats, series: Series, mark: Mark) -> None:
    """Draw too many levels for marks: points within a band of intervals; thin strokes become two lines."""
    if series.lower is not None and series.upper is not None:
        lower, upper = smoothed(series.lower), smoothed(series.upper)
        if mark.width < 2.0:
            for bound in (lower, upper):
                ax.plot(bound, y, color=mark.colour, linewidth=1.0, zorder=2.5)
        else:
            ax.fill_betweenx(y, lower, upper, color=mark.colour, alpha=0.3, linewidth=0, zorder=2)
    style: dict[str, Any] = {"linestyle": "none", "marker": ".", "markersize": 1.5, "zorder": 3.5}
    if not mark.hollow and _in_order(series.x):
        style = {"linewidth": 1.8, "zorder": 4.0}
    ax.plot(series.x, y, color=mark.colour, label=mark.label, **style)


def _in_order(x: Floats) -> bool:
    """Whether estimates rise from level to level, so that a line through them says nothing wrong."""
    return bool(np.all(np.diff(x[~np.isnan(x)]) >= 0))


def plain_frame(ax: Axes) -> None:
    """Leave the axes two spines."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _panel_axes(panels: Sequence[Panel], marks: Sequence[Mark]) -> list[Axes]:
    columns = 2 if len(panels) == 4 else min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = min(max(_height(panel, marks) for panel in panels), max(TALLEST / rows, LEAST))
    # there is room for names of a few letters
    names = [name for panel in panels if len(panel.levels) <= NAMED for name in shortened(panel.levels)]
    width = 4.2 + max(0.0, text_width(names, 9.0) / 72.0 - 0.6)
    return new_grid(len(panels), columns, (width * columns + 1.6, rows * height + 0.2 * len(marks) + 0.5))


def new_grid(n: int, columns: int, size: tuple[float, float], **shared: Any) -> list[Axes]:
    """`n` new Axes in a figure of `size` inches, in rows of so many `columns`."""
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    rows = -(-n // columns)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **shared)
    axes = list(grid.ravel())
    for spare in axes[n:]:
        figure.delaxes(spare)
    return axes[:n]


def _height(panel: Panel, marks: Sequence[Mark]) -> float:
    """Inches that a panel needs: a line for each level while they have names."""
    n = len(panel.levels)
    line = 0.24 if all(m.offset == 0.0 for m in marks) else 0.34
    return 1.2 + min(max(line * n, 1.2), 8.0 if n <= NAMED else 5.0)


def _legend_columns(figure: Figure, labels: Sequence[str]) -> int:
    """As many columns as the labels leave room for."""
    widest = 0.072 * max(len(re.sub(r"\$.*?\$", "x", label)) for label in labels) + 0.5
    return max(1, min(len(labels), int(figure.get_figwidth() // widest)))


def given_axes(ax: Axes | Sequence[Axes], n: int) -> list[Axes]:
    """The axes of ``ax=``, of which there must be `n`."""
    axes: list[Axes] = list(np.atleast_1d(np.asarray(ax, dtype=object)).ravel())
    if len(axes) != n:
        raise DesignError(
            f"There are {n} panels, one for each random effect of each grouping factor, but {len(axes)} axes in ax=. "
            "Give group=, as many axes, or none."
        )
    return axes


def new_axes(width: float = 6.4) -> Axes:
    """One new Axes in a figure of its own, so many inches wide."""
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    ax: Axes = plt.subplots(figsize=(width, 4.4), layout="constrained")[1]
    return ax


def returned(axes: Sequence[Axes]) -> Axes | Figure:
    """What a figure function gives back when all is drawn: the Axes of one panel, the Figure of several."""
    legible(axes[0])
    return axes[0] if len(axes) == 1 else returned_figure(axes[0])


def returned_figure(drawn: Axes | Figure) -> Figure:
    """The figure, to be returned: a notebook shows it by itself, and would show one left open again."""
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    figure = figure_of(drawn)
    if "inline" in plt.get_backend():
        plt.close(figure)
    return figure


def figure_of(drawn: Axes | Figure) -> Figure:
    """The figure that holds an Axes, or the figure itself."""
    figure = drawn.get_figure(root=True)
    assert figure is not None
    return figure
