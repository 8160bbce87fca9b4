"""Figures as images of a page: each axis is read twice, where matplotlib alone would read it twelve times."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from _ranef.support.interrupts import deferred, load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["image"]

DOTS_PER_INCH, CSS_PIXELS_PER_INCH = 192, 96

#: how hard figures are packed, of 9: more takes half as long again for an eighth of their size
PACKED = 3


def image(figure: Figure) -> tuple[str, int, int]:
    """A data URI, and the width and height in CSS pixels at which type has its nominal size; the figure is spent."""
    held = io.BytesIO()
    with deferred():  # as where figures are made
        figure.set_dpi(DOTS_PER_INCH)
        for axes in figure.axes:
            _lighten(axes)
        box, packed = _tight(figure), {"compress_level": PACKED}
        figure.savefig(held, format="png", dpi=DOTS_PER_INCH, bbox_inches=box, pil_kwargs=packed)
    png = held.getvalue()
    width, height = (int.from_bytes(png[at : at + 4], "big") * CSS_PIXELS_PER_INCH // DOTS_PER_INCH for at in (16, 20))
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii"), width, height


def _tight(figure: Figure) -> Any:
    """The box in inches of all that is drawn, as ``bbox_inches="tight"`` has it, for which it would draw all twice."""
    matplotlib = load("matplotlib")
    renderer = load("matplotlib.backends.backend_agg").FigureCanvasAgg(figure).get_renderer()
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        with matplotlib.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # with "none" it would be asked once more, by drawing all
    return figure.get_tightbbox(renderer).padded(matplotlib.rcParams["savefig.pad_inches"])


def _lighten(axes: Axes) -> None:
    """Spare axes what matplotlib does again and again; a name that a version lacks, it never asks for."""
    without = load("matplotlib.ticker").NullLocator
    for axis in (axes.xaxis, axes.yaxis):
        # without minor ticks there is no search for major ones that these would cover
        axis.remove_overlapping_locs = not isinstance(axis.get_minor_locator(), without)
        for name in ("_update_ticks", "_get_ticklabel_bboxes"):
            if hasattr(axis, name):
                setattr(axis, name, _once(axis, getattr(axis, name)))
    axes.get_tightbbox = _margins_kept(axes, axes.get_tightbbox)  # type: ignore[method-assign]


def _once(axis: Axis, asked: Callable[..., Any]) -> Callable[..., Any]:
    """What is found of the ticks of an axis, until it lies elsewhere or shows other values."""
    kept: dict[str, Any] = {}

    def remembered(*arguments: Any, **named: Any) -> Any:
        at = (axis.axes.bbox.bounds, tuple(axis.get_view_interval()))
        if kept.get("at") != at:
            kept.update(found=asked(*arguments, **named), at=at)
        return kept["found"]

    return remembered


def _margins_kept(axes: Axes, asked: Callable[..., Any]) -> Callable[..., Any]:
    """The box round an Axes and its names: what stands out beyond the frame is measured once, before the layout."""
    kept: list[tuple[float, float]] = []

    def remembered(renderer: Any = None, *, for_layout_only: bool = False, **named: Any) -> Any:
        inner = axes.bbox
        if not kept:
            outer = asked(renderer, for_layout_only=True, **named)
            kept.append((inner.x0 - outer.x0, inner.y0 - outer.y0))
            kept.append((outer.x1 - inner.x1, outer.y1 - inner.y1))
        (left, below), (right, above) = kept
        box = type(inner.frozen()).from_extents(inner.x0 - left, inner.y0 - below, inner.x1 + right, inner.y1 + above)
        words = [] if for_layout_only else [axes.title, axes.xaxis.label, axes.yaxis.label]
        boxes = [t.get_window_extent(renderer) for t in words if t.get_visible() and t.get_text()]
        return box.union([box, *boxes])

    return remembered
