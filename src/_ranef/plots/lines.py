"""Data with fitted lines by group, along a covariate: facets, spaghetti, or a strip of levels without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from _ranef.comparison.shrinkage import shrinkage_frame
from _ranef.errors import DesignError
from _ranef.inference import (
    FREE,
    Covariate,
    check_level,
    choose_covariate,
    constant_factor,
    draws_of,
    grouping_named,
    level_cells,
    level_means,
    predictor,
    predictor_draws,
    random_covariates,
    require_gaussian,
)
from _ranef.plots.drawing import (
    BLACK,
    GREY,
    NAMED,
    Mark,
    entitle,
    fit_marks,
    given_axes,
    legend_on,
    new_grid,
    one_axes,
    plain_frame,
    returned,
)
from _ranef.plots.names import as_drawn, name_levels, shortened
from _ranef.plots.ranef import level_matrix
from _ranef.plots.selection import LevelsArgument, TermArgument, select, selected_levels
from _ranef.results import ESTIMATING, Fit
from _ranef.spec import ModelSpec
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GroupLines", "by_level", "group_lines", "lines_figure", "lines_group", "population_lines"]

#: population lines drawn one by one, and classes of the covariate over which more are averaged
DISTINCT, CLASSES = 6, 20

KINDS = ("facets", "spaghetti")

#: levels shown by default: panels of facets, places of a strip
PANELS, PLACES = 12, 40

#: characters of a panel's title beyond which it is shortened
TITLE = 28

#: length of the line of a level with one value of the covariate, as a share of the axis
STUB = 0.04


@dataclass(frozen=True)
class GroupLines:
    """Data and lines of some levels of a grouping factor.

    Attributes
    ----------
    group : str
    x_name : str
        Of the covariate; empty where there is none, and every level has one point.
    categories : tuple of str
        Of a factor, whose places are x; empty for a numeric covariate.
    response : str
    levels : tuple of str
        Shown, in the order of panels.
    n_levels : int
        How many there are.
    points : DataFrame
        ``level, x, y``: the rows of those levels.
    lines : DataFrame
        ``level, x, no_pooling, population``, and for every fit ``{name}``; of posteriors with a band ``{name}_lower``
        and ``{name}_upper``. Sorted by level, as `levels`, and x.
    stretches : tuple of (str, int)
        Without a covariate, where a factor of the fixed effects is constant within levels: its categories, by which
        levels are sorted first, and how many levels each has.
    """

    group: str
    x_name: str
    response: str
    levels: tuple[str, ...]
    n_levels: int
    points: pd.DataFrame
    lines: pd.DataFrame
    categories: tuple[str, ...] = ()
    stretches: tuple[tuple[str, int], ...] = ()


def lines_group(spec: ModelSpec, group: str | None, x: object) -> str:
    """The grouping factor asked for; else the first that has a slope on the covariate, else the first.

    Raises
    ------
    DesignError
        If there is no such grouping factor, or none at all.
    """
    if group is not None:
        return grouping_named(spec, group)[1].name
    if not spec.groupings:
        raise DesignError("There are no lines by group to draw: the model has no (… | group) term.")
    covariate = choose_covariate(spec, x, None)
    if covariate is not None:
        for g, kinds in zip(spec.groupings, covariate.random, strict=True):
            if (kinds != FREE).any():
                return g.name
    return spec.groupings[0].name


def group_lines(
    fits: Mapping[str, Fit], group: str, x: object, levels: LevelsArgument, *, level: float = 0.95, bands: bool = True
) -> GroupLines:
    """Lines of fits of one model; no pooling and the population line are the first fit's.

    Parameters
    ----------
    x : str, array or Series, optional
        As :func:`choose_covariate`.
    levels : int or sequence, optional
        As :func:`_ranef.plots.selection.select`, in the order of their mean fitted values.
    level : float
        Probability of the posterior bands.
    bands : bool
        Whether posteriors get bands.
    """
    first = next(iter(fits.values()))
    spec = first.spec.held
    k, grouping = grouping_named(spec, group)
    covariate = choose_covariate(spec, x, group) or choose_covariate(spec, x, None)
    check_level(level)
    J = grouping.n_levels
    order = np.argsort(level_means(first.fitted().to_numpy(), grouping.codes, J), kind="stable")
    between = None if covariate is not None else constant_factor(spec, group)
    category = (
        np.zeros(grouping.n_levels) if between is None else level_means(between.values, grouping.codes, len(order))
    )
    order = order[np.argsort(category[order].round(), kind="stable")]
    shown = order[selected_levels(spec, group, levels).positions(grouping.levels[order])]
    cells = level_cells(spec, k, covariate, shown)
    own = level_matrix(shrinkage_frame(first), "no_pooling", grouping)
    lines = pd.DataFrame({"level": grouping.levels[shown][cells.level], "x": cells.x})
    beta = first.fixef.to_numpy(dtype=float)
    lines["population"] = predictor(cells, beta)
    lines["no_pooling"] = lines["population"] + np.einsum("mp,mp->m", cells.Z[k], own[shown][cells.level])
    for name, fit in fits.items():
        frame = fit.ranef()
        effects = [level_matrix(frame, "estimate", g) for g in spec.groupings]
        lines[name] = predictor(cells, fit.fixef.to_numpy(dtype=float), effects)
        draws = draws_of(fit) if bands else None
        if draws is not None:
            tail = 0.5 * (1.0 - level)
            values = predictor_draws(cells, draws)
            lines[f"{name}_lower"], lines[f"{name}_upper"] = np.quantile(values, [tail, 1.0 - tail], axis=0)
    at = np.zeros(spec.n_obs) if covariate is None else covariate.values
    own_rows = {"x": at[cells.rows], "y": spec.design.y[cells.rows]}
    points = pd.DataFrame({"level": grouping.levels[shown][cells.place], **own_rows})
    names = tuple(map(str, grouping.levels[shown]))
    x_name, categories = ("", ()) if covariate is None else (covariate.name, covariate.categories)
    stretches = () if between is None else _stretches(between, category[shown])
    response = spec.design.response
    return GroupLines(grouping.name, x_name, response, names, grouping.n_levels, points, lines, categories, stretches)


def _stretches(factor: Covariate, places: Floats) -> tuple[tuple[str, int], ...]:
    """Names and lengths of the stretches of levels with one category."""
    found, counts = np.unique(places.round().astype(np.intp), return_counts=True)
    return tuple((f"{factor.name}: {factor.categories[k]}", int(n)) for k, n in zip(found, counts, strict=True))


def by_level(lines: GroupLines, column: str) -> list[Floats]:
    """Lines (points, 2) of a column of the frame along the covariate, one for each level."""
    values = lines.lines[["x", column]].to_numpy(dtype=float)
    level = lines.lines["level"].to_numpy()
    return np.split(values, np.flatnonzero(level[1:] != level[:-1]) + 1)


def population_lines(lines: GroupLines) -> list[Floats]:
    """The distinct population lines (points, 2); where levels differ in many ways, the mean over levels.

    Straight ones are the same where intercept and slope are, whatever values of the covariate a level has.
    """
    curves = by_level(lines, "population")
    size = float(np.abs(lines.lines["population"]).max()) or 1.0
    straight = _straight([c for c in curves if len(c) > 1], size)
    if straight is not None and 0 < len(straight) <= DISTINCT:
        return straight
    known = {tuple(np.round(c / size, 7).ravel()): c for c in curves}
    if len(known) <= DISTINCT:
        return list(known.values())
    frame = lines.lines[["x", "population"]]
    x = frame["x"].to_numpy(dtype=float)
    if len(np.unique(x)) > 2 * CLASSES:
        x = np.digitize(x, np.linspace(x.min(), x.max(), CLASSES + 1)[1:-1]).astype(float)
    return [frame.groupby(x).mean().to_numpy()]


def _straight(curves: list[Floats], size: float) -> list[Floats] | None:
    """Distinct straight lines by their ends; None if one is bent."""
    ends: dict[tuple[float, float], list[float]] = {}
    for c in curves:
        slope = (c[-1, 1] - c[0, 1]) / (c[-1, 0] - c[0, 0])
        intercept = c[0, 1] - slope * c[0, 0]
        if np.abs(c[:, 1] - intercept - slope * c[:, 0]).max() > 1e-7 * size:
            return None
        key = next((k for k in ends if np.allclose(k, (intercept, slope), rtol=1e-6, atol=1e-6 * size)), None)
        if key is None and len(ends) == DISTINCT:
            return None
        ends.setdefault(key or (intercept, slope), []).extend([c[0, 0], c[-1, 0]])
    return [np.array([[x, k[0] + k[1] * x] for x in (min(at), max(at))]) for k, at in ends.items()]


def lines_figure(
    fits: Mapping[str, Fit],
    *,
    x: object,
    group: str | None,
    kind: str,
    term: TermArgument,
    levels: LevelsArgument,
    ax: Axes | Sequence[Axes] | None,
    level: float,
) -> Axes | Figure:
    """Draw the data of levels with lines without pooling, with partial and with complete pooling.

    Raises
    ------
    DesignError
        For an unknown group, kind, covariate, term or level, both `x` and `term`, `levels` below one, or a wrong
        number of axes.
    """
    one_of("kind", kind, KINDS)
    spec = next(iter(fits.values())).spec
    require_gaussian(spec, "lines()", "plot.ppc(group=...) has the mean of every level, predict() that of any rows.")
    if term is not None:
        if x is not None:
            raise DesignError("Give x=, the covariate, or term=, an effect of it; not both.")
        x = _covariate_of(spec, group, term)
    name = lines_group(spec, group, x)
    facets = kind == "facets"
    shown = PANELS if facets and levels is None else levels
    lines = group_lines(fits, name, x, shown, level=level, bands=facets)
    if not lines.x_name and levels is None:
        lines = group_lines(fits, name, x, PLACES, level=level)
    marks = _named(fits, level)
    if facets and lines.x_name:
        return draw_facets(lines, marks, ax, spec.design.formula)
    wide = not lines.x_name and len(lines.levels) > 16
    axes = one_axes(ax, 9.0 if wide else 6.4)
    (draw_spaghetti if lines.x_name else draw_strip)(axes, lines, marks)
    if ax is None:
        entitle(axes, spec.design.formula)
    else:
        legend_on(axes)
    return returned([axes])


def _covariate_of(spec: ModelSpec, group: str | None, term: TermArgument) -> str | None:
    """Name of the covariate in a random effect; None for the intercept.

    Raises
    ------
    DesignError
        For an unknown effect, or several with different covariates.
    """
    names = {name for k, q in select(spec, group, term).columns for name in random_covariates(spec, k, q)}
    if len(names) > 1:
        raise DesignError(f"Lines run along one covariate; term={term!r} has {', '.join(sorted(names))}. Give x=.")
    return next(iter(names), None)


def _named(fits: Mapping[str, Fit], level: float) -> dict[str, Mark]:
    """Marks by name of the fit; the label of a posterior tells its band."""
    marks = fit_marks({name: fit.engine for name, fit in fits.items()}, level)
    return {
        name: mark if fit.engine not in ESTIMATING else replace(mark, label=mark.label.split(",")[0])
        for (name, fit), mark in zip(fits.items(), marks, strict=True)
    }


def draw_facets(
    lines: GroupLines, marks: Mapping[str, Mark], ax: Axes | Sequence[Axes] | None, formula: str
) -> Axes | Figure:
    """Draw a panel for each level: its rows, its own line, the lines of fits with bands, and the population line."""
    points, fitted = (dict(list(f.groupby("level", sort=False))) for f in (lines.points, lines.lines))
    levels = [name for name in lines.levels if name in points and name in fitted]  # related ones may have no rows
    n = len(levels)
    columns = n if n < 4 else 4 if n <= 16 else 6
    rows = -(-n // columns)
    size = (2.3 * columns + 0.6, 2.1 * rows + 1.0)
    axes = new_grid(n, columns, size, sharex=True, sharey=True) if ax is None else given_axes(ax, n)
    stub = 0.0 if lines.categories else STUB * float(np.ptp(lines.points["x"]))
    titles = shortened(levels, TITLE)
    for a, name, title in zip(axes, levels, titles, strict=True):
        own, line = points[name], fitted[name]
        at = own["x"] + (jitter(len(own), 0.3) if lines.categories else 0.0)
        a.plot(at, own["y"], "o", color=BLACK, markersize=3, alpha=0.65, markeredgewidth=0, label="data", zorder=2)
        _draw_lines(a, line, marks, stub, "o" if lines.categories else "")
        a.set_title(as_drawn(title), fontsize="small", pad=3)
        plain_frame(a)
    _label_outside(axes, columns, lines)
    first = axes[0]
    if ax is not None:
        legend_on(first)
        return returned(axes)
    words = (
        formula
        if n == lines.n_levels
        else f"{formula}\n{n} of {lines.n_levels} levels of {lines.group}, by fitted value"
    )
    entitle(first, words)
    return returned(axes)


def jitter(n: int, room: float) -> Floats:
    """Shifts (n,) within `room`, spread evenly by the golden ratio: the same at every drawing."""
    return np.asarray(room * (np.arange(n) * 0.6180339887 % 1.0 - 0.5))


def _draw_lines(ax: Axes, line: pd.DataFrame, marks: Mapping[str, Mark], stub: float, marker: str) -> None:
    """Draw the lines of one level; `marker` stands at every value of a factor, which has nothing between."""
    x = line["x"].to_numpy(dtype=float)
    ends = np.array([-stub, stub]) if len(x) == 1 else np.zeros(len(x))

    def draw(values: Floats, **look: Any) -> None:
        ax.plot(x + ends, values + 0 * ends, marker=marker, markersize=2.5 * look["linewidth"], **look)

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
            a.set_ylabel(as_drawn(lines.response))
        if lines.categories:
            _name_categories(a, lines)
        if i + columns >= len(axes):
            a.set_xlabel(as_drawn(shortened([lines.x_name], TITLE)[0]))
            a.tick_params(labelbottom=True)
        else:
            a.tick_params(labelbottom=False)


def _name_categories(ax: Axes, lines: GroupLines) -> None:
    ax.set_xlim(-0.5, len(lines.categories) - 0.5)
    name_levels(ax, lines.categories, "x", size=8.0, long=16)


def draw_spaghetti(ax: Axes, lines: GroupLines, marks: Mapping[str, Mark]) -> None:
    """Draw the lines of all levels in one panel, with the population line and the data behind.

    The first fit's lines are thin; those of others lie broad and light behind them.
    """
    from matplotlib.collections import LineCollection  # noqa: PLC0415 - heavy: only where a figure is made

    n, rows = len(lines.levels), len(lines.points)
    dots: dict[str, Any] = {"markersize": 3.5, "alpha": 0.45}
    if rows > 500:
        dots = {"markersize": 1.5, "alpha": max(0.04, 60.0 / rows), "rasterized": rows > 5000}
    at = lines.points["x"] + (jitter(rows, 0.3) if lines.categories else 0.0)
    ax.plot(at, lines.points["y"], "o", color=GREY, markeredgewidth=0, zorder=1, **dots)
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
    ax.set_title(as_drawn(f"{lines.group}: {n}{of_all} levels"), fontsize="medium")
    if lines.categories:
        _name_categories(ax, lines)
    ax.set_xlabel(as_drawn(lines.x_name))
    ax.set_ylabel(as_drawn(lines.response))
    plain_frame(ax)


def draw_strip(ax: Axes, lines: GroupLines, marks: Mapping[str, Mark]) -> None:
    """Draw rows by level, each level's mean, its estimates, and the population value; levels along the axis."""
    n, frame = len(lines.levels), lines.lines
    place = {name: i for i, name in enumerate(lines.levels)}
    at = lines.points["level"].map(place).to_numpy(dtype=float)
    size, alpha = (3.5, 0.5) if len(at) <= 500 else (2.0, 0.2)
    look: dict[str, Any] = {"markersize": size, "alpha": alpha, "markeredgewidth": 0}
    ax.plot(at + jitter(len(at), 0.3), lines.points["y"], "o", color=BLACK, zorder=1, **look)
    ax.plot([], [], "o", color=BLACK, markersize=3.5, alpha=0.6, markeredgewidth=0, label="data")
    x = np.arange(n, dtype=float)
    edges = np.append(x, n) - 0.5
    ax.stairs(frame["population"], edges, baseline=None, color=BLACK, label="complete pooling", zorder=2)
    alone: dict[str, Any] = {"markerfacecolor": "white", "markersize": 7 if n <= 16 else 5, "linestyle": "none"}
    _name_stretches(ax, lines)
    ax.plot(x, frame["no_pooling"], "o", color=GREY, label="no pooling", zorder=4, **alone)
    size = 5.0 if n <= 16 else 3.5
    for i, (name, mark) in enumerate(marks.items()):
        shifted = x + (0.24 if n <= 16 else 0.4) * (i - 0.5 * (len(marks) - 1))
        if f"{name}_lower" in frame:
            bounds = frame[f"{name}_lower"], frame[f"{name}_upper"]
            ax.vlines(shifted, *bounds, color=mark.colour, linewidth=2.2, alpha=0.5, zorder=3)
        ax.plot(shifted, frame[name], mark.marker, color=mark.colour, markersize=size, label=mark.label, zorder=5)
    ax.set_xlim(-0.7, n - 0.3)
    name_levels(ax, lines.levels, "x", size=8 if n > 12 else 9, long=20)
    shown = "" if n == lines.n_levels else f": {n} of {lines.n_levels} levels, by fitted value"
    ax.set_xlabel(as_drawn(lines.group + shown))
    ax.set_ylabel(as_drawn(lines.response))
    plain_frame(ax)


def _name_stretches(ax: Axes, lines: GroupLines) -> None:
    """Name the categories of a factor by which levels stand in stretches, above them."""
    ends = np.cumsum([0, *(size for _, size in lines.stretches)]).tolist()
    short = shortened([name for name, _ in lines.stretches], 20)
    place: dict[str, Any] = {"xycoords": ax.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": "small"}
    for name, start, end in zip(short, ends, ends[1:], strict=False):
        if start:
            ax.axvline(start - 0.5, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
        ax.annotate(as_drawn(name), (0.5 * (start + end - 1), 1.01), color=GREY, **place)
