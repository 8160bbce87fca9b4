"""Records to plain data for JSON, with the arrays apart.

Every value is itself (None, bool, int, finite float, str, list), or a mapping with one tag that says what it is. What
occurs twice is written once and named afterwards: two fits of one model share it when they are loaded, too.
"""

from __future__ import annotations

import datetime as dt
import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from _ranef.design.chunks import Chunks, NotHeld
from _ranef.design.table import Table
from _ranef.errors import SavedFileError
from _ranef.nuts import distribution_numbers
from _ranef.saved.not_saved import Absent
from _ranef.saved.registry import Registry, record_name, saved_fields
from _ranef.spec import Custom

__all__ = ["SMALL", "Encoder"]

#: bytes up to which an array stands in the manifest
SMALL = 512

Plain = Any


@dataclass(eq=False)
class Encoder:
    """Encodes one object.

    Attributes
    ----------
    registry : mapping str to class
        The records that may occur.
    arrays : list of array
        Those too large for the manifest, by number.
    """

    registry: Registry
    arrays: list[NDArray[Any]] = field(default_factory=list)
    _seen: dict[int, tuple[object, dict[str, Plain]]] = field(default_factory=dict)
    _shared: int = 0

    def value(self, given: Any) -> Plain:
        """Any value that a record may hold."""
        kind = type(given)
        if given is None or kind in (bool, int, str):
            return given
        if kind is float:
            return given if math.isfinite(given) else {"float": repr(given)}
        if kind is list:
            return [self.value(part) for part in given]
        if id(given) in self._seen:
            return self._again(id(given))
        node = self._tagged(given)
        if kind is not tuple:  # a tuple has no identity to keep
            self._seen[id(given)] = (given, node)
        return node

    def _again(self, key: int) -> dict[str, Plain]:
        node = self._seen[key][1]
        if "id" not in node:
            node["id"], self._shared = self._shared, self._shared + 1
        return {"same": node["id"]}

    def _tagged(self, given: Any) -> dict[str, Plain]:
        for kind, encode in _ENCODERS:
            if isinstance(given, kind):
                return encode(self, given)
        if is_dataclass(given):
            return self._record(given)
        if type(given).__module__.startswith("scipy.sparse"):  # which is not loaded to find out
            return _sparse(self, given)
        if callable(given):
            return {"function": getattr(given, "__name__", type(given).__name__)}
        raise SavedFileError(
            f"A value of type {type(given).__module__}.{type(given).__qualname__} cannot be stored in a file. Please "
            "report it: every part of a fit should be."
        )

    def _record(self, given: Any) -> dict[str, Plain]:
        name = record_name(type(given))
        if self.registry.get(name) is not type(given):
            raise SavedFileError(f"A {name} is not known as part of what is saved. Please report it.")
        members = {f.name: self.value(getattr(given, f.name)) for f in saved_fields(type(given))}
        return {"record": name, "fields": members}

    # -- arrays ------------------------------------------------------------------------------------------------

    def array(self, given: NDArray[Any]) -> dict[str, Plain]:
        """An array with its order in memory, on which the last digits of sums over it depend."""
        if given.dtype.hasobject:
            return {"objects": [self.value(part) for part in given.ravel().tolist()], "shape": list(given.shape)}
        axes = sorted(range(given.ndim), key=lambda axis: (-abs(given.strides[axis]), axis))
        plain = np.ascontiguousarray(given.transpose(axes)) if given.ndim else given
        node: dict[str, Plain] = {"array": self._content(plain)}
        if axes != list(range(given.ndim)):
            node["axes"] = axes
        if not given.flags.writeable:
            node["fixed"] = True
        return node

    def _content(self, plain: NDArray[Any]) -> Plain:
        if plain.nbytes <= SMALL:
            return [plain.dtype.str, list(plain.shape), b64encode(plain.tobytes()).decode()]
        self.arrays.append(plain)
        return len(self.arrays) - 1

    def mapping(self, given: Mapping[Any, Any]) -> dict[str, Plain]:
        """A mapping by its items, whatever its keys; functions are replaced by their names here."""
        items = [[self.value(k), self._function(k, v) or self.value(v)] for k, v in given.items()]
        return {"mapping": items}

    def _function(self, key: object, given: object) -> dict[str, Plain] | None:
        own = isinstance(given, Absent) and given.kind == "transform"
        return {"function": str(key)} if own or (callable(given) and not isinstance(given, type | Absent)) else None

    # -- pandas ------------------------------------------------------------------------------------------------

    def index(self, given: pd.Index[Any]) -> dict[str, Plain]:
        """An index with its type and names."""
        if isinstance(given, pd.RangeIndex):
            return {"range": [given.start, given.stop, given.step], "name": self.label(given.name)}
        if isinstance(given, pd.MultiIndex):
            return {
                "multi": [self.value(level) for level in given.levels],
                "codes": [self.value(np.asarray(codes)) for codes in given.codes],
                "names": [self.label(name) for name in given.names],
            }
        node = {"index": self.column(given), "name": self.label(given.name)}
        steps = getattr(given, "freqstr", None) if isinstance(given, pd.DatetimeIndex | pd.TimedeltaIndex) else None
        return node if steps is None else {**node, "freq": steps}

    def column(self, given: pd.Index[Any] | pd.Series[Any]) -> dict[str, Plain]:
        """The values of an index or a Series, with their type."""
        dtype = given.dtype
        if isinstance(dtype, np.dtype):
            values = given.to_numpy()
            if dtype.hasobject:
                return {"labels": [self.label(part) for part in values]}
            return {"values": self.value(values)}
        own: Any = given.array
        if isinstance(dtype, pd.CategoricalDtype):
            categories = self.value(dtype.categories)
            return {
                "codes": self.value(np.asarray(own.codes)),
                "categories": categories,
                "ordered": bool(dtype.ordered),
            }
        if isinstance(dtype, pd.DatetimeTZDtype):
            return {"dtype": str(dtype), "instants": self.value(own.tz_convert(None).to_numpy())}
        if isinstance(dtype, pd.PeriodDtype):
            return {"dtype": str(dtype), "ordinals": self.value(own.asi8)}
        if isinstance(dtype, pd.IntervalDtype):
            ends = [self.value(pd.Index(end)) for end in (own.left, own.right)]
            return {"ends": ends, "closed": own.closed}
        return {"dtype": str(dtype), "labels": [self.label(part) for part in given.astype(object)]}

    def label(self, given: Any) -> Plain:
        """A label of a row: one of an unknown type is kept as its text."""
        try:
            return self.value(given)
        except SavedFileError:
            return str(given)

    def _series(self, given: pd.Series[Any]) -> dict[str, Plain]:
        return {"series": self.column(given), "index": self.value(given.index), "name": self.label(given.name)}

    def _frame(self, given: pd.DataFrame) -> dict[str, Plain]:
        columns = [self.column(given.iloc[:, k]) for k in range(given.shape[1])]
        return {"frame": columns, "columns": self.value(given.columns), "index": self.value(given.index)}

    # -- what has numbers of its own, or none -------------------------------------------------------------------

    def _custom(self, given: Custom) -> dict[str, Plain]:
        if isinstance(given.distribution, Absent):
            return {"distribution": None, "text": given.distribution.name}
        numbers = distribution_numbers(given.distribution)
        text = str(given)
        if numbers is None:
            return {"distribution": None, "text": text}
        name, arguments = numbers
        return {"distribution": name, "arguments": [[k, self.value(v)] for k, v in arguments.items()], "text": text}


