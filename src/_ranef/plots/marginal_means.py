"""Marginal means, or slopes, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from _ranef.inference import emmeans
from _ranef.plots.drawing import BLUE, GREEN, GREY, PURPLE, VERMILLION, legend_on, one_axes, plain_frame, returned
from _ranef.plots.names import as_drawn
from _ranef.results import Fit
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MeansPanel", "emmeans_axes", "means_panel"]

#: colours of the levels of `by`, in turn, and how far apart they stand
COLOURS, APART = (BLUE, VERMILLION, GREEN, PURPLE, GREY), 0.12


@dataclass(frozen=True)
class MeansPanel:
    """Means by the levels on the axis and by those of `by`.

    Attributes
    ----------
    axis : str
        The factors on the axis.
    label : str
        What is estimated.
    levels : tuple of str (m,)
    series : mapping of str to array (m, 3)
        Estimate and interval at each level, by combination of levels of `by`; NaN where there is none.
    """

    axis: str
    label: str
    levels: tuple[str, ...]
    series: dict[str, Floats]


def means_panel(fit: Fit, spec: Any, **options: Any) -> MeansPanel:
    """What is drawn of marginal means.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("yield ~ nitro * Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
    >>> means_panel(fit, "nitro | Variety", at={"nitro": [0, 0.6]}).levels
    ('0', '0.6')
    """
    found = emmeans(fit, spec, **options)
    frame, own = found.frame, [c for c in found.cells.columns if c not in found.by]
    levels = frame[own].map(_word).agg(" ".join, axis=1) if own else frame["estimate"].map(lambda _: "overall")
    groups = frame[list(found.by)].map(_word).agg(" ".join, axis=1) if found.by else levels.map(lambda _: "")
    shown = tuple(dict.fromkeys(levels))
    series = {}
    for name in dict.fromkeys(groups):
        part = frame[groups == name].set_index(levels[groups == name])
        series[name] = part[["estimate", "lower", "upper"]].reindex(list(shown)).to_numpy(dtype=float)
    trend = options.get("trend")
    what = "mean" if trend is None else f"slope in {trend}"
    return MeansPanel(", ".join(own), f"{what} of {fit.spec.design.response}", shown, series)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def emmeans_axes(fit: Fit, spec: Any, options: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Draw marginal means with their intervals, those of `by` beside each other."""
    panel = means_panel(fit, spec, **options)
    ax = one_axes(ax)
    at = np.arange(len(panel.levels), dtype=float)
    shifts = APART * (np.arange(len(panel.series)) - 0.5 * (len(panel.series) - 1))
    for k, (name, values) in enumerate(panel.series.items()):
        estimate, lower, upper = values.T
        errors = np.stack([estimate - lower, upper - estimate])
        ax.errorbar(at + shifts[k], estimate, errors, fmt="o", color=COLOURS[k % len(COLOURS)], label=as_drawn(name))
    ax.set_xticks(at, [as_drawn(level) for level in panel.levels])
    ax.set(xlabel=as_drawn(panel.axis), ylabel=as_drawn(panel.label))
    plain_frame(ax)
    if len(panel.series) > 1:
        legend_on(ax)
    returned([ax])
    return ax
