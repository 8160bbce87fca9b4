"""Progress of long work, shown after two seconds, on a terminal only."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

__all__ = ["DELAY", "progress_bar"]

#: seconds of silence
DELAY = 2.0


def progress_bar(what: str, unit: str, total: int | None = None) -> Any:
    """A tqdm bar that stays silent for two seconds, and altogether where stderr is no terminal."""
    return import_module("tqdm").tqdm(
        total=total, desc=what, unit=unit, unit_scale=True, delay=DELAY, leave=False, disable=None, file=sys.stderr
    )
