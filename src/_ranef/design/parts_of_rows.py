"""The rows of a design: all at once, chunk by chunk, or a sample of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, NoReturn, TypeVar

import numpy as np

from _ranef.design.chunks import Chunks
from _ranef.design.evaluate import column_of, evaluate
from _ranef.design.expression_values import (
    Codes,
    Factor,
    Value,
    as_factor,
    gaps_of,
    kind_of,
    missing,
    take,
    with_levels,
)
from _ranef.design.fingerprint import added, fingerprint
from _ranef.design.newdata import encode_in, others_in, scope_of
from _ranef.design.records import Design, RandomDesign, Stream
from _ranef.design.table import Table, column_names
from _ranef.errors import DesignError, RowsNotHeld

__all__ = ["gathered", "reduced_parts", "row_parts", "sample_rows", "take_rows", "without_rows"]

Result = TypeVar("Result")

#: numbers that rows in chunks may fill memory with, where something needs them all at once: 2 GB
MOST_ENTRIES = 250_000_000

_SAME = "They must hold the same rows every time, in one order; a function must begin anew at every call."


def row_parts(design: Design) -> Iterator[Design]:
    """The design with its rows: itself, or a design of each chunk that has complete rows."""
    if design.stream is None:
        yield design
        return
    stream, n = design.stream, 0
    marks: dict[str, int] = {}
    for before, table in stream.chunks.tables(stream.columns):
        _check_columns(design, table)
        marks = added(marks, {name: fingerprint(table.column(name), before) for name in stream.columns})
        part = _part(design, stream, before, table)
        if part is not None:
            n += len(part.y)
            yield part
    _check_same(stream, marks, n)


def without_rows(design: Design) -> Design:
    """The design without a way to its rows, of which it keeps none."""
    assert design.stream is not None
    return replace(design, stream=replace(design.stream, chunks=Chunks(_elsewhere), sample=(), marks={}, cells=None))


def rows_elsewhere(design: Design) -> bool:
    """Whether there is no way to the rows: of sums, and of what a file stands for."""
    if design.stream is None:
        return False
    return not isinstance(design.stream.chunks, Chunks) or design.stream.chunks.read is _elsewhere


def _elsewhere(columns: Sequence[str]) -> NoReturn:
    raise RowsNotHeld(
        "This needs the rows, and the model was built from sums over rows that are elsewhere. Estimates, tests, "
        "intervals and predict(new) need none; for fitted values and residuals predict where the rows are, from the "
        "saved fit."
    )


def reduced_parts(
    design: Design, work: Callable[[Design], Result], merge: Callable[[Result, Result], Result]
) -> Result | None:
    """What `work` makes of the rows, part by part where they stand on workers, merged there; None where they do not."""
    stream = design.stream
    if stream is None or stream.chunks.partitions is None:
        return None
    bare = without_rows(design)
    found: _Worked[Result] = stream.chunks.partitions.reduced(
        partial(_worked, bare, work), partial(_both, merge), stream.columns
    )
    _check_same(stream, found.marks, found.n)
    return found.value


@dataclass(frozen=True, eq=False)
class _Worked(Generic[Result]):
    """Of some rows what was made of them, if any is complete; their checksums, and how many are complete."""

    value: Result | None
    marks: Mapping[str, int]
    n: int


def _worked(design: Design, work: Callable[[Design], Result], before: int, table: Table) -> _Worked[Result]:
    assert design.stream is not None
    _check_columns(design, table)
    marks = {name: fingerprint(table.column(name), before) for name in design.stream.columns}
    part = _part(design, design.stream, before, table)
    return _Worked(None, marks, 0) if part is None else _Worked(work(part), marks, len(part.y))


def _both(merge: Callable[[Result, Result], Result], one: _Worked[Result], other: _Worked[Result]) -> _Worked[Result]:
    value = one.value if other.value is None else other.value
    if one.value is not None and other.value is not None:
        value = merge(one.value, other.value)
    return _Worked(value, added(one.marks, other.marks), one.n + other.n)


def gathered(design: Design) -> Design:
    """The design with all of its rows in memory.

    Raises
    ------
    RowsNotHeld
        If they would fill it, or are not there.
    """
    if design.stream is None:
        return design
    parts, columns = row_parts(design), len(design.fixed_names) + sum(len(r.columns) + 1 for r in design.random) + 2
    kept = [next(parts)]  # where there are no rows, that is said first
    if (entries := design.n_obs * columns) > MOST_ENTRIES:
        raise RowsNotHeld(
            f"This needs the {design.n_obs} rows in memory at once, {8e-9 * entries:.1f} GB, and it reads at most "
            f"{8e-9 * MOST_ENTRIES:.0f} of rows in chunks. fitted(), residuals(), augment(), hatvalues() and "
            "cooks_distance() read them by parts, and predict() takes new data; for anything else build the model "
            "from some of the rows."
        )
    return _joined(design, [*kept, *parts])


def _check_columns(design: Design, table: Table) -> None:
    """Refuse a chunk that lacks a column it had, or holds it as another type."""
    assert design.stream is not None
    for name in design.stream.columns:
        if name not in table:
            raise DesignError(
                f"The chunk that begins with {table.row(0)} has no column {name!r}, which was there when the chunks "
                f"were read first. {_SAME} Its columns: {column_names(table)}."
            )
        known, column = design.encoding.kinds.get(name), table.column(name)
        if known is not None and isinstance(known, Factor) != isinstance(column, Factor) and not missing(column).all():
            raise DesignError(
                f"{name} is {kind_of(column)} in the chunk that begins with {table.row(0)}, and was {kind_of(known)} "
                f"when the chunks were read first. {_SAME}"
            )


def _check_same(stream: Stream, marks: Mapping[str, int], n: int) -> None:
    """Refuse rows that are not those of the first reading."""
    if n != stream.n_obs:
        raise DesignError(
            f"The chunks held {stream.n_obs} complete rows when they were read first, and {n} now. {_SAME}"
        )
    changed = [name for name in stream.columns if marks.get(name) != stream.marks.get(name)]
    if changed and stream.cells is None:  # an engine that made sums has shown no rows
        raise DesignError(
            f"The chunks hold other values of {', '.join(changed)} than when they were read first, or hold them in "
            f"another order. {_SAME}"
        )


def sample_rows(design: Design, most: int) -> Design:
    """A design of at most `most` of the rows, evenly chosen; itself if it has no more."""
    stream = design.stream
    whole = design if stream is None else _joined(design, list(_encoded(design, stream, stream.sample)))
    n = len(whole.y)
    return whole if n <= most else take_rows(whole, np.arange(0, n, -(-n // most)))


def _encoded(design: Design, stream: Stream, tables: Iterable[tuple[int, Table]]) -> Iterator[Design]:
    parts = (_part(design, stream, before, table) for before, table in tables)
    return (part for part in parts if part is not None)


def _part(design: Design, stream: Stream, before: int, table: Table) -> Design | None:
    """Encode the complete rows of a chunk; None where it has none."""
    positions = np.arange(before, before + table.n)
    gaps = gaps_of(table.column(name) for name in stream.columns)
    if gaps is not None:  # what an incomplete row holds may be found nowhere else
        positions, table = positions[~gaps], table.taken(np.flatnonzero(~gaps))
    if not table.n:
        return None
    scope = scope_of(design.encoding, table)
    encoded = encode_in(scope, design.encoding)
    response = evaluate(stream.response, scope)
    assert not isinstance(response, Factor)
    y, weights = response.values, None
    complete = encoded.complete & ~np.isnan(y)
    if stream.weights is not None:
        column = column_of(stream.weights, scope)
        assert not isinstance(column, Factor)
        weights = column.values
    random = []
    for term, known in zip(encoded.random, design.random, strict=True):
        assert term is not None
        if term.unseen:
            raise DesignError(
                f"{known.group} has the level {term.unseen[0]!r}, which was not there when the chunks were read "
                f"first. {_SAME}"
            )
        complete &= term.codes >= 0
        random.append(replace(known, codes=term.codes, values=term.values))
    others = others_in(scope, design.encoding)
    for value in others:
        complete &= ~missing(value)
    has_offset = design.encoding.offsets or design.encoding.offset_column
    part = replace(
        design,
        y=y,
        X=encoded.X,
        random=tuple(random),
        weights=weights,
        offset=encoded.offset if has_offset else None,
        index=table.index,
        rows=positions,
        stream=None,
        others=others,
    )
    if complete.all():
        return part
    return take_rows(part, np.flatnonzero(complete)) if complete.any() else None


def take_rows(design: Design, rows: Codes) -> Design:
    """A design of some of the rows, by position; levels and columns stay, whether those rows use them or not."""
    return replace(
        design,
        y=design.y[rows],
        X=design.X[rows],
        random=tuple(replace(r, codes=r.codes[rows], values=r.values[rows]) for r in design.random),
        weights=None if design.weights is None else design.weights[rows],
        offset=None if design.offset is None else design.offset[rows],
        index=design.index[rows],
        rows=design.rows[rows],
        others=tuple(take(value, rows) for value in design.others),
    )


def _joined(design: Design, parts: list[Design]) -> Design:
    """One design of the rows of all parts."""
    first = parts[0]

    def random(k: int) -> RandomDesign:
        same = [part.random[k] for part in parts]
        return replace(
            same[0], codes=np.concatenate([r.codes for r in same]), values=np.concatenate([r.values for r in same])
        )

    return replace(
        design,
        y=np.concatenate([part.y for part in parts]),
        X=np.concatenate([part.X for part in parts]),
        random=tuple(random(k) for k in range(len(first.random))),
        weights=None if first.weights is None else np.concatenate([p.weights for p in parts if p.weights is not None]),
        offset=None if first.offset is None else np.concatenate([p.offset for p in parts if p.offset is not None]),
        index=first.index.append([part.index for part in parts[1:]]),
        rows=np.concatenate([part.rows for part in parts]),
        stream=None,
        others=tuple(_chained(values) for values in zip(*(part.others for part in parts), strict=True)),
    )


def _chained(values: Sequence[Value]) -> Factor:
    """One factor after the other, levels matched by label."""
    factors = [as_factor(value) for value in values]
    levels = tuple(dict.fromkeys(level for factor in factors for level in factor.levels))
    return Factor(np.concatenate([with_levels(factor, levels).codes for factor in factors]), levels)
