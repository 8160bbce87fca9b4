"""The functions that a formula may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from _ranef.design.arguments import Argument, State, columns, described, numbers, vector, whole, wrapped
from _ranef.design.categorical import CONTRASTS, coded, combine, dummy, factor, ifelse, labels, ordered, relevel
from _ranef.design.expression_values import Array, Constant, Contrast, Factor, Logical, Numeric, label_of
from _ranef.design.lazy import formulaic
from _ranef.design.rank import is_orthonormal
from _ranef.design.table import read_table
from _ranef.errors import DataWarning, DesignError, warn

__all__ = ["TRANSFORMS", "Transform", "registered", "with_user_transforms"]


@dataclass(frozen=True)
class Transform:
    """A function that a formula may call.

    Attributes
    ----------
    function : callable
        Takes values and constants and returns one. It raises ValueError in plain words for what it cannot take.
    stateful : bool
        Whether it learns from the data: it then takes ``_state``, a dict that it fills once and reads afterwards.
    description : str
        Its call, and what it does.
    """

    function: Callable[..., Any]
    stateful: bool
    description: str


def registered(transforms: Mapping[str, Callable[..., Any]] | None = None) -> tuple[str, ...]:
    """List the names that a formula may call: the built-in ones and those of `transforms`.

    Examples
    --------
    >>> from _ranef.design import registered
    >>> "poly" in registered(), "cube" in registered({"cube": lambda x: x**3})
    (True, True)
    """
    return tuple(sorted({*TRANSFORMS, *with_user_transforms(transforms)}))


def with_user_transforms(transforms: Mapping[str, Callable[..., Any]] | None) -> dict[str, Transform]:
    """Join the user's plain functions of arrays to the built-in transforms; a user's name wins.

    Raises
    ------
    DesignError
        If one of them is not callable.
    """
    joined = dict(TRANSFORMS)
    if transforms is not None and not (isinstance(transforms, Mapping) and all(isinstance(k, str) for k in transforms)):
        raise DesignError(
            f"transforms={transforms!r} is not possible; expected is a mapping of names to functions of arrays, as "
            "{'cube': lambda x: x**3}."
        )
    for name, function in (transforms or {}).items():
        if not callable(function):
            raise DesignError(
                f"transforms[{name!r}] is of type {type(function).__name__}; expected is a function of arrays."
            )
        joined[name] = Transform(_of_arrays(function), False, f"{name}(...), given by the user")
    return joined


def _elementwise(function: Callable[..., Any], name: str) -> Transform:
    def apply(x: Argument) -> Argument:
        values = function(numbers(x))
        return replace(x, values=values) if isinstance(x, Numeric) else wrapped(values)

    return Transform(apply, False, f"{name}(x)")


def _log(x: Argument, base: Argument = None) -> Argument:
    values = np.log(numbers(x))
    values = values if base is None else values / np.log(numbers(base))
    return replace(x, values=values) if isinstance(x, Numeric) else wrapped(values)


def _round(x: Argument, digits: int = 0) -> Argument:
    values = np.round(numbers(x), whole(digits, "digits"))
    return replace(x, values=values) if isinstance(x, Numeric) else wrapped(values)


def _identity(x: Argument) -> Argument:
    return x


def _as_numeric(x: Argument) -> Argument:
    if isinstance(x, Factor):
        raise ValueError(
            "it would number the levels of a factor, whatever they say: add a numeric column to the data instead"
        )
    return x if isinstance(x, Numeric) else wrapped(numbers(x))


def _cbind(*parts: Argument) -> Numeric:
    if not parts:
        raise ValueError("columns of numbers are expected, as cbind(successes, failures)")
    own = [vector(part) for part in parts]
    return Numeric(np.column_stack(own), tuple(f"[{k + 1}]" for k in range(len(own))))


def _scale(x: Argument, center: Constant = True, scale: Constant = True, *, _state: State) -> Numeric:
    for name, given in (("center", center), ("scale", scale)):
        if not isinstance(given, int | float):
            raise ValueError(f"{name} must be TRUE, FALSE or a number, and {described(given)} was given")
    numbers_given = columns(x)
    _check_squares(numbers_given)
    values = formulaic("scale")(numbers_given, center=center, scale=scale, ddof=1, _state=_state)
    return Numeric(values, x.suffixes if isinstance(x, Numeric) else ())


def _check_squares(values: Array) -> None:
    """Refuse numbers whose squares overflow or vanish, with which a standard deviation would be none."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest and not 1e-140 < largest < 1e140:
        raise ValueError(f"its numbers are of size {largest:.3g}, and their squares cannot be held: change their unit")


