"""Figures of variance components; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ranef.plots.axes import axes_for, legend_above
from ranef.plots.components import ComponentPanel, component_panels
from ranef.plots.drawing import BLUE, GREY, VERMILLION, plain_frame, returned
from ranef.plots.names import as_drawn
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["POSTERIOR_COLOURS", "varcorr_figure"]

#: of several posteriors, after Okabe and Ito
POSTERIOR_COLOURS = (VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

#: dashes of several posteriors, for grey prints
DASHES = ("-", "--", "-.", ":")


def varcorr_figure(fits: Mapping[str, Fit], ax: Axes | Sequence[Axes] | None = None) -> Axes | Figure:
    """Posterior density of every variance component, with the REML and ML estimates and the prior on it.

    Parameters
    ----------
    fits : mapping of str to Fit
        Fits of one model, at least one of them a posterior. Estimates that none of them holds are computed.
    ax : Axes or sequence of Axes, optional
        One for each sd and correlation, and σ.

    Raises
    ------
    DesignError
        If none of the fits is a posterior, or `ax` holds another number of axes than there are components.
    """
    panels = component_panels(fits)
    axes = axes_for(ax, len(panels), (4.0, 3.1), 2 if len(panels) == 2 else 3)
    for a, panel in zip(axes, panels, strict=True):
        _draw_component(a, panel)
    if ax is None:
        legend_above(axes)
    return returned(axes)


def _draw_component(ax: Axes, panel: ComponentPanel) -> None:
    several = len(panel.posteriors) > 1
    peak = max([float(c.y.max()) for c in panel.posteriors if c.y.size] or [1.0])
    for i, curve in enumerate(panel.posteriors):
        colour = _colour(i)
        label = f"posterior {as_drawn(curve.label)}" if several else "posterior"
        ax.fill_between(curve.x, curve.y, color=colour, alpha=0.12 if several else 0.25, linewidth=0)
        ax.plot(curve.x, curve.y, color=colour, linewidth=1.8, linestyle=DASHES[i % len(DASHES)], label=label)
    for i, curve in enumerate(panel.priors):
        colour = GREY if len(panel.priors) == 1 else _colour(i)
        ax.plot(
            curve.x, curve.y, color=colour, linewidth=1.1, linestyle=(0, (4 + 4 * i, 2)), label=as_drawn(curve.label)
        )
    for label, value in panel.estimates.items():
        _mark(ax, label, value, peak)
    ax.set_title(as_drawn(panel.component.title), fontsize="medium")
    ax.set_xlabel(as_drawn(panel.component.unit))
    ax.set(xlim=panel.limits, ylim=(0.0, 1.22 * peak), yticks=[])
    if panel.component.kind == "cor":
        ax.set_xticks([-1.0, -0.5, 0.0, 0.5, 1.0])
    if any(np.isnan(v) for v in panel.estimates.values()):
        ax.text(0.03, 0.96, "no estimate: a variance is 0", transform=ax.transAxes, va="top", color=BLUE, fontsize=8.5)
    plain_frame(ax)
    ax.spines["left"].set_visible(False)


def _colour(i: int) -> str:
    return POSTERIOR_COLOURS[i % len(POSTERIOR_COLOURS)]


def _mark(ax: Axes, label: str, value: float, peak: float) -> None:
    """An estimate as a line from the axis to a head of its own, so that two at one place are both seen."""
    if np.isnan(value):
        return
    reml = label.endswith("REML")
    height = (1.14 if reml else 1.03) * peak
    ax.plot(
        [value, value],
        [0.0, height],
        color=BLUE if reml else "black",
        linewidth=1.7,
        linestyle="-" if reml else "--",
        marker="o" if reml else "s",
        markersize=6,
        markevery=[1],
        markerfacecolor=BLUE if reml else "white",
        label=f"{as_drawn(label)} estimate",
        zorder=4 if reml else 5,
        clip_on=False,
    )
