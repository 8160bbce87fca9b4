"""Paths from complete pooling to none for fits of one model: where estimate and posterior lie on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from _ranef.comparison.generalised_levels import LinkedBase, linked_base, linked_sweep
from _ranef.comparison.pooling import PoolingBase, pooling_base, pooling_sweep, ratio_draws, relative_sds, whole_sweep
from _ranef.comparison.scaled_covariance import CovarianceSweep
from _ranef.errors import DesignError, NotAvailableError
from _ranef.inference import draws_of, estimates_of, first_fit, laplace_at, modes_of, posteriors_of
from _ranef.likelihood import Likelihood, cross_products
from _ranef.results import Fit
from _ranef.spec import Generalised
from _ranef.support.arrays import Floats

__all__ = ["FitPaths", "fit_paths", "paths_base"]

#: ratios of a path, and levels of all factors from which fewer do
RATIOS, FEWER, MANY = 41, 11, 1000


@dataclass(frozen=True, eq=False)
class FitPaths:
    """Paths of random effects, by group and term where there are several.

    Attributes
    ----------
    frame : DataFrame
        Those of :class:`~_ranef.comparison.PoolingSweep`, one below the other.
    method : "REML", "ML" or "Laplace"
        Whose estimates move; REML of a posterior, from the mean of θ.
    ratio_hat : mapping of (str, str) to float, or None
        Estimated ratios of sd to σ; None without a fit by REML or ML.
    draws : mapping of (str, str) to array, or None
        Draws of the ratios from the first posterior.
    """

    frame: pd.DataFrame
    method: str
    ratio_hat: Mapping[tuple[str, str], float] | None
    draws: Mapping[tuple[str, str], Floats] | None


def fit_paths(
    fits: Mapping[str, Fit], base: PoolingBase | LinkedBase, columns: Sequence[tuple[int, int]], *, alone: bool = False
) -> FitPaths:
    """Paths through `base`, with the ratios of the first REML or ML fit and of the first posterior, if there are any.

    Parameters
    ----------
    fits : mapping of str to Fit
    base : PoolingBase
        Of :func:`paths_base`.
    columns : sequence of (int, int)
        Grouping of the spec and column in it.
    alone : bool
        Whether the standard deviation of each effect moves alone, rather than the whole covariance of its factor.
    """
    spec = base.spec
    if isinstance(base, LinkedBase) and alone:
        raise NotAvailableError(
            "The standard deviation of one effect alone is moved for Gaussian responses. Leave term= out: the whole "
            "covariance of the factor then moves."
        )
    n = RATIOS if sum(g.n_levels for g in spec.groupings) <= MANY else FEWER
    frames = (
        [pooling_sweep(base, k, q, n=n).frame for k, q in columns]
        if alone and isinstance(base, PoolingBase)
        else [_whole(base, k, n).frame for k in dict.fromkeys(k for k, _ in columns)]
    )
    names = {(k, q): (spec.groupings[k].name, spec.groupings[k].columns[q]) for k, q in columns}
    hats = relative_sds(spec, base.theta)
    ratio_hat = {name: float(hats[k][q]) for (k, q), name in names.items()} if modes_of(fits) else None
    method: str = base.likelihood.method if isinstance(base, PoolingBase) else "Laplace"
    return FitPaths(pd.concat(frames, ignore_index=True), method, ratio_hat, _ratios(fits, names))


def _whole(base: PoolingBase | LinkedBase, k: int, n: int) -> CovarianceSweep:
    if isinstance(base, PoolingBase):
        return whole_sweep(base, k, n=n)
    return linked_sweep(base, k, base.covariances[k].even(n))


def paths_base(fits: Mapping[str, Fit]) -> PoolingBase | LinkedBase:
    """The first fit by REML or ML at its θ̂, else the first fit at its posterior mean of θ.

    Raises
    ------
    DesignError
        For a model without random effects, or a posterior alone of a model not normal.
    """
    if isinstance(first_fit(fits).spec.family, Generalised):
        return _linked(fits)
    for fit in estimates_of(fits).values():
        return pooling_base(Likelihood(fit.spec, fit.products, fit.estimates.method), fit.estimates.theta)
    first = first_fit(fits)
    draws = draws_of(first)
    if draws is None or draws.not_normal:
        what = draws.not_normal if draws is not None else "the fit"
        raise DesignError(f"Paths of BLUPs are those of a normal model, which {what} is not part of. Use Model.fit().")
    likelihood = Likelihood(first.spec, cross_products(first.spec), "REML")
    return pooling_base(likelihood, draws.theta.mean(axis=(0, 1)))


def _linked(fits: Mapping[str, Fit]) -> LinkedBase:
    """Of a generalised response: through the modes of the first fit that has them."""
    for fit in modes_of(fits).values():
        return linked_base(laplace_at(fit.spec, fit.estimates), fit.estimates.theta)
    raise DesignError("Paths are those of conditional modes, which posteriors alone do not have. Add Model.fit().")


def _ratios(
    fits: Mapping[str, Fit], names: Mapping[tuple[int, int], tuple[str, str]]
) -> dict[tuple[str, str], Floats] | None:
    """Draws of each ratio from the first posterior."""
    for fit in posteriors_of(fits).values():
        found = ratio_draws(fit.spec, fit.draws)
        return {name: found[k][:, q] for (k, q), name in names.items()}
    return None
