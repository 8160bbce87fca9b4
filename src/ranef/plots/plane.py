"""Shrinkage of two effects at once, as arrays: nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from ranef.arrays import Floats, Ints
from ranef.comparison.shrinkage import shrinkage_frame
from ranef.inference import grouping_named
from ranef.plots.selection import Selection
from ranef.results import Fit
from ranef.spec import Grouping

__all__ = ["Plane", "covariance_of", "ellipse", "plane_limits", "planes", "uncrowded"]

#: quantiles of estimates without pooling within which a plane of many levels is drawn
INNER = (0.01, 0.99)

#: levels from which a few wild estimates may be left outside
MANY = 200


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
    own = shrinkage_frame(first)
    out: list[Plane] = []
    for k in dict.fromkeys(k for k, _ in selection.columns):
        grouping = first.spec.groupings[k]
        shown = selection.positions(grouping.levels)
        alone = _square(own, "no_pooling", grouping)[shown]
        pooled = {name: _square(frame, "estimate", grouping)[shown] for name, frame in frames.items()}
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
    alone = plane.alone[~np.isnan(plane.alone).any(axis=1)]
    if len(alone) > MANY:
        alone = np.quantile(alone, INNER, axis=0)
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


def _square(frame: pd.DataFrame, column: str, grouping: Grouping) -> Floats:
    """A column of a frame of all effects as (J, p) of one grouping factor."""
    values = frame.loc[frame["group"] == grouping.name, column].to_numpy(dtype=float)
    return values.reshape(grouping.n_levels, len(grouping.columns))
