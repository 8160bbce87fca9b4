"""Power by simulation: how often a hypothesis is rejected if the model is true, with as many levels as one likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError, RanefError, suggestion
from _ranef.inference.ddf import check_ddf, coefficient_law
from _ranef.inference.effect_frames import check_level, grouping_named
from _ranef.inference.engines import Maximum
from _ranef.inference.linear_hypotheses import Hypotheses, hypotheses
from _ranef.inference.other_fits import fitted
from _ranef.inference.resampling import Resampling, make_resampling
from _ranef.likelihood import CrossProducts, cross_products
from _ranef.reml import refit_many
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised, ModelSpec, with_response, with_units
from _ranef.support.argument_remedies import entropy_of, whole_number
from _ranef.support.arrays import Bools, Floats
from _ranef.support.parallel import finished
from _ranef.support.progress import LateBar

__all__ = ["simulated_power"]

#: simulations whose degrees of freedom are looked at, of which all take the median
LOOKED_AT = 15

#: responses simulated and fitted together
TOGETHER = 250


def simulated_power(
    fit: Maximum,
    test: Any,
    n_sim: int = 1000,
    *,
    extend: Mapping[str, int | Sequence[int]] | None = None,
    effect: Mapping[str, float] | None = None,
    ddf: str | None = "satterthwaite",
    alpha: float = 0.05,
    seed: int | None = None,
    level: float = 0.95,
    n_jobs: int | None = None,
) -> tuple[tuple[str, ...], str, pd.DataFrame]:
    """Simulate responses of a fit, fit them, and count how often a hypothesis is rejected.

    Responses that are fitted together have a seed of their own, spawned from `seed`, so that they are the same whoever
    makes them.

    Raises
    ------
    DesignError
        For coefficients, factors or sizes that there are not.
    """
    n_sim, ddf = whole_number("n_sim", n_sim, 1), check_ddf(ddf)
    ddf = None if isinstance(fit.spec.family, Generalised) else ddf
    check_level(level)
    if not 0.0 < alpha < 1.0:
        raise DesignError(f"alpha={alpha!r} must lie between 0 and 1, as 0.05: the level of the test.")
    names = fit.spec.design.fixed_names
    null = hypotheses(test, names, fit.spec.design.dropped)
    estimates = replace(fit.estimates, beta=_with_effect(fit, effect or {}))
    group, sizes = _sizes(fit.spec, extend)
    seeds = np.random.SeedSequence(entropy_of(seed)).spawn(len(sizes))
    rows = []
    with LateBar("Simulating", "response", n_sim * len(sizes)) as bar:
        for size, own in zip(sizes, seeds, strict=True):
            spec = fit.spec.held if size is None else _extended(fit.spec.held, group, size)
            if spec.design.fixed_names != names:
                lost = [name for name in names if name not in spec.design.fixed_names]
                raise DesignError(f"{size} levels of {group} do not determine {lost[0]}: take more of them.")
            rejected, df = _rejected(spec, estimates, null, n_sim, ddf, alpha, own, n_jobs, bar)
            rows.append({"levels": size, "n_obs": spec.n_obs} | _counted(rejected, level) | {"ddf": df})
    return null.texts, group, pd.DataFrame(rows)


def _with_effect(fit: Maximum, effect: Mapping[str, float]) -> Floats:
    """β̂ (p,) with some of it put in place."""
    beta, names = fit.estimates.beta.copy(), list(fit.spec.design.fixed_names)
    for name, value in effect.items():
        if name not in names:
            raise DesignError(
                f"effect= names {name!r}, which is no coefficient.{suggestion(str(name), names)} Coefficients: "
                f"{', '.join(names)}."
            )
        beta[names.index(name)] = float(value)
    return beta


def _sizes(spec: ModelSpec, extend: Mapping[str, int | Sequence[int]] | None) -> tuple[str, list[int | None]]:
    """The factor whose levels vary, and how many there are to be."""
    if not extend:
        return "", [None]
    if len(extend) != 1:
        raise DesignError(f"extend= takes one factor at a time; got {', '.join(map(repr, extend))}.")
    ((group, given),) = extend.items()
    g = grouping_named(spec, group)[1]
    if g.among is not None:
        raise DesignError(f"The levels of {group} have a known covariance (cov=), which says nothing of more levels.")
    sizes = [given] if isinstance(given, int | np.integer) else list(given)
    return g.name, [whole_number("extend", size, 2) for size in sizes]


def _extended(spec: ModelSpec, group: str, size: int) -> ModelSpec:
    """The model with so many levels of a factor, whose rows are those of its levels in turn."""
    g = grouping_named(spec, group)[1]
    return with_units(spec, g.codes, np.arange(size) % g.n_levels)


def _rejected(
    spec: ModelSpec,
    estimates: RemlEstimates,
    null: Hypotheses,
    n_sim: int,
    ddf: str | None,
    alpha: float,
    seed: np.random.SeedSequence,
    n_jobs: int | None,
    bar: LateBar,
) -> tuple[Floats, float]:
    """For every simulation 1 where the hypothesis is rejected, 0 or NaN (n_sim,); and the degrees of freedom."""
    drawn = make_resampling(spec, estimates, "parametric", "new")
    one_by_one = spec.structured or isinstance(spec.family, Generalised)
    work = _Refits(spec, None if one_by_one else cross_products(spec), drawn, estimates, null)
    parts = [range(start, min(n_sim, start + TOGETHER)) for start in range(0, n_sim, TOGETHER)]
    tasks = [(own, len(part)) for own, part in zip(seed.spawn(len(parts)), parts, strict=True)]
    df, scale = (
        (np.inf, 1.0) if ddf is None else _median_law(spec, estimates, null.L, work.responses(tasks[0], LOOKED_AT), ddf)
    )
    out, q = np.full(n_sim, np.nan), np.linalg.matrix_rank(null.L)
    for k, (wald, converged) in finished(work, tasks, n_jobs):
        p = scipy.special.chdtrc(q, wald) if np.isinf(df) else scipy.special.fdtrc(q, df, scale * wald / q)
        out[parts[k]] = np.where(converged, p < alpha, np.nan)
        bar.update(len(parts[k]))
    return out, df


@dataclass(frozen=True, eq=False, repr=False)
class _Refits:
    """Responses of one size drawn and fitted, for a seed and how many of them."""

    spec: ModelSpec
    products: CrossProducts | None
    drawn: Resampling
    estimates: RemlEstimates
    null: Hypotheses

    def responses(self, task: tuple[np.random.SeedSequence, int], most: int = TOGETHER) -> Floats:
        """The first of them, in columns."""
        rng = np.random.default_rng(task[0])
        return np.column_stack([self.drawn.response(rng) for _ in range(min(task[1], most))])

    def __call__(self, task: tuple[np.random.SeedSequence, int]) -> tuple[Floats, Bools]:
        """Wald's statistics, and which fits have converged."""
        Y, estimates = self.responses(task), self.estimates
        if self.products is None:
            return _one_by_one(self.spec, estimates, self.null, Y)
        found = refit_many(self.spec, self.products, Y, estimates.method, estimates.theta, tell=False)
        return _wald(found.beta, found.vcov, self.null), found.converged


