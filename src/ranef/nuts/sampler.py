"""NUTS in chunks: one compilation for warm-up and sampling, with progress and interruption between chunks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from numpyro.infer.hmc import HMCState, hmc
from numpyro.infer.util import potential_energy
from tqdm import tqdm

from ranef.arrays import Floats
from ranef.errors import FitError
from ranef.nuts.settings import Settings

__all__ = ["Bar", "Raw", "run_nuts"]

#: iterations between two looks at the clock; one number for all runs, so that all share the compiled chunk
CHUNK = 50

#: the same where every evaluation is a call of the host, which may take a second
HOST_CHUNK = 5

#: step of the differences that give the curvature at the start, and the least curvature that is believed
DIFFERENCE, LEAST_CURVATURE = 1e-4, 0.25

Model = Callable[[Mapping[str, Any]], None]
Positions = Mapping[str, Any]


@dataclass(frozen=True)
class Raw:
    """What the sampler recorded.

    Attributes
    ----------
    positions : mapping str to array (chains, draws, ...)
        Unconstrained values by site.
    stats : mapping str to array (chains, draws)
    complete : bool
        False where the run was interrupted.
    """

    positions: Mapping[str, NDArray[Any]]
    stats: Mapping[str, NDArray[Any]]
    complete: bool


class Bar:
    """Progress on stderr: iterations done of each chain, and divergences."""

    def __init__(self, settings: Settings) -> None:
        total = settings.warmup + settings.draws
        self._bar = tqdm(total=total, disable=not settings.progress, file=sys.stderr, desc="compiling", unit="draw")
        self._divergences = 0

    def update(self, n: int, divergences: int, *, sampling: bool) -> None:
        """Count `n` iterations more."""
        self._bar.set_description("sampling" if sampling else "warmup", refresh=False)
        if sampling:
            self._divergences += divergences
            self._bar.set_postfix(divergences=self._divergences, refresh=False)
        self._bar.update(n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


@dataclass(frozen=True)
class _Machine:
    """Compiled functions of one model: initial state, and n iterations from a state."""

    init: Callable[..., HMCState]
    advance: Callable[..., tuple[HMCState, dict[str, Any]]]


def _build_machine(
    model: Model, warmup: int, target_accept: float, dense: tuple[tuple[str, ...], ...], chunk: int, *, vectorized: bool
) -> _Machine:
    def potential(data: Mapping[str, Any]) -> Callable[[Positions], jax.Array]:
        return partial(potential_energy, model, (data,), {})

    kernels: Any = hmc
    init_kernel, sample_kernel = kernels(potential_fn_gen=potential, algo="NUTS")

    def init(position: Positions, key: jax.Array, data: Mapping[str, Any], mass: Any) -> HMCState:
        state: HMCState = init_kernel(
            position,
            num_warmup=warmup,
            trajectory_length=None,
            inverse_mass_matrix={dense[0]: mass} if dense else None,
            dense_mass=list(dense),
            target_accept_prob=target_accept,
            model_args=(data,),
            rng_key=key,
        )
        return state

    def step(state: HMCState, data: Mapping[str, Any]) -> HMCState:
        new: HMCState = sample_kernel(state, (data,), {})
        return new

    one_step: Any = jax.vmap(step, (0, None)) if vectorized else step
    first: Any = jax.vmap(init, (0, 0, None, None)) if vectorized else init

    def advance(state: HMCState, data: Mapping[str, Any], n: int) -> tuple[HMCState, dict[str, Any]]:
        def body(i: int, carry: tuple[HMCState, dict[str, Any]]) -> tuple[HMCState, dict[str, Any]]:
            state = one_step(carry[0], data)
            return state, jax.tree.map(lambda kept, new: kept.at[i].set(new), carry[1], _record(state))

        empty = jax.tree.map(lambda v: jnp.zeros((chunk, *jnp.shape(v)), v.dtype), _record(state))
        out: tuple[HMCState, dict[str, Any]] = jax.lax.fori_loop(0, n, body, (state, empty))
        return out

    # the initial state is computed once: compiling it quickly matters more than running it fast
    quick = {"xla_backend_optimization_level": 0}
    return _Machine(jax.jit(first, compiler_options=quick), jax.jit(advance))


_cached_machine = lru_cache(maxsize=16)(_build_machine)


def _record(state: HMCState) -> dict[str, Any]:
    stats = {
        "diverging": state.diverging,
        "n_steps": state.num_steps,
        "energy": state.energy,
        "acceptance_rate": state.accept_prob,
        "lp": -state.potential_energy,
        "step_size": state.adapt_state.step_size,
    }
    return {"positions": state.z, "stats": stats}


def run_nuts(
    model: Model,
    data: Mapping[str, Any],
    positions: Positions,
    key: jax.Array,
    settings: Settings,
    *,
    dense: Sequence[tuple[str, ...]],
    vectorized: bool = True,
    reusable: bool = True,
    interrupted: Callable[[], bool] = lambda: False,
) -> Raw:
    """Warm up and sample.

    Parameters
    ----------
    model : callable
        A NumPyro model of one argument, `data`.
    positions : mapping str to array (chains, ...)
        Unconstrained values to start from.
    dense : sequence of tuple of str
        None or one block of sites that share a dense part of the mass matrix, which begins as the inverse curvature
        where the chains begin; the rest is diagonal.
    vectorized : bool
        Advance all chains in one computation rather than one after the other.
    reusable : bool
        Whether to keep what was compiled for further models of this layout.
    interrupted : callable
        Asked after every chunk whether an interrupt was swallowed within it; then the chunk is thrown away.
    """
    build = _cached_machine if reusable else _build_machine
    chunk = CHUNK if vectorized else HOST_CHUNK
    machine = build(model, settings.warmup, settings.target_accept, tuple(dense), chunk, vectorized=vectorized)
    keys = jax.random.split(key, settings.chains)
    split: Sequence[Any] = [(positions, keys)]
    if not vectorized:
        split = [(jax.tree.map(lambda v, c=c: v[c], positions), keys[c]) for c in range(settings.chains)]
    block = dense[0] if dense else ()
    mass: Floats = np.eye(sum(np.size(positions[name]) for name in block) // settings.chains)
    states = [machine.init(position, k, data, mass) for position, k in split]
    _require_finite(states)
    if block:
        mass = _inverse_curvature(lambda p: machine.init(p, split[0][1], data, mass).z_grad, split[0][0], block, mass)
        states = [machine.init(position, k, data, mass) for position, k in split]
    bar = Bar(settings)
    try:
        return _run_chunks(machine, states, data, settings, chunk, bar, interrupted)
    finally:
        bar.close()


def _inverse_curvature(
    gradient: Callable[[Positions], Positions], at: Positions, block: Sequence[str], identity: Floats
) -> Floats:
    """Inverse Hessian of the potential in the sites of `block`, by differences of its gradient, made positive definite.

    Where `at` holds several chains the Hessian is averaged over them.
    """

    def flat(values: Positions) -> Floats:
        return np.concatenate([np.asarray(values[name]).reshape(chains, -1) for name in block], axis=1)

    d = len(identity)
    chains = sum(np.size(at[name]) for name in block) // d
    owner = [(name, j) for name in block for j in range(np.size(at[name]) // chains)]
    hessian = np.empty((d, d))
    for i, (name, j) in enumerate(owner):
        step: Floats = np.zeros((chains, np.size(at[name]) // chains))
        step[:, j] = DIFFERENCE
        step = step.reshape(np.shape(at[name]))
        rise = flat(gradient({**at, name: at[name] + step})) - flat(gradient({**at, name: at[name] - step}))
        hessian[i] = rise.mean(axis=0) / (2.0 * DIFFERENCE)
    if not np.isfinite(hessian).all():
        return identity
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    return np.asarray((vectors / np.maximum(np.abs(values), LEAST_CURVATURE)) @ vectors.T)


def _run_chunks(
    machine: _Machine,
    states: list[HMCState],
    data: Mapping[str, Any],
    settings: Settings,
    chunk: int,
    bar: Bar,
    interrupted: Callable[[], bool],
) -> Raw:
    kept: list[Any] = []

    def advance_all(n: int) -> list[Any]:
        records = []
        for c, state in enumerate(states):
            states[c], record = machine.advance(state, data, n)
            records.append(jax.tree.map(lambda v: np.asarray(v)[:n], record))
            if interrupted():
                raise KeyboardInterrupt
        return records

    def rounds(total: int, *, sampling: bool) -> None:
        for first in range(0, total, chunk):
            n = min(chunk, total - first)
            records = advance_all(n)
            if sampling:
                kept.append(records)
            bar.update(n, sum(int(r["stats"]["diverging"].sum()) for r in records), sampling=sampling)

    rounds(settings.warmup, sampling=False)
    complete = True
    try:
        rounds(settings.draws, sampling=True)
    except KeyboardInterrupt:
        if not kept:
            raise
        complete = False
    return _gather(kept, settings.chains, complete)


def _gather(kept: Sequence[Sequence[Any]], chains: int, complete: bool) -> Raw:
    def by_chain(*parts: NDArray[Any]) -> NDArray[Any]:
        """Chunks of (n, chains, ...), or of (n, ...) for one chain, to (chains, draws, ...)."""
        return np.concatenate(parts)

    machines = [jax.tree.map(by_chain, *(records[c] for records in kept)) for c in range(len(kept[0]))]
    if len(machines) == 1 and machines[0]["stats"]["lp"].ndim == 2:
        joined = jax.tree.map(lambda v: np.swapaxes(v, 0, 1), machines[0])
    else:
        joined = jax.tree.map(lambda *v: np.stack(v), *machines)
    stats = joined["stats"]
    stats["tree_depth"] = np.floor(np.log2(np.maximum(stats["n_steps"], 1))).astype(int) + 1
    return Raw(joined["positions"], stats, complete)


def _require_finite(states: Sequence[HMCState]) -> None:
    energies = np.concatenate([np.atleast_1d(np.asarray(s.potential_energy)) for s in states])
    if not np.isfinite(energies).all():
        raise FitError(
            f"The log posterior density is not finite where the chains begin (it is {-energies}). The response or a "
            "prior may be on a scale that double precision cannot hold; rescale the response."
        )
