"""Where the matrices of random effects are not zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from _ranef.inference import Block, Pattern, matrix_pattern
from _ranef.plots.drawing import BLUE, GREY, VERMILLION, one_axes
from _ranef.plots.fonts import fallen_back, families_for, legible
from _ranef.plots.names import as_drawn, remember, shortened, spread_labels, text_width
from _ranef.results import Fit
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["pattern_axes", "shares"]

TITLES = {"Z": "Z", "ZtZ": "$Z^T Z$", "L": "L, the Cholesky factor of $\\Lambda^T Z^T W Z \\Lambda + I$"}

#: points along the axis that a slanted name takes
SLANTED = 19.0

#: darkness of a cell with a single place that is not zero, so that it is seen at all
LEAST = 0.3


def pattern_axes(fit: Fit, which: str = "Z", ax: Axes | None = None) -> Axes:
    """Draw where a matrix of the random effects is not zero, its blocks named."""
    pattern = matrix_pattern(fit, which)
    size = (4.6, 5.6) if pattern.name == "Z" else (5.8, 5.8)
    ax = one_axes(ax, *size)
    _draw(ax, pattern)
    legible(ax)
    return ax


def shares(pattern: Pattern, most: int = 300) -> Floats:
    """Shares (r, c) of the places of a raster's cells that are not zero: every place a cell where they are few.

    Parameters
    ----------
    pattern : Pattern
    most : int
        Cells along one side at most.

    Examples
    --------
    >>> import numpy as np
    >>> from _ranef.inference import Pattern
    >>> corner = Pattern("Z", (4, 2), np.array([0, 1, 3]), np.array([0, 0, 1]), (), ())
    >>> shares(corner, 2).tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    cells = [min(n, most) for n in pattern.shape]
    places = [at * c // n for at, c, n in zip((pattern.rows, pattern.cols), cells, pattern.shape, strict=True)]
    counts = np.bincount(places[0] * cells[1] + places[1], minlength=cells[0] * cells[1]).reshape(cells)
    sides = [
        np.bincount(np.arange(n, dtype=np.int64) * c // n, minlength=c)
        for c, n in zip(cells, pattern.shape, strict=True)
    ]
    return np.asarray(counts / np.outer(*sides))


def _draw(ax: Axes, pattern: Pattern) -> None:
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - heavy: only where a figure is made

    m, n = pattern.shape
    part = shares(pattern)
    dark = (part > 0) * (LEAST + (1.0 - LEAST) * part**0.5)
    white_to_blue = LinearSegmentedColormap.from_list("pattern", ["white", BLUE])
    ax.imshow(
        dark,
        cmap=white_to_blue,
        vmin=0.0,
        vmax=1.0,
        interpolation="nearest" if max(part.shape) < 300 else "antialiased",
        extent=(0, n, m, 0),
        aspect="auto" if pattern.name == "Z" else "equal",
    )
    for _, start, _ in pattern.col_blocks[1:]:
        ax.axvline(start, color=VERMILLION, linewidth=1.0)
    for _, start, _ in pattern.row_blocks[1:]:
        ax.axhline(start, color=VERMILLION, linewidth=1.0)
    of = " of its lower triangle" if pattern.name == "L" else ""
    ax.set_title(f"{TITLES[pattern.name]}\n{m} × {n}, {_percent(pattern.filled)}{of} not zero", fontsize="medium")
    _name_blocks(ax, pattern)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_edgecolor(GREY)


def _name_blocks(ax: Axes, pattern: Pattern) -> None:
    """Name the stretches of columns below them and of rows beside them; slanted where two names would meet."""
    box = ax.get_window_extent()
    points = 72.0 / ax.figure.dpi
    slanted = _crowded(pattern.col_blocks, pattern.shape[1], 0.85 * box.width * points)
    names = _named(pattern.col_blocks, " " if slanted else "\n")
    look: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "fontsize": "small"}
    at: Floats = np.array(_middles(pattern.col_blocks))
    if slanted:  # lines of text side by side
        at = spread_labels(at, SLANTED * pattern.shape[1] / (0.85 * box.width * points))
    ax.set_xticks(at, names, **(look if slanted else {}))
    ax.tick_params(axis="x", labelfontfamily=families_for("".join(names)))
    remember(ax.xaxis, [name for name, _, _ in pattern.col_blocks])
    if not pattern.row_blocks:
        ax.set_ylabel("rows of the data")
        return
    turned = not _crowded(pattern.row_blocks, pattern.shape[0], 0.85 * box.height * points)
    upright: dict[str, Any] = {"rotation": 90, "va": "center"} if turned else {"fontsize": "small"}
    names = _named(pattern.row_blocks, "\n" if turned else " ")
    ax.set_yticks(_middles(pattern.row_blocks), names, **upright)
    ax.tick_params(axis="y", labelfontfamily=families_for("".join(names)))


def _crowded(blocks: Sequence[Block], total: int, length: float) -> bool:
    """Whether names along an axis of so many points, each in the middle of its block, would overlap."""
    middles = np.array(_middles(blocks)) * length / max(total, 1)
    widths = np.array([text_width(name.split("\n"), 10.0) for name in _named(blocks, "\n")])
    return bool(np.any(np.diff(middles) < 0.5 * (widths[1:] + widths[:-1]) + 8.0))


def _middles(blocks: Sequence[Block]) -> list[float]:
    return [(a + b) / 2 for _, a, b in blocks]


def _named(blocks: Sequence[Block], between: str) -> list[str]:
    short = [fallen_back(name) for name in shortened([name for name, _, _ in blocks], 44)]
    return [f"{as_drawn(name)}{between}{b - a} columns" for name, (_, a, b) in zip(short, blocks, strict=True)]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "all"
