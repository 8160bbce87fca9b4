"""Where the posterior variance of a random effect comes from, and which part of it a plug-in interval holds.

The law of total variance, applied twice to the posterior of b:

    Var(b | y) = E[Var(b | y, β, θ, σ)] + E[Var(E[b | y, β, θ, σ] | y, θ, σ)] + Var(E[b | y, θ, σ]).

All three inner moments have closed forms at given (θ, σ), where (β, b) are jointly normal: they are computed at draws
of (θ, σ) and averaged (Rao-Blackwell), so that draws of b, with their own noise, are not used. Kass & Steffey (1989,
J. Amer. Statist. Assoc. 84, 717-726) give the split as the reason why empirical-Bayes intervals are too short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from _ranef.errors import DesignError, FitError
from _ranef.inference import DRAWS, given_draws, modes_of, posteriors_of, products_of, thinned
from _ranef.likelihood import (
    CrossProducts,
    cross_products,
    effect_moments,
    fit_pilot,
    fixed_part,
    make_laplace,
)
from _ranef.results import Fit, Modes, PosteriorDraws
from _ranef.spec import Generalised, ModelSpec
from _ranef.support.arrays import Floats, Ints
from _ranef.support.progress import LateBar

__all__ = ["VarianceSplit", "decomposition_frame", "fits_decomposition", "split_linked", "split_variances"]

#: numbers held at once where many draws are treated together
BLOCK_ENTRIES = 1_000_000


@dataclass(frozen=True, eq=False, repr=False)
class VarianceSplit:
    """The posterior variance of the random effects of one grouping factor, split; each array is (J, p).

    Attributes
    ----------
    mean : array
        E[b | y], the mean of the conditional means.
    given_theta_beta : array
        E[Var(b | y, β, θ, σ)]: what would be left if everything else were known.
    beta : array
        E[Var(E[b | y, β, θ, σ] | y, θ, σ)]: because β is not known.
    theta : array
        Var(E[b | y, θ, σ]): because the variance components are not known.
    drawn : array, optional
        Var(b | y) of the draws, where the parts are by Laplace's approximation and need not add up to it.
    """

    mean: Floats
    given_theta_beta: Floats
    beta: Floats
    theta: Floats
    drawn: Floats | None = None

    @property
    def total(self) -> Floats:
        """Var(b | y)."""
        if self.drawn is not None:
            return self.drawn
        return np.asarray(self.given_theta_beta + self.beta + self.theta)


def split_variances(
    spec: ModelSpec, draws: PosteriorDraws, n_draws: int | None = None, products: CrossProducts | None = None
) -> tuple[VarianceSplit, ...]:
    """Split the posterior variance of every random effect, by grouping of the spec.

    The work is one factorisation a draw, whatever the number of rows, and many draws at once where there is one
    grouping factor; no more than a block of draws is held.

    Parameters
    ----------
    spec : ModelSpec
    draws : PosteriorDraws
        Only (θ, σ) are read, and coefficients and global scales with priors that are not normal: those count as
        variance components do.
    n_draws : int, optional
        How many draws to use, evenly spaced over all chains; all if there are fewer. By default 200, or with one
        grouping factor as many as make a block.
    products : CrossProducts, optional
        Those of `spec`, where they are at hand.

    Raises
    ------
    DesignError
        If there would be fewer than two draws.
    FitError
        If the response or the random effects are Student t: the inner moments have no closed form.
    """
    if draws.not_normal:
        raise FitError(
            f"Student t in this model: {draws.not_normal}. Given the variance components the random effects are not "
            "normal then, and their conditional variance has no closed form. Decompose the posterior of the model with "
            "normal effects and residuals."
        )
    one = len(spec.groupings) == 1
    block = max(1, BLOCK_ENTRIES // max(1, _entries(spec))) if one else 1
    chosen = thinned(draws.sigma.size, max(DRAWS, block) if n_draws is None else n_draws)
    if "rho" in draws.extras:
        return _split_by_rows(spec, draws, chosen)
    products = cross_products(spec) if products is None else products
    fixed = fixed_part(spec, products, draws.priors)
    given = given_draws(spec, draws, fixed)
    parts = [_Running((g.n_levels, len(g.columns))) for g in spec.groupings]
    with LateBar("Variances given (θ, σ)", "draw", len(chosen)) as bar:
        for start in range(0, len(chosen), block):
            own = chosen[start : start + block]
            for part, moment in zip(parts, effect_moments(spec, products, fixed, given.only(own)), strict=True):
                part.add(*moment)
            bar.update(len(own))
    return tuple(part.split() for part in parts)


def _split_by_rows(spec: ModelSpec, draws: PosteriorDraws, chosen: Ints) -> tuple[VarianceSplit, ...]:
    """The same where every draw has residual variances and correlations of its own."""
    parts = [_Running((g.n_levels, len(g.columns))) for g in spec.groupings]
    rho = np.asarray(draws.extras["rho"]).reshape(draws.sigma.size, -1)
    with LateBar("Variances given (θ, ρ, σ)", "draw", len(chosen)) as bar:
        for s in chosen:
            own = spec.with_rho(rho[s])
            products = cross_products(own)
            fixed = fixed_part(own, products, draws.priors)
            given = given_draws(own, draws, fixed).only(np.array([s]))
            for part, moment in zip(parts, effect_moments(own, products, fixed, given), strict=True):
                part.add(*moment)
            bar.update()
    return tuple(part.split() for part in parts)


def split_linked(spec: ModelSpec, draws: PosteriorDraws, n_draws: int | None = None) -> tuple[VarianceSplit, ...]:
    """The same of a generalised response, each inner moment by Laplace's approximation at a draw; totals are of draws.

    At a draw of all parameters the working response is Gaussian: its conditional variance is that of b given them, and
    what estimated coefficients add to it counts for β.
    """
    assert isinstance(spec.family, Generalised)
    chosen = thinned(draws.sigma.size, DRAWS if n_draws is None else n_draws)
    model = make_laplace(spec, fit_pilot(spec, spec.family))
    theta, beta = draws.theta.reshape(draws.sigma.size, -1), draws.beta.reshape(draws.sigma.size, -1)
    logs = np.log([np.ravel(draws.extras[name]) for name in spec.family.dispersions]).reshape(-1, draws.sigma.size)
    parts = [_Running((g.n_levels, len(g.columns))) for g in spec.groupings]
    with LateBar("Variances given all parameters", "draw", len(chosen)) as bar:
        for s in chosen:
            at = model.at(model.gaussian.standard(theta[s]), model.inward(beta[s]), logs[:, s])
            for part, own in zip(parts, at.working.modes, strict=True):
                known, whole = (np.diagonal(c, axis1=1, axis2=2) for c in (own.cov, own.cov_prediction))
                part.add(own.values[None], known[None], (whole - known)[None])
            bar.update()
    drawn = [b.reshape(-1, *b.shape[2:]).var(axis=0, ddof=1) for b in draws.b]
    return tuple(replace(part.split(), drawn=total) for part, total in zip(parts, drawn, strict=True))


def _entries(spec: ModelSpec) -> int:
    """Numbers that a draw of a model of one factor takes."""
    (g,) = spec.groupings
    return g.n_levels * len(g.columns) * (len(g.columns) + spec.n_fixed + 1)


class _Running:
    """Means of two variances, and mean and variance of a mean, over blocks of draws.

    Joined as by Chan, Golub & LeVeque (1983, Amer. Statist. 37, 242-247).
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.n = 0
        self.given, self.beta, self.mean, self.squares = (np.zeros(shape) for _ in range(4))

    def add(self, mean: Floats, given: Floats, beta: Floats) -> None:
        """Count moments (S, J, p) in."""
        own, m = mean.mean(axis=0), len(mean)
        away, total = own - self.mean, self.n + len(mean)
        self.squares += ((mean - own) ** 2).sum(axis=0) + away**2 * (self.n * m / total)
        self.mean += away * (m / total)
        self.given += (given.mean(axis=0) - self.given) * (m / total)
        self.beta += (beta.mean(axis=0) - self.beta) * (m / total)
        self.n = total

    def split(self) -> VarianceSplit:
        return VarianceSplit(self.mean, self.given, self.beta, self.squares / (self.n - 1))


