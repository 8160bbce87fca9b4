"""What is sampled: priors on its unconstrained coordinates, and how it makes θ and σ."""

from __future__ import annotations

import math

import numpy as np

from _ranef.posterior.loops.packed_places import (
    AT_NUMBERS,
    AT_ORIGIN,
    AT_PRIORS,
    AT_TERMS,
    AT_VINE,
    FLAT,
    KNOWN,
    N_PARTIAL,
    N_SD,
    inner,
    outer,
    part_of,
)

__all__ = ["hyper_backward", "hyper_forward"]

LOG_2 = math.log(2.0)


@inner
def _scalar_prior(family, a, loc, scale, x, log_x):  # type: ignore[no-untyped-def]
    """Log density but for its constant, and its derivative."""
    z = (x - loc) / scale
    if family == 1.0:
        return -0.5 * z * z, -z / scale
    if family == 2.0:
        return -0.5 * (a + 1.0) * math.log1p(z * z / a), -(a + 1.0) * z / (scale * (a + z * z))
    if family == 3.0:
        return (a - 1.0) * log_x - x / scale, (a - 1.0) / x - 1.0 / scale
    return 0.0, 0.0


@inner
def _roots(partial, size, root):  # type: ignore[no-untyped-def]
    """Cholesky factor of the correlation matrix of canonical partial correlations, by rows."""
    at = 0
    for i in range(size):
        rest = 1.0
        for j in range(i):
            root[i, j] = partial[at] * rest
            rest *= math.sqrt(1.0 - partial[at] ** 2)
            at += 1
        root[i, i] = rest


@inner
def _roots_back(partial, size, root, root_bar, partial_bar):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(size):
        rest, later = 1.0, 0.0
        for j in range(i + 1):
            later += root_bar[i, j] * root[i, j]
        for j in range(i):
            z = partial[at + j]
            later -= root_bar[i, j] * root[i, j]
            partial_bar[at + j] = root_bar[i, j] * rest - later * z / (1.0 - z * z)
            rest *= math.sqrt(1.0 - z * z)
        at += i


@inner
def _theta_of(terms, values, sigma, n_sd, flat, theta):  # type: ignore[no-untyped-def]
    """θ from sds (or the diagonal of λ) and partial correlations (or its other entries)."""
    for i in range(terms.shape[0]):
        structured, size = terms[i, 0] == 1.0, int(terms[i, 1])
        sd, partial, at = int(terms[i, 2]), n_sd + int(terms[i, 3]), int(terms[i, 4])
        if not structured:
            for j in range(int(terms[i, 5])):
                theta[at + j] = values[sd + j] if flat else values[sd + j] / sigma
        elif flat:
            for column in range(size):
                for row in range(column, size):
                    if row == column:
                        theta[at] = values[sd + row]
                    else:
                        theta[at] = values[partial]
                        partial += 1
                    at += 1
        else:
            root = np.zeros((size, size))
            _roots(values[partial:], size, root)
            for column in range(size):
                for row in range(column, size):
                    theta[at] = values[sd + row] / sigma * root[row, column]
                    at += 1


@inner
def _theta_back(terms, values, sigma, n_sd, flat, theta, theta_bar, bar):  # type: ignore[no-untyped-def]
    """Derivatives in the values from those in θ; returns the one in σ."""
    sigma_bar = 0.0
    for i in range(terms.shape[0]):
        structured, size = terms[i, 0] == 1.0, int(terms[i, 1])
        sd, partial, at = int(terms[i, 2]), n_sd + int(terms[i, 3]), int(terms[i, 4])
        if not structured:
            for j in range(int(terms[i, 5])):
                bar[sd + j] += theta_bar[at + j] if flat else theta_bar[at + j] / sigma
                if not flat:
                    sigma_bar -= theta_bar[at + j] * theta[at + j] / sigma
        elif flat:
            for column in range(size):
                for row in range(column, size):
                    if row == column:
                        bar[sd + row] += theta_bar[at]
                    else:
                        bar[partial] += theta_bar[at]
                        partial += 1
                    at += 1
        else:
            root, root_bar = np.zeros((size, size)), np.zeros((size, size))
            _roots(values[partial:], size, root)
            for column in range(size):
                for row in range(column, size):
                    bar[sd + row] += theta_bar[at] * root[row, column] / sigma
                    root_bar[row, column] = theta_bar[at] * values[sd + row] / sigma
                    sigma_bar -= theta_bar[at] * theta[at] / sigma
                    at += 1
            _roots_back(values[partial:], size, root, root_bar, bar[partial:])
    return sigma_bar


