"""Files written whole or not at all."""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _ranef.errors import DesignError
from _ranef.support.interrupts import deferred

__all__ = ["BROKEN", "FIGURES", "PAGES", "check_output", "put_array", "write_whole"]

#: endings of figures and of pages
FIGURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".eps", ".ps", ".tif", ".tiff", ".webp")
PAGES = (".html", ".htm")

#: what a broken or foreign archive may raise while it is read
BROKEN = (
    TokenError,  # of the headers of arrays, which numpy reads as Python
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    OSError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    MemoryError,
)


def check_output(path: Path, endings: Sequence[str], *, overwrite: bool = True) -> None:
    """Refuse a path that could not be written, before the long work is done.

    Raises
    ------
    DesignError
        If the folder does not exist, the ending is not one of `endings` (any ending, if that is empty), or the file
        exists and is not to be replaced.
    """
    if path.is_dir():
        raise DesignError(f"{str(path)!r} is a directory; give the name of a file in it.")
    if endings and path.suffix.lower() not in endings:
        raise DesignError(f"{str(path)!r} must end in one of {', '.join(endings)}.")
    if not path.parent.is_dir():
        raise DesignError(f"The folder {str(path.parent)!r} does not exist; make it first.")
    if path.exists() and not overwrite:
        raise DesignError(
            f"{str(path)!r} exists and is left as it is. Give another name, or ask for it to be replaced: "
            "overwrite=True, or --overwrite on the command line."
        )
    try:
        _beside(path).unlink()
    except OSError as error:
        raise DesignError(f"Nothing can be written to {str(path.parent)!r}: {error.strerror}.") from None


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` make a file beside `path`, and put it there only when it is complete and on the disk.

    Raises
    ------
    DesignError
        If it could not be written, as where the disk is full; what stood at `path` is still there.
    """
    with deferred():  # Ctrl-C leaves no half behind; and writing may load modules
        return _written_whole(path, write)


def _written_whole(path: Path, write: Callable[[Path], object]) -> Path:
    partial = _beside(path)
    try:
        write(partial)
        _flush(partial)
        partial.chmod(_mode(path))
        partial.replace(path)
    except OSError as error:
        raise DesignError(
            f"{str(path)!r} could not be written: {error.strerror or error}. Nothing was changed there; make room, or "
            "give another folder."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _beside(path: Path) -> Path:
    """A new file of ours alone in the same folder; no one can have put a link in its place."""
    number, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", suffix=".partial", dir=path.parent)
    os.close(number)
    return Path(name)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _mode(path: Path) -> int:
    """Who may read the file: as the one it replaces, else as any new file."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def put_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Add an array to a zip as numpy's own file, which numpy.load reads."""
    with archive.open(name, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
