"""The page on paper, printed by Chromium: few sheets, nothing cut, headings with what they head, notes once."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import ranef

#: CSS pixels between the margins of a sheet
WIDTHS = {"A4": 695, "Letter": 717}

FORMATS = pytest.mark.parametrize("sheet", list(WIDTHS))
PAGES = pytest.mark.parametrize("printed", ["page", pytest.param("wide", marks=pytest.mark.slow)], indirect=True)


@dataclass(frozen=True)
class Printed:
    """A page in print: as PDF by format, and what a browser said of it.

    Attributes
    ----------
    pdfs : mapping str to bytes
    heads : list of (str, str)
        Headings of figures and explorers, with the text below them.
    titles : list of str
        Of sections.
    beyond : mapping str to list of str
        Elements that reach beyond a sheet, or hide a part of themselves, by format.
    sizes : list of float
        Pixels that the type of equations is high.
    """

    pdfs: Mapping[str, bytes]
    heads: Sequence[tuple[str, str]]
    titles: Sequence[str]
    beyond: Mapping[str, Sequence[str]]
    sizes: Sequence[float]


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """A page of wide equations, long tables, long names and many effects."""
    rng = np.random.default_rng(4)
    kinds = [f"preparation number {k}" for k in "abcdefgh"]
    place = [f"The laboratory for measurements in the {i}th district of a city" for i in range(14)]
    data = pd.DataFrame([(p, k) for p in place for k in kinds for _ in range(3)], columns=["laboratory", "kind"])
    data["y"] = rng.standard_normal(len(data)) + np.repeat(rng.standard_normal(14 * 8), 3)
    model = ranef.Model("y ~ kind + (0 + kind | laboratory)", data)
    return ranef.compare(model.fit(), model.fit("ML")).report(tmp_path_factory.mktemp("wide") / "wide.html")


@pytest.fixture(scope="session")
def printed(browser, request):
    path = request.getfixturevalue(request.param)
    view = browser.new_page()
    view.goto(path.resolve().as_uri())
    view.wait_for_function("document.querySelectorAll('.explorer svg').length > 0")
    pdfs = {sheet: view.pdf(format=sheet) for sheet in WIDTHS}
    heads = view.evaluate(
        """() => [...document.querySelectorAll("figure:not(.screen), .explored")].map(e => [
            e.querySelector("h3").innerText, (e.querySelector("figcaption, .mark-text text")).textContent])"""
    )
    titles = view.locator("section > h2").evaluate_all("all => all.map(e => e.innerText)")
    view.emulate_media(media="print")
    beyond = {}
    for sheet, width in WIDTHS.items():
        view.set_viewport_size({"width": width, "height": 1000})
        beyond[sheet] = view.evaluate(
            """() => [...document.querySelectorAll("body *")].filter(e => e.getClientRects().length
                && (e.getBoundingClientRect().right > innerWidth + 1
                    || (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX == "auto")))
                .map(e => `${e.tagName} ${e.className}`)"""
        )
    sizes = view.locator(".equation math").evaluate_all("all => all.map(e => parseFloat(getComputedStyle(e).fontSize))")
    view.close()
    return Printed(pdfs, heads, titles, beyond, sizes)


def sheets(pdf):
    """How many sheets a PDF has: Chromium leaves their records uncompressed."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def texts(pdf, path):
    """Text of every sheet, blanks made one."""
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext on this machine: apt-get install poppler-utils")
    path.write_bytes(pdf)
    run = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True)
    return [re.sub(r"\s+", " ", text) for text in run.stdout.split("\f")[:-1]]


@FORMATS
@pytest.mark.parametrize("printed", ["page"], indirect=True)
def test_sleepstudy_is_eight_sheets_or_fewer(printed, sheet):
    assert 3 < sheets(printed.pdfs[sheet]) <= 8


def test_printed_by_a_command_too(page, chromium, tmp_path):
    """`chromium --headless --print-to-pdf` writes a date and an address on each sheet."""
    out = tmp_path / "page.pdf"
    options = ["--headless", f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={out}"]
    subprocess.run([*chromium, *options, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)
    assert 3 < sheets(out.read_bytes()) <= 8


@PAGES
@FORMATS
def test_nothing_is_wider_than_paper(printed, sheet):
    assert printed.beyond[sheet] == []


@PAGES
@FORMATS
def test_headings_stand_with_what_they_head(printed, sheet, tmp_path):
    text = texts(printed.pdfs[sheet], tmp_path / "page.pdf")
    for heading, below in printed.heads:
        start = " ".join(below.split()[:4])
        assert any(start in own.split(heading, 1)[1] for own in text if heading in own), heading
    for title in printed.titles:
        assert any(len(own.split(title, 1)[1]) > 60 for own in text if title in own), title


@PAGES
@FORMATS
def test_notes_of_a_table_are_printed_once(printed, sheet, tmp_path):
    text = texts(printed.pdfs[sheet], tmp_path / "page.pdf")
    assert sum(own.count("What each column estimates") for own in text) == 1


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize("printed", ["wide"], indirect=True)
def test_the_head_of_a_table_stands_on_each_of_its_sheets(printed, sheet, tmp_path):
    text = texts(printed.pdfs[sheet], tmp_path / "page.pdf")
    holding = [own for own in text if len(re.findall(r"kind\[preparation", own)) > 20 and "No pooling" in own]
    assert len(holding) >= 2
    assert all("estimate" in own and "Level" in own for own in holding)


@pytest.mark.slow
@pytest.mark.parametrize("printed", ["wide"], indirect=True)
def test_wide_equations_are_smaller_and_legible(printed):
    assert 5.0 < min(printed.sizes) < max(printed.sizes)


@pytest.mark.parametrize("printed", ["page"], indirect=True)
def test_what_only_a_screen_can_do_is_left_out(printed, tmp_path):
    whole = " ".join(texts(printed.pdfs["A4"], tmp_path / "page.pdf"))
    assert "arrow keys" not in whole
    assert "Printed here is the place of the slider" in whole
    assert "mean reliability" in whole
    assert "Linear mixed model sampled" in whole  # of a section that is folded on a screen
