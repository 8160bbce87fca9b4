"""How a text file of columns is written: encoding, separator, decimal mark, found by a look at its beginning."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from _ranef.errors import DesignError

__all__ = ["HEAD", "WINDOWS", "Dialect", "find_dialect"]

#: bytes of a file that are looked at
HEAD = 65_536

#: what text is taken to be that is not in UTF-8: Excel's plain CSV in western Europe, and nearly all of Latin 1
WINDOWS = "cp1252"

#: most lines before a header
_TITLE = 20

#: what may separate columns, the usual first; whitespace is what R's write.table leaves
SEPARATORS = (",", ";", "\t", "|", " ")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_STATED = re.compile(r'^"?sep=(.)"?[ \t]*\r?\n')
_COMMA = re.compile(r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d+)?,\d+(?:[eE][-+]?\d+)?")
_WHOLE = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:\.\d{3})+)")
_POINT = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")
_POINTS = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+")
_COMMAS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_CERTAIN = re.compile(r"[-+]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})")
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+")
_MISSING = {"", "na", "n/a", "nan", "null", "none", "#n/a"}


@dataclass(frozen=True)
class Dialect:
    """What ``pandas.read_csv`` must be told to read a file as it was meant.

    Attributes
    ----------
    encoding : str
        ``utf-8``, what a byte-order mark says, or `WINDOWS`.
    separator : str
        One of `SEPARATORS`.
    decimal : str
        Point or comma.
    thousands : str
        What stands between groups of three digits; empty where nothing does.
    stated : bool
        Whether the first line is Excel's ``sep=``.
    row_names : bool
        Whether the first column has no name: row names, as R and pandas write them.
    repeated : tuple of str
        Names that more than one column has.
    trailing : bool
        Whether rows end in a separator that the header has not, which pandas would take for row names.
    spaced : bool
        Whether a blank follows the separators.
    blank_names : bool
        Whether names of columns begin or end with blanks.
    skipped : int
        Lines before the header: a title, a comment.
    long : bool
        Whether this is but the beginning: pandas would take the type of each part of a column by itself.
    """

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str = "."
    thousands: str = ""
    stated: bool = False
    row_names: bool = False
    repeated: tuple[str, ...] = ()
    trailing: bool = False
    spaced: bool = False
    blank_names: bool = False
    skipped: int = 0
    long: bool = False

    def options(self) -> dict[str, str | int]:
        """The arguments of ``pandas.read_csv`` that are not its defaults."""
        given: dict[str, str | int] = {}
        if self.separator != ",":
            given["sep"] = r"\s+" if self.separator == " " else self.separator
        if self.decimal != ".":
            given["decimal"] = self.decimal
        if self.thousands:
            given["thousands"] = self.thousands
            if not self.thousands.isascii():
                given["engine"] = "python"  # the other takes a byte
        if self.encoding != "utf-8":
            given["encoding"] = self.encoding
        if self.stated or self.skipped:
            given["skiprows"] = self.stated + self.skipped
        if self.row_names:
            given["index_col"] = 0
        if self.trailing:
            given["index_col"] = False
        if self.spaced:
            given["skipinitialspace"] = True
        if self.long and "engine" not in given:
            given["low_memory"] = False
        return given


def find_dialect(head: bytes, *, whole: bool, missing: Collection[str] = ()) -> Dialect:
    r"""Find how a file is written.

    Parameters
    ----------
    head : bytes
        Its first bytes.
    whole : bool
        Whether that is all of it; else the last line may be cut.
    missing : collection of str
        What stands for missing values, besides the usual marks.

    Raises
    ------
    DesignError
        In words that follow the file's name, if it is empty, no text, or text of another encoding than those.

    Examples
    --------
    >>> from _ranef.datasets.csv_dialect import find_dialect
    >>> find_dialect(b'"";"y";"g"\n"1";1,5;"a"\n"2";2,5;"b"\n', whole=True).options()
    {'sep': ';', 'decimal': ',', 'index_col': 0}
    """
    encoding, text = _decoded(head, whole=whole)
    stated = _STATED.match(text)
    text = text[stated.end() :] if stated else text
    skipped, text = _without_title(text)
    candidates = (stated.group(1),) if stated else SEPARATORS
    tables = {separator: _records(text, separator, whole=whole, spaced=True) for separator in candidates}
    separator = max(candidates, key=lambda s: _fit(tables[s]))
    if not stated and _fit(tables[separator])[0] == 0.0 and len(tables[","]) > 0:
        separator = next((s for s in SEPARATORS if all(len(record) == 1 for record in tables[s])), ",")
    records = tables[separator]
    if not records:
        raise DesignError("is empty: it holds no line of text.")
    as_written = records[0] if separator == " " else _records(text, separator, whole=whole)[0]
    spaced = any(name.startswith(" ") for name in as_written[1:])
    header, columns = records[0], _columns(records, _MISSING | {code.strip().casefold() for code in missing})
    _refuse_shifted(header, columns, separator)
    decimal, thousands = _marks(columns, separator)
    names = Counter(name.strip() for name in header if name.strip())
    return Dialect(
        encoding=encoding,
        separator=separator,
        decimal=decimal,
        thousands=thousands,
        stated=stated is not None,
        row_names=len(header) > 1 and header[0].strip() == "" and all(name.strip() for name in header[1:]),
        repeated=tuple(name for name, count in names.items() if count > 1),
        trailing=len(header) + 1 == len(columns) and not columns[-1],
        spaced=spaced,
        blank_names=any(name != name.strip() for name in header),
        skipped=skipped,
        long=not whole,
    )


def _without_title(text: str) -> tuple[int, str]:
    """Lines before the header, and the text without them: comments, and where a table of several columns begins later.

    A line of a title holds one field at most, by every separator that the lines far below have.
    """
    lines = text.splitlines(keepends=True)
    below = lines[len(lines) // 2] if len(lines) > _TITLE else ""
    marks = [mark for mark in ",;\t|" if mark in below]
    skipped = 0
    for line in lines[:_TITLE]:
        title = bool(marks) and all(sum(map(bool, map(str.strip, line.split(mark)))) < 2 for mark in marks)
        header = line[:2] != "# " and any(line.count(mark) == below.count(mark) for mark in marks)
        comment = line.startswith("#") and not header
        if not (title or comment):
            break
        skipped += 1
    return (skipped, "".join(lines[skipped:])) if "".join(lines[:skipped]).strip() else (0, text)


def _refuse_shifted(header: Sequence[str], columns: Sequence[Sequence[str]], separator: str) -> None:
    """Refuse rows that are longer than the header though no row names stand first: decimal commas between commas."""
    first = columns[0]
    if separator == "," and len(header) + 1 == len(columns) and columns[-1] and len(set(first)) < len(first):
        raise DesignError(
            f"has {len(columns)} fields in its rows and {len(header)} names, and the first field repeats: it is no row "
            "name. Decimal commas between commas cannot be told apart: save the file with semicolons, or with "
            "decimal points."
        )


def _decoded(head: bytes, *, whole: bool) -> tuple[str, str]:
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    if encoding in ("utf-8", "utf-8-sig") and b"\0" in head:
        raise DesignError("is not text: it holds bytes of zero. Give a CSV file in UTF-8, or a Parquet file.")
    for each in (encoding, WINDOWS) if encoding == "utf-8" else (encoding,):
        try:
            # the last character may be cut
            return each, codecs.getincrementaldecoder(each)().decode(head, final=whole)
        except UnicodeError as error:
            reason = getattr(error, "reason", str(error))
    raise not_utf8(reason)


def not_utf8(reason: str) -> DesignError:
    """The error for text of another encoding, in words that follow the file's name."""
    return DesignError(
        f"is text neither in UTF-8 nor in Windows-1252 ({reason}): save it as CSV in UTF-8, or read it by "
        "pandas.read_csv(..., encoding=...) and give the frame to ranef.Model."
    )


