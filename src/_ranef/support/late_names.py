"""Names of a package that are loaded when they are first asked for (PEP 562), written as plain imports.

What a process does not use it need not load: a fit reads no figure and no equation. A package says what it holds in
one block, which type checkers, linters and tests read as any other import::

    with late(globals()):
        from _ranef.plots.fit_plots import FitPlots

and whoever may do without it takes the package, ``from _ranef import plots``, and asks it for ``plots.FitPlots`` where
that is needed. Who imports a name from it by name loads it at once, as ever.
"""

from __future__ import annotations

import builtins
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from _ranef.support.interrupts import load

__all__ = ["late", "whole"]

_one_at_a_time = threading.Lock()  # the import statement is of the whole process


class _Module:
    """A module that is not loaded: whatever name an import asks of it is noted."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> _Named:
        return _Named(self._name, name)


class _Named:
    """A name in a module that is not loaded."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def value(self, package: str) -> Any:
        """What it names, which loads the module; of the package itself a module is named."""
        if self.module == package:
            return load(f"{package}.{self.name}")
        return getattr(load(self.module), self.name)


@contextlib.contextmanager
def late(package: dict[str, Any]) -> Iterator[None]:
    """Within this block the imports of a package, given by its ``globals()``, only note what is to be had where."""

    def note(name: str, namespace: Any = None, local: Any = None, names: Any = (), level: int = 0) -> Any:
        return _Module(name) if namespace is package else usual(name, namespace, local, names, level)

    with _one_at_a_time:
        usual = builtins.__import__
        builtins.__import__ = note  # type: ignore[assignment]  # a module, and what stands for one
        try:
            yield
        finally:
            builtins.__import__ = usual
    noted = {name: package.pop(name) for name, value in list(package.items()) if isinstance(value, _Named)}

    def find(name: str) -> Any:
        if name not in noted:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        return package.setdefault(name, noted[name].value(package["__name__"]))

    package["__getattr__"] = find


def whole(package: str) -> None:
    """Load all that a package holds late: for who looks for what there is, and not for a name."""
    held = load(package)
    for name in held.__all__:
        getattr(held, name)
