"""Posterior summaries from draws, what convergence diagnostics say in words, and variance components of the prior."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.errors import DesignError
from _ranef.inference.convergence import effective_of_bulk, effective_of_tail, rank_rhat
from _ranef.inference.effect_frames import check_level, varcorr_of
from _ranef.inference.generalised import generalised_residuals, response_draws, response_moments
from _ranef.inference.prediction import (
    Predicted,
    PredictOptions,
    RowsAsked,
    check_spread,
    chosen_groupings,
    draw_effects,
    fitted_rows,
    linear_predictor,
    residual_variance,
    simulate_new,
    simulation_part,
)
from _ranef.inference.residual_parameters import ROWS_SD, told_draws
from _ranef.likelihood import response_rows
from _ranef.nuts import draw_components
from _ranef.posterior import MOST_K
from _ranef.results import Importance, PosteriorDraws
from _ranef.spec import Flat, Generalised, ModelSpec, Priors, covariance_arrays, family_of, mean_log_sds, varcorr_arrays
from _ranef.support.argument_remedies import whole_number
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "bfmi",
    "covariance_draws",
    "diagnose",
    "fixef_draws",
    "interval",
    "labelled_draws",
    "one_draw",
    "parameter_draws",
    "posterior_sigma",
    "posterior_table",
    "predict_draws",
    "predict_mean_draws",
    "predictive_draws",
    "prior_component_draws",
    "saturated_trees",
    "simulate_posterior",
    "varcorr_draws",
    "varcorr_means",
]

#: enough for a density without visible noise
PRIOR_DRAWS = 40_000

#: draws that vary by this part of their mean are constant but for rounding
CONSTANT = 1e-12

#: thresholds of Vehtari et al. (2021, Bayesian Analysis 16(2)): R-hat, and effective draws over all chains
RHAT_LIMIT = 1.01
ESS_LIMIT = 400

#: energy fraction below which the chains move too slowly between levels of energy (Betancourt 2016, arXiv:1604.00695)
BFMI_LIMIT = 0.3

#: doublings after which NUTS gives a trajectory up
MAX_TREE_DEPTH = 10

#: replicated responses held at once
MAX_REPLICATED = 20_000_000


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
    if spec.sigma_afar:
        sigma = posterior_sigma(spec, draws)
        rows = [row if row[1] else (*row[:3], sigma**2, sigma) for row in rows]
    return varcorr_of(rows)


def posterior_sigma(spec: ModelSpec, draws: PosteriorDraws) -> float:
    """Posterior mean of σ.

    Where it is the standard deviation far from all rows its mean is that of a tail: then the σ with which rows have
    their mean standard deviations at the mean of ρ.
    """
    if not spec.sigma_afar or spec.rho is None:
        return float(draws.sigma.mean())
    own = draws.sigma * np.exp(mean_log_sds(spec, np.asarray(draws.extras["rho"])))
    return float(own.mean() / np.exp(mean_log_sds(spec, spec.rho)))


def fixef_draws(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, Floats]:
    """Draws (chains, draws) of every coefficient."""
    return {name: draws.beta[..., i] for i, name in enumerate(spec.design.fixed_names)}


def parameter_draws(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, Floats]:
    """Draws of every parameter under the name that ``confint`` gives it."""
    out = fixef_draws(spec, draws)
    for group, term1, term2, _, sd in varcorr_draws(spec, draws):
        if group == "Residual" and not term1:
            out["sigma"] = sd
        else:
            out[f"sd({term1} | {group})" if term2 is None else f"cor({term1}, {term2} | {group})"] = sd
    return out | residual_draws(spec, draws) | _extra_draws(draws) | response_draws(spec, draws)


def _extra_draws(draws: PosteriorDraws) -> dict[str, Floats]:
    """Draws (chains, draws) of each entry of the other parameters: ``nu``, or ``nu[0]``, ``nu[1]`` for an array."""
    out: dict[str, Floats] = {}
    for name, values in draws.extras.items():
        if name == "rho":
            continue  # what users read of it is in residual_parameters
        x = np.asarray(values, dtype=float)
        entries = list(np.ndindex(*x.shape[2:]))
        out |= {f"{name}[{', '.join(map(str, at))}]" if at else name: x[(..., *at)] for at in entries}
    return out


def residual_draws(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, Floats]:
    """Draws (chains, draws) of the parameters of residual variances and correlations, by the names of tables."""
    if "rho" not in draws.extras:
        return {}
    rho = np.asarray(draws.extras["rho"])
    rows = {ROWS_SD: draws.sigma * np.exp(mean_log_sds(spec, rho))} if spec.sigma_afar else {}
    return told_draws(spec, rho).named() | rows


def labelled_draws(spec: ModelSpec, draws: PosteriorDraws) -> list[tuple[str, str, Floats]]:
    """Group, name and draws of what a summary shows; coefficients have an empty group."""
    out: list[tuple[str, str, Floats]] = []
    for group, term1, term2, _, sd in varcorr_draws(spec, draws):
        name = "sigma" if not term1 else f"sd({term1})" if term2 is None else f"cor({term1}, {term2})"
        out.append((group, name, sd))
    out += [("Residual", name, x) for name, x in _extra_draws(draws).items()]
    out += [("Residual", name, x) for name, x in residual_draws(spec, draws).items()]
    return out + [("", name, x) for name, x in fixef_draws(spec, draws).items()]


def predict_draws(spec: ModelSpec, draws: PosteriorDraws, asked: RowsAsked, rng: np.random.Generator) -> Predicted:
    """Posterior mean, sd and interval (m,) of the linear predictor, or of a new response for ``interval="prediction"``.

    Effects of unseen levels are drawn from N(0, Σ) (or Student t) of the same draw for prediction intervals and for
    ``new_levels="sample"``; the estimate is the population value.
    """
    S, (rows, options) = draws.sigma.size, (asked.rows, asked.options)
    estimate, values = predictor_draws(spec, draws, asked, rng)
    if options.interval == "prediction":
        family = family_of(draws.family)
        own = {name: x.reshape(S, 1) for name, x in family.own(draws.extras).items()}
        noise = family.noise(rng, values.shape, own) * draws.sigma.reshape(S, 1)
        rho = draws.extras.get("rho")
        if rho is None or rows.variance is None:
            values += noise / (1.0 if rows.weights is None else np.sqrt(rows.weights))
        else:
            flat = np.asarray(rho).reshape(S, -1)
            check_spread(spec, rows, flat.mean(axis=0), estimate)
            values += noise * np.sqrt([residual_variance(rows, 1.0, flat[s], values[s]) for s in range(S)])
    return Predicted(estimate, values.std(axis=0, ddof=1), *_ends(values, options.level))


def _ends(values: Floats, level: float) -> Floats:
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)


def predictor_draws(
    spec: ModelSpec, draws: PosteriorDraws, asked: RowsAsked, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """The linear predictor (m,) at posterior means, and draws (S, m) of it, with effects of unseen levels if asked."""
    S, (rows, groupings, options) = draws.sigma.size, (asked.rows, asked.groupings, asked.options)
    beta = draws.beta.reshape(S, spec.n_fixed)
    effects = [b.reshape(S, *b.shape[2:]) for b in draws.b]
    units = [g.unit for g in spec.groupings]
    covs = [u * c.reshape(S, *c.shape[2:]) for u, c in zip(units, covariance_draws(spec, draws), strict=True)]
    means = [e.mean(axis=0) for e in effects]
    estimate = linear_predictor(rows, beta.mean(axis=0), means, groupings)
    spread = options.new_effects
    values = np.empty((S, rows.X.shape[0]))
    for s in range(S):
        b = [e[s] for e in effects]
        if spread:
            dfs = _effects_df(spec, draws, s)
            new = [draw_effects(c[s], len(u), rng, df) for c, u, df in zip(covs, rows.unseen, dfs, strict=True)]
            b = [np.vstack([known, drawn]) for known, drawn in zip(b, new, strict=True)]
        values[s] = linear_predictor(rows, beta[s], b, groupings)
    return estimate, values


def predict_mean_draws(
    spec: ModelSpec, draws: PosteriorDraws, asked: RowsAsked, scale: str, rng: np.random.Generator
) -> Predicted:
    """Posterior mean, sd and interval (m,) of the mean of a generalised response, or of its link.

    Of a new response it is that of a draw of it at each draw.
    """
    family = draws.response
    assert isinstance(family, Generalised)
    _, values = predictor_draws(spec, draws, asked, rng)
    if asked.options.new_response:
        weights = np.ones(values.shape[1]) if asked.rows.weights is None else asked.rows.weights
        middle, *ends = response_moments(family, values, dispersion_draws(draws), weights, asked.options.level, rng)
        return Predicted(middle if family.classes else family.mean(values).mean(axis=0), *ends)
    own = {name: x.reshape(-1, 1) for name, x in family.own(draws.extras).items()}
    values = family.predicted(values, own) if scale == "response" else values
    return Predicted(values.mean(axis=0), values.std(axis=0, ddof=1), *_ends(values, asked.options.level))


def dispersion_draws(draws: PosteriorDraws) -> list[dict[str, float]]:
    """Dispersions by name, of every draw of all chains."""
    own = {name: np.ravel(x) for name, x in draws.response.own(draws.extras).items()}
    return [{name: float(x[s]) for name, x in own.items()} for s in range(draws.sigma.size)]


def posterior_residuals(spec: ModelSpec, draws: PosteriorDraws, kind: str, re: str | Sequence[str]) -> Floats:
    """Posterior means (n,) of the residuals of a generalised response, each draw's at its own parameters."""
    family, rows = draws.response, response_rows(spec)
    assert isinstance(family, Generalised)
    asked = RowsAsked(fitted_rows(spec), chosen_groupings(spec, re), PredictOptions(re, "population", None, 0.95))
    _, etas = predictor_draws(spec, draws, asked, np.random.default_rng(0))
    found = (
        generalised_residuals(family, own, rows, eta, kind)
        for own, eta in zip(dispersion_draws(draws), etas, strict=True)
    )
    return np.asarray(sum(found) / len(etas))