def _sparse(encoder: Encoder, given: Any) -> dict[str, Plain]:
    rows = scipy.sparse.csr_array(given)
    parts = [encoder.array(np.asarray(part)) for part in (rows.data, rows.indices, rows.indptr)]
    return {"sparse": parts, "shape": list(rows.shape), "format": given.format}


def _text(tag: str, text: Callable[[Any], str]) -> Callable[[Encoder, Any], dict[str, Plain]]:
    return lambda encoder, given: {tag: text(given)}


def _timestamp(encoder: Encoder, given: pd.Timestamp) -> dict[str, Plain]:
    return {
        "timestamp": encoder.value(np.asarray(given.to_datetime64())),
        "zone": None if given.tz is None else str(given.tz),
    }


def _interval(encoder: Encoder, given: pd.Interval[Any]) -> dict[str, Plain]:
    return {"interval": [encoder.value(end) for end in (given.left, given.right)], "closed": given.closed}


_ENCODERS: tuple[tuple[Any, Callable[[Encoder, Any], dict[str, Plain]]], ...] = (
    (np.ndarray, Encoder.array),
    (np.generic, lambda encoder, given: {"scalar": encoder.array(np.asarray(given))}),
    (tuple, lambda encoder, given: {"tuple": [encoder.value(part) for part in given]}),
    (frozenset | set, lambda encoder, given: {"set": [encoder.value(part) for part in sorted(given, key=repr)]}),
    (slice, lambda encoder, given: {"slice": [given.start, given.stop, given.step]}),
    (Enum, lambda encoder, given: {"enum": record_name(type(given)), "member": given.name}),
    (NotHeld, lambda encoder, given: {"not held": given.what}),
    (Chunks, lambda encoder, given: {"rows": None}),
    (Absent, lambda encoder, given: {"rows": None}),
    (Table, lambda encoder, given: {"rows": None}),
    (Custom, lambda encoder, given: encoder._custom(given)),
    (Mapping, lambda encoder, given: encoder.mapping(given)),
    (type(pd.NaT), _text("missing", lambda given: "NaT")),
    (type(pd.NA), _text("missing", lambda given: "NA")),
    (pd.Timestamp, _timestamp),
    (pd.Timedelta, lambda encoder, given: {"timedelta": encoder.value(np.asarray(given.to_timedelta64()))}),
    (pd.Period, lambda encoder, given: {"period": given.ordinal, "freq": given.freqstr}),
    (pd.Interval, _interval),
    (pd.Index, Encoder.index),
    (pd.Series, lambda encoder, given: encoder._series(given)),
    (pd.DataFrame, lambda encoder, given: encoder._frame(given)),
    (pd.Categorical, lambda encoder, given: {"categorical": encoder.column(pd.Series(given))}),
    (dt.datetime, _text("datetime", lambda given: given.isoformat())),
    (dt.date, _text("date", lambda given: given.isoformat())),
    (dt.time, _text("time", lambda given: given.isoformat())),
    (dt.timedelta, lambda encoder, given: {"duration": [given.days, given.seconds, given.microseconds]}),
    (Decimal, _text("decimal", str)),
    (UUID, _text("uuid", str)),
    (complex, lambda encoder, given: {"complex": [encoder.value(given.real), encoder.value(given.imag)]}),
    (bytes, _text("bytes", lambda given: b64encode(given).decode())),
    # kinds of what JSON has, as a str of a class of its own
    (bool, lambda encoder, given: {"plain": bool(given)}),
    (int, lambda encoder, given: {"plain": int(given)}),
    (str, lambda encoder, given: {"plain": str(given)}),
    (float, lambda encoder, given: {"plain": encoder.value(float(given))}),
    (list, lambda encoder, given: {"plain": [encoder.value(part) for part in given]}),
)  # fmt: skip
