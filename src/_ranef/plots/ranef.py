"""Random effects by level, a panel for each: in order with their intervals, of one fit or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from _ranef.comparison import levels_frame
from _ranef.plots.drawing import (
    BLACK,
    GREY,
    NAMED,
    Mark,
    dodged,
    entitle,
    fit_marks,
    folded,
    given_axes,
    legend_on,
    new_grid,
    overlaid_marks,
    plain_frame,
    returned,
)
from _ranef.plots.names import as_drawn, effect_on, effect_title, effects_of, name_levels, shortened, text_width
from _ranef.plots.selection import LevelsArgument, Selection, TermArgument, require_effects, select
from _ranef.results import Fit
from _ranef.spec import Grouping
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Panel",
    "Series",
    "compared_figure",
    "comparison_panels",
    "draw_panel",
    "draw_panels",
    "estimates_frame",
    "joined_panels",
    "level_matrix",
    "ordered_levels",
    "overlay_panels",
    "ranef_figure",
    "smoothed",
    "smoothing",
    "wide_frame",
]

#: what tells random effects apart
KEYS = ["group", "level", "term"]

#: bands of more levels than the second number have running medians as bounds: a level in so many on either side
SMOOTHED, SMOOTHED_FROM = 50, 300

#: panels side by side
COLUMNS = 3

#: inches that all rows of panels may be high together, and that one row is at least
TALLEST, LEAST = 9.2, 2.6

#: characters of a line of a panel's title
TITLE = 50


@dataclass(frozen=True)
class Series:
    """One kind of estimate at the levels of a panel.

    Attributes
    ----------
    x : array (levels,)
        NaN where there is none.
    lower, upper : array (levels,) or None
    """

    x: Floats
    lower: Floats | None = None
    upper: Floats | None = None


@dataclass(frozen=True)
class Panel:
    """One random effect of one grouping factor.

    Attributes
    ----------
    group, term : str
    levels : tuple of str
        From the bottom to the top of the axis.
    n_levels : int
        How many there are, shown or not.
    series : tuple of Series
        One for each kind of estimate.
    thinning : str
        How the levels shown were chosen among all.
    """

    group: str
    term: str
    levels: tuple[str, ...]
    n_levels: int
    series: tuple[Series, ...]
    thinning: str = ", evenly spaced by rank"

    @property
    def title(self) -> str:
        """Group and term; how many levels are shown where it is not all."""
        return effect_title(f"{self.group}: {self.term}", len(self.levels), self.n_levels, self.thinning)


def overlay_panels(frame: pd.DataFrame, names: Sequence[str], selection: Selection) -> tuple[Panel, ...]:
    """Panels of a frame of several fits, sorted by the first one's estimate; one series for each fit."""
    return _panels(frame, f"{names[0]}_estimate", [_columns(name) for name in names], selection)


def comparison_panels(frame: pd.DataFrame, names: Sequence[str], selection: Selection) -> tuple[Panel, ...]:
    """Panels of a frame of several fits, sorted by the first one's estimate; series: no pooling, then each fit."""
    return _panels(frame, f"{names[0]}_estimate", [("no_pooling",), *map(_columns, names)], selection)


def _columns(name: str) -> tuple[str, str, str]:
    return f"{name}_estimate", f"{name}_lower", f"{name}_upper"


def joined_panels(frame: pd.DataFrame, names: Sequence[str], selection: Selection) -> tuple[Panel, ...]:
    """As :func:`comparison_panels`, sorted by the estimate without pooling."""
    return _panels(frame, "no_pooling", [("no_pooling",), *map(_columns, names)], selection)


def estimates_frame(fits: Mapping[str, Fit], level: float) -> pd.DataFrame:
    """Random effects of several fits of one model side by side.

    Returns
    -------
    DataFrame
        ``group, level, term``, and for each fit ``{name}_estimate``, ``{name}_lower`` and ``{name}_upper``.
    """
    bounds = ("estimate", "lower", "upper")
    own = [fit.ranef(level=level)[[*KEYS, *bounds]] for fit in fits.values()]
    named = [f.rename(columns={c: f"{n}_{c}" for c in bounds}) for n, f in zip(fits, own, strict=True)]
    return reduce(lambda left, right: left.merge(right, on=KEYS), named)


