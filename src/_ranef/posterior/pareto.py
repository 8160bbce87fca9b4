"""Pareto smoothing of weights of importance.

Vehtari, Simpson, Gelman, Yao and Gabry (2024, J. Mach. Learn. Res. 25, 72).
"""

from __future__ import annotations

import numpy as np

from _ranef.support.arrays import Floats

__all__ = ["MOST_K", "smoothed"]

#: above it weights have no variance to speak of, and are not to be trusted (Vehtari et al. 2024)
MOST_K = 0.7

#: the shape is drawn to 0.5 as by so many more weights of the tail
PRIOR_WEIGHTS, PRIOR_SHAPE = 10, 0.5

#: a tail of fewer weights has no shape, or has all if theirs is so much of the mass; it begins above so many means
SHORTEST, MOST, ABOVE = 5, 0.5, 3.0


def smoothed(log_weights: Floats) -> tuple[Floats, float]:
    """Normalised weights (n,) whose largest are quantiles of a Pareto distribution fitted to them, and its shape k̂.

    The tail are the largest 3√n, of these those above three times the mean: where a proposal fits well, others are no
    tail, but the bulk. k̂ is −∞ where next to none is, and ∞ where next to all of the mass is that of few weights.

    Examples
    --------
    >>> import numpy as np
    >>> w, k = smoothed(np.random.default_rng(0).exponential(0.4, 4000))
    >>> round(float(w.sum()), 12), 0.3 < k < 0.5
    (1.0, True)
    """
    n = len(log_weights)
    if not np.isfinite(log_weights.max()):
        return np.full(n, np.nan), np.inf
    weights = np.exp(log_weights - log_weights.max())
    order = np.argsort(weights)
    length = int(min(0.2 * n, 3.0 * np.sqrt(n)))
    cutoff = max(float(weights[order[n - length - 1]]), ABOVE * float(weights.mean()))
    own = order[n - length :][weights[order[n - length :]] > cutoff]
    length, tail = len(own), weights[own] - cutoff
    if length < SHORTEST or tail[-1] - tail[0] <= 1e-12:
        shares = weights / weights.sum()
        return shares, -np.inf if shares[own].sum() < MOST else np.inf
    shape, scale = _pareto_fit(tail)
    p = (np.arange(length) + 0.5) / length
    quantiles = -scale * np.log1p(-p) if shape == 0.0 else scale * np.expm1(-shape * np.log1p(-p)) / shape
    weights[own] = np.minimum(cutoff + quantiles, 1.0)
    return weights / weights.sum(), shape


def _pareto_fit(x: Floats) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution, by the mean of a quasi-posterior over a grid.

    Zhang and Stephens (2009, Technometrics 51, 316–325), of ascending `x`; the shape with its prior.
    """
    n = len(x)
    m = 30 + int(np.sqrt(n))
    grid = 1.0 / x[-1] + (1.0 - np.sqrt(m / (np.arange(m) + 0.5))) / (3.0 * x[int(n / 4 + 0.5) - 1])
    shapes = np.log1p(-grid[:, None] * x).mean(axis=1)
    profile = n * (np.log(-grid / shapes) - shapes - 1.0)
    posterior = np.exp(profile - profile.max())
    rate = float(posterior @ grid / posterior.sum())
    shape = float(np.log1p(-rate * x).mean())
    drawn = (n * shape + PRIOR_WEIGHTS * PRIOR_SHAPE) / (n + PRIOR_WEIGHTS)
    return drawn, -shape / rate
