"""A first reading that an engine does: levels, ranges, and sums over the rows of every cell, by one ``GROUP BY``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from _ranef.design.cellsums import CellSums
from _ranef.design.engines import Engine
from _ranef.design.lazy import LazyModule
from _ranef.design.learning import LEVEL_LEARNERS
from _ranef.design.scan import SAMPLE, Found, Plan, look
from _ranef.design.table import EXACT_INTEGER, Table, read_table
from _ranef.design.values import Array, Factor
from _ranef.formula import Name, Node, Terms, walk

__all__ = ["grouped"]

nw: Any = LazyModule("narwhals.stable.v2")

#: a cell must stand for this many rows on average, or rows are read as they are
ROWS_A_CELL = 4


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
    total = int(_only(lazy.select(nw.len().alias("n")))["n"])
    if not total:
        return None
    sample = read_table(engine.sample(plan.columns, SAMPLE, total).to_native())
    if total > SAMPLE and _cells_by(sample, keys) * ROWS_A_CELL > total:
        return None
    complete = lazy.filter(*_present(plan.columns, schema))
    spread = _spread(complete, [*atoms, *([weights] if weights else [])], schema)
    if spread is None or (weights is not None and spread.low[-1] <= 0):
        return None
    rows = _aggregated(complete, keys, atoms, weights, spread)
    sizes = rows["n"]
    own = atoms.index(response.name)
    cells = CellSums(
        {name: rows[name] for name in keys},
        atoms,
        spread.mean[: len(atoms)],
        spread.scale[: len(atoms)],
        _square(rows, len(atoms) + 1),
        float(rows["p0_0"].sum()),
        float(rows["logs"].sum()),
        float(sizes.sum() * spread.mean[own] ** 2 + (sizes.sum() - 1) * spread.sd[own] ** 2),
    )
    given = {} if weights is None else {weights: rows["p0_0"] / sizes}
    found = Found()
    found.add(look(plan, 0, cells.table(cells.means, given)))
    found.rows, found.complete, found.marks = total, int(sizes.sum()), {}
    found.response = float(spread.low[own]), float(spread.high[own])
    if weights is not None:
        found.weights = float(spread.low[-1]), float(spread.high[-1])
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


def _only(lazy: Any) -> dict[str, Any]:
    """The one row of a lazy frame."""
    with _FILTERS, catch_warnings():  # of infinite numbers, which are looked for
        simplefilter("ignore", RuntimeWarning)
        frame = lazy.collect()
    return {name: frame[name].to_list()[0] for name in frame.columns}


@dataclass(frozen=True, eq=False, repr=False)
class _Spread:
    """Of numeric columns over complete rows, each (m,)."""

    mean: Array
    sd: Array
    low: Array
    high: Array

    @property
    def scale(self) -> Array:
        """What columns are divided by: one where a column is constant."""
        return np.where(self.sd > 0, self.sd, 1.0)


def _spread(complete: Any, columns: Sequence[str], schema: Mapping[str, Any]) -> _Spread | None:
    """None where a number is infinite, or an integer too large for one, so that the rows can say which."""
    numbers = [nw.col(name).cast(nw.Float64) for name in columns]
    asked = {"mean": "mean", "sd": "std", "low": "min", "high": "max"}
    row = _only(
        complete.select(
            *(getattr(x, how)().alias(f"{what}{k}") for what, how in asked.items() for k, x in enumerate(numbers))
        )
    )
    out = {what: np.array([_number(row[f"{what}{k}"]) for k in range(len(columns))]) for what in asked}
    spread = _Spread(out["mean"], np.nan_to_num(out["sd"]), out["low"], out["high"])
    whole = [schema[name].is_integer() for name in columns]
    size = np.maximum(np.abs(spread.low), np.abs(spread.high))
    return spread if np.isfinite(size).all() and not (size[whole] > EXACT_INTEGER).any() else None


def _number(given: Any) -> float:
    return float("nan") if given is None else float(given)


def _aggregated(
    complete: Any, keys: Sequence[str], atoms: Sequence[str], weights: str | None, spread: _Spread
) -> dict[str, Any]:
    """One row for each cell: its levels, the number of rows, Σ w a aᵀ by pairs, and Σ log w."""
    names = ["a0", *(f"a{k + 1}" for k in range(len(atoms)))]
    scaled = complete.with_columns(
        nw.lit(1.0).alias("a0"),
        *(
            ((nw.col(name).cast(nw.Float64) - float(middle)) / float(half)).alias(f"a{k + 1}")
            for k, (name, middle, half) in enumerate(zip(atoms, spread.mean, spread.scale, strict=False))
        ),
        (nw.lit(1.0) if weights is None else nw.col(weights).cast(nw.Float64)).alias("w"),
    )
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1)]
    multiplied = scaled.with_columns(
        *((nw.col("w") * nw.col(names[i]) * nw.col(names[j])).alias(f"p{i}_{j}") for i, j in pairs),
        nw.col("w").log().alias("logs"),
    )
    frame = (
        multiplied.group_by(*keys)
        .agg(
            nw.len().alias("n"),
            *(nw.col(f"p{i}_{j}").sum() for i, j in pairs),
            nw.col("logs").sum(),
        )
        .collect()
    )
    sums = {name: frame[name].to_numpy().astype(np.float64) for name in frame.columns if name not in keys}
    return sums | {name: frame[name] for name in keys}


def _square(rows: Mapping[str, Any], size: int) -> Array:
    """Σ w a aᵀ (C, size, size) from its pairs."""
    out = np.empty((len(rows["n"]), size, size))
    for i in range(size):
        for j in range(i + 1):
            out[:, i, j] = out[:, j, i] = rows[f"p{i}_{j}"]
    return out
