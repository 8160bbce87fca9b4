"""Long work shows what it does on a terminal, and lets go at Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from terminal import open_terminal, read_until

SETUP = """
import ranef, _ranef.support.progress
_ranef.support.progress.DELAY = 0.0  # seconds of silence
data = ranef.datasets.load("penicillin")
model = ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
"""


def on_a_terminal(work: str) -> str:
    """What a script writes to a terminal as its standard error."""
    main, side = open_terminal()
    script = SETUP + textwrap.dedent(work)
    process = subprocess.Popen([sys.executable, "-c", script], stderr=side, stdout=subprocess.DEVNULL)
    os.close(side)
    written = read_until(main)
    assert process.wait() == 0, written.decode()
    return written.decode()


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ("model.fit(control=ranef.Control(em_steps=1))", ["Fitting by REML", "evaluation", "criterion"]),
        ("fit = model.fit(); fit.refit(fit.simulate(40, seed=1))", ["Refitting", "response"]),
        ("model.fit().influence('plate')", ["Refitting without", "level"]),
        ("ranef.Model('diameter ~ 1 + (1 | plate)', [data, data])", ["Reading chunks for levels", "Reading rows"]),
        pytest.param(
            "model.sample(draws=60, warmup=40, chains=2, seed=1)",
            ["chain 1", "chain 2", "sampling", "100/100", "draws/s", "divergences=0"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_terminal_sees_progress(work, words):
    written = on_a_terminal(work)
    for word in words:
        assert word in written


def written_elsewhere(work: str) -> str:
    """What a script writes to a pipe as its standard error."""
    script = SETUP + textwrap.dedent(work)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr


def test_a_pipe_gets_one_line_of_the_work_that_holds_all_other():
    work = """
    import time
    from _ranef.support.progress import LateBar
    with LateBar("Outer", "step") as outer:
        with LateBar("Inner", "step") as inner:
            time.sleep(0.5)
            inner.update()
        outer.update()
    with LateBar("Silent", "step", silent=True):
        time.sleep(0.5)
    """
    assert written_elsewhere(work) == "ranef: Outer …\n"


def test_work_that_is_done_at_once_is_not_told():
    assert written_elsewhere("_ranef.support.progress.DELAY = 30.0\nmodel.fit()") == ""


def test_ctrl_c_returns_control_at_once():
    """A fit of some seconds, interrupted in the middle, ends within one evaluation or two."""
    script = """
    import sys, time
    import numpy as np, pandas as pd, ranef
    rng = np.random.default_rng(1)
    n = 60_000
    s, i = rng.integers(0, 1500, n), rng.integers(0, 1400, n)
    X = rng.normal(size=(n, 2))
    y = X[:, 0] + rng.normal(size=1500)[s] + rng.normal(size=1400)[i] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "a": X[:, 0], "b": X[:, 1], "s": s, "i": i})
    model = ranef.Model("y ~ a + (a + b | s) + (a | i)", data)
    model.products
    print("fitting", flush=True)
    try:
        model.fit()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "fitting\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted\n"
    assert time.monotonic() - began < 30  # a whole fit takes longer, one evaluation some seconds on a slow machine
