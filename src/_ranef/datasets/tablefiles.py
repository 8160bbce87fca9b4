"""Files of columns that users have: CSV as R, pandas and spreadsheets write it, and Parquet."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from _ranef.datasets.csv_dialect import HEAD, WINDOWS, Dialect, find_dialect, not_utf8
from _ranef.errors import DataWarning, DesignError, warn

__all__ = ["read_table_file", "reading_call"]

PARQUET = (".parquet", ".pq")

#: files of other programs, with what reads them
FOREIGN = {
    ".xlsx": "pandas.read_excel",
    ".xls": "pandas.read_excel",
    ".ods": "pandas.read_excel",
    ".dta": "pandas.read_stata",
    ".sav": "pandas.read_spss",
    ".sas7bdat": "pandas.read_sas",
    ".rds": "R: write.csv(readRDS(file), 'file.csv')",
    ".rda": "R: load(file), then write.csv",
    ".rdata": "R: load(file), then write.csv",
    ".json": "pandas.read_json",
    ".feather": "pandas.read_feather",
}

_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}


def read_table_file(path: Path, missing: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    A CSV file may be separated by commas, semicolons, tabs, bars or spaces, have decimal commas, a byte-order mark,
    Excel's line ``sep=;``, quoted fields, row names, and be compressed by gzip, bzip2, xz or zip. Text that is not
    UTF-8 is taken for Windows-1252, which Excel writes.

    Parameters
    ----------
    path : Path
    missing : sequence of str
        What stands for a missing value in a CSV file, besides the usual marks.

    Raises
    ------
    DesignError
        In one line, if it is none of these, is cut or broken, or is too large for the memory.

    Warns
    -----
    DataWarning
        If two columns have one name, or the text is taken for Windows-1252.
    """
    _refuse_foreign(path)
    try:
        if path.suffix.lower() in PARQUET:
            return pd.read_parquet(path)
        dialect = _dialect_of(path)
        frame, dialect = _read(path, dialect, missing)
    except ImportError as error:
        raise DesignError(
            f"Reading {str(path)!r} needs {error.name or 'a package'}, which is not among ranef's own dependencies: "
            "install it into the environment that ranef is in."
        ) from None
    except UnicodeError as error:
        raise DesignError(f"{str(path)!r} {not_utf8(getattr(error, 'reason', str(error)))}") from None
    except MemoryError:
        raise DesignError(f"{str(path)!r} is too large for the memory: keep the columns and rows needed.") from None
    except DesignError as error:  # its words follow the file's name
        raise DesignError(f"{str(path)!r} {error}") from None
    except (ValueError, OSError, EOFError, NotImplementedError, RuntimeError, KeyError, csv.Error, *_BROKEN) as error:
        raise DesignError(f"{str(path)!r} cannot be read as {_kind(path)}: {_one_line(error)}") from None
    _warn_of_encoding(path, dialect)
    _warn_of_repeated(path, dialect)
    return frame


_BROKEN = (zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def reading_call(path: Path, missing: Sequence[str] = ()) -> str:
    """Python that reads the file as :func:`read_table_file` does."""
    if path.suffix.lower() in PARQUET:
        return f"pd.read_parquet({str(path)!r})"
    dialect = _dialect_of(path)
    if dialect.encoding == "utf-8" and not _is_utf8(path):
        dialect = replace(dialect, encoding=WINDOWS)
    options = "".join(f", {name}={value!r}" for name, value in _options(dialect, missing).items())
    return f"pd.read_csv({str(path)!r}{options})"


def _options(dialect: Dialect, missing: Sequence[str]) -> dict[str, Any]:
    return {**dialect.options(), **({"na_values": list(missing)} if missing else {})}


def _read(path: Path, dialect: Dialect, missing: Sequence[str]) -> tuple[pd.DataFrame, Dialect]:
    """The frame, and the dialect it could be read in: beyond its beginning a file may turn out not to be UTF-8."""
    options = _options(dialect, missing)
    try:
        return pd.read_csv(path, **options), dialect
    except UnicodeError:
        if dialect.encoding != "utf-8":
            raise
    return pd.read_csv(path, **options, encoding=WINDOWS), replace(dialect, encoding=WINDOWS)


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with _opened(path) as file:
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _dialect_of(path: Path) -> Dialect:
    head = _head(path)
    return find_dialect(head, whole=len(head) < HEAD)


def _head(path: Path) -> bytes:
    """The first bytes of a file, of what it holds where it is compressed."""
    with _opened(path) as file:
        return bytes(file.read(HEAD))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, or what it holds where it is compressed, as bytes."""
    ending = path.suffix.lower()
    if ending == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if len(names) != 1:
                raise DesignError(f"holds {len(names)} files; expected is one. Extract the one that is meant.")
            with archive.open(names[0]) as file:
                yield file
        return
    with _OPENERS[ending](path) if ending in _OPENERS else path.open("rb") as file:
        yield file


def _refuse_foreign(path: Path) -> None:
    advice = FOREIGN.get(path.suffix.lower())
    if advice is not None:
        raise DesignError(
            f"{str(path)!r} is a {path.suffix} file; expected is CSV or Parquet. Save it as CSV, or read it by "
            f"{advice} and give the frame to ranef.Model."
        )


def _kind(path: Path) -> str:
    endings = "".join(suffix for suffix in path.suffixes[-2:] if suffix.isascii()).lstrip(".")
    return endings or "CSV"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if text else type(error).__name__


def _warn_of_encoding(path: Path, dialect: Dialect) -> None:
    if dialect.encoding == WINDOWS:
        warn(
            f"{str(path)!r} is not in UTF-8 and was read as Windows-1252, which Excel writes. If letters beyond a to z "
            "are wrong, save it as CSV in UTF-8.",
            DataWarning,
        )


def _warn_of_repeated(path: Path, dialect: Dialect) -> None:
    if dialect.repeated:
        names = ", ".join(map(repr, dialect.repeated))
        warn(
            f"{str(path)!r} has more than one column named {names}: the name means the first, the others are called "
            f"{dialect.repeated[0] + '.1'!r} and so on. Rename them in the file.",
            DataWarning,
        )
