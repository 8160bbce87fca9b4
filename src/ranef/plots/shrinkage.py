"""The shrinkage figure of one fit or several, as dumbbells or as arrows in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ranef.errors import DesignError, suggestion
from ranef.inference import grouping_named
from ranef.plots.drawing import draw_panels
from ranef.plots.marks import GREY, Mark, dodged, fit_marks
from ranef.plots.panels import joined_panels, wide_frame
from ranef.plots.plane import planes
from ranef.plots.plane_drawing import draw_planes
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["shrinkage_figure"]

KINDS = ("dumbbell", "plane")


def shrinkage_figure(
    fits: Mapping[str, Fit],
    group: str | None,
    ax: Axes | Sequence[Axes] | None,
    *,
    kind: str | None,
    max_levels: int,
    level: float,
) -> Axes | Figure:
    """Draw each level alone and where each fit draws it.

    Raises
    ------
    DesignError
        For an unknown group or kind, a model without random effects, `max_levels` below two, or a plane of one effect.
    """
    if max_levels < 2:
        raise DesignError(f"max_levels={max_levels!r} must be at least 2.")
    spec = next(iter(fits.values())).spec
    shown = list(spec.groupings) if group is None else [grouping_named(spec, group)[1]]
    if kind is None:
        kind = "plane" if shown and all(len(g.columns) == 2 for g in shown) else "dumbbell"
    if kind not in KINDS:
        raise DesignError(f"kind={kind!r} must be one of {', '.join(map(repr, KINDS))}.{suggestion(str(kind), KINDS)}")
    words = {"formula": spec.design.formula, "response": spec.design.response}
    marks = fit_marks({name: fit.engine for name, fit in fits.items()}, level)
    if kind == "plane":
        return draw_planes([plane for g in shown for plane in planes(fits, g.name)], marks, ax, **words)
    alone = Mark("no pooling: each level alone", GREY, hollow=True)
    several = [alone, *marks] if len(fits) == 1 else dodged([alone, *marks], 0.4)
    panels = joined_panels(wide_frame(fits, level, group), max_levels, list(fits))
    return draw_panels(panels, several, ax, joined=True, **words)
