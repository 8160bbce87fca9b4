"""No pooling, partial pooling, complete pooling and the posterior mean of every random effect, in tidy frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd

from _ranef.comparison.effects_at_theta import EffectsAt, effects_at, moved
from _ranef.comparison.paths_of_one_sd import (
    PoolingSweep,
    checked_number,
    checked_ratios,
    half_way,
    sweep,
)
from _ranef.comparison.reliability import (
    OwnData,
    own_data,
    own_estimates,
    reliabilities,
    reliability_summary,
)
from _ranef.comparison.scaled_covariance import (
    CovarianceSweep,
    Scaled,
    covariance_sweep,
    scaled_covariance,
    scaled_effects,
    scaled_theta,
)
from _ranef.design import rows_elsewhere
from _ranef.errors import DesignError, NotAvailableError, suggestion
from _ranef.inference import grouping_named, only_group
from _ranef.likelihood import Likelihood, over_rho
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec, covariance_arrays
from _ranef.support.arrays import Floats, Ints
from _ranef.support.progress import LateBar

__all__ = [
    "PoolingBase",
    "checked_theta",
    "chosen_columns",
    "coefficient_frame",
    "effects_frame",
    "one_column",
    "own_frame",
    "own_variance_draws",
    "pooling_base",
    "pooling_frame",
    "pooling_sweep",
    "ratio_draws",
    "ratio_frame",
    "relative_sds",
    "scaled_at",
    "scales_of",
    "whole_sweep",
]

KEYS = ["group", "level", "term"]

#: draws at which rows that have parameters of their own are looked at
MOST_DRAWS = 1000


@dataclass(frozen=True, eq=False, repr=False)
class PoolingBase:
    """What every question about pooling in one model stands on.

    Attributes
    ----------
    likelihood : Likelihood
    theta : array (n_theta,)
        θ̂.
    at : EffectsAt
        β̂ and b̂ at θ̂.
    own : tuple of OwnData
        By grouping of the spec.
    rows : tuple of array (J_k,)
        Number of rows of each level; NaN where sums do not tell it, of rows that are elsewhere.
    """

    likelihood: Likelihood
    theta: Floats
    at: EffectsAt
    own: tuple[OwnData, ...]
    rows: tuple[Floats | Ints, ...]

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return self.likelihood.spec

    @cached_property
    def information(self) -> tuple[Floats, ...]:
        """What each level's rows say of its effects at θ̂ (see :attr:`_ranef.likelihood.At.information`)."""
        return self.likelihood.at(self.theta).information

    @cached_property
    def covariances(self) -> tuple[Scaled, ...]:
        """The path of every grouping's covariance through θ̂."""
        return _covariances(self, self.theta)


def pooling_base(likelihood: Likelihood, theta: Floats) -> PoolingBase:
    """Evaluate the model at θ̂ (n_theta,), and count rows.

    Raises
    ------
    DesignError
        If the model has no random effects.
    """
    spec = likelihood.spec
    if not spec.terms:
        raise DesignError(
            f"{spec.design.formula!r} has no random effects, so there is nothing to pool; add a (… | group)."
        )
    if spec.related:
        raise NotAvailableError(
            "Pooling by level is of independent levels, and this model has a known covariance among some (cov=): what "
            "a level's effect is pooled to depends on its relatives. fit.ranef() has the effects with their "
            "conditional sds, and ranef.compare() those of several fits."
        )
    at, own = effects_at(likelihood, spec.lambdas(theta)), own_data(likelihood)
    return PoolingBase(likelihood, theta, at, own, _rows_of_levels(spec, own))


def _rows_of_levels(spec: ModelSpec, own: Sequence[OwnData]) -> tuple[Floats | Ints, ...]:
    """How many rows each level has, by grouping; as far as sums tell, the rows of which are elsewhere."""
    if not rows_elsewhere(spec.design):
        rows = [np.zeros(g.n_levels, dtype=np.intp) for g in spec.groupings]
        for part in spec.parts():
            for count, g in zip(rows, part.groupings, strict=True):
                count += np.bincount(g.codes, minlength=len(count))
        return tuple(rows)
    weighted = spec.design.stream is None or spec.design.stream.weights is not None
    return tuple(
        np.full(g.n_levels, np.nan)
        if weighted or "Intercept" not in g.columns
        else o.information[:, g.columns.index("Intercept")].round().astype(np.intp)
        for g, o in zip(spec.groupings, own, strict=True)
    )


