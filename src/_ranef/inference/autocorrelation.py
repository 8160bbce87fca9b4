"""Autocorrelations of residuals within groups of rows, and those that a fitted correlation says they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError
from _ranef.inference.effect_frames import grouping_named
from _ranef.residuals import Residual
from _ranef.results import Fit
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = ["Autocorrelations", "autocorrelations", "lag_bounds"]

#: pairs of rows whose fitted correlations are averaged at most
PAIRS = 2_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Autocorrelations:
    """At lags of 1 row and more.

    Attributes
    ----------
    group : str
        Whose rows follow each other; empty where all do.
    lags, pairs : array of int (m,)
        How far apart rows are, and how many pairs there are.
    pearson, normalized : array (m,)
        Of residuals over their sds, and of those made uncorrelated by the fit.
    fitted : array (m,)
        Mean fitted correlation of such pairs; NaN where residuals are independent in the model.
    """

    group: str
    lags: Ints
    pairs: Ints
    pearson: Floats
    normalized: Floats
    fitted: Floats

    @property
    def frame(self) -> pd.DataFrame:
        """One row a lag."""
        return pd.DataFrame(
            {name: getattr(self, name) for name in ("lags", "pairs", "pearson", "normalized", "fitted")}
        ).rename(columns={"lags": "lag"})


def autocorrelations(fit: Fit, group: str | None = None, most: int | None = None) -> Autocorrelations:
    """Mean product of residuals k rows apart within a group over their mean square, as nlme's ``ACF``.

    Rows of a group follow each other by what the model's correlation reads, or as they stand. Groups are those of the
    correlation; without one the levels of `group`, by default of the factor with the most; all rows without groups.
    Lags go up to 10 log₁₀ of the longest group, or to `most` (Pinheiro & Bates 2000, *Mixed-Effects Models in S and
    S-PLUS*, §5.3.3).

    Raises
    ------
    DesignError
        For an unknown group, a lag below 1, or groups of one row.
    """
    spec = fit.spec.held
    name, codes, order = _sequence(spec, group)
    counts = np.bincount(codes)
    longest = int(counts.max())
    if longest < 2 or (most is not None and most < 1):
        raise DesignError(
            f"Autocorrelations need groups of two rows and more, and lags of 1 and more: the largest level of {name} "
            f"has {longest} rows, and the lags asked for are {most}."
        )
    last = min(longest - 1, int(10.0 * np.log10(longest)) if most is None else most)
    lags = np.arange(1, max(last, 1) + 1)
    both = [fit.residuals(kind).to_numpy()[order] for kind in ("pearson", "normalized")]
    same = [codes[order][k:] == codes[order][:-k] for k in lags]
    pairs = np.array([int(own.sum()) for own in same])
    fitted = _fitted(spec.residual, codes, order, lags) if spec.residual.correlated else np.full(len(lags), np.nan)
    pearson, normalized = (_products(r, same) for r in both)
    return Autocorrelations(name, lags, pairs, pearson, normalized, fitted)


def _products(residual: Floats, same: Sequence[Bools]) -> Floats:
    """Means (m,) over pairs of the same group, over the mean square; NaN where there is none."""
    means = [(residual[k:] * residual[:-k])[own].mean() if own.any() else np.nan for k, own in enumerate(same, 1)]
    return np.array(means) / float(residual @ residual / len(residual))


def _sequence(spec: ModelSpec, group: str | None) -> tuple[str, Ints, Ints]:
    """The group's name, the codes (n,) of its levels, and the rows one after the other."""
    correlation = spec.correlation
    if group is None and correlation is not None:
        return correlation.function.group or "", correlation.codes, correlation.sequence
    if group is None and not spec.groupings:
        return "", np.zeros(spec.n_obs, dtype=np.intp), np.arange(spec.n_obs)
    _, g = grouping_named(spec, spec.groupings[0].name if group is None else group)
    return g.name, g.codes, np.argsort(g.codes, kind="stable")


def _fitted(residual: Residual, codes: Ints, order: Ints, lags: Ints) -> Floats:
    """Mean fitted correlation (m,) of rows so far apart, over as many groups as make few enough pairs."""
    rows = _some(codes[order], order)
    whole = residual.taken(rows).covariance().tocoo()
    sds = np.sqrt(whole.diagonal())
    apart = whole.coords[1] - whole.coords[0]
    entries = whole.data / (sds[whole.coords[0]] * sds[whole.coords[1]])
    own = codes[rows]
    pairs = np.array([int((own[k:] == own[:-k]).sum()) for k in lags])
    sums = np.bincount(apart[apart > 0], entries[apart > 0], minlength=int(lags[-1]) + 1)[lags]
    return np.asarray(np.where(pairs > 0, sums / np.maximum(pairs, 1), np.nan))


def _some(codes: Ints, order: Ints) -> Ints:
    """Rows of the first groups that have no more pairs together than can be looked at, in their order."""
    longest = int(np.sqrt(PAIRS))
    every = np.arange(len(codes))
    place = every - np.maximum.accumulate(np.where(np.append(True, np.diff(codes) != 0), every, 0))
    return order[(place < longest) & (np.cumsum(np.minimum(place + 1.0, longest)) <= PAIRS)]


def lag_bounds(pairs: Sequence[int] | Ints, level: float) -> Floats:
    """Half-widths (m,) that hold autocorrelations of independent residuals, lag by lag, with probability `level`."""
    return np.asarray(scipy.special.ndtri(0.5 + 0.5 * level) / np.sqrt(np.maximum(pairs, 1)))
