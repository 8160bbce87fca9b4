"""What the annotation of a parameter says of a value, to be asked when a call has failed."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = ["misfit"]

#: numbers beyond this are none that arrays hold
_LARGEST = 2**63


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_) and not abs(value) >= _LARGEST  # type: ignore[arg-type]


#: annotations that are understood, each with words and what fits it
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "None": ("None", lambda value: value is None),
    "str": ("text", lambda value: isinstance(value, str)),
    "bool": ("True or False", lambda value: isinstance(value, bool | np.bool_)),
    "int": ("a whole number", lambda value: _is_number(value, Integral)),
    "float": ("a number", lambda value: _is_number(value, Real)),
    "Axes": ("axes of matplotlib", lambda value: hasattr(value, "get_figure")),
}

#: names of annotations that stand for others
_ALIASES = {"TermArgument": "str | Sequence[str] | None", "Functions": "Mapping[str, Any]"}

#: annotations of what fitting gives
_FITS = ("EmpiricalBayesFit", "GeneralisedFit", "PosteriorFit", "GeneralisedPosterior", "Answers", "Estimated")


def misfit(function: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]) -> str | None:
    """Name the first argument that is not what its annotation says, with what is expected; None where all may be."""
    signature = inspect.signature(function)
    bound = signature.bind(*given, **named).arguments
    for name, value in bound.items():
        parameter = signature.parameters[name]
        if not isinstance(parameter.annotation, str):
            continue
        several = parameter.kind is parameter.VAR_POSITIONAL
        words, fits = _read(parameter.annotation)
        for one in value if several else [value]:
            if not fits(one):
                return f"{name}={_shown(one)} must be {words}."
    return None


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) < 60 else f"{text[:56]} ..."


def _read(annotation: str) -> tuple[str, Callable[[Any], bool]]:
    """Words and what fits; all does, where a part of an annotation is not understood."""
    parts = [_part(text.strip()) for text in re.split(r"\|(?![^\[]*\])", annotation)]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return "", lambda value: True
    words = list(dict.fromkeys(words for words, _ in found))
    listed = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return listed, lambda value: any(fits(value) for _, fits in found)


def _part(text: str) -> tuple[str, Callable[[Any], bool]] | None:
    if text in _KINDS:
        return _KINDS[text]
    if text in _ALIASES:
        return _read(_ALIASES[text])
    if text in _FITS:
        return "a fit, as model.fit() gives", lambda value: hasattr(value, "spec")
    name, _, inner = text.removesuffix("]").partition("[")
    if name == "Literal":
        allowed = ast.literal_eval(f"({inner},)")
        known = {(type(one), one) for one in allowed}
        return " or ".join(map(repr, allowed)), lambda one: isinstance(one, Hashable) and (type(one), one) in known
    if name == "type":
        return "a class", lambda value: isinstance(value, type)
    if name == "Mapping":
        return "a dict", lambda value: isinstance(value, Mapping)
    if name not in ("Sequence", "Iterable", "list", "tuple"):
        return None
    words, fits = _read(inner.removesuffix(", ..."))

    def several(value: Any) -> bool:
        listed = (
            isinstance(value, Iterable)
            and not isinstance(value, str | bytes | Mapping)
            and getattr(value, "ndim", 1) < 2
        )
        return listed and all(map(fits, value))

    return f"a list of {words}" if words else "a list", several
