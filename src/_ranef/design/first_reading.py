"""The first of two readings of data in chunks: rows counted, levels and means found, a few rows kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from _ranef.design.build import check_response, model_nodes
from _ranef.design.checks import check_positive, constant_response, warn_of_spread
from _ranef.design.chunks import Chunks
from _ranef.design.evaluate import Scope, columns_in, evaluate
from _ranef.design.expression_values import (
    Codes,
    Factor,
    Mask,
    Numeric,
    Value,
    as_factor,
    blank,
    gaps_of,
    kind_of,
    missing,
    take,
)
from _ranef.design.fingerprint import added, fingerprint
from _ranef.design.levels import Levels, Seen, levels_seen
from _ranef.design.stateful import LEVEL_LEARNERS, Moments, check_learners, learning_argument, neutral_state
from _ranef.design.table import Table, need_column
from _ranef.design.text_like_numbers import look_of
from _ranef.design.transforms import Transform
from _ranef.errors import DesignError
from _ranef.formula import Call, Name, Node, ParsedFormula, label, walk
from _ranef.support.progress import LateBar

__all__ = ["SAMPLE", "Found", "Plan", "look", "of_one_factor", "scan"]

#: rows kept of the data at least; all where there are no more
SAMPLE = 20_000


def scan(plan: Plan, chunks: Chunks) -> Found:
    """Read all chunks once and add up what is found in them, by their workers where they have any."""
    found, partitions = Found(), chunks.partitions
    if partitions is not None and set(plan.columns) <= set(partitions.frame.columns):
        stride = 1 << (sum(partitions.lengths) // SAMPLE).bit_length()
        for facts in partitions.mapped(partial(_look_and_thin, plan, stride), plan.columns):
            found.add(facts)
        return found
    with LateBar("Reading chunks for levels", "row") as bar:
        for before, table in chunks.tables(plan.columns):
            found.add(look(plan, before, table))
            bar.update(table.n)
    return found


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What to look at in every chunk."""

    parsed: ParsedFormula
    nodes: tuple[Node, ...]
    extras: Mapping[str, str]
    columns: tuple[str, ...]
    transforms: Mapping[str, Transform]
    learners: Mapping[Call, Node]
    na_action: str

    @classmethod
    def of(
        cls, parsed: ParsedFormula, given: Mapping[str, Any], transforms: Mapping[str, Transform], na_action: str
    ) -> Plan:
        """The plan for a formula and the columns `given` as weights and offset."""
        extras = {what: name for what, name in given.items() if name is not None}
        for what, name in extras.items():
            if not isinstance(name, str):
                raise DesignError(
                    f"{what} is of type {type(name).__name__}; where the data come in chunks it must name a column."
                )
        nodes = tuple(model_nodes(parsed))
        stateful = {name for name, transform in transforms.items() if transform.stateful}
        learners: dict[Call, Node] = {}
        for node in nodes:
            for call in check_learners(node, stateful):
                learners.setdefault(call, node)
        names = [part.name for node in nodes for part in walk(node) if isinstance(part, Name)]
        return cls(
            parsed, nodes, extras, tuple(dict.fromkeys([*names, *extras.values()])), transforms, learners, na_action
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Facts:
    """What was found in one chunk; levels, kinds and ranges are those of complete rows."""

    positions: Codes
    table: Table
    rows: int
    first: str
    complete: int
    gaps: Mapping[str, int]
    marks: Mapping[str, int]
    columns: Mapping[str, Value] = field(default_factory=dict)
    values: Mapping[Node, Value] = field(default_factory=dict)
    column_levels: Mapping[str, Seen] = field(default_factory=dict)
    node_levels: Mapping[Node, Seen] = field(default_factory=dict)
    call_levels: Mapping[Call, Seen] = field(default_factory=dict)
    moments: Mapping[Call, Moments] = field(default_factory=dict)
    cells: Mapping[tuple[Node, ...], set[tuple[str, ...]]] = field(default_factory=dict)
    strata: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    response: tuple[float, float] = (np.inf, -np.inf)
    weights: tuple[float, float] = (np.inf, -np.inf)

    def thinned(self, stride: int) -> _Facts:
        """The same with the rows whose positions are multiples of `stride` alone."""
        rows = np.flatnonzero(self.positions % stride == 0)
        return replace(self, positions=self.positions[rows], table=self.table.taken(rows))


def _look_and_thin(plan: Plan, stride: int, before: int, table: Table) -> _Facts:
    """The same with few of the rows."""
    return look(plan, before, table).thinned(stride)


def look(plan: Plan, before: int, table: Table) -> _Facts:
    """What one chunk has; `before` is the number of rows before it."""
    scope = Scope(table, plan.parsed.source, plan.transforms, {call: neutral_state(call) for call in plan.learners})
    columns = {name: column for node in plan.nodes for name, column in columns_in(node, scope).items()}
    extras = {what: _numbers(need_column(table, name, what), name, what) for what, name in plan.extras.items()}
    complete, gaps = _complete({**extras, **columns}, table, plan.na_action)
    learnt_levels, moments = _learnt(plan, scope)  # from rows that may miss something else, as in one frame
    read = {**columns, **{plan.extras[what]: column for what, column in extras.items()}}
    marks = {name: fingerprint(column, before) for name, column in read.items()}
    positions, first = before + np.arange(table.n), table.row(0) if table.n else ""
    nothing = _Facts(positions, table, table.n, first, 0, gaps, marks, call_levels=learnt_levels, moments=moments)
    if not complete.any():
        return nothing
    values = {node: _value(node, columns, scope) for node in plan.nodes}
    check_response(values[plan.parsed.response], label(plan.parsed.response))
    computed = {label(node): value for node, value in values.items() if not isinstance(node, Name)}
    inner, more = _complete(computed, table, plan.na_action)
    complete, gaps = complete & inner, gaps | more
    if not complete.any():
        return replace(nothing, gaps=gaps)
    kept = {node: value if complete.all() else take(value, complete) for node, value in values.items()}
    groups = {node for term in plan.parsed.random for node in term.group} | set(plan.parsed.others)
    return _Facts(
        positions,
        table,
        table.n,
        first,
        int(complete.sum()),
        gaps,
        marks,
        {name: blank(column) for name, column in columns.items()},
        {node: blank(value) for node, value in values.items()},
        {n: levels_seen(take(c, complete)) for n, c in columns.items() if isinstance(c, Factor)},
        {node: levels_seen(v) for node, v in kept.items() if isinstance(v, Factor) or node in groups},
        learnt_levels,
        moments,
        {term.group: set(_cells(kept, term.group)) for term in plan.parsed.random if len(term.group) > 1},
        _cells(kept, plan.parsed.others) if plan.parsed.others else {},
        _range(kept[plan.parsed.response]),
        _weights_range(extras["weights"], complete, table) if "weights" in extras else (np.inf, -np.inf),
    )


def _numbers(column: Value, name: str, what: str) -> Numeric:
    if isinstance(column, Factor) and (look := look_of(column.levels)) is not None:
        raise DesignError(f"{what}={name!r} is text that looks like {look.words}: {look.advice(name)}.")
    if not isinstance(column, Numeric):
        raise DesignError(f"{what}={name!r} must be a column of numbers, and is {kind_of(column)}. Convert it.")
    return column


def _complete(values: Mapping[str, Value], table: Table, na_action: str) -> tuple[Mask, dict[str, int]]:
    """Which rows miss nothing, and how many values each column misses."""
    complete = np.ones(table.n, dtype=bool)
    gaps: dict[str, int] = {}
    for name, value in {id(value): (name, value) for name, value in values.items()}.values():
        mask = gaps_of([value])
        if mask is not None:
            gaps[name] = int(mask.sum())
            complete &= ~mask
            if na_action == "error":
                raise DesignError(
                    f"{name} is missing in {table.row(int(mask.argmax()))}, and na_action='error' refuses that. Fill "
                    "it in, or drop such rows, as na_action='omit' does."
                )
    return complete, gaps


def of_one_factor(node: Node, columns: Mapping[str, Value]) -> str | None:
    """The only column of an expression, if it is a factor: then its values are a matter of levels, not of rows."""
    names = {part.name for part in walk(node) if isinstance(part, Name) and part.name in columns}
    name = names.pop() if len(names) == 1 else None
    return name if name is not None and isinstance(columns[name], Factor) else None


def _value(node: Node, columns: Mapping[str, Value], scope: Scope) -> Value:
    """The value of an expression; of a function of one factor that factor, missing where the function is."""
    name = of_one_factor(node, columns)
    if name is None or isinstance(node, Name):
        return evaluate(node, scope)
    column = columns[name]
    assert isinstance(column, Factor)
    try:
        gaps = missing(evaluate(node, scope))
    except DesignError:  # it names a level that this chunk has not
        return column
    return replace(column, codes=np.where(gaps, -1, column.codes))


def _learnt(plan: Plan, scope: Scope) -> tuple[dict[Call, Seen], dict[Call, Moments]]:
    """What each stateful call can learn here, on the rows where its whole expression is complete."""
    levels, moments = {}, {}
    for call, node in plan.learners.items():
        rows = np.ones(scope.table.n, dtype=bool)
        for column in columns_in(node, scope).values():
            rows &= ~missing(column)
        if not rows.any():
            continue
        argument = take(evaluate(learning_argument(call), scope), rows)
        if call.function in LEVEL_LEARNERS:
            levels[call] = levels_seen(argument)
        elif not isinstance(argument, Factor):
            moments[call] = Moments.of(argument.values)
    return levels, moments


def _cells(values: Mapping[Node, Value], group: tuple[Node, ...]) -> dict[tuple[str, ...], int]:
    """How many rows have each combination of levels that occurs."""
    factors = [as_factor(values[node]) for node in group]
    present, counts = np.unique(np.column_stack([factor.codes for factor in factors]), axis=0, return_counts=True)
    labels = (tuple(f.levels[code] for f, code in zip(factors, row, strict=True)) for row in present.tolist())
    return dict(zip(labels, counts.tolist(), strict=True))


def _range(value: Value) -> tuple[float, float]:
    assert not isinstance(value, Factor)
    return float(value.values.min()), float(value.values.max())


def _weights_range(weights: Numeric, complete: Mask, table: Table) -> tuple[float, float]:
    rows = np.flatnonzero(complete)
    check_positive(weights.values[rows], table, rows)
    return _range(take(weights, rows))


@dataclass(eq=False, repr=False)
class Found:
    """What was found in all chunks."""

    rows: int = 0
    complete: int = 0
    gaps: dict[str, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    columns: dict[str, Value] = field(default_factory=dict)
    values: dict[Node, Value] = field(default_factory=dict)
    column_levels: dict[str, Levels] = field(default_factory=dict)
    node_levels: dict[Node, Levels] = field(default_factory=dict)
    call_levels: dict[Call, Levels] = field(default_factory=dict)
    moments: dict[Call, Moments] = field(default_factory=dict)
    cells: dict[tuple[Node, ...], set[tuple[str, ...]]] = field(default_factory=dict)
    strata: Counter[tuple[str, ...]] = field(default_factory=Counter)
    response: tuple[float, float] = (np.inf, -np.inf)
    weights: tuple[float, float] = (np.inf, -np.inf)
    sample: list[tuple[Codes, Table]] = field(default_factory=list)
    stride: int = 1

    def add(self, facts: _Facts) -> None:
        """Add what was found in the next chunk."""
        self.rows += facts.rows
        self.complete += facts.complete
        self.marks = added(self.marks, facts.marks)
        for name, count in facts.gaps.items():
            self.gaps[name] = self.gaps.get(name, 0) + count
        for name, column in facts.columns.items():
            self.columns[name] = _same_kind(name, self.columns.get(name), column, facts)
        for node, value in facts.values.items():
            self.values[node] = _same_kind(label(node), self.values.get(node), value, facts)
        _add_levels(self.column_levels, facts.column_levels)
        _add_levels(self.node_levels, facts.node_levels)
        _add_levels(self.call_levels, facts.call_levels)
        for call, moments in facts.moments.items():
            self.moments[call] = self.moments[call].merge(moments) if call in self.moments else moments
        for group, cells in facts.cells.items():
            self.cells.setdefault(group, set()).update(cells)
        self.strata.update(facts.strata)
        self.response = _wider(self.response, facts.response)
        self.weights = _wider(self.weights, facts.weights)
        self._keep(facts)

    def _keep(self, facts: _Facts) -> None:
        """Keep every row whose position is a multiple of the stride, which doubles when there are too many."""
        while sum(len(positions) for positions, _ in self.sample) + len(facts.positions) // self.stride > 2 * SAMPLE:
            self.stride *= 2
            self.sample = [_thinned(positions, piece, self.stride) for positions, piece in self.sample]
        self.sample.append(_thinned(facts.positions, facts.table, self.stride))

    def check(self, plan: Plan, sigma: float | None) -> None:
        """Refuse what no model can be built from."""
        if not self.rows:
            raise DesignError("The data are empty: no chunk has a row. Check the step that reads or filters them.")
        if not self.complete:
            most = max(self.gaps, key=self.gaps.__getitem__)
            raise DesignError(
                f"No row is complete: each of the {self.rows} rows misses a value that the model uses, most often "
                f"{most} ({self.gaps[most]} rows). Leave out the variables that are rarely there."
            )
        if sigma is None and self.response[0] == self.response[1]:
            raise constant_response(self.response[0], self.complete, label(plan.parsed.response))
        if "weights" in plan.extras:
            warn_of_spread(*self.weights)


def _add_levels(all_levels: dict[Any, Levels], found: Mapping[Any, Seen]) -> None:
    for key, seen in found.items():
        all_levels.setdefault(key, Levels()).add(seen)


def _wider(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    return min(first[0], second[0]), max(first[1], second[1])


def _thinned(positions: Codes, table: Table, stride: int) -> tuple[Codes, Table]:
    rows = np.flatnonzero(positions % stride == 0)
    return positions[rows], table.taken(rows)


def _same_kind(name: str, known: Value | None, value: Value, facts: _Facts) -> Value:
    if known is not None and type(known) is not type(value):
        raise DesignError(
            f"{name} is {kind_of(known)} in the first chunks, and {kind_of(value)} in the one that begins with "
            f"{facts.first}. Give it one type in all of them."
        )
    return value
