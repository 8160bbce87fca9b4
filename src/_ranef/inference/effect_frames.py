"""Tidy frames of effects, written once for both engines, and effects over their marginal standard deviations."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from statistics import NormalDist

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError, suggestion
from _ranef.inference.engines import Maximum, Sampled
from _ranef.likelihood import Likelihood, cross_products, fit_pilot, make_laplace
from _ranef.results import Fit
from _ranef.spec import Generalised, Grouping, ModelSpec, covariance_arrays, varcorr_arrays
from _ranef.support.arrays import Floats

__all__ = [
    "check_level",
    "chosen_rows",
    "coef_frame",
    "effect_scores",
    "fixef_series",
    "grouping_named",
    "normal_quantile",
    "only_group",
    "ranef_frame",
    "varcorr_frame",
    "varcorr_of",
    "vcov_frame",
    "wald_intervals",
]


def fixef_series(spec: ModelSpec, beta: Floats) -> pd.Series[float]:
    """Coefficients (p,) by name."""
    return pd.Series(beta, index=list(spec.design.fixed_names), name="estimate", dtype=float)


def vcov_frame(spec: ModelSpec, vcov: Floats) -> pd.DataFrame:
    """Covariance of the coefficients (p, p) by name."""
    names = list(spec.design.fixed_names)
    return pd.DataFrame(vcov, index=names, columns=names)


def varcorr_frame(spec: ModelSpec, theta: Floats, sigma: float) -> pd.DataFrame:
    """Variance components in lme4's layout: ``group, term1, term2, vcov, sdcor``, residual last."""
    rows = varcorr_arrays(spec, theta, np.asarray(sigma))
    return varcorr_of([(g, a, b, float(v), float(s)) for g, a, b, v, s in rows])


def varcorr_of(rows: Sequence[tuple[str, str, str | None, float, float]]) -> pd.DataFrame:
    """A frame of rows of variance components."""
    return pd.DataFrame(rows, columns=["group", "term1", "term2", "vcov", "sdcor"]).astype({"term2": object})


def grouping_named(spec: ModelSpec, group: str) -> tuple[int, Grouping]:
    """A grouping factor and its place, by name.

    Raises
    ------
    DesignError
        If the model has no such grouping factor.
    """
    names = [g.name for g in spec.groupings]
    if not isinstance(group, str):
        raise DesignError(f"A grouping factor is named by text, one of {', '.join(names) or 'none'}; got {group!r}.")
    if group not in names:
        has = f"It has: {', '.join(names)}." if names else "It has no random effects."
        raise DesignError(f"The model has no grouping factor {group!r}.{suggestion(group, names)} {has}")
    place = names.index(group)
    return place, spec.groupings[place]


def only_group(spec: ModelSpec, group: str | None) -> str:
    """The group asked for, or the only one there is."""
    if group is not None:
        return grouping_named(spec, group)[1].name
    names = [g.name for g in spec.groupings]
    if not names:
        raise DesignError("The model has no random effects, and so no levels. fixef has its coefficients.")
    if len(names) != 1:
        raise DesignError(f"Name the grouping factor: group= must be one of {', '.join(map(repr, names))}.")
    return names[0]


def ranef_frame(
    spec: ModelSpec,
    values: Sequence[Floats],
    sds: Sequence[Floats],
    bounds: Sequence[tuple[Floats, Floats]],
    group: str | None = None,
) -> pd.DataFrame:
    """Random effects as ``group, level, term, estimate, sd, lower, upper``; each array is (J_k, p_k)."""
    chosen = range(len(spec.groupings)) if group is None else [grouping_named(spec, group)[0]]
    frames = []
    for k in chosen:
        g = spec.groupings[k]
        p = len(g.columns)
        lower, upper = bounds[k]
        frames.append(
            pd.DataFrame(
                {
                    "group": g.name,
                    "level": np.repeat(g.levels, p),
                    "term": list(g.columns) * g.n_levels,
                    "estimate": values[k].ravel(),
                    "sd": sds[k].ravel(),
                    "lower": lower.ravel(),
                    "upper": upper.ravel(),
                }
            )
        )
    columns = {"group": object, "level": object, "term": object} | dict.fromkeys(
        ("estimate", "sd", "lower", "upper"), float
    )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(columns)).astype(columns)


def coef_frame(spec: ModelSpec, beta: Floats, values: Sequence[Floats], group: str) -> pd.DataFrame:
    """Fixed plus random effects of every level of a grouping factor; columns are the coefficients."""
    k, g = grouping_named(spec, group)
    out = pd.DataFrame(
        np.tile(beta, (g.n_levels, 1)), index=pd.Index(g.levels, name=group), columns=list(spec.design.fixed_names)
    )
    for i, column in enumerate(g.columns):
        out[column] = values[k][:, i] + (out.get(column, 0.0))
    return out


