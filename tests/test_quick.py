"""The rule of tests/quick.py on a made-up file, and that it leaves no layer without a quick test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MADE_UP = """
import subprocess

import pytest


def helper():
    return subprocess.run(["true"])


def other_helper():
    return helper()


@pytest.fixture
def started():
    return other_helper()


@pytest.mark.parametrize("case", ["a", "b"])
def test_cases(case):
    pass


@pytest.mark.slow
def test_marked_slow():
    pass


def test_by_a_helper():
    other_helper()


def test_by_a_fixture(started):
    pass


def test_2():
    pass


def test_3():
    pass


def test_4():
    pass
"""


def test_first_cases_of_three_tests_that_start_nothing(tmp_path):
    (tmp_path / "test_made_up.py").write_text(MADE_UP)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow: takes long\n  quick: by rule\n")
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "quick",
            "-p",
            "no:cacheprovider",
            "-m",
            "quick",
            "--collect-only",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert re.findall(r"::test_(\S+)", found) == ["cases[a]", "2", "3"]


def test_every_folder_has_quick_tests(request):
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    if len(items) < 5000:
        pytest.skip("only where the whole suite is collected")
    assert {item.path.parent for item in items} == {i.path.parent for i in items if i.get_closest_marker("quick")}
