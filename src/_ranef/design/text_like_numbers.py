"""Text that looks like numbers, dates or times, and how to make such of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from unicodedata import normalize

__all__ = ["Look", "bare_label", "look_of"]

_MISSING_MARKS = {"", ".", "?", "-", "--", "*", "na", "n/a", "#n/a", "nan", "null", "none", "missing", "unknown"}
_MANY_NUMBERS, _FEW_WORDS = 10, 3

#: words on so small a share of the rows are strays among numbers, of which there must be more than this
_RARE, _SOME_NUMBERS = 0.05, 3

#: odd entries named
_SHOWN = 6

#: levels looked at, evenly chosen
_LOOKED_AT = 2_000

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_UNIT = r"(?:[$€£¥₹]|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HUF|INR|JPY|KRW|MXN|NOK|NZD|PLN|SEK|TRY|USD|ZAR)"
_USUAL_UNIT = r"(?:[kmcµμn]?[gmlsLVAWJ]|min|h|d|°[CF]|K|Hz|kHz|Pa|hPa|kPa|mmHg|bpm|in|ft|lbs?|oz|yrs?|years?)"
#: numbers of which a side is known only: below or above what could be measured
_BOUND = re.compile(rf"[<>≤≥]=?\s*{_NUMBER}")
_LIMITS = r"pd.to_numeric({x}.str.replace(r'[<>≤≥=\s]', '', regex=True)), which takes the limits for values"
_IDENTIFIER = re.compile(r"0\d+")
_PADDING = re.compile(r"^0+(?=\d)|\.0+$")


@dataclass(frozen=True)
class _Kind:
    """One way to write numbers; `remedy` holds ``{x}`` where the column stands."""

    words: str
    pattern: str
    remedy: str
    numeric: bool = True

    @cached_property
    def fits(self) -> Callable[[str], re.Match[str] | None]:
        """Whether a whole text is written so; compiled when it is first asked for."""
        return re.compile(self.pattern).fullmatch


_PLAIN = _Kind("numbers", _NUMBER, "pd.to_numeric({x})")
_UNITS = _Kind(
    "numbers with a unit",
    rf"{_NUMBER}(?:\s[A-Za-zµμ°Ω][\wµμ°Ω/²³^]{{0,7}}|\s?{_USUAL_UNIT})",
    r"pd.to_numeric({x}.str.extract(r'([-+]?[\d.]+)')[0]), if the unit is one throughout",
)
_KINDS = (
    _PLAIN,
    _Kind(
        "numbers with commas between thousands",
        r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?",
        "pd.read_csv(..., thousands=',') or pd.to_numeric({x}.str.replace(',', ''))",
    ),
    _Kind(
        "numbers with decimal commas",
        r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?",
        "pd.read_csv(..., decimal=',') or pd.to_numeric({x}.str.replace(',', '.'))",
    ),
    _Kind(
        "numbers with points between thousands and decimal commas",
        r"[-+]?\d{1,3}(?:\.\d{3})+(?:,\d+)?",
        "pd.to_numeric({x}.str.replace('.', '').str.replace(',', '.')); thousands='.' in pd.read_csv does, but makes "
        "numbers of dates, too",
    ),
    _Kind(
        "numbers with spaces or marks between thousands",
        r"[-+]?\d{1,3}(?:[ \u00a0\u202f'’_]\d{3})+(?:[.,]\d+)?",
        r"pd.to_numeric({x}.str.replace(r'[^\d.eE+-]', '', regex=True))",
    ),
    _Kind("percentages", _NUMBER + r"\s*%", "pd.to_numeric({x}.str.rstrip('% ')) / 100"),
    _Kind(
        "percentages with decimal commas",
        r"[-+]?\d+,\d+\s*%",
        "pd.to_numeric({x}.str.rstrip('% ').str.replace(',', '.')) / 100",
    ),
    _Kind(
        "amounts of money with decimal commas",
        rf"[-+]?{_UNIT}\s*[-+]?[\d.]*\d,\d{{1,2}}|[-+]?[\d.]*\d,\d{{1,2}}\s*{_UNIT}",
        r"pd.to_numeric({x}.str.replace(r'[^\d,-]', '', regex=True).str.replace(',', '.'))",
    ),
    _Kind(
        "amounts of money",
        rf"[-+]?{_UNIT}\s*[-+]?[\d,]*\d(?:\.\d+)?|[-+]?[\d,]*\d(?:\.\d+)?\s*{_UNIT}",
        r"pd.to_numeric({x}.str.replace(r'[^\d.-]', '', regex=True))",
    ),
    _Kind(
        "numbers with a minus sign that is no hyphen",
        rf"[\u2212\u2012\u2013]?{_NUMBER}",
        r"pd.to_numeric({x}.str.replace(r'[\u2212\u2012\u2013]', '-', regex=True))",
    ),
    _UNITS,
    _Kind(
        "dates",
        r"\d{4}([-/.])\d{1,2}(?:\1\d{1,2})?(?:[T ]\d.*)?",
        "dates = pd.to_datetime({x}), then days since the first: (dates - dates.min()).dt.days",
        numeric=False,
    ),
    _Kind(
        "dates",
        r"\d{1,2}([./-])\d{1,2}\1\d{2}(?:\d{2})?(?:[T ]\d.*)?",
        "dates = pd.to_datetime({x}, dayfirst=True), then days since the first: (dates - dates.min()).dt.days "
        "(dayfirst=False where the month stands first)",
        numeric=False,
    ),
    _Kind(
        "times",
        r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?",
        "hours: pd.to_timedelta({x}).dt.total_seconds() / 3600 (with ':00' added where seconds are not written)",
        numeric=False,
    ),
)


@dataclass(frozen=True)
class Look:
    """What the levels of a factor look like.

    Attributes
    ----------
    words : str
        ``numbers``, ``dates`` and so on.
    example : str
        A level that looks so.
    strays : tuple of str
        Levels that do not, and seem to keep the column from being read as numbers.
    remedy : str
        Python that makes numbers of the column, which is ``{x}`` in it.
    plain : bool
        Whether they are numbers as Python writes them.
    bounds : bool
        Whether the strays are limits, below or above which a value was.
    """

    words: str
    example: str
    strays: tuple[str, ...]
    remedy: str
    plain: bool
    bounds: bool = False

    def advice(self, name: str) -> str:
        """How to make numbers of the column `name`: a sentence's end."""
        remedy = self.remedy.format(x=f"data[{name!r}]")
        if not self.strays or self.bounds:
            return remedy
        missing = f"na_values={list(self.strays[:_SHOWN])!r}"
        if self.plain:
            return f"pd.to_numeric(data[{name!r}], errors='coerce'), or {missing} in pd.read_csv"
        return f"{missing} in pd.read_csv first, then {remedy}"

    @property
    def odd(self) -> str:
        """The levels that are not like the others, for a message."""
        shown = ", ".join(map(repr, self.strays[:_SHOWN]))
        more = " and others" if len(self.strays) > _SHOWN else ""
        return f"{shown}{more} {'is' if len(self.strays) == 1 else 'are'} not"


