"""Rows in partitions that stand on workers: what is made of each is made there, and nothing else travels."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import Any, TypeVar

import numpy as np

from _ranef.design.lazy import LazyModule
from _ranef.design.table import Table, numbered_table
from _ranef.errors import RanefError
from _ranef.support.interrupts import load

__all__ = ["Partitions", "partitions_of"]

dask: Any = LazyModule("dask")
pyarrow: Any = LazyModule("pyarrow")

#: results that one task merges
TOGETHER = 8

Result = TypeVar("Result")

#: of the rows before a partition, and the partition
Work = Callable[[int, Table], Result]


@dataclass(frozen=True, eq=False)
class Partitions(ABC):
    """Those of a frame of an engine that has workers.

    Attributes
    ----------
    frame : dask.dataframe.DataFrame or pyspark.sql.DataFrame
    """

    frame: Any

    @property
    @abstractmethod
    def lengths(self) -> tuple[int, ...]:
        """Rows of each."""

    @abstractmethod
    def mapped(self, work: Work[Result], columns: Sequence[str]) -> Iterator[Result]:
        """What `work` makes of each that has rows, in their order."""

    def reduced(self, work: Work[Result], merge: Callable[[Result, Result], Result], columns: Sequence[str]) -> Result:
        """The same merged."""
        return reduce(merge, self.mapped(work, columns))


def partitions_of(frame: Any) -> Partitions | None:
    """Those of a frame, where its engine has workers."""
    kind = _KINDS.get(type(frame).__module__.partition(".")[0])
    return None if kind is None else kind(frame)


class _OfDask(Partitions):
    @cached_property
    def lengths(self) -> tuple[int, ...]:
        counted = self.frame[list(self.frame.columns[:1])].map_partitions(len)
        return tuple(int(n) for n in counted.compute())

    def mapped(self, work: Work[Result], columns: Sequence[str]) -> Iterator[Result]:
        yield from dask.compute(*self._tasks(work, columns))

    def reduced(self, work: Work[Result], merge: Callable[[Result, Result], Result], columns: Sequence[str]) -> Result:
        """On the workers, few at a time."""
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
    return reduce(merge, parts)


class _OfSpark(Partitions):
    @cached_property
    def lengths(self) -> tuple[int, ...]:
        found = dict(self._run(_counted, list(self.frame.columns[:1])))
        return tuple(found.get(k, 0) for k in range(max(found, default=-1) + 1))

    def mapped(self, work: Work[Result], columns: Sequence[str]) -> Iterator[Result]:
        before = np.cumsum((0, *self.lengths)).tolist()
        yield from (found for _, found in sorted(self._run(partial(_worked, work, before), columns), key=_place))

    def _run(self, function: Callable[[int, Any], Any], columns: Sequence[str]) -> list[tuple[int, Any]]:
        """What a function of the number of a partition and its rows makes of each that has some."""
        made = quoted(self.frame, columns).mapInArrow(partial(_in_spark, function), "place int, made binary")
        found = [(row["place"], pickle.loads(row["made"])) for row in made.collect()]
        for _, own in found:
            if isinstance(own, RanefError):
                raise own
        return found


def quoted(frame: Any, columns: Sequence[str]) -> Any:
    """Columns of a Spark frame by their names, whatever is in these."""
    return frame.select(*("`" + name.replace("`", "``") + "`" for name in columns))


def _in_spark(function: Callable[[int, Any], Any], batches: Iterator[Any]) -> Iterator[Any]:
    """What Spark's worker does with the batches of one partition."""
    held = [batch for batch in batches if batch.num_rows]
    if held:
        place = load("pyspark").TaskContext.get().partitionId()
        try:
            made = function(place, pyarrow.Table.from_batches(held))
        except RanefError as error:  # Spark would give its text alone, in an error of its own
            made = error
        record = {"place": pyarrow.array([place], "int32"), "made": [pickle.dumps(made)]}
        yield pyarrow.RecordBatch.from_pydict(record)


def _counted(place: int, rows: Any) -> int:
    return int(rows.num_rows)


def _worked(work: Work[Any], before: Sequence[int], place: int, rows: Any) -> Any:
    return _done(work, before[place], rows)


def _place(found: tuple[int, Any]) -> int:
    return found[0]


_KINDS: dict[str, type[Partitions]] = {"dask": _OfDask, "pyspark": _OfSpark}
