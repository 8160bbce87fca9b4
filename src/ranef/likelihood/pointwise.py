"""Log densities of single rows given β, b and σ, for all draws of a posterior."""

from __future__ import annotations

import numpy as np

from ranef.arrays import Floats
from ranef.interrupts import load
from ranef.results import PosteriorDraws
from ranef.spec import ModelSpec

__all__ = ["linear_predictor_draws", "row_log_densities"]


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


def row_log_densities(spec: ModelSpec, draws: PosteriorDraws, rows: slice = slice(None)) -> Floats:
    """Log density (chains, draws, m) of some of the rows given β, b, σ and, for ``family="student"``, ν."""
    d = spec.design
    log_w = spec.residual.log_precision[rows]
    log_sigma = np.log(draws.sigma)[..., None]
    squares = linear_predictor_draws(spec, draws, rows)
    squares = np.exp(log_w - 2.0 * log_sigma) * (d.y[rows] - squares) ** 2
    if draws.family == "student":
        nu = np.asarray(draws.extras["nu"])[..., None]
        gammaln = load("scipy.special").gammaln
        constant = gammaln((nu + 1.0) / 2.0) - gammaln(nu / 2.0) - 0.5 * np.log(np.pi * nu)
        return np.asarray(constant + 0.5 * log_w - log_sigma - 0.5 * (nu + 1.0) * np.log1p(squares / nu))
    return np.asarray(-0.5 * (np.log(2.0 * np.pi) - log_w + 2.0 * log_sigma + squares))
