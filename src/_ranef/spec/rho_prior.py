"""The default prior of the parameters ρ of residual variances and correlations, and the σ that it goes with.

The prior of σ stands on the geometric mean of the standard deviations of the rows, σ exp(mean η), which no choice of
the first stratum and no unit of a covariate changes; that of variance parameters is normal round the start, such that
the η of rows vary by about one; correlations have their laws'.
"""

from __future__ import annotations

import numpy as np

from _ranef.spec.model import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["mean_log_sds", "mean_log_sds_slopes", "rho_log_prior", "rho_log_priors", "rho_prior_draws"]


def rho_log_prior(spec: ModelSpec, rho: Floats) -> tuple[float, Floats]:
    """Logarithm of the density at ρ (n_rho,), and its slopes."""
    slopes: list[Floats] = []
    value, first = 0.0, 0
    if spec.variance is not None and spec.variance.names:
        first = len(spec.variance.names)
        precision, away = spec.variance.precision(), rho[:first] - spec.variance.starts[0]
        pull = precision @ away
        log_det = float(np.linalg.slogdet(precision)[1])
        value += 0.5 * (log_det - first * float(np.log(2.0 * np.pi)) - float(away @ pull))
        slopes.append(-pull)
    if spec.correlation is not None:
        own, slope = spec.correlation.log_prior(rho[first:])
        value += own
        slopes.append(slope)
    return value, np.concatenate([np.zeros(0), *slopes])


def rho_log_priors(spec: ModelSpec, rho: Floats) -> Floats:
    """The same densities (...) at many ρ (..., n_rho)."""
    flat = [rho_log_prior(spec, one)[0] for one in rho.reshape(-1, rho.shape[-1])]
    return np.array(flat).reshape(rho.shape[:-1])


def rho_prior_draws(spec: ModelSpec, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draws (*shape, n_rho) from it."""
    n = int(np.prod(shape))
    parts: list[Floats] = [np.zeros((n, 0))]
    if spec.variance is not None and spec.variance.names:
        values, vectors = np.linalg.eigh(spec.variance.precision())
        half = vectors / np.sqrt(values)
        parts.append(spec.variance.starts[0] + rng.standard_normal((n, len(values))) @ half.T)
    if spec.correlation is not None:
        parts.append(spec.correlation.prior_draws(rng, n))
    return np.concatenate(parts, axis=1).reshape(*shape, -1)


def mean_log_sds(spec: ModelSpec, rho: Floats) -> Floats:
    """Mean η (...) of the rows at ρ (..., n_rho): logarithm of their mean standard deviation over σ.

    Where σ is known it is no mean, but what it is, and this is zero.
    """
    if spec.sigma is not None or spec.variance is None or not spec.variance.names:
        return np.zeros(rho.shape[:-1])
    return spec.variance.mean_log_sds(rho[..., : len(spec.variance.names)])


def mean_log_sds_slopes(spec: ModelSpec, rho: Floats) -> Floats:
    """Its derivatives (n_rho,) at ρ (n_rho,)."""
    out = np.zeros(len(rho))
    if spec.sigma is None and spec.variance is not None:
        own = len(spec.variance.names)
        out[:own] = spec.variance.mean_slopes(rho[:own])
    return out
