"""NUTS by nutpie, whose sampler is compiled, on densities that need no JAX."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np

from _ranef.errors import FitError
from _ranef.posterior.modes import Modes
from _ranef.posterior.packing import whiten
from _ranef.posterior.problem import Gradient, Problem
from _ranef.posterior.sampler_record import Raw
from _ranef.posterior.settings import Settings
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import let_through, load

__all__ = ["require_nutpie", "run_nutpie"]

#: seconds between two looks at whether Ctrl-C is waiting
LOOK_EVERY = 0.1


class NotFinite(ValueError):
    """The density is not finite somewhere: nutpie counts a divergence and goes on."""

    is_recoverable = True


def require_nutpie() -> Any:
    """The package, or an error that says how to get it."""
    try:
        with _arviz_later():
            return load("nutpie")
    except ModuleNotFoundError as error:
        raise FitError(
            "sampler='nutpie' needs the package nutpie, which is not installed: pip install 'ranef[nutpie]'. "
            "sampler='numpyro' needs nothing more."
        ) from error


class _Arviz(ModuleType):
    """The module arviz to nutpie, loaded when anything is asked of it but the type that an annotation names."""

    InferenceData = type("InferenceData", (), {})

    def __getattr__(self, name: str) -> Any:
        return getattr(load("arviz"), name)


@contextmanager
def _arviz_later() -> Iterator[None]:
    """Spare the first run of a process two seconds for a package that nutpie imports, and that no raw trace needs."""
    if "arviz" in sys.modules:
        yield
        return
    own = sys.modules["arviz"] = _Arviz("arviz")
    try:
        yield
    finally:
        if sys.modules.get("arviz") is own:
            del sys.modules["arviz"]


def run_nutpie(
    problem: Problem,
    modes: Modes,
    settings: Settings,
    warmup: int,
    seed: int,
    gradient: Gradient | None = None,
    packed: Floats | None = None,
) -> Raw:
    """Warm up and sample, chains in threads: the collapsed density, or that whose `gradient` is given.

    With `packed` it is the joint one of loops, in coordinates whitened by the best of the modes.

    Raises
    ------
    FitError
        If nutpie is not installed.
    """
    nutpie = require_nutpie()
    if packed is not None:
        model = _by_loops(load("_ranef.posterior.loops.joint_rows").c_density(), packed, modes)
    elif gradient is None and problem.compiled:
        at, loops = modes.best, load("_ranef.posterior.loops")
        model = _by_loops(loops.c_density(), whiten(problem.packed, at.centre, at.root), modes)
    else:
        model = _by_host(nutpie, gradient or problem.gradient, modes)
    running = nutpie.sample(
        model,
        draws=settings.draws,
        tune=warmup,
        chains=settings.chains,
        cores=1 if settings.chain_method == "sequential" else None,
        seed=seed,
        target_accept=settings.target_accept,
        progress_bar=settings.progress,
        save_warmup=False,
        return_raw_trace=True,
        blocking=False,
    )
    complete = True
    try:
        trace = _wait(running)
    except KeyboardInterrupt:
        complete, trace = False, running.abort()
    except RuntimeError as error:
        raise FitError(
            f"The density of this model is not finite where nutpie was to begin ({error}). A variance may go to zero, "
            "as where some rows are fitted exactly, or a scale be off by many powers of ten: look at model.fit()."
        ) from error
    raw = _read(trace, complete, len(modes.best.centre))
    if raw.stats["lp"].shape[1] == 0:
        raise KeyboardInterrupt
    return raw


def _wait(running: Any) -> Any:
    while True:
        let_through()
        try:
            return running.wait(timeout=LOOK_EVERY)
        except TimeoutError:  # it is not done yet
            continue


def _starts(modes: Modes) -> Callable[[int], Floats]:
    """A start for each seed, round one of the modes."""

    def start(seed: int) -> Floats:
        rng = np.random.default_rng(seed)
        return np.asarray(modes.starts(len(modes.at), rng)[rng.integers(len(modes.at))])

    return start


def _by_loops(c_density: Any, packed: Floats, modes: Modes) -> Any:
    compiled: Any = load("nutpie.compile_pymc").CompiledPyMCModel
    c_copy = load("_ranef.posterior.loops").c_copy()
    d = len(modes.best.centre)
    known = {
        "dims": {},
        "compiled_logp_func": c_density,
        "compiled_expand_func": c_copy,
        "initial_point_func": _starts(modes),
        "shared_data": {},
        "shared_var_keys": {},
        "user_data": np.concatenate([[float(len(packed))], packed]),
        "n_expanded": d,
        "shape_info": (["w"], [slice(0, d)], [(d,)]),
        "logp_func": None,
        "expand_func": None,
        "_n_dim": d,
        "_shapes": {"w": (d,)},
        "_coords": {},
    }
    # which of these there are depends on the version
    return compiled(**{f.name: known[f.name] for f in fields(compiled) if f.name in known})


def _by_host(nutpie: Any, gradient: Gradient, modes: Modes) -> Any:
    at, d, back = modes.best, len(modes.best.centre), modes.best.root.T.copy()

    def density() -> Callable[[Floats], tuple[float, Floats]]:
        def at_w(w: Floats) -> tuple[float, Floats]:
            value, slope = gradient(at.centre + at.root @ w)
            if not np.isfinite(value):
                raise NotFinite
            return value, back @ slope

        return at_w

    return nutpie.compiled_pyfunc.from_pyfunc(
        d,
        density,
        lambda *_: lambda w: {"w": w},
        [np.dtype("float64")],
        [(d,)],
        ["w"],
        make_initial_point_fn=_starts(modes),
    )


def _read(trace: Any, complete: bool, d: int) -> Raw:
    """Arrow batches, one of draws and one of statistics for each chain, without the warm-up.

    Chains may be of unequal lengths after an interrupt, some not even begun: those of less than half the longest are
    left out.
    """
    arrow = load("pyarrow")
    draws, stats = trace.get_arrow_trace()
    chains = []
    for own, told in zip(map(arrow.record_batch, draws), map(arrow.record_batch, stats), strict=True):
        keep = ~told.column("tuning").to_numpy(zero_copy_only=False)
        columns = {name: told.column(name).to_numpy(zero_copy_only=False)[keep] for name in _NAMES}
        w = own.column("w").flatten().to_numpy(zero_copy_only=False).reshape(-1, d)
        chains.append((w[len(w) - len(keep) :][keep], columns))
    longest = max(len(w) for w, _ in chains)
    chains = [c for c in chains if 2 * len(c[0]) >= longest]
    n = min(len(w) for w, _ in chains)
    recorded = {new: np.stack([c[old][:n] for _, c in chains]) for old, new in _NAMES.items()}
    recorded["n_steps"], recorded["tree_depth"] = (recorded[k].astype(int) for k in ("n_steps", "tree_depth"))
    return Raw({"hyper": np.stack([w[:n] for w, _ in chains])}, recorded, complete)


#: nutpie's names of what it records, and ours
_NAMES = {
    "diverging": "diverging",
    "n_steps": "n_steps",
    "depth": "tree_depth",
    "energy": "energy",
    "mean_tree_accept": "acceptance_rate",
    "logp": "lp",
    "step_size_bar": "step_size",
}