def _records(text: str, separator: str, *, whole: bool, spaced: bool = False) -> list[list[str]]:
    """The records of the text, blank ones left out; the last, which may be cut, unless the text is whole."""
    space = separator == " "
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=space or spaced, strict=False)
    try:
        records = [record for record in reader if any(field.strip() for field in record)]
    except csv.Error:
        return []
    if not whole and len(records) > 1:
        records.pop()
    return [[field for field in record if field] for record in records] if space else records


def _fit(records: Sequence[Sequence[str]]) -> tuple[float, int]:
    """How well a separator fits: the share of records with as many fields as most, and how many those are.

    The header may be one field short of the rows: row names, as R's write.table leaves them.
    """
    if not records:
        return 0.0, 0
    sizes = Counter(map(len, records[1:] or records))
    width, _ = max(sizes.items(), key=lambda item: (item[1], item[0]))
    header = len(records[0])
    if width < 2 or header < 2 or header not in (width, width - 1):
        return 0.0, 0
    return sizes[width] / sum(sizes.values()) - 0.01 * (header != width), width


def _columns(records: Sequence[Sequence[str]], missing: Collection[str]) -> list[list[str]]:
    """The entries of each column without those that are missing."""
    width = max(map(len, records))
    return [
        [field.strip() for record in records[1:] for field in record[place : place + 1] if _present(field, missing)]
        for place in range(width)
    ]


def _present(field: str, missing: Collection[str] = _MISSING) -> bool:
    return field.strip().casefold() not in missing


def _marks(columns: Sequence[Sequence[str]], separator: str) -> tuple[str, str]:
    """The decimal mark and what groups digits, as all columns together show them.

    Quoted ``"1,234"`` between commas may be thousands as well as decimals: where all such fields have groups of three
    digits they stay text. ``1.234`` is thousands where another column has decimal commas.
    """
    commas = [column for column in columns if _all(column, _COMMA, _WHOLE) and _any(column, _COMMA)]
    dotted = [column for column in columns if _all(column, _POINT, _WHOLE) and _any(column, _POINT)]
    points = any(not _all([f for f in column if _POINT.fullmatch(f)], _GROUPED) for column in dotted)
    with_commas = [field for column in commas for field in column if "," in field]
    doubtful = separator == "," and all(_COMMAS.fullmatch(field) for field in with_commas)
    if commas and not points and not doubtful:
        return ",", "." if dotted or any(_any(column, _POINTS) for column in commas) else ""
    grouped = any(_all(column, _COMMAS, _POINT, _WHOLE) and _any(column, _CERTAIN) for column in columns)
    return ".", "," if grouped else ""


def _all(column: Sequence[str], *patterns: re.Pattern[str]) -> bool:
    return bool(column) and all(any(pattern.fullmatch(field) for pattern in patterns) for field in column)


def _any(column: Sequence[str], pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(field) for field in column)
