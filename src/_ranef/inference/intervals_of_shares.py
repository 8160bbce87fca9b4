"""Intervals of R² and intraclass correlations of fits by REML and ML."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import scipy

from _ranef.errors import DesignError, NotAvailableError
from _ranef.inference.bootstrapping import Again, bootstrap
from _ranef.inference.effect_frames import check_level, normal_quantile
from _ranef.inference.engines import Estimated, Maximum
from _ranef.inference.generalised import link_parts
from _ranef.inference.information import VarianceInformation
from _ranef.inference.resampling import make_resampling
from _ranef.inference.variance_shares import VarianceParts, mean_inverse_weight, row_moments, variance_parts
from _ranef.reml import refit_many
from _ranef.spec import covariance_arrays
from _ranef.support.argument_remedies import whole_number
from _ranef.support.arrays import Floats

__all__ = ["Shares", "estimated_parts", "refitted_shares", "share_intervals"]

#: of differences, as a share of the whole variance
STEP = 1e-6

#: of a split of the variance, (..., k)
Shares: TypeAlias = Callable[[VarianceParts], Floats]


def estimated_parts(fit: Estimated) -> VarianceParts:
    """The variance of the response split at the estimates."""
    e, weight = fit.estimates, mean_inverse_weight(fit.spec)
    covs = covariance_arrays(fit.spec, e.theta, np.asarray(e.sigma))
    return variance_parts(row_moments(fit.spec), e.beta, covs, np.asarray(e.sigma**2 * weight))


def share_intervals(
    fit: Estimated,
    shares: Shares,
    information: Callable[[], VarianceInformation],
    kind: str,
    level: float = 0.95,
    n: int = 1000,
    seed: int | None = None,
) -> tuple[Floats, Floats]:
    """Ends (...) of intervals of shares of variance.

    ``"bootstrap"``: percentiles over refits of simulated responses. ``"delta"``: normal on the scale of logits, with
    the covariances of β̂ and of the variance parameters (observed information), which are independent in the limit.

    Raises
    ------
    DesignError
        For another kind.
    NotAvailableError
        With residual structures; of the delta method on the boundary.
    """
    check_level(level)
    if kind not in ("bootstrap", "delta"):
        raise DesignError(f"interval={kind!r} must be 'bootstrap' or 'delta'; a posterior has 'eti' and 'hdi'.")
    if fit.spec.structured:
        raise NotAvailableError(
            "Intervals of shares of variance are for residuals without a structure. "
            "fit.bootstrap(statistic=lambda fit: fit.r2()) takes any."
        )
    if kind == "delta":
        return _by_delta(fit, shares, information(), level)
    tails = [0.5 - 0.5 * level, 0.5 + 0.5 * level]
    lower, upper = np.quantile(_replicated(fit, shares, whole_number("n", n, 10), seed), tails, axis=0)
    return lower, upper


def refitted_shares(
    fit: Maximum,
    again: Again,
    shares: Shares,
    kind: str,
    level: float,
    approximation: str,
    n: int = 1000,
    seed: int | None = None,
) -> tuple[Floats, Floats]:
    """Ends (...) of percentile intervals of shares of variance of a generalised response, over refits.

    Raises
    ------
    NotAvailableError
        For another kind than ``"bootstrap"``.
    """
    check_level(level)
    if kind != "bootstrap":
        raise NotAvailableError(f"interval={kind!r} is not available for generalised responses: 'bootstrap' is.")

    def of(own: Maximum) -> Floats:
        return shares(link_parts(own.spec, own.estimates, approximation))

    found = bootstrap(fit, again, whole_number("n", n, 10), lambda own: of(own).ravel(), seed=seed)
    tails = [0.5 - 0.5 * level, 0.5 + 0.5 * level]
    lower, upper = np.nanquantile(found.replicates.to_numpy(), tails, axis=0).reshape(2, *of(fit).shape)
    return lower, upper


def _replicated(fit: Estimated, shares: Shares, n: int, seed: int | None) -> Floats:
    """Shares (B, ...) of refits to simulated responses."""
    drawn = make_resampling(fit.spec, fit.estimates, "parametric", "new", fit.products)
    spec, responses = drawn.spec, drawn.responses(np.random.SeedSequence(seed).spawn(n))
    found = refit_many(spec, fit.products, responses, fit.estimates.method, fit.estimates.theta, tell=False)
    ok = found.converged
    covs = covariance_arrays(spec, found.theta[ok], found.sigma[ok])
    residual = found.sigma[ok] ** 2 * mean_inverse_weight(spec)
    return shares(variance_parts(row_moments(spec), found.beta[ok], covs, residual))


def _by_delta(fit: Estimated, shares: Shares, information: VarianceInformation, level: float) -> tuple[Floats, Floats]:
    if not information.interior.all():
        raise NotAvailableError(
            "A variance is zero or a correlation ±1, where the delta method has no interval: interval='bootstrap' has."
        )
    here, cov = estimated_parts(fit), _covariance_of_parts(fit, information)
    flat = np.concatenate([[here.fixed], here.random, [here.residual]])
    steps = STEP * flat.sum() * np.eye(len(flat))

    def at(v: Floats) -> Floats:
        return shares(VarianceParts(v[0], v[1:-1], v[-1]))

    estimate = at(flat)
    slopes = np.stack([at(flat + h) - at(flat - h) for h in steps], axis=-1) / (2.0 * STEP * flat.sum())
    se = np.sqrt(np.einsum("...a,ab,...b->...", slopes, cov, slopes))
    inside = (estimate > 0.0) & (estimate < 1.0)  # without covariates a marginal R² is 0
    p = np.where(inside, estimate, 0.5)
    half = normal_quantile(level) * se / (p * (1.0 - p))
    ends = (np.where(inside, scipy.special.expit(scipy.special.logit(p) + s * half), estimate) for s in (-1.0, 1.0))
    lower, upper = ends
    return lower, upper


def _covariance_of_parts(fit: Estimated, information: VarianceInformation) -> Floats:
    """Covariance of (fixed, random, residual) parts: of Xβ̂ by that of β̂, of the others by that of (θ̂, σ̂)."""
    moments, here = row_moments(fit.spec), estimated_parts(fit)
    of_beta = 2.0 * moments.X @ fit.estimates.beta
    rows: list[Floats | None] = [
        np.einsum("pqm,pq->m", dcov, G) for dcov, G in zip(information.dcov, moments.Z, strict=True)
    ]
    last = np.zeros(len(information.sizes))
    last[-1] = 0.0 if information.sigma_known else 2.0 * float(here.residual)
    out = np.zeros((len(rows) + 2,) * 2)
    out[0, 0] = of_beta @ fit.estimates.vcov @ of_beta
    out[1:, 1:] = information.covariance([*rows, last])
    return out
