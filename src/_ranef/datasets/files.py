"""Where data sets lie: the bundled folder first, then the folder named by RANEF_DATA."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from _ranef.errors import DesignError, suggestion

__all__ = ["BUNDLE", "CHECKSUMS", "META", "VARIABLE", "Entry", "available", "digest", "find"]

BUNDLE = Path(__file__).parents[2] / "ranef" / "datasets" / "data"
CHECKSUMS = "checksums.json"
META = ".meta.json"
VARIABLE = "RANEF_DATA"
SUFFIXES = (".csv", ".csv.gz")


@dataclass(frozen=True)
class Entry:
    """The files of one data set, and their expected checksums where they are bundled."""

    name: str
    csv: Path
    meta: Path | None
    csv_sha256: str | None = None
    meta_sha256: str | None = None

    def read_csv(self) -> bytes:
        """Give the content of the csv file, verified if bundled."""
        return _verified(self.csv, self.csv_sha256)

    def read_meta(self) -> bytes | None:
        """Give the content of the meta file, verified if bundled; None without one."""
        return None if self.meta is None else _verified(self.meta, self.meta_sha256)


def digest(content: bytes) -> str:
    """SHA-256 of `content`, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def available() -> list[str]:
    """Give the canonical names of all data sets that `find` finds, bundled ones shadowing others."""
    bundled = [entry.name for entry in _bundled()]
    taken = {name.casefold() for name in bundled}
    return sorted(bundled + [e.name for e in _added() if e.name.casefold() not in taken], key=str.casefold)


def find(name: str) -> Entry:
    """Find a data set by name, ignoring case.

    Raises
    ------
    DesignError
        If no data set, or more than one in the folder RANEF_DATA, has that name, or if RANEF_DATA is asked
        and is not a folder.
    """
    if not isinstance(name, str):
        raise DesignError(f"A data set is named by text; got {name!r}. ranef.datasets.names() lists them.")
    bundled = _matching(name, _bundled())
    if bundled:
        return bundled[0]
    _check_folder(name)
    added = _matching(name, _added())
    if len(added) > 1:
        raise DesignError(
            f"{name!r} fits {' and '.join(e.csv.name for e in added)} in {_folder()}; names are matched ignoring case "
            "and the ending. Ask for the exact spelling, or rename or remove one of the files."
        )
    if not added:
        raise DesignError(_unknown(name))
    return added[0]


def _matching(name: str, entries: list[Entry]) -> list[Entry]:
    exact = [entry for entry in entries if entry.name == name]
    return exact or [entry for entry in entries if entry.name.casefold() == name.casefold()]


def _bundled() -> list[Entry]:
    sums: dict[str, str] = json.loads((BUNDLE / CHECKSUMS).read_text(encoding="utf-8"))
    entries = []
    for file in sums:
        if file.endswith(SUFFIXES):
            meta = _stem(file) + META
            entries.append(Entry(_stem(file), BUNDLE / file, BUNDLE / meta, sums[file], sums[meta]))
    return entries


def _added() -> list[Entry]:
    folder = _folder()
    if folder is None or not folder.is_dir():
        return []
    entries = []
    for csv in sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES)):
        meta = folder / (_stem(csv.name) + META)
        entries.append(Entry(_stem(csv.name), csv, meta if meta.exists() else None))
    return entries


def _stem(file: str) -> str:
    return file.removesuffix(".gz").removesuffix(".csv")


def _folder() -> Path | None:
    value = os.environ.get(VARIABLE)
    return Path(value).expanduser() if value else None


def _check_folder(name: str) -> None:
    folder = _folder()
    if folder is not None and not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise DesignError(
            f"{name!r} is not a bundled data set, and {VARIABLE} points to {str(folder)!r}, which {state}. "
            f"Set {VARIABLE} to a folder that holds {name}.csv or {name}.csv.gz, or unset it.{_near(name)}"
        )


def _unknown(name: str) -> str:
    folder = _folder()
    state = "it is not set now" if folder is None else f"it is {str(folder)!r} now"
    bundled = ", ".join(sorted((entry.name for entry in _bundled()), key=str.casefold))
    return (
        f"There is no data set {name!r}.{_near(name)}\n"
        f"Bundled are {bundled}.\n"
        f"Others are read from the folder that the environment variable {VARIABLE} names ({state}): put {name}.csv or "
        f"{name}.csv.gz there, and beside it {name}{META} if the column types are not those that pandas would guess."
    )


def _near(name: str) -> str:
    return suggestion(name, available())


def _verified(path: Path, expected: str | None) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        advice = "Check that it is a readable file." if expected is None else "Reinstall ranef to restore it."
        raise DesignError(f"The file {path} cannot be read ({error.strerror}). {advice}") from error
    found = digest(content)
    if expected not in (None, found):
        raise DesignError(
            f"The bundled file {path} has been changed since ranef was built.\n"
            f"  expected sha256 {expected}\n"
            f"  found sha256    {found}\n"
            "Reinstall ranef to restore it (pip install --force-reinstall --no-deps ranef). To use your own version of "
            f"the data, put it under another name in the folder that {VARIABLE} names."
        )
    return content
