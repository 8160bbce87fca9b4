"""One self-contained HTML file: no request leaves it, and it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _ranef.equations import Equation
from _ranef.report.chart import vega_script
from _ranef.report.images import image
from _ranef.report.shrinkage_explorer import Explorer
from _ranef.support.interrupts import load
from _ranef.tables import Document, Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Page", "Picture", "page_html"]


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
        pictures=[(p, *image(p.figure)) for p in page.pictures],
        script=vega_script() if page.explorers else "",
        html_of=lambda part: (Document((part,)) if isinstance(part, Grid) else part).to_html(),
    )
    return html
