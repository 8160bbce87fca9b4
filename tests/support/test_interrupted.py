"""Ctrl-C is put off where something would be left half done, and passed on to whoever handles it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from _ranef.support.interrupts import deferred, let_through, load, waiting


def press():
    """Press Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def handler():
    """Put a handler in place, and what was there back."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda new: signal.signal(signal.SIGINT, new)
    signal.signal(signal.SIGINT, before)


def interrupt_amid(done):
    with deferred():
        press()
        press()
        done.append("whole")
        assert waiting()
    done.append("not reached")


def test_it_waits_for_the_end_of_the_block_and_is_not_lost():
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_amid(done)
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not waiting()


def interrupt_twice_amid(done):
    with deferred():
        interrupt_amid(done)
        let_through()
        done.append("not reached either")


def test_blocks_within_blocks_wait_for_the_outermost():
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice_amid(done)
    assert done == ["whole", "not reached"]


def work_in_steps(done):
    with deferred():
        press()
        with deferred():
            let_through()  # not here
            done.append("inner")
        let_through()
        done.append("not reached")


def test_long_work_lets_it_through_in_between():
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work_in_steps(done)
    assert done == ["inner"]


def test_the_users_own_handler_is_called_and_decides(handler):
    called = []
    handler(lambda number, frame: called.append(number))
    with deferred():
        press()
        assert called == []
        let_through()
        assert called == [signal.SIGINT]
        press()
    assert called == [signal.SIGINT] * 2


def test_a_handler_that_was_put_in_place_meanwhile_stays(handler):
    with deferred():
        handler(signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("ignored", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_python_does_not_handle_is_left_alone(handler, ignored):
    handler(ignored)
    with deferred():
        assert signal.getsignal(signal.SIGINT) is ignored


def test_an_ignored_signal_stays_ignored(handler):
    handler(signal.SIG_IGN)
    with deferred():
        press()
        let_through()


def fail_and_press():
    with deferred():
        press()
        raise ValueError("the error")


def test_another_error_is_not_hidden_and_the_signal_not_lost():
    with pytest.raises(KeyboardInterrupt) as caught:
        fail_and_press()
    assert isinstance(caught.value.__context__, ValueError)


def work_in_a_thread(seen):
    def work():
        with deferred():
            let_through()
            seen.append(waiting())

    with deferred():
        press()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


def test_other_threads_are_left_alone():
    seen: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        work_in_a_thread(seen)
    assert seen == [True]


def test_a_module_is_loaded_to_its_end(tmp_path, monkeypatch):
    (tmp_path / "slow_to_load.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        load("slow_to_load")
    assert sys.modules.pop("slow_to_load").whole


def run_python(work, **options):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(work)], capture_output=True, text=True, **options)


def test_a_program_that_uses_ranef_is_not_the_command():
    done = run_python("import signal, ranef; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)")
    assert done.stdout == "True\n", done.stderr


#: Ctrl-C once the first draws are there
PRESS = {
    "numpyro": """
        from _ranef.nuts.sampler import ChainBars
        update = ChainBars.update
        def press(self, n, divergences, *, sampling):
            update(self, n, divergences, sampling=sampling)
            if sampling and not called:
                signal.raise_signal(signal.SIGINT)
        ChainBars.update = press
    """,
    "nutpie": """
        from _ranef.nuts import nutpie_run
        wait = nutpie_run._wait
        def press(running):
            threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()
            return wait(running)
        nutpie_run._wait = press
    """,
}


@pytest.mark.parametrize("sampler", [pytest.param("numpyro", marks=pytest.mark.slow), "nutpie"])
def test_ctrl_c_while_sampling_keeps_the_draws_until_then(sampler):
    """In a process whose own handler is called once, and which then does as Python's does."""
    work = f"""
        import os, signal, threading, warnings, ranef
        import numpy as np
        called = []
        def handle(number, frame):
            called.append(number)
            signal.default_int_handler(number, frame)
        signal.signal(signal.SIGINT, handle)
        {textwrap.dedent(PRESS[sampler]).strip().replace(chr(10), chr(10) + 8 * " ")}
        model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fit = model.sample(3_000_000, 5, 2, seed=1, sampler={sampler!r}, progress=False)
        assert len(called) == 1
        assert 0 < fit.draws.sigma.shape[1] < 3_000_000 and not fit.draws.complete
        assert np.isfinite(fit.draws.sigma).all()
        assert any("interrupted" in str(w.message) for w in told), [str(w.message) for w in told]
        assert signal.getsignal(signal.SIGINT) is handle
    """
    done = run_python(work)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_process_forked_after_jax_says_so():
    done = run_python(
        """
        import os, sys, warnings, ranef, _ranef.nuts.numpyro_engine
        model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        warnings.simplefilter("ignore")  # JAX warns of the fork itself
        child = os.fork()
        if child == 0:
            try:
                model.sample(5, 5, 1, seed=1, progress=False)
            except ranef.FitError as error:
                print(error, flush=True)
            print(model.sample(5, 5, 1, seed=1, progress=False, sampler="nutpie").draws.complete, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """,
        timeout=120,
    )
    assert "forked" in done.stdout, done.stderr
    assert "spawn" in done.stdout
    assert done.stdout.endswith("True\n"), done.stderr


COMMAND = """
import signal, sys
sys.argv = ["ranef"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background takes away
from _ranef.support.interrupts import as_command, caught, deferred
as_command()
try:
    with caught(), deferred():
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("kept what there was", flush=True)
with deferred():
    signal.raise_signal(signal.SIGINT)
print("went on")
"""


def test_the_command_ends_without_a_traceback_while_nobody_catches_it():
    done = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "kept what there was\n", "ranef: interrupted\n")
