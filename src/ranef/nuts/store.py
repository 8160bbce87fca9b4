"""Compiled functions kept for models of one shape: within the process, and across processes on disk.

``RANEF_CACHE_DIR`` names the folder; set to ``off`` nothing is written or read. JAX's own configuration is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import platformdirs
from jax.experimental import serialize_executable
from jax.scipy.linalg import solve_triangular

__all__ = ["Stored", "cache_directory", "deferred_interrupts"]

#: files kept, the latest used
MOST_FILES = 100


def cache_directory() -> Path | None:
    """Folder of what was compiled in earlier processes, or None where that is switched off."""
    chosen = os.environ.get("RANEF_CACHE_DIR", "")
    if chosen.lower() == "off":
        return None
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("ranef", appauthor=False))


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
        self._known: dict[str, Any] = {}

    def __call__(self, *args: Any) -> Any:
        """Call it, compiled now or before."""
        signature = _signature(args)
        if signature not in self._known:
            with deferred_interrupts():
                self._known[signature] = self._load(signature) or self._compile(signature, args)
        return self._known[signature](*args)

    def _path(self, signature: str) -> Path | None:
        folder = cache_directory()
        if self._name is None or folder is None:
            return None
        text = "\n".join([self._name, signature, repr(sorted(self._options.items())), _machine()])
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.jax"

    def _load(self, signature: str) -> Any:
        path = self._path(signature)
        if path is None or not path.exists():
            return None
        _register_linear_algebra()
        try:
            loaded = serialize_executable.deserialize_and_load(*pickle.loads(path.read_bytes()))
            path.touch()
        except Exception:  # whatever is wrong with a file, compiling mends it
            return None
        return loaded

    def _compile(self, signature: str, args: tuple[Any, ...]) -> Any:
        compiled = jax.jit(self._function).lower(*args).compile(compiler_options=self._options or None)
        path = self._path(signature)
        if path is not None:
            with contextlib.suppress(Exception):  # a full disk or a folder that cannot be written takes speed only
                _write(path, pickle.dumps(serialize_executable.serialize(compiled)))
        return compiled


def _signature(args: Any) -> str:
    leaves, tree = jax.tree.flatten(args)
    kinds = (f"{getattr(v, 'dtype', type(v).__name__)}{getattr(v, 'shape', ())}" for v in leaves)
    return f"{tree}: {', '.join(kinds)}"


@cache
def _register_linear_algebra() -> None:
    """Make JAX find its LAPACK functions, as it does on the way to compiling; loaded code would call null pointers."""
    square: Any = jax.ShapeDtypeStruct((2, 2), float)  # type: ignore[no-untyped-call]

    def solve(a: jax.Array) -> jax.Array:
        return jnp.asarray(solve_triangular(jnp.linalg.cholesky(a), a, lower=True))

    jax.jit(solve).lower(square)


@cache
def _machine() -> str:
    """What makes compiled code of another run unusable: versions, this package's code, the processor, the device."""
    here = Path(__file__).parent
    sources = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(here.glob("*.py")))).hexdigest()
    versions = [f"{name} {version(name)}" for name in ("jax", "jaxlib", "numpyro", "numpy")]
    info = Path("/proc/cpuinfo")
    flags = {platform.processor()}
    if info.exists():
        flags = {x for x in info.read_text().splitlines() if x.startswith(("flags", "Features", "model name"))}
    device = str(jax.devices()[0].device_kind)
    return "\n".join([sources, *versions, platform.python_version(), platform.platform(), *sorted(flags), device])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
    kept = sorted(path.parent.glob("*.jax"), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in kept[MOST_FILES:]:
        old.unlink(missing_ok=True)


@contextlib.contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block, for work that must not be left in the middle."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt
