"""A first reading that an engine does: levels, ranges, and sums over the rows of every cell, by one ``GROUP BY``.

Its numbers are shifted and scaled by what a sample of rows says of them, so that nothing has to be asked before.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from threading import Lock
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from _ranef.design.cellsums import CellSums
from _ranef.design.engines import Engine
from _ranef.design.expression_values import Array, Factor, Numeric
from _ranef.design.first_reading import SAMPLE, Found, Plan, look
from _ranef.design.lazy import LazyModule
from _ranef.design.stateful import LEVEL_LEARNERS
from _ranef.design.table import EXACT_INTEGER, Table, read_table
from _ranef.formula import Name, Node, Terms, walk

__all__ = ["grouped"]

nw: Any = LazyModule("narwhals.stable.v2")

#: a cell must stand for this many rows on average, or rows are read as they are
ROWS_A_CELL = 4

#: of a response, the share of its size within which all of it may be one number
CONSTANT = 1e-10


def grouped(plan: Plan, engine: Engine) -> tuple[Found, CellSums] | None:
    """What a first reading finds, and the sums by cells, asked of the engine.

    None where rows have to be read: a formula that must learn from them, that is not affine in the numeric columns
    within cells, or whose cells are nearly as many as the rows.
    """
    lazy = engine.lazy
    schema = lazy.collect_schema()
    moments = [call for call in plan.learners if call.function not in LEVEL_LEARNERS]
    if moments or plan.parsed.others or any(name not in schema for name in plan.columns):
        return None
    keys, atoms = _split(plan, schema)
    if not keys or any(not schema[name].is_numeric() for name in atoms):
        return None
    weights, response = plan.extras.get("weights"), plan.parsed.response
    if not isinstance(response, Name) or response.name not in atoms:
        return None
    total = int(_collected(lazy.select(nw.len().alias("n")))["n"].to_list()[0])
    if not total:
        return None
    sample = read_table(engine.sample(plan.columns, SAMPLE, total).to_native())
    if total > SAMPLE and _cells_by(sample, keys) * ROWS_A_CELL > total:
        return None
    pilot = _Pilot.of(sample, atoms)
    if pilot is None:
        return None
    complete, own = lazy.filter(*_present(plan.columns, schema)), atoms.index(response.name)
    asked = _Asked(keys, pilot, weights, _aggregated(complete, keys, pilot, weights, response.name))
    if not asked.usable([schema[name].is_integer() for name in atoms], own):
        return None
    cells = asked.cells(own)
    given = {} if weights is None else {weights: asked.heavy / asked.n}
    found = Found()
    found.add(look(plan, 0, cells.table(cells.means, given)))
    found.rows, found.complete, found.marks = total, int(asked.n.sum()), {}
    found.response = asked.within(own)
    if weights is not None:
        found.weights = float(asked.rows["low"].min()), float(asked.rows["high"].max())
    found.sample = [(np.arange(sample.n), sample)]
    return found, cells


def _split(plan: Plan, schema: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns whose values make cells, and the numeric ones in which everything is affine within cells."""
    keys = {name for name in plan.columns if not schema[name].is_numeric()}
    for node in plan.nodes:
        if not isinstance(node, Name):
            keys |= _names(node)
    for random in plan.parsed.random:
        keys |= {name for node in random.group for name in _names(node)}
    parts: Sequence[Terms] = [plan.parsed.fixed, *(random.effects for random in plan.parsed.random)]
    for term in (term for part in parts for term in part.terms):
        products = [name for node in term.factors for name in _names(node) if name not in keys]
        keys |= set(products[:-1])  # of two numeric columns multiplied one makes cells
    read = {name for node in plan.nodes for name in _names(node)} | {plan.extras.get("offset")}
    atoms = (name for name in plan.columns if name in read - keys)  # weights alone are none
    return tuple(name for name in plan.columns if name in keys), tuple(atoms)


def _names(node: Node) -> set[str]:
    return {part.name for part in walk(node) if isinstance(part, Name)}


def _cells_by(sample: Table, keys: Sequence[str]) -> float:
    """How many cells there may be, by how few occur twice among rows taken by chance."""
    codes = [_codes(sample, name) for name in keys]
    n, distinct = sample.n, len(np.unique(np.column_stack(codes), axis=0))
    if distinct >= n:
        return np.inf
    low, high = float(distinct), float(n) ** 2
    for _ in range(60):  # distinct = J (1 - exp(-n / J)), were all of one size
        middle = np.sqrt(low * high)
        low, high = (middle, high) if -middle * np.expm1(-n / middle) < distinct else (low, middle)
    return high


def _codes(table: Table, name: str) -> Array:
    value = table.column(name)
    return np.asarray(value.codes if isinstance(value, Factor) else value.values, dtype=np.float64)


def _present(columns: Sequence[str], schema: Mapping[str, Any]) -> list[Any]:
    gaps = [~nw.col(name).is_null() for name in columns]
    return gaps + [~nw.col(name).is_nan() for name in columns if schema[name].is_float()]


#: filters of warnings are those of the process: two threads within them would leave one behind
_FILTERS = Lock()


def _collected(lazy: Any) -> Any:
    with _FILTERS, catch_warnings():  # of infinite numbers and the logarithm of zero, which are looked for
        simplefilter("ignore", RuntimeWarning)
        return lazy.collect()


@dataclass(frozen=True, eq=False, repr=False)
class _Pilot:
    """What numeric columns (m,) are shifted by before they are multiplied, and divided by after: nearly means, sds."""

    columns: tuple[str, ...]
    shift: Array
    scale: Array

    @classmethod
    def of(cls, sample: Table, columns: tuple[str, ...]) -> _Pilot | None:
        """From some rows; None where a column has no finite number in any of them."""
        found = []
        for name in columns:
            value = sample.column(name)
            finite = value.values[np.isfinite(value.values)] if isinstance(value, Numeric) else np.empty(0)
            if not finite.size:
                return None
            found.append((finite.mean(), finite.std() or 1.0))
        shift, scale = np.array(found).T
        return cls(columns, shift, scale)


def _aggregated(
    complete: Any, keys: Sequence[str], pilot: _Pilot, weights: str | None, response: str
) -> dict[str, Any]:
    """One row for each cell, by one query, under names that no column of the user's can have taken.

    These are the levels `key`, the number of rows, and Σ w a aᵀ by pairs of columns less their shift; with weights also
    Σ log w, their range, and Σ y² without them.
    """
    size, heavy = len(pilot.columns) + 1, [] if weights is None else ["w"]
    products = {f"p{i}_{j}": [*(f"a{k}" for k in (i, j) if k), *heavy] for i in range(size) for j in range(i + 1)}
    if not heavy:
        del products["p0_0"]  # the number of rows
    short = [f"key{k}" for k in range(len(keys))]
    shifted = zip(pilot.columns, pilot.shift.tolist(), strict=True)
    read = complete.select(
        *(nw.col(name).alias(own) for name, own in zip(keys, short, strict=True)),
        *((_number(name) - middle).alias(f"a{k}") for k, (name, middle) in enumerate(shifted, 1)),
        *([] if weights is None else [_number(weights).alias("w"), _number(response).alias("y")]),
    )
    multiplied = read.with_columns(
        *(reduce(operator.mul, map(nw.col, names)).alias(what) for what, names in products.items()),
        *(nw.col(name).log().alias("logs") for name in heavy),
        *((nw.col("y") * nw.col("y")).alias("yy") for _ in heavy),
    )
    frame = _collected(
        multiplied.group_by(*short).agg(
            nw.len().alias("n"),
            *(nw.col(name).sum() for name in [*products, *(["logs", "yy"] if heavy else [])]),
            *(nw.col(name).min().alias("low") for name in heavy),
            *(nw.col(name).max().alias("high") for name in heavy),
        )
    )
    return {name: frame[name] if name in short else frame[name].to_numpy().astype(float) for name in frame.columns}


def _number(name: str) -> Any:
    return nw.col(name).cast(nw.Float64)


@dataclass(frozen=True, eq=False, repr=False)
class _Asked:
    """What one query has told of every cell."""

    keys: Sequence[str]
    pilot: _Pilot
    weights: str | None
    rows: Mapping[str, Any]

    @property
    def n(self) -> Array:
        """Rows of each cell (C,)."""
        n: Array = self.rows["n"]
        return n

    @property
    def heavy(self) -> Array:
        """Σ w of each (C,)."""
        return self.n if self.weights is None else self.rows["p0_0"]

    def within(self, k: int) -> tuple[float, float]:
        """Ends between which all values of a numeric column lie; the same where there is but one."""
        least = 1.0 if self.weights is None else self.rows["low"].min()
        away = float(np.sqrt(self.rows[f"p{k + 1}_{k + 1}"].max() / least))
        return self.pilot.shift[k] - away, self.pilot.shift[k] + away

    def usable(self, whole: Sequence[bool], own: int) -> bool:
        """Whether no number is infinite, no integer too large for one, no weight zero, and the response not constant.

        Else, and where it is not certain, the rows say which is.
        """
        sums = [rows for name, rows in self.rows.items() if name.startswith("p")]
        if not self.n.size or not all(np.isfinite(rows).all() for rows in sums):
            return False
        if self.weights is not None and not self.rows["low"].min() > 0:
            return False
        if any(max(map(abs, self.within(k))) > EXACT_INTEGER for k, integer in enumerate(whole) if integer):
            return False
        low, high = self.within(own)
        return high - low > CONSTANT * max(abs(low), abs(high))

    def cells(self, own: int) -> CellSums:
        """The sums over their rows; the response is the numeric column `own`."""
        pilot, rows = self.pilot, self.rows
        size, scale = len(pilot.columns) + 1, np.append(1.0, pilot.scale)
        products = np.empty((len(self.n), size, size))
        for i in range(size):
            for j in range(i + 1):
                sums = rows[f"p{i}_{j}"] if i else self.heavy
                products[:, i, j] = products[:, j, i] = sums / (scale[i] * scale[j])
        if self.weights is None:
            centre = pilot.shift[own]
            total, squared = rows[f"p{own + 1}_0"].sum(), rows[f"p{own + 1}_{own + 1}"].sum()
            squares = self.n.sum() * centre**2 + 2.0 * centre * total + squared
        else:
            squares = rows["yy"].sum()
        return CellSums(
            {name: rows[f"key{k}"] for k, name in enumerate(self.keys)},
            pilot.columns,
            pilot.shift,
            pilot.scale,
            products,
            float(self.heavy.sum()),
            0.0 if self.weights is None else float(rows["logs"].sum()),
            float(squares),
        )
