"""Work that is killed goes on to the numbers that it would have had."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ranef


def slopes() -> ranef.Model:
    return ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))


#: a script for another process, with {path} for its checkpoint
SAMPLING = """
import ranef
model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
model.sample(1000, seed=3, progress=False, checkpoint={path!r})
"""
GENERALISED = """
import ranef
model = ranef.Model({formula!r}, ranef.datasets.load("cbpp"), family="binomial")
model.sample(400, 300, 2, seed=3, progress=False, checkpoint={path!r})
"""
BOOTSTRAP = """
import ranef
fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
fit.bootstrap(400, lambda own: own.fixef, seed=3, checkpoint={path!r})
"""


def done(path: Path, name: str) -> int:
    """Iterations or replicates that a checkpoint has."""
    if not path.exists():
        return 0
    with np.load(path) as held:
        return int(held[f"done {name}"].sum()) if f"done {name}" in held.files else 0


def killed(script: str, path: Path, name: str, most: int) -> None:
    """Run a script and kill it once some of its work is kept, and before all of it is."""
    child = subprocess.Popen([sys.executable, "-c", script])
    try:
        while child.poll() is None and not done(path, name):
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    finally:
        child.wait()
    assert child.returncode == -signal.SIGKILL
    assert 0 < done(path, name) < most


def test_sampling_that_was_killed(tmp_path):
    path = tmp_path / "run.ranef"
    killed(SAMPLING.format(path=str(path)), path, "iterations", 1200)
    options = {"seed": 3, "progress": False}
    resumed = slopes().sample(1000, **options, checkpoint=path).draws
    whole = slopes().sample(1000, **options).draws
    for ours, theirs in ((resumed.theta, whole.theta), (resumed.beta, whole.beta), (resumed.b[0], whole.b[0])):
        np.testing.assert_array_equal(ours, theirs)
    for name, values in whole.sample_stats.items():
        np.testing.assert_array_equal(resumed.sample_stats[name], values)


@pytest.mark.slow
def test_sampling_of_a_generalised_response_that_was_killed(tmp_path):
    path, formula = tmp_path / "run.ranef", "cbind(incidence, size - incidence) ~ 1 + (1 | herd)"
    killed(GENERALISED.format(path=str(path), formula=formula), path, "iterations", 2 * 700)
    model = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial")
    resumed, whole = (
        model.sample(400, 300, 2, seed=3, progress=False, **more).draws for more in ({"checkpoint": path}, {})
    )
    for ours, theirs in ((resumed.theta, whole.theta), (resumed.beta, whole.beta), (resumed.b[0], whole.b[0])):
        np.testing.assert_array_equal(ours, theirs)


def test_a_bootstrap_that_was_killed(tmp_path):
    path = tmp_path / "run.ranef"
    killed(BOOTSTRAP.format(path=str(path)), path, "finished", 400)
    fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    resumed = fit.bootstrap(400, lambda own: own.fixef, checkpoint=path)  # the file has the seed
    assert resumed.seed == 3
    assert resumed.replicates.equals(fit.bootstrap(400, lambda own: own.fixef, seed=3).replicates)


def copies(path: Path, work: Callable[[], object]) -> list[bytes]:
    """What a file held at some moments while the work was done."""
    found: list[bytes] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.005):
            if path.exists() and (now := path.read_bytes()) not in found[-1:]:
                found.append(now)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        stop.set()
        watcher.join()
    return found


@pytest.mark.parametrize("method", ["vectorized", pytest.param("parallel", marks=pytest.mark.slow)])
def test_from_any_moment(method, tmp_path, monkeypatch):
    """Every file that there was, in warm-up and after it, leads to the same draws; all states are kept."""
    monkeypatch.setattr("_ranef.support.checkpoints.SHARE", 1e9)
    path, again = tmp_path / "run.ranef", tmp_path / "again.ranef"
    options = {"chain_method": method, "progress": False}
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    whole = model.sample(150, seed=1, **options).draws
    files = copies(path, lambda: model.sample(150, seed=1, **options, checkpoint=path))
    assert len(files) > 1
    for file in files[:: max(1, len(files) // 3)]:
        again.write_bytes(file)
        resumed = model.sample(150, **options, checkpoint=again).draws
        np.testing.assert_array_equal(resumed.b[0], whole.b[0])
        np.testing.assert_array_equal(resumed.theta, whole.theta)


def test_other_work_is_refused(tmp_path):
    path, data = tmp_path / "run.ranef", ranef.datasets.load("pulp")
    formula, options = "bright ~ 1 + (1 | operator)", {"progress": False}
    model = ranef.Model(formula, data)
    model.sample(50, seed=1, **options, checkpoint=path)
    before = path.read_bytes()

    def other(words: str, changed: ranef.Model = model, **more: object) -> None:
        with pytest.raises(ranef.DesignError, match=words):
            changed.sample(**({"draws": 50, "seed": 1, **options, "checkpoint": path} | more))

    other("seed is 1 there, and 2 here", seed=2)
    other("draws is 50 there, and 60 here", draws=60)
    other("the prior sigma is", priors={"sigma": ranef.priors.HalfNormal(3.0)})
    other("formula is", ranef.Model("bright ~ 0 + (1 | operator)", data))
    other("the prior Intercept is", ranef.Model(formula, data.assign(bright=data["bright"] + np.eye(20)[3])))
    other("other data", ranef.Model(formula, data.assign(operator=data["operator"].to_numpy()[::-1])))
    with pytest.raises(ranef.DesignError, match=r"what is 'sample\(\)' there, and 'bootstrap\(\)' here"):
        model.fit().bootstrap(50, checkpoint=path)
    with pytest.raises(ranef.FitError, match="checkpoint= is for sampler='numpyro'"):
        model.sample(sampler="nutpie", checkpoint=tmp_path / "other.ranef")
    with pytest.raises(ranef.SavedFileError, match="is a checkpoint of work"):
        ranef.load(path)
    assert path.read_bytes() == before
    saved = model.fit().save(tmp_path / "fit.ranef")
    path.write_bytes(before[: len(before) // 2])
    other_packing = bytearray(before)
    other_packing[other_packing.rindex(b"PK\x01\x02") + 10] = 99  # a way of compression that nobody has
    (packed := tmp_path / "packed.ranef").write_bytes(other_packing)
    for wrong in (saved, path, packed):
        with pytest.raises(ranef.SavedFileError, match="is no checkpoint"):
            model.sample(50, **options, checkpoint=wrong)
    with pytest.raises(ranef.DesignError, match="does not exist"):
        model.sample(50, **options, checkpoint=tmp_path / "none" / "run.ranef")


def test_independent_draws_are_made_anew_from_the_seed_of_the_file(tmp_path):
    path = tmp_path / "run.ranef"
    first, second = (slopes().sample(100, sampler="direct", checkpoint=path).draws for _ in range(2))
    assert first.seed == second.seed
    np.testing.assert_array_equal(first.theta, second.theta)


@pytest.fixture
def full(tmp_path):
    """A file system of 48 kB, where one may be made."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(where)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount, and not in every container")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_disk_that_is_full(full):
    """Nothing half-written stays, what stood there stays whole, and it is said what to do."""
    data, formula = ranef.datasets.load("sleepstudy"), "Reaction ~ Days + (Days | Subject)"
    fit, sums = slopes().fit(), ranef.sums(formula, data)
    kept = sums.save(full / "sums.ranef")
    before = kept.read_bytes()
    filler = full / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    for what in (sums, fit):
        with pytest.raises(ranef.DesignError, match=r"No space left on device.*make room, or give another folder"):
            what.save(kept, overwrite=True)
    with pytest.raises(ranef.DesignError, match="No space left on device"):
        fit.bootstrap(100, seed=1, checkpoint=full / "boot.ranef")
    assert kept.read_bytes() == before
    assert {file.name for file in full.iterdir()} == {"sums.ranef", "filler"}
    filler.write_bytes(bytes(24 * 1024))  # room for a new checkpoint, not for all replicates
    with pytest.warns(ranef.RanefWarning, match="goes on without its checkpoint.*No space left on device"):
        found = fit.bootstrap(900, seed=1, checkpoint=full / "boot.ranef")
    filler.unlink()
    assert {file.name for file in full.iterdir()} == {"sums.ranef", "boot.ranef"}
    assert found.replicates.equals(fit.bootstrap(900, seed=1).replicates)


