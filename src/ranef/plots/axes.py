"""Axes on which figures are drawn, new or given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ranef.errors import DesignError
from ranef.plots.drawing import figure_of, new_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["axes_for", "legend_above"]


def axes_for(ax: Axes | Sequence[Axes] | None, n: int, size: tuple[float, float], columns: int = 3) -> list[Axes]:
    """The axes given, or a new grid of them, each `size` inches wide and high.

    Raises
    ------
    DesignError
        If another number of axes is given than there are panels.
    """
    if ax is None:
        columns = 2 if n == 4 else min(columns, n)
        return new_grid(n, columns, (size[0] * columns, size[1] * -(-n // columns)))
    given: list[Axes] = list(np.atleast_1d(np.asarray(ax, dtype=object)).ravel())
    if len(given) != n:
        raise DesignError(f"There are {n} panels but {len(given)} axes in ax=. Give as many axes, or none.")
    return given


def legend_above(axes: Sequence[Axes]) -> None:
    """One legend of all that several axes show, above them, in as many columns as there is room for."""
    labelled = {label: handle for a in axes for handle, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure = figure_of(axes[0])
    widest = 0.085 * max(map(len, labelled)) + 0.75
    columns = max(1, min(len(labelled), int(figure.get_figwidth() // widest)))
    rows = -(-len(labelled) // columns)
    balanced = -(-len(labelled) // rows)
    figure.legend(list(labelled.values()), list(labelled), loc="outside upper center", frameon=False, ncols=balanced)
