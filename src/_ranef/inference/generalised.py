"""Fits of generalised responses: means, residuals, predictions and simulations on the scales of link and response."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from _ranef.errors import NotAvailableError
from _ranef.inference.effect_frames import normal_quantile
from _ranef.inference.engines import Maximum, Sampled, dispersions_of, family_of_estimates
from _ranef.inference.joint_hessian import JointInformation
from _ranef.inference.prediction import (
    Predicted,
    RowsAsked,
    effects_for,
    linear_predictor,
    unseen_variance,
)
from _ranef.inference.response_ranks import SimulatedResiduals, simulated_residuals
from _ranef.inference.variance_shares import VarianceParts, row_moments, variance_parts
from _ranef.likelihood import LaplaceAt, combination_variances, response_rows
from _ranef.results import Fit, PosteriorDraws, RemlEstimates
from _ranef.spec import Generalised, ModelSpec, Rows, covariance_arrays, thresholds
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = [
    "APPROXIMATIONS",
    "RESIDUALS",
    "dispersions_at",
    "generalised_residuals",
    "link_parts",
    "link_variances",
    "predict_generalised",
    "response_draws",
    "response_moments",
    "response_parameters",
    "shown_fitted",
    "shown_residuals",
    "threshold_series",
    "untied_residuals",
    "working_rows",
]

#: share of the distance of two counts by which ties are broken
UNTIED = 1e-6

#: draws of a response by which its interval is found, of so many rows at once; what intervals may count as uncertain
DRAWS, TOGETHER, UNCERTAIN = 2000, 5000, ("plugin", "fixef", "corrected")

#: simulated responses among which figures rank each
REPLICATIONS = 1000

#: kinds of residuals
RESIDUALS = ("response", "pearson", "deviance", "working")


def dispersions_at(fit: Fit) -> dict[str, float]:
    """Dispersions by name, estimated or as posterior means."""
    if isinstance(fit, Sampled):
        return {name: float(np.mean(fit.draws.extras[name])) for name in getattr(fit.spec.family, "dispersions", ())}
    assert isinstance(fit, Maximum)
    return dispersions_of(fit.estimates)


def threshold_series(estimates: RemlEstimates) -> pd.Series[float]:
    """Thresholds of an ordinal response by the classes beside them.

    Raises
    ------
    NotAvailableError
        If it is none.
    """
    classes = estimates.classes
    if not classes:
        raise NotAvailableError(f"A {estimates.family} response has no thresholds; dispersion has its parameters.")
    values = np.array(thresholds(dispersions_of(estimates))) - estimates.beta[0]
    return pd.Series(values, index=[f"{a}|{b}" for a, b in pairwise(classes)], name="threshold")


def response_parameters(joint: Callable[[], JointInformation], estimates: RemlEstimates, level: float) -> pd.DataFrame:
    """``estimate, std_error, lower, upper`` of dispersions, and of the thresholds of an ordinal response, by name.

    By the Hessian in all parameters and the delta method. Intervals of dispersions are normal ones of their logarithms,
    so that they are positive; NaN stands for what has no curvature.
    """
    own = dispersions_of(estimates)
    if not own:
        return pd.DataFrame(columns=["estimate", "std_error", "lower", "upper"], dtype=float)
    values, z, information = np.array(list(own.values())), normal_quantile(level), joint()
    slopes = np.eye(len(information.x))[len(information.x) - len(values) :]  # of the logarithms
    sds = _known_sds(information.variances(slopes))
    out = pd.DataFrame({"estimate": values, "std_error": values * sds}, index=list(own))
    with np.errstate(over="ignore"):
        out = out.assign(lower=values * np.exp(-z * sds), upper=values * np.exp(z * sds))
    if not estimates.classes:
        return out
    steps = np.vstack([np.zeros(len(information.x)), np.cumsum(values[:, None] * slopes, axis=0)])
    alphas = threshold_series(estimates)
    errors = _known_sds(information.variances(steps - information.coefficient_slopes[0]))
    more = pd.DataFrame({"estimate": alphas, "std_error": errors})
    return pd.concat([out, more.assign(lower=alphas - z * errors, upper=alphas + z * errors)])


def _known_sds(variances: Floats) -> Floats:
    return np.sqrt(np.where(variances > 0.0, variances, np.nan))


def response_draws(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, Floats]:
    """Draws (chains, draws) of what :func:`response_parameters` has."""
    family = spec.family
    if not isinstance(family, Generalised):
        return {}
    own = {name: np.asarray(draws.extras[name]) for name in family.dispersions if name in draws.extras}
    if not family.classes:
        return own
    names = [f"{a}|{b}" for a, b in pairwise(family.classes)]
    return own | {name: x - draws.beta[..., 0] for name, x in zip(names, thresholds(own), strict=True)}


def generalised_residuals(family: Generalised, own: Mapping[str, float], rows: Rows, eta: Floats, kind: str) -> Floats:
    """Residuals (n,) of rows at η and dispersions `own`.

    ``response`` y − μ (of a binomial response y is the proportion, of an ordinal one the place of the class, and μ its
    mean); ``pearson`` over their standard deviations;
    ``deviance`` signed roots of the parts of the deviance; ``working`` (y − μ)/(∂μ/∂η).

    Raises
    ------
    DesignError
        For another kind.
    """
    one_of("kind", kind, RESIDUALS)
    left = rows.y - family.expected(eta, own)
    if kind == "pearson":
        return _over(left, np.sqrt(family.spread(eta, rows.weights, own)))
    if kind == "deviance":
        return np.sign(left) * np.sqrt(np.maximum(family.deviances(rows, family.mean(eta), own), 0.0))
    return _over(left, family.mean_slope(eta)) if kind == "working" else left


def _over(left: Floats, scale: Floats) -> Floats:
    """A ratio that is zero where a row is fitted exactly, whatever its scale."""
    return np.divide(left, scale, out=np.zeros_like(left), where=left != 0.0)


def working_rows(spec: ModelSpec, eta: Floats, own: Mapping[str, float]) -> dict[str, Floats]:
    """Of rows at η (n,): ``mean``, and ``working weight`` ω and ``working response`` z of a step of Newton from there.

    ω is minus the second derivative of the log density in η, and z = η + g/ω with the first derivative g.

    Raises
    ------
    NotAvailableError
        If a weight is not positive, as the observed curvature may be where the log density is not concave.
    """
    family = spec.family
    assert isinstance(family, Generalised)
    at = family.slopes(eta, response_rows(spec), own)
    if not (at.curvature > 0.0).all():
        row = int((~(at.curvature > 0.0)).argmax())
        raise NotAvailableError(
            f"Row {row + 1} has the working weight {at.curvature[row]:.3g}: the log density of its response is not "
            "concave there, and no normal model has such rows. fitted() and residuals('working') have what does not "
            "need the weights."
        )
    return {"mean": family.mean(eta), "working weight": at.curvature, "working response": eta + at.first / at.curvature}


def predict_generalised(
    at: Callable[[], LaplaceAt],
    joint: Callable[[], JointInformation],
    estimates: RemlEstimates,
    covs: Sequence[Floats],
    asked: RowsAsked,
    scale: str,
    rng: np.random.Generator,
) -> Predicted:
    """Predictions of rows, with intervals, if any: of means made on the scale of the link, of responses by draws.

    Raises
    ------
    NotAvailableError
        For another uncertainty.
    """
    options = asked.options
    family, rows = family_of_estimates(estimates), asked.rows
    if options.interval is None:
        effects = effects_for(rows, [m.values for m in estimates.modes], covs, options, rng)
        eta, none = linear_predictor(rows, estimates.beta, effects, asked.groupings), np.empty(0)
        means = family.predicted(eta, dispersions_of(estimates))
        return Predicted(means if scale == "response" else eta, none, none, none)
    classes = bool(family.classes) and scale == "response" and not options.new_response
    kind = options.uncertainty or ("corrected" if classes else "fixef")
    if kind not in UNCERTAIN:
        raise NotAvailableError(
            f"uncertainty={kind!r} is not available for predictions of generalised fits: 'plugin' counts the random "
            "effects, 'fixef' coefficients too, 'corrected' all parameters."
        )
    working = at().working
    eta = linear_predictor(rows, estimates.beta, [m.values for m in estimates.modes], asked.groupings)
    given, beta = combination_variances(working, rows.X, rows.codes, rows.Z, asked.groupings)
    variance = given + (beta if kind == "fixef" else 0.0)
    if kind == "corrected" and not classes:
        variance = given + _moved(joint(), asked)
    spec = working.likelihood.spec
    if options.new_effects:
        variance = variance + unseen_variance(spec, rows, covs, asked.groupings)
    sd = np.sqrt(np.maximum(variance, 0.0))
    if options.new_response:
        each, w = [dispersions_of(estimates)] * DRAWS, np.ones(len(eta)) if rows.weights is None else rows.weights
        parts = [slice(k, k + TOGETHER) for k in range(0, len(eta), TOGETHER)]
        drawn = ((k, eta[k] + sd[k] * rng.standard_normal((DRAWS, len(eta[k])))) for k in parts)
        found = [response_moments(family, values, each, w[k], options.level, rng) for k, values in drawn]
        middle, *moments = (np.concatenate(column) for column in zip(*found, strict=True))
        return Predicted(middle if family.classes else family.mean(eta), *moments)
    if classes:
        return _of_classes(estimates, eta, variance, joint() if kind == "corrected" else None, asked)
    half = normal_quantile(options.level) * sd
    if scale == "link":
        return Predicted(eta, sd, eta - half, eta + half)
    ends = np.sort(family.mean(np.stack([eta - half, eta + half])), axis=0)  # some means fall where η rises
    return Predicted(family.mean(eta), sd * np.abs(family.mean_slope(eta)), *ends)


def _of_classes(
    estimates: RemlEstimates, eta: Floats, variance: Floats, joint: JointInformation | None, asked: RowsAsked
) -> Predicted:
    """Probabilities (m, K) of classes by the delta method, with intervals made on the scale of their logits.

    Of the variance (m,) of η; thresholds move with all parameters where these are uncertain.
    """
    family, own = family_of_estimates(estimates), dispersions_of(estimates)
    p, slopes = family.predicted(eta, own), family.predicted_slopes(eta, own)
    squares = slopes[:, :, 0] ** 2 * variance[:, None]
    if joint is not None:  # of which the variance of η has no part yet
        of_logs = np.eye(len(joint.x))[len(joint.x) - len(own) :]
        squares = squares + joint.variances(
            slopes[:, :, :1] * _moves(joint, asked)[:, None] + slopes[:, :, 1:] @ of_logs
        )
    sd = np.sqrt(np.maximum(squares, 0.0))
    special = load("scipy.special")
    with np.errstate(divide="ignore", invalid="ignore"):
        half = normal_quantile(asked.options.level) * sd / (p * (1.0 - p))
        ends = special.expit(special.logit(p) + np.stack([-half, half]))
    return Predicted(p, sd, *np.where(np.isfinite(ends), ends, p))


def _moved(joint: JointInformation, asked: RowsAsked) -> Floats:
    """Variances (m,) of linear predictors that come of those of all parameters."""
    return joint.variances(_moves(joint, asked))


def _moves(joint: JointInformation, asked: RowsAsked) -> Floats:
    """How linear predictors (m, n) move with all parameters."""
    rows = replace(asked.rows, offset=np.zeros(len(asked.rows.index)))
    slopes = [
        linear_predictor(rows, beta, [own[..., a] for own in joint.effect_slopes], asked.groupings)
        for a, beta in enumerate(joint.coefficient_slopes.T)
    ]
    return np.stack(slopes, axis=-1)


def response_moments(
    family: Generalised,
    eta: Floats,
    own: Sequence[Mapping[str, float]],
    weights: Floats,
    level: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Medians, standard deviations and equal-tailed ends (m,) of responses drawn at linear predictors (S, m), one each.

    Medians and ends are values that a response can have.
    """
    y = np.stack([family.drawn(rng, row, weights, values) for row, values in zip(eta, own, strict=True)])
    shares = [0.5 - 0.5 * level, 0.5, 0.5 + 0.5 * level]
    lower, middle, upper = np.quantile(y, shares, axis=0, method="inverted_cdf")
    return middle, y.std(axis=0, ddof=1), lower, upper


