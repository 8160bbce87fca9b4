"""Means and spreads of the columns of a model, from one look at its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranef.arrays import Floats
from ranef.spec.model_spec import ModelSpec

__all__ = ["Moments", "moments"]


@dataclass(frozen=True, eq=False, repr=False)
class Moments:
    """Moments over all rows, whether they are held or read in chunks.

    Attributes
    ----------
    y_mean, y_sd, y_rms : float
        Of the response, the offset removed.
    X_mean, X_sd, X_rms : array (p,)
    Z_rms : tuple of array (p_k,)
        Root mean squares by grouping.
    """

    y_mean: float
    y_sd: float
    y_rms: float
    X_mean: Floats
    X_sd: Floats
    X_rms: Floats
    Z_rms: tuple[Floats, ...]


def moments(spec: ModelSpec) -> Moments:
    """Read the rows once; parts are merged as Chan, Golub and LeVeque (1983) merge sums of squares about means."""
    n, mean, about = 0, np.zeros(spec.n_fixed + 1), np.zeros(spec.n_fixed + 1)
    squares = [np.zeros(len(g.columns)) for g in spec.groupings]
    for part in spec.parts():
        d = part.design
        columns = np.column_stack([d.y if d.offset is None else d.y - d.offset, d.X])
        own, more = columns.mean(axis=0), len(columns)
        step = own - mean
        about = about + ((columns - own) ** 2).sum(axis=0) + step**2 * (n * more / (n + more))
        n, mean = n + more, mean + step * (more / (n + more))
        for total, g in zip(squares, part.groupings, strict=True):
            total += (g.Z**2).sum(axis=0)
    sd = np.sqrt(about / n)
    rms = np.sqrt(about / n + mean**2)
    Z_rms = tuple(np.sqrt(total / n) for total in squares)
    return Moments(float(mean[0]), float(sd[0]), float(rms[0]), mean[1:], sd[1:], rms[1:], Z_rms)
