"""The site as it was built: every link leads somewhere, and every public name is in the reference."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import ranef

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site"

pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").is_file(), reason="the site is not built: python -m sphinx -W -b html docs build/site"
)


class _Page(HTMLParser):
    """Where a page leads, and what can be led to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links |= {given[name] for name in ("href", "src") if given.get(name)}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}


@pytest.fixture(scope="module")
def pages() -> dict[Path, _Page]:
    return {path.resolve(): _Page(path) for path in SITE.rglob("*.html")}


def test_links_lead_somewhere(pages):
    lost = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            if not target.is_file() or (parts.fragment and known and unquote(parts.fragment) not in known.anchors):
                lost.append(f"{path.relative_to(SITE)}: {link}")
    assert not lost


def test_every_document_is_a_page_that_another_leads_to(pages):
    docs, notebooks = ROOT / "docs", ROOT / "notebooks"
    expected = {SITE / path.relative_to(docs) for path in docs.rglob("*.md")}
    expected |= {SITE / "notebooks" / path.name for path in notebooks.glob("*.ipynb")}
    assert {path.with_suffix(".html").resolve() for path in expected} <= set(pages)
    first = pages[(SITE / "index.html").resolve()]
    assert {"which-matrix.html", "variances.html"} <= first.links


def test_first_page_is_the_first_screen_of_the_readme(pages):
    words = re.search(r"^# ranef\n\n(.*?)\n\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    shown = re.sub(r"<[^>]+>", "", (SITE / "index.html").read_text(encoding="utf-8"))
    assert words in shown
    assert "What each column estimates" in shown


def test_reference_has_every_public_name(pages):
    anchors = {anchor for page in pages.values() for anchor in page.anchors}
    names = {f"ranef.{name}" for name in ranef.__all__ if name not in ("datasets", "families", "priors")}
    names |= {f"ranef.priors.{name}" for name in ranef.priors.__all__}
    names |= {f"ranef.datasets.{name}" for name in ranef.datasets.__all__}
    names |= {f"ranef.families.{name}" for name in ranef.families.__all__}
    assert not names - anchors
