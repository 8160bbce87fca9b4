"""Each level alone and where fits draw it: dumbbells, or arrows in the plane of two effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from _ranef.comparison import levels_frame
from _ranef.errors import DesignError
from _ranef.inference import grouping_named
from _ranef.plots.drawing import (
    BLACK,
    GREY,
    Mark,
    dodged,
    entitle,
    figure_of,
    fit_marks,
    given_axes,
    legend_on,
    new_grid,
    plain_frame,
    returned,
)
from _ranef.plots.names import as_drawn, effect_on, effects_of, shortened, text_width
from _ranef.plots.ranef import draw_panels, joined_panels, level_matrix, wide_frame
from _ranef.plots.selection import LevelsArgument, Selection, TermArgument, select
from _ranef.results import Fit
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats, Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Plane", "covariance_of", "ellipse", "plane_limits", "planes", "shrinkage_figure", "uncrowded"]

KINDS = ("dumbbell", "plane")

#: quantiles of estimates without pooling within which a plane of many levels is drawn
WITHIN = (0.01, 0.99)

#: levels from which a few wild estimates may be left outside
MANY = 200

#: levels up to which each is named, and has an arrow with a head
NAMED, HEADED = 40, 150

#: characters of a name beyond which it is shortened, and the size of its font
LONG, NAME_SIZE = 18, 7.5

#: look of an arrow: lengths in points
ARROW: dict[str, Any] = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.0, "mutation_scale": 9}

ARROW |= {"shrinkA": 2.5, "shrinkB": 3.0}

#: probabilities of the ellipses
INNER, OUTER = 0.5, 0.95


def shrinkage_figure(
    fits: Mapping[str, Fit],
    group: str | None,
    ax: Axes | Sequence[Axes] | None,
    *,
    kind: str | None,
    term: TermArgument,
    levels: LevelsArgument,
    max_levels: int,
    level: float,
) -> Axes | Figure:
    """Draw each level alone and where each fit draws it.

    Raises
    ------
    DesignError
        For an unknown group, term, level or kind, a model without random effects, `max_levels` below two, or a plane
        of one effect.
    """
    spec = next(iter(fits.values())).spec
    selection = select(spec, group, term, levels, max_levels)
    if kind is None:
        kind = "plane" if _in_pairs(selection) else "dumbbell"
    one_of("kind", kind, KINDS)
    words = {"formula": spec.design.formula, "response": effects_of(spec)}
    marks = fit_marks({name: fit.engine for name, fit in fits.items()}, level)
    if kind == "plane":
        return draw_planes(planes(fits, select(spec, group, term, levels)), marks, ax, **words)
    alone = Mark("no pooling: each level alone", GREY, hollow=True)
    several = [alone, *marks] if len(fits) == 1 else dodged([alone, *marks], 0.4)
    frame = selection.keeps(spec, wide_frame(fits, level))
    return draw_panels(joined_panels(frame, list(fits), selection), several, ax, joined=True, **words)


def _in_pairs(selection: Selection) -> bool:
    """Whether every grouping factor shown has two effects."""
    counts = Counter(k for k, _ in selection.columns)
    return bool(counts) and set(counts.values()) == {2}


@dataclass(frozen=True)
class Plane:
    """Two random effects of one grouping factor.

    Attributes
    ----------
    group : str
    terms : tuple of two str
        Along the axes.
    levels : tuple of str (J,)
    alone : array (J, 2)
        Estimates without pooling; NaN where a level's rows do not determine one.
    pooled : mapping str to array (J, 2)
        BLUP or posterior mean, by name of the fit.
    covariances : mapping str to array (2, 2)
        Of the two effects.
    n_levels : int
        How many levels there are, shown or not.
    """

    group: str
    terms: tuple[str, str]
    levels: tuple[str, ...]
    alone: Floats
    pooled: Mapping[str, Floats]
    covariances: Mapping[str, Floats]
    n_levels: int


def planes(fits: Mapping[str, Fit], selection: Selection) -> tuple[Plane, ...]:
    """Every pair of the effects chosen of each grouping factor, for fits of one model; no pooling given the first's β̂.

    Levels stand in the order of the factor; of a number of them, evenly spaced ones are taken in that order.
    """
    first = next(iter(fits.values()))
    frames = {name: fit.ranef() for name, fit in fits.items()}
    own = levels_frame(first)
    out: list[Plane] = []
    for k in dict.fromkeys(k for k, _ in selection.columns):
        grouping = first.spec.groupings[k]
        shown = selection.positions(grouping.levels)
        alone = level_matrix(own, "no_pooling", grouping)[shown]
        pooled = {name: level_matrix(frame, "estimate", grouping)[shown] for name, frame in frames.items()}
        covariances = {name: covariance_of(fit, grouping.name) for name, fit in fits.items()}
        out += [
            Plane(
                grouping.name,
                (grouping.columns[i], grouping.columns[j]),
                tuple(map(str, grouping.levels[shown])),
                alone[:, [i, j]],
                {name: values[:, [i, j]] for name, values in pooled.items()},
                {name: cov[np.ix_([i, j], [i, j])] for name, cov in covariances.items()},
                grouping.n_levels,
            )
            for i, j in combinations([q for place, q in selection.columns if place == k], 2)
        ]
    return tuple(out)


def covariance_of(fit: Fit, group: str) -> Floats:
    """Covariance matrix (p, p) of the random effects of a grouping factor, read from ``varcorr``."""
    columns = list(grouping_named(fit.spec, group)[1].columns)
    table = fit.varcorr[fit.varcorr["group"] == group]
    out = np.zeros((len(columns), len(columns)))
    for a, b, value in zip(table["term1"], table["term2"], table["vcov"], strict=True):
        i = columns.index(a)
        j = i if pd.isna(b) else columns.index(b)
        out[i, j] = out[j, i] = value
    return out


def ellipse(covariance: Floats, probability: float, points: int = 181) -> Floats:
    """Outline (points, 2) of the smallest region of a normal distribution round 0 (2, 2) with this probability.

    It is √(−2 log(1 − probability)) times a square root of the covariance times the unit circle; that of a singular
    covariance is a segment.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, points)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    radius = np.sqrt(-2.0 * np.log1p(-probability))
    return np.asarray(radius * np.column_stack([np.cos(angle), np.sin(angle)]) @ root.T)


def plane_limits(plane: Plane, outline: Floats) -> tuple[Floats, Floats]:
    """Lower and upper limits (2,) that hold estimates and ellipse; of many levels, all but the wildest estimates."""
    alone = plane.alone[np.isfinite(plane.alone).all(axis=1)]
    if len(alone) > MANY:
        alone = np.quantile(alone, WITHIN, axis=0)
    held = np.vstack([alone, outline, *plane.pooled.values()])
    low, high = held.min(axis=0), held.max(axis=0)
    pad = 0.05 * np.where(high > low, high - low, 1.0)
    return low - pad, high + pad


def uncrowded(centres: Floats, sizes: Floats, first: Ints) -> list[int]:
    """Which boxes of given centres and sizes (n, 2) to keep, chosen in the order of `first`, so that none overlap."""
    kept: list[int] = []
    for j in first.tolist():
        gap = np.abs(centres[kept] - centres[j]) - 0.5 * (sizes[kept] + sizes[j])
        if not np.any(np.all(gap < 0, axis=1)):
            kept.append(j)
    return kept


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
    if unknown := int((~np.isfinite(plane.alone)).any(axis=1).sum()):
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
