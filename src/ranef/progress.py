"""Progress of long work: nothing for two seconds, then a bar, on a terminal only."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any

__all__ = ["DELAY", "LateBar", "undisturbed"]

#: seconds of silence
DELAY = 2.0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put Ctrl-C off for a moment: a bar that is half made complains when it is thrown away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked and callable(before):
        before(asked[0], None)


class LateBar:
    """A tqdm bar that is made, and tqdm loaded, once work has taken two seconds.

    Parameters
    ----------
    what : str
        What is going on.
    unit : str
        What is counted.
    total : int, optional
        How many there will be.
    """

    def __init__(self, what: str, unit: str, total: int | None = None) -> None:
        self._what, self._unit, self._total = what, unit, total
        self._began, self._count = time.monotonic(), 0
        self._bar: Any = None

    def update(self, n: int = 1, note: str = "") -> None:
        """Count `n` more; `note` stands beside the count."""
        self._count += n
        if self._bar is None and time.monotonic() - self._began > DELAY:
            self._bar = import_module("tqdm").tqdm(
                total=self._total,
                desc=self._what,
                unit=f" {self._unit}",
                unit_scale=True,
                leave=False,
                disable=None,  # where stderr is no terminal
                file=sys.stderr,
                mininterval=0.2,
            )
            self._bar.update(self._count)
            self._bar.set_postfix_str(note)
        elif self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)

    def __enter__(self) -> LateBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