def relative_sds(spec: ModelSpec, theta: Floats) -> tuple[Floats, ...]:
    """Standard deviations over σ (..., p_k) of the effects of every grouping at `theta` (..., n_theta)."""
    covariances = covariance_arrays(spec, theta, np.ones(theta.shape[:-1]))
    return tuple(np.sqrt(np.diagonal(c, axis1=-2, axis2=-1)) for c in covariances)


def ratio_draws(spec: ModelSpec, draws: PosteriorDraws) -> tuple[Floats, ...]:
    """Posterior draws of the standard deviations over σ, (chains · draws, p_k) by grouping."""
    return tuple(r.reshape(-1, r.shape[-1]) for r in relative_sds(spec, draws.theta))


class OfModel(Protocol):
    """What has a model and its θ̂."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        ...

    @property
    def theta(self) -> Floats:
        """θ̂ (n_theta,)."""
        ...


def effects_frame(
    base: OfModel, columns: Mapping[str, Sequence[Floats | Ints]], group: str | None = None
) -> pd.DataFrame:
    """``group, level, term`` and further columns, each given as (J_k, p_k) by grouping."""
    frames = []
    for k, g in enumerate(base.spec.groupings):
        if group in (None, g.name):
            keys = {"group": g.name, "level": np.repeat(g.levels, len(g.columns)), "term": list(g.columns) * g.n_levels}
            frames.append(pd.DataFrame(keys | {name: np.ravel(values[k]) for name, values in columns.items()}))
    return pd.concat(frames, ignore_index=True)


def own_frame(base: PoolingBase, at: EffectsAt, ratios: Sequence[Floats], group: str | None = None) -> pd.DataFrame:
    """``group, level, term, n, no_pooling, partial, complete, reliability`` for effects `at` any θ.

    `ratios` (p_k,) by grouping are the standard deviations over σ there.
    """
    own = base.own
    counts: list[Any] = [np.repeat(rows, o.variances.shape[1]) for rows, o in zip(base.rows, own, strict=True)]
    columns: dict[str, Sequence[Floats | Ints]] = {
        "n": counts,
        "no_pooling": [own_estimates(o, right) for o, right in zip(own, at.right, strict=True)],
        "partial": at.b,
        "complete": [np.zeros_like(b) for b in at.b],
        "reliability": [reliabilities(o.variances, r) for o, r in zip(own, ratios, strict=True)],
    }
    return effects_frame(base, columns, group)


def pooling_frame(base: PoolingBase, draws: PosteriorDraws | None, level: float) -> pd.DataFrame:
    """All estimates of every random effect as a deviation from the fixed effects, and its reliability.

    Returns
    -------
    DataFrame
        ``group, level, term, n, no_pooling, partial, complete, posterior, reliability, reliability_mean,
        reliability_lower, reliability_upper``; those of a posterior are NaN without one, and its reliabilities also
        where the model is not normal.
    """
    out = own_frame(base, base.at, relative_sds(base.spec, base.theta))
    means = [np.full(b.shape, np.nan) for b in base.at.b] if draws is None else [b.mean(axis=(0, 1)) for b in draws.b]
    out.insert(list(out.columns).index("reliability"), "posterior", np.concatenate([m.ravel() for m in means]))
    names = ["reliability_mean", "reliability_lower", "reliability_upper"]
    if draws is None or draws.not_normal:
        return out.assign(**dict.fromkeys(names, np.nan))
    ratios = ratio_draws(base.spec, draws)
    if "rho" in draws.extras:
        some = np.linspace(0, draws.sigma.size - 1, min(MOST_DRAWS, draws.sigma.size)).round().astype(np.intp)
        own = own_variance_draws(base.spec, draws, some)
        summaries = [_summary(reliabilities(v, r[some, None]), level) for v, r in zip(own, ratios, strict=True)]
    else:
        summaries = [reliability_summary(o, r, level) for o, r in zip(base.own, ratios, strict=True)]
    return out.assign(**{n: np.concatenate([s[i].ravel() for s in summaries]) for i, n in enumerate(names)})


def _summary(drawn: Floats, level: float) -> Floats:
    """Mean and ends of the equal-tailed interval (3, J, p) of draws (S, J, p)."""
    ends = np.quantile(drawn, [0.5 - level / 2.0, 0.5 + level / 2.0], axis=0)
    return np.asarray([drawn.mean(axis=0), *ends])


def own_variance_draws(spec: ModelSpec, draws: PosteriorDraws, chosen: Ints) -> tuple[Floats, ...]:
    """:attr:`OwnData.variances` (S, J, p) by grouping at the ρ of some draws (S,), for rows have sds of their own."""
    over, rho = over_rho(spec, "REML"), np.asarray(draws.extras["rho"]).reshape(draws.sigma.size, -1)
    with LateBar("Rows of each level", "draw", len(chosen)) as bar:
        found = []
        for s in chosen:
            found.append([own.variances for own in own_data(over.at(rho[s]))])
            bar.update()
    return tuple(np.array(part) for part in zip(*found, strict=True))


def coefficient_frame(base: OfModel, frame: pd.DataFrame, beta: Floats, mean_beta: Floats) -> pd.DataFrame:
    """The estimates of a pooling frame with the fixed effect of the same name added, where there is one.

    `beta` (p,) goes with all but the posterior's, `mean_beta` (p,) with that.
    """
    out = frame[[c for c in (*KEYS, "n", "no_pooling", "partial", "complete", "posterior") if c in frame]].copy()
    names = base.spec.design.fixed_names
    for column in out.columns[len(KEYS) + 1 :]:
        values = mean_beta if column == "posterior" else beta
        fixed = out["term"].map(dict(zip(names, values, strict=True)))
        out[column] = out[column] + fixed.astype(float).fillna(0.0)
    return out


def ratio_frame(base: OfModel, draws: PosteriorDraws | None, level: float) -> pd.DataFrame:
    """``group, term, estimate, mean, lower, upper`` of each standard deviation over σ; NaN without a posterior."""
    estimates = relative_sds(base.spec, base.theta)
    rows: list[tuple[str, str, float, float, float, float]] = []
    drawn = None if draws is None else ratio_draws(base.spec, draws)
    for k, g in enumerate(base.spec.groupings):
        for q, term in enumerate(g.columns):
            mean, lower, upper = np.nan, np.nan, np.nan
            if drawn is not None:
                x = drawn[k][:, q]
                mean, (lower, upper) = float(x.mean()), np.quantile(x, [0.5 - level / 2, 0.5 + level / 2]).tolist()
            rows.append((g.name, term, float(estimates[k][q]), mean, lower, upper))
    return pd.DataFrame(rows, columns=["group", "term", "estimate", "mean", "lower", "upper"])


def one_column(spec: ModelSpec, group: str | None, term: str | None) -> tuple[int, int]:
    """Places of a grouping and of one of its columns; each may be left out where there is but one.

    Raises
    ------
    DesignError
        If there is no such effect, or several to choose from.
    """
    k, g = grouping_named(spec, only_group(spec, group))
    if term is None and len(g.columns) > 1:
        raise DesignError(f"Name the effect of {g.name}: term= must be one of {', '.join(map(repr, g.columns))}.")
    if term is not None and term not in g.columns:
        raise DesignError(
            f"{g.name} has no random effect {term!r}.{suggestion(str(term), g.columns)} It has: {', '.join(g.columns)}."
        )
    return k, 0 if term is None else g.columns.index(term)


def whole_sweep(
    base: PoolingBase, k: int, scales: Sequence[float] | Floats | None = None, n: int = 41
) -> CovarianceSweep:
    """All effects of grouping `k` from complete pooling to none (see :class:`CovarianceSweep`).

    Raises
    ------
    DesignError
        If a scale is negative or NaN, or `n` is below 2.
    """
    covariance = base.covariances[k]
    return covariance_sweep(base.spec, k, base.own[k], base.at, covariance, scales_of(covariance, scales, n))


def scales_of(covariance: Scaled, scales: Sequence[float] | Floats | None, n: int) -> Floats:
    """The scales (S,) asked for, checked; without any `n` from 0 to infinity."""
    if scales is None:
        return covariance.even(checked_number(n, "scales"))
    return checked_ratios(scales, "scales", "the factor on the estimated standard deviations")


def scaled_at(
    base: PoolingBase, theta: Floats, scale: float, group: str | None
) -> tuple[EffectsAt, Floats, list[Floats]]:
    """Effects with the covariance of `group` (all by default) scaled by s, all else as estimated at θ (n_theta,).

    Returns
    -------
    EffectsAt
        Its criterion is that of the scaled θ.
    array (n_theta,)
        The scaled θ.
    list of array (p_k,)
        Standard deviations over σ, by grouping.
    """
    spec, own = base.spec, base.own
    here = np.array_equal(theta, base.theta)
    at = base.at if here else effects_at(base.likelihood, spec.lambdas(theta))
    paths = base.covariances if here else _covariances(base, theta)
    moving = {k: paths[k] for k, g in enumerate(spec.groupings) if group in (None, g.name)}
    values = scaled_theta(spec, theta, moving, scale)
    b = tuple(
        scaled_effects(own[k], at.right[k], moving[k], scale) if k in moving else at.b[k] for k in range(len(own))
    )
    coef = tuple(new + (coef - old) for new, coef, old in zip(b, at.coef, at.b, strict=True))
    criterion = base.likelihood.at(values).criterion if np.isfinite(scale) else np.inf
    ratios = [path.sds(np.array(scale if k in moving else 1.0)) for k, path in enumerate(paths)]
    return replace(at, b=b, coef=coef, criterion=criterion), values, ratios


def _covariances(base: PoolingBase, theta: Floats) -> tuple[Scaled, ...]:
    lambdas = base.spec.lambdas(theta)
    return tuple(scaled_covariance(base.spec, k, lambdas[k], own) for k, own in enumerate(base.own))


def pooling_sweep(
    base: PoolingBase, k: int, q: int, ratios: Sequence[float] | Floats | None = None, n: int = 41
) -> PoolingSweep:
    """The path of column `q` of grouping `k` as its standard deviation alone moves (see :func:`sweep`)."""
    column, own = moved(base.spec, k, q), base.own[k]
    half = half_way(base.information[k], own, base.spec.lambdas(base.theta)[k], column)
    return sweep(base.likelihood, base.theta, own, column, half, ratios, n)


def chosen_columns(spec: ModelSpec, group: str | None, term: str | None) -> list[tuple[int, int]]:
    """Places of the effects of `group` (all by default) that are named `term` (all by default).

    Raises
    ------
    DesignError
        If there is none.
    """
    groups = range(len(spec.groupings)) if group is None else [grouping_named(spec, group)[0]]
    known = [(k, q) for k in groups for q in range(len(spec.groupings[k].columns))]
    found = [(k, q) for k, q in known if term in (None, spec.groupings[k].columns[q])]
    if not found:
        names = list(dict.fromkeys(spec.groupings[k].columns[q] for k, q in known))
        raise DesignError(
            f"There is no random effect {term!r}.{suggestion(str(term), names)} There are: {', '.join(names)}."
        )
    return found


def checked_theta(spec: ModelSpec, theta: object, estimate: Floats) -> Floats:
    """θ (n_theta,) as given: a sequence in lme4's order, or a Series or mapping by name whose gaps are θ̂.

    Raises
    ------
    DesignError
        If its length, a name or a number is wrong.
    """
    names = spec.theta_names
    if isinstance(theta, pd.Series):
        theta = theta.to_dict()
    if isinstance(theta, Mapping):
        for name in theta:
            if name not in names:
                raise DesignError(
                    f"theta has no entry {name!r}.{suggestion(str(name), names)} It has: {', '.join(names)}."
                )
        theta = [theta.get(name, value) for name, value in zip(names, estimate, strict=True)]
    try:
        values = np.asarray(theta, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (spec.n_theta,) or not np.isfinite(values).all():
        raise DesignError(
            f"theta={theta!r} must hold {spec.n_theta} finite number{'s' if spec.n_theta > 1 else ''}, relative to σ "
            f"and in the order {', '.join(names)}. For an infinite standard deviation give ratio=."
        )
    return values
