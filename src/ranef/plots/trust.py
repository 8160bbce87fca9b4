"""A line under figures of fits that should not be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["mark_doubtful"]

RED = "#B00020"


def mark_doubtful(figure: Figure, fits: Mapping[str, Fit]) -> Figure:
    """The same figure, with the names of those of the `fits` that should not be trusted under it."""
    doubtful = [name for name, fit in fits.items() if not fit.ok]
    if doubtful:
        words = f"Not to be trusted: {', '.join(doubtful)} (warnings say why)"
        figure.supxlabel(words, color=RED, fontsize="medium")
    return figure
