"""Figures of random effects in order, of one fit or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ranef.plots.drawing import draw_panels
from ranef.plots.marks import GREY, Mark, dodged, fit_marks, overlaid_marks
from ranef.plots.panels import comparison_panels, estimates_frame, overlay_panels, wide_frame
from ranef.plots.selection import LevelsArgument, TermArgument, checked_limit, select
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["compared_figure", "compared_marks", "ranef_figure"]


def ranef_figure(
    fits: Mapping[str, Fit],
    group: str | None,
    ax: Axes | Sequence[Axes] | None,
    *,
    term: TermArgument,
    levels: LevelsArgument,
    max_levels: int | None,
    level: float,
) -> Axes | Figure:
    """Draw random effects in the order of the first fit's estimates, with the intervals of all fits.

    Raises
    ------
    DesignError
        For an unknown group, term or level, a model without random effects, or `max_levels` below two.
    """
    spec = next(iter(fits.values())).spec
    limit = None if max_levels is None else checked_limit(max_levels, 2, "max_levels")
    selection = select(spec, group, term, levels, limit)
    panels = overlay_panels(selection.keeps(spec, estimates_frame(fits, level)), list(fits), selection)
    marks = overlaid_marks({name: fit.engine for name, fit in fits.items()}, level)
    return draw_panels(panels, marks, ax, formula=spec.design.formula, response=spec.design.response)


def compared_figure(
    fits: Mapping[str, Fit],
    group: str | None,
    *,
    term: TermArgument,
    levels: LevelsArgument,
    max_levels: int,
    level: float,
) -> Axes | Figure:
    """Draw what each level says alone, and the estimate and interval of every fit; a panel for each random effect.

    Raises
    ------
    DesignError
        As :func:`ranef_figure`.
    """
    spec = next(iter(fits.values())).spec
    selection = select(spec, group, term, levels, checked_limit(max_levels, 2, "max_levels"))
    panels = comparison_panels(selection.keeps(spec, wide_frame(fits, level)), list(fits), selection)
    marks = compared_marks({name: fit.engine for name, fit in fits.items()}, level)
    return draw_panels(panels, marks, None, formula=spec.design.formula, response=spec.design.response)


def compared_marks(engines: Mapping[str, str], level: float) -> list[Mark]:
    """Marks of no pooling and of every fit, one above the other."""
    return dodged([Mark("no pooling: level alone", GREY, hollow=True, size=5.0), *fit_marks(engines, level)])
