"""The index of edge cases names tests that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

import edges

TESTS = Path(__file__).parents[1]
NAMED = [line.strip() for line in edges.__doc__.splitlines() if ".py::" in line]


def test_every_row_of_the_table_is_there():
    rows = [line for line in edges.__doc__.splitlines()[4:] if line and not line.startswith(" ")]
    assert len(rows) == 11
    assert len(NAMED) > 30


@pytest.mark.parametrize("name", NAMED)
def test_named_test_exists(name):
    path, function = name.split("::")
    assert f"\ndef {function}(" in (TESTS / path).read_text(encoding="utf-8")
