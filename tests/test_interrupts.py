"""Interruptions at random moments: each ends as it should, and leaves behind what the next run can use."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from _ranef.support import compiled_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc to see how far a process is"),
]

COMMAND = [sys.executable, "-m", "ranef"]

#: processes at once
WORKERS = 5

SLEEPSTUDY = ["sleepstudy", "Reaction ~ Days + (Days | Subject)"]
HERDS = ["cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "--family", "binomial"]

#: the same process goes on after Ctrl-C, and must be able to
PROGRAM = """
import signal, ranef
sleepstudy = ranef.datasets.load("sleepstudy")
model = ranef.Model("Reaction ~ Days + (Days | Subject)", sleepstudy)
print("ready")
try:
    {work}
    print("done")
except KeyboardInterrupt:
    print("interrupted")
signal.signal(signal.SIGINT, signal.SIG_IGN)
fit = model.fit()
both = ranef.compare(fit, model.sample(20, {warmup}, 4, seed=1, progress=False, sampler={sampler!r}))
print(len(str(both)) > 100)
print("well")
"""

CROSSED = """
import numpy as np, pandas as pd
rng = np.random.default_rng(1)
n = 10_000
s, i = rng.integers(0, 900, n), rng.integers(0, 80, n)
data = pd.DataFrame({"y": rng.normal(size=900)[s] + rng.normal(size=80)[i] + rng.normal(size=n), "s": s, "i": i})
model = ranef.Model("y ~ 1 + (1 | s) + (1 | i)", data)
model.fit()
model.sample(100, 10, 2, seed=1, progress=False, sampler="nutpie")
"""

PAGE = """
both = ranef.compare(model.fit(), model.sample(seed=1, progress=False))
both.report("page.html", overwrite=True)
both.save_figure("figure.png")
"""

DIRECT = """
for seed in range(40):
    model.sample(4000, seed=seed, progress=False, sampler="direct")
"""

GENERALISED = """
cbpp = ranef.datasets.load("cbpp")
herds = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, family="binomial")
for seed in range(8):
    laplace = herds.fit(nagq=5)
    str(ranef.compare(laplace, herds.sample(500, 100, 4, seed=seed, progress=False)))