def normal_quantile(level: float) -> float:
    """The factor z of a central normal interval.

    Raises
    ------
    DesignError
        If `level` is not strictly between 0 and 1.
    """
    check_level(level)
    return NormalDist().inv_cdf(0.5 + level / 2.0)


def check_level(level: float) -> None:
    """Refuse a level that is no probability, or looks like a percentage."""
    if not isinstance(level, Real):
        raise DesignError(f"level={level!r} must be a number strictly between 0 and 1, as 0.95.")
    if not 0.0 < level < 1.0:
        hint = f" For {level:g} per cent write {level / 100:g}." if 1.0 < level < 100.0 else ""
        raise DesignError(f"level={level!r} must lie strictly between 0 and 1.{hint}")


def wald_intervals(estimates: pd.Series[float], std_error: Floats, df: Floats, level: float) -> pd.DataFrame:
    """Intervals ``lower, upper`` by t with degrees of freedom (p,); normal where they are infinite."""
    check_level(level)
    half = scipy.special.stdtrit(df, 0.5 + level / 2.0) * std_error
    return pd.DataFrame({"lower": estimates - half, "upper": estimates + half})


def chosen_rows(frame: pd.DataFrame, names: Sequence[str] | str) -> pd.DataFrame:
    """Some rows of a frame by their names.

    Raises
    ------
    DesignError
        For a name that is not there.
    """
    wanted = [names] if isinstance(names, str) or not np.iterable(names) else list(names)
    for name in wanted:
        if name not in frame.index:
            known = [str(own) for own in frame.index]
            raise DesignError(
                f"There is no parameter {name!r} here.{suggestion(str(name), known)} There are: {', '.join(known)}."
            )
    return frame.loc[wanted]


def effect_scores(fit: Fit, group: str) -> list[tuple[str, Floats]]:
    """Random effects of one grouping factor divided by their marginal standard deviations: term and scores (levels,).

    Var(b̂) = Var(b) − Var(b̂ − b), for b̂ is the best linear predictor: Σ less the prediction variance of each level
    (Henderson's), at θ̂ for a fit by REML or ML and at the posterior mean of (θ, σ) for a posterior. Without it levels
    of unequal size would make a mixture that looks heavy-tailed. A level without a positive variance (all of them,
    where the fit is on the boundary) has NaN.

    Raises
    ------
    DesignError
        If the model has no such factor, or the fit holds neither estimates nor draws.
    """
    spec = fit.spec
    k, g = grouping_named(spec, group)
    effects = fit.ranef(group)
    values = effects["estimate"].to_numpy().reshape(g.n_levels, len(g.columns))
    if isinstance(fit, Maximum):
        theta, sigma = fit.estimates.theta, fit.estimates.sigma
        uncertain = np.diagonal(fit.estimates.modes[k].cov_prediction, axis1=1, axis2=2)
    elif isinstance(fit, Sampled):
        theta, sigma = fit.draws.theta.mean(axis=(0, 1)), float(fit.draws.sigma.mean())
        uncertain = _prediction_variances(fit, k, theta, sigma)
    else:
        raise DesignError(f"{type(fit).__name__} holds neither estimates nor draws, so its effects have no variance.")
    variances = np.diagonal(covariance_arrays(spec, theta, np.asarray(sigma))[k])
    marginal = variances - uncertain
    scores = np.full(values.shape, np.nan)
    usable = marginal > 1e-9 * np.maximum(variances, np.finfo(float).tiny)
    scores[usable] = values[usable] / np.sqrt(marginal[usable])
    return [(column, scores[:, a]) for a, column in enumerate(g.columns)]


def _prediction_variances(fit: Sampled, k: int, theta: Floats, sigma: float) -> Floats:
    """Var(b̂ − b) (levels, p) of grouping `k` at (θ, σ), the coefficients estimated."""
    if isinstance(fit.spec.family, Generalised):
        model = make_laplace(fit.spec, fit_pilot(fit.spec, fit.spec.family))
        logs = np.log([fit.draws.extras[name].mean() for name in fit.spec.family.dispersions])
        beta = model.inward(fit.draws.beta.mean(axis=(0, 1)))
        at = model.at(model.gaussian.standard(theta), beta, logs).working
    else:
        at = Likelihood(fit.spec, cross_products(fit.spec), "REML").at(theta, sigma)
    return np.asarray(np.diagonal(at.modes[k].cov_prediction, axis1=1, axis2=2))
