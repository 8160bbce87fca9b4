"""Panels to Axes; matplotlib is loaded here, when something is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ranef.arrays import Floats
from ranef.errors import DesignError
from ranef.plots.panels import Panel, ResidualCloud, Series

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
    "figure_of",
    "new_axes",
    "returned_figure",
]

# Okabe and Ito's palette, which colour-blind readers tell apart
BLUE, VERMILLION, GREY, BLACK = "#0072B2", "#D55E00", "#6E6E6E", "#000000"

#: levels up to which each gets its name on the axis
NAMED = 80

#: panels side by side
COLUMNS = 3


@dataclass(frozen=True)
class Mark:
    """How one series looks.

    Attributes
    ----------
    label : str
        In the legend: what the point is, and what its interval.
    colour, marker : str
    hollow : bool
    offset : float
        Above the middle of its level, in levels.
    """

    label: str
    colour: str
    marker: str = "o"
    hollow: bool = False
    offset: float = 0.0


def draw_panels(
    panels: Sequence[Panel], marks: Sequence[Mark], ax: Axes | Sequence[Axes] | None, *, joined: bool = False
) -> Axes | Figure:
    """Draw panels on new axes or on given ones: Axes back for one panel, else their Figure.

    Raises
    ------
    DesignError
        If there is nothing to draw, or `ax` holds another number of axes than there are panels.
    """
    if not panels:
        raise DesignError("There are no random effects to draw: the model has no (… | group) term.")
    axes = _new_axes(panels, marks) if ax is None else _given_axes(ax, len(panels))
    for a, panel in zip(axes, panels, strict=True):
        draw_panel(a, panel, marks, joined=joined)
        if ax is not None:
            a.legend(fontsize="small", frameon=False)
    if ax is None:
        handles, labels = axes[0].get_legend_handles_labels()
        figure = figure_of(axes[0])
        figure.legend(handles, labels, loc="outside upper center", frameon=False, ncols=_legend_columns(figure, labels))
    return axes[0] if len(axes) == 1 else returned_figure(axes[0])


def draw_panel(ax: Axes, panel: Panel, marks: Sequence[Mark], *, joined: bool = False) -> None:
    """Draw one panel: levels upwards, one mark for each series; `joined` ties the first two series by a line."""
    n = len(panel.levels)
    y = np.arange(n, dtype=float)
    scale = 1.0 if n <= 30 else max(0.45, 30.0 / n)
    ax.axvline(0.0, color=BLACK, linewidth=0.8, label="complete pooling: zero", zorder=1)
    if joined and n <= NAMED:
        first, second = panel.series[0].x, panel.series[1].x
        ax.hlines(y, first, second, color=GREY, linewidth=1.1 * scale, zorder=3)
    for series, mark in zip(panel.series, marks, strict=True):
        _draw_series(ax, y + mark.offset, series, mark, scale)
    ax.set_title(panel.title, fontsize="medium")
    ax.set_xlabel("random effect")
    ax.set_ylim(-0.8, n - 0.2)
    if n <= NAMED:
        ax.set_yticks(y, panel.levels, fontsize=9 if n <= 40 else 7)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{n} levels, in order")
    ax.tick_params(axis="y", length=0)
    _plain_frame(ax)


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
    _plain_frame(ax)


def _draw_series(ax: Axes, y: Floats, series: Series, mark: Mark, scale: float) -> None:
    if len(y) > NAMED:
        _draw_band(ax, y, series, mark)
        return
    if series.lower is not None and series.upper is not None:
        ax.hlines(y, series.lower, series.upper, color=mark.colour, alpha=0.45, linewidth=2.6 * scale, zorder=2)
    ax.plot(
        series.x,
        y,
        linestyle="none",
        marker=mark.marker,
        markersize=6.0 * np.sqrt(scale),
        markerfacecolor="white" if mark.hollow else mark.colour,
        markeredgecolor=mark.colour,
        label=mark.label,
        zorder=4,
    )


def _draw_band(ax: Axes, y: Floats, series: Series, mark: Mark) -> None:
    """Draw too many levels for marks: a line of points within a band of intervals."""
    if series.lower is not None and series.upper is not None:
        ax.fill_betweenx(y, series.lower, series.upper, color=mark.colour, alpha=0.3, linewidth=0, zorder=2)
    style: dict[str, Any] = (
        {"linestyle": "none", "marker": ".", "markersize": 1.5} if mark.hollow else {"linewidth": 1.8}
    )
    ax.plot(series.x, y, color=mark.colour, label=mark.label, zorder=4, **style)


def _plain_frame(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _new_axes(panels: Sequence[Panel], marks: Sequence[Mark]) -> list[Axes]:
    from matplotlib import pyplot as plt  # noqa: PLC0415 - heavy: only where a figure is made

    columns = 2 if len(panels) == 4 else min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = max(_height(panel, len(marks)) for panel in panels)
    size = (4.2 * columns + 1.6, rows * height + 0.3 * len(marks) + 0.4)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    axes = list(grid.ravel())
    for spare in axes[len(panels) :]:
        figure.delaxes(spare)
    return axes[: len(panels)]


def _height(panel: Panel, n_marks: int) -> float:
    """Inches that a panel needs: a line for each level while they have names."""
    n = len(panel.levels)
    line = 0.24 if n_marks < 3 else 0.34
    return 1.2 + min(max(line * n, 1.2), 8.0 if n <= NAMED else 5.0)


def _legend_columns(figure: Figure, labels: Sequence[str]) -> int:
    """As many columns as the labels leave room for."""
    widest = 0.085 * max(map(len, labels)) + 0.6
    return max(1, min(len(labels), int(figure.get_figwidth() // widest)))


def _given_axes(ax: Axes | Sequence[Axes], n: int) -> list[Axes]:
    axes: list[Axes] = list(np.atleast_1d(np.asarray(ax, dtype=object)).ravel())
    if len(axes) != n:
        raise DesignError(
            f"There are {n} panels, one for each random effect of each grouping factor, but {len(axes)} axes in ax=. "
            "Give group=, as many axes, or none."
        )
    return axes


def new_axes() -> Axes:
    """One new Axes in a figure of its own."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - heavy: only where a figure is made

    return plt.subplots(figsize=(6.4, 4.4), layout="constrained")[1]


def returned_figure(drawn: Axes | Figure) -> Figure:
    """The figure, to be returned: a notebook shows it by itself, and would show one left open again."""
    from matplotlib import get_backend  # noqa: PLC0415 - heavy: only where a figure is made
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure = figure_of(drawn)
    if "inline" in get_backend():
        plt.close(figure)
    return figure


def figure_of(drawn: Axes | Figure) -> Figure:
    """The figure that holds an Axes, or the figure itself."""
    figure = drawn.get_figure(root=True)
    assert figure is not None
    return figure
