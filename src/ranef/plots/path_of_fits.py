"""The path figure of one fit or several: where the estimate and the posterior lie on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ranef.arrays import Floats
from ranef.comparison import (
    PoolingBase,
    pooling_base,
    pooling_sweep,
    ratio_draws,
    relative_sds,
    whole_sweep,
)
from ranef.errors import DesignError
from ranef.likelihood import Likelihood, cross_products
from ranef.plots.engines import Estimated
from ranef.plots.marks import draws_of
from ranef.plots.path import EVERY
from ranef.plots.path_drawing import path_figure
from ranef.plots.selection import LevelsArgument, select
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["path_of_fits"]

#: ratios of a path, and levels of all factors from which fewer do
RATIOS, FEWER, MANY = 41, 11, 1000


@dataclass(frozen=True, eq=False)
class _Source:
    """Where the path comes from.

    Attributes
    ----------
    base : PoolingBase
        At θ̂, or at the posterior mean of θ.
    estimated : bool
        Whether θ is an estimate by REML or ML.
    """

    base: PoolingBase
    estimated: bool


def path_of_fits(
    fits: Mapping[str, Fit],
    group: str | None,
    term: str | None,
    ax: Axes | Sequence[Axes] | None,
    levels: LevelsArgument = None,
) -> Axes | Figure:
    """Draw the paths of the first REML or ML fit, with the ratios of the first posterior; either may be missing.

    The whole covariance of a factor moves; with `term` the standard deviation of that effect alone.

    Raises
    ------
    DesignError
        For an unknown group, term or level, a model without random effects, or a posterior alone of a model not normal.
    """
    source = _source(fits)
    spec = source.base.spec
    selection = select(spec, group, term, levels, EVERY.limit)
    chosen = selection.columns
    n = RATIOS if sum(g.n_levels for g in spec.groupings) <= MANY else FEWER
    frames = (
        [whole_sweep(source.base, k, n=n).frame for k in dict.fromkeys(k for k, _ in chosen)]
        if term is None
        else [pooling_sweep(source.base, k, q, n=n).frame for k, q in chosen]
    )
    names = {(k, q): (spec.groupings[k].name, spec.groupings[k].columns[q]) for k, q in chosen}
    hats = relative_sds(spec, source.base.theta)
    ratio_hat = {names[k, q]: float(hats[k][q]) for k, q in chosen} if source.estimated else None
    design = spec.design
    return path_figure(
        pd.concat(frames, ignore_index=True),
        ratio_hat,
        _ratios(fits, names),
        ax,
        formula=design.formula,
        response=design.response,
        method=source.base.likelihood.method,
        alone=term is not None,
        selection=selection,
    )


def _source(fits: Mapping[str, Fit]) -> _Source:
    for fit in fits.values():
        if isinstance(fit, Estimated):
            estimates = fit.estimates
            return _Source(
                pooling_base(Likelihood(fit.spec, fit.products, estimates.method), estimates.theta), estimated=True
            )
    fit = next(iter(fits.values()))
    draws = draws_of(fit)
    if draws is None or draws.not_normal:
        what = draws.not_normal if draws is not None else "the fit"
        raise DesignError(f"Paths of BLUPs are those of a normal model, which {what} is not part of. Use Model.fit().")
    likelihood = Likelihood(fit.spec, cross_products(fit.spec), "REML")
    return _Source(pooling_base(likelihood, draws.theta.mean(axis=(0, 1))), False)


def _ratios(
    fits: Mapping[str, Fit], names: Mapping[tuple[int, int], tuple[str, str]]
) -> dict[tuple[str, str], Floats] | None:
    """Draws of each ratio from the first posterior."""
    for fit in fits.values():
        draws = draws_of(fit)
        if draws is not None:
            found = ratio_draws(fit.spec, draws)
            return {name: found[k][:, q] for (k, q), name in names.items()}
    return None