def simulate_posterior(
    spec: ModelSpec,
    draws: PosteriorDraws,
    n: int,
    re: str,
    rng: np.random.Generator,
    chosen_draws: Ints | None = None,
) -> NDArray[np.float64]:
    """Responses (n_obs, n), each from a randomly chosen draw of the posterior, or from those given."""
    chosen = chosen_groupings(spec, simulation_part(re))
    rows, S = fitted_rows(spec), draws.sigma.size
    beta, sigma = draws.beta.reshape(S, spec.n_fixed), draws.sigma.ravel()
    effects = [b.reshape(S, *b.shape[2:]) for b in draws.b]
    covs = [c.reshape(S, *c.shape[2:]) for c in covariance_draws(spec, draws)]
    spec = spec.with_family(draws.response)
    owns = dispersion_draws(draws)
    which = rng.integers(0, S, n) if chosen_draws is None else chosen_draws
    out = np.empty((spec.n_obs, len(which)))
    for i, s in enumerate(which):
        mean = linear_predictor(rows, beta[s], [e[s] for e in effects], chosen)
        if "rho" in draws.extras:
            spec = spec.with_rho(np.asarray(draws.extras["rho"]).reshape(S, -1)[s])
        dfs = _effects_df(spec, draws, s)
        new = re == "new"
        out[:, i] = simulate_new(
            spec, mean, [c[s] for c in covs], sigma[s], rng, new_effects=new, own=owns[s], effects_df=dfs
        )
    return out


