"""The shrinkage figure of one fit or several, as dumbbells or as arrows in a plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ranef.errors import DesignError, suggestion
from ranef.plots.drawing import draw_panels
from ranef.plots.marks import GREY, Mark, dodged, fit_marks
from ranef.plots.panels import joined_panels, wide_frame
from ranef.plots.plane import planes
from ranef.plots.plane_drawing import draw_planes
from ranef.plots.selection import LevelsArgument, Selection, TermArgument, checked_limit, select
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
    term: TermArgument,
    levels: LevelsArgument,
    max_levels: int,
    level: float,
) -> Axes | Figure:
    """Draw each level alone and where each fit draws it.

    Raises
    ------
    DesignError
        For an unknown group, term, level or kind, a model without random effects, `max_levels` below two, or a plane
        of one effect.
    """
    spec = next(iter(fits.values())).spec
    limit = checked_limit(max_levels, 2, "max_levels")
    if kind is None:
        kind = "plane" if _in_pairs(select(spec, group, term, levels)) else "dumbbell"
    if kind not in KINDS:
        raise DesignError(f"kind={kind!r} must be one of {', '.join(map(repr, KINDS))}.{suggestion(str(kind), KINDS)}")
    words = {"formula": spec.design.formula, "response": spec.design.response}
    marks = fit_marks({name: fit.engine for name, fit in fits.items()}, level)
    if kind == "plane":
        return draw_planes(planes(fits, select(spec, group, term, levels)), marks, ax, **words)
    selection = select(spec, group, term, levels, limit)
    alone = Mark("no pooling: each level alone", GREY, hollow=True)
    several = [alone, *marks] if len(fits) == 1 else dodged([alone, *marks], 0.4)
    frame = selection.keeps(spec, wide_frame(fits, level))
    return draw_panels(joined_panels(frame, list(fits), selection), several, ax, joined=True, **words)


def _in_pairs(selection: Selection) -> bool:
    """Whether every grouping factor shown has two effects."""
    counts = Counter(k for k, _ in selection.columns)
    return bool(counts) and set(counts.values()) == {2}
