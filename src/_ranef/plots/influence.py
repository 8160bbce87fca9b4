"""How far every deletion moves the coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from _ranef.errors import DesignError
from _ranef.inference import Influence, estimates_of, influence, require_gaussian
from _ranef.plots.drawing import BLUE, GREY, one_axes, plain_frame, returned
from _ranef.plots.names import as_drawn
from _ranef.results import Fit
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MEASURES", "InfluencePanel", "influence_axes", "influence_panel"]

#: columns of ``influence().deleted`` that may be drawn, and what they are called
MEASURES = {
    "cooks_distance": "Cook's distance",
    "mdffits": "MDFFITS",
    "covtrace": "COVTRACE",
    "covratio": "COVRATIO",
    "sigma": "σ without it",
}

#: deletions that get a name of their own
NAMED = 30


@dataclass(frozen=True)
class InfluencePanel:
    """One measure of all deletions, or of the largest, descending.

    Attributes
    ----------
    names : tuple of str
    values : array (m,)
    left_out : int
        How many smaller ones there are besides.
    """

    names: tuple[str, ...]
    values: Floats
    left_out: int


def influence_panel(found: Influence, measure: str = "cooks_distance") -> InfluencePanel:
    """What is drawn.

    Raises
    ------
    DesignError
        For an unknown measure.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> influence_panel(fit.influence("operator")).names
    ('b', 'd', 'c', 'a')
    """
    one_of("measure", measure, list(MEASURES))
    known = found.deleted.dropna(subset=[measure]).sort_values(measure, ascending=False, kind="stable")
    shown = known.head(NAMED)
    return InfluencePanel(
        tuple(map(str, shown["deleted"])), shown[measure].to_numpy(dtype=float), len(known) - len(shown)
    )


def influence_axes(
    fit: Fit, group: str | None = None, measure: str = "cooks_distance", *, refit: bool = False, ax: Axes | None = None
) -> Axes | Figure:
    """Draw a measure of the most influential deletions, the largest uppermost."""
    require_gaussian(fit.spec, "influence()", "Fit the model without the rows.")
    held = list(estimates_of({"fit": fit}).values())
    if not held:
        raise DesignError("influence() is of a fit by REML or ML. A posterior has loo(), which says the same of rows.")
    found = influence(held[0].spec, held[0].estimates, group, refit=refit)
    panel = influence_panel(found, measure)
    n = len(panel.names)
    axes = one_axes(ax, 6.4, 1.4 + 0.22 * max(n, 4))
    at = np.arange(n)[::-1]
    axes.hlines(at, 0.0, panel.values, color=GREY, linewidth=1.0)
    axes.plot(panel.values, at, "o", color=BLUE)
    axes.set_yticks(at, [as_drawn(name) for name in panel.names])
    what = "each row" if found.group is None else f"each level of {as_drawn(found.group)}"
    more = f" ({panel.left_out} smaller ones left out)" if panel.left_out else ""
    axes.set(xlabel=MEASURES[measure], title=f"Without {what}{more}")
    plain_frame(axes)
    return returned([axes])
