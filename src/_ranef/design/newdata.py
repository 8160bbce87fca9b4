"""New data in the columns of a design."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from _ranef.design.coding import code_terms
from _ranef.design.evaluate import Scope, column_of, evaluate
from _ranef.design.expression_values import Array, Factor, Mask, Value, gaps_of, kind_of, with_levels
from _ranef.design.grouping import group_codes
from _ranef.design.rank import not_determined
from _ranef.design.records import Encoded, EncodedRandom, Encoding, RandomEncoding
from _ranef.design.table import Table, need_column, read_table
from _ranef.design.transforms import with_user_transforms
from _ranef.design.usable_rows import read_extra
from _ranef.errors import DesignError, RanefWarning, suggestion, warn
from _ranef.formula import Name, Node, Terms, label

__all__ = ["encode", "encode_in", "encode_others", "others_in", "scope_of"]

_SHOWN = 12


def encode(
    encoding: Encoding,
    data: Any,
    *,
    groups: Collection[str] | None = None,
    offset: str | float | Sequence[float] | Any = None,
) -> Encoded:
    """Encode new data with the transforms, levels and contrasts of the data that a design was built from.

    Parameters
    ----------
    encoding : Encoding
        What the design remembers.
    data : Any
        As for `build_design`. Needed are the columns of the fixed part and of the groups asked for; no response.
    groups : collection of str, optional
        Names of the grouping factors wanted; all by default. Nothing is evaluated for the others.
    offset : str, float or array, optional
        What stands for the model's argument `offset`: a column of the new data, one number, or one for each row.
        Demanded where that was an array; a column that it named is used without being asked for.

    Returns
    -------
    Encoded
        Every row of `data`, those with missing predictors too.

    Raises
    ------
    FormulaError
        For a column that is not there.
    DesignError
        For a level of a factor that the model does not know, a group that it has not, or an offset that is not given,
        or given to a model that has none.

    Examples
    --------
    >>> from _ranef.design import build_design, encode, registered
    >>> from _ranef.formula import parse_formula
    >>> data = {"y": [3.0, 4.0, 6.0, 5.0], "x": [0, 1, 0, 1], "g": ["a", "a", "b", "b"]}
    >>> design = build_design(parse_formula("y ~ x + (1 | g)", functions=registered()), data)
    >>> encode(design.encoding, {"x": [2, 3], "g": ["b", "new"]}).random[0].codes.tolist()
    [1, 2]
    """
    table = read_table(data)
    _tell_bound(encoding)
    return encode_in(scope_of(encoding, table), encoding, groups, _given_offset(encoding, offset, data, table))


def encode_others(encoding: Encoding, data: Any) -> tuple[Value, ...]:
    """Evaluate on new data what residual variances and correlations read; levels are found by their labels.

    Raises
    ------
    FormulaError
        For a column that is not there.
    """
    return others_in(scope_of(encoding, read_table(data)), encoding)


def others_in(scope: Scope, encoding: Encoding) -> tuple[Value, ...]:
    """The same in a scope at hand; each is a text of its own, for messages."""
    return tuple(_group_value(node, replace(scope, source=label(node))) for node in encoding.others)


def _tell_bound(encoding: Encoding) -> None:
    if encoding.bound:
        warn(
            f"{encoding.bound[0]} gives a row another value when it sees other rows: on the new data it is not what "
            "the model was fitted to. Use scale(), center() or poly(), which remember the rows of the fit, or a "
            "function that works row by row.",
            RanefWarning,
        )


def scope_of(encoding: Encoding, table: Table) -> Scope:
    """Where the expressions of a design are evaluated on new data."""
    functions = with_user_transforms(encoding.transforms)
    return Scope(table, encoding.source, functions, encoding.states, encoding.kinds, encoding.templates)


def encode_in(
    scope: Scope, encoding: Encoding, groups: Collection[str] | None = None, offset: Array | None = None
) -> Encoded:
    """Do what :func:`encode` does, in a scope at hand; `offset` (m,) stands for the column named by the argument."""
    wanted = _wanted(encoding, groups)
    table, complete = scope.table, np.ones(scope.table.n, dtype=bool)
    X = _matrix(encoding.fixed, scope, complete)
    total = _offset(encoding, scope, complete, offset)
    known = {encoding.fixed: X}
    random = tuple(_random(term, scope, complete, known) if term.name in wanted else None for term in encoding.random)
    determined = np.ones(table.n, dtype=bool)
    if len(encoding.kept) < X.shape[1]:
        left_out = np.delete(X, encoding.kept, axis=1)
        X = X[:, encoding.kept]
        if encoding.aliases is not None:
            determined = ~not_determined(X, left_out, encoding.aliases)
    return Encoded(np.ascontiguousarray(X), random, total, complete, determined, table.index)


def _wanted(encoding: Encoding, groups: Collection[str] | None) -> set[str]:
    known = {term.name for term in encoding.random}
    if groups is None:
        return known
    wanted = {groups} if isinstance(groups, str) else set(groups)
    for name in wanted - known:
        raise DesignError(
            f"The model has no grouping factor {name!r}.{suggestion(name, known)} It has: "
            f"{', '.join(sorted(known)) or 'none'}."
        )
    return wanted


def _matrix(terms: Terms, scope: Scope, complete: Mask) -> Array:
    """Code terms with the known levels; a row where a value is missing is NaN, and noted in `complete`."""
    values: dict[Node, Value] = {}
    for node in dict.fromkeys(factor for term in terms.terms for factor in term.factors):
        values[node] = _known(node, evaluate(node, scope), scope)
    matrix = code_terms(terms, values, scope.table.n).matrix
    gaps = gaps_of(values.values())
    if gaps is not None:
        matrix[gaps] = np.nan
        complete &= ~gaps
    return matrix


def _known(node: Node, value: Value, scope: Scope) -> Value:
    template = scope.templates[node]
    if not isinstance(value, Factor) or not isinstance(template, Factor):
        if type(value) is not type(template):
            raise DesignError(
                f"{label(node)} was {kind_of(template)} when the model was built, and is {kind_of(value)} in the new "
                "data. Give the columns it uses the same type as before."
            )
        return value
    known = with_levels(value, template.levels)
    unseen = (known.codes < 0) & (value.codes >= 0)
    if unseen.any():
        row = int(unseen.argmax())
        raise _unseen(label(node), value.levels[value.codes[row]], scope.table.row(row), template.levels)
    return known


def _unseen(name: str, level: str, row: str, levels: tuple[str, ...]) -> DesignError:
    shown = ", ".join(levels[:_SHOWN]) + (", ..." if len(levels) > _SHOWN else "")
    return DesignError(
        f"{name} is {level!r} in {row} of the new data, a level the model was not fitted "
        f"with.{suggestion(level, levels)} Known levels: {shown}. Drop those rows, or refit with data that hold it."
    )


def _random(term: RandomEncoding, scope: Scope, complete: Mask, known: dict[Terms, Array]) -> EncodedRandom:
    """Encode a random term; equal effects of several terms (`known`) are coded once."""
    if term.effects not in known:
        known[term.effects] = _matrix(term.effects, scope, complete)
    values = known[term.effects]
    codes, unseen = group_codes(term.grouping, term.group, [_group_value(node, scope) for node in term.group])
    return EncodedRandom(codes, unseen, values)


def _group_value(node: Node, scope: Scope) -> Value:
    """Evaluate a part of a group; levels are found by their labels, so a bare column may have any type."""
    if isinstance(node, Name) and node.name in scope.table:
        return scope.table.column(node.name)
    return evaluate(node, scope)


def _given_offset(encoding: Encoding, given: Any, data: Any, table: Table) -> Array | None:
    """The offset that comes as an argument beside new data, shape (m,)."""
    if given is None:
        if encoding.offset_array:
            raise DesignError(
                "The model was given offset= as an array, and the new data hold nothing of it: give offset= here too, "
                "one number for each row of the new data, a column of theirs, or 0 for predictions without it."
            )
        return None
    if not encoding.offset_array and encoding.offset_column is None:
        raise DesignError(
            "The model was built without the argument offset=, so predictions take none: add it to them, or build "
            "the model with it. An offset() of the formula is read from the columns of the new data."
        )
    number = np.ndim(given) == 0 and isinstance(given, int | float | np.number) and not isinstance(given, bool)
    whole = np.full(table.n, float(given)) if number else given
    return read_extra("offset", whole, data, table).values


def _offset(encoding: Encoding, scope: Scope, complete: Mask, given: Array | None) -> Array:
    total = np.zeros(scope.table.n)
    parts = [evaluate(node, scope) for node in encoding.offsets]
    if given is not None:
        total = total + given
    elif encoding.offset_column is not None:
        need_column(scope.table, encoding.offset_column, "offset")
        parts.append(column_of(encoding.offset_column, scope))
    for part in parts:
        if isinstance(part, Factor):
            raise DesignError("The offset must be one column of numbers.")
        total = total + part.values
    complete &= ~np.isnan(total)
    return total
