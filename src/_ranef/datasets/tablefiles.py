"""Files of columns that users have: CSV as R, pandas and spreadsheets write it, Parquet and Arrow."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from _ranef.datasets.csv_dialect import HEAD, WINDOWS, Dialect, find_dialect, not_utf8
from _ranef.errors import DataWarning, DesignError, warn

__all__ = ["Reading", "read_table_file", "reading_call"]

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
    ".zst": "pandas.read_csv with the package zstandard",
}

_OPENERS: dict[str, Callable[[Path], Any]] = {"gzip": gzip.GzipFile, "bz2": bz2.BZ2File, "xz": lzma.LZMAFile}

_ENDINGS = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".zip": "zip",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "arrow",
    ".arrow": "arrow",
    ".ipc": "arrow",
}

#: how files begin whose names do not tell; the last is a stream of Arrow's
_BEGINNINGS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow",
}

#: beyond this a number loses digits
EXACT_INTEGER = 2**53

#: what is lost when a label is read as a number: leading zeros, 1e5, digits beyond 2⁵³
_NO_NUMBER = r"[-+]?0\d+(?:\..*)?|[-+]?[\d.]+[eE][-+]?\d+|[-+]?\d{16,}"


@dataclass(frozen=True)
class Reading:
    """What is known of a text file besides what a look at it tells.

    Attributes
    ----------
    missing : tuple of str
        What stands for a missing value, besides the usual marks.
    labels : frozenset of str
        Columns that only tell rows apart: ``0001``, ``1e5`` and long identifiers stay text there.
    decimal, thousands : str, optional
        Marks in numbers, where the look is mistaken.
    """

    missing: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()
    decimal: str | None = None
    thousands: str | None = None

    def corrected(self, dialect: Dialect) -> Dialect:
        """The dialect with the marks that are known."""
        other = {".": ",", ",": "."}.get(self.thousands or "", dialect.decimal)
        decimal, thousands = self.decimal or other, self.thousands or dialect.thousands
        if decimal == thousands:  # what is known holds
            decimal, thousands = (decimal, "") if self.decimal else (".", thousands)
        return replace(dialect, decimal=decimal, thousands=thousands)


def read_table_file(path: Path, known: Reading = Reading()) -> pd.DataFrame:
    """Read a CSV, Parquet or Arrow (Feather) file.

    A CSV file may be separated by commas, semicolons, tabs, bars or spaces, have decimal commas, a byte-order mark,
    Excel's line ``sep=;``, quoted fields, row names, blanks round names, and be compressed by gzip, bzip2, xz or zip.
    Text that is not UTF-8 is taken for Windows-1252, which Excel writes.

    Parameters
    ----------
    path : Path
    known : Reading, optional

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
        if _format(path) in ("parquet", "arrow"):
            return _read_columns(path, known.labels)[0]
        dialect = _dialect_of(path, known)
        frame, dialect, _ = _read(path, dialect, known)
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
    if dialect.skipped:
        lines = "line is" if dialect.skipped == 1 else f"{dialect.skipped} lines are"
        warn(f"The first {lines} no part of the table in {str(path)!r}, and left out.", DataWarning)
    return frame


def _read_columns(path: Path, labels: frozenset[str]) -> tuple[pd.DataFrame, str]:
    """The frame of a Parquet or Arrow file, and Python that reads it so.

    An index that has a name is a column like any other; identifiers that numbers would lose digits of are text.
    """
    parquet = _format(path) == "parquet"
    frame = pd.read_parquet(path) if parquet else _read_arrow(path)
    call = f"pd.{'read_parquet' if parquet else 'read_feather'}({str(path)!r})"
    if frame.index.names != [None]:
        frame, call = frame.reset_index(), f"{call}.reset_index()"
    whole = [str(name) for name in frame if name in labels and is_integer_dtype(frame[name])]
    long = dict.fromkeys((name for name in whole if frame[name].abs().max() > EXACT_INTEGER), "str")
    return (frame.astype(long), f"{call}.astype({long!r})") if long else (frame, call)


