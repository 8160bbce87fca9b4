"""Where the posterior variance of every level comes from, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from _ranef.comparison import fits_decomposition
from _ranef.inference import first_fit
from _ranef.plots.drawing import BLUE, GREY, NAMED, VERMILLION, axes_for, legend_above, plain_frame, returned
from _ranef.plots.names import as_drawn, effect_on, effects_of, name_levels
from _ranef.plots.ranef import ordered_levels
from _ranef.plots.selection import LevelsArgument, TermArgument, require_effects, select
from _ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["decomposition_figure"]

#: column of the frame: what it is called, colour, hatch for grey prints
PARTS = {
    "given_theta_beta": ("all else known", BLUE, ""),
    "beta": ("coefficients not known", GREY, "///"),
    "theta": ("variance components not known", VERMILLION, "..."),
}

#: inches that the bars of all levels may be high
TALLEST = 8.0


def decomposition_figure(
    fits: Mapping[str, Fit],
    group: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    max_levels: int = 40,
    draws: int | None = None,
    *,
    term: TermArgument = None,
    levels: LevelsArgument = None,
) -> Axes | Figure:
    """Bars of Var(b | y) by level, split, with the plug-in's variance marked; a panel for each random effect.

    Raises
    ------
    DesignError
        If none of the fits is a posterior, for an unknown group, term or level, or `max_levels` below two.
    """
    spec = first_fit(fits).spec
    selection = select(spec, group, term, levels, max_levels)
    parts = selection.keeps(spec, fits_decomposition(fits, draws)).groupby(["group", "term"], sort=False)
    panels = [(f"{g}: {t}", str(t), len(part), ordered_levels(part, "total", selection)) for (g, t), part in parts]
    require_effects(panels)
    height = max(1.4 + min(0.2 * len(shown), TALLEST) for *_, shown in panels)
    axes = axes_for(ax, len(panels), (4.4, height))
    for a, (title, column, n, shown) in zip(axes, panels, strict=True):
        _draw(a, title, shown, n - len(shown), effect_on(effects_of(spec), column, "posterior variance of the effect"))
    if ax is None:
        legend_above(axes)
    return returned(axes)


def _draw(ax: Axes, title: str, part: pd.DataFrame, left_out: int, unit: str) -> None:
    y, left = np.arange(len(part)), np.zeros(len(part))
    for column, (label, colour, hatch) in PARTS.items():
        width = part[column].to_numpy()
        ax.barh(y, width, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4, label=label)
        left = left + width
    plug_in = part["plug_in"].to_numpy()
    if np.isfinite(plug_in).any():
        ax.scatter(
            plug_in, y, marker="|", s=90, color="black", linewidths=2, label="the plug-in's, at the estimates", zorder=3
        )
    if len(part) <= NAMED:
        name_levels(ax, part["level"].astype(str).tolist(), size=9 if len(part) <= 40 else 7)
    else:
        ax.set_yticks([])
    ax.tick_params(axis="y", length=0)
    of_all = f"\n{len(part)} of {len(part) + left_out} levels" if left_out else ""
    ax.set_title(as_drawn(title) + of_all, fontsize="medium")
    ax.set_xlabel(as_drawn(unit))
    plain_frame(ax)
