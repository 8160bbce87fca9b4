"""Where the climb to the posterior mode begins: the REML optimum, in unconstrained coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from _ranef.posterior.problem import Problem
from _ranef.results import RemlEstimates
from _ranef.spec import TermSpec, inward_theta, mean_log_sds
from _ranef.support.arrays import Floats

__all__ = ["effect_positions", "internal_coefficients", "start_vector", "start_vectors"]

#: spread of the starting points of random effects, in their standard deviations
JITTER = 0.1

#: no standard deviation starts below this share of the residual's, and no partial correlation beyond the other
LEAST_SD, MOST_CORRELATION = 0.05, 0.9

#: no shape parameter starts further from its usual value, in its coordinate
MOST_AWAY = 3.0

#: starts nearer than this lead to the same mode
DIFFERENT = 0.5


def start_vector(
    problem: Problem, start: RemlEstimates | None, inverse: Callable[[str, float], float] | None = None
) -> Floats:
    """Unconstrained coordinates (d,) near `start`; `inverse` maps the values of sites that only numpyro knows."""
    return _vector(problem, start, inverse, 1.0)


def start_vectors(
    problem: Problem, start: RemlEstimates | None, inverse: Callable[[str, float], float] | None = None
) -> list[Floats]:
    """Where the climb begins: near `start` as far as the priors go, at it whatever they say, and with little variance.

    Priors that disagree with the data make a mode of each.
    """
    own = start_vector(problem, start, inverse)
    if not problem.spec.terms:
        return [own]
    beyond = _vector(problem, start, inverse, np.inf)
    little = _vector(problem, None, inverse, 1.0, share=LEAST_SD)
    return [own] + [q for q in (beyond, little) if np.abs(q - own).max(initial=0.0) > DIFFERENT]


def _vector(
    problem: Problem,
    start: RemlEstimates | None,
    inverse: Callable[[str, float], float] | None,
    reach: float,
    share: float = 1.0,
) -> Floats:
    """Coordinates near `start`, standard deviations at most `reach` times what their priors allow.

    Without a `start` effects move the response `share` times as much as the residuals do.
    """
    spec, layout = problem.spec, problem.layout
    sigma = spec.sigma or (start.sigma if start else problem.products.scaling.y * np.sqrt(0.5))
    sds, diagonal, partial, lower, shapes = [], [], [], [], []
    rho = spec.rho_start if start is None or start.rho is None else start.rho
    if start is not None and layout.rows:
        mean = np.exp(mean_log_sds(spec, rho))
        sigma, start = sigma * float(mean), replace(start, theta=spec.times(start.theta, 1.0 / mean))
    theta = None if start is None else inward_theta(spec, problem.priors.columns, start.theta)
    for t in spec.terms:
        least = LEAST_SD * sigma / _column_sizes(problem, t)
        lam = np.diag(share * least / (LEAST_SD * sigma)) if theta is None else t.structure.root(theta[t.theta])
        n = len(t.structure.own_sds)
        sds.append(np.maximum(sigma * np.sqrt((lam**2).sum(axis=1)), least)[:n])
        diagonal.append(np.maximum(np.abs(np.diag(lam)), least / sigma)[:n])
        if t.structure.free:
            partial.append(_partial_correlations(lam, MOST_CORRELATION if np.isfinite(reach) else 1.0 - 1e-13))
            lower.append(lam[np.triu_indices(t.structure.size, 1)[::-1]])
        if t.structure.shapes:
            usual = np.array([s.usual for s in t.structure.shapes])
            away = 0.0 if theta is None else theta[t.theta][n:] - usual
            shapes.append(usual + np.clip(away, -MOST_AWAY, MOST_AWAY))
    sampled = problem.fixed.pilot[problem.fixed.sampled]
    if start is not None:
        sampled = (problem.fixed.centre @ start.beta)[problem.fixed.sampled]
    # a prior much narrower than the data suggest holds its parameter near zero: the climb begins there
    sd = (
        np.minimum(_join(sds), reach * _widths(problem))
        if layout.n_sd and np.isfinite(reach) and not layout.flat
        else _join(sds)
    )
    values = {
        "sd": np.log([v for v, f in zip(sd, layout.families, strict=True) if f != "custom"]),
        "partial": 2.0 * np.arctanh(_join(partial)),
        "sigma": np.array([np.log(sigma)]),
        "diagonal": np.log(_join(diagonal)),
        "off_diagonal": _join(lower),
        "log_sigma": np.array([np.log(sigma)]),
        "fixef": [v for v, f in zip(sampled, layout.fixed_families, strict=True) if f != "custom"],
        "r2": np.zeros(1),
        "phi": np.zeros(max(layout.r2d2 - 1, 0)),
        "shape": _join(shapes),
        "rho": rho,
    }
    named = {"sigma": sigma, **{f"sd{i}": v for i, v in enumerate(sd)}}
    named |= {f"fixef{i}": v for i, v in enumerate(sampled)}
    for name in layout.custom:
        values[f"custom_{name}"] = np.array([0.0 if inverse is None else inverse(name, float(named[name]))])
    return _join([np.asarray(values[name], dtype=float) for name, _ in layout.sites])


def _widths(problem: Problem) -> Floats:
    """How large the prior of each standard deviation lets it be (n_sd,)."""
    layout, numbers = problem.layout, problem.numbers["sd"]
    width = 3.0 * numbers[:, 2] * np.where([f == "gamma" for f in layout.families], np.maximum(numbers[:, 0], 1.0), 1.0)
    return np.where([f in ("flat", "custom") for f in layout.families], np.inf, width)


def _join(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0)


def _column_sizes(problem: Problem, term: TermSpec) -> Floats:
    """Root mean squares (p,) of the term's columns in the coordinates of its priors: internal ones are orthonormal."""
    inward = problem.products.scaling.Z[term.grouping][term.where, term.where]
    return np.asarray(np.linalg.norm(np.linalg.solve(inward, problem.priors.term(term).outward), axis=0))


