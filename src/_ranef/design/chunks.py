"""Data that come in chunks: frames that can be read more than once, and never all at the same time."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from _ranef.design.engines import ROWS, Engine, engine_of
from _ranef.design.evaluate import CONSTANTS
from _ranef.design.lazy import LazyModule
from _ranef.design.partitions_of_workers import Partitions, partitions_of
from _ranef.design.table import Table, are_rows, numbered_table
from _ranef.errors import DesignError

__all__ = ["Chunks", "NotHeld", "as_chunks"]

pa: Any = LazyModule("pyarrow")


@dataclass(frozen=True, eq=False)
class Chunks:
    """A source of frames.

    Attributes
    ----------
    read : callable
        Takes the names of the columns wanted, and gives the frames from the first on, with those columns at least.
    engine : Engine, optional
        Where sums by groups can be asked for.
    """

    read: Callable[[Sequence[str]], Iterable[Any]]
    engine: Engine | None = None

    def tables(self, columns: Sequence[str]) -> Iterator[tuple[int, Table]]:
        """Every chunk that has rows, with the number of rows before it."""
        before = 0
        for frame in self.read(columns):
            if _has_no_rows(frame):
                continue
            table = numbered_table(_as_table(frame), before)
            yield before, table
            before += table.n

    @property
    def partitions(self) -> Partitions | None:
        """Where the rows stand on workers, these."""
        return None if self.engine is None else partitions_of(self.engine.frame)


def _has_no_rows(frame: Any) -> bool:
    if isinstance(frame, Mapping):
        return all(hasattr(column, "__len__") and not len(column) for column in frame.values())
    return hasattr(frame, "__len__") and not len(frame)


def as_chunks(data: Any) -> Chunks | None:
    """See `data` as chunks, or give None where they are one frame.

    Chunks are a frame of an engine (DuckDB, Ibis, Dask, a LazyFrame of polars), a pyarrow dataset or ParquetFile, what
    gives a stream of Arrow, a list or tuple of frames, a function that returns an iterator of frames, or any object
    over which one can iterate again and again.

    Raises
    ------
    DesignError
        For an iterator, which can be read once only.
    """
    if (engine := engine_of(data)) is not None:
        return Chunks(partial(_engine_batches, engine), engine)
    if _is_frame(data) or isinstance(data, str | bytes) or are_rows(data):
        return None
    if (dataset := sys.modules.get("pyarrow.dataset")) is not None and isinstance(data, dataset.Dataset):
        return Chunks(partial(_dataset_batches, data))
    if (parquet := sys.modules.get("pyarrow.parquet")) is not None and isinstance(data, parquet.ParquetFile):
        return Chunks(partial(_parquet_batches, data))
    if callable(data):
        return Chunks(partial(_from_function, data))
    if isinstance(data, list | tuple):
        return Chunks(partial(_all_columns, data)) if data and all(map(_is_frame, data)) else None
    if isinstance(data, Iterable) and iter(data) is data:
        raise DesignError(
            f"The data are of type {type(data).__name__}, an iterator, which can be read once; chunks are read twice. "
            "Give a list of frames, a function that returns the iterator (as lambda: pd.read_csv(path, "
            "chunksize=100_000)), or a pyarrow dataset."
        )
    if hasattr(data, "__arrow_c_stream__"):
        return Chunks(partial(_stream_batches, data))
    return Chunks(partial(_all_columns, data)) if isinstance(data, Iterable) and not hasattr(data, "dtype") else None


# what reads is a function of this module with the data in place, so that it can be sent to other processes


def _from_function(function: Callable[..., Any], columns: Sequence[str]) -> Iterable[Any]:
    return _frames(_called(function))


def _called(function: Callable[..., Any]) -> Any:
    """What the user's function of no arguments returns."""
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise DesignError(
            f"The function given as data is called without arguments, and needs some ({error}). Wrap it: "
            "lambda: function(...)."
        ) from None
    except ValueError:  # functions in C may not tell
        pass
    return function()


def _frames(given: Any) -> Iterable[Any]:
    """What a function returned: frames, or one."""
    if _is_frame(given):
        return [given]
    if not isinstance(given, Iterable):
        raise DesignError(
            f"The function given as data returned {type(given).__name__}; expected is an iterator of frames, or a "
            "frame."
        )
    return given


def _all_columns(frames: Iterable[Any], columns: Sequence[str]) -> Iterable[Any]:
    return frames


def _is_frame(item: Any) -> bool:
    kind = type(item)  # the columns of a lazy frame are not asked for
    return isinstance(item, Mapping) or hasattr(kind, "columns") or hasattr(kind, "column_names")


def _engine_batches(engine: Engine, columns: Sequence[str]) -> Iterable[Any]:
    return engine.batches(_present(engine.names, columns))


def _stream_batches(data: Any, columns: Sequence[str]) -> Iterable[Any]:
    try:
        stream: Iterable[Any] = pa.RecordBatchReader.from_stream(data)
    except pa.ArrowInvalid:
        raise DesignError(
            f"data= is one column without a name ({type(data).__name__}). "
            "Give a frame, or a mapping of names to columns."
        ) from None
    return stream


def _dataset_batches(dataset: Any, columns: Sequence[str]) -> Any:
    return dataset.to_batches(
        columns=_present(dataset.schema.names, columns), batch_size=ROWS, batch_readahead=2, fragment_readahead=1
    )


def _parquet_batches(file: Any, columns: Sequence[str]) -> Any:
    return file.iter_batches(batch_size=ROWS, columns=_present(file.schema_arrow.names, columns))


def _present(there: Iterable[str], columns: Sequence[str]) -> list[str] | None:
    """The columns to read; all of them where one is missing, so that the error can list what there is."""
    names = set(there)
    found = [column for column in columns if column in names]
    return found if all(column in names or column in CONSTANTS for column in columns) else None


def _as_table(frame: Any) -> Any:
    """A frame as it is, a batch of pyarrow as a table."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(frame, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([frame])
    return frame


class NotHeld:
    """Stands for an array of rows that are not in memory: whatever is done with it raises a DesignError.

    Parameters
    ----------
    what : str
        What the array would hold.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise DesignError(
            f"This needs {self.what} of every row, and the model was built from chunks, an engine or sums, without the "
            "rows. For this build it from one frame, if need be of some of the rows."
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") and name.endswith("__"):  # protocols are asked after; they are not there
            raise AttributeError(name)
        self._refuse()

    __len__ = __iter__ = __getitem__ = __array__ = __array_ufunc__ = __bool__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __matmul__ = __rmatmul__ = _refuse
