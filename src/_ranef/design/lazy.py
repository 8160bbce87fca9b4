"""Libraries loaded when they are first needed, so that ``import ranef`` stays light."""

from __future__ import annotations

from typing import Any

from _ranef.support.interrupts import load

__all__ = ["LazyModule", "formulaic"]


class LazyModule:
    """Stands for a module until one of its attributes is asked for.

    Parameters
    ----------
    name : str
        Its full name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(load(self._name), attribute)


def formulaic(name: str) -> Any:
    """Give the attribute `name` of ``formulaic.transforms`` (or of a module in it, as ``contrasts.C``)."""
    module, _, attribute = name.rpartition(".")
    return getattr(load(f"formulaic.transforms.{module}" if module else "formulaic.transforms"), attribute)