@pytest.mark.slow
def test_two_processes_with_one_checkpoint(tmp_path):
    """Each has its numbers, and the file is whole and of finished work."""
    path = tmp_path / "run.ranef"
    command = [sys.executable, "-c", BOOTSTRAP.format(path=str(path))]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [one.wait(timeout=300) for one in both] == [0, 0]
    fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    expected = fit.bootstrap(400, lambda own: own.fixef, seed=3).replicates
    assert done(path, "finished") == 400
    assert fit.bootstrap(400, lambda own: own.fixef, checkpoint=path).replicates.equals(expected)
    assert [file.name for file in tmp_path.iterdir()] == ["run.ranef"]


def test_a_full_disk_stops_no_work(tmp_path):
    """A limit on the size of files stands for it."""
    resource = pytest.importorskip("resource")
    fit, path = slopes().fit(), tmp_path / "run.ranef"
    whole = fit.bootstrap(300, seed=1).replicates
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))  # enough for a new checkpoint, not for replicates
        with pytest.warns(ranef.RanefWarning, match="goes on without its checkpoint.*File too large"):
            found = fit.bootstrap(300, seed=1, checkpoint=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert found.replicates.equals(whole)
    assert [file.name for file in tmp_path.iterdir()] == ["run.ranef"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit.bootstrap(300, checkpoint=path).replicates.equals(whole)  # the file has the seed
