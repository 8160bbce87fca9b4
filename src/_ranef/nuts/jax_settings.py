"""JAX under the settings that ranef needs, whatever the user's own are, and only while ranef computes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import serialize_executable
from jax.scipy.linalg import solve_triangular

from _ranef.errors import FitError
from _ranef.support import compiled_store
from _ranef.support.interrupts import deferred, let_through

__all__ = ["Stored", "own_settings", "require_device"]


class Stored:
    """A function that JAX compiles once for each shape of its arguments.

    Parameters
    ----------
    function : callable
    name : str
        Everything that its code depends on besides the shapes; None keeps it out of the folder.
    options : dict
        For XLA's compiler.
    """

    def __init__(self, function: Callable[..., Any], name: str | None, options: dict[str, Any] | None = None) -> None:
        self._function, self._name, self._options = function, name, options or {}
        self._known: dict[Any, Any] = {}

    def __call__(self, *args: Any) -> Any:
        """Call it, compiled now or before."""
        leaves, tree = jax.tree.flatten(args)
        kinds = tuple((getattr(v, "dtype", type(v).__name__), getattr(v, "shape", ())) for v in leaves)
        known = self._known.get((tree, kinds))
        if known is None:
            signature = f"{tree}: {', '.join(f'{kind}{shape}' for kind, shape in kinds)}"
            with deferred():
                known = self._known[tree, kinds] = self._load(signature) or self._compile(signature, args)
            let_through()
        return known(*args)

    def _key(self, signature: str) -> str:
        return "\n".join([str(self._name), signature, repr(sorted(self._options.items())), _machine()])

    def _load(self, signature: str) -> Any:
        content = None if self._name is None else compiled_store.read("jax", self._key(signature))
        if content is None:
            return None
        _register_linear_algebra()
        try:
            return serialize_executable.deserialize_and_load(*pickle.loads(content))
        except Exception:  # whatever is wrong with it, compiling mends it
            return None

    def _compile(self, signature: str, args: tuple[Any, ...]) -> Any:
        compiled = jax.jit(self._function).lower(*args).compile(compiler_options=self._options or None)
        if self._name is not None:
            with contextlib.suppress(Exception):  # not every device can give away what it compiled
                compiled_store.write(
                    "jax", self._key(signature), pickle.dumps(serialize_executable.serialize(compiled))
                )
        return compiled


@cache
def _register_linear_algebra() -> None:
    """Make JAX find its LAPACK functions, as it does on the way to compiling; loaded code would call null pointers."""
    square: Any = jax.ShapeDtypeStruct((2, 2), jnp.result_type(float))  # type: ignore[no-untyped-call]

    def solve(a: jax.Array) -> jax.Array:
        return jnp.asarray(solve_triangular(jnp.linalg.cholesky(a), a, lower=True))

    jax.jit(solve).lower(square)


@cache
def _machine() -> str:
    """What makes compiled code of another run unusable: versions, this package's code, the processor, the device."""
    here = Path(__file__).parent  # laws of residuals are written for JAX, too
    files = sorted([*here.glob("*.py"), *(here.parent / "residuals").glob("*.py")])
    sources = hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()
    versions = [f"{name} {version(name)}" for name in ("jax", "jaxlib", "numpyro", "numpy")]
    info = Path("/proc/cpuinfo")
    flags = {platform.processor()}
    if info.exists():
        flags = {x for x in info.read_text().splitlines() if x.startswith(("flags", "Features", "model name"))}
    device = str(jax.devices()[0].device_kind)
    return "\n".join([sources, *versions, platform.python_version(), platform.platform(), *sorted(flags), device])


#: JAX's context managers, each with its default; users set others to find faults in code of their own
DEFAULTS: dict[str, Any] = {
    "disable_jit": False,
    "transfer_guard": "allow",
    "debug_nans": False,
    "debug_infs": False,
    "enable_checks": False,
    "no_tracing": False,
    "default_matmul_precision": None,
    "numpy_dtype_promotion": "standard",
    "numpy_rank_promotion": "allow",
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,
    "enable_custom_prng": False,
    "legacy_prng_key": "allow",
}

#: whether this process was forked off another one in which JAX was at work
_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextlib.contextmanager
def own_settings(*, double: bool = True) -> Iterator[None]:
    """JAX's defaults, and double precision, within the block and for this thread only.

    Raises
    ------
    FitError
        In a process that was forked, in which JAX waits for threads that the parent has kept.
    """
    if _forked:
        raise FitError(
            "This process was forked off one in which JAX had been loaded, and JAX would wait here for ever. Start "
            "processes by 'spawn' (multiprocessing.get_context('spawn'), or joblib's loky), or use sampler='nutpie'."
        )
    with contextlib.ExitStack() as stack:
        for name, value in DEFAULTS.items():
            if hasattr(jax, name):
                stack.enter_context(getattr(jax, name)(value))
        if hasattr(jax.checking_leaks, "func"):  # there is a name for switching it on only
            stack.enter_context(jax.checking_leaks.func(False))
        if double:
            stack.enter_context(jax.enable_x64(True))
        yield


def require_device() -> None:
    """Refuse to go on where JAX finds nothing to compute on.

    Raises
    ------
    FitError
        With what to do about it.
    """
    try:
        jax.devices()
    except Exception as error:  # JAX has several for it
        asked = getattr(jax.config, "jax_platforms", None)
        chosen = f"JAX_PLATFORMS is {asked!r}: unset it or choose 'cpu'" if asked else "See JAX's manual"
        told = str(error).splitlines()[:1] or [type(error).__name__]
        raise FitError(
            f"JAX finds nothing to compute on ({told[0].rstrip('.')}). {chosen}, or use sampler='nutpie', which needs "
            "no JAX."
        ) from error
