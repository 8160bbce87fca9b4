"""What a call or an operator is given, read as numbers or categories."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from _ranef.design.expression_values import Array, Constant, Factor, Logical, Numeric, Value, as_factor, kind_of
from _ranef.design.text_like_numbers import look_of

__all__ = ["Argument", "State", "categories", "columns", "described", "numbers", "vector", "whole", "wrapped"]

Argument: TypeAlias = Value | Constant
State: TypeAlias = dict[str, Any]


def numbers(argument: Argument) -> Array | float:
    """Read an argument as numbers: an array of shape (n,) or (n, k), or a float. A logical is 0 and 1.

    Raises
    ------
    ValueError
        For a factor, text or a vector of constants.
    """
    if isinstance(argument, Numeric | Logical):
        return argument.values
    if isinstance(argument, int | float):
        return float(argument)
    if isinstance(argument, Factor):
        look = look_of(argument.levels)
        like = f" of text that looks like {look.words}, such as {look.example!r}: {look.remedy}" if look else ""
        raise ValueError(f"numbers are expected, and a factor was given{like.format(x='column')}")
    raise ValueError(f"numbers are expected, and {described(argument)} was given")


def described(argument: Argument) -> str:
    """Say what an argument is, for a message."""
    if isinstance(argument, Factor | Numeric | Logical):
        return f"a {kind_of(argument)} column"
    return "NULL" if argument is None else f"the constant {argument!r}"


def vector(argument: Argument) -> Array:
    """Read an argument as one column of numbers, shape (n,)."""
    values = numbers(argument)
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise ValueError("a column of numbers is expected")
    return values


def categories(argument: Argument) -> Factor:
    """Read one column as a factor."""
    if not isinstance(argument, Factor | Numeric | Logical) or (
        isinstance(argument, Numeric) and argument.values.ndim == 2
    ):
        raise ValueError(f"one column is expected, and {described(argument)} was given")
    return as_factor(argument)


def columns(argument: Argument) -> Array:
    """Read an argument as columns of numbers, shape (n,) or (n, k)."""
    values = numbers(argument)
    if not isinstance(values, np.ndarray):
        raise ValueError("a column of numbers is expected")
    return values


def whole(argument: Argument, name: str) -> int:
    """Read the argument called `name` as a whole number."""
    if not isinstance(argument, int | float) or argument % 1:
        raise ValueError(f"{name} must be a whole number, and {described(argument)} was given")
    return int(argument)


def wrapped(values: Any) -> Numeric | float:
    """Make a value of an array, or a constant of a number."""
    return Numeric(values) if isinstance(values, np.ndarray) else float(values)
