"""The default prior of the parameters ρ of residual variances and correlations, and the σ that it goes with.

The prior of σ stands on the geometric mean of the standard deviations of the rows, σ exp(mean η), which no choice of
the first stratum and no unit of a covariate changes; that of variance parameters is normal round the start, such that
the η of rows vary by about one; correlations have their laws'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import scipy

from _ranef.residuals import told_names, told_places
from _ranef.spec.densities import shape_density
from _ranef.spec.model import ModelSpec
from _ranef.spec.prior_families import ShapePrior
from _ranef.structures import ShapeParameter
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "mean_log_sds",
    "mean_log_sds_slopes",
    "rho_log_prior",
    "rho_log_priors",
    "rho_parameters",
    "rho_prior_draws",
]


#: parameters by name, and their priors where these are not the default ones
Given: TypeAlias = Mapping[str, ShapePrior]

#: step of differences of the fourth order, and a coordinate so far out that what it stands for is at its bound
STEP, FAR = 1e-3, 30.0

#: least mass of a prior between the bounds of its parameter
LEAST_MASS = 1e-6


def _told_names(spec: ModelSpec) -> list[str]:
    """What users read of ρ, by the names of tables."""
    return told_names(spec.with_rho(spec.rho_start).residual.told()) if spec.rho_names else []


def rho_parameters(spec: ModelSpec) -> dict[str, ShapeParameter]:
    """The same with the bounds of each."""
    out, start = {}, spec.rho_start
    for k, name in enumerate(_told_names(spec)):
        word = name.partition("(")[0].partition(" ")[0]
        if word in ("power", "expon"):
            low, high = -np.inf, np.inf
        elif word in ("ratio", "const", "range"):
            low, high = 0.0, np.inf
        else:
            ends = start + FAR * np.array([[-1.0], [1.0]]) * (np.arange(len(start)) == k)
            low, high = sorted(_told_values(spec, ends)[:, k].round(9).tolist())
        out[name] = ShapeParameter(name, low, high)
    return out


def _told_values(spec: ModelSpec, rho: Floats) -> Floats:
    """What users read (S, n_rho) at many ρ (S, n_rho), without the first strata."""
    first = 0 if spec.variance is None else len(spec.variance.names)
    parts = ((spec.variance, rho[:, :first]), (spec.correlation, rho[:, first:]))
    values = np.concatenate([part.told_values(own) for part, own in parts if part is not None], axis=1)
    return values[:, told_places(spec.with_rho(spec.rho_start).residual.told())]


def rho_log_prior(spec: ModelSpec, rho: Floats, given: Given | None = None) -> tuple[float, Floats]:
    """Logarithm of the density at ρ (n_rho,), and its slopes.

    Those parameters that have priors of their own are independent of the others, whose prior is the default one; the
    density is then up to a constant.
    """
    places = [_told_names(spec).index(name) for name in given or ()]
    value, slopes = _default(spec, rho, places)
    if not given:
        return value, slopes
    steps = STEP * np.eye(len(rho))
    around = np.concatenate([[rho], *(rho + m * steps for m in (-2, -1, 1, 2))])
    logs = _log_given(spec, around, places, list(given.values()))
    twice, once, ahead, far = logs[1:].reshape(4, -1)
    return value + float(logs[0]), slopes + (twice - 8.0 * once + 8.0 * ahead - far) / (12.0 * STEP)


def _log_given(spec: ModelSpec, rho: Floats, places: list[int], priors: list[ShapePrior]) -> Floats:
    """Log density (S,) of priors given to what ρ (S, n_rho) stands for, with the volume of the change."""
    steps = STEP * np.eye(rho.shape[1])[places]
    moved = np.concatenate([rho[:, None] + m * steps for m in (-2, -1, 1, 2)], axis=1)
    values = _told_values(spec, np.concatenate([rho[:, None], moved], axis=1).reshape(-1, rho.shape[1]))
    values = values.reshape(len(rho), 1 + 4 * len(places), -1)[..., places]
    twice, once, ahead, far = np.split(values[:, 1:], 4, axis=1)
    volume = np.linalg.slogdet((twice - 8.0 * once + 8.0 * ahead - far) / (12.0 * STEP))[1]
    out: Floats = volume + sum(shape_density(prior, values[:, 0, k])[0] for k, prior in enumerate(priors))
    return out


def _default(spec: ModelSpec, rho: Floats, left_out: Sequence[int]) -> tuple[float, Floats]:
    """Logarithm of the default density of all ρ but some, and its slopes (n_rho,)."""
    slopes: list[Floats] = []
    value, first = 0.0, 0
    if spec.variance is not None and spec.variance.names:
        first = len(spec.variance.names)
        kept = np.setdiff1d(np.arange(first), left_out)
        precision, away = _marginal(spec.variance.precision(), kept), (rho[:first] - spec.variance.starts[0])[kept]
        pull, own = np.zeros(first), precision @ away
        pull[kept] = own
        log_det = float(np.linalg.slogdet(precision)[1])
        value += 0.5 * (log_det - len(kept) * float(np.log(2.0 * np.pi)) - float(away @ own))
        slopes.append(-pull)
    if spec.correlation is not None:
        gone = np.isin(np.arange(first, len(rho)), left_out)
        own_value, slope = spec.correlation.log_prior(np.where(gone, spec.correlation.starts[0], rho[first:]))
        value += own_value
        slopes.append(np.where(gone, 0.0, slope))
    return value, np.concatenate([np.zeros(0), *slopes])


def _marginal(precision: Floats, kept: Ints) -> Floats:
    """Precision of some of normal variables."""
    if len(kept) == len(precision):
        return precision
    return np.asarray(np.linalg.inv(np.linalg.inv(precision)[np.ix_(kept, kept)]))


def rho_log_priors(spec: ModelSpec, rho: Floats, given: Given | None = None) -> Floats:
    """The same densities (...) at many ρ (..., n_rho)."""
    flat = rho.reshape(-1, rho.shape[-1])
    places = [_told_names(spec).index(name) for name in given or ()]
    out = np.array([_default(spec, one, places)[0] for one in flat])
    if given:
        out += _log_given(spec, flat, places, list(given.values()))
    return out.reshape(rho.shape[:-1])


def rho_prior_draws(
    spec: ModelSpec, rng: np.random.Generator, shape: tuple[int, ...], given: Given | None = None
) -> Floats:
    """Draws (*shape, n_rho) from it."""
    n = int(np.prod(shape))
    parts: list[Floats] = [np.zeros((n, 0))]
    if spec.variance is not None and spec.variance.names:
        values, vectors = np.linalg.eigh(spec.variance.precision())
        half = vectors / np.sqrt(values)
        parts.append(spec.variance.starts[0] + rng.standard_normal((n, len(values))) @ half.T)
    if spec.correlation is not None:
        parts.append(spec.correlation.prior_draws(rng, n))
    out = np.concatenate(parts, axis=1)
    return (_with_given(spec, out, rng, given) if given else out).reshape(*shape, -1)


def _with_given(spec: ModelSpec, rho: Floats, rng: np.random.Generator, given: Given) -> Floats:
    """Draws (n, n_rho) of which some are changed such that what they stand for has been drawn from its own prior."""
    places = [_told_names(spec).index(name) for name in given]
    out, bounds = rho.copy(), rho_parameters(spec)
    positive = [bounds[name].positive for name in given]

    def away(own: Floats, others: Floats, aim: Floats) -> Floats:
        moved = others.copy()
        moved[places] = own
        values = _told_values(spec, moved[None])[0, places]
        return np.where(positive, np.log(np.where(positive, values / aim, 1.0)), values - aim)

    for s in range(len(rho)):
        for _ in range(TRIES):
            aim = np.array([_within(prior, bounds[name], rng) for name, prior in given.items()])
            found = scipy.optimize.root(away, spec.rho_start[places], (rho[s], aim))
            if found.success and np.isfinite(found.x).all():
                out[s, places] = found.x
                break
    return out


#: draws of priors that together are no correlations are drawn again, so often
TRIES = 100


def _within(prior: ShapePrior, bounds: ShapeParameter, rng: np.random.Generator) -> float:
    for _ in range(int(1.0 / LEAST_MASS)):
        value = float(prior.sample(rng, ()))
        if bounds.low < value < bounds.high:
            return value
    return value  # pragma: no cover


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
