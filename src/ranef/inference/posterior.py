"""Posterior summaries from draws, and what convergence diagnostics say in words."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ranef.arrays import Floats
from ranef.inference.effects import check_level
from ranef.inference.prediction import (
    PredictOptions,
    Rows,
    chosen_groupings,
    draw_effects,
    fitted_rows,
    linear_predictor,
    simulate_new,
    simulation_part,
)
from ranef.results import PosteriorDraws
from ranef.spec import ModelSpec, covariance_arrays, varcorr_arrays

__all__ = [
    "covariance_draws",
    "diagnose",
    "fixef_draws",
    "interval",
    "labelled_draws",
    "one_draw",
    "parameter_draws",
    "posterior_table",
    "predict_draws",
    "simulate_posterior",
    "varcorr_draws",
    "varcorr_means",
]

#: thresholds of Vehtari et al. (2021, Bayesian Analysis 16(2)): R-hat, and effective draws over all chains
RHAT_LIMIT = 1.01
ESS_LIMIT = 400


def covariance_draws(spec: ModelSpec, draws: PosteriorDraws) -> tuple[Floats, ...]:
    """Covariance matrices σ²λλᵀ by grouping, (chains, draws, p_k, p_k)."""
    return covariance_arrays(spec, draws.theta, draws.sigma)


def one_draw(arrays: Sequence[Floats], rng: np.random.Generator) -> tuple[Floats, ...]:
    """The same randomly chosen draw of several arrays (chains, draws, ...)."""
    chains, draws = arrays[0].shape[:2] if arrays else (1, 1)
    c, d = rng.integers(chains), rng.integers(draws)
    return tuple(a[c, d] for a in arrays)


def varcorr_draws(spec: ModelSpec, draws: PosteriorDraws) -> list[tuple[str, str, str | None, Floats, Floats]]:
    """Rows of ``varcorr`` as draws; a draw with a zero variance has no correlation to speak of, and 0 stands for it."""
    rows = varcorr_arrays(spec, draws.theta, draws.sigma)
    return [(g, a, b, v, s if b is None else np.nan_to_num(s)) for g, a, b, v, s in rows]


def varcorr_means(spec: ModelSpec, draws: PosteriorDraws) -> pd.DataFrame:
    """Posterior means in the layout of ``varcorr``: of each variance, and of each sd or correlation itself."""
    rows = [(g, a, b, float(v.mean()), float(s.mean())) for g, a, b, v, s in varcorr_draws(spec, draws)]
    return pd.DataFrame(rows, columns=["group", "term1", "term2", "vcov", "sdcor"]).astype({"term2": object})


def fixef_draws(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, Floats]:
    """Draws (chains, draws) of every coefficient."""
    return {name: draws.beta[..., i] for i, name in enumerate(spec.design.fixed_names)}


def parameter_draws(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, Floats]:
    """Draws of every parameter under the name that ``confint`` gives it."""
    out = fixef_draws(spec, draws)
    for group, term1, term2, _, sd in varcorr_draws(spec, draws):
        if group == "Residual":
            out["sigma"] = sd
        else:
            out[f"sd({term1} | {group})" if term2 is None else f"cor({term1}, {term2} | {group})"] = sd
    return out


def labelled_draws(spec: ModelSpec, draws: PosteriorDraws) -> list[tuple[str, str, Floats]]:
    """Group, name and draws of what a summary shows; coefficients have an empty group."""
    out: list[tuple[str, str, Floats]] = []
    for group, term1, term2, _, sd in varcorr_draws(spec, draws):
        name = "sigma" if group == "Residual" else f"sd({term1})" if term2 is None else f"cor({term1}, {term2})"
        out.append((group, name, sd))
    return out + [("", name, x) for name, x in fixef_draws(spec, draws).items()]


def predict_draws(
    spec: ModelSpec,
    draws: PosteriorDraws,
    rows: Rows,
    groupings: Sequence[int],
    options: PredictOptions,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats]:
    """Posterior mean and interval (m,) of the linear predictor, or of a new response for ``interval="prediction"``.

    Effects of unseen levels are drawn from N(0, Σ) of the same draw for prediction intervals and for
    ``new_levels="sample"``; the estimate is the population value.
    """
    S = draws.sigma.size
    beta = draws.beta.reshape(S, spec.n_fixed)
    effects = [b.reshape(S, *b.shape[2:]) for b in draws.b]
    covs = [c.reshape(S, *c.shape[2:]) for c in covariance_draws(spec, draws)]
    means = [e.mean(axis=0) for e in effects]
    estimate = linear_predictor(rows, beta.mean(axis=0), means, groupings)
    spread = options.new_levels == "sample" or options.interval == "prediction"
    values = np.empty((S, rows.X.shape[0]))
    for s in range(S):
        b = [e[s] for e in effects]
        if spread:
            new = [draw_effects(c[s], len(u), rng) for c, u in zip(covs, rows.unseen, strict=True)]
            b = [np.vstack([known, drawn]) for known, drawn in zip(b, new, strict=True)]
        values[s] = linear_predictor(rows, beta[s], b, groupings)
    if options.interval == "prediction":
        noise = rng.standard_normal(values.shape) * draws.sigma.reshape(S, 1)
        values += noise / (1.0 if rows.weights is None else np.sqrt(rows.weights))
    lower, upper = np.quantile(values, [(1 - options.level) / 2, (1 + options.level) / 2], axis=0)
    return estimate, lower, upper


def simulate_posterior(
    spec: ModelSpec, draws: PosteriorDraws, n: int, re: str, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Responses (n_obs, n), each from a randomly chosen draw of the posterior."""
    chosen = chosen_groupings(spec, simulation_part(re))
    rows, S = fitted_rows(spec), draws.sigma.size
    beta, sigma = draws.beta.reshape(S, spec.n_fixed), draws.sigma.ravel()
    effects = [b.reshape(S, *b.shape[2:]) for b in draws.b]
    covs = [c.reshape(S, *c.shape[2:]) for c in covariance_draws(spec, draws)]
    out = np.empty((spec.n_obs, n))
    for i, s in enumerate(rng.integers(0, S, n)):
        mean = linear_predictor(rows, beta[s], [e[s] for e in effects], chosen)
        out[:, i] = simulate_new(spec, mean, [c[s] for c in covs], sigma[s], rng, new_effects=re == "new")
    return out


