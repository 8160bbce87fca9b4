"""What figures are drawn with: colours and marks of fits, axes new or given, legends, and how they are handed back."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from _ranef.errors import DesignError
from _ranef.inference import check_level
from _ranef.plots.fonts import legible
from _ranef.plots.names import as_drawn, cut_words
from _ranef.results import ESTIMATING, Fit
from _ranef.support.interrupts import load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "GREY",
    "LEGEND",
    "NAMED",
    "PLAIN_NAMES",
    "VERMILLION",
    "Mark",
    "axes_for",
    "dodged",
    "entitle",
    "figure_of",
    "fit_marks",
    "folded",
    "given_axes",
    "headroom",
    "legend_above",
    "legend_entries",
    "legend_on",
    "mark_doubtful",
    "new_grid",
    "one_axes",
    "overlaid_marks",
    "plain_frame",
    "returned",
    "returned_figure",
]

# Okabe and Ito's palette, which colour-blind readers tell apart
BLUE, VERMILLION, GREY, BLACK = "#0072B2", "#D55E00", "#6E6E6E", "#000000"
GREEN, PURPLE = "#009E73", "#AA4499"

#: colours and markers of further fits, by engine
CONDITIONAL = ((BLUE, "o"), (GREEN, "^"))
POSTERIOR = ((VERMILLION, "s"), (PURPLE, "D"))

#: names that ``ranef.compare`` gives where the user gave none: they say no more than the kind of estimate
PLAIN_NAMES = ("eb", "fb")

#: levels up to which each gets its name on the axis
NAMED = 80

#: a legend that takes little room
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": "small", "columnspacing": 1.4, "handletextpad": 0.5}
LEGEND |= {"borderaxespad": 0.2, "labelspacing": 0.3}

#: of what should not be trusted
RED = "#B00020"


@dataclass(frozen=True)
class Mark:
    """How one series looks.

    Attributes
    ----------
    label : str
        In the legend: what the point is, and what its interval.
    colour, marker : str
    hollow : bool
    offset : float
        Above the middle of its level, in levels.
    width, alpha : float
        Of the stroke of its interval: points, and opacity.
    size : float
        Of the marker, in points.
    """

    label: str
    colour: str
    marker: str = "o"
    hollow: bool = False
    offset: float = 0.0
    width: float = 2.6
    alpha: float = 0.45
    size: float = 6.0


def fit_marks(engines: Mapping[str, str], level: float) -> list[Mark]:
    """One mark for each fit, one beside the other.

    Parameters
    ----------
    engines : mapping str to str
        Engine of each fit, by the name of the fit.
    level : float
        Probability of the intervals.
    """
    check_level(level)
    seen = {False: 0, True: 0}
    out = []
    for name, engine in engines.items():
        posterior = engine not in ESTIMATING
        colour, marker = (POSTERIOR if posterior else CONDITIONAL)[seen[posterior] % 2]
        seen[posterior] += 1
        estimate = "conditional mode" if engine in ("Laplace", "AGQ") else "BLUP"
        given = "" if posterior else r" given $\hat{\theta}$"
        what = f"{'posterior mean' if posterior else estimate}, {100 * level:g} %{given}"
        label = what if name in PLAIN_NAMES else f"{as_drawn(name)}: {what}"
        out.append(Mark(label, colour, marker))
    return out


def overlaid_marks(engines: Mapping[str, str], level: float) -> list[Mark]:
    """Marks of a BLUP on a posterior: a thin dark line on a broad light bar. Other sets of fits stand side by side."""
    marks = fit_marks(engines, level)
    posterior = [engine not in ESTIMATING for engine in engines.values()]
    if sorted(posterior) == [False, True]:
        return [
            replace(m, width=8.0, alpha=0.35, marker="|", size=9.0) if p else replace(m, width=1.6, alpha=1.0, size=5.0)
            for m, p in zip(marks, posterior, strict=True)
        ]
    return dodged(marks)


def dodged(marks: list[Mark], room: float = 0.52) -> list[Mark]:
    """Marks moved apart within `room` of the height of a level, the first one uppermost."""
    n = len(marks)
    return [replace(m, offset=room * (0.5 - i / (n - 1)) if n > 1 else 0.0) for i, m in enumerate(marks)]


# -- axes ----------------------------------------------------------------------------------------------------------


def one_axes(ax: Axes | Sequence[Axes] | None, width: float = 6.4, height: float = 4.4) -> Axes:
    """The Axes given, or a new one in a figure of its own, so many inches wide and high.

    Raises
    ------
    DesignError
        If what is given is no Axes of matplotlib, or several.
    """
    return new_grid(1, 1, (width, height))[0] if ax is None else _counted(ax, 1, "", "one, or none")[0]


def new_grid(n: int, columns: int, size: tuple[float, float], **shared: Any) -> list[Axes]:
    """`n` new Axes in a figure of `size` inches, in rows of so many `columns`."""
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    rows = -(-n // columns)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **shared)
    axes = list(grid.ravel())
    for spare in axes[n:]:
        figure.delaxes(spare)
    return axes[:n]


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
    return _counted(ax, n, "", "as many axes, or none")


def given_axes(ax: Axes | Sequence[Axes], n: int) -> list[Axes]:
    """The axes of ``ax=``, of which there must be `n`."""
    each = ", one for each random effect of each grouping factor,"
    return _counted(ax, n, each, "group=, as many axes, or none")


def _counted(ax: Axes | Sequence[Axes], n: int, each: str, remedy: str) -> list[Axes]:
    axes: list[Axes] = list(np.atleast_1d(np.asarray(ax, dtype=object)).ravel())
    if strange := [a for a in axes if not isinstance(a, load("matplotlib.axes").Axes)]:
        raise DesignError(f"ax={strange[0]!r:.60} is no Axes of matplotlib; plt.subplots() gives one.")
    if len(axes) != n:
        panels = "is 1 panel" if n == 1 else f"are {n} panels"
        raise DesignError(f"There {panels}{each} but {len(axes)} axes in ax=. Give {remedy}.")
    return axes


def plain_frame(ax: Axes) -> None:
    """Leave the axes two spines."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def headroom(ax: Axes, share: float) -> None:
    """Room above what is drawn, for a legend."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + share * (high - low))


# -- legends -------------------------------------------------------------------------------------------------------


def legend_above(axes: Sequence[Axes]) -> None:
    """One legend of all that several axes show, above them, in as many columns as there is room for."""
    labelled = {label: handle for a in axes for handle, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure = figure_of(axes[0])
    widest = 0.085 * max(map(len, labelled)) + 0.75
    columns = max(1, min(len(labelled), int(figure.get_figwidth() // widest)))
    rows = -(-len(labelled) // columns)
    balanced = -(-len(labelled) // rows)
    figure.legend(list(labelled.values()), list(labelled), loc="outside upper center", frameon=False, ncols=balanced)


def entitle(ax: Axes, formula: str, marks: Sequence[Mark] = (), columns: int | None = None) -> None:
    """Put the formula and one legend, that of `ax`, above all panels of its figure."""
    figure = figure_of(ax)
    handles, labels = legend_entries(ax, marks)
    # letters of the formula are 5 points wide
    words = as_drawn(folded(formula, int(72 * figure.get_figwidth() / 5.0)))
    if labels:
        columns = _legend_columns(figure, labels) if columns is None else columns
        # the formula as title of the legend: matplotlib would lay a title of the figure over a legend outside
        legend = figure.legend(
            handles, labels, loc="outside upper center", ncols=columns, title=words or None, **LEGEND
        )
        legend.get_title().set(fontsize="small", color=GREY, family="monospace", multialignment="center")
    elif formula:
        figure.suptitle(words, fontsize="small", color=GREY, family="monospace")


def legend_on(ax: Axes, marks: Sequence[Mark] = (), **place: Any) -> None:
    """Put a legend on given axes, where it covers least unless `place` says where."""
    handles, labels = legend_entries(ax, marks)
    if labels:
        ax.legend(handles, labels, **LEGEND, **place)


def legend_entries(ax: Axes, marks: Sequence[Mark] = ()) -> tuple[list[Any], list[str]]:
    """Handles and labels of what is drawn; the points of `marks` lie on the stroke of their intervals."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - heavy: only where a figure is made

    strokes = {
        m.label: Line2D([], [], color=m.colour, linewidth=m.width, alpha=m.alpha, solid_capstyle="butt")
        for m in marks
        if not m.hollow
    }
    handles, labels = ax.get_legend_handles_labels()
    return [(strokes[t], h) if t in strokes else h for h, t in zip(handles, labels, strict=True)], labels


