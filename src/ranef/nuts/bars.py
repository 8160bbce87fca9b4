"""Progress of chains on stderr, one bar each, on a terminal or in a notebook only."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm

from ranef.support.arrays import Ints
from ranef.support.interrupts import deferred

__all__ = ["ChainBars"]


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
