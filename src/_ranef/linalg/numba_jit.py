"""numba's decorators for our own loops; what they compile is kept in ranef's folder (``support/compiled_store.py``).

numba's own cache stands beside the code or in one folder for all packages, trusts whatever it finds there, and ends in
an error where nothing can be written or a file is cut.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
import platform
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
from numba.core import ccallback, compiler, serialize, sigutils
from numba.core.caching import NullCache

from _ranef.support import compiled_store

__all__ = ["c_function", "compiled"]

# none of these has types
_make_c_function: Any = ccallback.CFunc
_normalized: Any = sigutils.normalize_signature
_rebuild: Any = compiler.CompileResult._rebuild
_dumps: Any = serialize.dumps


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` with these options, kept."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = numba.njit(**options)(function)
        if hasattr(dispatcher, "_cache"):  # not where NUMBA_DISABLE_JIT is set
            dispatcher._cache = _Kept(function)
        return dispatcher

    return decorate


def c_function(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.cfunc``, kept: compiled or loaded at once."""

    def decorate(function: Callable[..., Any]) -> Any:
        made: Any = _make_c_function(function, _normalized(signature), locals={}, options={})
        made._cache = _Kept(function)
        made.compile()
        return made

    return decorate


class _Kept(NullCache):
    """numba's interface of a cache, for one function.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for a signature, or None."""
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        content = None if key is None else compiled_store.read("numba", key)
        if content is None:
            return None
        try:
            return _rebuild(target_context, *pickle.loads(content))
        except Exception:  # whatever is wrong with it, compiling mends it
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it for later processes."""
        key = self._key(sig, data.codegen)
        if key is None or data.lifted or data.library.has_dynamic_globals:
            return
        try:
            content = _dumps(data._reduce())
        except Exception:  # it is compiled, and will do for this process
            return
        compiled_store.write("numba", key, content)

    def _key(self, sig: Any, codegen: Any) -> str | None:
        """Everything that the code depends on, files whole: loops call each other."""
        sources = [_source(file) for file in _files(self._function)]
        name = f"{self._function.__module__}.{self._function.__qualname__}"
        of_code = [source for source in sources if source is not None]
        if len(of_code) < len(sources):
            return None
        return "\n".join([name, str(sig), *of_code, repr(codegen.magic_tuple()), *_versions()])


def _files(function: Callable[..., Any]) -> list[str]:
    """The file of a function, and those of loops that it may call from other files, and of loops of those."""
    known: dict[str, None] = {}
    waiting = [function]
    while waiting:
        own = waiting.pop()
        file = inspect.getfile(own)
        if file not in known:
            known[file] = None
            waiting += [value.py_func for value in own.__globals__.values() if hasattr(value, "py_func")]
    return sorted(known)


@cache
def _source(file: str) -> str | None:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:  # a package in an archive
        return None


@cache
def _versions() -> tuple[str, ...]:
    return (*(f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy")), platform.python_version())
