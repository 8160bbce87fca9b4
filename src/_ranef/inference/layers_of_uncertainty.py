"""Predictions in layers: of the effects, of β, of θ, of effects of new levels, and of residuals.

What an interval counts as uncertain is named, and so is the column of its standard deviation (``UNCERTAINTY``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy

from _ranef.errors import DesignError, FitError
from _ranef.inference.conditioning_draws import given_draws, thinned
from _ranef.inference.effect_frames import normal_quantile
from _ranef.inference.estimate_draws import Moved, estimate_draws, mixture_quantile
from _ranef.inference.information import VarianceInformation
from _ranef.inference.posterior_summary import covariance_draws, predict_draws
from _ranef.inference.prediction import (
    Predicted,
    RowsAsked,
    check_spread,
    linear_predictor,
    residual_variance,
    unseen_variance,
)
from _ranef.likelihood import At, combination_variances, cross_products, drawn_variances, fixed_part
from _ranef.results import PosteriorDraws, RemlEstimates
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["predict_estimates", "predict_posterior"]

#: numbers held at once in a mixture over replicates
MIXTURE_ENTRIES = 4_000_000


def predict_estimates(
    at: At,
    estimates: RemlEstimates,
    information: Callable[[], VarianceInformation],
    asked: RowsAsked,
    rng: np.random.Generator,
) -> Predicted:
    """Predictions of a fit by REML or ML, in which the uncertainty of θ̂ counts where that is asked.

    ``"plugin"`` takes θ̂ and β̂ as known, and ``"fixef"``, the default, θ̂ alone. ``"corrected"`` adds to that variance
    twice what the error of θ̂ moves the prediction (as of effects: :func:`effect_intervals`; without random effects it
    is Kackar & Harville 1984, J. Am. Stat. Assoc. 79, 853-862, doubled as Kenward and Roger do), and has the degrees of
    freedom 2V²/Var(V̂) of the variance V that is estimated (Satterthwaite). ``"bootstrap"``: quantiles of the mixture of
    normal distributions over estimates from simulated responses (:func:`estimate_draws`).

    Raises
    ------
    DesignError
        If the uncertainty is that of a posterior.
    NotAvailableError
        For a bootstrap of structured residuals, or of too few levels.
    """
    kind = asked.options.uncertainty or "fixef"
    if kind == "posterior":
        raise DesignError(
            "uncertainty='posterior' is what Model.sample() has. Of a fit by REML or ML it is 'plugin', 'fixef', "
            "'corrected' or 'bootstrap'."
        )
    if kind == "bootstrap":
        return _mixed(at, estimates, asked, int(rng.integers(2**32)))
    mean, variance = _mean(at, asked), _variance(at, asked, with_beta=kind != "plugin")
    factor: float | Floats = normal_quantile(asked.options.level)
    if kind == "corrected":
        moved = Moved(at, estimates.theta, information())
        slopes = moved.slopes(lambda there: np.stack([_mean(there, asked), _variance(there, asked)]))
        factor = scipy.special.stdtrit(_freedom(moved, variance, slopes[1]), 0.5 + asked.options.level / 2.0)
        variance = variance + 2.0 * moved.variance(slopes[0])
    return _around(mean, variance, factor)


def _around(mean: Floats, variance: Floats, factor: float | Floats) -> Predicted:
    sd = np.sqrt(np.maximum(variance, 0.0))
    return Predicted(mean, sd, mean - factor * sd, mean + factor * sd)


def _mean(at: At, asked: RowsAsked) -> Floats:
    return linear_predictor(asked.rows, at.beta, at.effects, asked.groupings)


def _variance(at: At, asked: RowsAsked, *, with_beta: bool = True) -> Floats:
    """Var (m,) of what is predicted about its mean, at one θ and σ."""
    rows, options, spec = asked.rows, asked.options, at.likelihood.spec
    given, beta = combination_variances(at, rows.X, rows.codes, rows.Z, asked.groupings)
    out = given + beta if with_beta else given
    if options.new_response:
        mean = _mean(at, asked)
        if spec.rho is not None:
            check_spread(spec, rows, spec.rho, mean)
        out = out + residual_variance(rows, at.sigma, spec.rho, mean)
    if options.new_effects:
        halves = [at.sigma * T @ lam for T, lam in zip(at.likelihood.maps, at.roots, strict=True)]
        out = out + unseen_variance(spec, rows, [half @ half.T for half in halves], asked.groupings)
    return out


def _freedom(moved: Moved, variance: Floats, slopes: Floats) -> Floats:
    """Satterthwaite's degrees of freedom (m,) of variances (m,), σ² times what has `slopes` (m, r)."""
    if not moved.information.sigma_known:
        slopes = np.column_stack([slopes, 2.0 * variance])
    spread = moved.variance(slopes)
    return np.asarray(2.0 * np.divide(variance**2, spread, out=np.full(len(spread), np.inf), where=spread > 0))


