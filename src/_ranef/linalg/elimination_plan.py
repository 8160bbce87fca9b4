"""The order of elimination, chosen once from the pattern of the data.

A factor that is nested in all the others still to go is eliminated level by level and leaves no fill: its levels
touch one level of every other factor. When no such factor is left, the largest of the rest is eliminated with sparse
rows into a dense tail that holds the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy

from _ranef.linalg.blocks import BlockMatrix, PairBlocks, segment_matrix
from _ranef.support.arrays import Ints

__all__ = ["CrossedStep", "NestedStep", "Plan", "elimination_order", "make_plan"]


@dataclass(frozen=True, eq=False, repr=False)
class NestedStep:
    """Eliminate factor `k`, each level of which lies in one level of every factor in `rest`.

    Attributes
    ----------
    parents : mapping l to array of int (J_k,)
        The level of factor l in which each level of k lies.
    into : mapping l to sparse (J_l, J_k)
        Adds up levels of k by parent.
    joint : mapping (l1, l2) to array of int (J_k,)
        Position of (parent in l1, parent in l2) among the pair's blocks.
    into_pair : mapping (l1, l2) to sparse (nnz, J_k)
    where : mapping l to slice
        Columns of factor l when the blocks against all of `rest` stand side by side; ``width`` is their number.
    """

    k: int
    rest: tuple[int, ...]
    parents: Mapping[int, Ints]
    into: Mapping[int, scipy.sparse.csr_array]
    joint: Mapping[tuple[int, int], Ints]
    into_pair: Mapping[tuple[int, int], scipy.sparse.csr_array]
    where: Mapping[int, slice]
    width: int


@dataclass(frozen=True, eq=False, repr=False)
class CrossedStep:
    """Eliminate factor `k` with sparse rows into the dense tail made of the factors in `rest`.

    Attributes
    ----------
    where : mapping l to slice
        Rows of factor l in the tail; ``size`` is the length t of the tail.
    indices, indptr : arrays
        Sparse pattern of the (J_k p_k, t) block.
    order : array, optional
        Its data are the raveled pair blocks, one factor after the other, taken at these places; as they are without.
    often : bool
        The step will be taken thousands of times, so that loading compiled loops pays however small it is.
    """

    k: int
    rest: tuple[int, ...]
    where: Mapping[int, slice]
    size: int
    indices: Ints
    indptr: Ints
    order: Ints | None = None
    often: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """Nested steps from the innermost factor outwards, then at most one crossed step."""

    nested: tuple[NestedStep, ...]
    crossed: CrossedStep | None

    def taken_often(self) -> Plan:
        """The same plan for thousands of factorisations."""
        return replace(self, crossed=replace(self.crossed, often=True)) if self.crossed else self


def elimination_order(A: BlockMatrix) -> list[int]:
    """Factors in the order in which to eliminate them: nested before crossed, larger before smaller."""
    remaining = sorted(range(len(A.diag)), key=lambda k: -A.n_levels[k] * A.sizes[k])
    order = []
    while (k := _next_nested(A, remaining)) is not None:
        remaining.remove(k)
        order.append(k)
    return order + remaining


def make_plan(A: BlockMatrix) -> Plan:
    """Steps that eliminate the factors of `A` in their order (see :func:`elimination_order`)."""
    remaining = list(range(len(A.diag)))
    steps = []
    while remaining and _next_nested(A, remaining) == remaining[0]:
        k = remaining.pop(0)
        steps.append(_nested_step(A, k, tuple(remaining)))
    crossed = _crossed_step(A, remaining[0], tuple(remaining[1:])) if remaining else None
    return Plan(tuple(steps), crossed)


def _next_nested(A: BlockMatrix, remaining: list[int]) -> int | None:
    def touches_one(k: int, l: int) -> bool:
        return bool(A.pairs[min(k, l), max(k, l)].rows.shape[0] == A.n_levels[k])

    return next((k for k in remaining if all(touches_one(k, l) for l in remaining if l != k)), None)


def _nested_step(A: BlockMatrix, k: int, rest: tuple[int, ...]) -> NestedStep:
    parents = {l: A.pairs[k, l].cols for l in rest}
    joint = {
        (l1, l2): _positions(pair, A.n_levels[l2], parents[l1], parents[l2])
        for (l1, l2), pair in A.pairs.items()
        if l1 in rest and l2 in rest
    }
    where, width = _side_by_side(rest, [A.sizes[l] for l in rest])
    return NestedStep(
        k,
        rest,
        parents,
        {l: segment_matrix(parents[l], A.n_levels[l]) for l in rest},
        joint,
        {key: segment_matrix(index, A.pairs[key].rows.shape[0]) for key, index in joint.items()},
        where,
        width,
    )


def _side_by_side(keys: tuple[int, ...], lengths: list[int]) -> tuple[dict[int, slice], int]:
    edges = [0, *np.cumsum(lengths, dtype=int).tolist()]
    return {l: slice(edges[i], edges[i + 1]) for i, l in enumerate(keys)}, edges[-1]


def _positions(pair: PairBlocks, n_cols: int, rows: Ints, cols: Ints) -> Ints:
    return np.searchsorted(pair.rows * n_cols + pair.cols, rows * n_cols + cols)


def _crossed_step(A: BlockMatrix, k: int, rest: tuple[int, ...]) -> CrossedStep:
    where, size = _side_by_side(rest, [A.n_levels[l] * A.sizes[l] for l in rest])
    p, entries = A.sizes[k], sum(A.pairs[k, l].blocks.size for l in rest)
    small = np.int32 if max(size, entries) < np.iinfo(np.int32).max else np.int64  # as scipy would have it
    if p == 1 and len(rest) == 1 and A.sizes[rest[0]] == 1:  # as they stand in order
        pair = A.pairs[k, rest[0]]
        starts = np.append(0, np.cumsum(np.bincount(pair.rows, minlength=A.n_levels[k])))
        return CrossedStep(k, rest, where, size, pair.cols.astype(small), starts.astype(small))
    rows, cols = [], []
    for l in rest:
        pair, q = A.pairs[k, l], A.sizes[l]
        row = pair.rows[:, None, None] * p + np.arange(p)[None, :, None]
        col = where[l].start + pair.cols[:, None, None] * q + np.arange(q)[None, None, :]
        rows.append(np.broadcast_to(row, pair.blocks.shape).ravel())
        cols.append(np.broadcast_to(col, pair.blocks.shape).ravel())
    row, col = np.concatenate(rows), np.concatenate(cols)
    order = np.lexsort((col, row))
    indices: Ints = col[order].astype(small)
    indptr: Ints = np.append(0, np.cumsum(np.bincount(row, minlength=A.n_levels[k] * p))).astype(small)
    return CrossedStep(k, rest, where, size, indices, indptr, order)