def decomposition_frame(
    spec: ModelSpec, split: Sequence[VarianceSplit], modes: Sequence[Modes] | None = None
) -> pd.DataFrame:
    """One row for each level and term.

    Parameters
    ----------
    spec : ModelSpec
    split : sequence of VarianceSplit
        By grouping.
    modes : sequence of Modes, optional
        Of a REML or ML fit, by grouping.

    Returns
    -------
    DataFrame
        ``group, level, term``; ``total`` = Var(b | y) and its three parts ``given_theta_beta, beta, theta``;
        ``plug_in``, the conditional variance at θ̂ with β taken as known (lme4's condVar), and ``plug_in_beta``, with β
        estimated (Henderson), NaN without `modes`; ``left_out`` = 1 − √(plug_in/total), by which share of the
        posterior's width a plug-in interval is too short; ``beta_share`` = beta/(beta + theta), the share of β in the
        two parts that a plug-in has no counterpart of.
    """
    frames = []
    for k, (g, part) in enumerate(zip(spec.groupings, split, strict=True)):
        nothing = np.full(part.total.shape, np.nan)
        covs = None if modes is None else (modes[k].cov, modes[k].cov_prediction)
        plug = [nothing, nothing] if covs is None else [np.diagonal(c, axis1=1, axis2=2) for c in covs]
        values = {
            "total": part.total,
            "given_theta_beta": part.given_theta_beta,
            "beta": part.beta,
            "theta": part.theta,
            "plug_in": plug[0],
            "plug_in_beta": plug[1],
            "left_out": 1.0 - np.sqrt(_over(np.maximum(plug[0], 0.0), part.total)),
            "beta_share": _over(part.beta, part.beta + part.theta),
        }
        labels = {"group": g.name, "level": np.repeat(g.levels, len(g.columns)), "term": [*g.columns] * g.n_levels}
        frames.append(pd.DataFrame(labels | {name: v.ravel() for name, v in values.items()}))
    columns = ["group", "level", "term", *COLUMNS]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def fits_decomposition(fits: Mapping[str, Fit], n_draws: int | None = None) -> pd.DataFrame:
    """The frame of the first posterior among fits of one model, with the plug-in of the first fit by REML or ML.

    Raises
    ------
    DesignError
        If none of the fits is a posterior.
    """
    posterior = next(iter(posteriors_of(fits).values()), None)
    if posterior is None:
        raise DesignError("None of the fits is a posterior, whose variance there is to split: add Model.sample().")
    if isinstance(posterior.spec.family, Generalised):
        split = split_linked(posterior.spec, posterior.draws, n_draws)
    else:
        split = split_variances(posterior.spec, posterior.draws, n_draws, products_of(fits))
    plug_in = next(iter(modes_of(fits).values()), None)
    return decomposition_frame(posterior.spec, split, None if plug_in is None else plug_in.estimates.modes)


COLUMNS = ("total", "given_theta_beta", "beta", "theta", "plug_in", "plug_in_beta", "left_out", "beta_share")


def _over(top: Floats, bottom: Floats) -> Floats:
    out = np.full(np.shape(top), np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
