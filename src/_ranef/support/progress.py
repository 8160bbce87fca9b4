"""Progress of long work: nothing for half a second, then one line, and on a terminal a bar where it can be counted."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from importlib import import_module
from types import TracebackType
from typing import Any

from _ranef.support.interrupts import deferred

__all__ = ["DELAY", "LateBar"]

#: seconds of silence
DELAY = 0.4


class LateBar:
    """A line on standard error, and on a terminal a tqdm bar, once work has taken half a second.

    The line says what is going on, of work within work the outermost, wherever standard error goes: somebody may wait
    for the end of a pipe. There is none in notebooks, which show that a cell is at work, nor of processes that another
    one started. tqdm is loaded with the first bar.

    Parameters
    ----------
    what : str
        What is going on.
    unit : str
        What is counted.
    total : int, optional
        How many there will be.
    silent : bool
        Whether there is no bar at all: where another counts.
    """

    def __init__(self, what: str, unit: str, total: int | None = None, *, silent: bool = False) -> None:
        self._silent = silent
        self._what, self._unit, self._total = what, unit, total
        self._began, self._count = time.monotonic(), 0
        self._bar: Any = None
        self._line = _Line(what, self._began)

    def update(self, n: int = 1, note: str = "") -> None:
        """Count `n` more; `note` stands beside the count."""
        self._count += n
        if self._bar is None and not self._silent and time.monotonic() - self._began > DELAY:
            self._begin(note)
        elif self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)

    def _begin(self, note: str) -> None:
        with deferred():  # a bar that is half made complains when it is thrown away
            self._bar = import_module("tqdm").tqdm(
                total=self._total,
                desc=self._what,
                unit=f" {self._unit}",
                unit_scale=True,
                leave=False,
                disable=True if sys.stderr is None else None,  # where it is no terminal
                file=sys.stderr,
                mininterval=0.2,
            )
            self._bar.update(self._count)
            self._bar.set_postfix_str(note)

    def __enter__(self) -> LateBar:
        if not self._silent:
            self._line.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        self._line.end()


class _Line:
    """What is going on, of work within work the outermost; written by a thread that looks every now and then."""

    _open: _Line | None = None
    _lock = threading.Lock()
    _watch: threading.Thread | None = None

    def __init__(self, what: str, began: float) -> None:
        self._what, self._began, self._told = what, began, False

    def begin(self) -> None:
        if _Line._open is not None or not _told_of():
            return
        _Line._open = self
        if _Line._watch is None or not _Line._watch.is_alive():
            _Line._watch = threading.Thread(target=_look, name="ranef-progress", daemon=True)
            _Line._watch.start()

    def end(self) -> None:
        if _Line._open is not self:
            return
        with _Line._lock:
            _Line._open = None
        if self._told and sys.stderr.isatty():
            _write("\r\033[K")

    def tell(self) -> None:
        """Write the line, once, if work has gone on for long and still does."""
        with _Line._lock:
            if _Line._open is self and not self._told and time.monotonic() - self._began > DELAY:
                self._told = True
                _write(f"ranef: {self._what} …" + ("\r" if sys.stderr.isatty() else "\n"))


def _look() -> None:
    """Watch until nothing has been going on for some time."""
    idle = 0
    while idle < 10:
        time.sleep(max(DELAY / 5, 0.01))
        line = _Line._open
        idle = 0 if line is not None else idle + 1
        if line is not None:
            line.tell()


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it, or its encoding has no such dots
        sys.stderr.write(text)
        sys.stderr.flush()


def _told_of() -> bool:
    """Whether somebody may be waiting at standard error."""
    processes = sys.modules.get("multiprocessing.process")  # loaded in those that another process started
    alone = processes is None or processes.current_process().name == "MainProcess"
    return sys.stderr is not None and "ipykernel" not in sys.modules and alone
