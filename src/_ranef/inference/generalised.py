"""Fits of generalised responses: means, residuals, predictions and simulations on the scales of link and response."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from _ranef.errors import NotAvailableError
from _ranef.inference.effects import normal_quantile
from _ranef.inference.mixtures import chi_squared
from _ranef.inference.prediction import (
    Predicted,
    RowsAsked,
    linear_predictor,
    unseen_variance,
)
from _ranef.inference.response_ranks import SimulatedResiduals, simulated_residuals
from _ranef.inference.variance_shares import VarianceParts, row_moments, variance_parts
from _ranef.likelihood import LaplaceAt, combination_variances, fit_pilot, make_laplace, response_rows
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised, ModelSpec, Rows, covariance_arrays, response_family
from _ranef.support.arrays import Floats
from _ranef.support.remedies import one_of

__all__ = [
    "RESIDUALS",
    "dispersions_of",
    "family_of_estimates",
    "generalised_residuals",
    "laplace_at",
    "link_parts",
    "predict_generalised",
    "ratio_frame",
    "untied_residuals",
    "working_rows",
]

#: share of the distance of two counts by which ties are broken
UNTIED = 1e-6

#: kinds of residuals
RESIDUALS = ("response", "pearson", "deviance", "working")


def family_of_estimates(estimates: RemlEstimates) -> Generalised:
    """The family that estimates are of."""
    family = response_family(estimates.family, estimates.link)
    assert isinstance(family, Generalised)
    return family


def dispersions_of(estimates: RemlEstimates) -> dict[str, float]:
    """Dispersions by name."""
    family = family_of_estimates(estimates)
    values = [] if estimates.dispersion is None else estimates.dispersion.tolist()
    return dict(zip(family.dispersions, values, strict=True))


def laplace_at(spec: ModelSpec, estimates: RemlEstimates) -> LaplaceAt:
    """Everything at the estimates."""
    family = family_of_estimates(estimates)
    model = make_laplace(spec, fit_pilot(spec, family))
    roots = model.gaussian.standard(estimates.theta)
    logs = np.log(np.array(list(dispersions_of(estimates).values())))
    return model.at(roots, model.inward(estimates.beta), logs)


def generalised_residuals(estimates: RemlEstimates, rows: Rows, eta: Floats, kind: str) -> Floats:
    """Residuals (n,) of rows at η.

    ``response`` y − μ (of a binomial response y is the proportion); ``pearson`` over their standard deviations;
    ``deviance`` signed roots of the parts of the deviance; ``working`` (y − μ)/(∂μ/∂η).

    Raises
    ------
    DesignError
        For another kind.
    """
    one_of("kind", kind, RESIDUALS)
    family, own = family_of_estimates(estimates), dispersions_of(estimates)
    mean = family.mean(eta)
    left = rows.y - mean
    if kind == "pearson":
        return left / np.sqrt(family.row_variance(mean, rows.weights, own))
    if kind == "deviance":
        return np.sign(left) * np.sqrt(np.maximum(family.deviances(rows, mean, own), 0.0))
    return left / family.mean_slope(eta) if kind == "working" else left


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
    at: Callable[[], LaplaceAt], estimates: RemlEstimates, asked: RowsAsked, scale: str
) -> Predicted:
    """Predictions of rows with intervals that take θ̂ as known, made on the scale of the link.

    Raises
    ------
    NotAvailableError
        For another interval than of the mean, or another uncertainty.
    """
    options = asked.options
    if options.new_response:
        raise NotAvailableError(
            "interval='prediction' is not available for generalised responses: their values are few, and no interval "
            "has a given probability. simulate() draws new responses; interval='confidence' is for the mean."
        )
    kind = options.uncertainty or "fixef"
    if kind not in ("plugin", "fixef"):
        raise NotAvailableError(
            f"uncertainty={kind!r} is not available for generalised responses, whose intervals take the variance "
            "components as known: 'fixef' counts coefficients and random effects, 'plugin' the latter alone."
        )
    family, rows, working = family_of_estimates(estimates), asked.rows, at().working
    eta = linear_predictor(rows, estimates.beta, [m.values for m in estimates.modes], asked.groupings)
    given, beta = combination_variances(working, rows.X, rows.codes, rows.Z, asked.groupings)
    variance = given + beta if kind == "fixef" else given
    spec = working.likelihood.spec
    if options.new_effects:
        covs = covariance_arrays(spec, estimates.theta, np.asarray(1.0))
        variance = variance + unseen_variance(spec, rows, covs, asked.groupings)
    sd = np.sqrt(np.maximum(variance, 0.0))
    half = normal_quantile(options.level) * sd
    if scale == "link":
        return Predicted(eta, sd, eta - half, eta + half)
    return Predicted(family.mean(eta), sd * family.mean_slope(eta), family.mean(eta - half), family.mean(eta + half))


#: variances of what a binomial link is the distribution function of
LINK_VARIANCES = {"logit": np.pi**2 / 3.0, "probit": 1.0, "cloglog": np.pi**2 / 6.0}


def link_parts(spec: ModelSpec, estimates: RemlEstimates) -> VarianceParts:
    """The variance of a latent response on the scale of the link.

    Raises
    ------
    NotAvailableError
        If the response is not binomial.
    """
    if estimates.family != "binomial":
        raise NotAvailableError(
            f"r2() and icc() are not available yet for family {estimates.family!r}: its residual variance on the scale "
            "of the link has several approximations. varcorr has the variances of the random effects."
        )
    covs = covariance_arrays(spec, estimates.theta, np.asarray(1.0))
    residual = np.asarray(LINK_VARIANCES[estimates.link])
    return variance_parts(row_moments(spec), estimates.beta, covs, residual)


def untied_residuals(spec: ModelSpec, simulated: Floats, rng: np.random.Generator) -> SimulatedResiduals:
    """Ranks of the response among simulated ones (n, B), ties broken at random."""
    whole = 1.0 / response_rows(spec).weights if spec.family.word == "binomial" else np.ones(spec.n_obs)
    y = pd.Series(spec.design.y + UNTIED * whole * rng.uniform(size=spec.n_obs), index=spec.design.index)
    return simulated_residuals(y, simulated + UNTIED * whole[:, None] * rng.uniform(size=simulated.shape))


def ratio_frame(fits: Mapping[str, tuple[ModelSpec, RemlEstimates]]) -> pd.DataFrame:
    """``model, npar, aic, aicc, bic, loglik, deviance, statistic, df, p, p_mixture``, each against the one before.

    ``p_mixture`` is that of ½χ²(0) + ½χ²(1) where one variance is all that is tested (Stram & Lee 1994, Biometrics 50,
    1171-1177), and NaN where several parameters of random effects are.
    """
    rows: list[list[object]] = []
    before: tuple[ModelSpec, RemlEstimates] | None = None
    for name, (spec, estimates) in fits.items():
        npar, n, criterion = _n_parameters(spec, estimates), spec.n_obs, estimates.criterion
        left, aic = n - npar - 1, criterion + 2 * npar
        aicc = aic + 2 * npar * (npar + 1) / left if left > 0 else np.nan
        tested: list[float] = [np.nan] * 4
        if before is not None:
            statistic = before[1].criterion - criterion
            df, more = npar - _n_parameters(*before), spec.n_theta - before[0].n_theta
            p = chi_squared(statistic, df)
            tested = [statistic, df, p, p if not more else 0.5 * p if df == more == 1 else np.nan]
        rows.append([name, npar, aic, aicc, criterion + np.log(n) * npar, -0.5 * criterion, criterion, *tested])
        before = spec, estimates
    columns = ["model", "npar", "aic", "aicc", "bic", "loglik", "deviance", "statistic", "df", "p", "p_mixture"]
    return pd.DataFrame(rows, columns=columns)


def _n_parameters(spec: ModelSpec, estimates: RemlEstimates) -> int:
    return spec.n_fixed + spec.n_theta + len(dispersions_of(estimates))