def _center(x: Argument, *, _state: State) -> Numeric:
    return _scale(x, True, False, _state=_state)


def _poly(x: Argument, degree: float = 1, raw: bool = False, *, _state: State) -> Numeric:
    values, degree = vector(x), whole(degree, "degree")
    _check_squares(values)
    if degree < 1:
        raise ValueError("its degree must be at least 1")
    if not _state and (distinct := len(np.unique(values))) <= degree:
        raise ValueError(
            f"degree {degree} needs at least {degree + 1} distinct values, and its {len(values)} rows have {distinct}"
        )
    first = not _state
    basis = _basis(formulaic("poly")(values, degree=degree, raw=bool(raw), _state=_state))
    if first and not raw and not is_orthonormal(basis.values):
        raise ValueError(
            f"orthogonal polynomials of degree {degree} of its numbers are beyond double precision: take a lower "
            "degree, or a spline, bs(x, df)"
        )
    return basis


def _bs(
    x: Argument,
    df: float | None = None,
    knots: Constant = None,
    degree: float = 3,
    intercept: bool = False,
    *,
    _state: State,
) -> Numeric:
    if _state:
        _warn_beyond(vector(x), float(_state["lower_bound"]), float(_state["upper_bound"]))
    else:
        _check_width(vector(x), df, knots, 0 if degree == 3 else whole(degree, "degree"))
    basis = formulaic("basis_spline")(
        vector(x),
        df=None if df is None else whole(df, "df"),
        knots=_knots(knots),
        degree=whole(degree, "degree"),
        include_intercept=bool(intercept),
        extrapolation="extend",
        _state=_state,
    )
    return _basis(basis)


def _cr(x: Argument, df: float | None = None, knots: Constant = None, *, _state: State) -> Numeric:
    spline = formulaic("natural_cubic_spline")
    if not _state:
        _check_width(vector(x), df, knots, 0)
    basis = spline(
        vector(x),
        df=None if df is None else whole(df, "df"),
        knots=_knots(knots),
        extrapolation="extend",
        _state=_state,
    )
    return _basis(basis)


def _warn_beyond(values: Array, lower: float, upper: float) -> None:
    """Warn where polynomial pieces are continued beyond the values that the knots were laid in."""
    outside = int(((values < lower) | (values > upper)).sum())
    if outside:
        lie = "lies" if outside == 1 else "lie"
        warn(
            f"{outside} of the {len(values)} values given to bs() {lie} outside the {lower:g} to {upper:g} it was made "
            "of: polynomials are continued there, and soon mean little. cr() goes on in straight lines.",
            DataWarning,
        )


def _check_width(values: Array, df: float | None, knots: Constant, degree: int) -> None:
    """Refuse a basis that was asked to have more columns than its rows have distinct values."""
    wanted = max(0 if df is None else whole(df, "df"), len(_knots(knots) or []) + degree)
    distinct = len(np.unique(values))
    if wanted > distinct:
        raise ValueError(
            f"{wanted} columns are asked for, and its {len(values)} rows have {distinct} distinct values: take a "
            "smaller df or fewer knots"
        )


def _knots(knots: Constant) -> list[float] | None:
    if knots is None:
        return None
    given = knots if isinstance(knots, tuple) else (knots,)
    if not all(isinstance(knot, int | float) for knot in given):
        raise ValueError(f"knots must be numbers, as in c(2, 5), and {described(knots)} was given")
    return [float(numbers(knot)) for knot in given]


def _basis(basis: Any) -> Numeric:
    """Stack formulaic's basis, an array of shape (n, k) or a dict of columns."""
    basis = getattr(basis, "__wrapped__", basis)
    columns = list(basis.values()) if isinstance(basis, dict) else list(np.asarray(basis).T)
    values = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
    return Numeric(values, tuple(f"[{k}]" for k in range(1, len(columns) + 1)))


def _summary(function: Callable[[Array], Any], name: str) -> Transform:
    def reduce(x: Argument, *, _state: State) -> float:
        if "value" not in _state:
            _state["value"] = float(function(vector(x)))
        return float(_state["value"])

    return Transform(reduce, True, f"{name}(x), one number, that of the rows the model was fitted to")


def _parallel(function: Callable[[Any, Any], Any], name: str) -> Transform:
    def combine(first: Argument, *others: Argument) -> Numeric | float:
        total: Any = numbers(first)
        for other in others:
            total = function(total, numbers(other))
        return wrapped(total)

    return Transform(combine, False, f"{name}(x, y, ...)")


