"""Files written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ranef.errors import DesignError
from ranef.interrupts import deferred

__all__ = ["FIGURES", "PAGES", "check_output", "write_whole"]

#: endings of figures and of pages
FIGURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".eps", ".ps", ".tif", ".tiff", ".webp")
PAGES = (".html", ".htm")


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
    probe = _beside(path)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DesignError(f"Nothing can be written to {str(path.parent)!r}: {error.strerror}.") from None


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` make a file beside `path`, and put it there only when it is complete."""
    partial = _beside(path)
    try:
        with deferred():  # writing may load modules
            write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
