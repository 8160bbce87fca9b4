"""Intervals of every parameter by every method, beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from _ranef.inference import chosen_rows
from _ranef.plots.drawing import BLUE, GREEN, GREY, PLAIN_NAMES, VERMILLION, axes_for, plain_frame, returned
from _ranef.plots.names import as_drawn
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["IntervalPanel", "interval_panels", "intervals_figure"]

#: colours of methods
COLOURS = {"wald": GREY, "profile": BLUE, "bootstrap": GREEN, "posterior": VERMILLION}


@dataclass(frozen=True)
class IntervalPanel:
    """Intervals of one parameter.

    Attributes
    ----------
    parameter : str
    labels, methods : tuple of str (m,)
        Of every line, the same in all panels.
    ends : array (m, 3)
        Estimate, lower and upper; NaN where a method has no interval of this parameter.
    """

    parameter: str
    labels: tuple[str, ...]
    methods: tuple[str, ...]
    ends: Floats


def interval_panels(frame: pd.DataFrame) -> list[IntervalPanel]:
    """What is drawn of ``fit, method, parameter, estimate, lower, upper``.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> both = ranef.compare(model.fit(), model.fit("ML"))
    >>> interval_panels(both.intervals("wald", "profile"))[0].labels
    ('REML wald', 'REML profile', 'ML wald', 'ML profile')
    """
    lines = list(dict.fromkeys(zip(frame["fit"], frame["method"], strict=True)))
    labels = tuple(method if fit in PLAIN_NAMES else f"{fit} {method}" for fit, method in lines)
    methods = tuple(method for _, method in lines)
    out = []
    for parameter in dict.fromkeys(frame["parameter"]):
        own = frame[frame["parameter"] == parameter].set_index(["fit", "method"])[["estimate", "lower", "upper"]]
        ends = own.reindex(pd.MultiIndex.from_tuples(lines)).to_numpy(dtype=float)
        out.append(IntervalPanel(str(parameter), labels, methods, ends))
    return out


def intervals_figure(
    frame: pd.DataFrame, parameters: Sequence[str] | str | None = None, ax: Axes | Sequence[Axes] | None = None
) -> Axes | Figure:
    """Draw the intervals of each parameter in a panel of its own, with one line for every fit and method."""
    if parameters is not None:
        frame = chosen_rows(frame.set_index("parameter"), parameters).reset_index()
    panels = interval_panels(frame)
    axes = axes_for(ax, len(panels), (3.4, 0.9 + 0.28 * len(panels[0].labels)))
    for own, panel in zip(axes, panels, strict=True):
        _draw(own, panel)
    return returned(axes)


def _draw(ax: Axes, panel: IntervalPanel) -> None:
    at = np.arange(len(panel.labels))[::-1]
    for y, method, (estimate, lower, upper) in zip(at, panel.methods, panel.ends, strict=True):
        colour = COLOURS[method]
        ax.plot([lower, upper], [y, y], color=colour, linewidth=2.6, alpha=0.55, solid_capstyle="butt")
        ax.plot(estimate, y, "o", color=colour, markersize=5.0)
    ax.set_yticks(at, [as_drawn(label) for label in panel.labels])
    ax.set(title=as_drawn(panel.parameter), ylim=(-0.6, len(panel.labels) - 0.4))
    plain_frame(ax)
