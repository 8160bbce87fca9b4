"""The path figure of one fit or several: where the estimate and the posterior lie on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ranef.comparison import fit_paths, paths_base
from ranef.plots.path import EVERY
from ranef.plots.path_drawing import path_figure
from ranef.plots.selection import LevelsArgument, select
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["path_of_fits"]


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
    base = paths_base(fits)
    selection = select(base.spec, group, term, levels, EVERY.limit)
    paths = fit_paths(fits, base, selection.columns, alone=term is not None)
    return path_figure(
        paths.frame,
        paths.ratio_hat,
        paths.draws,
        ax,
        formula=base.spec.design.formula,
        response=base.spec.design.response,
        method=paths.method,
        alone=term is not None,
        selection=selection,
    )
