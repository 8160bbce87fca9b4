"""Kernel densities as ArviZ makes them, without loading ArviZ, which takes a second."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["kernel_density"]

#: stages of the plug-in rule of Botev, Grotowski and Kroese (2010), and the largest squared bandwidth it looks for
STAGES, LARGEST = 7, 0.01


def kernel_density(
    draws: Floats,
    ends: tuple[float, float],
    points: int = 512,
    bandwidth: Literal["experimental", "silverman"] = "experimental",
    factor: float = 1.0,
) -> tuple[Floats, Floats]:
    """Density of draws (n,), not all equal, at the middles of `points` bins between the ends, which hold all draws.

    Counts in bins are convolved with a Gaussian kernel and their mirror image added beyond both ends. The bandwidth is
    Silverman's or the mean of that and the improved Sheather-Jones one, times `factor`. This is ``arviz_stats``' `kde`.

    Examples
    --------
    >>> import numpy as np
    >>> x, height = kernel_density(np.random.default_rng(1).normal(size=4000), (-5.0, 5.0))
    >>> bool(abs(height.max() - 0.4) < 0.05)
    True
    """
    counts, edges = np.histogram(draws, bins=points, range=ends)
    width = edges[1] - edges[0]
    own = _silverman(draws)
    if bandwidth == "experimental":
        own = 0.5 * (own + _sheather_jones(draws, counts))
    h = factor * own / width
    side = math.ceil(4 * h)
    kernel = np.exp(-0.5 * (np.arange(-side, side + 1) / h) ** 2)
    pad = points // 5
    padded = np.concatenate([counts[:pad][::-1], counts, counts[-pad:][::-1]])
    height = np.convolve(padded, kernel)[side + pad : side + pad + points]
    return 0.5 * (edges[1:] + edges[:-1]), height / (height.sum() * width)


def _silverman(draws: Floats) -> float:
    low, high = np.quantile(draws, [0.25, 0.75])
    return float(0.9 * min(draws.std(), (high - low) / 1.34) * len(draws) ** -0.2)


def _sheather_jones(draws: Floats, counts: Floats) -> float:
    """The improved plug-in rule: t = ζ γ(t), solved for the squared bandwidth over the range; else Silverman's."""
    n, reach = len(draws), float(np.ptp(draws))
    orders = np.arange(1, len(counts) - 1, dtype=np.float64) ** 2
    squares = _cosines(counts / n)[1:-1] ** 2

    def off(t: float) -> float:
        f = _roughness(STAGES, t, orders, squares)
        for j in range(STAGES - 1, 1, -1):
            odd = float(np.prod(np.arange(1.0, 2 * j + 1, 2))) / math.sqrt(0.5 * np.pi)
            at = ((1.0 + 0.5 ** (j + 0.5)) / 3.0 * odd / (n * f)) ** (2.0 / (3.0 + 2.0 * j))
            f = _roughness(j, at, orders, squares)
        return t - math.pow(2.0 * n * math.sqrt(np.pi) * f, -0.4)

    try:
        t = float(load("scipy.optimize").brentq(off, 0.0, LARGEST))
    except (ValueError, RuntimeError, ZeroDivisionError, OverflowError):
        t = 0.0
    return math.sqrt(t) * reach if t > 0 else _silverman(draws)


def _roughness(j: int, t: float, orders: Floats, squares: Floats) -> float:
    """Squared norm of the j-th derivative of the density smoothed to t, by its cosines."""
    terms = orders**j * squares * np.exp(-orders * np.pi**2 * t)
    return float(0.5 * np.pi ** (2 * j) * terms.sum())


def _cosines(x: Floats) -> Floats:
    """Discrete cosine transform (m,), type II."""
    m = len(x)
    turned = np.fft.fft(np.concatenate([x[::2], x[m - 1 : 0 : -2]]))
    phases = 2.0 * np.exp(-0.5j * np.pi * np.arange(m) / m)
    phases[0] = 1.0
    return np.asarray((phases * turned).real)
