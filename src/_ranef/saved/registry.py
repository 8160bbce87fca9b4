"""Which classes a file may name: those that fields of what is saved are annotated with, with their subclasses."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from typing import Any, get_args

from _ranef.support.late_names import whole

__all__ = ["Registry", "record_name", "registry_of", "saved_fields"]

Registry = Mapping[str, type[Any]]


def record_name(cls: type[Any]) -> str:
    """Layer and class, as ``design.Design``: a class may move to another module of its layer."""
    return f"{cls.__module__.split('.')[1]}.{cls.__qualname__}"


def saved_fields(cls: type[Any]) -> list[Field[Any]]:
    """Fields of a record that a file holds: all it is made from, but those marked otherwise."""
    return [f for f in fields(cls) if f.init and f.metadata.get("saved", True)]


def registry_of(*roots: type[Any]) -> Registry:
    """Name to class of `roots` and of every record and enumeration of ranef that their fields may hold.

    Found by the annotations of their fields, so that a new record needs no new code here.
    """
    whole("_ranef.residuals")  # an abstract class stands for those of its subclasses that are loaded
    found: dict[str, type[Any]] = {}
    waiting = list(roots)
    while waiting:
        cls = waiting.pop()
        if found.setdefault(record_name(cls), cls) is not cls:
            raise TypeError(f"Two records go by the name {record_name(cls)}.")
        named = [*_named_in(cls), *(other for other in cls.__subclasses__() if is_dataclass(other))]
        waiting += [other for other in named if found.get(record_name(other)) is not other]
    return found


def _named_in(cls: type[Any]) -> Iterator[type[Any]]:
    """Classes that the annotations of a record's fields name; annotations are read, not evaluated."""
    if not is_dataclass(cls):
        return
    spaces = [vars(sys.modules[base.__module__]) for base in cls.__mro__ if base is not object]
    for annotation in (field.type for field in saved_fields(cls)):
        for name in re.findall(r"\w+", annotation if isinstance(annotation, str) else repr(annotation)):
            yield from _records(next((space[name] for space in spaces if name in space), None))


def _records(named: Any) -> Iterator[type[Any]]:
    """The records in a class or in an alias of several."""
    if isinstance(named, type):
        if named.__module__.startswith("_ranef."):
            yield from [named] if is_dataclass(named) or issubclass(named, Enum) else _below(named)
        return
    for part in get_args(named):
        yield from _records(part)


def _below(named: type[Any]) -> Iterator[type[Any]]:
    """The records that an abstract class stands for."""
    for other in named.__subclasses__():
        yield from [other] if is_dataclass(other) else _below(other)
