"""Densities of the priors of variance components, in the user's units."""

from __future__ import annotations

from math import lgamma, log, pi
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
    if isinstance(prior, Exponential | Gamma):
        shape = prior.shape if isinstance(prior, Gamma) else 1.0
        with np.errstate(divide="ignore"):
            return np.exp(_log_gamma_density(x, shape, prior.rate))
    if isinstance(prior, HalfNormal):
        return 2.0 * np.exp(_log_normal(x / prior.scale)) / prior.scale
    return (
        2.0 * np.exp(_log_student(x / prior.scale, prior.df if isinstance(prior, HalfStudentT) else 1.0)) / prior.scale
    )


def _log_normal(z: Floats) -> Floats:
    return np.asarray(-0.5 * (z**2 + np.log(2.0 * np.pi)))


def _log_student(z: Floats, df: float) -> Floats:
    constant = lgamma(0.5 * (df + 1.0)) - lgamma(0.5 * df) - 0.5 * log(df * pi)
    return np.asarray(constant - 0.5 * (df + 1.0) * np.log1p(z**2 / df))


def _log_gamma_density(x: Floats, shape: float, rate: float) -> Floats:
    return np.asarray(scipy.special.xlogy(shape - 1.0, x) - rate * x + shape * log(rate) - lgamma(shape))


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
    with np.errstate(divide="ignore", invalid="ignore"):
        log_density = (a - 1.0) * np.log(0.25 * (1.0 - x**2)) if a != 1.0 else np.zeros_like(x)
    inside = np.abs(x) <= 1.0
    return np.where(inside, 0.5 * np.exp(log_density - scipy.special.betaln(a, a)), 0.0)


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
    none = np.zeros_like(x)
    if isinstance(prior, Flat):
        return none, none
    if isinstance(prior, Uniform):
        return none - np.log(prior.high - prior.low), none
    if isinstance(prior, Gamma | Exponential):
        a = prior.shape if isinstance(prior, Gamma) else 1.0
        return _log_gamma_density(x, a, prior.rate), (a - 1.0) / x - prior.rate
    loc = prior.loc if isinstance(prior, Normal | StudentT | Cauchy) else 0.0
    half = (0.0 if isinstance(prior, Normal | StudentT | Cauchy) else log(2.0)) - log(prior.scale)
    z = (x - loc) / prior.scale
    if isinstance(prior, Normal | HalfNormal):
        return half + _log_normal(z), -z / prior.scale
    df = prior.df if isinstance(prior, StudentT | HalfStudentT) else 1.0
    return half + _log_student(z, df), -(df + 1.0) * z / (prior.scale * (df + z**2))