def _wald(beta: Floats, vcov: Floats, null: Hypotheses) -> Floats:
    """(Lβ̂ − c)ᵀ(LVLᵀ)⁻(Lβ̂ − c) (B,)."""
    away = beta @ null.L.T - null.value
    spread = null.L @ vcov @ null.L.T
    lost = ~np.isfinite(spread).all(axis=(1, 2))
    spread[lost] = np.eye(len(null.L))
    wald = np.einsum("br,brs,bs->b", away, np.linalg.pinv(spread, hermitian=True), away)
    return np.where(lost, np.nan, wald)


def _one_by_one(spec: ModelSpec, estimates: RemlEstimates, null: Hypotheses, Y: Floats) -> tuple[Floats, Bools]:
    """The same of models whose residuals have parameters, or of generalised responses, fitted one after the other."""
    wald, converged = np.full(Y.shape[1], np.nan), np.zeros(Y.shape[1], dtype=bool)
    for b, y in enumerate(Y.T):
        try:
            own, start = with_response(spec, y), estimates.theta if spec.n_theta else None
            one = fitted(own, estimates.method, start=start, points=estimates.nagq)
        except RanefError:
            continue
        wald[b] = _wald(one.estimates.beta[None], one.estimates.vcov[None], null)[0]
        converged[b] = one.estimates.optimizer.status.name != "NOT_CONVERGED"
    return wald, converged


def _median_law(spec: ModelSpec, estimates: RemlEstimates, L: Floats, Y: Floats, ddf: str) -> tuple[float, float]:
    """Denominator degrees of freedom and the scale of F: medians over some simulations."""
    found = []
    for y in Y.T:
        one = fitted(with_response(spec, y), estimates.method, start=estimates.theta if spec.n_theta else None)
        scale, df = coefficient_law(one, ddf).joint(L)
        found.append((df, scale))
    df, scale = np.nanmedian(np.array(found), axis=0).tolist()
    return df, scale


def _counted(rejected: Floats, level: float) -> dict[str, float]:
    """Share of rejections, with its interval."""
    known = rejected[~np.isnan(rejected)]
    n, failed = len(known), int(np.isnan(rejected).sum())
    if not n:
        return {"power": np.nan, "lower": np.nan, "upper": np.nan, "n_sim": 0, "failed": failed}
    share = scipy.stats.binomtest(int(known.sum()), n).proportion_ci(level, "exact")
    ends = {"lower": float(share.low), "upper": float(share.high)}
    return {"power": float(known.mean()), **ends, "n_sim": n, "failed": failed}