def _read_arrow(path: Path) -> pd.DataFrame:
    """A file of Arrow's, or a stream."""
    ipc = import_module("pyarrow.ipc")  # no dependency of ours
    with path.open("rb") as file:
        whole = file.read(6) == b"ARROW1"
        file.seek(0)
        return pd.DataFrame((ipc.open_file if whole else ipc.open_stream)(file).read_pandas())


_BROKEN = (zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def reading_call(path: Path, known: Reading = Reading()) -> str:
    """Python that reads the file as :func:`read_table_file` does."""
    if _format(path) in ("parquet", "arrow"):
        return _read_columns(path, known.labels)[1]
    dialect = _dialect_of(path, known)
    _, dialect, texts = _read(path, dialect, known)
    options = _options(path, dialect, known) | ({"dtype": dict.fromkeys(texts, "str")} if texts else {})
    stripped = ".rename(columns=str.strip)" if dialect.blank_names else ""
    return f"pd.read_csv({str(path)!r}{''.join(f', {name}={value!r}' for name, value in options.items())}){stripped}"


def _options(path: Path, dialect: Dialect, known: Reading) -> dict[str, Any]:
    out: dict[str, Any] = {**dialect.options(), **({"na_values": list(known.missing)} if known.missing else {})}
    packed = _format(path)
    return out if packed in ("", _ENDINGS.get(path.suffix.lower())) else {**out, "compression": packed}


def _read(path: Path, dialect: Dialect, known: Reading) -> tuple[pd.DataFrame, Dialect, list[str]]:
    """The frame, the dialect it could be read in, and the columns of labels that would lose something as numbers.

    Beyond its beginning a file may turn out not to be UTF-8.
    """
    try:
        frame = pd.read_csv(path, **_options(path, dialect, known))
    except UnicodeError:
        if dialect.encoding != "utf-8":
            raise
        return _read(path, replace(dialect, encoding=WINDOWS), known)
    numbers = [str(name) for name in frame if str(name).strip() in known.labels and is_numeric_dtype(frame[name])]
    texts: list[str] = []
    if numbers:
        written = pd.read_csv(path, **_options(path, dialect, known), dtype=dict.fromkeys(numbers, "str"))
        texts = [name for name in numbers if _loses(written[name], frame[name])]
        frame = frame.assign(**{name: written[name] for name in texts})
    return frame.rename(columns=str.strip) if dialect.blank_names else frame, dialect, texts


def _loses(written: pd.Series[Any], numbers: pd.Series[Any]) -> bool:
    """Whether labels lose zeros or digits as numbers, or become one that differ."""
    labels = written.dropna().str.strip().drop_duplicates()
    return bool(labels.str.fullmatch(_NO_NUMBER).any() or len(labels) != numbers.nunique())


def _dialect_of(path: Path, known: Reading) -> Dialect:
    head = _head(path)
    return known.corrected(find_dialect(head, whole=len(head) < HEAD, missing=known.missing))


def _head(path: Path) -> bytes:
    """The first bytes of a file, of what it holds where it is compressed."""
    with _opened(path) as file:
        return bytes(file.read(HEAD))


def _format(path: Path) -> str:
    """How a file is packed, by the ending of its name or else by how it begins; empty for plain text."""
    known = _ENDINGS.get(path.suffix.lower())
    if known is not None:
        return known
    with path.open("rb") as file:
        head = file.read(8)
    return next((word for mark, word in _BEGINNINGS.items() if head.startswith(mark)), "")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, or what it holds where it is compressed, as bytes."""
    packed = _format(path)
    if packed == "zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if len(names) != 1:
                raise DesignError(f"holds {len(names)} files; expected is one. Extract the one that is meant.")
            with archive.open(names[0]) as file:
                yield file
        return
    with _OPENERS[packed](path) if packed in _OPENERS else path.open("rb") as file:
        yield file


def _refuse_foreign(path: Path) -> None:
    advice = FOREIGN.get(path.suffix.lower())
    if advice is not None:
        raise DesignError(
            f"{str(path)!r} is a {path.suffix} file; expected is CSV, Parquet or Arrow. Save it as CSV, or read it by "
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
