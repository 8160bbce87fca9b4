"""Names that are loaded late are found by whoever asks for them, and by nobody else."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import textwrap

import pytest

import _ranef.plots
import ranef


def alone(code):
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that says what its modules hold, one of which another package holds too."""
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "__init__.py").write_text(
        "import json\nfrom _ranef.support.late_names import late\n\nwith late(globals()):\n"
        "    from held import words\n    from held.words import NUMBER as ONE\n    from held.missing import nothing\n"
    )
    (tmp_path / "held" / "words.py").write_text("NUMBER = 1\nprint('loaded')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


@pytest.mark.usefixtures("package")
def test_a_module_is_loaded_by_its_name():
    assert alone("import held; print('before', held.json.__name__); print(held.ONE, held.words.NUMBER)") == [
        *("before", "json"),
        *("loaded", "1", "1"),
    ]
    assert alone("import held.words; print(held.ONE)") == ["loaded", "1"]
    assert alone("from held import ONE; print(ONE)") == ["loaded", "1"]


@pytest.mark.usefixtures("package")
def test_what_is_not_there_is_not_found():
    code = """
        import held
        for name in ("TWO", "nothing"):
            try:
                getattr(held, name)
            except (AttributeError, ImportError) as error:
                print(type(error).__name__)
    """
    assert alone(code) == ["AttributeError", "ModuleNotFoundError"]


def test_imports_are_as_before():
    assert builtins.__import__.__module__ == "builtins"
    with pytest.raises(AttributeError, match="no attribute 'FitPlot'"):
        _ranef.plots.FitPlot  # noqa: B018


def test_every_name_of_the_public_face_is_there_in_a_process_of_its_own():
    assert alone("from ranef import *; import ranef; print(*sorted(set(ranef.__all__) - set(globals())))") == []
    code = f"import ranef\nfor name in {sorted(ranef.__all__)!r}: getattr(ranef, name)\nprint(ranef.priors.__name__)"
    assert alone(code) == ["ranef.priors"]
    assert alone("import pickle, ranef; print(pickle.loads(pickle.dumps(ranef.AR1)) is ranef.AR1)") == ["True"]
