"""Fonts for names in any script: what the current font lacks is taken from others that are installed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from _ranef.errors import RanefWarning, warn

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = ["fallen_back", "families_for", "legible"]

#: looked at first: families with Chinese, Japanese and Korean characters, on any system, then those with many scripts
PREFERRED = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR"),
    *(
        "Source Han Sans",
        "WenQuanYi Micro Hei",
        "WenQuanYi Zen Hei",
        "PingFang SC",
        "Hiragino Sans",
        "Hiragino Sans GB",
    ),
    *("Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Meiryo", "Malgun Gothic", "SimHei", "MS Gothic"),
    *("NanumGothic", "IPAexGothic", "Arial Unicode MS", "Noto Sans", "Unifont"),
)

#: what stands for a character that no font has
BOX = "\u25a1"


def families_for(text: str) -> list[str]:
    """Families for the characters of a text: matplotlib's own, and one or more others for what that lacks."""
    own = _current()
    return [*own, *_others(own, _unusual(text), _count())[0]]


def fallen_back(text: str) -> str:
    """The text, with a box for every character that no installed font has."""
    lost = _lost(text)
    return "".join(BOX if c in lost else c for c in text) if lost else text


def legible(drawn: Axes | Figure) -> None:
    """Give every text of a figure fonts for its characters, and warn once of characters that no font has.

    Titles, labels, legends and notes are seen to; names of levels on an axis have their fonts from ``name_levels``.

    Warns
    -----
    RanefWarning
        Naming the characters and the remedy. matplotlib would warn of each, at every drawing, and name none.
    """
    figure = drawn.get_figure(root=True)
    assert figure is not None
    lost: set[str] = set()
    for name in _names_on_axes(figure.axes):
        lost |= _lost(name)
    for text in _texts(figure):
        words = text.get_text()
        if not words.isascii():
            own = tuple(text.get_fontfamily())
            more, none = _others(own, _unusual(words), _count())
            text.set_fontfamily([*own, *more])
            text.set_text(fallen_back(words))
            lost |= none
    if lost:
        _warn_of(lost)


def _texts(drawn: Artist) -> Iterator[Text]:
    """Every text in a figure but numbers at ticks, for which all ticks would be made."""
    from matplotlib.axis import Axis  # noqa: PLC0415 - heavy: only where a figure is made
    from matplotlib.text import Text  # noqa: PLC0415 - as before
    from matplotlib.ticker import LogFormatter, ScalarFormatter  # noqa: PLC0415 - as before

    for child in drawn.get_children():
        if isinstance(child, Axis):
            yield child.label
            yield from (
                []
                if isinstance(child.get_major_formatter(), ScalarFormatter | LogFormatter)
                else child.get_ticklabels()
            )
        elif isinstance(child, Text):
            yield child
        else:
            yield from _texts(child)


def _names_on_axes(axes: list[Axes]) -> Iterator[str]:
    for a in axes:
        for axis in (a.xaxis, a.yaxis):
            yield from getattr(axis.get_major_formatter(), "names", ())


def _warn_of(lost: set[str]) -> None:
    shown = "".join(sorted(lost)[:10]) + ("…" if len(lost) > 10 else "")
    warn(
        f"No installed font has the characters {shown}: figures show boxes for them. Install one that does ('Noto Sans "
        "CJK' for Chinese, Japanese and Korean, Debian's package fonts-noto-cjk; 'Noto Sans' for many others), delete "
        "the list of fonts that matplotlib keeps in the folder matplotlib.get_cachedir(), and start Python again.",
        RanefWarning,
    )


def _lost(text: str) -> frozenset[str]:
    """Characters of a text that no installed font has."""
    return frozenset() if text.isascii() else _others(_current(), _unusual(text), _count())[1]


def _unusual(text: str) -> frozenset[str]:
    """Characters that the first font may lack."""
    return frozenset(c for c in text if not c.isascii() and c.isprintable())


def _current() -> tuple[str, ...]:
    from matplotlib import rcParams  # noqa: PLC0415 - heavy: only where a figure is made

    return tuple(rcParams["font.family"])


def _count() -> int:
    """How many fonts there are: one may be added while Python runs."""
    from matplotlib.font_manager import fontManager  # noqa: PLC0415 - heavy: only where a figure is made

    return len(fontManager.ttflist)


@lru_cache(maxsize=1024)
def _others(own: tuple[str, ...], characters: frozenset[str], count: int) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families with what `own` lack of the characters, and what none has; `count` fonts are installed."""
    lacking = characters
    for family in own:
        lacking -= _held(family, lacking, count)
    found: list[str] = []
    for family in _installed() if lacking else ():
        if have := _held(family, lacking, count):
            found.append(family)
            lacking -= have
    return tuple(found), lacking


def _installed() -> list[str]:
    """Installed families, preferred ones first."""
    from matplotlib.font_manager import fontManager  # noqa: PLC0415 - heavy: only where a figure is made

    names = sorted({entry.name for entry in fontManager.ttflist if "Last Resort" not in entry.name})
    return sorted(names, key=lambda name: PREFERRED.index(name) if name in PREFERRED else len(PREFERRED))


@lru_cache(maxsize=4096)
def _held(family: str, characters: frozenset[str], count: int) -> frozenset[str]:
    """Which of the characters a family has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font  # noqa: PLC0415 - heavy

    if not characters:
        return characters
    try:
        path = findfont(FontProperties(family=family), fallback_to_default=False)
        glyphs: dict[int, Any] = get_font(path).get_charmap()
    except (ValueError, OSError, RuntimeError):
        return frozenset()
    return frozenset(c for c in characters if ord(c) in glyphs)
