"""The path of each random effect from complete pooling to none, as arrays: nothing here draws."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranef.arrays import Floats
from ranef.comparison import reliabilities
from ranef.errors import DesignError
from ranef.plots.selection import Selection

__all__ = ["EVERY", "PoolingPath", "pooling_paths", "spread_labels"]

NEEDED = ("group", "level", "term", "ratio", "estimate", "reliability")

#: ratios that ticks may stand at, beside a power of ten near the middle: one, two or five times a power of ten
STEPS = np.sort(np.outer(10.0 ** np.arange(-6, 7), [1.0, 2.0, 5.0]).ravel())

#: of every effect, at most so many levels
EVERY = Selection((), 150)


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
        name, shown = f"{self.group}: {self.term}", len(self.levels)
        return name if shown == self.n_levels else f"{name}\n{shown} of {self.n_levels} levels{self.thinning}"

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
