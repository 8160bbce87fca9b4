"""What the figures show, as arrays: nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from ranef.arrays import Floats
from ranef.comparison.shrinkage import shrinkage_frame
from ranef.plots.selection import Selection, spread
from ranef.results import Fit

__all__ = ["Panel", "ResidualCloud", "Series", "comparison_panels", "estimates_frame", "residual_cloud"]
__all__ += ["joined_panels", "ordered_levels", "overlay_panels", "smoothed", "smoothing", "spread", "wide_frame"]

#: what tells random effects apart
KEYS = ["group", "level", "term"]

#: rows drawn one by one in a plot of residuals
ROWS_SHOWN = 20_000

#: points of the running median, and the share of the rows and fewest rows on either side of one
POINTS, SIDE_SHARE, SIDE_ROWS = 60, 0.1, 5


#: bands of more levels than the second number have running medians as bounds: a level in so many on either side
SMOOTHED, SMOOTHED_FROM = 50, 300


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
        name = f"{self.group}: {self.term}"
        shown = len(self.levels)
        return name if shown == self.n_levels else f"{name}\n{shown} of {self.n_levels} levels{self.thinning}"


@dataclass(frozen=True)
class ResidualCloud:
    """Residuals against fitted values.

    Attributes
    ----------
    fitted, residual : array (shown,)
        The rows drawn.
    n : int
        How many rows there are.
    line_x, line_y : array (points,)
        Medians of fitted value and residual of neighbouring rows; empty where there are too few rows.
    """

    fitted: Floats
    residual: Floats
    n: int
    line_x: Floats
    line_y: Floats


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
    own = shrinkage_frame(next(iter(fits.values())), level)[[*KEYS, "no_pooling"]]
    return own.merge(estimates_frame(fits, level), on=KEYS)


def residual_cloud(fitted: Floats, residual: Floats) -> ResidualCloud:
    """Rows in order of their fitted value, thinned evenly where there are very many, with medians of neighbours."""
    n = fitted.shape[0]
    order = np.argsort(fitted, kind="stable")
    x, y = fitted[order], residual[order]
    side = max(SIDE_ROWS, round(SIDE_SHARE * n))
    windows = [slice(max(0, c - side), c + side + 1) for c in spread(n, POINTS).tolist()] if n > 4 * side else []
    line = _joined_ties(np.array([[np.median(x[w]), np.median(y[w])] for w in windows]).reshape(-1, 2))
    shown = spread(n, ROWS_SHOWN)
    return ResidualCloud(x[shown], y[shown], n, line[:, 0], line[:, 1])


def _joined_ties(points: Floats) -> Floats:
    """Points (m, 2), those of one x made one at the mean of their y: rows of a group may share a fitted value."""
    x, place = np.unique(points[:, 0], return_inverse=True)
    return np.column_stack([x, np.bincount(place, points[:, 1]) / np.bincount(place)])


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