@outer
def hyper_forward(q, u, values, theta, gradient):  # type: ignore[no-untyped-def]
    """Log prior density at unconstrained `q` (d,), with its derivative in `gradient`; fills `values` and `theta`.

    The Jacobian of the transformation is in it. Values are standard deviations (or the diagonal of λ), partial
    correlations (or the other entries of λ), σ and sampled coefficients.
    """
    terms, priors, numbers = (
        part_of(u, u[AT_TERMS:]).reshape((-1, 6)),
        part_of(u, u[AT_PRIORS:]).reshape((-1, 4)),
        part_of(u, u[AT_NUMBERS:]),
    )
    shapes, d, s = part_of(u, u[AT_VINE:]), q.shape[0], part_of(u, u[AT_ORIGIN:]).shape[0]
    known, n_sd, flat = numbers[KNOWN], int(numbers[N_SD]), numbers[FLAT] == 1.0
    total = 0.0
    for i in range(d):
        family = priors[i, 0]
        if family < 0.0 and flat:
            values[i], gradient[i] = q[i], 0.0
        elif family < 0.0:
            z, a, x = math.tanh(0.5 * q[i]), shapes[i - n_sd], abs(q[i])
            values[i], gradient[i] = z, -a * z
            # a log (1 − z²) less log 2: without 1 − z², which large |q| would lose
            total += a * (2.0 * (LOG_2 - math.log1p(math.exp(-x))) - x) - LOG_2
        elif i >= d - s:
            values[i] = q[i]
            log_density, gradient[i] = _scalar_prior(family, priors[i, 1], priors[i, 2], priors[i, 3], q[i], 0.0)
            total += log_density
        else:
            x = math.exp(q[i])
            log_density, slope = _scalar_prior(family, priors[i, 1], priors[i, 2], priors[i, 3], x, q[i])
            jacobian = 0.0 if family == 4.0 else 1.0
            values[i], gradient[i] = x, x * slope + jacobian
            total += log_density + jacobian * q[i]
    sigma = known if known > 0.0 else values[n_sd + int(numbers[N_PARTIAL])]
    _theta_of(terms, values, sigma, n_sd, flat, theta)
    return total, sigma


@outer
def hyper_backward(u, values, theta, sigma, theta_bar, sigma_bar, fixed_bar, gradient):  # type: ignore[no-untyped-def]
    """Add to `gradient` what the derivatives in θ, σ and the sampled coefficients amount to."""
    terms, numbers, d = (part_of(u, u[AT_TERMS:]).reshape((-1, 6)), part_of(u, u[AT_NUMBERS:]), values.shape[0])
    known, n_sd, flat = numbers[KNOWN], int(numbers[N_SD]), numbers[FLAT] == 1.0
    at_sigma, s = n_sd + int(numbers[N_PARTIAL]), fixed_bar.shape[0]
    bar = np.zeros(d)
    sigma_bar += _theta_back(terms, values, sigma, n_sd, flat, theta, theta_bar, bar)
    for i in range(n_sd):
        gradient[i] += values[i] * bar[i]
    for i in range(n_sd, at_sigma):
        gradient[i] += bar[i] if flat else bar[i] * 0.5 * (1.0 - values[i] ** 2)
    if known <= 0.0:
        gradient[at_sigma] += sigma * sigma_bar
    for i in range(s):
        gradient[d - s + i] += fixed_bar[i]
