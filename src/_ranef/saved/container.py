"""The file itself: a zip archive of ``manifest.json`` and of arrays in NumPy's own format."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _ranef.errors import SavedFileError, suggestion
from _ranef.support.output import BROKEN, put_array

__all__ = ["damaged", "read_container", "write_container"]

MANIFEST = "manifest.json"

#: first bytes of files that may be taken for one of ours, and what reads them
OTHERS = {
    b"\x80": "It looks like a pickle, which ranef does not read: a pickle can run any code. Load it by what wrote it.",
    b"\x89HDF": "It looks like NetCDF or HDF5: xarray.open_datatree(path) reads what to_netcdf() wrote.",
    b"CDF": "It looks like NetCDF: xarray.open_datatree(path) reads what to_netcdf() wrote.",
    b"PAR1": "It looks like Parquet: read it by pandas.read_parquet(path), and give it to ranef.Model.",
    b"\x1f\x8b": "It is compressed by gzip; unpack it first.",
}


def write_container(path: Path, manifest: Any, arrays: Sequence[NDArray[Any]]) -> None:
    """Write a manifest, plain data for JSON, and arrays by their numbers."""
    text = json.dumps(manifest, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(MANIFEST, text.encode("utf-8", "surrogatepass"))
        for number, array in enumerate(arrays):
            put_array(archive, _member(number), array)


def read_container(path: Path) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """The manifest and the arrays of a file; checksums of the archive are checked as it is read.

    Raises
    ------
    SavedFileError
        If there is no such file, it was not written by ranef, or it is damaged.
    """
    _check_readable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST).decode("utf-8", "surrogatepass"))
            count = len(archive.namelist()) - 1
            arrays = [_array(archive, number) for number in range(count)]
    except BROKEN as error:
        raise _unreadable(path, error) from error
    if not isinstance(manifest, dict):
        raise damaged(path, "its manifest is no mapping")
    return manifest, arrays


def damaged(path: Path, why: object) -> SavedFileError:
    """The error for a file that begins like one of ours."""
    return SavedFileError(
        f"{str(path)!r} is damaged, or was changed after it was written: {why}. Copy it again from where it came from, "
        "or save the fit again."
    )


def _member(number: int) -> str:
    return f"arrays/{number}.npy"


def _array(archive: zipfile.ZipFile, number: int) -> NDArray[Any]:
    with archive.open(_member(number)) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # to its end, where the checksum is compared
            raise ValueError(f"array {number} is longer than it says")
    return array


def _check_readable(path: Path) -> None:
    if path.is_dir():
        raise SavedFileError(f"{str(path)!r} is a directory; give the name of a file that save() wrote.")
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SavedFileError(
            f"There is no file {str(path)!r}.{suggestion(path.name, beside)} ranef.load() reads what fit.save(path) "
            "wrote."
        )
    try:
        with path.open("rb") as file:
            first = file.read(4)
    except OSError as error:
        raise SavedFileError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    if not first:
        raise SavedFileError(f"{str(path)!r} is empty. Was it cut while it was copied?")
    if first != b"PK\x03\x04":
        known = next((words for start, words in OTHERS.items() if first.startswith(start)), "")
        raise SavedFileError(
            f"{str(path)!r} was not written by ranef: ranef.load() reads what fit.save(path) wrote. {known}".rstrip()
        )


def _unreadable(path: Path, error: Exception) -> SavedFileError:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except BROKEN:
        return damaged(path, f"it is cut, or not whole ({error})")
    if "checkpoint.npy" in names:
        return SavedFileError(
            f"{str(path)!r} is a checkpoint of work that may not be finished: the same call of sample() or bootstrap() "
            "goes on from it, with checkpoint=."
        )
    if MANIFEST not in names:
        return SavedFileError(
            f"{str(path)!r} is a zip archive, but not one that ranef wrote: it has no {MANIFEST}. ranef.load() reads "
            "what fit.save(path) wrote."
        )
    return damaged(path, str(error) or type(error).__name__)
