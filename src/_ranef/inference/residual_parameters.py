"""Parameters of residual variances and correlations as users read them: ratios, powers, correlations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from _ranef.residuals import Told
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["residual_frame", "residual_sds", "told_draws", "told_jacobian"]

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


def told_draws(spec: ModelSpec, rho: Floats) -> tuple[list[tuple[str, str, str]], Floats]:
    """Structure, form and name of everything that users read, and its draws (..., m) from those of ρ (..., n_rho)."""
    flat = rho.reshape(-1, rho.shape[-1])
    rows = [(part.title, part.form, name) for part in _told(spec, flat[0]) for name in part.names]
    values = np.array([values_of(_told(spec, one)) for one in flat])
    return rows, values.reshape(*rho.shape[:-1], len(rows))


def _told(spec: ModelSpec, rho: Floats) -> list[Told]:
    first = 0 if spec.variance is None else len(spec.variance.names)
    own = [] if spec.variance is None else spec.variance.told(rho[:first])
    return [*own, *([] if spec.correlation is None else spec.correlation.told(rho[first:]))]
