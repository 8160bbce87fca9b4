"""Progress of long work: nothing for two seconds, then a bar, on a terminal only."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from types import TracebackType
from typing import Any

from _ranef.support.interrupts import deferred

__all__ = ["DELAY", "LateBar"]

#: seconds of silence
DELAY = 2.0


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
    silent : bool
        Whether there is no bar at all: where another counts.
    """

    def __init__(self, what: str, unit: str, total: int | None = None, *, silent: bool = False) -> None:
        self._silent = silent
        self._what, self._unit, self._total = what, unit, total
        self._began, self._count = time.monotonic(), 0
        self._bar: Any = None

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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
