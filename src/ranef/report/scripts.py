"""Text as the languages within a page's script want it."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["script_json", "vega_key", "vega_string"]

#: what ends, opens or hides a script element, as JSON escapes that mean the same within a string
UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def script_json(value: Any) -> str:
    """JSON that may stand anywhere within a script element: nothing in it closes one, opens one or comments it out."""
    return json.dumps(value, separators=(",", ":")).translate(UNSAFE)


def vega_string(text: str) -> str:
    """A string in Vega's expression language, in ASCII."""
    return json.dumps(text)


def vega_key(text: str) -> str:
    """A title that Vega-Lite puts, as it is but for quotation marks, into a string of Vega's expression language."""
    return vega_string(text)[1:-1].replace('\\"', '"')