"""

#: nutpie by numpy's density, and effects integrated by Laplace's approximation
LINKED = """
cbpp = ranef.datasets.load("cbpp")
herds = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, family="binomial")
herds.sample(1000, 300, 4, seed=1, progress=False, sampler="nutpie")
herds.sample(200, 100, 2, seed=1, progress=False, sampler="nutpie", parameterization="marginal")
"""

CHECKPOINTS = """
model.sample(1000, 200, 4, seed=1, progress=False, checkpoint="draws.ckpt")
model.fit().bootstrap(2000, seed=1, checkpoint="replicates.ckpt")
"""

CHUNKS = """
import pandas as pd
big = pd.concat([sleepstudy] * 200)
again = ranef.Model("Reaction ~ Days + (Days | Subject)", [big] * 12)
again.fit().summary()
"""


@dataclass(frozen=True)
class Kind:
    """What is interrupted.

    Attributes
    ----------
    name : str
    command : list of str
    times : int
        How often.
    number : signal.Signals
    cold : bool
        Whether JAX has to compile everything.
    """

    name: str
    command: list[str]
    times: int
    number: signal.Signals = signal.SIGINT
    cold: bool = False

    @property
    def like(self) -> str:
        """The kind that does the same work, and tells how long it takes."""
        return self.name.split(",")[0]

    @property
    def goes_on(self) -> bool:
        """Whether the same process must go on afterwards."""
        return self.command[:2] == [sys.executable, "-c"]


def program(work, sampler="numpyro"):
    indented = textwrap.indent(work.strip(), "    ").strip()
    warmup = None if sampler == "direct" else 20
    return [sys.executable, "-c", PROGRAM.format(work=indented, sampler=sampler, warmup=warmup)]


SAMPLE = "model.sample(2000, 200, 4, seed=1, progress=False, sampler={!r})"

KINDS = [
    Kind("demo", [*COMMAND, "demo"], 24),
    Kind("demo, cold", [*COMMAND, "demo"], 8, cold=True),
    Kind("compare", [*COMMAND, "compare", *SLEEPSTUDY, "--html", "p.html", "--overwrite"], 10),
    Kind("compare by nutpie", [*COMMAND, "compare", *SLEEPSTUDY, "--sampler", "nutpie", "--json", "c.json"], 8),
    Kind("fit", [*COMMAND, "fit", *SLEEPSTUDY], 8),
    Kind("sample", program(SAMPLE.format("numpyro")), 10),
    Kind("sample, cold", program(SAMPLE.format("numpyro")), 6, cold=True),
    Kind("sample by nutpie", program(SAMPLE.format("nutpie"), "nutpie"), 10),
    Kind("sample directly", program(DIRECT, "direct"), 10),
    Kind("compare directly", [*COMMAND, "compare", *SLEEPSTUDY, "--sampler", "direct", "--json", "d.json"], 8),
    Kind("crossed", program(CROSSED, "nutpie"), 6),
    Kind("chunks", program(CHUNKS, "nutpie"), 6),
    Kind("generalised", program(GENERALISED), 10),
    Kind("compare generalised", [*COMMAND, "compare", *HERDS, "--json", "g.json"], 6),
    Kind("generalised by nutpie", program(LINKED), 6),
    Kind("checkpoints", program(CHECKPOINTS), 6),
    Kind(
        "page of a direct posterior",
        [*COMMAND, "compare", *HERDS, "--sampler", "direct", "--html", "h.html", "--overwrite"],
        4,
    ),
    Kind("bootstrap", [*COMMAND, "fit", *HERDS, "--confint", "bootstrap"], 4),
    Kind("page", program(PAGE), 8),
    Kind("demo, SIGTERM", [*COMMAND, "demo"], 4, signal.SIGTERM),
    Kind("demo, cold, SIGTERM", [*COMMAND, "demo"], 4, signal.SIGTERM, cold=True),
    Kind("demo, cold, SIGKILL", [*COMMAND, "demo"], 4, signal.SIGKILL, cold=True),
]


@dataclass(frozen=True)
class Outcome:
    """How one interruption ended."""

    kind: Kind
    after: float
    took: float
    status: int
    out: str
    err: str
    left: tuple[str, ...]

    @property
    def word(self) -> str:
        if self.kind.number != signal.SIGINT:
            return "killed" if self.status == -self.kind.number else f"status {self.status}"
        if self.kind.goes_on:
            ending = self.out.split("\n")[0] if self.out else "nothing"
            return ending if self.status == 0 else f"{ending}, then status {self.status}"
        return str(self.status)

    @property
    def well(self) -> bool:
        """Whether it ended as it should, or was over before."""
        quiet = "Traceback" not in self.err and "rror" not in self.err
        if self.kind.number != signal.SIGINT:
            return self.status in (0, -self.kind.number)
        if self.kind.goes_on:
            return self.status == 0 and quiet and self.out.endswith("True\nwell\n") and not self.left
        told = self.err.count("ranef: interrupted") == (self.status == 130) or "Sampling was interrupted" in self.err
        return self.status in (0, 130) and quiet and told and not self.left


def heed():
    """Ctrl-C is heard, also where these tests run in the background of a shell, whose children are deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def begun(kind, cwd, cache):
    """A process whose command has begun to load the package, or whose program has come to what is interrupted."""
    env = os.environ | {"RANEF_CACHE_DIR": str(cache), "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        kind.command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed
    )
    if kind.goes_on:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        return process
    maps = Path(f"/proc/{process.pid}/maps")
    while "_multiarray_umath" not in maps.read_text():  # of numpy, the first of what it loads
        time.sleep(0.005)
    return process


def finished(process):
    try:
        return process.communicate(timeout=1200)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return out, f"{err}\nError: it never ended"


