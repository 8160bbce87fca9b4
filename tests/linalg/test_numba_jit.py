"""What numba compiles is kept in ranef's folder, and whatever is wrong with it there, it is compiled anew."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import sys

import numpy as np
import pytest

from _ranef.likelihood import row_loops
from _ranef.linalg.numba_jit import _files, _source, compiled
from _ranef.posterior.loops import joint_rows
from _ranef.support import compiled_store

MODULE = """
def total(x):
    out = 0.0
    for i in range(x.shape[0]):
        out += {factor} * x[i]
    return out
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled_store, "_told", set())
    monkeypatch.setenv("RANEF_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def make(tmp_path, monkeypatch):
    """The function of a module that can be imported, decorated as in a new process."""
    # of a file written twice in a second Python would run the bytecode of the first
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def decorated(factor=1.0):
        file = tmp_path / "loops.py"
        file.write_text(MODULE.format(factor=factor))
        spec = importlib.util.spec_from_file_location("loops", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, "loops", module)
        return compiled(nogil=True)(module.total)

    return decorated


def hits(function, expected=3.0):
    """How often a call loaded what was kept, instead of compiling."""
    assert function(np.arange(3.0)) == expected
    return sum(function.stats.cache_hits.values())


def test_a_later_process_loads_it(folder, make):
    assert hits(make()) == 0
    assert len(list(folder.iterdir())) == 1
    gc.collect()  # nothing is left of the first, as in another process
    assert hits(make()) == 1


@pytest.mark.parametrize(
    "damage", [lambda whole: b"", lambda whole: whole[:100], lambda whole: whole[:-1], lambda whole: b"garbage"]
)
def test_a_file_that_is_not_whole_is_made_anew(damage, folder, make):
    make()(np.arange(3.0))
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert hits(make()) == 0
    assert hits(make()) == 1


def test_other_types_are_other_files(folder, make):
    make()(np.arange(3.0))
    assert make()(np.arange(3)) == 3.0
    assert len(list(folder.iterdir())) == 2


def test_changed_code_is_not_what_was_kept(folder, make):
    assert hits(make()) == 0
    _source.cache_clear()  # a file is read once in a process
    assert hits(make(2.0), 6.0) == 0


def test_where_nothing_can_be_kept_it_is_compiled(folder, make, caplog):
    folder.write_text("in the way")
    assert hits(make()) == 0
    assert hits(make()) == 0
    assert len(caplog.records) == 1


def test_code_of_other_files_counts():
    """Loops that call those of another file, and these again, are compiled anew when any of the files changes."""
    loops = joint_rows.joint_density, joint_rows.hyper_forward, row_loops.row_slopes, joint_rows.dot
    assert set(_files(joint_rows.joint_density.py_func)) >= {inspect.getfile(loop.py_func) for loop in loops}
    assert len(_files(row_loops.row_slopes.py_func)) == 1
