"""Frames that an engine computes when asked: DuckDB, Ibis, Dask, Polars and Spark, each read in batches and sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from _ranef.design.lazy import LazyModule
from _ranef.design.partitions_of_workers import quoted

__all__ = ["ROWS", "Engine", "engine_of"]

nw: Any = LazyModule("narwhals.stable.v2")
ibis: Any = LazyModule("ibis")

#: rows asked for at once
ROWS = 1_048_576


@dataclass(frozen=True, eq=False)
class Engine:
    """A frame of which nothing is in memory.

    Attributes
    ----------
    frame : Any
        As the user gave it.
    names : tuple of str
        Its columns.
    read : callable
        Takes the frame and the columns wanted; gives frames in the order of the rows.
    thin : callable
        Takes the frame and a share of the rows; gives a frame of about as many, by chance.
    """

    frame: Any
    names: tuple[str, ...]
    read: Callable[[Any, list[str]], Iterable[Any]]
    thin: Callable[[Any, float], Any]

    @property
    def lazy(self) -> Any:
        """The frame in narwhals' words, in which sums by groups can be asked for."""
        return nw.from_native(self.frame)

    def batches(self, columns: Sequence[str] | None) -> Iterable[Any]:
        """The rows, with the columns named or all."""
        return self.read(self.frame, list(self.names if columns is None else columns))

    def sample(self, columns: Sequence[str], rows: int, of: int) -> Any:
        """About `rows` of `of` rows as a frame in memory, all where there are no more."""
        wanted = self.lazy.select(*columns)
        return (wanted if of <= rows else nw.from_native(self.thin(wanted.to_native(), rows / of))).collect()


def engine_of(data: Any) -> Engine | None:
    """The engine of a frame, None where it is none of those known."""
    kind = type(data)
    root = kind.__module__.partition(".")[0].lstrip("_")
    if root not in _ENGINES or (root == "polars" and kind.__name__ != "LazyFrame") or not hasattr(kind, "columns"):
        return None
    names = data.collect_schema().names() if root == "polars" else data.columns
    return Engine(data, tuple(map(str, names)), *_ENGINES[root])


def _duckdb_batches(relation: Any, columns: list[str]) -> Iterator[Any]:
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    chosen = relation.project(quoted)
    reader = getattr(chosen, "to_arrow_reader", None) or chosen.fetch_arrow_reader  # its name up to DuckDB 1.4
    return iter(reader(ROWS))


def _duckdb_sample(relation: Any, share: float) -> Any:
    return relation.query("rows", f"SELECT * FROM rows USING SAMPLE {100 * share:.9f} PERCENT (bernoulli, 1)")


def _ibis_batches(table: Any, columns: list[str]) -> Iterator[Any]:
    wanted = table.select(*columns)
    backend = ibis.get_backend(wanted)
    if backend.name == "duckdb" and not hasattr(backend.con, "fetch_record_batch"):
        return iter(wanted.to_pyarrow().to_batches(ROWS))  # Ibis 12 asks DuckDB 2 for what it no longer has
    return iter(wanted.to_pyarrow_batches(chunk_size=ROWS))


def _dask_batches(frame: Any, columns: list[str]) -> Iterator[Any]:
    return (part.compute() for part in frame[columns].partitions)


def _polars_batches(frame: Any, columns: list[str]) -> Iterator[Any]:
    wanted = frame.select(columns)
    if hasattr(wanted, "collect_batches"):
        yield from wanted.collect_batches(chunk_size=ROWS, maintain_order=True)
    else:  # polars before 1.34
        yield wanted.collect()


def _spark_batches(frame: Any, columns: list[str]) -> Iterator[Any]:
    chosen = quoted(frame, columns)
    return iter(chosen.toArrow().to_batches(ROWS) if hasattr(chosen, "toArrow") else [chosen.toPandas()])  # before 4.0


def _polars_sample(frame: Any, share: float) -> Any:
    return frame.gather_every(max(int(1 / share), 1))


_ENGINES: dict[str, tuple[Callable[[Any, list[str]], Iterable[Any]], Callable[[Any, float], Any]]] = {
    "duckdb": (_duckdb_batches, _duckdb_sample),
    "ibis": (_ibis_batches, lambda table, share: table.sample(share, seed=1)),
    "dask": (_dask_batches, lambda frame, share: frame.sample(frac=share, random_state=1)),
    "polars": (_polars_batches, _polars_sample),
    "pyspark": (_spark_batches, lambda frame, share: frame.sample(fraction=share, seed=1)),
}
