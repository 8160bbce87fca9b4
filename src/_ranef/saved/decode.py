"""Plain data and arrays back to records. Nothing in a file is run: it names records of a fixed registry, no code."""

from __future__ import annotations

import datetime as dt
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from _ranef.design.chunks import NotHeld
from _ranef.nuts import distribution_of
from _ranef.saved.not_saved import absent_prior, absent_rows, absent_transform
from _ranef.saved.registry import Registry, saved_fields
from _ranef.spec import Custom

__all__ = ["Decoder", "UnknownRecord"]

Plain = Any


class UnknownRecord(ValueError):
    """A record, or a field of one, that this version of ranef does not know."""


@dataclass(eq=False)
class Decoder:
    """Decodes one manifest.

    Attributes
    ----------
    registry : mapping str to class
        The only classes that are made.
    arrays : sequence of array
    transforms : mapping str to function
        The user's, in place of those that a file cannot hold.
    known : list of str
        The transforms that the model calls; filled while decoding.
    """

    registry: Registry
    arrays: Sequence[NDArray[Any]]
    transforms: Mapping[str, Callable[..., Any]]
    known: list[str] = field(default_factory=list)
    _shared: dict[int, Any] = field(default_factory=dict)

    def value(self, plain: Plain) -> Any:
        """The value that :meth:`Encoder.value` wrote."""
        if isinstance(plain, list):
            return [self.value(part) for part in plain]
        if not isinstance(plain, dict):
            return plain
        if "same" in plain:
            return self._shared[plain["same"]]
        tag = next(iter(plain), "nothing")
        if tag not in _DECODERS:
            raise UnknownRecord(f"it holds something called {tag!r}")
        value = _DECODERS[tag](self, plain)
        if "id" in plain:
            self._shared[plain["id"]] = value
        return value

    def _record(self, plain: dict[str, Plain]) -> Any:
        cls = self.registry.get(plain["record"])
        if cls is None:
            raise UnknownRecord(f"it holds a record called {plain['record']!r}")
        own = {f.name: f.default is MISSING and f.default_factory is MISSING for f in saved_fields(cls)}
        if more := plain["fields"].keys() - own.keys():
            raise UnknownRecord(f"a {plain['record']} in it has {', '.join(sorted(more))} besides")
        if less := {name for name, needed in own.items() if needed} - plain["fields"].keys():
            raise UnknownRecord(f"a {plain['record']} in it has no {', '.join(sorted(less))}")
        return cls(**{name: self.value(member) for name, member in plain["fields"].items()})

    def _enum(self, plain: dict[str, Plain]) -> Any:
        cls = self.registry.get(plain["enum"])
        if cls is None or plain["member"] not in cls.__members__:
            raise UnknownRecord(f"it holds {plain['enum']}.{plain['member']}")
        return cls[plain["member"]]

    # -- arrays ------------------------------------------------------------------------------------------------

    def _array(self, plain: dict[str, Plain]) -> NDArray[Any]:
        content = plain["array"]
        array = self.arrays[content] if isinstance(content, int) else _small(*content)
        if "axes" in plain:
            array = array.transpose(np.argsort(plain["axes"]))
        if plain.get("fixed"):
            array.flags.writeable = False
        return array

    def _objects(self, plain: dict[str, Plain]) -> NDArray[np.object_]:
        parts = [self.value(part) for part in plain["objects"]]
        out = np.empty(len(parts), dtype=object)
        out[:] = parts
        return out.reshape(plain["shape"])

    def _function(self, plain: dict[str, Plain]) -> Any:
        name = plain["function"]
        self.known.append(name)
        return self.transforms[name] if name in self.transforms else absent_transform(name)

    def _sparse(self, plain: dict[str, Plain]) -> Any:
        rows: Any = scipy.sparse.csr_array(
            tuple(self.value(part) for part in plain["sparse"]), shape=tuple(plain["shape"])
        )
        return rows.asformat(plain["format"])

    # -- pandas ------------------------------------------------------------------------------------------------

    def _index(self, plain: dict[str, Plain]) -> pd.Index[Any]:
        index: Any = pd.Index(self._column(plain["index"]), name=self.value(plain["name"]))
        if "freq" in plain:
            index.freq = plain["freq"]
        return cast("pd.Index[Any]", index)

    def _range(self, plain: dict[str, Plain]) -> pd.RangeIndex:
        start, stop, step = plain["range"]
        return pd.RangeIndex(start, stop, step, name=self.value(plain["name"]))

    def _multi(self, plain: dict[str, Plain]) -> pd.MultiIndex:
        levels, codes = [self.value(p) for p in plain["multi"]], [self.value(p) for p in plain["codes"]]
        return pd.MultiIndex(levels, codes, names=[self.value(name) for name in plain["names"]])

    def _column(self, plain: dict[str, Plain]) -> Any:
        """The values of an index or a Series."""
        if "values" in plain:
            return self.value(plain["values"])
        if "categories" in plain:
            codes, categories = self.value(plain["codes"]), self.value(plain["categories"])
            return pd.Categorical.from_codes(codes, categories=categories, ordered=plain["ordered"])
        if "instants" in plain:
            dtype: Any = pd.api.types.pandas_dtype(plain["dtype"])
            return pd.DatetimeIndex(self.value(plain["instants"])).tz_localize("UTC").tz_convert(dtype.tz).array
        if "ordinals" in plain:
            dtype = pd.api.types.pandas_dtype(plain["dtype"])
            periods: Any = pd.PeriodIndex  # whose stubs lack this
            return periods.from_ordinals(self.value(plain["ordinals"]), freq=dtype.freq).array
        if "ends" in plain:
            left, right = (self.value(end) for end in plain["ends"])
            return pd.arrays.IntervalArray.from_arrays(left, right, closed=plain["closed"])
        labels = np.empty(len(plain["labels"]), dtype=object)
        labels[:] = [self.value(label) for label in plain["labels"]]
        if "dtype" not in plain:
            return pd.Series(labels, dtype=object).array
        try:
            kind: Any = pd.api.types.pandas_dtype(plain["dtype"])
            return pd.array(labels, dtype=kind)
        except (ImportError, TypeError):  # of a package that is not installed here
            return pd.Series(labels, dtype=object).array

    def _series(self, plain: dict[str, Plain]) -> pd.Series[Any]:
        index, name = self.value(plain["index"]), self.value(plain["name"])
        return pd.Series(self._column(plain["series"]), index=index, name=name)

    def _frame(self, plain: dict[str, Plain]) -> pd.DataFrame:
        index = self.value(plain["index"])
        columns = {k: pd.Series(self._column(part), index=index) for k, part in enumerate(plain["frame"])}
        frame = pd.DataFrame(columns, index=index)
        frame.columns = self.value(plain["columns"])
        return frame

    def _timestamp(self, plain: dict[str, Plain]) -> pd.Timestamp:
        stamp = pd.Timestamp(self.value(plain["timestamp"])[()])
        return stamp if plain["zone"] is None else stamp.tz_localize("UTC").tz_convert(plain["zone"])

    def _interval(self, plain: dict[str, Plain]) -> pd.Interval[Any]:
        left, right = (self.value(end) for end in plain["interval"])
        return pd.Interval(left, right, closed=plain["closed"])

    # -- what has numbers of its own, or none -------------------------------------------------------------------

    def _distribution(self, plain: dict[str, Plain]) -> Custom:
        name = plain["distribution"]
        if name is None:
            return absent_prior(plain["text"])
        return Custom(distribution_of(name, {k: self.value(v) for k, v in plain["arguments"]}))


