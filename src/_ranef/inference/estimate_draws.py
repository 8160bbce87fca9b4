"""Variance parameters as they might have been estimated: by their covariance, or from simulated responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy

from _ranef.errors import NotAvailableError
from _ranef.inference.information import Chart, VarianceInformation, make_chart
from _ranef.inference.resampling import make_resampling
from _ranef.likelihood import At, Likelihood, cross_products, has_blocks
from _ranef.reml import refit_many
from _ranef.results import RemlEstimates
from _ranef.support.argument_remedies import whole_number
from _ranef.support.arrays import Floats

__all__ = ["EstimateDraws", "Moved", "estimate_draws", "mixture_quantile"]

#: step of differences in a parameter, as a share of its natural size
DIFFERENCE = 1e-4

#: least replicates
FEWEST = 10

#: by how much it must, in deviance; with three groups of one effect it is 4.6
LEAST_RISE = 1.0

#: halvings of an interval that holds a quantile
HALVINGS = 60


@dataclass(frozen=True, eq=False)
class EstimateDraws:
    """θ (B, n_theta) and σ (B,) estimated from simulated responses."""

    likelihood: Likelihood
    theta: Floats
    sigma: Floats

    def points(self) -> Iterator[At]:
        """Everything there, with the response of the data."""
        for theta, sigma in zip(self.theta, self.sigma, strict=True):
            yield self.likelihood.at(theta, float(sigma))


@dataclass(frozen=True, eq=False)
class Moved:
    """Estimates on either side of those of a fit, for the delta method.

    What lies on the boundary stays there, and what the data do not determine is taken as known.

    Attributes
    ----------
    at : At
        At the estimates.
    theta : array (n_theta,)
    information : VarianceInformation
    """

    at: At
    theta: Floats
    information: VarianceInformation

    @cached_property
    def covariance(self) -> Floats:
        """Covariance (m, m) of the coordinates of θ, of ρ, and last of log σ, unless that is known."""
        return np.nan_to_num(self.information.covariance(list(np.eye(len(self.information.sizes)))))

    def slopes(self, quantities: Callable[[At], Floats]) -> Floats:
        """Slopes (..., r) of quantities (...) in the coordinates of θ and in ρ, σ staying where it is."""
        moved = [quantities(ahead) - quantities(behind) for ahead, behind in self._pairs()]
        steps = 2.0 * DIFFERENCE * self.information.sizes[: len(moved)]
        return np.stack(moved, axis=-1) / steps if moved else np.zeros((*quantities(self.at).shape, 0))

    def variance(self, slopes: Floats) -> Floats:
        """Variances (...) of quantities with slopes (..., r) in the first r coordinates."""
        r = slopes.shape[-1]
        return np.asarray(np.einsum("...a,ab,...b->...", slopes, self.covariance[:r, :r], slopes))

    def _pairs(self) -> Iterator[tuple[At, At]]:
        likelihood, sigma = self.at.likelihood, self.at.sigma
        spec, chart = likelihood.spec, make_chart(likelihood, self.theta)
        for h in DIFFERENCE * np.diag(chart.sizes):
            yield likelihood.at_standard(chart.at(h), sigma), likelihood.at_standard(chart.at(-h), sigma)
        if spec.rho is not None:
            for h in DIFFERENCE * np.diag(spec.residual.units):
                yield self._at_rho(chart, spec.rho + h), self._at_rho(chart, spec.rho - h)

    def _at_rho(self, chart: Chart, rho: Floats) -> At:
        likelihood = self.at.likelihood
        written = [T @ lam for T, lam in zip(likelihood.maps, chart.lambdas, strict=True)]
        spec = likelihood.spec.with_rho(rho)
        return Likelihood(spec, cross_products(spec), likelihood.method).at_roots(written, self.at.sigma)


def estimate_draws(likelihood: Likelihood, estimates: RemlEstimates, n: int, seed: int | None) -> EstimateDraws:
    """Simulate `n` responses at penalized estimates, and estimate each in the same way.

    With few groups a variance is often estimated as zero, and a bootstrap from there, or one that comes back there,
    knows nothing of it. Estimates with −log|D| added to the criterion stay off the boundary by about a standard error
    (Chung, Rabe-Hesketh, Dorie, Gelman & Liu 2013, Psychometrika 78, 685-709; Morris & Tang 2011, Stat. Sci. 26,
    271-287), and differ less the more levels there are. Models of several factors with many effects are refitted
    without the penalty.

    Raises
    ------
    NotAvailableError
        For structured residuals, and where so few levels have no penalized estimate.
    """
    spec, theta = likelihood.spec.held, estimates.theta
    if spec.structured:
        raise NotAvailableError("A bootstrap of effects is not for structured residuals; 'corrected' is.")
    n, penalty = whole_number("n", n, FEWEST), 1.0 if has_blocks(spec) else 0.0

    def refitted(Y: Floats) -> tuple[Floats, Floats]:
        found = refit_many(spec, likelihood.products, Y, likelihood.method, theta, tell=False, penalty=penalty)
        return found.theta[found.converged], found.sigma[found.converged]

    if penalty:
        own, sigma = refitted(spec.design.y[:, None])
        if not len(own) or not _bounded(likelihood, own[0]):
            raise NotAvailableError(
                "The data do not say how large the variances may be: there are too few levels for a bootstrap of "
                "effects. Model.sample() with a prior is the answer; 'corrected' takes a variance of zero as known."
            )
        estimates = replace(estimates, theta=own[0], sigma=float(sigma[0]))
    drawn = make_resampling(spec, estimates, "parametric", "new")
    seeds = np.random.SeedSequence(seed).spawn(n)
    return EstimateDraws(
        likelihood, *refitted(np.column_stack([drawn.response(np.random.default_rng(one)) for one in seeds]))
    )


def _bounded(likelihood: Likelihood, theta: Floats) -> bool:
    """Whether the penalized criterion rises again where effects of any one term are ten times as large."""
    roots, there = likelihood.spec.lambdas(theta), likelihood.at(theta).criterion
    for t in likelihood.spec.terms:
        far = [lam.copy() for lam in roots]
        far[t.grouping][t.where] *= 10.0
        if likelihood.at_roots(far).criterion - there < 2.0 * t.structure.size * np.log(10.0) + LEAST_RISE:
            return False
    return True


def mixture_quantile(means: Floats, sds: Floats, probability: float) -> Floats:
    """Quantiles (...) of mixtures of normal distributions (B, ...), by bisection."""
    low, high = (means - 9.0 * sds).min(axis=0), (means + 9.0 * sds).max(axis=0)
    least = np.maximum(sds, 1e-12 * np.maximum(high - low, 1e-300))
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        below = scipy.special.ndtr((middle - means) / least).mean(axis=0) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray(0.5 * (low + high))
