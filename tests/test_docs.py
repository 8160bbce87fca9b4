"""Documents name files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = (ROOT, ROOT / "src" / "ranef", ROOT / "src" / "_ranef")


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "docs/mathematics.md"])
def test_files_that_documents_name_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./<>-]+\.(?:py|md|toml|jinja))`", text))
    assert named
    lost = [file for file in named if "<" not in file and not any(_found(file, place) for place in PLACES)]
    assert not lost


def _found(file: str, place: Path) -> bool:
    return (place / file).exists() or any(place.glob(f"*/{file}"))


def test_sections_that_docstrings_cite_exist():
    headings = re.findall(r"^## (\d+)\.", (ROOT / "docs/mathematics.md").read_text(encoding="utf-8"), re.MULTILINE)
    for path in (ROOT / "src").rglob("*.py"):
        for cited in re.findall(r"docs/mathematics\.md`` §(\d+)(?: and §?(\d+))?", path.read_text(encoding="utf-8")):
            assert {number for number in cited if number} <= set(headings), path