def wide_frame(fits: Mapping[str, Fit], level: float) -> pd.DataFrame:
    """The columns of :func:`estimates_frame`, and ``no_pooling``: what each level's own rows say.

    That is given the first fit's coefficients.
    """
    own = levels_frame(next(iter(fits.values())), level)[[*KEYS, "no_pooling"]]
    return own.merge(estimates_frame(fits, level), on=KEYS)


def level_matrix(frame: pd.DataFrame, column: str, grouping: Grouping) -> Floats:
    """A column of a frame of all effects as (J, p) of one grouping factor."""
    values = frame.loc[frame["group"] == grouping.name, column].to_numpy(dtype=float)
    return values.reshape(grouping.n_levels, len(grouping.columns))


def smoothing(n: int) -> int:
    """Neighbours on either side over which bounds of `n` levels are smoothed: none of few levels."""
    return n // SMOOTHED if n > SMOOTHED_FROM else 0


def smoothed(x: Floats) -> Floats:
    """Running medians (n,) of bounds of very many levels in order, whose rows, and so widths, differ from one to next.

    At the ends there are as many neighbours as on the shorter side, so that a trend is kept.
    """
    n = len(x)
    side = smoothing(n)
    near = [min(i, n - 1 - i, side) for i in range(n)]
    return x if side == 0 else np.array([np.median(x[i - k : i + k + 1]) for i, k in enumerate(near)])


def ordered_levels(part: pd.DataFrame, by: str, selection: Selection) -> pd.DataFrame:
    """Rows of one random effect in the order of a column, those of the levels to show."""
    ordered = part.sort_values(by, kind="stable", na_position="first")
    return ordered.iloc[selection.positions(ordered["level"])]


def _panels(
    frame: pd.DataFrame, by: str, columns: Sequence[tuple[str, ...]], selection: Selection
) -> tuple[Panel, ...]:
    out = []
    for (group, term), part in frame.groupby(["group", "term"], sort=False):
        shown = ordered_levels(part, by, selection)
        series = tuple(Series(*(shown[c].to_numpy(dtype=float) for c in names)) for names in columns)
        levels = tuple(map(str, shown["level"]))
        out.append(Panel(str(group), str(term), levels, len(part), series, selection.thinning))
    return tuple(out)


def ranef_figure(
    fits: Mapping[str, Fit],
    group: str | None,
    ax: Axes | Sequence[Axes] | None,
    *,
    term: TermArgument,
    levels: LevelsArgument,
    max_levels: int | None,
    level: float,
) -> Axes | Figure:
    """Draw random effects in the order of the first fit's estimates, with the intervals of all fits.

    Raises
    ------
    DesignError
        For an unknown group, term or level, a model without random effects, or `max_levels` below two.
    """
    spec = next(iter(fits.values())).spec
    selection = select(spec, group, term, levels, max_levels)
    panels = overlay_panels(selection.keeps(spec, estimates_frame(fits, level)), list(fits), selection)
    marks = overlaid_marks({name: fit.engine for name, fit in fits.items()}, level)
    return draw_panels(panels, marks, ax, formula=spec.design.formula, response=effects_of(spec))


def compared_figure(
    fits: Mapping[str, Fit],
    group: str | None,
    *,
    term: TermArgument,
    levels: LevelsArgument,
    max_levels: int,
    level: float,
) -> Axes | Figure:
    """Draw what each level says alone, and the estimate and interval of every fit; a panel for each random effect.

    Raises
    ------
    DesignError
        As :func:`ranef_figure`.
    """
    spec = next(iter(fits.values())).spec
    selection = select(spec, group, term, levels, max_levels)
    panels = comparison_panels(selection.keeps(spec, wide_frame(fits, level)), list(fits), selection)
    marks = compared_marks({name: fit.engine for name, fit in fits.items()}, level)
    return draw_panels(panels, marks, None, formula=spec.design.formula, response=effects_of(spec))


