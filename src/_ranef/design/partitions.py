"""Rows in partitions that stand on workers: what is made of each is made there, and nothing else travels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from _ranef.design.lazy import LazyModule
from _ranef.design.table import Table, numbered_table

__all__ = ["Partitions"]

dask: Any = LazyModule("dask")

#: results that one task merges
TOGETHER = 8

Result = TypeVar("Result")

#: of the rows before a partition, and the partition
Work = Callable[[int, Table], Result]


@dataclass(frozen=True, eq=False)
class Partitions:
    """Those of a Dask DataFrame.

    Attributes
    ----------
    frame : dask.dataframe.DataFrame
    """

    frame: Any

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Rows of each."""
        counted = self.frame[list(self.frame.columns[:1])].map_partitions(len)
        return tuple(int(n) for n in counted.compute())

    def mapped(self, work: Work[Result], columns: Sequence[str]) -> Iterator[Result]:
        """What `work` makes of each that has rows, in their order."""
        yield from dask.compute(*self._tasks(work, columns))

    def reduced(self, work: Work[Result], merge: Callable[[Result, Result], Result], columns: Sequence[str]) -> Result:
        """The same merged on the workers, few at a time."""
        tasks, together = self._tasks(work, columns), dask.delayed(_merged, pure=False)
        while len(tasks) > 1:
            tasks = [together(merge, tasks[k : k + TOGETHER]) for k in range(0, len(tasks), TOGETHER)]
        found: Result = tasks[0].compute()
        return found

    def _tasks(self, work: Work[Any], columns: Sequence[str]) -> list[Any]:
        before, do = np.cumsum((0, *self.lengths)).tolist(), dask.delayed(_done, pure=False)
        shared = dask.delayed(work, traverse=False)  # once in the graph, however many partitions there are
        parts = self.frame[list(columns)].to_delayed()
        return [do(shared, *own) for *own, n in zip(before, parts, self.lengths, strict=False) if n]


def _done(work: Work[Result], before: int, frame: Any) -> Result:
    return work(before, numbered_table(frame, before))


def _merged(merge: Callable[[Result, Result], Result], parts: list[Result]) -> Result:
    total = parts[0]
    for part in parts[1:]:
        total = merge(total, part)
    return total
