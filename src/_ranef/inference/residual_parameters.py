"""Parameters of residual variances and correlations as users read them: ratios, powers, correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError
from _ranef.inference.engines import Estimated, draws_of
from _ranef.inference.information import variance_information, vcov_theta_frame
from _ranef.likelihood import Likelihood
from _ranef.residuals import Told, told_names, told_places
from _ranef.results import Fit
from _ranef.spec import ModelSpec, mean_log_sds
from _ranef.support.arrays import Floats

__all__ = [
    "ROWS_SD",
    "residual_frame",
    "residual_sd_frame",
    "residual_sds",
    "residual_tidy",
    "stratum_sds",
    "told_draws",
    "told_jacobian",
    "typical_sd",
]

#: what the geometric mean of the residual standard deviations of the rows is called
ROWS_SD = "sd(rows)"

#: step of the differences by which standard errors are carried to what users read
DIFFERENCE = 1e-5


def residual_frame(spec: ModelSpec, covariance: Floats | None = None) -> pd.DataFrame:
    """``structure, form, parameter, estimate, std_error`` at ρ̂; `covariance` (n_rho, n_rho) is that of ρ̂."""
    told = spec.residual.told()
    rows = [(part.title, part.form, name) for part in told for name in part.names]
    out = pd.DataFrame(rows, columns=["structure", "form", "parameter"])
    out["estimate"] = np.array(values_of(told), dtype=float)
    errors = np.full(len(out), np.nan)
    if covariance is not None and len(out):
        J = told_jacobian(spec)
        errors = np.sqrt(np.einsum("ab,bc,ac->a", J, covariance, J))
        errors[~J.any(axis=1)] = np.nan  # the first stratum is the unit of the others
    return out.assign(std_error=errors)


def residual_tidy(spec: ModelSpec, frame: pd.DataFrame, sigma: float, whole: pd.DataFrame | None) -> pd.DataFrame:
    """The rows of :func:`residual_frame` that vary, as ``tidy()`` has its rows.

    `whole` is the covariance of (θ̂, ρ̂, σ̂), where there is one.
    """
    told = spec.residual.told()
    own = frame.iloc[told_places(told)]
    rows = pd.DataFrame({"effect": "random", "group": "Residual", "term": told_names(told)})
    rows = rows.assign(estimate=own["estimate"].to_numpy(), std_error=own["std_error"].to_numpy())
    if spec.sigma_afar:
        estimate, error = _typical_sd_row(spec, sigma, whole)
        rows = pd.concat([rows, rows.iloc[:1].assign(term=ROWS_SD, estimate=estimate, std_error=error)])
    return rows


def _typical_sd_row(spec: ModelSpec, sigma: float, whole: pd.DataFrame | None) -> tuple[float, float]:
    """:func:`typical_sd` and its standard error."""
    own = typical_sd(spec, sigma)
    if whole is None or spec.variance is None or spec.rho is None:
        return own, np.nan
    names = [*spec.rho_names[: len(spec.variance.names)], "sigma"]
    slopes = np.append(spec.variance.jacobian(spec.rho).mean(axis=1), 1.0 / sigma)
    return own, float(own * np.sqrt(slopes @ whole.loc[names, names].to_numpy() @ slopes))


def typical_sd(spec: ModelSpec, sigma: float) -> float:
    """Geometric mean of the residual standard deviations of the rows (of weight one), at ρ̂."""
    assert spec.rho is not None
    return float(sigma * np.exp(mean_log_sds(spec, spec.rho)))


def values_of(told: Sequence[Told]) -> list[float]:
    """All values, one part after the other."""
    return [value for part in told for value in part.values]


def told_jacobian(spec: ModelSpec) -> Floats:
    """Derivatives (m, n_rho) of what users read in ρ, by central differences."""
    rho = spec.rho
    assert rho is not None

    def values(step: Floats) -> Floats:
        return np.array(values_of(spec.with_rho(rho + step).residual.told()), dtype=float)

    differences = [values(h) - values(-h) for h in DIFFERENCE * np.eye(len(rho))]
    return np.asarray(np.array(differences).T / (2.0 * DIFFERENCE))


def residual_sds(spec: ModelSpec, sigma: float) -> pd.Series[float]:
    """Residual standard deviation of every stratum; of all rows alike, under ``Residual``, where there are none."""
    strata = [part for part in spec.residual.told() if part.sds]
    names = [name if len(strata) == 1 else f"{part.form} {name}" for part in strata for name in part.names]
    values = [sigma * value for part in strata for value in part.values]
    return pd.Series(values or [sigma], index=names or ["Residual"], name="sd")


def stratum_sds(fit: Fit, level: float = 0.95) -> pd.DataFrame:
    """``stratum, estimate, lower, upper`` of residual standard deviations, with either engine's intervals.

    Of REML and ML, Wald's on the logarithm, from the observed information; NaN where there are none.

    Raises
    ------
    DesignError
        If the residuals have no strata.
    """
    if not any(part.sds for part in fit.spec.residual.told()):
        raise DesignError(
            "There are no residual standard deviations to compare: the model has no strata. Give it variance="
            "ranef.VarIdent('factor'); plot.scale_location() shows how residuals spread without."
        )
    draws = draws_of(fit)
    if draws is not None:
        out = residual_sd_frame(fit.spec, draws.sigma, draws.extras.get("rho"), level)
        return out[["stratum", "estimate", "lower", "upper"]]
    assert isinstance(fit, Estimated)
    sds = residual_sds(fit.spec, fit.estimates.sigma)
    half = scipy.special.ndtri(0.5 + 0.5 * level) * _log_sd_errors(fit)
    columns = {"estimate": sds, "lower": sds * np.exp(-half), "upper": sds * np.exp(half)}
    return pd.DataFrame({"stratum": sds.index, **{name: own.to_numpy() for name, own in columns.items()}})


def _log_sd_errors(fit: Estimated) -> Floats:
    """Standard errors (strata,) of log sds; NaN where a parameter has no bound."""
    spec, e = fit.spec, fit.estimates
    strata = np.concatenate([np.full(len(part.names), part.sds) for part in spec.residual.told()])
    ratios = np.array(values_of(spec.residual.told()))[strata]
    J = told_jacobian(spec)[strata] / ratios[:, None]
    names = list(spec.rho_names)
    try:
        at = Likelihood(spec, fit.products, e.method).at(e.theta)
        whole = vcov_theta_frame(spec, variance_information(at, e.theta))
    except np.linalg.LinAlgError:
        return np.full(len(ratios), np.nan)
    if spec.sigma is None:
        names, J = [*names, "sigma"], np.column_stack([J, np.full(len(J), 1.0 / e.sigma)])
    return np.asarray(np.sqrt(np.einsum("ab,bc,ac->a", J, whole.loc[names, names].to_numpy(), J)))


@dataclass(frozen=True)
class ResidualDraws:
    """Draws of what users read of ρ.

    Attributes
    ----------
    told : list of Told
        At one of them: titles, forms and names.
    values : array (chains, draws, m)
        One part after the other.
    """

    told: list[Told]
    values: Floats

    @property
    def ratios(self) -> list[bool]:
        """Which of them are ratios of standard deviations."""
        return [part.sds for part in self.told for _ in part.names]

    def frame(self, level: float = 0.95) -> pd.DataFrame:
        """``structure, form, parameter, estimate, sd, lower, upper``: means and equal-tailed intervals."""
        rows = [(part.title, part.form, name) for part in self.told for name in part.names]
        out = pd.DataFrame(rows, columns=["structure", "form", "parameter"])
        return out.assign(**_moments(self.values, level))

    def named(self) -> dict[str, Floats]:
        """Draws (chains, draws) by :func:`told_names`."""
        places = zip(told_names(self.told), told_places(self.told), strict=True)
        return {name: self.values[..., k] for name, k in places}


def told_draws(spec: ModelSpec, rho: Floats) -> ResidualDraws:
    """What users read at all draws of ρ (chains, draws, n_rho)."""
    flat = rho.reshape(-1, rho.shape[-1])
    first = 0 if spec.variance is None else len(spec.variance.names)
    parts = ((spec.variance, flat[:, :first]), (spec.correlation, flat[:, first:]))
    values = np.concatenate([part.told_values(own) for part, own in parts if part is not None], axis=1)
    return ResidualDraws(_told(spec, flat[0]), values.reshape(*rho.shape[:-1], -1))


def residual_sd_frame(spec: ModelSpec, sigma: Floats, rho: Floats | None, level: float = 0.95) -> pd.DataFrame:
    """``stratum, estimate, sd, lower, upper`` of residual standard deviations from draws (chains, draws)."""
    if rho is None:
        return pd.DataFrame({"stratum": ["Residual"], **_moments(sigma[..., None], level)})
    drawn = told_draws(spec, rho)
    strata = [k for k, own in enumerate(drawn.ratios) if own]
    names = [name for part in drawn.told if part.sds for name in part.names] or ["Residual"]
    ratios = drawn.values[..., strata] if strata else np.ones((*sigma.shape, 1))
    values = sigma[..., None] * ratios
    out = pd.DataFrame({"stratum": names, **_moments(values, level)})
    if spec.sigma_afar:  # the mean is that of a tail
        out = out.assign(estimate=np.median(values, axis=(0, 1)), sd=np.nan)
    return out


def _moments(values: Floats, level: float) -> dict[str, Floats]:
    flat = values.reshape(-1, values.shape[-1])
    lower, upper = np.quantile(flat, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return {"estimate": flat.mean(axis=0), "sd": flat.std(axis=0, ddof=1), "lower": lower, "upper": upper}


def _told(spec: ModelSpec, rho: Floats) -> list[Told]:
    first = 0 if spec.variance is None else len(spec.variance.names)
    own = [] if spec.variance is None else spec.variance.told(rho[:first])
    return [*own, *([] if spec.correlation is None else spec.correlation.told(rho[first:]))]
