"""Laws of residuals by ρ, and the packed model at ρ."""

from __future__ import annotations

import math

from _ranef.posterior.loops.packed_places import (
    AT_A,
    AT_COUNTS,
    AT_LAW,
    AT_NUMBERS,
    AT_PARTS,
    CONSTANT,
    LAW,
    inner,
    part_of,
)
from _ranef.posterior.loops.vectors import add_scaled

__all__ = ["at_rho"]

LOG_2 = math.log(2.0)


@inner
def _law(kind, numbers, rho, logs, slopes, prior):  # type: ignore[no-untyped-def]
    """Fill τ (K,) of a law of residuals and ∂τ/∂ρ (n_rho, K); log prior density of ρ, its slopes in `prior`.

    The same as the classes derived from :class:`~_ranef.residuals.BasisLaw`.
    """
    r, K, x = rho.shape[0], logs.shape[0], rho[0]
    if kind == 1.0:  # strata
        total, squares = 0.0, 0.0
        for i in range(r):
            total += rho[i]
            squares += rho[i] * rho[i]
            for k in range(K):
                slopes[i, k] = numbers[i * K + k]
                logs[k] += rho[i] * slopes[i, k]
        for i in range(r):
            prior[i] = total / (r + 1) - rho[i]
        log_scale = math.log(r + 1.0) + r * math.log(2.0 * math.pi)
        return -0.5 * (log_scale + squares - total * total / (r + 1))
    if kind == 4.0:  # exchangeable
        share, least = 0.5 * (1.0 + math.tanh(0.5 * x)), numbers[0]
        logs[0], slopes[0, 0], prior[0] = -math.log((1.0 - least) * (1.0 - share)), share, -math.tanh(0.5 * x)
        for k in range(1, K):
            between = 1.0 + (numbers[k] - 1.0) * (least + (1.0 - least) * share)
            logs[k] = -math.log(between)
            slopes[0, k] = -(numbers[k] - 1.0) * (1.0 - least) * share * (1.0 - share) / between
        return -abs(x) - 2.0 * math.log1p(math.exp(-abs(x)))
    phi, rate = math.tanh(x), math.exp(-x)
    for i in range(numbers.shape[0]):  # autoregression
        gap = numbers[i]
        if kind == 3.0:
            auto, change = phi**gap, gap * phi ** (gap - 1.0) * (1.0 - phi * phi)
        else:
            auto = math.exp(-gap * rate)
            change = gap * rate * auto
        logs[1 + 2 * i], logs[2 + 2 * i] = -math.log(1.0 + auto), -math.log(1.0 - auto)
        slopes[0, 1 + 2 * i], slopes[0, 2 + 2 * i] = -change / (1.0 + auto), change / (1.0 - auto)
    if kind == 3.0:
        prior[0] = -2.0 * phi
        return -LOG_2 - 2.0 * (abs(x) - LOG_2 + math.log1p(math.exp(-2.0 * abs(x))))
    prior[0] = rate - 1.0
    return -rate - x


@inner
def at_rho(u, rho, c, slopes, prior):  # type: ignore[no-untyped-def]
    """The packed model at ρ, without its fixed parts, and the log prior density of ρ; itself where there is none.

    Fills the coefficients c (K,) of the parts, ∂log c/∂ρ, and the slopes of the log prior.
    """
    numbers, counts = (part_of(u, u[AT_NUMBERS:]), part_of(u, u[AT_COUNTS:]))
    if not rho.shape[0]:
        return u, 0.0
    log_prior = _law(numbers[LAW], part_of(u, u[AT_LAW:]), rho, c, slopes, prior)
    parts, first = part_of(u, u[AT_PARTS:]).reshape((c.shape[0], -1)), int(u[AT_A])
    own = u[: int(u[AT_PARTS])].copy()
    own[first : first + parts.shape[1]] = 0.0
    for k in range(c.shape[0]):
        own[int(u[AT_NUMBERS]) + CONSTANT] -= counts[k] * c[k]
        c[k] = math.exp(c[k])
        add_scaled(own[first : first + parts.shape[1]], c[k], parts[k])
    return own, log_prior
