"""Expressions to values, by walking their nodes: nothing is handed to Python's ``eval``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import pi
from typing import Any

import numpy as np

from _ranef.design.arguments import Argument
from _ranef.design.as_when_built import conform
from _ranef.design.categorical import CONTRASTS
from _ranef.design.expression_values import (
    Codes,
    Constant,
    Factor,
    Logical,
    Numeric,
    Value,
    label_of,
    missing,
    scatter,
    take,
)
from _ranef.design.operators import binary, unary
from _ranef.design.table import Table, column_names
from _ranef.design.transforms import Transform
from _ranef.errors import DesignError, FormulaError, RanefError, RanefWarning, suggestion
from _ranef.formula import Binary, Call, Name, Node, Number, Span, String, Unary, label, walk

__all__ = ["CONSTANTS", "Scope", "column_of", "columns_in", "evaluate"]

CONSTANTS: dict[str, Constant] = {
    "pi": pi,
    "TRUE": True,
    "FALSE": False,
    "True": True,
    "False": False,
    "NULL": None,
    **CONTRASTS,
}


@dataclass(frozen=True, eq=False)
class Scope:
    """Where expressions are evaluated.

    Attributes
    ----------
    table : Table
        The data.
    source : str
        The formula, for messages.
    transforms : mapping
        What may be called.
    states : dict
        What each call of a stateful transform has learnt; filled by the first evaluation.
    kinds : mapping, optional
        For new data: what each column was when the model was built, without rows.
    templates : mapping
        For new data: what the value of each expression was, without rows.
    """

    table: Table
    source: str
    transforms: Mapping[str, Transform]
    states: dict[Node, dict[str, Any]]
    kinds: Mapping[str, Value] | None = None
    templates: Mapping[Node, Value] = field(default_factory=dict)
    _known: dict[Node, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of one evaluation: those where every column of the expression is present."""

    scope: Scope
    columns: Mapping[str, Value]
    positions: Codes

    @property
    def n(self) -> int:
        return len(self.positions)


def columns_in(node: Node, scope: Scope) -> dict[str, Value]:
    """Give the columns that an expression uses, over all rows.

    Raises
    ------
    FormulaError
        For a name that is neither a column nor a constant, underlined.
    """
    columns = {}
    for name in (part for part in walk(node) if isinstance(part, Name)):
        # what was a constant stays one, whatever columns new data have
        if name.name not in CONSTANTS or name.name in (scope.table if scope.kinds is None else scope.kinds):
            columns[name.name] = _named_column(name, scope)
    return columns


def _named_column(name: Name, scope: Scope) -> Value:
    if name.name in scope.table:
        return column_of(name.name, scope)
    near = suggestion(name.name, map(str, scope.table.names))
    whose = "the data" if scope.kinds is None else "the new data"
    message = f"{name.name!r} is not a column of {whose}.{near} Columns: {column_names(scope.table)}."
    raise _error(scope, name.span, message)


def column_of(name: str, scope: Scope) -> Value:
    """Give a column; for new data, as what it was when the model was built."""
    column = scope.table.column(name)
    if scope.kinds is None or name not in scope.kinds:
        return column
    return conform(column, scope.kinds[name], name, scope.table)


def evaluate(node: Node, scope: Scope) -> Value:
    """Evaluate an expression on the rows where its own columns are complete; elsewhere the value is missing.

    Parameters
    ----------
    node : Node
        The expression.
    scope : Scope
        Data, functions, and what stateful transforms know.

    Returns
    -------
    Value
        One entry for each row of the data.

    Raises
    ------
    FormulaError
        For an unknown name, or a call with the wrong arguments.
    DesignError
        For operations that the data do not allow, or a result that is not finite.
    """
    if node not in scope._known:
        scope._known[node] = _evaluate(node, scope)
    return scope._known[node]