def _mixed(at: At, estimates: RemlEstimates, asked: RowsAsked, seed: int) -> Predicted:
    drawn = estimate_draws(at.likelihood, estimates, asked.options.n, seed)
    tails = (0.5 - 0.5 * asked.options.level, 0.5 + 0.5 * asked.options.level)
    m, step = len(asked.rows.X), max(1, MIXTURE_ENTRIES // len(drawn.theta))
    sd, lower, upper = np.empty((3, m))
    for part in (slice(first, first + step) for first in range(0, m, step)):
        some = replace(asked, rows=asked.rows.only(part))
        moments = np.array([(_mean(there, some), _variance(there, some)) for there in drawn.points()])
        means, own = moments[:, 0], np.maximum(moments[:, 1], 0.0)
        sd[part] = np.sqrt(own.mean(axis=0) + means.var(axis=0))
        lower[part], upper[part] = (mixture_quantile(means, np.sqrt(own), tail) for tail in tails)
    return Predicted(_mean(at, asked), sd, lower, upper)


def predict_posterior(spec: ModelSpec, draws: PosteriorDraws, asked: RowsAsked, rng: np.random.Generator) -> Predicted:
    """Predictions of a posterior: with all that it does not know, or a part of that.

    ``"posterior"``, the default, is the equal-tailed interval of the draws. ``"plugin"`` and ``"fixef"`` have the
    posterior means of the variance given (θ, σ, β) and given (θ, σ): what the same layers of a fit by REML estimate.

    Raises
    ------
    DesignError
        If the uncertainty is one of estimates.
    FitError
        For a layer of a Student t model, where it has no closed form.
    """
    kind = asked.options.uncertainty or "posterior"
    if kind == "posterior":
        return predict_draws(spec, draws, asked, rng)
    if kind not in ("plugin", "fixef"):
        raise DesignError(
            f"uncertainty={kind!r} is of estimates. A posterior has 'posterior', in which that of θ is, and its parts "
            "'plugin' and 'fixef'."
        )
    if draws.not_normal:
        raise FitError(
            f"Student t in this model: {draws.not_normal}. Variances given (θ, σ) then have no closed form: "
            "uncertainty='posterior' has the whole."
        )
    beta, effects = draws.beta.mean(axis=(0, 1)), [b.mean(axis=(0, 1)) for b in draws.b]
    mean = linear_predictor(asked.rows, beta, effects, asked.groupings)
    variance = _given_variance(spec, draws, asked, mean, with_beta=kind == "fixef")
    return _around(mean, variance, normal_quantile(asked.options.level))


def _given_variance(
    spec: ModelSpec, draws: PosteriorDraws, asked: RowsAsked, mean: Floats, *, with_beta: bool
) -> Floats:
    """Posterior mean (m,) of the variance given (θ, σ), over draws that are evenly spaced."""
    rows, options = asked.rows, asked.options
    rho = None if "rho" not in draws.extras else np.asarray(draws.extras["rho"]).reshape(draws.sigma.size, -1)
    covs = [c.reshape(-1, *c.shape[2:]) for c in covariance_draws(spec, draws)]
    chosen, out = thinned(draws.sigma.size, options.n), np.zeros(len(rows.X))
    own, products = spec, cross_products(spec)
    for s in chosen:
        if rho is not None:
            own = spec.with_rho(rho[s])
            products = cross_products(own)
        fixed = fixed_part(own, products, draws.priors)
        given = given_draws(own, draws, fixed).only(np.array([s]))
        known, beta = drawn_variances(own, products, fixed, given, rows.X, rows.codes, rows.Z, asked.groupings)
        out += known + beta if with_beta else known
        if options.new_response:
            out += residual_variance(rows, float(given.sigma[0]), None if rho is None else rho[s], mean)
        if options.new_effects:
            out += unseen_variance(spec, rows, [c[s] for c in covs], asked.groupings)
    return np.asarray(out / len(chosen))
