"""JAX under the settings that ranef needs, whatever the user's own are, and only while ranef computes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax

from ranef.errors import FitError

__all__ = ["own_settings", "require_device"]

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
