"""What a file cannot hold: functions, rows that were never in memory, distributions without numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from _ranef.errors import DesignError
from _ranef.spec import Custom

__all__ = ["Absent", "absent_prior", "absent_rows", "absent_transform"]


class Absent:
    """Stands for something that was not stored: whatever is done with it raises a DesignError.

    Parameters
    ----------
    kind : str
        ``"transform"``, ``"rows"`` or ``"distribution"``.
    name : str
        Of the transform, or the distribution as it prints.
    words : str
        What to say.
    """

    def __init__(self, kind: str, name: str, words: str) -> None:
        self.kind, self.name, self.words = kind, name, words

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise DesignError(self.words)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") or name in ("kind", "name", "words"):  # asked after while copying
            raise AttributeError(name)
        self._refuse()

    def __str__(self) -> str:
        return self.name

    __call__ = __len__ = __iter__ = __getitem__ = __array__ = __float__ = _refuse


def absent_transform(name: str) -> Absent:
    """In place of a function that the user gave as ``transforms=``."""
    return Absent(
        "transform",
        name,
        f"The formula calls {name!r}, a function that was given as transforms=, and functions are not stored in a "
        f"file. Load it with the same function: ranef.load(path, transforms={{{name!r}: ...}}).",
    )


def absent_rows() -> Absent:
    """In place of chunks of rows."""
    return Absent(
        "rows",
        "rows",
        "This needs the rows, and a file of sums, or of a model whose rows came in chunks or from an engine, holds "
        "their sums alone. Build the model from the rows again, or ask for what needs none: estimates, intervals, "
        "predict(new).",
    )


@dataclass(frozen=True)
class AbsentPrior(Custom):
    """A prior that prints as it did, and cannot be sampled under."""

    def __str__(self) -> str:
        return str(self.distribution)


def absent_prior(text: str) -> AbsentPrior:
    """In place of a distribution of numpyro that could not be written as numbers; `text` is how it prints."""
    words = (
        f"The prior {text} was a distribution of numpyro that has no numbers to store. To sample again, give it anew: "
        "model.sample(priors={...})."
    )
    return AbsentPrior(Absent("distribution", text, words))