def compared_marks(engines: Mapping[str, str], level: float) -> list[Mark]:
    """Marks of no pooling and of every fit, one above the other."""
    return dodged([Mark("no pooling: level alone", GREY, hollow=True, size=5.0), *fit_marks(engines, level)])


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
    require_effects(panels)
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
    panel = _bounded(ax, panel, marks)
    if joined and n <= NAMED:
        pairs = np.array([panel.series[0].x, panel.series[1].x])
        heights = np.array([y + marks[0].offset, y + marks[1].offset])
        ax.plot(pairs, heights, color=GREY, linewidth=1.1 * scale, zorder=3)
    for series, mark in zip(panel.series, marks, strict=True):
        _draw_series(ax, y + mark.offset, series, mark, scale)
    ax.set_title(as_drawn(folded(panel.title, TITLE)), fontsize="medium")
    ax.set_ylim(-0.8, n - 0.2)
    if n <= NAMED:
        name_levels(ax, panel.levels, size=9 if n <= 40 else 7)
    else:
        ax.set_yticks([])
        side = smoothing(n)
        ax.set_ylabel(f"{n} levels, in order" + (f"; bounds: medians of {2 * side + 1} neighbours" if side else ""))
    ax.tick_params(axis="y", length=0)
    plain_frame(ax)


def _bounded(ax: Axes, panel: Panel, marks: Sequence[Mark]) -> Panel:
    """The panel with infinite estimates at arrowheads beyond all others: rows at one end say no more of a level."""
    whole = np.concatenate([x for s in panel.series for x in (s.x, s.lower, s.upper) if x is not None])
    if not np.isinf(whole).any():
        return panel
    known = np.append(whole[np.isfinite(whole)], 0.0)
    beyond = 0.06 * (np.ptp(known) or 1.0)
    ends = {-1.0: known.min() - beyond, 1.0: known.max() + beyond}
    y, shown = np.arange(len(panel.levels), dtype=float), []
    for series, mark in zip(panel.series, marks, strict=True):
        for sign, end in ends.items():
            there = series.x == sign * np.inf
            if there.any():
                look: dict[str, Any] = {"linestyle": "none", "marker": "<" if sign < 0 else ">", "color": mark.colour}
                at, label = (y + mark.offset)[there], "no finite estimate alone"
                ax.plot(
                    np.full(len(at), end), at, markersize=6, label=label if label not in _told(ax) else None, **look
                )
        shown.append(replace(series, x=np.where(np.isinf(series.x), np.nan, series.x)))
    return replace(panel, series=tuple(shown))


def _told(ax: Axes) -> list[str]:
    return [str(line.get_label()) for line in ax.lines]


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


def _panel_axes(panels: Sequence[Panel], marks: Sequence[Mark]) -> list[Axes]:
    columns = 2 if len(panels) == 4 else min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = min(max(_height(panel, marks) for panel in panels), max(TALLEST / rows, LEAST))
    # there is room for names of a few letters
    names = [name for panel in panels if len(panel.levels) <= NAMED for name in shortened(panel.levels)]
    width = 4.2 + max(0.0, text_width(names, 9.0) / 72.0 - 0.6)
    return new_grid(len(panels), columns, (width * columns + 1.6, rows * height + 0.2 * len(marks) + 0.5))


def _height(panel: Panel, marks: Sequence[Mark]) -> float:
    """Inches that a panel needs: a line for each level while they have names."""
    n = len(panel.levels)
    line = 0.24 if all(m.offset == 0.0 for m in marks) else 0.34
    return 1.2 + min(max(line * n, 1.2), 8.0 if n <= NAMED else 5.0)
