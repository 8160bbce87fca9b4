"""Variance parameters as they might have been estimated: what a bootstrap of effects and predictions averages over."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy

from _ranef.errors import NotAvailableError
from _ranef.inference.resampling import make_resampling
from _ranef.likelihood import At, Likelihood, has_blocks
from _ranef.reml import refit_many
from _ranef.results import RemlEstimates
from _ranef.support.arrays import Floats
from _ranef.support.remedies import whole_number

__all__ = ["EstimateDraws", "estimate_draws", "mixture_quantile"]

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

    def points(self) -> list[At]:
        """Everything there, with the response of the data."""
        return [self.likelihood.at(theta, float(sigma)) for theta, sigma in zip(self.theta, self.sigma, strict=True)]


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
    spec, theta = likelihood.spec, estimates.theta
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
