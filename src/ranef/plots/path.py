"""The path of each random effect from complete pooling to none, as arrays: nothing here draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranef.arrays import Floats
from ranef.errors import DesignError
from ranef.plots.panels import spread

__all__ = ["PoolingPath", "pooling_paths", "spread_labels"]

NEEDED = ("group", "level", "term", "ratio", "estimate", "reliability")

#: ratios that ticks may stand at: one, two or five times a power of ten
STEPS = np.sort(np.outer(10.0 ** np.arange(-6, 7), [1.0, 2.0, 5.0]).ravel())


@dataclass(frozen=True)
class PoolingPath:
    """One random effect of one grouping factor at ratios of its standard deviation to σ.

    Attributes
    ----------
    group, term : str
    levels : tuple of str (J,)
    ratios : array (R,)
        Rising, from 0 to infinity.
    estimates : array (R, J)
    n_levels : int
        How many levels there are, shown or not.
    half : float
        The ratio at which a typical level's own coefficient has reliability ½.
    """

    group: str
    term: str
    levels: tuple[str, ...]
    ratios: Floats
    estimates: Floats
    n_levels: int
    half: float

    @property
    def title(self) -> str:
        """Group and term; how many levels are shown where it is not all."""
        name, shown = f"{self.group}: {self.term}", len(self.levels)
        return name if shown == self.n_levels else f"{name}\n{shown} of {self.n_levels} levels, evenly spaced by rank"

    def position(self, ratio: Floats | float) -> Floats:
        """Place r²/(r² + half²) of a ratio between 0 (complete pooling) and 1 (none).

        It is the reliability of a typical level: where all levels are alike, effects move along straight lines in it.
        """
        r = np.asarray(ratio, dtype=float)
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / (1.0 + (self.half / r) ** 2))

    def at(self, ratio: float) -> Floats:
        """Estimates (J,) at a ratio, straight between neighbouring positions."""
        x, places = self.position(ratio), self.position(self.ratios)
        return np.array([np.interp(x, places, column) for column in self.estimates.T])

    def ticks(self, apart: float = 0.085) -> Floats:
        """Round ratios, 0 and infinity, at least so far `apart` on the axis."""
        out = [0.0]
        middle = STEPS[np.argmin(np.abs(self.position(STEPS) - 0.5))]
        for ratio in [r for r in STEPS if r < middle] + [middle] + [r for r in STEPS if r > middle]:
            if self.position(ratio) - self.position(out[-1]) >= apart and 1.0 - self.position(ratio) >= apart:
                out.append(float(ratio))
        return np.array([*out, np.inf])


def pooling_paths(frame: pd.DataFrame, max_levels: int = 150) -> tuple[PoolingPath, ...]:
    """The paths of a tidy frame ``group, level, term, ratio, estimate, reliability``, one for each group and term.

    A column ``position``, r²/(r² + h²), says where ratios stand on the axis; h is else the median level's. Of more than
    `max_levels` levels, evenly spaced ones in the order of their last estimates.

    Raises
    ------
    DesignError
        If a column is missing, or there are fewer than two ratios.
    """
    if missing := [c for c in NEEDED if c not in frame]:
        raise DesignError(f"The frame of a path lacks the columns {', '.join(missing)}.")
    return tuple(
        _path(str(group), str(term), part, max_levels)
        for (group, term), part in frame.groupby(["group", "term"], sort=False)
    )


def _path(group: str, term: str, part: pd.DataFrame, max_levels: int) -> PoolingPath:
    levels = pd.unique(part["level"])
    wide = part.pivot(index="ratio", columns="level", values="estimate").sort_index()[levels]
    ratios = wide.index.to_numpy(dtype=float)
    if len(ratios) < 2:
        raise DesignError(f"The path of {term!r} by {group!r} has {len(ratios)} ratio; a line needs two or more.")
    estimates = wide.to_numpy(dtype=float)
    shown = np.sort(np.argsort(estimates[-1], kind="stable")[spread(len(levels), max_levels)])
    names = tuple(str(levels[j]) for j in shown)
    return PoolingPath(group, term, names, ratios, estimates[:, shown], len(levels), _half(part))


def _half(part: pd.DataFrame) -> float:
    """The ratio in the middle of the axis: as the frame's ``position`` has it, else the median level's."""
    weight = "position" if "position" in part else "reliability"
    inner = part[(part["ratio"] > 0) & np.isfinite(part["ratio"]) & part[weight].between(0, 1, "neither")]
    w, r = inner[weight].to_numpy(dtype=float), inner["ratio"].to_numpy(dtype=float)
    # the reliability of a level's own coefficient with variance v σ² is r²/(r² + v)
    own = pd.Series(r**2 * (1.0 - w) / w).groupby(inner["level"].to_numpy()).median()
    return float(np.sqrt(own.median())) if len(own) else 1.0


def spread_labels(heights: Floats, apart: float) -> Floats:
    """Heights (n,) moved as little as keeps neighbours `apart`, in their order: isotonic regression of what is left."""
    order = np.argsort(heights, kind="stable")
    steps = apart * np.arange(len(heights))
    blocks: list[tuple[float, int]] = []
    for value in heights[order] - steps:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] >= mean:
            earlier, n = blocks.pop()
            mean, size = (earlier * n + mean * size) / (n + size), n + size
        blocks.append((mean, size))
    out = np.empty(len(heights))
    out[order] = np.concatenate([[np.empty(0)], *[np.full(n, m) for m, n in blocks]], axis=None) + steps
    return out
