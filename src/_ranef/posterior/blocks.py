"""The cross-products of one model, arranged for the collapsed density: one factor eliminated, the rest a dense tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from _ranef.likelihood import CrossProducts, FixedPart, FixedSums
from _ranef.posterior.related_as_independent import NO_FACTOR
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "Roots",
    "Shape",
    "SparseCoupling",
    "arrays_of_sums",
    "collapsed_arrays",
    "dense_work",
    "make_shape",
    "skyline",
    "sparse_coupling",
    "tail_products",
]


@dataclass(frozen=True)
class Shape:
    """What compilation depends on besides the shapes of the arrays.

    Attributes
    ----------
    sizes : tuple of int
        p_k in elimination order; empty without random effects.
    levels : tuple of int
        J_k in elimination order.
    n_integrated, n_sampled : int
        Coefficients g that are integrated out, and s that are sampled.
    related : bool
        Whether levels of some factor have a known covariance, and are many.
    """

    sizes: tuple[int, ...]
    levels: tuple[int, ...]
    n_integrated: int
    n_sampled: int
    related: bool = False

    @property
    def tail(self) -> int:
        """Length t of the random part of the tail."""
        return sum(p * J for p, J in zip(self.sizes[1:], self.levels[1:], strict=True))

    @property
    def padded(self) -> Shape:
        """The shape with levels rounded up, so that data sets of like size share what is compiled."""
        return replace(self, levels=tuple(_rounded(J) for J in self.levels))


def _rounded(n: int) -> int:
    """The next of 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, ...: at most a quarter more from 16 on."""
    step = 4
    while n > 8 * step:
        step *= 2
    return -(-n // step) * step


def make_shape(products: CrossProducts, fixed: FixedPart, *, related: bool) -> Shape:
    """The shape of a model."""
    return Shape(products.sizes, products.n_levels, len(fixed.integrated), len(fixed.sampled), related)


def dense_work(shape: Shape) -> int:
    """Multiplications, but for a factor, that a density with a dense tail takes."""
    return (shape.sizes[0] * shape.levels[0] + shape.tail) * shape.tail**2 if shape.sizes else 0


@dataclass(frozen=True, eq=False, repr=False)
class Roots:
    """The internal λ_k in elimination order, raveled one after the other (..., Σ p_k²), as functions of θ.

    Attributes
    ----------
    spec : ModelSpec
    products : CrossProducts
    outward : tuple of array (p_k, p_k)
        By grouping: θ is that of coordinates b* of the effects b = outward b*.
    """

    spec: ModelSpec
    products: CrossProducts
    outward: tuple[Floats, ...]

    @property
    def linear(self) -> bool:
        """Whether they are linear in θ, for every structure."""
        return all(t.structure.kernels for t in self.spec.terms)

    @cached_property
    def fill(self) -> Floats:
        """Array (Σ p_k², n_theta) that makes them of θ; empty where they are not linear."""
        if not self.linear:
            return np.zeros(0)
        out = np.zeros((sum(p * p for p in self.products.sizes), self.spec.n_theta))
        for i, unit in enumerate(np.eye(self.spec.n_theta)):
            out[:, i] = self._joined([T @ lam for T, lam in zip(self._inward, self.spec.lambdas(unit), strict=True)])
        return out

    def _joined(self, internal: Sequence[Floats]) -> Floats:
        """By grouping (..., p_k, p_k) to elimination order; 0 for a first factor without levels."""
        none = np.zeros((*internal[0].shape[:-2], 1))
        parts = [none if k == NO_FACTOR else internal[k] for k in self.products.order]
        return np.concatenate([x.reshape(*none.shape[:-1], -1) for x in parts], axis=-1)

    @cached_property
    def _inward(self) -> tuple[Floats, ...]:
        return self.products.scaling.inward(self.outward)

    def at(self, theta: Floats) -> Floats:
        """At `theta` (..., n_theta)."""
        if self.linear:
            return theta @ self.fill.T
        return self._joined([T @ lam for T, lam in zip(self._inward, self.spec.lambdas(theta), strict=True)])

    def with_slopes(self, theta: Floats) -> tuple[Floats, Floats]:
        """At `theta` (n_theta,), with their derivatives (Σ p_k², n_theta); NaN where a structure finds no root."""
        if self.linear:
            return self.at(theta), self.fill
        sizes = self.products.sizes
        ends = np.cumsum([p * p for p in sizes])
        slopes = np.zeros((ends[-1], self.spec.n_theta))
        try:
            for i, (t, slope) in enumerate(self.spec.root_derivatives(theta)):
                k = self.products.order.index(t.grouping)
                slopes[ends[k] - sizes[k] ** 2 : ends[k], i] = (self._inward[t.grouping] @ slope).ravel()
            return self.at(theta), slopes
        except np.linalg.LinAlgError:
            return np.full(ends[-1], np.nan), np.full_like(slopes, np.nan)


def collapsed_arrays(products: CrossProducts, fixed: FixedPart, shape: Shape, fill: Floats) -> dict[str, Floats]:
    """The arrays of the collapsed density for JAX, levels on the last axis and padded with zeros to `shape`.

    Returns
    -------
    dict
        ``fill`` makes internal λ of the sampled θ; ``A`` (p, p, J) and ``C`` (p, m, J) are the blocks of the first
        factor, C against tail, coefficients integrated out, coefficients sampled, and y; ``T`` (m, m) holds those;
        ``K`` the normal priors, ``rows`` those under a global scale; ``nu`` is n − g, ``unit`` the unit of y,
        ``origin`` (s,) what sampled coefficients are counted from, and ``constant`` what −2 log p adds at any (θ, σ).
    """
    out = {
        "fill": fill,
        "T": tail_products(products, fixed, shape),
        "K": fixed.K,
        "rows": fixed.rows,
        "nu": np.array(float(products.n_obs - shape.n_integrated)),
        "unit": np.array(products.scaling.y),
        "origin": fixed.pilot[fixed.sampled],
        "constant": np.array(fixed.constant + fixed.log_scale),
    }
    if shape.sizes:
        J = products.A.n_levels[0]
        out["A"] = np.zeros((shape.sizes[0], shape.sizes[0], shape.levels[0]))
        out["A"][..., :J] = np.moveaxis(products.A.diag[0], 0, -1)
        out["C"] = np.zeros((shape.sizes[0], out["T"].shape[0], shape.levels[0]))
        out["C"][:, shape.tail :, :J] = np.moveaxis(products.Xy[0] @ fixed.columns, 0, -1)
        for l, at in _places(shape).items():
            pair = products.A.pairs[0, l]
            rows, cols = np.arange(shape.sizes[0])[None, :, None], at[pair.cols][:, None, :]
            out["C"][rows, cols, pair.rows[:, None, None]] = pair.blocks
    return out


def arrays_of_sums(sums: FixedSums, fixed: FixedPart, shape: Shape, fill: Floats) -> dict[str, Floats]:
    """The same with ``A_parts``, ``C_parts`` and ``T_parts``, of which ``law`` makes A, C and T at any ρ."""
    out = collapsed_arrays(sums.products, fixed, shape, fill)
    parts = [collapsed_arrays(sums.part(k), fixed, shape, fill) for k in range(len(sums.corner))]
    out |= {f"{name}_parts": np.stack([part[name] for part in parts]) for name in ("A", "C", "T") if name in out}
    return out | {
        "constant": out["constant"] + sums.constant,
        "law": sums.basis.numbers,
        "counts": sums.basis.counts,
    }


def _places(shape: Shape) -> dict[int, Ints]:
    """Rows (J_l, p_l) of every factor of the tail."""
    edges = np.cumsum([0, *(p * J for p, J in zip(shape.sizes[1:], shape.levels[1:], strict=True))])
    return {
        l: np.arange(edges[l - 1], edges[l]).reshape(shape.levels[l], shape.sizes[l])
        for l in range(1, len(shape.sizes))
    }


def tail_products(products: CrossProducts, fixed: FixedPart, shape: Shape) -> Floats:
    """Cross-products (m, m) of the tail, the coefficients' columns and y; zero where `shape` is padded."""
    t = shape.tail
    m = t + fixed.columns.shape[0]
    out = np.zeros((m, m))
    out[t:, t:] = fixed.columns.T @ products.corner @ fixed.columns
    at = _places(shape)
    for l, rows in at.items():
        own = rows[: products.A.n_levels[l]]
        out[own[:, :, None], own[:, None, :]] = products.A.diag[l]
        flat = (products.Xy[l] @ fixed.columns).reshape(own.size, -1)
        out[own.ravel(), t:], out[t:, own.ravel()] = flat, flat.T
    for (k, l), pair in products.A.pairs.items():
        if k > 0:
            rows, cols = at[k][pair.rows], at[l][pair.cols]
            out[rows[:, :, None], cols[:, None, :]] = pair.blocks
            out[cols[:, :, None], rows[:, None, :]] = np.swapaxes(pair.blocks, 1, 2)
    return out