def _legend_columns(figure: Figure, labels: Sequence[str]) -> int:
    """As many columns as the labels leave room for."""
    widest = 0.072 * max(len(re.sub(r"\$.*?\$", "x", label)) for label in labels) + 0.5
    return max(1, min(len(labels), int(figure.get_figwidth() // widest)))


def folded(text: str, width: int) -> str:
    """The text in lines of about `width` characters, its own line breaks kept."""
    return "\n".join(textwrap.fill(line, max(24, width)) for line in cut_words(text).split("\n"))


# -- what is handed back -------------------------------------------------------------------------------------------


def returned(axes: Sequence[Axes]) -> Axes | Figure:
    """What a figure function gives back when all is drawn: the Axes of one panel, the Figure of several."""
    legible(axes[0])
    return axes[0] if len(axes) == 1 else returned_figure(axes[0])


def returned_figure(drawn: Axes | Figure) -> Figure:
    """The figure, to be returned: a notebook shows it by itself, and would show one left open again."""
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    figure = figure_of(drawn)
    if "inline" in plt.get_backend():
        plt.close(figure)
    return figure


def figure_of(drawn: Axes | Figure) -> Figure:
    """The figure that holds an Axes, or the figure itself."""
    figure = drawn.get_figure(root=True)
    assert figure is not None
    return figure


def mark_doubtful(figure: Figure, fits: Mapping[str, Fit]) -> None:
    """Put the names of those of the `fits` that should not be trusted under a figure."""
    doubtful = [name for name, fit in fits.items() if not fit.ok]
    if doubtful:
        words = f"Not to be trusted: {', '.join(doubtful)} (warnings say why)"
        above = figure.get_supxlabel().removesuffix(words).rstrip()
        figure.supxlabel(f"{above}\n{words}".lstrip(), color=RED, fontsize="medium")