#: of what varies round a mean μ with variance v μ², the variance of the logarithm
APPROXIMATIONS: Mapping[str, Callable[[float], float]] = {
    "trigamma": lambda v: float(load("scipy.special").polygamma(1, 1.0 / v)),
    "lognormal": lambda v: float(np.log1p(v)),
    "delta": lambda v: v,
}


def link_parts(spec: ModelSpec, estimates: RemlEstimates, approximation: str = "trigamma") -> VarianceParts:
    """The variance of a response on the scale of the link.

    Of a binomial response the residual part is that of the latent variable; of others with a log link that of the
    logarithm of a response round the mean of all, by an approximation; with other links by the delta method.

    Raises
    ------
    DesignError
        For an unknown approximation.
    NotAvailableError
        Where it is infinite.
    """
    covs = covariance_arrays(spec, estimates.theta, np.asarray(1.0))
    residual = link_variances(spec, family_of_estimates(estimates), [dispersions_of(estimates)], approximation)[0]
    return variance_parts(row_moments(spec), estimates.beta, covs, np.asarray(residual))


def link_variances(
    spec: ModelSpec, family: Generalised, owns: Sequence[Mapping[str, float]], approximation: str = "trigamma"
) -> Floats:
    """The residual part of :func:`link_parts` at each of several values of the dispersions.

    Raises
    ------
    DesignError
        For an unknown approximation.
    NotAvailableError
        Where one is infinite.
    """
    one_of("approximation", approximation, tuple(APPROXIMATIONS))
    rows, how = response_rows(spec), APPROXIMATIONS[approximation]
    centre = family.centre(rows)
    found = np.array([family.latent(centre, rows, own, how) for own in owns])
    if not np.isfinite(found).all():
        raise NotAvailableError(
            f"r2() and icc() are not available for a {family.label} response with link {family.link!r} and these "
            "estimates: rows have no variance there. varcorr has the variances of the random effects."
        )
    return found


