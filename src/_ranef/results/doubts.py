"""What is told of a result whose fit should not be trusted, wherever it is printed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar

__all__ = ["DOUBT", "Doubtable", "marked"]

DOUBT = "Not to be trusted: the fit did not pass its checks (fit.warnings says why)."


class _Checked(Protocol):
    """A fit."""

    @property
    def ok(self) -> bool: ...


class _Marking(Protocol):
    """A result that can say it."""

    def _doubted(self) -> Any: ...


_T = TypeVar("_T", bound=_Marking)


@dataclass(frozen=True, eq=False, repr=False)
class Doubtable:
    """A result that prints with a line before it where its fit should not be trusted."""

    _trusted: bool = field(default=True, kw_only=True)

    @abstractmethod
    def _printed(self) -> str: ...

    def _doubted(self) -> Self:
        """The same, of a fit that should not be trusted."""
        return replace(self, _trusted=False)

    def __repr__(self) -> str:
        return self._printed() if self._trusted else f"{DOUBT}\n{self._printed()}"


def marked(result: _T, fits: Iterable[_Checked]) -> _T:
    """The same result, which says so where one of the fits that it is of should not be trusted."""
    out: _T = result if all(fit.ok for fit in fits) else result._doubted()
    return out
