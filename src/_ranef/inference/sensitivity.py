"""How much the posterior of variance components owes to their priors: power-scaling (Kallioinen et al., 2024)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from _ranef.errors import DesignError
from _ranef.inference.posterior_summary import varcorr_draws
from _ranef.inference.residual_parameters import told_draws
from _ranef.results import PosteriorDraws
from _ranef.spec import (
    Flat,
    ModelSpec,
    Normal,
    Scale,
    ShapePrior,
    TermSpec,
    corr_name,
    inward_theta,
    mean_log_sds,
    rho_log_priors,
    scale_density,
    shape_density,
)
from _ranef.structures import ShapeParameter
from _ranef.support.arrays import Floats

__all__ = ["prior_sensitivity", "sensitivity_words"]

#: powers to which prior and likelihood are raised
POWERS = 0.99, 1.01

#: sensitivities above this are worth telling (Kallioinen et al.)
NOTEWORTHY = 0.05

#: draws on which the distances are computed
MOST_DRAWS = 4000


def prior_sensitivity(spec: ModelSpec, draws: PosteriorDraws) -> pd.DataFrame:
    """Sensitivity of all sds, correlations and parameters of residuals to the priors of all, and to the likelihood.

    Returns
    -------
    DataFrame
        By parameter ``prior`` and ``likelihood``: how fast its cumulative distribution moves (Jensen–Shannon distance
        for each doubling) as the prior, or the likelihood, is raised to a power near 1. Above 0.05 the one matters;
        a prior sensitivity of the likelihood's size or more means that the posterior is mostly its prior.
        ``likelihood`` is NaN where the sampler did not integrate the coefficients out.

    Raises
    ------
    DesignError
        If the priors are flat: there is nothing to scale.

    Notes
    -----
    By importance weights, without another run: Kallioinen, Paananen, Bürkner and Vehtari (2024, Stat. Comput. 34, 57).
    """
    if draws.priors.flat:
        raise DesignError("priors='flat' has no scale that could be changed, so sensitivity to it is not defined.")
    parts = {"prior": _log_priors(spec, draws), "likelihood": _log_likelihood(spec, draws)}
    named = {_name(*row[:3]): row[4] for row in varcorr_draws(spec, draws) if np.ptp(row[4]) > 0}
    named |= _of_residuals(spec, draws)
    thin = max(1, draws.sigma.size // MOST_DRAWS)
    out = pd.DataFrame(np.nan, index=list(named), columns=list(parts))
    ordered = {name: np.argsort(x[:, ::thin], axis=None) for name, x in named.items()}
    for column, part in parts.items():
        logs = None if part is None else part[:, ::thin]
        # of few draws that differ nothing can be said
        if logs is None or not np.isfinite(logs).all() or logs.shape[1] < 4 or len(np.unique(logs)) < logs.size / 2:
            continue
        scaled = [np.exp((a - 1.0) * (logs.ravel() - logs.max())) for a in POWERS]
        for name, x in named.items():
            values, order = x[:, ::thin].ravel()[ordered[name]], ordered[name]
            moved = [
                _distance(values, w[order] / w.sum()) / abs(np.log2(a)) for w, a in zip(scaled, POWERS, strict=True)
            ]
            out.loc[name, column] = np.mean(moved)
    return out


def _distance(x: Floats, weights: Floats) -> float:
    """Between draws, ascending, and the same with weights: the larger for x and for −x.

    The square root of the cumulative Jensen–Shannon divergence over its upper bound (Nguyen and Vreeken 2015, ECML
    PKDD).
    """
    widths, p, q = np.diff(x), np.arange(1, len(x)) / len(x), np.cumsum(weights)[:-1]
    return max(_cumulative(widths, p, q), _cumulative(widths, 1.0 - p, 1.0 - q))


def _cumulative(widths: Floats, p: Floats, q: Floats) -> float:
    p, q = np.clip(p, 1e-300, None), np.clip(q, 1e-300, None)
    middle = np.log2(0.5 * (p + q))
    divergence = widths @ (p * (np.log2(p) - middle) + q * (np.log2(q) - middle))
    return float(np.sqrt(max(divergence, 0.0) / (widths @ (p + q))))


def _of_residuals(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, Floats]:
    """Draws (chains, draws) of the parameters of residual variances and correlations, by name."""
    return told_draws(spec, np.asarray(draws.extras["rho"])).named() if "rho" in draws.extras else {}


def _name(group: str, term1: str, term2: str | None) -> str:
    if group == "Residual" and not term1:
        return "sigma"
    return f"sd({term1} | {group})" if term2 is None else f"cor({term1}, {term2} | {group})"


def _log_priors(spec: ModelSpec, draws: PosteriorDraws) -> Floats:
    """Log density (chains, draws) of the priors of variance components, in the coordinates where they stand."""
    out = np.zeros(draws.sigma.shape)
    for x, prior in _scales(spec, draws):
        density = scale_density(prior, x)
        with np.errstate(divide="ignore"):
            out += 0.0 if density is None else np.log(density)
    for s, of_shape, u in _shapes(spec, draws):
        out += shape_density(of_shape, s.value(u))[0]
    for root, eta in _roots(spec, draws):
        out += 2.0 * (eta - 1.0) * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(axis=-1)
    if "rho" in draws.extras:
        out += rho_log_priors(spec, np.asarray(draws.extras["rho"]), draws.priors.rho)
    return out


def _log_likelihood(spec: ModelSpec, draws: PosteriorDraws) -> Floats | None:
    """Log p(y | θ, σ) but for a constant: the recorded density of the sampler less priors and Jacobians."""
    _, kinds = draws.priors.coordinates(spec.design.fixed_names)
    integrated = draws.priors.r2d2 is None and all(isinstance(k, Normal | Flat) for k in kinds)
    if draws.parameterization != "marginal" or not integrated or "lp" not in draws.sample_stats:
        return None
    out = np.asarray(draws.sample_stats["lp"], dtype=float) - _log_priors(spec, draws)
    for x, _ in _scales(spec, draws):
        out -= np.log(x)
    for s, _, u in _shapes(spec, draws):
        out -= s.log_slope(u)[0]
    for root, _ in _roots(spec, draws):
        # of the canonical partial correlations, which are sampled as logits: ∏ ∂R/∂z · ∏ (1 − z²)/2
        rest = np.ones(root.shape[:-1])
        for j in range(root.shape[-1] - 1):
            z = root[..., j + 1 :, j] / rest[..., j + 1 :]
            shrunk = np.log1p(-(z**2))
            out -= (0.5 * (root.shape[-1] - 2 - j) + 1.0) * shrunk.sum(axis=-1)
            rest[..., j + 1 :] = rest[..., j + 1 :] * np.exp(0.5 * shrunk)
    return out


def _scales(spec: ModelSpec, draws: PosteriorDraws) -> list[tuple[Floats, Scale]]:
    """Standard deviations (chains, draws) in the coordinates of the priors, with these; σ last unless it is known."""
    out: list[tuple[Floats, Scale]] = []
    for t, lam in _lambdas(spec, draws):
        sd = np.linalg.norm(lam, axis=-1) * draws.sigma[..., None]
        out += [(sd[..., i], prior) for i, prior in enumerate(draws.priors.sds(t))]
    sigma = draws.sigma
    if "rho" in draws.extras:  # the prior is that of the mean of the rows
        sigma = sigma * np.exp(mean_log_sds(spec, np.asarray(draws.extras["rho"])))
    return out + ([(sigma, draws.priors.sigma)] if spec.sigma is None else [])


def _shapes(spec: ModelSpec, draws: PosteriorDraws) -> list[tuple[ShapeParameter, ShapePrior, Floats]]:
    """Shape parameters of the structures with their priors and coordinates (chains, draws)."""
    out: list[tuple[ShapeParameter, ShapePrior, Floats]] = []
    for t in spec.terms:
        u = np.moveaxis(draws.theta[..., t.theta], -1, 0)[t.structure.n_theta - len(t.structure.shapes) :]
        out += zip(t.structure.shapes, draws.priors.shapes(t), u, strict=True)
    return out


def _roots(spec: ModelSpec, draws: PosteriorDraws) -> list[tuple[Floats, float]]:
    """Cholesky factors (chains, draws, p, p) of correlation matrices in those coordinates, with η of their LKJ."""
    return [
        (lam / np.linalg.norm(lam, axis=-1)[..., None], draws.priors.corr[name].eta)
        for t, lam in _lambdas(spec, draws)
        if (name := corr_name(t)) in draws.priors.corr
    ]


def _lambdas(spec: ModelSpec, draws: PosteriorDraws) -> list[tuple[TermSpec, Floats]]:
    theta = inward_theta(spec, draws.priors.columns, draws.theta)
    return [(t, t.structure.root(theta[..., t.theta])) for t in spec.terms]


def sensitivity_words(spec: ModelSpec, draws: PosteriorDraws) -> list[str]:
    """A sentence for what owes much to its prior, of sds of effects and of parameters of residuals; none if flat."""
    if draws.priors.flat:
        return []
    table = prior_sensitivity(spec, draws)
    table = table[table["prior"] > NOTEWORTHY]
    out = []
    for g in spec.groupings:
        own = table[table.index.str.startswith("sd(") & table.index.str.endswith(f" | {g.name})")]
        remedy = f" Look how it moves under priors={{'sd[{g.name}]': ...}}."
        out += _owing(own, f"{g.n_levels} levels of {g.name}", remedy)
    rows = table[table.index.isin(_of_residuals(spec, draws).keys())]
    return [*out, *_owing(rows, f"{spec.n_obs} rows", "")]


def _owing(table: pd.DataFrame, those: str, remedy: str) -> list[str]:
    """Sentences for parameters of which `those` say little."""
    mostly = table["likelihood"] <= table["prior"]  # not known of draws whose effects are not integrated
    return [
        f"The posterior of {', '.join(rows.index)} {verb}: {those} say little of it (power-scaling sensitivity "
        f"{rows['prior'].max():.2f}{_against(rows['likelihood'])}).{remedy}"
        for rows, verb in ((table[mostly], "is mostly its prior"), (table[~mostly], "depends on its prior"))
        if len(rows)
    ]


def _against(likelihood: pd.Series[float]) -> str:
    """The sensitivity to the likelihood in words, where it is known."""
    return "" if likelihood.isna().all() else f", that to the likelihood {likelihood.min():.2f}"
