"""NumPyro's NUTS in chunks: one compilation for warm-up and sampling, with progress and interruption between chunks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from numpyro.infer.hmc import HMCState, hmc
from numpyro.infer.util import potential_energy
from tqdm import tqdm

from _ranef.errors import FitError
from _ranef.likelihood import HostDensity
from _ranef.nuts.jax_settings import Stored, own_settings
from _ranef.posterior.sampler_record import Raw
from _ranef.posterior.settings import Settings
from _ranef.support.arrays import Ints
from _ranef.support.checkpoints import Checkpoint
from _ranef.support.interrupts import deferred, let_through

__all__ = ["ChainBars", "Code", "log_posterior", "potential", "run_nuts"]


def _seen() -> bool:
    """Whether somebody looks at stderr."""
    return sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)


class ChainBars:
    """Iterations done, rate and divergences of each chain.

    Parameters
    ----------
    chains, warmup, draws : int
    show : bool
        False for silence on a terminal too.
    """

    def __init__(self, chains: int, warmup: int, draws: int, *, show: bool) -> None:
        self._total, self._chains = warmup + draws, chains if show and _seen() else 0
        self._bars: list[Any] = []
        self._divergences = [0] * chains

    def __enter__(self) -> ChainBars:
        with deferred():  # a bar that is half made complains when it is thrown away
            self._bars = [
                tqdm(total=self._total, file=sys.stderr, desc=f"chain {c + 1} compiling", unit=" draws", position=c)
                for c in range(self._chains)
            ]
        return self

    def update(self, n: int, divergences: Ints, *, sampling: bool) -> None:
        """Count `n` iterations more of every chain, and the `divergences` (chains,) among them."""
        for c, bar in enumerate(self._bars):
            bar.set_description(f"chain {c + 1} {'sampling' if sampling else 'warmup'}", refresh=False)
            if sampling:
                self._divergences[c] += int(divergences[c])
                bar.set_postfix(divergences=self._divergences[c], refresh=False)
            bar.update(n)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in self._bars:
            bar.close()


#: iterations between two looks at the clock; one number for all runs, so that all share the compiled chunk
CHUNK = 50

#: the same where every evaluation is a call of the host, which may take a second
HOST_CHUNK = 5

Positions = Mapping[str, Any]


@dataclass(frozen=True)
class Code:
    """What is compiled, apart from the shapes of the arrays.

    Attributes
    ----------
    model : callable
        A NumPyro model of one argument, `data`; its ``"centre"`` and ``"root"`` make the flat vector of sampled
        parameters of whitened ones.
    sites : tuple of (str, int)
        Sites of that vector, with their lengths.
    name : str or None
        What `model` depends on; None for a model that must not be kept for later processes.
    """

    model: Callable[[Mapping[str, Any]], None]
    sites: tuple[tuple[str, int], ...]
    name: str | None


@dataclass(frozen=True)
class _Machine:
    """Compiled functions of one model: initial state, and n iterations from a state."""

    init: Callable[..., HMCState]
    advance: Callable[..., tuple[HMCState, dict[str, Any]]]


def _unravel(sites: tuple[tuple[str, int], ...], flat: jax.Array) -> dict[str, jax.Array]:
    out, at = {}, 0
    for name, n in sites:
        out[name] = flat[at] if name == "r2" or name.startswith("custom_") else flat[at : at + n]
        at += n
    return out


def potential(code: Code, data: Mapping[str, Any]) -> Callable[[Positions], jax.Array]:
    """Minus the log density at whitened (``"hyper"``) and unconstrained (other sites) positions."""

    def energy(position: Positions) -> jax.Array:
        sites = {name: v for name, v in position.items() if name != "hyper"}
        if code.sites:
            sites |= _unravel(code.sites, data["centre"] + data["root"] @ position["hyper"])
        return jnp.asarray(potential_energy(code.model, (data,), {}, sites))

    return energy


@lru_cache(maxsize=32)
def log_posterior(code: Code) -> Stored:
    """Value and gradient of the log density at whitened coordinates (d,), as a function of them and of the data."""

    def value(w: jax.Array, data: Mapping[str, Any]) -> jax.Array:
        return -potential(code, data)({"hyper": w})

    quick = {"xla_backend_optimization_level": 0}
    return Stored(jax.value_and_grad(value), code.name and f"log posterior {code.name}", quick)


@lru_cache(maxsize=32)
def _machine(code: Code, warmup: int, target_accept: float, chunk: int, *, vectorized: bool) -> _Machine:
    kernels: Any = hmc
    init_kernel, sample_kernel = kernels(potential_fn_gen=partial(potential, code), algo="NUTS")

    def init(position: Positions, key: jax.Array, data: Mapping[str, Any]) -> HMCState:
        state: HMCState = init_kernel(
            position,
            num_warmup=warmup,
            trajectory_length=None,
            dense_mass=[("hyper",)] if code.sites else False,
            target_accept_prob=target_accept,
            model_args=(data,),
            rng_key=key,
        )
        return state

    def step(state: HMCState, data: Mapping[str, Any]) -> HMCState:
        out: HMCState = sample_kernel(state, (data,), {})
        return out

    one_step: Any = jax.vmap(step, (0, None)) if vectorized else step
    first: Any = jax.vmap(init, (0, 0, None)) if vectorized else init

    def advance(state: HMCState, data: Mapping[str, Any], n: Any) -> tuple[HMCState, dict[str, Any]]:
        def body(i: Any, carry: tuple[HMCState, dict[str, Any]]) -> tuple[HMCState, dict[str, Any]]:
            state = one_step(carry[0], data)
            return state, jax.tree.map(lambda kept, new: kept.at[i].set(new), carry[1], _record(state))

        # numpyro's kernel learns its settings where a state is made; one that was kept from before has not taught it
        jax.eval_shape(first, state.z, state.rng_key, data)
        empty = jax.tree.map(lambda v: jnp.zeros((chunk, *jnp.shape(v)), v.dtype), _record(state))
        out: tuple[HMCState, dict[str, Any]] = jax.lax.fori_loop(0, n, body, (state, empty))
        return out

    name = None if code.name is None else f"{code.name} {warmup} {target_accept} {chunk} {vectorized}"
    # the initial state is computed once: compiling it quickly matters more than running it fast
    quick = {"xla_backend_optimization_level": 0}
    return _Machine(
        Stored(first, name and f"init {name}", quick),
        Stored(advance, name and f"advance {name}"),
    )


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
    code: Code,
    data: Mapping[str, Any],
    positions: Positions,
    key: jax.Array,
    settings: Settings,
    warmup: int,
    *,
    host: HostDensity | None = None,
    checkpoint: Checkpoint | None = None,
) -> Raw:
    """Warm up and sample.

    Parameters
    ----------
    code : Code
    data : mapping of arrays
    positions : mapping str to array (chains, ...)
        Values to start from: ``"hyper"`` whitened, other sites unconstrained.
    key : jax.Array
    settings : Settings
    warmup : int
    host : HostDensity, optional
        What computes the density where JAX does not; it takes one chain at a time.
    checkpoint : Checkpoint, optional
        Where the run goes on, and what it is kept in.
    """
    vectorized = settings.chain_method == "vectorized" and host is None
    chunk = CHUNK if host is None else HOST_CHUNK
    machine = _machine(code, warmup, settings.target_accept, chunk, vectorized=vectorized)
    keys = jax.random.split(key, settings.chains)
    split: Sequence[Any] = [(positions, keys)]
    if not vectorized:
        split = [(jax.tree.map(lambda v, c=c: v[c], positions), keys[c]) for c in range(settings.chains)]
    data = jax.tree.map(jnp.asarray, dict(data))
    states = [machine.init(jax.tree.map(jnp.asarray, position), k, data) for position, k in split]
    _require_finite(states)
    with ChainBars(settings.chains, warmup, settings.draws, show=settings.progress) as bars:
        return _run_chunks(machine, _Run(states, 0, [], checkpoint), data, settings, warmup, chunk, bars, host)


@dataclass(eq=False, repr=False)
class _Run:
    """Chains on their way.

    Attributes
    ----------
    states : list
        One of all chains, or of each.
    done : int
        Iterations of each chain, with the warm-up.
    kept : list
        Of every round of draws what was recorded, by state.
    checkpoint : Checkpoint, optional
    """

    states: list[HMCState]
    done: int
    kept: list[Any]
    checkpoint: Checkpoint | None

    def __post_init__(self) -> None:
        if self.checkpoint is None or not self.checkpoint.done:
            return
        held = dict(self.checkpoint.done)
        self.done = int(held.pop("iterations"))
        leaves, tree = jax.tree.flatten(self.states)
        self.states = jax.tree.unflatten(tree, [_of_array(held.pop(f"state {k}"), v) for k, v in enumerate(leaves)])
        if held:
            record = [_record(state) for state in self.states]
            draws = [held[f"draws {k}"] for k in range(len(held))]
            self.kept = [jax.tree.unflatten(jax.tree.structure(record), draws)]

    def keep(self, *, last: bool) -> None:
        """Write the state of the chains and what they have drawn."""
        if self.checkpoint is not None:
            self.checkpoint.keep(self._arrays, last=last)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        out = {"iterations": np.array(self.done)}
        out |= {f"state {k}": _to_array(v) for k, v in enumerate(jax.tree.leaves(self.states))}
        if self.kept:
            self.kept = [jax.tree.map(lambda *parts: np.concatenate(parts), *self.kept)]
            out |= {f"draws {k}": v for k, v in enumerate(jax.tree.leaves(self.kept[0]))}
        return out


def _to_array(leaf: jax.Array) -> NDArray[Any]:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _of_array(held: NDArray[Any], like: jax.Array) -> jax.Array:
    """A part of a state, as another was."""
    return jax.random.wrap_key_data(jnp.asarray(held)) if _is_key(like) else jnp.asarray(held, dtype=like.dtype)


def _is_key(leaf: jax.Array) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _run_chunks(
    machine: _Machine,
    run: _Run,
    data: Mapping[str, Any],
    settings: Settings,
    warmup: int,
    chunk: int,
    bars: ChainBars,
    host: HostDensity | None,
) -> Raw:
    states = run.states

    def advance_one(c: int, n: int) -> Any:
        with own_settings():  # which are a matter of each thread
            states[c], record = machine.advance(states[c], data, jnp.asarray(n))
        return jax.tree.map(lambda v: np.asarray(v)[:n], record)

    def advance_all(n: int) -> list[Any]:
        before = list(states)
        if settings.chain_method == "parallel" and len(states) > 1:
            with ThreadPoolExecutor(len(states)) as pool:
                records = list(pool.map(lambda c: advance_one(c, n), range(len(states))))
        else:
            records = [advance_one(c, n) for c in range(len(states))]
        let_through()
        if host is not None and host.gave_up:  # for a Ctrl-C whose handler wants the work to go on
            host.gave_up, states[:] = False, before
            return advance_all(n)
        return records

    def rounds(total: int, *, sampling: bool) -> None:
        end = warmup + total if sampling else total
        while run.done < end:
            n = min(chunk, end - run.done)
            records = advance_all(n)
            run.done += n
            if sampling:
                run.kept.append(records)
            divergences = np.concatenate([np.atleast_1d(r["stats"]["diverging"].sum(axis=0)) for r in records])
            bars.update(n, divergences, sampling=sampling)
            run.keep(last=run.done == warmup + settings.draws)

    rounds(warmup, sampling=False)
    complete = True
    try:
        rounds(settings.draws, sampling=True)
    except KeyboardInterrupt:
        if not run.kept:
            raise
        complete = False
    return _gather(run.kept, complete)


def _gather(kept: Sequence[Sequence[Any]], complete: bool) -> Raw:
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
