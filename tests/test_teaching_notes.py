"""Every number that the teaching notes print is ours, by the script that shows them side by side."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import ranef

SCRIPT = Path(__file__).parent.parent / "notebooks" / "teaching_notes.py"


@pytest.fixture(scope="module")
def notes():
    spec = importlib.util.spec_from_file_location("teaching_notes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["teaching_notes"] = module  # where dataclasses look
    spec.loader.exec_module(module)
    yield module
    del sys.modules["teaching_notes"]


@pytest.mark.parametrize("name", ["pulp", "soybean", "irrigation", "eggs", "psid"])
def test_the_notes_numbers(name, notes):
    try:
        ranef.datasets.load(name)
    except ranef.RanefError:
        pytest.skip(f"{name} is read from RANEF_DATA, which is unset")
    lines = list(notes.STORIES[name]())
    assert len(lines) >= 4
    assert [one.what for one in lines if not one.agrees] == []


def test_a_number_that_differs_is_seen(notes):
    assert notes.line("one", "1.50", 1.5049).agrees
    assert not notes.line("one", "1.50", 1.506).agrees