def _evaluate(node: Node, scope: Scope) -> Value:
    columns = columns_in(node, scope)
    if isinstance(node, Name) and node.name in columns:
        return columns[node.name]
    gaps = np.zeros(scope.table.n, dtype=bool)
    for column in columns.values():
        np.logical_or(gaps, missing(column), out=gaps)
    positions = np.flatnonzero(~gaps)
    if not len(positions) and node in scope.templates:
        return scatter(scope.templates[node], positions, scope.table.n)
    if not len(positions):
        raise DesignError(f"{label(node)} has no value: in every row {' or '.join(columns)} is missing.")
    complete = columns if len(positions) == scope.table.n else {k: take(v, positions) for k, v in columns.items()}
    rows = _Rows(scope, complete, positions)
    with np.errstate(all="ignore"):
        value = _per_row(node, _value(node, rows), rows)
    _check_finite(label(node), value, rows)
    return value if complete is columns else scatter(value, positions, scope.table.n)


def _per_row(node: Node, value: Argument, rows: _Rows) -> Value:
    if isinstance(value, Factor | Logical | Numeric):
        return value
    if isinstance(value, int | float):
        return Numeric(np.full(rows.n, float(value)))
    raise _error(rows.scope, node.span, f"{label(node)} is no column of numbers, logicals or categories.")


def _check_length(node: Node, value: Argument, rows: _Rows) -> None:
    if isinstance(value, Factor | Logical | Numeric) and len(missing(value)) != rows.n:
        raise DesignError(
            f"{label(node)} has {len(missing(value))} entries for {rows.n} rows: a transform must return one entry "
            "for each of the rows it was given."
        )


def _check_finite(what: str, value: Argument, rows: _Rows) -> None:
    if not isinstance(value, Numeric | Logical):
        return
    wrong = ~np.isfinite(value.values.reshape(rows.n, -1))
    at, column = np.unravel_index(int(wrong.argmax()), wrong.shape) if wrong.any() else (-1, -1)
    if at >= 0:
        inputs = ", ".join(f"{name} = {_entry(entries, int(at))}" for name, entries in rows.columns.items())
        raise DesignError(
            f"{what} is {value.values.reshape(wrong.shape)[at, column]} in "
            f"{rows.scope.table.row(int(rows.positions[at]))}, where {inputs}. Change the expression or the data, or "
            "make the input missing so that the row is dropped."
        )


def _entry(column: Value, at: int) -> str:
    if isinstance(column, Factor):
        return repr(column.levels[column.codes[at]])
    return str(bool(column.values[at])) if isinstance(column, Logical) else label_of(column.values[at])


def _error(scope: Scope, span: Span, message: str) -> FormulaError:
    return FormulaError(message, scope.source, span.start, span.end)


def _value(node: Node, rows: _Rows) -> Argument:
    match node:
        case Name():
            return rows.columns[node.name] if node.name in rows.columns else CONSTANTS[node.name]
        case Number() | String():
            return node.value
        case Call():
            return _call(node, rows)
        case Unary():
            return _explained(node, lambda: unary(node.op, _value(node.operand, rows)))
        case Binary():
            return _explained(node, lambda: binary(node.op, _value(node.left, rows), _value(node.right, rows)))
    raise _error(rows.scope, node.span, "A random term cannot stand here.")


def _explained(node: Node, compute: Callable[[], Argument]) -> Argument:
    """Compute, with the expression named in front of what goes wrong."""
    try:
        return compute()
    except (RanefError, RanefWarning):
        raise
    except Exception as error:
        raise DesignError(f"{label(node)} cannot be evaluated: {str(error).rstrip('.')}.") from error


def _call(node: Call, rows: _Rows) -> Argument:
    transform = rows.scope.transforms[node.function]
    args = [_value(argument, rows) for argument in node.args]
    kwargs = {key: _value(argument, rows) for key, argument in node.kwargs}
    state: dict[str, Any] = {}
    if transform.stateful:
        for part, argument in zip(
            (*node.args, *(part for _, part in node.kwargs)), (*args, *kwargs.values()), strict=True
        ):
            # what is not finite would spoil the result in every row
            _check_finite(f"{label(part)} in {label(node)}", argument, rows)
        state["_state"] = rows.scope.states.setdefault(node, {})
    try:
        inspect.signature(transform.function).bind(*args, **kwargs, **state)
    except TypeError as error:
        message = f"{node.function}() cannot be called like this ({error}). Expected: {transform.description}."
        raise _error(rows.scope, node.span, message) from error
    result = _explained(node, lambda: transform.function(*args, **kwargs, **state))
    _check_length(node, result, rows)
    return result
