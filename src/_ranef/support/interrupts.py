"""Ctrl-C: put off while something must not be left half done, then passed on to whoever handles it.

There is one rule for all of ranef. Modules that are loaded late, compilers, samplers and files being written stand in
:func:`deferred`: a signal that arrives there is noted. It is passed on, by a call of the handler that was there before
(Python's own raises ``KeyboardInterrupt``, a user's does what the user wants), where the block ends, or at
:func:`let_through`, the places within long work where it may be left. Where SIGINT is ignored (``nohup``, ``&``) it
stays ignored, and threads other than the main one, which gets all signals, are left alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from _ranef.errors import NotAvailableError

__all__ = ["INTERRUPTED", "as_command", "caught", "deferred", "let_through", "load", "waiting"]

#: exit status after Ctrl-C, as a shell reports it
INTERRUPTED = 130

Handler = Callable[[int, FrameType | None], Any]


class _Deferral:
    """Of the process, for signals are the process's: blocks within each other, and what arrived meanwhile."""

    def __init__(self) -> None:
        self.depth = 0
        self.noted: list[int] = []
        self.caught = False
        self.handler: Handler = signal.default_int_handler

    def note(self, number: int, _: FrameType | None) -> None:
        """Handle a signal by remembering it."""
        self.noted.append(number)

    def pass_on(self) -> None:
        """Call who would have been called, once for all that arrived."""
        if self.noted:
            number = self.noted[-1]
            self.noted.clear()
            self.handler(number, None)


_deferral = _Deferral()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Put Ctrl-C off until the end of the outermost such block."""
    here, before = _deferral, signal.getsignal(signal.SIGINT) if _in_main_thread() else None
    if before == here.note:
        here.depth += 1
        try:
            yield
        finally:
            here.depth -= 1
        return
    if not callable(before):  # another thread, or a signal that Python does not handle
        yield
        return
    here.handler, here.depth = before, 1
    here.noted.clear()
    signal.signal(signal.SIGINT, here.note)
    try:
        yield
    finally:
        here.depth = 0
        if signal.getsignal(signal.SIGINT) == here.note:  # nobody else has taken it over
            signal.signal(signal.SIGINT, before)
        here.pass_on()


def let_through() -> None:
    """Pass on a signal that was put off: called where long work may be left, outside of blocks within blocks."""
    if _deferral.depth == 1 and _in_main_thread():
        _deferral.pass_on()


def waiting() -> bool:
    """Whether a signal has been put off and not yet passed on; any thread may ask."""
    return bool(_deferral.noted)


@contextlib.contextmanager
def caught() -> Iterator[None]:
    """Say that the caller catches ``KeyboardInterrupt``, in the command ``ranef`` that otherwise ends without it."""
    _deferral.caught = True
    try:
        yield
    finally:
        _deferral.caught = False


def load(name: str) -> Any:
    """Import a module that takes its time, to the end: one left half made would stay broken in this process.

    Raises
    ------
    NotAvailableError
        If it wants to write where nothing can be written, as matplotlib does without a folder for temporary files.
    """
    with deferred():
        try:
            return import_module(name)
        except OSError as error:
            raise NotAvailableError(f"{name} cannot be loaded here. {error}.") from error


def as_command() -> None:
    """Let Ctrl-C end this process with one line and status 130 from here on, where it is the command ``ranef``.

    That holds from before the package is loaded, and at any moment: a ``KeyboardInterrupt`` would be lost in a callback
    of a compiler, or take an interpreter down round threads that are still at work. Where work was put off and may be
    left, it is raised all the same, so that draws can be kept, where somebody has said that it is :func:`caught`.
    """
    if _is_command() and _in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _is_command() -> bool:
    """Whether ``ranef`` or ``python -m ranef`` was called; while it looks for a module, Python's name is ``-m``."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    if name == "-m":
        called = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else []
        return called[:1] in (["ranef"], ["ranef.cli"])
    return Path(name).stem == "ranef"


def _leave(_: int, frame: FrameType | None) -> None:
    if frame is None and _deferral.caught:  # it was put off, and work may be left here
        raise KeyboardInterrupt
    with contextlib.suppress(Exception):  # a closed pipe, or a write that is under way
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, b"ranef: interrupted\n")
    os._exit(INTERRUPTED)
