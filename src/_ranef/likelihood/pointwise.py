"""Log densities of single rows given β, b and σ, for all draws of a posterior."""

from __future__ import annotations

from typing import Any

import numpy as np

from _ranef.likelihood.pilot_fit import response_rows
from _ranef.results import PosteriorDraws
from _ranef.spec import Generalised, LocationScale, ModelSpec, Rows
from _ranef.support.arrays import Floats

__all__ = ["linear_predictor_draws", "log_precision_draws", "row_log_densities"]


def linear_predictor_draws(spec: ModelSpec, draws: PosteriorDraws, rows: slice = slice(None)) -> Floats:
    """Xβ + offset + Zb (chains, draws, m) of some of the rows."""
    d = spec.design
    out = draws.beta @ d.X[rows].T
    if d.offset is not None:
        out += d.offset[rows]
    for g, b in zip(spec.groupings, draws.b, strict=True):
        for a in range(len(g.columns)):
            out += b[:, :, :, a][:, :, g.codes[rows]] * g.Z[rows, a]
    return out


def log_precision_draws(spec: ModelSpec, draws: PosteriorDraws, rows: slice = slice(None)) -> Floats:
    """Logarithms of σ² over the variances of some of the rows: (m,), or (chains, draws, m) where ρ is sampled."""
    if "rho" not in draws.extras or spec.variance is None:
        return spec.residual.log_precision[rows]
    rho = np.asarray(draws.extras["rho"])
    own = [spec.with_rho(one).residual.log_precision[rows] for one in rho.reshape(-1, rho.shape[-1])]
    return np.array(own).reshape(*rho.shape[:-1], -1)


def row_log_densities(spec: ModelSpec, draws: PosteriorDraws, rows: slice = slice(None)) -> Floats:
    """Log density (chains, draws, m) of some of the rows given β, b, σ and parameters of the family."""
    family = draws.response
    own: dict[str, Any] = {name: x[..., None] for name, x in family.own(draws.extras).items()}
    if isinstance(family, Generalised):
        held = response_rows(spec)
        some, eta = Rows(held.y[rows], held.weights[rows]), linear_predictor_draws(spec, draws, rows)
        value: Floats = np.asarray(family.slopes(eta, some, own).value)
        return np.asarray(value + family.constant(some, own))
    assert isinstance(family, LocationScale)
    spec.residual.refuse_correlated("The density of single rows", "Compare AIC of fits by ML.")
    return family.log_density(
        spec.design.y[rows] - linear_predictor_draws(spec, draws, rows),
        np.log(draws.sigma)[..., None],
        log_precision_draws(spec, draws, rows),
        own,
    )
