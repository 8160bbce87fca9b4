"""formulaic, loaded when it is first needed: it takes 0.3 s."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["formulaic"]


def formulaic(name: str) -> Any:
    """Give the attribute `name` of ``formulaic.transforms`` (or of a module in it, as ``contrasts.C``)."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(f"formulaic.transforms.{module}" if module else "formulaic.transforms"), attribute)
