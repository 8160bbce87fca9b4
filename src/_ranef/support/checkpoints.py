"""Long work that goes on where it was stopped: what is done of it, in a file that is whole at any moment."""

from __future__ import annotations

import json
import secrets
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _ranef.errors import DesignError, RanefWarning, SavedFileError, warn
from _ranef.support.argument_remedies import file_path
from _ranef.support.arrays import Floats
from _ranef.support.output import BROKEN, check_output, put_array, write_whole

__all__ = ["Checkpoint", "open_checkpoint"]

#: the member of the file that says what it is of
ABOUT = "checkpoint"

#: of the time of a run, the most that is spent on writing
SHARE = 0.05

#: relative difference of sums of the same rows, which an engine may add up in another order
ROUNDING = 1e-7

Arrays = Mapping[str, NDArray[Any]]


@dataclass(eq=False, repr=False)
class Checkpoint:
    """What is done of some work.

    Attributes
    ----------
    path : Path
    about : mapping of str to str or int
        The call, its ``seed`` among it: another one is refused.
    numbers : array
        Of the data: others are refused.
    done : mapping of str to array
        What the file held when it was opened; empty for new work.
    """

    path: Path
    about: Mapping[str, Any]
    numbers: Floats
    done: Arrays
    _next: float = field(default=0.0, init=False)

    @property
    def seed(self) -> int:
        """That of the call, or of the file where the call has none."""
        return int(self.about["seed"])

    def keep(self, done: Callable[[], Arrays], *, last: bool = False) -> None:
        """Write what is done; not at every call, unless it is the `last`, so that writing takes little of the time.

        Warns
        -----
        RanefWarning
            If it could not be written: the file stays as it was, and the work goes on.
        """
        begin = time.perf_counter()
        if begin < self._next and not last:
            return
        try:
            self.write(done())
        except DesignError as error:
            warn(f"The work goes on without its checkpoint. {error}", RanefWarning)
        end = time.perf_counter()
        self._next = end + (end - begin) / SHARE

    def write(self, done: Arrays) -> None:
        """Write what is done.

        Raises
        ------
        DesignError
            If nothing can be written there.
        """
        about = np.frombuffer(json.dumps(dict(self.about), default=int).encode(), dtype=np.uint8)
        members = {ABOUT: about, "numbers": self.numbers, **{f"done {name}": own for name, own in done.items()}}

        def written(partial: Path) -> None:
            with zipfile.ZipFile(partial, "w") as archive:  # np.savez of older numpy leaves it open on a full disk
                for name, array in members.items():
                    put_array(archive, f"{name}.npy", array)

        write_whole(self.path, written)


def open_checkpoint(
    path: str | PathLike[str], about: Mapping[str, Any], numbers: Floats, seed: int | None
) -> Checkpoint:
    """The checkpoint of a call: what its file holds, or a new file.

    Parameters
    ----------
    path : str or path
    about : mapping
        The call, as plain data for JSON.
    numbers : array
        Of the data.
    seed : int, optional
        That of the file, or a new one, where there is none.

    Raises
    ------
    DesignError
        If the file is of another call or other data, or nothing can be written there.
    SavedFileError
        If it is no checkpoint, or damaged.
    """
    path = file_path(path)
    if not path.exists():
        check_output(path, ())
        own = secrets.randbits(31) if seed is None else int(seed)
        new = Checkpoint(path, {**about, "seed": own}, numbers, {})
        new.write({})
        return new
    found, known, done = _read(path)
    asked = {**about, "seed": found.get("seed") if seed is None else int(seed)}
    again = "Give the same arguments and data to go on with it, or another name to begin anew."
    for name in dict.fromkeys([*found, *asked]):
        if found.get(name) != asked.get(name):
            raise DesignError(
                f"{str(path)!r} holds work of another call: {name} is {found.get(name)!r} there, and "
                f"{asked.get(name)!r} here. {again}"
            )
    size = np.abs(known).max(initial=0.0)
    if known.shape != numbers.shape or not np.allclose(known, numbers, rtol=ROUNDING, atol=ROUNDING * size):
        raise DesignError(f"{str(path)!r} holds work on other data, or from another start: its numbers differ. {again}")
    return Checkpoint(path, asked, known, done)


def _read(path: Path) -> tuple[dict[str, Any], Floats, Arrays]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            members = {name: held[name] for name in held.files}
        about = json.loads(members.pop(ABOUT).tobytes())
        numbers = members.pop("numbers")
        if not isinstance(about, dict):
            raise ValueError("it does not say what it is of")
    except (AttributeError, TypeError, *BROKEN) as error:
        raise SavedFileError(
            f"{str(path)!r} is no checkpoint that ranef wrote, or was changed afterwards. Give checkpoint= the name "
            "of a new file."
        ) from error
    return about, numbers, {name.removeprefix("done "): own for name, own in members.items()}