def length(kind, cwd, cache):
    """Seconds that it takes undisturbed."""
    process = begun(kind, cwd, cache)
    began = time.monotonic()
    if kind.goes_on:
        assert process.stdout.readline() == "done\n", process.stderr.read()
    else:
        process.communicate()
        assert process.returncode == 0
    took = time.monotonic() - began
    finished(process)
    return took


def interrupted(kind, after, cwd, cache):
    cwd.mkdir()
    if kind.cold:
        cache = without_jax(cache, cwd / "cache")
    process = begun(kind, cwd, cache)
    time.sleep(after)
    process.send_signal(kind.number)
    began = time.monotonic()
    out, err = finished(process)
    took = time.monotonic() - began
    if kind.cold:
        check(cache)
    left = tuple(p.name for p in cwd.iterdir() if p.suffix == ".partial")
    outcome = Outcome(kind, after, took, process.returncode, out, err, left)
    print(outcome.kind.name, outcome.word, outcome.well, flush=True)
    return outcome


def without_jax(cache, into):
    shutil.copytree(cache, into, ignore=shutil.ignore_patterns("*.jax", ".*"))
    into.chmod(0o700)
    return into


def check(cache):
    """Every file is whole, whoever was stopped while writing."""
    start = len(compiled_store.MAGIC) + 32
    for path in cache.iterdir():
        if re.fullmatch(r"[0-9a-f]{40}\.(jax|numba|vega)", path.name):
            whole = path.read_bytes()
            assert whole.startswith(compiled_store.MAGIC)
            assert whole[start : start + 32] == hashlib.sha256(whole[:start] + whole[start + 32 :]).digest()
        else:
            assert path.name.startswith(".ranef-"), path


def clean_run(cache, cwd):
    """A short run of all samplers with what was left."""
    for sampler in ("numpyro", "nutpie", "direct"):
        work = f"assert model.sample(20, None, 4, seed=1, progress=False, sampler={sampler!r}).draws.complete"
        command = program(work, sampler)
        env = os.environ | {"RANEF_CACHE_DIR": str(cache)}
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
        assert done.stdout.endswith("well\n"), done.stderr


def test_interrupted_at_any_moment(tmp_path):
    rng = np.random.default_rng(int(os.environ.get("RANEF_TEST_SEED", "1")))
    cache, undisturbed = tmp_path / "cache", tmp_path / "undisturbed"
    undisturbed.mkdir()
    if known := compiled_store.folder():
        shutil.copytree(known, cache, ignore=shutil.ignore_patterns(".*"))
    cache.mkdir(mode=0o700, exist_ok=True)
    for kind in KINDS:
        if kind.name in ("demo", "sample", "crossed", "generalised"):
            length(kind, undisturbed, cache)  # what has to be compiled is, now
    print("warm", flush=True)
    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = {kind.like: pool.submit(length, kind, undisturbed, cache) for kind in KINDS if kind.name == kind.like}
        seconds = {name: job.result() for name, job in jobs.items()}
    print(seconds, flush=True)
    upto = [(1.5 if kind.cold else 1.0) * seconds[kind.like] for kind in KINDS]
    asked = [(k, float(rng.uniform(0.0, end))) for k, end in zip(KINDS, upto, strict=True) for _ in range(k.times)]
    asked = [asked[i] for i in rng.permutation(len(asked))]
    outcomes = []
    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(interrupted, *one, tmp_path / f"run {i}", cache) for i, one in enumerate(asked)]
        for job in jobs:
            outcomes.append(job.result())
    check(cache)
    clean_run(cache, undisturbed)
    told = pd.DataFrame([{"kind": o.kind.name, "ended": o.word, "seconds": o.took} for o in outcomes])
    print(told.groupby(["kind", "ended"])["seconds"].agg(["size", "median", "max"]).round(2).to_string())
    bad = [f"{o.kind.name} after {o.after:.2f} s: {o.word} {o.left}\n{o.out}{o.err}" for o in outcomes if not o.well]
    assert not bad, "\n".join(bad)
    ended = Counter(o.word for o in outcomes)
    assert ended["130"] + ended["interrupted"] + ended["killed"] > len(outcomes) // 2
