"""How records that remember what they worked out are copied, and sent to other processes."""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType
from typing import Any

__all__ = ["ByFields"]


class ByFields:
    """A dataclass that is copied and pickled by its fields: what it has worked out meanwhile stays behind."""

    def __reduce__(self) -> tuple[type[Any], tuple[Any, ...]]:
        held = (getattr(self, f.name) for f in fields(self) if f.init)  # type: ignore[arg-type]
        return type(self), tuple(dict(v) if isinstance(v, MappingProxyType) else v for v in held)
