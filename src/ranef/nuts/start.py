"""Where the chains begin, in unconstrained coordinates."""

from __future__ import annotations

import numpy as np

from ranef.arrays import Floats
from ranef.likelihood import CrossProducts
from ranef.nuts.layout import Layout
from ranef.results import RemlEstimates
from ranef.spec import ModelSpec, TermSpec

__all__ = ["effect_positions", "hyper_positions"]

#: spread of the chains' starting points in unconstrained coordinates
JITTER = 0.1

#: no standard deviation starts below this share of the residual's, and no partial correlation beyond the other
LEAST_SD, MOST_CORRELATION = 0.05, 0.9


def hyper_positions(
    spec: ModelSpec,
    products: CrossProducts,
    layout: Layout,
    start: RemlEstimates | None,
    chains: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Starting values (chains, ...) of the variance parameters, near `start` where it is given."""
    sigma = spec.sigma or (start.sigma if start else products.scaling.y * np.sqrt(0.5))
    sds, partials, lower = [], [], []
    for t in spec.terms:
        least = LEAST_SD * sigma / _column_sizes(spec, t)
        lam = t.template.fill(start.theta[t.theta]) if start else np.diag(least / (LEAST_SD * sigma))
        n = 1 if t.template.kind == "ident" else t.template.size
        sd = np.maximum(sigma * np.sqrt((lam**2).sum(axis=1)), least)
        sds.append(sd[:n])
        if t.template.kind == "us":
            partial = _partial_correlations(lam)
            partials.append(partial)
            lower.append(lam[np.triu_indices(t.template.size, 1)[::-1]])
    if layout.flat:
        diagonal = [
            np.maximum(_diagonal(t, start, s / sigma), LEAST_SD * s / sigma)
            for t, s in zip(spec.terms, sds, strict=True)
        ]
        values = {
            "diagonal": np.log(_join(diagonal)),
            "off_diagonal": _join(lower),
            "log_sigma": np.array(np.log(sigma)),
        }
    else:
        values = {
            "sd": np.log(_join(sds)),
            "partial": 2.0 * np.arctanh(_join(partials)),
            "sigma": np.array([np.log(sigma)]),
        }
    if spec.sigma is not None:
        values = {name: v for name, v in values.items() if "sigma" not in name}
    return {name: v + JITTER * rng.standard_normal((chains, *v.shape)) for name, v in values.items() if v.size}


def _join(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0)


def _column_sizes(spec: ModelSpec, term: TermSpec) -> Floats:
    """Root mean squares of the term's columns (p,)."""
    rms = np.sqrt(np.mean(spec.groupings[term.grouping].Z[:, term.where] ** 2, axis=0))
    return np.where(rms > 0, rms, 1.0)


def _diagonal(term: TermSpec, start: RemlEstimates | None, otherwise: Floats) -> Floats:
    if start is None:
        return otherwise
    diagonal = np.diag(term.template.fill(start.theta[term.theta]))
    return np.abs(diagonal[: len(otherwise)])


def _partial_correlations(lam: Floats) -> Floats:
    """Canonical partial correlations, by rows, of the correlation matrix of λλᵀ."""
    sd = np.sqrt((lam**2).sum(axis=1))
    root = lam / np.where(sd > 0, sd, 1.0)[:, None]
    out = []
    for i in range(len(lam)):
        rest = 1.0
        for j in range(i):
            z = float(np.clip(root[i, j] / rest, -MOST_CORRELATION, MOST_CORRELATION))
            out.append(z)
            rest *= np.sqrt(1.0 - z**2)
    return np.array(out)


def effect_positions(
    spec: ModelSpec,
    products: CrossProducts,
    start: RemlEstimates | None,
    chains: int,
    rng: np.random.Generator,
    *,
    centered: bool,
) -> dict[str, Floats]:
    """Starting values of β (internal scale) and of the random effects for the row-level models."""
    scale = products.scaling
    beta: Floats = np.zeros(spec.n_fixed)
    if start is not None:
        beta = np.linalg.solve(scale.X, start.beta - scale.pilot) / scale.y
    values = {"beta": beta + rng.standard_normal((chains, spec.n_fixed)) / np.sqrt(spec.n_obs)}
    for k, g in enumerate(spec.groupings):
        shape = (chains, g.n_levels, len(g.columns))
        z = JITTER * rng.standard_normal(shape)
        if not centered:
            values[f"z{k}"] = z
        else:
            centre = 0.0 if start is None else start.modes[k].values
            values[f"b{k}"] = centre + scale.y * z / np.sqrt(np.mean(g.Z**2, axis=0))
    return values
