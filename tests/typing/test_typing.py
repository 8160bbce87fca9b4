"""Type checkers know what comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import ranef

HERE = Path(__file__).parent


def test_types_are_shipped():
    assert (Path(ranef.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is of the extra dev")
def test_a_script_passes_mypy_strict(tmp_path):
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(HERE / "script.py")]
    sources = {**os.environ, "MYPYPATH": str(Path(ranef.__file__).parents[1])}
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=sources)
    assert out.returncode == 0, out.stdout + out.stderr