def _sizes_by_grouping(problem: Problem) -> list[Floats]:
    out: list[Floats] = [np.ones(len(g.columns)) for g in problem.spec.groupings]
    for t in problem.spec.terms:
        out[t.grouping][t.where] = _column_sizes(problem, t)
    return out


def _partial_correlations(lam: Floats, most: float) -> Floats:
    """Canonical partial correlations, by rows and up to ±`most`, of the correlation matrix of λλᵀ."""
    sd = np.sqrt((lam**2).sum(axis=1))
    root = lam / np.where(sd > 0, sd, 1.0)[:, None]
    out = []
    for i in range(len(lam)):
        rest = 1.0
        for j in range(i):
            z = float(np.clip(root[i, j] / rest, -most, most))
            out.append(z)
            rest *= np.sqrt(1.0 - z**2)
    return np.array(out)


def internal_coefficients(problem: Problem, start: RemlEstimates | None) -> Floats:
    """Internal coefficients (g,) of those that are integrated out, where the climb begins."""
    fixed = problem.fixed
    g = len(fixed.integrated)
    if start is None or not g:
        return np.zeros(g)
    return np.asarray(fixed.root @ (fixed.centre @ start.beta - fixed.pilot)[fixed.integrated] / fixed.unit)


def effect_positions(
    problem: Problem, start: RemlEstimates | None, chains: int, rng: np.random.Generator, *, centered: bool
) -> dict[str, Floats]:
    """Starting values, internal scale, of integrated coefficients and random effects for the models that sample them.

    Sites ``beta`` (chains, g), and by factor in elimination order ``b{k}`` or ``z{k}`` (chains, J_k, p_k).
    """
    fixed, products = problem.fixed, problem.products
    beta = internal_coefficients(problem, start)
    g = len(beta)
    values = {"beta": beta + rng.standard_normal((chains, g)) / np.sqrt(products.n_obs)} if g else {}
    for k, grouping in enumerate(products.order):
        shape = (chains, products.A.n_levels[k], products.A.sizes[k])
        z = JITTER * rng.standard_normal(shape)
        if not centered:
            values[f"z{k}"] = z
        else:
            centre: Floats = np.zeros(shape[1:])
            if start is not None:
                centre = np.linalg.solve(problem.outward[grouping], start.modes[grouping].values.T).T
            values[f"b{k}"] = centre + z * fixed.unit / _sizes_by_grouping(problem)[grouping]
    return values
