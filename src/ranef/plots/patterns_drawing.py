"""Figures of the patterns of matrices; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ranef.interrupts import load
from ranef.plots.drawing import BLUE, GREY, VERMILLION
from ranef.plots.patterns import Block, Pattern, matrix_pattern, shares
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["pattern_axes"]

TITLES = {"Z": "Z", "ZtZ": "$Z^T Z$", "L": "L, the Cholesky factor of $\\Lambda^T Z^T W Z \\Lambda + I$"}

#: darkness of a cell with a single place that is not zero, so that it is seen at all
LEAST = 0.3


def pattern_axes(fit: Fit, which: str = "Z", ax: Axes | None = None) -> Axes:
    """Draw where a matrix of the random effects is not zero, its blocks named."""
    pattern = matrix_pattern(fit, which)
    ax = _new_axes(pattern) if ax is None else ax
    _draw(ax, pattern)
    return ax


def _new_axes(pattern: Pattern) -> Axes:
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    size = (4.6, 5.6) if pattern.name == "Z" else (5.8, 5.8)
    ax: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return ax


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
    crowded = len(pattern.col_blocks) > 2 and min(b - a for _, a, b in pattern.col_blocks) < 0.2 * n
    slanted: dict[str, Any] = (
        {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "fontsize": "small"} if crowded else {}
    )
    ax.set_xticks([(a + b) / 2 for _, a, b in pattern.col_blocks], _named(pattern.col_blocks), **slanted)
    if pattern.row_blocks:
        middles = [(a + b) / 2 for _, a, b in pattern.row_blocks]
        upright: dict[str, Any] = {"fontsize": "small"} if crowded else {"rotation": 90, "va": "center"}
        ax.set_yticks(middles, _named(pattern.row_blocks), **upright)
    else:
        ax.set_ylabel("rows of the data")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_edgecolor(GREY)


def _named(blocks: Sequence[Block]) -> list[str]:
    return [f"{name}\n{b - a} columns" for name, a, b in blocks]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "all"
