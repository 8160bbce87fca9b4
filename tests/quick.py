"""Which tests are ``quick``, by rule: of every test the first case, unless it starts something dear. For daily work.

Dear are samplers, compilers, browsers and other processes. What a test starts is read in its text, in that of its
fixtures and in that of the helpers in this folder that they name.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path

import pytest

DEAR = re.compile(
    r"\.sample\(|sample_posterior|\bjax\b|nutpie|numpyro|chromium|playwright|subprocess|save_figure|\.report\("
)

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    seen = set()
    for item in items:
        name = item.nodeid.split("[")[0]
        if isinstance(item, pytest.Function) and not item.get_closest_marker("slow") and name not in seen:
            seen.add(name)
            if not any(is_dear(part) for part in parts_of(item)):
                item.add_marker(pytest.mark.quick)


def parts_of(item):
    """The function of a test and those of its fixtures."""
    found = item._fixtureinfo.name2fixturedefs
    return [item.function, *(found[name][-1].func for name in item.fixturenames if name in found)]


@cache
def is_dear(part) -> bool:
    """Whether a function or class, or one of the helpers that it names, says that it starts something dear."""
    return any(DEAR.search(text) for text in texts(part, set()))


def texts(part, seen):
    """The source of a function or class, and of the helpers in this folder that it names."""
    seen.add(part)
    try:
        text = inspect.getsource(part)
    except (OSError, TypeError):
        return []
    known = vars(inspect.getmodule(part))
    named = [known[word] for word in set(re.findall(r"\w+", text)) if word in known]
    found = [text]
    for other in named:
        if (inspect.isfunction(other) or inspect.isclass(other)) and other not in seen and is_ours(other):
            found += texts(other, seen)
    return found


def is_ours(part) -> bool:
    """Whether something is defined in this folder."""
    module = inspect.getmodule(part)
    return HERE in Path(getattr(module, "__file__", None) or "/").parents