def _small(dtype: str, shape: Sequence[int], text: str) -> NDArray[Any]:
    return np.frombuffer(b64decode(text), dtype=np.dtype(dtype)).reshape(shape).copy()


_DECODERS: dict[str, Callable[[Decoder, dict[str, Plain]], Any]] = {
    "float": lambda decoder, p: float(p["float"]),
    "plain": lambda decoder, p: decoder.value(p["plain"]),
    "record": Decoder._record,
    "enum": Decoder._enum,
    "array": Decoder._array,
    "objects": Decoder._objects,
    "sparse": Decoder._sparse,
    "scalar": lambda decoder, p: decoder.value(p["scalar"])[()],
    "tuple": lambda decoder, p: tuple(decoder.value(part) for part in p["tuple"]),
    "set": lambda decoder, p: frozenset(decoder.value(part) for part in p["set"]),
    "slice": lambda decoder, p: slice(*p["slice"]),
    "mapping": lambda decoder, p: {decoder.value(key): decoder.value(value) for key, value in p["mapping"]},
    "function": Decoder._function,
    "not held": lambda decoder, p: NotHeld(p["not held"]),
    "rows": lambda decoder, p: absent_rows(),
    "distribution": Decoder._distribution,
    "missing": lambda decoder, p: {"NaT": pd.NaT, "NA": pd.NA}[p["missing"]],
    "timestamp": Decoder._timestamp,
    "timedelta": lambda decoder, p: pd.Timedelta(decoder.value(p["timedelta"])[()]),
    "period": lambda decoder, p: pd.Period(ordinal=p["period"], freq=p["freq"]),
    "interval": Decoder._interval,
    "index": Decoder._index,
    "range": Decoder._range,
    "multi": Decoder._multi,
    "series": Decoder._series,
    "frame": Decoder._frame,
    "categorical": lambda decoder, p: pd.Categorical(decoder._column(p["categorical"])),
    "datetime": lambda decoder, p: dt.datetime.fromisoformat(p["datetime"]),
    "date": lambda decoder, p: dt.date.fromisoformat(p["date"]),
    "time": lambda decoder, p: dt.time.fromisoformat(p["time"]),
    "duration": lambda decoder, p: dt.timedelta(*p["duration"]),
    "decimal": lambda decoder, p: Decimal(p["decimal"]),
    "uuid": lambda decoder, p: UUID(p["uuid"]),
    "complex": lambda decoder, p: complex(*(decoder.value(part) for part in p["complex"])),
    "bytes": lambda decoder, p: b64decode(p["bytes"]),
}
