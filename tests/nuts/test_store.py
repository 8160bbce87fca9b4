"""What is compiled once: within a process by shape, across processes on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from _ranef.nuts import sampler
from _ranef.nuts.jax_settings import Stored
from _ranef.nuts.sampler import log_posterior
from _ranef.spec import default_priors

SCRIPT = """
import warnings
import ranef
model = ranef.Model("y ~ x + (x | g)", ranef.datasets.load("sleepstudy").rename(
    columns={"Reaction": "y", "Days": "x", "Subject": "g"}))
draws = model.sample(draws=50, warmup=50, chains=2, seed=1, progress=False).draws
import jax
assert not jax.config.jax_enable_x64 and jax.config.jax_compilation_cache_dir is None
assert jax.numpy.zeros(1).dtype == "float32"
print(repr(draws.sigma.sum()), repr(draws.beta.sum()))
"""


def run(folder):
    env = os.environ | {"RANEF_CACHE_DIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=env, check=True)
    return done.stdout


def test_a_later_process_loads_what_an_earlier_one_compiled(folder_with_loops):
    first = run(folder_with_loops)
    assert len(list(folder_with_loops.glob("*.jax"))) == 3  # log posterior, initial state, and a chunk of iterations
    sizes = {p.name: (p.stat().st_size, p.stat().st_ino) for p in folder_with_loops.iterdir()}
    assert run(folder_with_loops) == first
    assert {p.name: (p.stat().st_size, p.stat().st_ino) for p in folder_with_loops.iterdir()} == sizes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RANEF_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def compilations(monkeypatch):
    """Counts of compilations by name."""
    count = []
    original = Stored._compile
    monkeypatch.setattr(Stored, "_compile", lambda self, *a: count.append(self._name) or original(self, *a))
    return count


def test_a_damaged_file_is_replaced(folder, compilations):
    def make():
        return Stored(lambda x: jnp.sin(x) + 1.0, "damaged")

    x = jnp.arange(3.0)
    expected = np.asarray(make()(x))
    (file,) = folder.iterdir()
    file.write_bytes(b"not what it should be")
    np.testing.assert_array_equal(np.asarray(make()(x)), expected)
    np.testing.assert_array_equal(np.asarray(make()(x)), expected)
    assert compilations == ["damaged"] * 2
    assert [p.name for p in folder.iterdir()] == [file.name]


@pytest.mark.slow
def test_any_of_them_may_be_missing(make, folder, compilations):
    """As after a run that was stopped, or while another process compiles: the draws are the same."""
    spec = make.spec(make.formulas["one"])

    def draws():
        for cached in (log_posterior, sampler._machine):
            cached.cache_clear()  # as in a new process
        return make.sample(spec, default_priors(spec), draws=5, warmup=5, chains=1, seed=1).sigma

    expected = draws()
    files = sorted(folder.glob("*.jax"))
    assert len(files) == len(compilations) == 3
    for i, file in enumerate(files):
        file.unlink()
        np.testing.assert_array_equal(draws(), expected)
        assert len(compilations) == 4 + i
        assert file.exists()


def test_it_can_be_switched_off(folder, monkeypatch):
    monkeypatch.setenv("RANEF_CACHE_DIR", "off")
    Stored(lambda x: x + 1.0, "off")(jnp.zeros(2))
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written_takes_speed_only(folder, monkeypatch):
    monkeypatch.setenv("RANEF_CACHE_DIR", str(folder / "file" / "below"))
    (folder / "file").write_text("in the way")
    assert float(Stored(lambda x: x + 1.0, "unwritable")(jnp.zeros(()))) == 1.0


@pytest.mark.slow
def test_data_sets_of_like_size_share_what_is_compiled(make, compilations, monkeypatch):
    """17 and 20 levels, other rows and weights: one compilation."""
    monkeypatch.setenv("RANEF_CACHE_DIR", "off")
    rng = np.random.default_rng(1)

    def spec(levels, rows):
        data = make.data(rows)
        data["g"] = (np.arange(rows) % levels).astype(str)
        data["y"] += rng.normal(size=levels)[np.arange(rows) % levels]
        return make.spec("y ~ x + z + (1 | g)", data, weights="w")

    sizes = [(17, 150), (20, 90), (18, 333)]
    for levels, rows in sizes:
        one = spec(levels, rows)
        draws = make.sample(one, default_priors(one), draws=50, warmup=0, chains=1, seed=1)
        assert draws.b[0].shape == (1, 50, levels, 1)
        assert (draws.b[0].std(axis=1) > 0).all()
    assert len(compilations) == 3


def test_an_interrupt_while_compiling_is_a_keyboard_interrupt(folder_with_loops):
    work = textwrap.dedent("""
        import os, signal, threading, ranef
        from _ranef.nuts.jax_settings import Stored
        original = Stored._compile
        def compile_and_interrupt(self, *args):
            timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            return original(self, *args)
        Stored._compile = compile_and_interrupt
        model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        try:
            model.sample(seed=1, progress=False)
        except KeyboardInterrupt:
            print("interrupted")
    """)
    env = os.environ | {"RANEF_CACHE_DIR": str(folder_with_loops)}
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted\n"


@pytest.mark.slow
def test_the_users_precision_is_left_alone(make):
    spec = make.spec(make.formulas["one"])
    make.sample(spec, default_priors(spec), draws=10, warmup=0, chains=1, seed=1)
    assert jnp.zeros(1).dtype == jnp.float32
    assert not jax.config.jax_enable_x64
