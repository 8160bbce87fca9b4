"""Names and units on figures: short enough to leave room for what is drawn, and as many as do not overlap."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from _ranef.plots.fonts import fallen_back, families_for
from _ranef.spec import Generalised, ModelSpec
from _ranef.support.arrays import Floats
from _ranef.support.escaped_names import mathtext_safe, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "as_drawn",
    "cut_words",
    "effect_on",
    "effect_title",
    "effects_of",
    "name_levels",
    "per_unit",
    "remember",
    "shortened",
    "spread_labels",
    "text_width",
]

Which = Literal["x", "y"]

#: characters of a name on an axis, and of a word in a title or formula
LONG, LONGEST = 30, 48

#: width of a character, and height of a line, in sizes of the font
CHARACTER, LINE = 0.6, 1.25

#: names along the horizontal axis up to which they may stand upright
UPRIGHT = 12

#: characters of a line of a label
WIDTH = 48

#: a factor of a column's name: up to a colon outside brackets and quotes
FACTOR = re.compile(r"(?:[^:\[(`]|\[[^\]]*\]|\([^)]*\)|`[^`]*`)+")


def name_levels(ax: Axes, names: Sequence[str], which: Which = "y", *, size: float = 9.0, long: int = LONG) -> None:
    """Name the places 0, 1, … along an axis: every one, or every k-th where all would overlap, whatever the size.

    Parameters
    ----------
    ax : Axes
    names : sequence of str
        From the first place on.
    which : "x" or "y"
        Names along x are turned where there are many or where they are long.
    size : float
        Of the font, in points.
    long : int
        Characters beyond which a name is shortened.
    """
    short = [fallen_back(name) for name in shortened(names, long)]
    widest = text_width(short, size)
    short = [as_drawn(name) for name in short]
    turned = which == "x" and (len(short) > UPRIGHT or widest * len(short) > 72.0 * 0.8 * _inches(ax))
    along = widest + 0.5 * size if which == "x" and not turned else LINE * size
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(_roomy(len(short), along))
    axis.set_major_formatter(_formatter(short))
    remember(axis, names)
    look: dict[str, Any] = {"labelsize": size, "labelrotation": 90 if turned else 0, "length": 0}
    ax.tick_params(axis=which, labelfontfamily=families_for("".join(short)), **look)


def as_drawn(words: str) -> str:
    """Words as matplotlib draws them, whatever names they hold: no mathematics, and nothing hidden in a line."""
    return mathtext_safe("\n".join(map(printable, cut_words(words).split("\n"))))


def cut_words(text: str) -> str:
    """The text, without the middle of words that would fill a figure."""
    return re.sub(rf"\S{{{LONGEST + 1},}}", lambda found: _cut(found.group(), LONGEST), text)


def shortened(names: Sequence[str], long: int = LONG) -> list[str]:
    """Names of at most `long` characters: what all share is left out, then the middle; unless two became one.

    Examples
    --------
    >>> shortened(["a", "Ward 1"], 8)
    ['a', 'Ward 1']
    >>> shortened(["The school of the district 17", "The school of the district 4"], 12)
    ['…district 17', '…district 4']
    """
    names = [printable(name) if name.strip() else repr(name) for name in names]
    if max(map(len, names), default=0) <= long:
        return names
    head = _shared(names)
    tail = _shared([name[len(head) :][::-1] for name in names])
    inner = [f"{'…' if head else ''}{name[len(head) : len(name) - len(tail)]}{'…' if tail else ''}" for name in names]
    short = [_cut(name, long) for name in (inner if head or tail else names)]
    return short if len(set(short)) == len(set(names)) else list(names)


def text_width(names: Sequence[str], size: float) -> float:
    """About how many points the longest name is wide; a Chinese character is as wide as it is high."""
    return size * max((sum(1.0 if ord(c) > 0x2E7F else CHARACTER for c in name) for name in names), default=0.0)


def _shared(names: Sequence[str]) -> str:
    """The words that names begin with in common, but for the last: one word before the difference stays."""
    if len(set(names)) < 2:
        return ""
    words = zip(*(name.split(" ")[:-1] for name in names), strict=False)
    common = [own[0] for own in takewhile(lambda own: len(set(own)) == 1, words)]
    return " ".join([*common[:-1], ""]) if len(common) > 1 else ""


def _cut(name: str, long: int) -> str:
    if len(name) <= long:
        return name
    front = (2 * (long - 1)) // 3
    return f"{name[:front].rstrip()}…{name[len(name) - (long - 1 - front) :].lstrip()}"


def _inches(ax: Axes) -> float:
    """About how wide the axes are; a layout may change it."""
    return float(ax.get_window_extent().width / ax.figure.dpi)


def _formatter(short: Sequence[str]) -> Any:
    """A formatter that writes the short name of a place."""
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415 - heavy: only where a figure is made

    return FuncFormatter(lambda at, _: short[round(at)] if 0 <= round(at) < len(short) else "")


def remember(axis: Any, names: Sequence[str]) -> None:
    """Keep the full names of what is written along an axis, where :func:`~_ranef.plots.fonts.legible` finds them."""
    axis.get_major_formatter().names = tuple(names)


def _roomy(n: int, along: float) -> Any:
    """A locator of every k-th of n places, so that labels `along` points of the axis each do not overlap."""
    from matplotlib.ticker import Locator  # noqa: PLC0415 - heavy: only where a figure is made

    class Roomy(Locator):
        """Reads the length of the axis whenever it is drawn: a figure that is enlarged names more levels."""

        def tick_values(self, vmin: float, vmax: float) -> Any:
            axis: Any = self.axis
            box = axis.axes.get_window_extent()
            length = box.width if axis is axis.axes.xaxis else box.height
            apart = length * 72.0 / axis.axes.figure.dpi / max(abs(vmax - vmin), 1e-9)
            return np.arange(0, n, max(1, int(np.ceil(along / max(apart, 1e-9)))))

        def __call__(self) -> Any:
            axis: Any = self.axis
            return self.tick_values(*axis.get_view_interval())

    return Roomy()


def spread_labels(heights: Floats, apart: float) -> Floats:
    """Heights (n,) moved as little as keeps neighbours `apart`, in their order: isotonic regression of what is left."""
    order = np.argsort(heights, kind="stable")
    steps = apart * np.arange(len(heights))
    blocks: list[tuple[float, int]] = []
    for value in heights[order] - steps:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] >= mean:
            earlier, n = blocks.pop()
            mean, size = (earlier * n + mean * size) / (n + size), n + size
        blocks.append((mean, size))
    out = np.empty(len(heights))
    out[order] = np.concatenate([[np.empty(0)], *[np.full(n, m) for m, n in blocks]], axis=None) + steps
    return out


def per_unit(column: str) -> str:
    """What the effect of a column is per: a unit of the covariates in it; nothing where it has indicators alone.

    Examples
    --------
    >>> per_unit("Days"), per_unit("Machine[B]"), per_unit("Machine[B]:speed")
    (' per unit of Days', '', ' per unit of speed')
    """
    numeric = [factor for factor in FACTOR.findall(column) if factor != "Intercept" and not factor.endswith("]")]
    return f" per unit of {':'.join(numeric)}" if numeric else ""


def effect_title(name: str, shown: int, n: int, thinning: str = "") -> str:
    """The title of a panel: its name, and how many of `n` levels are `shown` where it is not all."""
    return name if shown == n else f"{name}\n{shown} of {n} levels{thinning}"


def effects_of(spec: ModelSpec) -> str:
    """What random effects are effects on: the response, or its link of a generalised one.

    Examples
    --------
    >>> import ranef
    >>> effects_of(ranef.Model("TICKS ~ 1 + (1 | BROOD)", ranef.datasets.load("grouseticks"), family="poisson").spec)
    'log mean TICKS'
    """
    family, response = spec.family, spec.design.response
    if isinstance(family, Generalised) and (counts := re.match(r"cbind\(\s*([^,]+?)\s*,", response)):
        response = counts[1]
    if not isinstance(family, Generalised):
        return response
    return f"{family.link} {'p of' if np.isfinite(family.upper) else 'mean'} {response}"


def effect_on(response: str, column: str, what: str = "random effect") -> str:
    """The label of an axis that an effect runs along, with its unit.

    Examples
    --------
    >>> effect_on("Reaction", "Days")
    'random effect on Reaction per unit of Days'
    """
    words = f"{what} on {response}{per_unit(column)}" if response else f"{what}{per_unit(column)}"
    return textwrap.fill(cut_words(words), WIDTH)