def predictive_draws(
    spec: ModelSpec, draws: PosteriorDraws, per_chain: int | None, re: str, rng: np.random.Generator
) -> tuple[Floats, Ints]:
    """Replicated responses (chains, m, n_obs), and the m draws of each chain, evenly spaced, that they stand for.

    Raises
    ------
    DesignError
        If `per_chain` is not a number of draws, or all would hold more than 2e7 numbers.
    """
    chains, length = draws.sigma.shape
    m = length if per_chain is None else whole_number("draws", per_chain, 1)
    if m > length:
        raise DesignError(f"draws={per_chain!r} must be between 1 and {length}, the draws of each chain.")
    if chains * m * spec.n_obs > MAX_REPLICATED:
        raise DesignError(
            f"{chains} chains of {m} draws of {spec.n_obs} rows are {chains * m * spec.n_obs:.2g} numbers, too many to "
            f"hold. Ask for fewer draws of each chain: draws={max(1, MAX_REPLICATED // (chains * spec.n_obs))} or less."
        )
    kept = np.linspace(0, length - 1, m).round().astype(np.intp)
    flat = (np.arange(chains)[:, None] * length + kept).ravel()
    out = simulate_posterior(spec, draws, len(flat), re, rng, chosen_draws=flat)
    return np.ascontiguousarray(out.T).reshape(chains, m, spec.n_obs), kept