def untied_residuals(spec: ModelSpec, simulated: Floats, rng: np.random.Generator) -> SimulatedResiduals:
    """Ranks of the response among simulated ones (n, B), ties broken at random."""
    assert isinstance(spec.family, Generalised)
    whole = spec.family.step(response_rows(spec).weights)
    y = pd.Series(spec.design.y + UNTIED * whole * rng.uniform(size=spec.n_obs), index=spec.design.index)
    return simulated_residuals(y, simulated + UNTIED * whole[:, None] * rng.uniform(size=simulated.shape))


def shown_fitted(fit: Fit) -> Floats:
    """Fitted values (n,), which are means; of an ordinal response the mean places of the class, from 0."""
    fitted: Floats = np.asarray(fit.fitted())
    return fitted @ np.arange(fitted.shape[1]) if fitted.ndim == 2 else fitted


def shown_residuals(fit: Fit) -> tuple[Floats, str]:
    """Residuals (n,) that are nearly standard normal where the model holds, and what they are called.

    Pearson's; of a generalised response normal quantiles of the ranks among simulated responses of the same effects.
    """
    if not isinstance(fit.spec.family, Generalised):
        return fit.residuals("pearson").to_numpy(), "Pearson residual (in σ)"
    ranks = untied_residuals(fit.spec, fit.simulate(REPLICATIONS, re="fitted", seed=1), np.random.default_rng(1))
    half = 0.5 / REPLICATIONS
    quantiles = load("scipy.special").ndtri(np.clip(ranks.residuals.to_numpy(), half, 1.0 - half))
    return np.asarray(quantiles), "quantile residual (normal)"
