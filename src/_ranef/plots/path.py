"""The path of each random effect from complete pooling to none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from _ranef.comparison import fit_paths, paths_base, reliabilities
from _ranef.errors import DesignError
from _ranef.plots.drawing import (
    BLACK,
    BLUE,
    GREY,
    VERMILLION,
    entitle,
    given_axes,
    legend_on,
    new_grid,
    plain_frame,
    returned,
)
from _ranef.plots.names import as_drawn, effect_on, effect_title, effects_of, shortened, spread_labels
from _ranef.plots.selection import LevelsArgument, Selection, select
from _ranef.results import Fit
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["EVERY", "PoolingPath", "path_figure", "path_of_fits", "pooling_paths"]

NEEDED = ("group", "level", "term", "ratio", "estimate", "reliability")

#: ratios that ticks may stand at, beside a power of ten near the middle: one, two or five times a power of ten
STEPS = np.sort(np.outer(10.0 ** np.arange(-6, 7), [1.0, 2.0, 5.0]).ravel())

#: of every effect, at most so many levels
EVERY = Selection((), 150)

_T = TypeVar("_T")

#: levels up to which each is named, and up to which each has a mark at the estimated ratio
NAMED, MARKED = 24, 80

#: characters of a level's name
LONG = 24

#: height of the strip above the paths that shows the posterior, as a share of the axes
STRIP = 0.16

#: intervals into which the axis is cut for the posterior
BINS = 50


@dataclass(frozen=True)
class PoolingPath:
    """One random effect of one grouping factor at ratios of its standard deviation to σ.

    Attributes
    ----------
    group, term : str
    levels : tuple of str (J,)
    ratios : array (R,)
        Rising, from 0 to infinity.
    places : array (R,)
        Where they stand on the axis between 0 and 1, rising.
    estimates : array (R, J)
    n_levels : int
        How many levels there are, shown or not.
    half : float
        The ratio in the middle of the axis.
    together : bool
        Whether other effects of the factor move in proportion.
    thinning : str
        How the levels shown were chosen.
    """

    group: str
    term: str
    levels: tuple[str, ...]
    ratios: Floats
    places: Floats
    estimates: Floats
    n_levels: int
    half: float
    together: bool = False
    thinning: str = ""

    @property
    def title(self) -> str:
        """Group and term; how many levels are shown where it is not all."""
        return effect_title(f"{self.group}: {self.term}", len(self.levels), self.n_levels, self.thinning)

    def position(self, ratio: Floats | float) -> Floats:
        """Place of a ratio between 0 and 1, as the frame has it; else r²/(r² + half²).

        Where it is the reliability of a typical level, and all levels are alike, effects move along straight lines.
        Between the ratios of the frame r² is proportional to the odds of the place.
        """
        r = np.asarray(ratio, dtype=float)
        squares, odds = self._knots
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.where(r**2 > squares[-1], odds[-1] * (r**2 / squares[-1]), np.interp(r**2, squares, odds))
            return np.where(np.isinf(r), 1.0, np.where(r > 0, 1.0 - 1.0 / (1.0 + moved), 0.0))

    @property
    def _knots(self) -> tuple[Floats, Floats]:
        """Squared ratios and odds of their places, rising; the first is the end of all that stands at ratio zero."""
        inner = (self.ratios > 0) & np.isfinite(self.ratios) & (self.places > 0) & (self.places < 1)
        if not inner.any():
            return np.array([0.0, self.half**2]), np.array([0.0, 1.0])
        start = self.places[self.ratios == 0].max(initial=0.0)
        places = np.append(start, self.places[inner])
        return np.append(0.0, self.ratios[inner] ** 2), places / (1.0 - places)

    def at(self, ratio: float) -> Floats:
        """Estimates (J,) at a ratio, straight between neighbouring positions."""
        x = self.position(ratio)
        return np.array([np.interp(x, self.places, column) for column in self.estimates.T])

    def ticks(self, apart: float = 0.085) -> Floats:
        """Round ratios, 0 and infinity, at least so far `apart` on the axis."""
        out = [0.0]
        steps = STEPS * 10.0 ** np.floor(np.log10(self.half))
        middle = steps[np.argmin(np.abs(self.position(steps) - 0.5))]
        for ratio in [r for r in steps if r < middle] + [middle] + [r for r in steps if r > middle]:
            if self.position(ratio) - self.position(out[-1]) >= apart and 1.0 - self.position(ratio) >= apart:
                out.append(float(ratio))
        return np.array([*out, np.inf])


def pooling_paths(frame: pd.DataFrame, selection: Selection = EVERY) -> tuple[PoolingPath, ...]:
    """The paths of a tidy frame ``group, level, term, ratio, estimate, reliability``, one for each group and term.

    A column ``position`` says where ratios stand on the axis; without one they stand at r²/(r² + h²), h the median
    level's. A column ``scale`` tells apart what has one ratio. Levels are selected in the order of their last
    estimates.

    Raises
    ------
    DesignError
        If a column is missing, or there are fewer than two ratios.
    """
    if missing := [c for c in NEEDED if c not in frame]:
        raise DesignError(f"The frame of a path lacks the columns {', '.join(missing)}.")
    parts = {(str(group), str(term)): part for (group, term), part in frame.groupby(["group", "term"], sort=False)}
    effects = Counter(group for group, _ in parts)
    return tuple(
        _path(group, term, part, selection, together="scale" in frame and effects[group] > 1)
        for (group, term), part in parts.items()
    )


def _path(group: str, term: str, part: pd.DataFrame, selection: Selection, *, together: bool) -> PoolingPath:
    levels = pd.unique(part["level"])
    # an effect without variance rests at ratio zero while the scale of the others moves
    key = "scale" if "scale" in part else "ratio"
    wide = part.pivot(index=key, columns="level", values="estimate").sort_index()[levels]
    first = part.drop_duplicates(key).set_index(key, drop=False).loc[wide.index]
    ratios = first["ratio"].to_numpy(dtype=float)
    if len(ratios) < 2:
        raise DesignError(f"The path of {term!r} by {group!r} has {len(ratios)} ratio; a line needs two or more.")
    half = _half(part)
    places = first["position"].to_numpy(dtype=float) if "position" in part else reliabilities(np.array(half**2), ratios)
    estimates = wide.to_numpy(dtype=float)
    order = np.argsort(_last_known(estimates), kind="stable")
    shown = np.sort(order[selection.positions(levels[order])])
    names = tuple(str(levels[j]) for j in shown)
    return PoolingPath(
        group, term, names, ratios, places, estimates[:, shown], len(levels), half, together, selection.thinning
    )


def _last_known(estimates: Floats) -> Floats:
    """The last estimate (J,) of each level that is a number."""
    known = np.isfinite(estimates)
    last = len(estimates) - 1 - np.argmax(known[::-1], axis=0)
    return np.asarray(estimates[last, np.arange(estimates.shape[1])])


def _half(part: pd.DataFrame) -> float:
    """The ratio in the middle of the axis: as the frame's ``position`` has it, else the median level's."""
    weight = "position" if "position" in part else "reliability"
    inner = part[(part["ratio"] > 0) & np.isfinite(part["ratio"]) & part[weight].between(0, 1, "neither")]
    w, r = inner[weight].to_numpy(dtype=float), inner["ratio"].to_numpy(dtype=float)
    # the reliability of a level's own coefficient with variance v σ² is r²/(r² + v)
    own = pd.Series(r**2 * (1.0 - w) / w).groupby(inner["level"].to_numpy()).median()
    return float(np.sqrt(own.median())) if len(own) else 1.0


def path_of_fits(
    fits: Mapping[str, Fit],
    group: str | None,
    term: str | None,
    ax: Axes | Sequence[Axes] | None,
    levels: LevelsArgument = None,
) -> Axes | Figure:
    """Draw the paths of the first REML or ML fit, with the ratios of the first posterior; either may be missing.

    The whole covariance of a factor moves; with `term` the standard deviation of that effect alone.

    Raises
    ------
    DesignError
        For an unknown group, term or level, a model without random effects, or a posterior alone of a model not normal.
    """
    base = paths_base(fits)
    selection = select(base.spec, group, term, levels, EVERY.limit)
    paths = fit_paths(fits, base, selection.columns, alone=term is not None)
    return path_figure(
        paths.frame,
        paths.ratio_hat,
        paths.draws,
        ax,
        formula=base.spec.design.formula,
        response=effects_of(base.spec),
        method=paths.method,
        alone=term is not None,
        selection=selection,
    )


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
    >>> from _ranef.plots.path import path_figure
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
            ax.plot(
                np.full(n, at),
                path.at(ratio_hat),
                "o",
                color=BLUE,
                markersize=5,
                zorder=4,
                label="BLUP" if method in ("REML", "ML") else "conditional mode",
            )
    ticks = path.ticks()
    first, last = ("0", "∞") if alone else ("0\ncomplete\npooling", "∞\nno\npooling")
    ax.set_xticks(path.position(ticks), [first, *(f"{t:g}" for t in ticks[1:-1]), last])
    ax.set_xlim(0.0, 1.0)
    low, high = _limits(path.estimates)
    ax.set_ylim(low, high)
    ax.set_title(as_drawn(path.title), fontsize="medium")
    what = as_drawn(f"sd({path.term} | {path.group})") + (" / σ" if method in ("REML", "ML") else "")
    if alone:
        ax.set_xlabel(f"{what} alone, other variances as estimated")
    else:
        # the words below the first and last tick leave the middle free
        ax.set_xlabel(what + (", others in proportion" if path.together else ""), labelpad=-19.0)
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
