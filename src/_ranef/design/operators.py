"""The operators of an expression, with R's meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from _ranef.design.arguments import Argument, numbers
from _ranef.design.expression_values import Factor, Logical, Mask, Numeric, label_of
from _ranef.errors import suggestion

__all__ = ["binary", "unary"]


def unary(op: str, operand: Argument) -> Argument:
    """Apply ``-``, ``+`` or ``!``.

    Raises
    ------
    ValueError
        In plain words, for an operand that the operator cannot take.
    """
    values = numbers(operand)
    if op == "!":
        return _logical(1.0 - (values != 0), np.isnan(values), operand)
    return _like(values if op == "+" else -values, operand)


def _like(values: Any, *operands: Argument) -> Numeric | float:
    suffixes = next((operand.suffixes for operand in operands if isinstance(operand, Numeric) and operand.suffixes), ())
    return Numeric(values, suffixes) if isinstance(values, np.ndarray) else float(values)


def _logical(truth: Any, unknown: Any, *operands: Argument) -> Logical | bool:
    if all(isinstance(operand, int | float | str) for operand in operands):
        return bool(truth)
    values = np.where(unknown, np.nan, truth)
    if values.ndim != 1:
        raise ValueError("a comparison takes one column on each side")
    return Logical(values)


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "^": np.power,
    "%%": np.mod,
    "%/%": np.floor_divide,
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def binary(op: str, left: Argument, right: Argument) -> Argument:
    """Apply an operator of arithmetic, comparison or logic; a missing operand gives a missing result, as in R.

    Raises
    ------
    ValueError
        In plain words, for operands that the operator cannot take.
    """
    if op in _COMPARISONS and any(isinstance(side, Factor | str) for side in (left, right)):
        return _compare_categories(op, left, right)
    a, b = _aligned(numbers(left), numbers(right))
    if op in _ARITHMETIC:
        return _like(_ARITHMETIC[op](a, b), left, right)
    if op in _COMPARISONS:
        return _logical(_COMPARISONS[op](a, b), np.isnan(a) | np.isnan(b), left, right)
    if op in ("&", "&&"):
        false = (a == 0) | (b == 0)
        return _logical(~np.asarray(false), ~np.asarray(false) & (np.isnan(a) | np.isnan(b)), left, right)
    if op in ("|", "||"):
        true = ((a != 0) & ~np.isnan(a)) | ((b != 0) & ~np.isnan(b))
        return _logical(true, ~np.asarray(true) & (np.isnan(a) | np.isnan(b)), left, right)
    raise ValueError(f"the operator {op!r} has no meaning in arithmetic")


def _aligned(a: Any, b: Any) -> tuple[Any, Any]:
    if np.ndim(a) == 2 and np.ndim(b) == 2 and a.shape[1] != b.shape[1]:
        raise ValueError(f"the two sides have {a.shape[1]} and {b.shape[1]} columns")
    a = a[:, None] if np.ndim(a) == 1 and np.ndim(b) == 2 else a
    return a, (b[:, None] if np.ndim(b) == 1 and np.ndim(a) == 2 else b)


def _compare_categories(op: str, left: Argument, right: Argument) -> Logical:
    if not isinstance(left, Factor):
        mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
        if not isinstance(right, Factor):
            raise ValueError("text is compared with a factor only")
        return _compare_categories(mirrored, right, left)
    if op not in ("==", "!=") and not left.ordered:
        raise ValueError(f"{op!r} needs an ordered factor: these categories have no order")
    other = _codes_in(left, right)
    truth = _COMPARISONS[op](left.codes, other)
    unknown: Mask = (left.codes < 0) | (np.asarray(other) == -1)
    return Logical(np.where(unknown, np.nan, truth))


def _codes_in(factor: Factor, other: Argument) -> Any:
    """Give the codes of `other` among the levels of `factor`; -1 is missing, -2 a level that `factor` has not."""
    lookup = {level: code for code, level in enumerate(factor.levels)}
    if isinstance(other, Factor):
        return np.array([*(lookup.get(level, -2) for level in other.levels), -1])[other.codes]
    if not isinstance(other, int | float | str):
        raise ValueError("a factor is compared with one of its levels or with another factor")
    text = label_of(other)
    if text not in lookup:
        raise ValueError(f"there is no level {text!r}.{suggestion(text, lookup)} Levels: {', '.join(lookup)}")
    return lookup[text]
