"""R-hat and effective sample sizes of chains, with no package that takes a second to load.

They are those of Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021, Bayesian Analysis 16(2), 667-718), of halves of
chains, as ArviZ has them.
"""

from __future__ import annotations

import numpy as np
import scipy

from _ranef.support.arrays import Floats

__all__ = ["effective_of_bulk", "effective_of_tail", "rank_rhat"]

#: draws that vary by less are one value
RESOLUTION = 1e-15


def rank_rhat(x: Floats) -> float:
    """R-hat of normal scores of draws (chains, draws), of their places or distances from the median; NaN of one chain.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(size=(4, 1000))
    >>> round(rank_rhat(x), 2), rank_rhat(x + np.array([[0.0], [0.0], [0.0], [2.0]])) > 1.1
    (1.0, True)
    """
    if len(x) < 2 or np.isnan(x).any():
        return np.nan
    halves = _halves(x)
    return max(_rhat(_scores(halves)), _rhat(_scores(np.abs(halves - np.median(halves)))))


def effective_of_bulk(x: Floats) -> float:
    """Effective number of draws (chains, draws) for the middle of the distribution.

    Examples
    --------
    >>> bool(3000 < effective_of_bulk(np.random.default_rng(1).normal(size=(4, 1000))) < 5000)
    True
    """
    return np.nan if np.isnan(x).any() else _effective(_scores(_halves(x)))


def effective_of_tail(x: Floats, share: float = 0.05) -> float:
    """The least effective number of draws (chains, draws) for the quantiles of a `share` and of all but that."""
    if np.isnan(x).any():
        return np.nan
    return min(_effective(_halves(x <= end).astype(float)) for end in np.quantile(x, [share, 1.0 - share]))


def _halves(x: Floats) -> Floats:
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, x.shape[1] - half :]])


def _scores(x: Floats) -> Floats:
    """Normal quantiles of ranks (Blom's), those of equal values their mean."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - 0.5 * (counts - 1)
    return np.asarray(scipy.special.ndtri((ranks - 0.375) / (x.size + 0.25))[place.reshape(x.shape)])


def _rhat(x: Floats) -> float:
    n = x.shape[1]
    between, within = n * x.mean(axis=1).var(ddof=1), x.var(axis=1, ddof=1).mean()
    return float(np.sqrt((between / within + n - 1) / n)) if within > 0 else np.nan


def _effective(x: Floats) -> float:
    """By Geyer's initial monotone sequence of sums of two autocorrelations."""
    chains, n = x.shape
    if np.ptp(x) < RESOLUTION:
        return float(x.size)
    covariances = _autocovariances(x).mean(axis=0)
    within = covariances[0] * n / (n - 1.0)
    whole = covariances[0] + (x.mean(axis=1).var(ddof=1) if chains > 1 else 0.0)
    rho = 1.0 - (within - covariances) / whole
    rho[0] = 1.0
    pairs = rho[: 2 * max(1, (n - 1) // 2)].reshape(-1, 2).sum(axis=1)
    ended = np.flatnonzero(pairs <= 0.0)
    k = int(ended[0]) if ended.size else len(pairs) - 1
    last = rho[2 * k] if pairs[k] >= 0.0 else max(rho[2 * k], 0.0)
    tau = -1.0 + 2.0 * float(np.minimum.accumulate(pairs[:k]).sum()) + float(last)
    return float(x.size / max(tau, 1.0 / np.log10(x.size)))


def _autocovariances(x: Floats) -> Floats:
    n = x.shape[1]
    turned = np.fft.rfft(x - x.mean(axis=1, keepdims=True), 1 << (2 * n - 1).bit_length(), axis=1)
    return np.asarray(np.fft.irfft(np.abs(turned) ** 2, axis=1)[:, :n] / n)