@dataclass(frozen=True, eq=False, repr=False)
class SparseCoupling:
    """Columns of the tail that each level of the first factor meets.

    Attributes
    ----------
    indptr : array of int (J + 1,)
    cols : array of int (nnz,)
        Ascending within a level.
    values : array (nnz, p)
    """

    indptr: Ints
    cols: Ints
    values: Floats


def sparse_coupling(products: CrossProducts, shape: Shape) -> SparseCoupling:
    """The blocks between the first factor and the tail, by level."""
    p, J = shape.sizes[0], shape.levels[0]
    level: list[Any] = [np.zeros(0, dtype=np.int64)]
    cols: list[Any] = [np.zeros(0, dtype=np.int64)]
    values: list[Any] = [np.zeros((0, p))]
    for l, at in _places(shape).items():
        pair = products.A.pairs[0, l]
        level.append(np.repeat(pair.rows, shape.sizes[l]))
        cols.append(at[pair.cols].ravel())
        values.append(np.swapaxes(pair.blocks, 1, 2).reshape(-1, p))
    levels, columns = np.concatenate(level), np.concatenate(cols)
    order = np.lexsort((columns, levels))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(levels, minlength=J))])
    return SparseCoupling(indptr, columns[order], np.concatenate(values)[order])


def skyline(products: CrossProducts, shape: Shape, n_columns: int) -> tuple[Ints, Ints]:
    """Where the rows of the tail have entries once the first factor is eliminated, by blocks of levels.

    Returns
    -------
    first : array of int (t + n_columns,)
        The first column of each row's entries; 0 of the rows of coefficients and y, which stand last.
    reach : array of int (t,)
        The row after the last one, before these, whose entries begin in this column or before.
    """
    at = _places(shape)
    starts = [np.repeat(rows[:, 0], rows.shape[1]) for rows in at.values()]
    start = np.concatenate([np.zeros(0, dtype=np.intp), *starts])
    first = start.copy()
    for (k, l), pair in products.A.pairs.items():
        if k > 0:
            low, high = (f(at[k][pair.rows, 0], at[l][pair.cols, 0]) for f in (np.minimum, np.maximum))
            np.minimum.at(first, high, low)
    if at:
        met = [(products.A.pairs[0, l].rows, rows[products.A.pairs[0, l].cols, 0]) for l, rows in at.items()]
        level, block = (np.concatenate(parts) for parts in zip(*met, strict=True))
        lowest = np.full(shape.levels[0], shape.tail)
        np.minimum.at(lowest, level, block)
        np.minimum.at(first, block, lowest[level])
    first = first[start]
    reach = np.zeros(shape.tail, dtype=np.intp)
    np.maximum.at(reach, first, 1 + np.arange(shape.tail))
    return np.append(first, np.zeros(n_columns, dtype=np.intp)), np.maximum.accumulate(reach)
