"""What the figures show, as arrays: nothing here draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranef.arrays import Floats, Ints

__all__ = ["Panel", "ResidualCloud", "Series", "caterpillar_panels", "comparison_panels", "residual_cloud", "spread"]
__all__ += ["shrinkage_panels"]

#: rows drawn one by one in a plot of residuals
ROWS_SHOWN = 20_000

#: points of the running median, and the share of the rows and fewest rows on either side of one
POINTS, SIDE_SHARE, SIDE_ROWS = 60, 0.1, 5


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
    """

    group: str
    term: str
    levels: tuple[str, ...]
    n_levels: int
    series: tuple[Series, ...]

    @property
    def title(self) -> str:
        """Group and term; how many levels are shown where it is not all."""
        name = f"{self.group}: {self.term}"
        shown = len(self.levels)
        return name if shown == self.n_levels else f"{name}\n{shown} of {self.n_levels} levels, evenly spaced by rank"


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


def shrinkage_panels(frame: pd.DataFrame, max_levels: int) -> tuple[Panel, ...]:
    """Panels of ``shrinkage_frame``, sorted by the estimate without pooling; series: no pooling, the fit's."""
    return _panels(frame, "no_pooling", [("no_pooling",), ("estimate", "lower", "upper")], max_levels)


def caterpillar_panels(frame: pd.DataFrame) -> tuple[Panel, ...]:
    """Panels of ``ranef()``, sorted by the estimate."""
    return _panels(frame, "estimate", [("estimate", "lower", "upper")], len(frame))


def comparison_panels(frame: pd.DataFrame, max_levels: int) -> tuple[Panel, ...]:
    """Panels of a frame of both engines, sorted by the BLUP; series: no pooling, BLUP, posterior mean."""
    columns = [("no_pooling",), *((f"{e}_estimate", f"{e}_lower", f"{e}_upper") for e in ("eb", "fb"))]
    return _panels(frame, "eb_estimate", columns, max_levels)


def residual_cloud(fitted: Floats, residual: Floats) -> ResidualCloud:
    """Rows in order of their fitted value, thinned evenly where there are very many, with medians of neighbours."""
    n = fitted.shape[0]
    order = np.argsort(fitted, kind="stable")
    x, y = fitted[order], residual[order]
    side = max(SIDE_ROWS, round(SIDE_SHARE * n))
    windows = [slice(max(0, c - side), c + side + 1) for c in spread(n, POINTS).tolist()] if n > 4 * side else []
    line = np.array([[np.median(x[w]), np.median(y[w])] for w in windows]).reshape(-1, 2)
    shown = spread(n, ROWS_SHOWN)
    return ResidualCloud(x[shown], y[shown], n, line[:, 0], line[:, 1])


def spread(n: int, limit: int) -> Ints:
    """At most `limit` of n positions, evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(np.intp))


def _panels(frame: pd.DataFrame, by: str, columns: Sequence[tuple[str, ...]], max_levels: int) -> tuple[Panel, ...]:
    out = []
    for (group, term), part in frame.groupby(["group", "term"], sort=False):
        ordered = part.sort_values(by, kind="stable", na_position="first")
        shown = ordered.iloc[spread(len(ordered), max_levels)]
        series = tuple(Series(*(shown[c].to_numpy(dtype=float) for c in names)) for names in columns)
        out.append(Panel(str(group), str(term), tuple(map(str, shown["level"])), len(part), series))
    return tuple(out)
