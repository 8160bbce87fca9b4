"""Sums over rows: [Z X y]ᵀW[Z X y] by levels and pairs of levels, which add up in any order.

This is all that a fit needs from the rows, so they may come in chunks, from several files or machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from _ranef.design import aliasing, independent_in_gram
from _ranef.likelihood.scaling import Scaling, term_maps
from _ranef.linalg import BlockMatrix, PairBlocks, add_products, add_squares
from _ranef.spec import ModelSpec, TermSpec
from _ranef.structures import orthonormalising
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "Sums",
    "add_up",
    "aliased_fixed",
    "independent_fixed",
    "merged_sums",
    "raw_columns",
    "raw_effects",
    "rescaled",
    "row_sums",
    "scaled_columns",
    "scaled_effects",
    "with_fixed",
]

#: rows whose products are held at once; fewer where levels are few, for sums of short sums lose fewer digits
LEAST_BLOCK, BLOCK = 2_048, 131_072

#: rows that cannot be counted in four bytes
MANY_ROWS = 2**31

#: columns up to which dot products make a cross-product
FEW_COLUMNS = 6


@dataclass(frozen=True, eq=False, repr=False)
class Sums:
    """[Z X y]ᵀW[Z X y] of some rows on the scale of `scaling`, factors in the order of the spec.

    Attributes
    ----------
    scaling : Scaling
    diag : tuple of array (J_k, p_k, p_k)
        ZᵀWZ by level.
    Xy : tuple of array (J_k, p_k, p + 1)
        ZᵀW[X y] by level.
    pairs : mapping (k, l), k < l, to PairBlocks
        ZᵀWZ by pair of levels that share rows.
    corner : array (p + 1, p + 1)
        [X y]ᵀW[X y].
    n_obs : int
    weights, log_weights : float
        Σ w and Σ log w, or log |WᵀW| where rows are correlated.
    squares : float
        Σ y², of the response as given.
    """

    scaling: Scaling
    diag: tuple[Floats, ...]
    Xy: tuple[Floats, ...]
    pairs: Mapping[tuple[int, int], PairBlocks]
    corner: Floats
    n_obs: int
    weights: float
    log_weights: float
    squares: float

    def merge(self, other: Sums) -> Sums:
        """The sums over the rows of both, which must be on the same scaling and levels."""
        return Sums(
            self.scaling,
            tuple(a + b for a, b in zip(self.diag, other.diag, strict=True)),
            tuple(a + b for a, b in zip(self.Xy, other.Xy, strict=True)),
            {key: _merged(pair, other.pairs[key], self.diag[key[1]].shape[0]) for key, pair in self.pairs.items()},
            self.corner + other.corner,
            self.n_obs + other.n_obs,
            self.weights + other.weights,
            self.log_weights + other.log_weights,
            self.squares + other.squares,
        )

    def update(self, rows: ModelSpec) -> Sums:
        """The sums with more rows of the same model."""
        return self.merge(row_sums(rows, self.scaling))


def _on_scaling(sums: Sums, scaling: Scaling) -> Sums:
    """The same sums on another scaling of the same columns."""
    p, old = sums.corner.shape[0] - 1, sums.scaling
    inward = np.linalg.inv(old.X)
    change = np.zeros((p + 1, p + 1))
    change[:p, :p] = inward @ scaling.X
    if p:  # y / s = (s' y' + (c' - c) 1 + ...) / s, and 1 is the first column of X where there is a centre
        change[:p, p] = old.inner - change[:p, :p] @ scaling.inner + (old.centre - scaling.centre) * inward[:, 0]
    change[:p, p] /= scaling.y
    change[p, p] = old.y / scaling.y
    Z = [np.linalg.solve(a, b) for a, b in zip(old.Z, scaling.Z, strict=True)]
    return replace(
        sums,
        scaling=scaling,
        diag=tuple(M.T @ d @ M for M, d in zip(Z, sums.diag, strict=True)),
        Xy=tuple(M.T @ c @ change for M, c in zip(Z, sums.Xy, strict=True)),
        pairs={(k, l): replace(pair, blocks=Z[k].T @ pair.blocks @ Z[l]) for (k, l), pair in sums.pairs.items()},
        corner=change.T @ sums.corner @ change,
    )


def merged_sums(spec: ModelSpec, parts: Sequence[tuple[ModelSpec, Sums, Mapping[str, Ints]]]) -> Sums:
    """The sums over the rows of all parts: models of them, their sums, and where in `spec` their levels stand."""
    n_levels = {g.name: g.n_levels for g in spec.groupings}
    placed = []
    for own, sums, where in parts:
        names = [g.name for g in own.groupings]
        ordered = _in_order(sums, [names.index(name) for name in n_levels])
        placed.append(_on_levels(ordered, [where[name] for name in n_levels], list(n_levels.values())))
    return add_up([placed[0], *(_on_scaling(sums, placed[0].scaling) for sums in placed[1:])])


def _in_order(sums: Sums, order: Sequence[int]) -> Sums:
    """The same sums with the factor `order[k]` in the place k."""
    A = BlockMatrix(sums.diag, sums.pairs).permuted(order)
    scaling = replace(sums.scaling, Z=tuple(sums.scaling.Z[k] for k in order))
    return replace(sums, scaling=scaling, diag=A.diag, pairs=A.pairs, Xy=tuple(sums.Xy[k] for k in order))


def _on_levels(sums: Sums, places: Sequence[Ints], n_levels: Sequence[int]) -> Sums:
    """The same sums with the levels of factor k at `places[k]` of `n_levels[k]`."""
    diag = [np.zeros((J, *d.shape[1:])) for J, d in zip(n_levels, sums.diag, strict=True)]
    Xy = [np.zeros((J, *c.shape[1:])) for J, c in zip(n_levels, sums.Xy, strict=True)]
    for k, own in enumerate(places):
        diag[k][own], Xy[k][own] = sums.diag[k], sums.Xy[k]
    pairs = {
        (k, l): _sum_by_key(places[k][pair.rows] * n_levels[l] + places[l][pair.cols], pair.blocks, n_levels[l])
        for (k, l), pair in sums.pairs.items()
    }
    return replace(sums, diag=tuple(diag), Xy=tuple(Xy), pairs=pairs)


def _merged(first: PairBlocks, second: PairBlocks, n_cols: int) -> PairBlocks:
    keys = np.concatenate([pair.rows * n_cols + pair.cols for pair in (first, second)])
    return _sum_by_key(keys, np.concatenate([first.blocks, second.blocks]), n_cols)


def _sum_by_key(keys: Ints, blocks: Floats, n_cols: int) -> PairBlocks:
    present, position = np.unique(keys, return_inverse=True)
    if present.shape[0] == keys.shape[0]:  # all distinct: sort instead of adding up
        out = np.empty_like(blocks)
        out[position] = blocks
    else:
        out = np.zeros((present.shape[0], *blocks.shape[1:]))
        np.add.at(out, position, blocks)
    return PairBlocks(present // n_cols, present % n_cols, out)


def add_up(parts: Iterable[Sums]) -> Sums:
    """Merge many sums, small ones with small ones, so that no large one is rebuilt at every step."""
    stack: list[tuple[int, Sums]] = []
    for part in parts:
        size, total = 1, part
        while stack and stack[-1][0] <= size:
            other, earlier = stack.pop()
            size, total = size + other, earlier.merge(total)
        stack.append((size, total))
    total = stack.pop()[1]
    while stack:
        total = stack.pop()[1].merge(total)
    return total


def row_sums(rows: ModelSpec, scaling: Scaling) -> Sums:
    """Read rows once into their sums on a scaling."""
    n, p = rows.design.y.shape[0], rows.n_fixed
    shapes = [(g.n_levels, len(g.columns)) for g in rows.groupings]
    as_fixed = [_factor_of_fixed(rows, scaling, k) for k in range(len(shapes))]
    diag, Xy = [np.zeros((J, q, q)) for J, q in shapes], [np.zeros((J, q, p + 1)) for J, q in shapes]
    corner = np.zeros((p + 1, p + 1))
    cells = {(k, l): _cells(rows, k, l) for l in range(len(shapes)) for k in range(l)}
    pairs = {(k, l): np.zeros((len(c[0]), shapes[k][1], shapes[l][1])) for (k, l), c in cells.items()}
    block = n if rows.residual.correlated else min(max(LEAST_BLOCK, *(2 * J for J, _ in shapes), 0), BLOCK)
    for start in range(0, n, block):
        part = slice(start, min(n, start + block))
        columns = scaled_columns(rows, scaling, part)
        Zs = [columns[:, :p] if f else scaled_effects(rows, scaling, part, k) for k, f in enumerate(as_fixed)]
        corner += _gram(columns)
        for k, g in enumerate(rows.groupings):
            known = p if as_fixed[k] else 0  # what the squares of Z hold already
            add_squares(g.codes[part], Zs[k], diag[k])
            add_products(g.codes[part], Zs[k], columns[:, known:], Xy[k][:, :, known:])
        for (k, l), (_, position) in cells.items():
            add_products(position[part], Zs[k], Zs[l], pairs[k, l])
    for k, factor in enumerate(as_fixed):
        if factor:
            Xy[k][:, :, :p] = diag[k]
            Xy[k] *= factor
            diag[k] *= factor**2
    blocks = {}
    for (k, l), (present, _) in cells.items():
        pairs[k, l] *= (as_fixed[k] or 1.0) * (as_fixed[l] or 1.0)
        blocks[k, l] = PairBlocks(*np.divmod(present, shapes[l][0]), pairs[k, l])
    weights, squares = float(rows.residual.precision.sum()), float(rows.design.y @ rows.design.y)
    return Sums(scaling, tuple(diag), tuple(Xy), blocks, corner, n, weights, rows.residual.log_det, squares)


def _gram(columns: Floats) -> Floats:
    """CᵀC, for few long contiguous columns one product at a time: BLAS and its threads are slow at thin matrices."""
    m = columns.shape[1]
    if m > FEW_COLUMNS:
        return np.asarray(columns.T @ columns)
    out = np.empty((m, m))
    for a in range(m):
        for b in range(a + 1):
            out[a, b] = out[b, a] = np.einsum("n,n->", columns[:, a], columns[:, b])
    return out


def _factor_of_fixed(rows: ModelSpec, scaling: Scaling, k: int) -> float | None:
    """The c with Z_k = c X on the internal scale, where a grouping has all columns of the fixed part and no others."""
    if rows.groupings[k].Z is not rows.design.X:
        return None
    factor = float(scaling.Z[k][0, 0] / scaling.X[0, 0])
    return factor if np.array_equal(scaling.Z[k], factor * scaling.X) else None


def scaled_columns(rows: ModelSpec, scaling: Scaling, part: slice) -> Floats:
    """W times the internal [X y] (n, p + 1), each column contiguous; W is √w where rows are independent."""
    return rows.residual.whitened(raw_columns(rows, scaling, part), part).T


def raw_columns(rows: ModelSpec, scaling: Scaling, part: slice) -> Floats:
    """The internal [X y] (p + 1, n) without weights."""
    d = rows.design
    p = rows.n_fixed
    y = (d.y[part] if d.offset is None else d.y[part] - d.offset[part]) - scaling.centre
    columns: Floats = np.empty((p + 1, len(y)))
    np.matmul(scaling.X.T, d.X[part].T, out=columns[:p])
    columns[p] = (y - scaling.inner @ columns[:p]) / scaling.y
    return columns


def scaled_effects(rows: ModelSpec, scaling: Scaling, part: slice, k: int) -> Floats:
    """W times the internal Z_k (n, p_k), each column contiguous."""
    return rows.residual.whitened(raw_effects(rows, scaling, part, k), part).T


def raw_effects(rows: ModelSpec, scaling: Scaling, part: slice, k: int) -> Floats:
    """The internal Z_k (p_k, n) without weights."""
    return np.asarray(scaling.Z[k].T @ rows.groupings[k].Z[part].T)


def _cells(rows: ModelSpec, k: int, l: int) -> tuple[Ints, Ints]:
    """Pairs of levels of two factors that share rows, numbered, and the pair of each row."""
    first, second = rows.groupings[k], rows.groupings[l]
    keys = first.codes * second.n_levels
    keys += second.codes
    order = None if (keys[1:] >= keys[:-1]).all() else np.argsort(keys)
    keys = keys if order is None else keys[order]
    new = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    present = keys[new]
    number: Ints = np.cumsum(new, dtype=np.int32 if len(keys) < MANY_ROWS else np.intp)
    number -= 1
    if order is None:
        return present, number
    position = np.empty_like(number)
    position[order] = number
    return present, position


def rescaled(sums: Sums, terms: Sequence[TermSpec]) -> Sums:
    """The same sums on the scaling that all their rows ask for."""
    p, old = sums.corner.shape[0] - 1, sums.scaling
    squares = np.diag(sums.corner)[:p] / sums.weights
    spread = np.sqrt(np.where(squares == 0, 1.0, squares))
    T = orthonormalising(sums.corner[:p, :p] / sums.weights / np.outer(spread, spread)) / spread[:, None]
    pilot = T.T @ sums.corner[:p, p] / sums.weights
    change = np.zeros((p + 1, p + 1))
    change[:p, :p], change[:p, p], change[p, p] = T, -T @ pilot, 1.0
    corner = change.T @ sums.corner @ change
    unit = float(np.sqrt(max(corner[p, p], 0.0) / sums.weights)) or 1.0
    change[:, p] /= unit
    Z = term_maps(terms, [d.sum(axis=0) / sums.n_obs for d in sums.diag])
    return replace(
        sums,
        scaling=Scaling(
            old.X @ T,
            old.centre,
            np.linalg.solve(T, old.inner) + old.y * pilot,
            old.y * unit,
            tuple(a @ b for a, b in zip(old.Z, Z, strict=True)),
        ),
        diag=tuple(M.T @ d @ M for M, d in zip(Z, sums.diag, strict=True)),
        Xy=tuple(M.T @ c @ change for M, c in zip(Z, sums.Xy, strict=True)),
        pairs={(k, l): replace(pair, blocks=Z[k].T @ pair.blocks @ Z[l]) for (k, l), pair in sums.pairs.items()},
        corner=change.T @ sums.corner @ change,
    )


def independent_fixed(sums: Sums, *, intercept: bool) -> Ints:
    """Which columns of X no earlier ones determine, found without looking at the rows again."""
    gram = sums.corner[:-1, :-1]
    triangle = np.linalg.inv(sums.scaling.X)
    return independent_in_gram(np.asarray(gram, float), np.asarray(triangle, float), intercept=intercept)


def aliased_fixed(sums: Sums, kept: Ints) -> Floats:
    """The columns of X that are not `kept` as combinations (len(kept), d) of those that are."""
    triangle = np.linalg.inv(sums.scaling.X)
    values, vectors = np.linalg.eigh(sums.corner[:-1, :-1])
    rows = np.sqrt(np.maximum(values, 0.0))[:, None] * (vectors.T @ triangle)  # with the inner products of X's
    return aliasing(rows[:, kept], np.delete(rows, kept, axis=1))


def with_fixed(sums: Sums, kept: Ints) -> Sums:
    """The sums with the `kept` columns of X only, and with what the others took out of y put back into it.

    X = U R, and the columns kept span U R[:, kept]. A column goes at a distance of up to 1e-7 of its length, and what
    is left of it in U may be as long as any.
    """
    old, p = sums.scaling, sums.corner.shape[0] - 1
    R = np.linalg.inv(old.X)
    own = np.linalg.inv(R[np.ix_(kept, kept)])
    change = np.zeros((p + 1, len(kept) + 1))
    change[:p, :-1] = R[:, kept] @ own
    change[kept, :-1] = np.eye(len(kept))  # exactly
    change[:p, -1], change[p, -1] = (old.inner - change[:p, :-1] @ old.inner[kept]) / old.y, 1.0
    return replace(
        sums,
        scaling=replace(old, X=own, inner=old.inner[kept]),
        Xy=tuple(c @ change for c in sums.Xy),
        corner=change.T @ sums.corner @ change,
    )
