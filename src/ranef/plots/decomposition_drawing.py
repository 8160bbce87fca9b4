"""Where the posterior variance of every level comes from, as bars; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ranef.comparison import decomposition_frame, split_variances
from ranef.errors import DesignError
from ranef.inference import grouping_named
from ranef.plots.axes import axes_for, legend_above
from ranef.plots.drawing import BLUE, GREY, VERMILLION, plain_frame, returned_figure
from ranef.plots.engines import estimates_of, posteriors_of, products_of
from ranef.results import Fit

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

#: levels up to which each has its name
NAMED = 80


def decomposition_figure(
    fits: Mapping[str, Fit],
    group: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    max_levels: int = 40,
    draws: int | None = None,
) -> Axes | Figure:
    """Bars of Var(b | y) by level, split, with the plug-in's variance marked; a panel for each random effect.

    Raises
    ------
    DesignError
        If none of the fits is a posterior, for an unknown group, or `max_levels` below two.
    """
    if max_levels < 2:
        raise DesignError(f"max_levels={max_levels!r} must be at least 2.")
    posterior = next(iter(posteriors_of(fits).values()), None)
    if posterior is None:
        raise DesignError("None of the fits is a posterior, whose variance there is to split: add Model.sample().")
    spec = posterior.spec
    split = split_variances(spec, posterior.draws, draws, products_of(fits))
    plug_in = next(iter(estimates_of(fits).values()), None)
    frame = decomposition_frame(spec, split, None if plug_in is None else plug_in.estimates.modes)
    if group is not None:
        frame = frame[frame["group"] == grouping_named(spec, group)[1].name]
    panels = [(f"{g}: {t}", _shown(part, max_levels)) for (g, t), part in frame.groupby(["group", "term"], sort=False)]
    height = max(1.4 + 0.2 * min(len(part), NAMED) for _, part in panels)
    axes = axes_for(ax, len(panels), (4.4, height))
    for a, (title, part) in zip(axes, panels, strict=True):
        left_out = len(frame[frame["group"] + ": " + frame["term"] == title]) - len(part)
        _draw(a, title, part, left_out, spec.design.response)
    if ax is None:
        legend_above(axes)
    return axes[0] if len(axes) == 1 else returned_figure(axes[0])


def _shown(part: pd.DataFrame, max_levels: int) -> pd.DataFrame:
    """Levels in order of their posterior variance; of more than `max_levels`, evenly spaced ones."""
    ordered = part.sort_values("total", kind="stable")
    if len(ordered) <= max_levels:
        return ordered
    return ordered.iloc[np.linspace(0, len(ordered) - 1, max_levels).round().astype(int)]


def _draw(ax: Axes, title: str, part: pd.DataFrame, left_out: int, response: str) -> None:
    y, left = np.arange(len(part)), np.zeros(len(part))
    for column, (label, colour, hatch) in PARTS.items():
        width = part[column].to_numpy()
        ax.barh(y, width, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4, label=label)
        left = left + width
    plug_in = part["plug_in"].to_numpy()
    if np.isfinite(plug_in).any():
        ax.scatter(
            plug_in, y, marker="|", s=90, color="black", linewidths=2, label="the BLUP's, at the estimates", zorder=3
        )
    if len(part) <= NAMED:
        ax.set_yticks(y, part["level"].astype(str), fontsize=9 if len(part) <= 40 else 7)
    else:
        ax.set_yticks([])
    ax.tick_params(axis="y", length=0)
    ax.set_title(title if not left_out else f"{title}\n{len(part)} of {len(part) + left_out} levels", fontsize="medium")
    ax.set_xlabel(f"posterior variance of the effect on {response}")
    plain_frame(ax)
