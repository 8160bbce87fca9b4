r"""Names of columns, groups and levels in the languages they land in; for LaTeX see ``_ranef.tables.latex``.

Names may hold anything: ``$10% to $20%``, a backslash at the end, a line break, ``</script>``.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

__all__ = ["mathtext_safe", "printable", "script_json", "vega_key", "vega_string"]

#: categories of characters that break lines, move the cursor or turn the direction of what follows: control, format,
#: surrogates, separators of lines and paragraphs
UNPRINTED = ("Cc", "Cf", "Cs", "Zl", "Zp")

#: which join letters and emoji, and belong to them
JOINERS = "\u200c\u200d"

#: what ends, opens or hides a script element, as JSON escapes that mean the same within a string
UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def printable(text: str) -> str:
    r"""Text on one line in one direction: what cannot be seen is written as Python would.

    Examples
    --------
    >>> print(printable("first\nsecond"), printable("zero\u200bwidth"), printable("naïve 😀"))
    first\nsecond zero\u200bwidth naïve 😀
    """
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(c: str) -> str:
    hidden = unicodedata.category(c) in UNPRINTED and c not in JOINERS
    return repr(c)[1:-1] if hidden else c


def mathtext_safe(text: str) -> str:
    r"""Text that matplotlib draws as it is, alone or beside mathematics: a dollar begins none.

    Examples
    --------
    >>> print(mathtext_safe("$10% to $20%"))
    \$10% to \$20%
    """
    return text.replace("$", r"\$")


def script_json(value: Any) -> str:
    r"""JSON that may stand anywhere within a script element: nothing in it closes one, opens one or comments it out.

    Examples
    --------
    >>> print(script_json(["<!--<script>"]))
    ["\u003c!--\u003cscript\u003e"]
    """
    return json.dumps(value, separators=(",", ":")).translate(UNSAFE)


def vega_string(text: str) -> str:
    r"""A string in Vega's expression language, in ASCII.

    Examples
    --------
    >>> print(vega_string('a"b\\'))
    "a\"b\\"
    """
    return json.dumps(text)


def vega_key(text: str) -> str:
    """A title that Vega-Lite puts, as it is but for quotation marks, into a string of Vega's expression language."""
    return vega_string(text)[1:-1].replace('\\"', '"')
