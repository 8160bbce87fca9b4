"""One self-contained HTML file: no request leaves it, and it prints."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _ranef.equations import Equation
from _ranef.report.chart import vega_script
from _ranef.report.shrinkage_explorer import Explorer
from _ranef.support.interrupts import deferred, load
from _ranef.tables import Document, Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Page", "Picture", "page_html"]

DOTS_PER_INCH, CSS_PIXELS_PER_INCH = 192, 96

#: how hard figures are packed, of 9: more takes half as long again for an eighth of their size
PACKED = 3


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A figure of the page.

    Attributes
    ----------
    title, caption : str
        The caption says what is seen, and serves those who cannot see it.
    figure : Figure
    on_paper : bool
        Whether it is printed.
    """

    title: str
    caption: str
    figure: Figure
    on_paper: bool = True


@dataclass(frozen=True, eq=False, repr=False)
class Page:
    """What stands on a page, top to bottom.

    Attributes
    ----------
    title : str
    formula : str
    doubts : tuple of str
        Why fits should not be trusted; none where they may be.
    words : tuple of str
        The model in sentences.
    equations : mapping str to Equation
        By caption.
    data : tuple of Grid
    fingerprint : str
    comparison, intervals, signs : Document
        The last is for the screen alone.
    explorers : tuple of Explorer
    pictures : tuple of Picture
    diagnostics : mapping str to tuple of str
        Sentences by fit.
    summaries : mapping str to Document
    calls : str
    shell : str
        The command line, if the page was made by one.
    versions : tuple of (str, str)
    date : str
    linked : bool
        Whether the response is a generalised one.
    """

    title: str
    formula: str
    doubts: tuple[str, ...]
    words: tuple[str, ...]
    equations: Mapping[str, Equation]
    data: tuple[Grid, ...]
    fingerprint: str
    comparison: Document
    intervals: Document
    signs: Document
    explorers: tuple[Explorer, ...]
    pictures: tuple[Picture, ...]
    diagnostics: Mapping[str, Sequence[str]]
    summaries: Mapping[str, Document]
    calls: str
    shell: str
    versions: tuple[tuple[str, str], ...]
    date: str
    linked: bool = False

    @property
    def choice(self) -> bool:
        """Whether a slider can move one standard deviation alone."""
        return any(e.choice for e in self.explorers)

    @property
    def singular(self) -> bool:
        """Whether the estimate of an explorer is on the boundary."""
        return any(e.singular for e in self.explorers)


def page_html(page: Page) -> str:
    """Render a page."""
    jinja2: Any = load("jinja2")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8"))
    html: str = template.render(
        page=page,
        pictures=[(p, *_image(p.figure)) for p in page.pictures],
        script=vega_script() if page.explorers else "",
        html_of=lambda part: (Document((part,)) if isinstance(part, Grid) else part).to_html(),
    )
    return html


def _tight(figure: Figure) -> Any:
    """The box in inches of all that is drawn, as ``bbox_inches="tight"`` has it, for which it would draw all twice."""
    matplotlib = load("matplotlib")
    renderer = load("matplotlib.backends.backend_agg").FigureCanvasAgg(figure).get_renderer()
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        with matplotlib.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # with "none" it would be asked once more, by drawing all
    return figure.get_tightbbox(renderer).padded(matplotlib.rcParams["savefig.pad_inches"])


def _lightened(figure: Figure) -> None:
    """Spare axes without minor ticks the search for major ones that these would cover."""
    without = load("matplotlib.ticker").NullLocator
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.remove_overlapping_locs = not isinstance(axis.get_minor_locator(), without)


def _image(figure: Figure) -> tuple[str, int, int]:
    """A data URI, and the width and height in CSS pixels at which type has its nominal size."""
    held = io.BytesIO()
    with deferred():  # as where figures are made
        figure.set_dpi(DOTS_PER_INCH)
        _lightened(figure)
        box, packed = _tight(figure), {"compress_level": PACKED}
        figure.savefig(held, format="png", dpi=DOTS_PER_INCH, bbox_inches=box, pil_kwargs=packed)
    png = held.getvalue()
    width, height = (int.from_bytes(png[at : at + 4], "big") * CSS_PIXELS_PER_INCH // DOTS_PER_INCH for at in (16, 20))
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii"), width, height
