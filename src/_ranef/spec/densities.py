"""Densities of the priors of variance components, in the user's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from _ranef.spec.prior_families import (
    LKJ,
    Cauchy,
    Custom,
    Exponential,
    Flat,
    Gamma,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Normal,
    Scale,
    ShapePrior,
    StudentT,
    Uniform,
)
from _ranef.support.arrays import Floats

__all__ = ["correlation_density", "scale_density", "shape_density"]


def scale_density(prior: Scale, x: Floats) -> Floats | None:
    """Density of the prior of a standard deviation at `x`, zero below zero; None for an improper one.

    A distribution that reaches below zero is cut off there, as in the sampler, and has unit mass above it.

    Examples
    --------
    >>> import numpy as np
    >>> from _ranef.spec import Exponential
    >>> scale_density(Exponential(2.0), np.array([-1.0, 0.0])).tolist()
    [0.0, 2.0]
    """
    if isinstance(prior, Flat):
        return None
    if isinstance(prior, Custom):
        log_density = np.asarray(prior.distribution.log_prob(np.where(x > 0, x, 1.0)), dtype=float)
        return np.where(x > 0, np.exp(log_density) / _mass_above_zero(prior.distribution), 0.0)
    return np.where(x >= 0, _half(prior, np.abs(x)), 0.0)


def _mass_above_zero(distribution: Any) -> float:
    if not bool(distribution.support(np.array(-1e-9))):
        return 1.0
    try:
        return 1.0 - float(distribution.cdf(0.0))
    except NotImplementedError:
        return float(scipy.integrate.quad(lambda x: float(np.exp(distribution.log_prob(x))), 0.0, np.inf)[0])


def _half(prior: HalfStudentT | HalfNormal | HalfCauchy | Exponential | Gamma, x: Floats) -> Floats:
    """Density at x (...) ≥ 0."""
    stats = scipy.stats
    if isinstance(prior, HalfStudentT):
        return np.asarray(2.0 * stats.t.pdf(x, prior.df, scale=prior.scale))
    if isinstance(prior, HalfNormal):
        return np.asarray(stats.halfnorm.pdf(x, scale=prior.scale))
    if isinstance(prior, HalfCauchy):
        return np.asarray(stats.halfcauchy.pdf(x, scale=prior.scale))
    if isinstance(prior, Exponential):
        return np.asarray(stats.expon.pdf(x, scale=1.0 / prior.rate))
    return np.asarray(stats.gamma.pdf(x, prior.shape, scale=1.0 / prior.rate))


def correlation_density(prior: LKJ, size: int, x: Floats) -> Floats:
    """Density at `x` of each correlation of a `size` × `size` matrix under LKJ(η).

    (ρ + 1)/2 ~ Beta(a, a) with a = η − 1 + size/2 (Lewandowski, Kurowicka and Joe 2009, J. Multivar. Anal. 100,
    1989-2001): uniform for η = 1 and two columns.

    Examples
    --------
    >>> import numpy as np
    >>> from _ranef.spec import LKJ
    >>> correlation_density(LKJ(1.0), 2, np.array([-0.5, 0.9])).round(12).tolist()
    [0.5, 0.5]
    """
    a = prior.eta - 1.0 + size / 2.0
    return np.asarray(0.5 * scipy.stats.beta.pdf((x + 1.0) / 2.0, a, a))


def shape_density(prior: ShapePrior, x: Floats) -> tuple[Floats, Floats]:
    """Log density of the prior of a shape parameter at `x` (...) between its bounds, and its derivative.

    A family that reaches beyond the bounds is not normalised again.

    Examples
    --------
    >>> import numpy as np
    >>> from _ranef.spec import Normal
    >>> [v.round(12).tolist() for v in shape_density(Normal(0.0, 0.5), np.array([0.0, 1.0]))]
    [[-0.225791352645, -2.225791352645], [-0.0, -4.0]]
    """
    stats, none = scipy.stats, np.zeros_like(x)
    if isinstance(prior, Flat):
        return none, none
    if isinstance(prior, Uniform):
        return none - np.log(prior.high - prior.low), none
    if isinstance(prior, Gamma | Exponential):
        a = prior.shape if isinstance(prior, Gamma) else 1.0
        return stats.gamma.logpdf(x, a, scale=1.0 / prior.rate), (a - 1.0) / x - prior.rate
    loc = prior.loc if isinstance(prior, Normal | StudentT | Cauchy) else 0.0
    half = 0.0 if isinstance(prior, Normal | StudentT | Cauchy) else np.log(2.0)
    z = (x - loc) / prior.scale
    if isinstance(prior, Normal | HalfNormal):
        return half + stats.norm.logpdf(x, loc, prior.scale), -z / prior.scale
    df = prior.df if isinstance(prior, StudentT | HalfStudentT) else 1.0
    return half + stats.t.logpdf(x, df, loc, prior.scale), -(df + 1.0) * z / (prior.scale * (df + z**2))