def interval(values: Floats, level: float, method: str = "eti") -> tuple[Floats, Floats]:
    """Equal-tailed or highest-density interval over the first two axes (chain, draw)."""
    check_level(level)
    flat = values.reshape(-1, *values.shape[2:])
    if method == "eti":
        lower, upper = np.quantile(flat, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return lower, upper
    ordered = np.sort(flat, axis=0)
    n = ordered.shape[0]
    width = min(n - 1, int(np.ceil(level * n)))
    spans = ordered[width:] - ordered[: n - width]
    first = spans.argmin(axis=0)[None]
    return (
        np.take_along_axis(ordered, first, axis=0)[0],
        np.take_along_axis(ordered, first + width, axis=0)[0],
    )


def posterior_table(named: Sequence[tuple[str, str, Floats]], level: float = 0.95) -> pd.DataFrame:
    """``group, name, estimate, sd, lower, upper, rhat, ess_bulk, ess_tail`` for draws (chains, draws)."""
    array_stats = import_module("arviz_stats.base").array_stats  # heavy, and only Bayes needs it

    rows = []
    for group, name, x in named:
        lower, upper = interval(x, level)
        constant = bool((np.ptp(x, axis=1) == 0).any()) or x.shape[1] < 4
        diagnostics = [np.nan] * 3
        if not constant:
            diagnostics = [
                float(array_stats.rhat(x, chain_axis=0, draw_axis=1)),
                float(array_stats.ess(x, chain_axis=0, draw_axis=1, method="bulk")),
                float(array_stats.ess(x, chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95))),
            ]
        rows.append((group, name, float(x.mean()), float(x.std(ddof=1)), float(lower), float(upper), *diagnostics))
    columns = ["group", "name", "estimate", "sd", "lower", "upper", "rhat", "ess_bulk", "ess_tail"]
    return pd.DataFrame(rows, columns=columns)


def diagnose(draws: PosteriorDraws, table: pd.DataFrame) -> list[str]:
    """Sentences on what is wrong with a run; empty when nothing is."""
    words = []
    names = table["name"] + np.where(table["group"] == "", "", " | " + table["group"])
    if draws.sigma.shape[1] < 4:
        words.append(
            f"{draws.sigma.shape[1]} draws a chain are too few for R-hat and effective sample sizes, and for anything "
            "else but a trial run."
        )
    high = table["rhat"] > RHAT_LIMIT
    if high.any():
        words.append(
            f"R-hat is above {RHAT_LIMIT} for {_some(names[high])} (worst {table['rhat'].max():.3f}): the chains have "
            "not mixed. Sample longer (warmup=2000, draws=2000) or look at the trace."
        )
    for column, kind in (("ess_bulk", "means"), ("ess_tail", "interval ends")):
        low = table[column] < min(ESS_LIMIT, draws.sigma.size / 2)
        if low.any():
            words.append(
                f"The effective sample size is small for {_some(names[low])} (least {table[column].min():.0f}): "
                f"posterior {kind} are imprecise. Use more draws."
            )
    diverging = int(np.sum(draws.sample_stats["diverging"])) if "diverging" in draws.sample_stats else 0
    if diverging:
        words.append(
            f"{diverging} of {draws.sigma.size} transitions diverged: the sampler missed part of the posterior. "
            "Raise target_accept (say 0.95), or give more informative priors."
        )
    if not draws.complete:
        words.append(f"The run was interrupted: {draws.sigma.shape[1]} draws a chain were kept.")
    return words


def _some(names: pd.Series[str]) -> str:
    shown = ", ".join(names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