def _effects_df(spec: ModelSpec, draws: PosteriorDraws, s: int) -> list[float | None]:
    """Degrees of freedom of the random effects by grouping in draw `s` of all; None for normal ones."""
    found = (draws.extras.get(f"nu_{g.name}") for g in spec.groupings)
    return [None if nu is None else float(nu.ravel()[s]) for nu in found]


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


def posterior_table(
    named: Sequence[tuple[str, str, Floats]], level: float = 0.95, *, effective: float | None = None
) -> pd.DataFrame:
    """``group, name, estimate, sd, lower, upper, rhat, ess_bulk, ess_tail`` for draws (chains, draws).

    Of independent draws `effective` is their effective number, and R-hat is NaN.
    """
    rows = []
    for group, name, x in named:
        lower, upper = interval(x, level)
        diagnostics = _of_chains(x) if effective is None else [np.nan, effective, effective]
        rows.append((group, name, float(x.mean()), float(x.std(ddof=1)), float(lower), float(upper), *diagnostics))
    columns = ["group", "name", "estimate", "sd", "lower", "upper", "rhat", "ess_bulk", "ess_tail"]
    return pd.DataFrame(rows, columns=columns)


def _of_chains(x: Floats) -> list[float]:
    """R-hat and effective sample sizes of bulk and tail of draws (chains, draws); NaN of a chain that never moved."""
    if (np.ptp(x, axis=1) == 0).any() or x.shape[1] < 4:
        return [np.nan] * 3
    return [rank_rhat(x), effective_of_bulk(x), effective_of_tail(x)]


def diagnose(draws: PosteriorDraws, table: pd.DataFrame) -> list[str]:
    """Sentences on what is wrong with a run; empty when nothing is."""
    if draws.importance is not None and not draws.chained:
        return _diagnose_weights(draws.importance)
    names = table["name"] + np.where(table["group"] == "", "", " | " + table["group"])
    words = [*_undefined(draws, table, names), *_unmixed(table, names), *draws.doubts]
    if draws.importance is not None and not draws.importance.pareto_k <= MOST_K:
        words.append(
            f"Laplace's approximation is poor here: Pareto k̂ of the weights of the exact density is "
            f"{draws.importance.pareto_k:.2f}, above {MOST_K}, as with zeros and ones and few rows in a level. Sample "
            "with parameterization='noncentered', which does not use it."
        )
    words += [*_stuck(draws), *_badly_moved(draws)]
    if not draws.complete:
        words.append(f"The run was interrupted: {draws.sigma.shape[1]} draws a chain were kept.")
    return words


def _undefined(draws: PosteriorDraws, table: pd.DataFrame, names: pd.Series[str]) -> list[str]:
    """Why there is no R-hat."""
    chains, each = draws.sigma.shape
    if each < 4:
        return [
            f"{each} draws a chain are too few for R-hat and effective sample sizes, and for anything else but a trial "
            "run."
        ]
    if chains == 1:
        return ["One chain alone cannot show whether it found the whole posterior (R-hat). Run four."]
    undefined = names[table["rhat"].isna() & (table["sd"] > CONSTANT * table["estimate"].abs())]
    if not undefined.size:
        return []
    return [
        f"R-hat and effective sample sizes are not defined for {_some(undefined)}: a chain never moved. Warm up longer."
    ]


def _unmixed(table: pd.DataFrame, names: pd.Series[str]) -> list[str]:
    """What chains disagree on, or hardly explored."""
    words = []
    high = table["rhat"] > RHAT_LIMIT
    if high.any():
        words.append(
            f"R-hat is above {RHAT_LIMIT} for {_some(names[high])} (worst {table['rhat'].max():.3f}): the chains have "
            "not mixed. Warm up and sample longer, or look at the trace."
        )
    for column, kind in (("ess_bulk", "means"), ("ess_tail", "interval ends")):
        low = table[column] < ESS_LIMIT
        if low.any():
            words.append(
                f"The effective sample size is small for {_some(names[low])} (least {table[column].min():.0f}): "
                f"posterior {kind} are imprecise. Use more draws."
            )
    return words