def _contrast(kind: str, name: str) -> Transform:
    def plain() -> Contrast:
        return Contrast(kind)

    def based(base: Constant = None) -> Contrast:
        return Contrast(kind, None if base is None else label_of(base))

    if kind == "treatment":
        return Transform(based, False, f"{name}(base='level') in C(f, ...); base is a level, not its number")
    return Transform(plain, False, f"{name}() in C(f, ...)")


def _of_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*args: Argument, **kwargs: Argument) -> Argument:
        arrays = [_plain(argument) for argument in args]
        return _read_result(function(*arrays, **{key: _plain(argument) for key, argument in kwargs.items()}))

    return apply


def _plain(argument: Argument) -> Any:
    if isinstance(argument, Factor):
        return labels(argument, 0)
    if isinstance(argument, Logical):
        gaps = np.isnan(argument.values)
        return argument.values.copy() if gaps.any() else argument.values.astype(bool)
    return argument.values.copy() if isinstance(argument, Numeric) else argument


def _read_result(result: Any) -> Argument:
    if isinstance(result, bool | int | float | str) and not isinstance(result, np.generic):
        return result
    if isinstance(result, pd.DataFrame):
        return Numeric(result.to_numpy(dtype=np.float64), tuple(f"[{name}]" for name in result.columns))
    array = np.asarray(result)
    if (array.ndim in (1, 2) and array.dtype.kind in "fiu") or (array.ndim == 2 and array.dtype.kind == "b"):
        suffixes = tuple(f"[{k}]" for k in range(1, array.shape[1] + 1)) if array.ndim == 2 else ()
        return Numeric(array.astype(np.float64), suffixes)
    if array.ndim != 1:
        raise ValueError(
            f"it returned {type(result).__name__} of shape {array.shape}; one entry for each row is expected"
        )
    try:
        return read_table({"result": result if hasattr(result, "dtype") else array}).column("result")
    except DesignError as error:
        raise ValueError(f"what it returned cannot be used. {error}") from error


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "floor": np.floor,
    "ceiling": np.ceil,
    "ceil": np.ceil,
    "sign": np.sign,
}
_SUMMARIES: dict[str, Callable[[Array], Any]] = {
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
    "sd": lambda values: np.std(values, ddof=1),
}

TRANSFORMS: dict[str, Transform] = {
    **{name: _elementwise(function, name) for name, function in _ELEMENTWISE.items()},
    **{name: _summary(function, name) for name, function in _SUMMARIES.items()},
    **{name: _contrast(contrast.kind, name) for name, contrast in CONTRASTS.items()},
    "log": Transform(_log, False, "log(x, base)"),
    "round": Transform(_round, False, "round(x, digits=0)"),
    "I": Transform(_identity, False, "I(expression), arithmetic"),
    "numeric": Transform(_as_numeric, False, "numeric(x)"),
    "as.numeric": Transform(_as_numeric, False, "as.numeric(x)"),
    "cbind": Transform(_cbind, False, "cbind(successes, failures), a binomial response"),
    "scale": Transform(_scale, True, "scale(x, center=TRUE, scale=TRUE), by mean and standard deviation"),
    "center": Transform(_center, True, "center(x), by the mean"),
    "poly": Transform(_poly, True, "poly(x, degree=1, raw=FALSE), orthogonal polynomials"),
    "bs": Transform(_bs, True, "bs(x, df, knots, degree=3, intercept=FALSE), B-splines"),
    "cr": Transform(_cr, True, "cr(x, df, knots), natural cubic regression splines"),
    "cs": Transform(_cr, True, "cs(x, df, knots), natural cubic regression splines"),
    "factor": Transform(factor, True, "factor(x, levels)"),
    "as.factor": Transform(factor, True, "as.factor(x)"),
    "ordered": Transform(ordered, True, "ordered(x, levels)"),
    "C": Transform(coded, False, "C(f, contr.sum), a factor with its contrast coding"),
    "relevel": Transform(relevel, False, "relevel(f, 'level'), that level first"),
    "dummy": Transform(dummy, True, "dummy(f, 'level'), 0 and 1"),
    "c": Transform(combine, False, "c(1, 2, ...), a constant vector"),
    "ifelse": Transform(ifelse, False, "ifelse(test, yes, no)"),
    "pmin": _parallel(np.minimum, "pmin"),
    "pmax": _parallel(np.maximum, "pmax"),
}
"""The built-in transforms by the name that a formula calls."""
