"""Text that looks like numbers, dates or times, and how to make such of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Look", "look_of"]

_MISSING_MARKS = {"", ".", "?", "-", "--", "*", "na", "n/a", "#n/a", "nan", "null", "none", "missing", "unknown"}
_MANY_NUMBERS, _FEW_WORDS = 10, 3

#: words on so small a share of the rows are strays among numbers, of which there must be more than this
_RARE, _SOME_NUMBERS = 0.05, 3

#: levels looked at, evenly chosen
_LOOKED_AT = 2_000

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_UNIT = r"(?:[$€£¥₹]|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HUF|INR|JPY|KRW|MXN|NOK|NZD|PLN|SEK|TRY|USD|ZAR)"
_IDENTIFIER = re.compile(r"0\d+")


@dataclass(frozen=True, slots=True)
class _Kind:
    """One way to write numbers; `remedy` holds ``{x}`` where the column stands."""

    words: str
    pattern: re.Pattern[str]
    remedy: str
    numeric: bool = True


_PLAIN = _Kind("numbers", re.compile(_NUMBER), "pd.to_numeric({x})")
_KINDS = (
    _PLAIN,
    _Kind(
        "numbers with commas between thousands",
        re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"),
        "pd.read_csv(..., thousands=',') or pd.to_numeric({x}.str.replace(',', ''))",
    ),
    _Kind(
        "numbers with decimal commas",
        re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?"),
        "pd.read_csv(..., decimal=',') or pd.to_numeric({x}.str.replace(',', '.'))",
    ),
    _Kind(
        "numbers with points between thousands and decimal commas",
        re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+(?:,\d+)?"),
        "pd.read_csv(..., decimal=',', thousands='.')",
    ),
    _Kind(
        "numbers with spaces or marks between thousands",
        re.compile(r"[-+]?\d{1,3}(?:[ \u00a0\u202f'’_]\d{3})+(?:[.,]\d+)?"),
        r"pd.to_numeric({x}.str.replace(r'[^\d.eE+-]', '', regex=True))",
    ),
    _Kind("percentages", re.compile(_NUMBER + r"\s*%"), "pd.to_numeric({x}.str.rstrip('% ')) / 100"),
    _Kind(
        "percentages with decimal commas",
        re.compile(r"[-+]?\d+,\d+\s*%"),
        "pd.to_numeric({x}.str.rstrip('% ').str.replace(',', '.')) / 100",
    ),
    _Kind(
        "amounts of money with decimal commas",
        re.compile(rf"[-+]?{_UNIT}\s*[-+]?[\d.]*\d,\d{{1,2}}|[-+]?[\d.]*\d,\d{{1,2}}\s*{_UNIT}"),
        r"pd.to_numeric({x}.str.replace(r'[^\d,-]', '', regex=True).str.replace(',', '.'))",
    ),
    _Kind(
        "amounts of money",
        re.compile(rf"[-+]?{_UNIT}\s*[-+]?[\d,]*\d(?:\.\d+)?|[-+]?[\d,]*\d(?:\.\d+)?\s*{_UNIT}"),
        r"pd.to_numeric({x}.str.replace(r'[^\d.-]', '', regex=True))",
    ),
    _Kind(
        "dates",
        re.compile(r"\d{4}([-/.])\d{1,2}(?:\1\d{1,2})?(?:[T ]\d.*)?"),
        "dates = pd.to_datetime({x}), then days since the first: (dates - dates.min()).dt.days",
        numeric=False,
    ),
    _Kind(
        "dates",
        re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{2}(?:\d{2})?(?:[T ]\d.*)?"),
        "dates = pd.to_datetime({x}, dayfirst=True), then days since the first: (dates - dates.min()).dt.days "
        "(dayfirst=False where the month stands first)",
        numeric=False,
    ),
    _Kind(
        "times",
        re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"),
        "hours: pd.to_timedelta({x}).dt.total_seconds() / 3600 (with ':00' added where seconds are not written)",
        numeric=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What the levels of a factor look like.

    Attributes
    ----------
    words : str
        ``numbers``, ``dates`` and so on.
    example : str
        A level that looks so.
    stray : str, optional
        A level that does not, and seems to keep the column from being read as numbers.
    remedy : str
        Python that makes numbers of the column, which is ``{x}`` in it.
    plain : bool
        Whether they are numbers as Python writes them.
    """

    words: str
    example: str
    stray: str | None
    remedy: str
    plain: bool

    def advice(self, name: str) -> str:
        """How to make numbers of the column `name`: a sentence's end."""
        if self.stray is None or not self.plain:
            return self.remedy.format(x=f"data[{name!r}]")
        return f"pd.to_numeric(data[{name!r}], errors='coerce'), or na_values=[{self.stray!r}] in pd.read_csv"


def look_of(levels: Sequence[str], rows: Mapping[str, int] | None = None) -> Look | None:
    """What text seems to be, or None where it is text.

    All levels must look alike but for the usual marks of a missing value, or for few words among many numbers, or on
    few of the `rows` (how many has each level); grades K, 1, 2, 3 are a factor like any other, and so are identifiers
    with leading zeros.
    """
    step = -(-len(levels) // _LOOKED_AT) or 1
    texts = {level: level.strip() for level in levels[::step]}
    found = {kind: [level for level, text in texts.items() if kind.pattern.fullmatch(text)] for kind in _KINDS}
    # of kinds that fit equally the first counts; numbers written plainly, as "12" among "1,5", go with every such kind
    matched = {kind: {*own, *(found[_PLAIN] if kind.numeric else ())} for kind, own in found.items() if own}
    if not matched:
        return None
    kind = max(matched, key=lambda kind: (len(matched[kind]), kind is _PLAIN))
    strays = [level for level in texts if level not in matched[kind]]
    marks = all(texts[stray].casefold() in _MISSING_MARKS for stray in strays)
    count = len(matched[kind])
    identifiers = kind is _PLAIN and any(_IDENTIFIER.fullmatch(texts[level]) for level in found[_PLAIN])
    rare = rows is not None and sum(rows.get(stray, 0) for stray in strays) <= _RARE * sum(rows.values())
    many = count > (_SOME_NUMBERS if rare else _MANY_NUMBERS)
    if identifiers or not (count > 1 if marks else many and len(strays) <= _FEW_WORDS):
        return None
    return Look(kind.words, found[kind][0], strays[0] if strays else None, kind.remedy, kind is _PLAIN)
