"""Drawing of paths from complete pooling to none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from ranef.arrays import Floats
from ranef.errors import DesignError
from ranef.plots.drawing import entitle, given_axes, legend_on, new_grid, plain_frame, returned
from ranef.plots.marks import BLACK, BLUE, GREY, VERMILLION
from ranef.plots.names import as_drawn, shortened
from ranef.plots.path import EVERY, PoolingPath, pooling_paths, spread_labels
from ranef.plots.selection import Selection
from ranef.plots.units import effect_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["path_figure"]

_T = TypeVar("_T")

#: levels up to which each is named, and up to which each has a mark at the estimated ratio
NAMED, MARKED = 24, 80

#: characters of a level's name
LONG = 24

#: height of the strip above the paths that shows the posterior, as a share of the axes
STRIP = 0.16

#: intervals into which the axis is cut for the posterior
BINS = 50


def path_figure(
    frame: pd.DataFrame,
    ratio_hat: float | Mapping[tuple[str, str], float] | None = None,
    draws: Floats | Mapping[tuple[str, str], Floats] | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    *,
    formula: str = "",
    response: str = "",
    method: str = "REML",
    alone: bool = False,
    selection: Selection | None = None,
) -> Axes | Figure:
    """Draw how every random effect moves from complete pooling to none as the ratio of its sd to σ grows.

    The axis is even in the reliability of a typical level, so that zero and infinity have a place.

    Parameters
    ----------
    frame : DataFrame
        ``group, level, term, ratio, estimate, reliability``, with ratios from 0 to infinity.
    ratio_hat : float, or mapping (group, term) to float, optional
        The estimated ratio, marked by a line; a number where there is one group and term.
    draws : array, or mapping (group, term) to array, optional
        Posterior draws of the ratio, shown in a strip above.
    ax : Axes or sequence of Axes, optional
        As many as there are groups and terms.
    formula, response, method : str
        For the title, the axis and the legend.
    alone : bool
        Whether the standard deviation of one effect moves while others stay as estimated: the ends are then not
        complete pooling and none, and are not called so.
    selection : Selection, optional
        Which levels are drawn.

    Raises
    ------
    DesignError
        If a column is missing, or `ax` holds another number of axes than there are panels.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np, pandas as pd
    >>> from ranef.plots.path_drawing import path_figure
    >>> own, ratio, n = {"a": -1.0, "b": 1.0}, np.array([0.0, 0.5, 1.0, np.inf]), 4
    >>> weight = 1 / (1 + 1 / (n * np.maximum(ratio, 1e-9) ** 2))
    >>> parts = [{"level": k, "ratio": ratio, "estimate": weight * v, "reliability": weight} for k, v in own.items()]
    >>> frame = pd.concat([pd.DataFrame({"group": "g", "term": "Intercept", **part}) for part in parts])
    >>> path_figure(frame, 0.5).get_title()
    'g: Intercept'
    """
    paths = pooling_paths(frame, selection or EVERY)
    if not paths:
        raise DesignError("There are no paths to draw: the frame is empty.")
    columns = min(3, len(paths))
    size = (5.6 * columns + 0.6, 4.6 * -(-len(paths) // columns))
    axes = new_grid(len(paths), columns, size) if ax is None else given_axes(ax, len(paths))
    for a, path in zip(axes, paths, strict=True):
        _draw_path(a, path, _one(ratio_hat, path), method, response, alone=alone)
        of_path = _one(draws, path)
        if of_path is not None:
            _draw_posterior(a, path, np.asarray(of_path, dtype=float).ravel())
        if ax is not None:
            legend_on(a)
    if ax is None:
        entitle(axes[0], formula)
    return returned(axes)


def _one(given: _T | Mapping[tuple[str, str], _T] | None, path: PoolingPath) -> _T | None:
    return given.get((path.group, path.term)) if isinstance(given, Mapping) else given


def _draw_path(
    ax: Axes, path: PoolingPath, ratio_hat: float | None, method: str, response: str, *, alone: bool
) -> None:
    from matplotlib.collections import LineCollection  # noqa: PLC0415 - heavy: only where a figure is made

    x, n = path.places, len(path.levels)
    lines = [np.column_stack([x, column]) for column in path.estimates.T]
    look = {"linewidths": 1.2, "alpha": 0.8} if n <= MARKED else {"linewidths": 0.6, "alpha": 0.5}
    ax.add_collection(LineCollection(lines, colors=GREY, label="each level", zorder=2, **look))
    ax.axhline(0.0, color=BLACK, linewidth=0.8, zorder=1)
    if ratio_hat is not None:
        at = float(path.position(ratio_hat))
        ax.axvline(at, color=BLUE, linewidth=1.6, zorder=3, label=f"{method} estimate")
        if n <= MARKED:
            ax.plot(np.full(n, at), path.at(ratio_hat), "o", color=BLUE, markersize=5, zorder=4, label="BLUP")
    ticks = path.ticks()
    first, last = ("0", "∞") if alone else ("0\ncomplete\npooling", "∞\nno\npooling")
    ax.set_xticks(path.position(ticks), [first, *(f"{t:g}" for t in ticks[1:-1]), last])
    ax.set_xlim(0.0, 1.0)
    low, high = _limits(path.estimates)
    ax.set_ylim(low, high)
    ax.set_title(as_drawn(path.title), fontsize="medium")
    what = as_drawn(f"sd({path.term} | {path.group})")
    if alone:
        ax.set_xlabel(f"{what} / σ alone, other variances as estimated")
    else:
        # the words below the first and last tick leave the middle free
        ax.set_xlabel(f"{what} / σ" + (", others in proportion" if path.together else ""), labelpad=-19.0)
    ax.set_ylabel(as_drawn(effect_on(response, path.term)))
    plain_frame(ax)
    if n <= NAMED:
        _name_ends(ax, path, low, high)


def _limits(estimates: Floats) -> tuple[float, float]:
    known = estimates[np.isfinite(estimates)]
    low, high = (float(known.min()), float(known.max())) if known.size else (-1.0, 1.0)
    pad = 0.05 * (high - low) or 1.0
    return low - pad, high + pad


def _name_ends(ax: Axes, path: PoolingPath, low: float, high: float) -> None:
    """Name levels at the right end, moved apart where they would overlap."""
    ends = path.estimates[-1]
    known = np.flatnonzero(np.isfinite(ends))
    size = 8.0 if len(known) <= 14 else 6.5
    inches = 0.75 * ax.get_position().height * ax.figure.get_figheight()  # type: ignore[union-attr]
    heights = spread_labels(ends[known], 1.15 * size / 72 / inches * (high - low))
    names = shortened(path.levels, LONG)
    for j, height in zip(known, heights, strict=True):
        ax.plot([1.0, 1.02], [ends[j], height], color=GREY, linewidth=0.4, clip_on=False, scalex=False, scaley=False)
        ax.text(1.024, float(height), as_drawn(names[j]), ha="left", va="center", fontsize=size, color=GREY)


def _draw_posterior(ax: Axes, path: PoolingPath, draws: Floats) -> None:
    """Draw a histogram of the ratio, even on the axis of the paths, in a strip above them."""
    density, edges = np.histogram(path.position(draws), bins=BINS, range=(0.0, 1.0), density=True)
    strip = ax.inset_axes((0.0, 1.0, 1.0, STRIP), sharex=ax)
    strip.stairs(density, edges, fill=True, color=VERMILLION, alpha=0.45)
    mean = float(path.position(float(np.median(draws))))
    strip.axvline(mean, color=VERMILLION, linewidth=1.6)
    strip.set_ylim(0.0, 1.08 * density.max())
    strip.axis("off")
    # what the legend shows for the strip
    ax.plot([], [], color=VERMILLION, linewidth=5, alpha=0.45, label="posterior, median")
