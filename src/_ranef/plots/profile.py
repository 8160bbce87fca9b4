"""Profiles of parameters: ζ, the signed root of the likelihood ratio, with the intervals that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from _ranef.errors import DesignError
from _ranef.inference import Fitted, ProfileCurve, Profiles, likelihood_profiles, modes_of, normal_quantile
from _ranef.plots.drawing import BLUE, GREY, axes_for, plain_frame, returned
from _ranef.plots.names import as_drawn
from _ranef.results import Fit
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ZetaPanel", "draw_profiles", "profile_axes", "zeta_panel"]

#: points of a curve, and intervals marked on it
POINTS, LEVELS = 120, (0.5, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class ZetaPanel:
    """ζ of one parameter.

    Attributes
    ----------
    name : str
    criterion : str
    x, zeta : array (n,)
    intervals : mapping of float to (float, float)
        By level; NaN for ends that the curve does not reach.
    notes : tuple of str
    """

    name: str
    criterion: str
    x: Floats
    zeta: Floats
    intervals: dict[float, tuple[float, float]]
    notes: tuple[str, ...]


def zeta_panel(curve: ProfileCurve, levels: Sequence[float] = LEVELS) -> ZetaPanel:
    """What is drawn of a curve: a straight line where a normal interval would do.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> panel = zeta_panel(fit.profile().curves["sd(Intercept | operator)"])
    >>> panel.intervals[0.95][0], bool(panel.zeta[0] > -1.96)
    (0.0, True)
    """
    x = np.linspace(curve.values[0], curve.values[-1], POINTS) if len(curve.values) else np.empty(0)
    intervals = {level: curve.interval(level) for level in levels}
    return ZetaPanel(curve.name, curve.criterion, x, curve.at(x), intervals, curve.notes)


def profile_axes(
    fit: Fit, parameters: Sequence[str] | str | None = None, ax: Axes | Sequence[Axes] | None = None
) -> Axes | Figure:
    """Draw ζ of parameters with the intervals of 50, 80, 90, 95 and 99 %."""
    held = list(modes_of({"fit": fit}).values())
    if not held:
        raise DesignError("Profiles are of the likelihood, of a fit by REML or ML: model.fit().plot.profile().")
    return draw_profiles(likelihood_profiles(held[0].spec, Fitted.of(held[0]).held, held[0].estimates, parameters), ax)


def draw_profiles(profiles: Profiles, ax: Axes | Sequence[Axes] | None = None) -> Axes | Figure:
    """Draw what was followed."""
    panels = [zeta_panel(curve) for curve in profiles.curves.values()]
    axes = axes_for(ax, len(panels), (3.4, 2.8))
    for own, panel in zip(axes, panels, strict=True):
        _draw(own, panel)
    return returned(axes)


def _draw(ax: Axes, panel: ZetaPanel) -> None:
    ax.plot(panel.x, panel.zeta, color=BLUE, linewidth=1.6)
    for level, ends in panel.intervals.items():
        z = normal_quantile(level)
        for end, zeta in zip(ends, (-z, z), strict=True):
            if panel.x.size and panel.x[0] <= end <= panel.x[-1]:
                ax.plot([end, end], [0.0, max(zeta, panel.zeta[0])], color=GREY, linewidth=0.9)
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    ax.set(title=as_drawn(panel.name), ylabel=f"ζ, {panel.criterion}")
    plain_frame(ax)
