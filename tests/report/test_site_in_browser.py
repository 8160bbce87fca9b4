"""The site on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "build" / "site"
WIDTHS = {"desk": 1280, "phone": 390}

pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").is_file(), reason="the site is not built: python -m sphinx -W -b html docs build/site"
)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_pages_fit_their_width_and_need_no_network(browser, width):
    page = browser.new_page(viewport={"width": width, "height": 844})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index", "formula", "which-matrix", "phrasebook", "api/reml", "notebooks/04_equations"):
        page.goto((SITE / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.locator("h1").first.is_visible()
    assert page.locator("math").count() > 20
    assert page.locator("math").first.bounding_box()["height"] > 5
    assert all(url.startswith("file:") for url in asked)
    page.close()