def _badly_moved(draws: PosteriorDraws) -> list[str]:
    """Transitions that diverged, moved slowly in energy or were cut short."""
    words = []
    diverging = int(np.sum(draws.sample_stats["diverging"])) if "diverging" in draws.sample_stats else 0
    if diverging:
        words.append(
            f"{diverging} of {draws.sigma.size} transitions diverged: the sampler missed part of the posterior. "
            "Raise target_accept (say 0.95), or give more informative priors."
        )
    slow = np.flatnonzero(bfmi(draws) < BFMI_LIMIT)
    if slow.size:
        words.append(
            f"E-BFMI is below {BFMI_LIMIT} in chain{'s' if slow.size > 1 else ''} {', '.join(map(str, slow))} (least "
            f"{np.nanmin(bfmi(draws)):.2f}): the chains move slowly in energy, and the tails may be missed. Look for "
            "a variance near zero or a heavy-tailed prior; another parameterization or a narrower prior helps."
        )
    saturated = saturated_trees(draws)
    if saturated:
        words.append(
            f"{saturated} of {draws.sigma.size} trajectories reached the greatest tree depth, {MAX_TREE_DEPTH}: they "
            "were cut short, so the draws are valid but costly and slow to mix. Rescale covariates that are far from "
            "unit size, warm up longer, or give narrower priors to parameters that the data hardly determine."
        )
    return words


def _diagnose_weights(found: Importance) -> list[str]:
    if found.effective >= ESS_LIMIT:
        return []
    return [
        f"The independent draws are worth {found.effective:.0f}: posterior means and interval ends are imprecise. Use "
        "more draws."
    ]


def bfmi(draws: PosteriorDraws) -> Floats:
    """Estimated fraction of missing information of the energy (chains,): mean squared step over variance.

    NaN where no energy is recorded, or it is constant because nothing was left to sample.
    """
    energy = np.asarray(draws.sample_stats.get("energy", np.empty((draws.sigma.shape[0], 0))), dtype=float)
    if energy.shape[1] < 4:
        return np.full(energy.shape[0], np.nan)
    variance = energy.var(axis=1, ddof=1)
    steps = (np.diff(energy, axis=1) ** 2).mean(axis=1)
    return np.asarray(np.where(variance > 0, steps / np.where(variance > 0, variance, 1.0), np.nan))


def saturated_trees(draws: PosteriorDraws) -> int:
    """How many trajectories were cut short at the greatest tree depth."""
    if "n_steps" in draws.sample_stats:
        return int(np.sum(np.asarray(draws.sample_stats["n_steps"]) >= 2**MAX_TREE_DEPTH - 1))
    return int(np.sum(np.asarray(draws.sample_stats.get("tree_depth", 0)) >= MAX_TREE_DEPTH))


def _stuck(draws: PosteriorDraws) -> list[str]:
    """Chains in which the variance parameters never moved, where others did: R-hat is not defined there."""
    values = np.concatenate([draws.theta, draws.sigma[..., None]], axis=2)
    moving = np.ptp(values, axis=(0, 1)) > 0
    still = np.flatnonzero((np.ptp(values[..., moving], axis=1) == 0).any(axis=1))
    if not still.size or draws.sigma.shape[1] < 2:
        return []
    return [
        f"Chain{'s' if still.size > 1 else ''} {', '.join(map(str, still))} never moved: the sampler is stuck. Sample "
        "with another seed or a longer warm-up."
    ]


def _some(names: pd.Series[str]) -> str:
    shown = ", ".join(names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def prior_component_draws(spec: ModelSpec, priors: Priors, place: int) -> Floats | None:
    """Draws (n,) of the standard deviation or correlation in row `place` of ``varcorr``; None of improper priors.

    They are the same at every call. Correlations with an effect that has no variance are left out.
    """
    if any(isinstance(p, Flat) for p in [*priors.sd.values(), priors.sigma]):
        return None
    theta, sigma = draw_components(spec, priors, np.random.default_rng(0), (PRIOR_DRAWS,))
    values = np.asarray(varcorr_arrays(spec, theta, sigma)[place][4])
    return np.asarray(values[np.isfinite(values)])
