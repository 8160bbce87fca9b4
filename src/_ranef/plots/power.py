"""Power over sizes of a design."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from _ranef.plots.drawing import BLUE, GREY, one_axes, plain_frame, returned
from _ranef.plots.names import as_drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["power_axes"]

#: the power that is often asked for
WANTED = 0.8


def power_axes(frame: pd.DataFrame, group: str, title: str, ax: Axes | None = None) -> Axes | Figure:
    """Draw the power of every size with its interval, and a line at 0.8."""
    axes = one_axes(ax)
    x = frame["levels"] if group else frame["n_obs"]
    spread = [frame["power"] - frame["lower"], frame["upper"] - frame["power"]]
    axes.errorbar(x, frame["power"], yerr=spread, color=BLUE, marker="o", capsize=3.0, linewidth=1.4)
    axes.axhline(WANTED, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(xlabel=f"levels of {as_drawn(group)}" if group else "rows", ylabel="power", ylim=(0.0, 1.02))
    axes.set_title(as_drawn(title))
    plain_frame(axes)
    return returned([axes])