def bare_label(label: str) -> tuple[str, ...]:
    """The parts of a level's label without case, blanks, coding of accents, and zeros that change no number."""
    one = label if label.isascii() else normalize("NFC", label)
    return tuple(_PADDING.sub("", part.strip().casefold()) for part in one.split(":"))


def look_of(levels: Sequence[str], rows: Mapping[str, int] | None = None) -> Look | None:
    """What text seems to be, or None where it is text.

    All levels must look alike but for the usual marks of a missing value, or for few words among many numbers, or on
    few of the `rows` (how many has each level); grades K, 1, 2, 3 are a factor like any other, and so are identifiers
    with leading zeros.
    """
    step = -(-len(levels) // _LOOKED_AT) or 1
    texts = {level: level.strip() for level in levels[::step]}
    bounds = tuple(level for level, text in texts.items() if _BOUND.fullmatch(text))
    if bounds:
        others = {level: text for level, text in texts.items() if level not in bounds}
        numbers = [level for level, text in others.items() if _PLAIN.fits(text)]
        known = all(level in numbers or text.casefold() in _MISSING_MARKS for level, text in others.items())
        return Look("numbers", numbers[0], bounds, _LIMITS, True, True) if known and len(numbers) > _FEW_WORDS else None
    kinds = (_PLAIN,) if all(map(_PLAIN.fits, texts.values())) else _KINDS
    found = {kind: [level for level, text in texts.items() if kind.fits(text)] for kind in kinds}
    # of kinds that fit equally the first counts; numbers written plainly, as "12" among "1,5", go with every such kind
    matched = {kind: {*own, *(found[_PLAIN] if kind.numeric else ())} for kind, own in found.items() if own}
    if not matched:
        return None
    kind = max(matched, key=lambda kind: (len(matched[kind]), kind is _PLAIN))
    if kind is _UNITS and len({re.sub(_NUMBER, "", texts[level]).strip() for level in found[kind]}) > 1:
        return None  # codes, as 12A and 12B
    strays = [level for level in texts if level not in matched[kind]]
    marks = all(texts[stray].casefold() in _MISSING_MARKS for stray in strays)
    count = len(matched[kind])
    identifiers = kind is _PLAIN and any(_IDENTIFIER.fullmatch(texts[level]) for level in found[_PLAIN])
    rare = rows is not None and sum(rows.get(stray, 0) for stray in strays) <= _RARE * sum(rows.values())
    many = count > (_SOME_NUMBERS if rare else _MANY_NUMBERS)
    if identifiers or not (count > 1 if marks else many and len(strays) <= _FEW_WORDS):
        return None
    return Look(kind.words, found[kind][0], tuple(strays), kind.remedy, kind is _PLAIN)
