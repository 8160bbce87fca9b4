"""Made-up tests that take long are failed by the plugin of tests/budget.py, and those that may are not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

MADE_UP = """
import subprocess
import sys
import time

import pytest

SPIN = "import time\\nend = time.process_time() + 0.6\\nwhile time.process_time() < end: pass"


def spin():
    exec(SPIN)


@pytest.fixture
def own():
    spin()


@pytest.fixture(scope="module")
def shared():
    spin()


def test_idle():
    time.sleep(0.6)


def test_spins():
    spin()


def test_child_spins():
    subprocess.run([sys.executable, "-c", SPIN], check=True)


def test_own_fixture(own):
    pass


@pytest.mark.slow
def test_marked():
    spin()


def test_shared_fixture(shared):
    pass


def test_beside_it(shared):
    pass
"""


def outcomes(folder: Path, limit: float) -> tuple[dict[str, str], str]:
    """Outcome of every made-up test under a limit, and what was printed."""
    (folder / "test_made_up.py").write_text(MADE_UP)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: takes long\n")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "budget", "-p", "no:cacheprovider", "-p", "no:xdist"]
    found = subprocess.run(
        [*command, "-o", f"slow_cpu_seconds={limit}", "test_made_up.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return dict(re.findall(r"::test_(\w+) ([A-Z]+)", found)), found


def test_what_takes_long_fails_unless_it_is_marked(tmp_path):
    found, printed = outcomes(tmp_path, 0.4)
    failed = {name for name, outcome in found.items() if outcome in ("FAILED", "ERROR")}
    assert failed == {"spins", "child_spins", "own_fixture", "shared_fixture"}
    assert {name for name, outcome in found.items() if outcome == "PASSED"} == {"idle", "marked", "beside_it"}
    assert "more than slow_cpu_seconds = 0.4: make it smaller, or mark the test slow" in printed
    assert "the fixture 'shared' took 0.6" in printed


def test_below_the_limit_nothing_fails(tmp_path):
    found, _ = outcomes(tmp_path, 60)
    assert set(found.values()) == {"PASSED"}
    assert len(found) == 7


def test_this_session_has_the_plugin(request):
    assert request.config.pluginmanager.has_plugin("budget of a test")
    assert float(request.config.getini("slow_cpu_seconds")) >= 10


def test_threads_of_blas_were_limited_before_numpy_was_loaded(threads_in_time):
    """With two threads on two busy cores, small matrices take eight times the CPU time."""
    assert threads_in_time
    assert os.environ["OPENBLAS_NUM_THREADS"]
