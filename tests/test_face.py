"""What ``help`` and ``dir`` show: the public face, and how each part of it is used."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import re
from pathlib import Path
from types import ModuleType

import pytest

import ranef
from _ranef.plots import ComparisonPlots, FitPlots
from ranef import datasets, priors

MODULES = (ranef, datasets, priors)
NAMES = [
    (module, name)
    for module in MODULES
    for name in module.__all__
    if not isinstance(getattr(module, name), ModuleType) and not name.startswith("_")
]
PUBLIC_CLASSES = [getattr(ranef, name) for name in ranef.__all__ if inspect.isclass(getattr(ranef, name))]
METHODS = [
    (cls, name)
    for cls in PUBLIC_CLASSES
    if not issubclass(cls, Exception)
    for name in vars(cls)
    if not name.startswith("_") and name not in getattr(cls, "__dataclass_fields__", {})
]


def test_dir_shows_the_public_face_alone():
    shown = {name for name in dir(ranef) if not name.startswith("_")}
    assert shown == set(ranef.__all__)
    assert {name for name in dir(datasets) if not name.startswith("_")} == set(datasets.__all__)
    for module in MODULES:
        assert sorted(set(module.__all__)) == sorted(module.__all__)


def test_help_guides():
    text = pydoc.render_doc(ranef, renderer=pydoc.plaintext)
    described, contents, documented = re.split(r"^(?:PACKAGE CONTENTS|CLASSES)$", text, flags=re.MULTILINE)
    for words in (
        "Model(formula, data)",
        "model.sample(seed=1)",
        "compare(eb, fb)",
        "fit.save(path)",
    ):
        assert words in described
    assert contents.split() == ["__main__", "cli", "datasets", "(package)", "families", "priors"]
    entries = set(re.findall(r"^    class (\w+)|^    (\w+)\(.*\)(?: ->|$)", documented, flags=re.MULTILINE))
    assert {a or b for a, b in entries} <= set(ranef.__all__)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda value: getattr(value, "__name__", value))
def test_every_public_name_is_documented_with_an_example(module, name):
    """The examples are run as doctests."""
    text = inspect.getdoc(getattr(module, name))
    assert text
    assert re.search(r"^Examples\n-{8}\n(?:.*\n)*?>>> ", text, flags=re.MULTILINE), name
    assert text.split("\n")[0].endswith("."), name


@pytest.mark.parametrize(("cls", "name"), METHODS, ids=lambda value: getattr(value, "__name__", value))
def test_every_method_is_documented(cls, name):
    text = inspect.getdoc(getattr(cls, name))
    assert text, f"{cls.__name__}.{name}"
    assert text.split("\n")[0].endswith((".", ":", "``")), text.split("\n")[0]


FUNCTIONS = [(module, name) for module, name in NAMES if inspect.isfunction(getattr(module, name))]


@pytest.mark.parametrize(("module", "name"), FUNCTIONS, ids=lambda value: getattr(value, "__name__", value))
def test_parameters_are_those_of_the_signature(module, name):
    """A numpydoc section says of each parameter what it is, under its own name."""
    public = getattr(module, name)
    section = re.search(r"Parameters\n-{10}\n((?:.*\n)*?)(?:\n\w+\n-+\n|\Z)", inspect.getdoc(public) + "\n")
    named = re.findall(r"^(\*?[\w, *]+?)(?: :|$)", section[1], flags=re.MULTILINE) if section else []
    described = {part.strip().lstrip("*") for line in named for part in line.split(",")}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = {p.name for p in inspect.signature(public).parameters.values() if p.kind in kinds}
    assert own <= described, own - described


#: what engines ask of structures; who writes one finds it in ARCHITECTURE.md
SEAMS = {"bind", "bound", "positions", "reads", "counted", "in_strata", "groups", "form"}
#: classes of which users hold instances, and what their figures are methods of; a protocol has its methods in them
HELD = (*(c for c in PUBLIC_CLASSES if not issubclass(c, Exception) and c is not ranef.Fit), FitPlots, ComparisonPlots)
MEMBERS = [
    (cls, name)
    for cls in HELD
    for name in dir(cls)
    if not name.startswith("_")
    and name not in SEAMS
    and name not in getattr(cls, "__dataclass_fields__", {})
    and (inspect.isroutine(getattr(cls, name)) or not isinstance(inspect.getattr_static(cls, name), str | float | None))
]


def test_every_method_has_an_example():
    """Those that users call, with what they inherit; the examples are run as doctests."""
    assert len(MEMBERS) > 150
    without = [f"{cls.__name__}.{name}" for cls, name in MEMBERS if ">>> " not in inspect.getdoc(getattr(cls, name))]
    assert not without


RETURNED = (Path(__file__).parents[1] / "docs/api/returned.md").read_text(encoding="utf-8")


def returned_classes():
    """Classes of which calls hand back instances, as the site lists them."""
    parts = re.split(r"^\.\. currentmodule:: (\S+)$", RETURNED, flags=re.MULTILINE)[1:]
    for module, text in zip(parts[::2], parts[1::2], strict=True):
        for name in re.findall(r"^\.\. autoclass:: (\w+)$", text, flags=re.MULTILINE):
            yield getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("cls", list(returned_classes()), ids=lambda cls: cls.__name__)
def test_what_calls_return_has_an_example_that_uses_all_its_members(cls):
    """The example of the class, or one of the member's own; they are run as doctests."""
    lines = [line for line in inspect.getdoc(cls).splitlines() if line.startswith((">>> ", "... "))]
    assert lines
    held = getattr(cls, "__dataclass_fields__", {})
    members = [name for name in dir(cls) if not name.startswith("_") and name not in held]
    called = [name for name in members if ">>> " not in (inspect.getdoc(getattr(cls, name)) or "")]
    unused = [name for name in called if not re.search(rf"\b{name}\b", "\n".join(lines))]
    assert not unused
