"""Shrinkage of two effects drawn as arrows in their plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ranef.arrays import Floats
from ranef.errors import DesignError
from ranef.plots.drawing import entitle, figure_of, given_axes, legend_on, new_grid, plain_frame, returned
from ranef.plots.marks import BLACK, GREY, Mark
from ranef.plots.names import as_drawn, shortened, text_width
from ranef.plots.plane import Plane, ellipse, plane_limits, uncrowded
from ranef.plots.units import effect_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_plane", "draw_planes"]

#: levels up to which each is named, and has an arrow with a head
NAMED, HEADED = 40, 150

#: characters of a name beyond which it is shortened, and the size of its font
LONG, NAME_SIZE = 18, 7.5

#: look of an arrow: lengths in points
ARROW: dict[str, Any] = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.0, "mutation_scale": 9}
ARROW |= {"shrinkA": 2.5, "shrinkB": 3.0}

#: probabilities of the ellipses
INNER, OUTER = 0.5, 0.95


def draw_planes(
    planes: Sequence[Plane],
    marks: Sequence[Mark],
    ax: Axes | Sequence[Axes] | None,
    *,
    formula: str = "",
    response: str = "",
) -> Axes | Figure:
    """Draw planes on new axes or on given ones: Axes back for one, else their Figure; `marks` in the order of fits.

    Raises
    ------
    DesignError
        If `ax` holds another number of axes than there are planes.
    """
    if not planes:
        raise DesignError("kind='plane' needs a grouping factor with two random effects or more; use kind='dumbbell'.")
    columns = min(3, len(planes))
    rows = -(-len(planes) // columns)
    size = (5.0 * columns + 1.4, 4.6 * rows + 0.7)
    axes = new_grid(len(planes), columns, size) if ax is None else given_axes(ax, len(planes))
    for a, plane in zip(axes, planes, strict=True):
        draw_plane(a, plane, marks, response)
        if ax is not None:
            # ellipses reach into every corner: the legend gets a strip of its own
            low, high = a.get_ylim()
            a.set_ylim(low, high + 0.24 * (high - low))
            legend_on(a, loc="upper center", ncols=3)
    if ax is None:
        entitle(axes[0], formula)
    return returned(axes)


def draw_plane(ax: Axes, plane: Plane, marks: Sequence[Mark], response: str = "") -> None:
    """Draw arrows from what each level says alone to the first fit's estimates, other fits' estimates, and ellipses."""
    ax.plot(0, 0, "+", markersize=13, markeredgewidth=1.8, color=BLACK, label="complete pooling", zorder=5)
    outer = _draw_ellipses(ax, plane, marks)
    first = next(iter(plane.pooled.values()))
    _draw_points(ax, plane.alone, Mark("no pooling", GREY, hollow=True, size=5.5), zorder=3)
    _draw_arrows(ax, plane.alone, first)
    for k, (points, mark) in enumerate(zip(plane.pooled.values(), marks, strict=True)):
        further = k > 0
        look = replace(mark, label=_estimate(mark), hollow=further, size=7.0 if further else 5.5)
        _draw_points(ax, points, look, zorder=6 if further else 5)
    low, high = plane_limits(plane, outer)
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    outside = int(np.sum(np.any((plane.alone < low) | (plane.alone > high), axis=1)))
    ax.set_title(as_drawn(_title(plane, outside)), fontsize="medium")
    ax.set_xlabel(as_drawn(effect_on(response, plane.terms[0], f"{plane.terms[0]}: random effect")))
    ax.set_ylabel(as_drawn(effect_on(response, plane.terms[1], f"{plane.terms[1]}: random effect")))
    plain_frame(ax)
    if len(plane.levels) <= NAMED:
        _name_levels(ax, plane, first)


def _estimate(mark: Mark) -> str:
    """What a mark stands for, without its interval."""
    return mark.label.split(",")[0]


def _draw_points(ax: Axes, points: Floats, mark: Mark, zorder: float) -> None:
    n = len(points)
    size = 1.0 if n <= NAMED else 0.55 if n <= HEADED else 0.25
    look: dict[str, Any] = {
        "linestyle": "none",
        "marker": mark.marker,
        "markerfacecolor": ("white" if zorder < 5 else "none") if mark.hollow else mark.colour,
        "markeredgecolor": mark.colour,
        "markeredgewidth": 1.2 if n <= HEADED else 0.4,
        "zorder": zorder,
    }
    small = size < 1.0
    ax.plot(points[:, 0], points[:, 1], markersize=mark.size * size, label="_points" if small else mark.label, **look)
    if small:  # in the legend they are large enough to be told apart
        ax.plot([], [], markersize=mark.size, label=mark.label, **(look | {"markeredgewidth": 1.2}))


def _title(plane: Plane, outside: int) -> str:
    notes = [] if len(plane.levels) == plane.n_levels else [f"{len(plane.levels)} of {plane.n_levels} levels"]
    if unknown := int(np.isnan(plane.alone).any(axis=1).sum()):
        notes.append(f"{unknown} of {len(plane.levels)} levels do not determine both effects alone")
    if outside:
        notes.append(f"{outside} estimates without pooling lie outside")
    return "\n".join([f"{plane.group}: {plane.terms[0]} and {plane.terms[1]}", *notes])


def _draw_ellipses(ax: Axes, plane: Plane, marks: Sequence[Mark]) -> Floats:
    """Draw the regions of N(0, Σ̂) of every fit; the outlines of the outer ones (points, 2) are returned."""
    outlines = []
    # dark and in front of a cloud of points, in the colour of the fit and behind a few
    many = len(plane.levels) > HEADED
    for k, (covariance, mark) in enumerate(zip(plane.covariances.values(), marks, strict=True)):
        look: dict[str, Any] = {"color": mark.colour, "linewidth": 1.0, "alpha": 0.75, "zorder": 2}
        if many:
            look = {"color": BLACK if k == 0 else mark.colour, "linewidth": 1.6, "zorder": 7}
        for probability in (INNER, OUTER):
            outline = ellipse(covariance, probability)
            ax.plot(outline[:, 0], outline[:, 1], linestyle="-" if k == 0 else "--", label="_ellipse", **look)
        outlines.append(outline)
        of = "" if len(marks) == 1 else f": {_estimate(mark)}"
        ax.lines[-1].set_label(rf"{100 * INNER:g} %, {100 * OUTER:g} % of N(0, $\hat{{\Sigma}}$){of}")
    return np.vstack(outlines)


def _draw_arrows(ax: Axes, start: Floats, end: Floats) -> None:
    """Draw arrows (J, 2) to (J, 2); of many levels, thin lines without heads."""
    from matplotlib.collections import LineCollection  # noqa: PLC0415 - heavy: only where a figure is made

    known = np.isfinite(start).all(axis=1)
    n = int(known.sum())
    if n > HEADED:
        alpha = max(0.12, min(0.6, 250.0 / n))
        segments = np.stack([start[known], end[known]], axis=1)
        ax.add_collection(LineCollection(list(segments), colors=GREY, linewidths=0.5, alpha=alpha, zorder=3))
        return
    for a, b in zip(start[known], end[known], strict=True):
        ax.annotate("", xy=tuple(b), xytext=tuple(a), arrowprops=ARROW, zorder=4)


def _name_levels(ax: Axes, plane: Plane, pooled: Floats) -> None:
    """Put a level's name beyond the tail of its arrow, away from the head, unless a longer arrow's name is there."""
    known = np.isfinite(plane.alone).all(axis=1, keepdims=True)
    start: Floats = np.where(known, plane.alone, pooled)
    tails, heads = (np.asarray(ax.transData.transform(points)) for points in (start, pooled))
    ways: Floats = np.subtract(tails, heads)
    lengths = np.hypot(ways[:, 0], ways[:, 1])
    units = np.where(lengths[:, None] > 1e-9, ways / np.maximum(lengths, 1e-9)[:, None], [0.0, 1.0])
    points = figure_of(ax).dpi / 72.0
    names = shortened(plane.levels, LONG)
    sizes = np.array([[max(9.0, text_width([name], NAME_SIZE)), 8.5] for name in names])
    shown = uncrowded(tails / points + 10.5 * units, sizes, first=np.argsort(-lengths, kind="stable"))
    for j in shown:
        label, at, unit = as_drawn(names[j]), start[j], units[j]
        # a long name begins or ends at its place, rather than lying over the arrow
        beside = abs(unit[0]) > 0.5 and sizes[j, 0] > 18.0
        ax.annotate(
            label,
            (at[0], at[1]),
            xytext=(10.5 * unit[0], 10.5 * unit[1]),
            textcoords="offset points",
            ha=("left" if unit[0] > 0 else "right") if beside else "center",
            va="center",
            fontsize=NAME_SIZE,
            color=GREY,
            zorder=7,
        )
