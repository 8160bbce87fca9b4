"""Cholesky factors of symmetric matrices of known pattern: sparse by compiled loops, or dense by LAPACK.

The order of elimination is SuperLU's minimum degree; the loops are those of Davis (2006, *Direct Methods for Sparse
Linear Systems*, §4), and entries of the inverse come by the recursion of Takahashi, Fagan and Chin (1973).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from _ranef.linalg.lapack import cholesky_lower, inverse_of_lower
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import deferred, load

__all__ = ["DenseFactor", "Pattern", "SymmetricFactor", "make_pattern"]

#: rows up to which a matrix is dense whatever its pattern; and how many operations of the loops LAPACK does meanwhile
SMALL, FASTER = 500, 20.0


class SymmetricFactor(ABC):
    """H = LLᵀ (n, n)."""

    @property
    @abstractmethod
    def log_det(self) -> float:
        """Log |H|."""

    @abstractmethod
    def half(self, columns: Floats) -> Floats:
        """F (n, r) with FᵀF = columnsᵀ H⁻¹ columns."""

    @abstractmethod
    def back(self, white: Floats) -> Floats:
        """What makes H⁻¹ columns of F."""

    @abstractmethod
    def inverse_at(self, pattern: Pattern) -> Floats:
        """Entries of H⁻¹ (m,) at those places of the pattern."""


@dataclass(frozen=True, eq=False, repr=False)
class Pattern:
    """Places of a symmetric (n, n) matrix, one of each pair.

    Attributes
    ----------
    n : int
    rows, cols : array of int (m,)
        No place twice.
    sparse : Elimination, optional
        None where the matrix is better dense.
    """

    n: int
    rows: Ints
    cols: Ints
    sparse: Elimination | None

    @property
    def seconds(self) -> float:
        """Roughly how long factor and entries of the inverse take."""
        if self.sparse is None:
            return 3e-4 + 5e-11 * float(self.n) ** 3
        return 3e-4 + 2e-9 * float((np.diff(self.sparse.starts).astype(float) ** 2).sum())

    def lower(self) -> tuple[Ints, Ints]:
        """Rows and columns of the entries of a factor, its rows in the order of elimination."""
        if self.sparse is None:
            rows, cols = np.tril_indices(self.n)
            return rows, cols
        starts, diagonal = self.sparse.starts, np.arange(self.n)
        return np.append(self.sparse.below, diagonal), np.append(np.repeat(diagonal, np.diff(starts)), diagonal)

    def factor(self, entries: Floats) -> SymmetricFactor:
        """The factor of the matrix with these entries (m,).

        Raises
        ------
        LinAlgError
            If it is not positive definite.
        """
        if self.sparse is not None:
            return self.sparse.factor(entries)
        H = np.zeros((self.n, self.n))
        H[self.rows, self.cols] = entries
        H[self.cols, self.rows] = entries
        return DenseFactor(cholesky_lower(H))


@dataclass(frozen=True, eq=False, repr=False)
class DenseFactor(SymmetricFactor):
    """H⁻¹ = R (LLᵀ)⁻¹ Rᵀ, R being the identity if it is left out; then log |H| is that of LLᵀ."""

    L: Floats
    root: Floats | None = None

    @property
    def log_det(self) -> float:
        return 2.0 * float(np.log(np.diagonal(self.L)).sum())

    def half(self, columns: Floats) -> Floats:
        own = columns if self.root is None else self.root.T @ columns
        return np.asarray(scipy.linalg.solve_triangular(self.L, own, lower=True, check_finite=False))

    def back(self, white: Floats) -> Floats:
        out = scipy.linalg.solve_triangular(self.L, white, lower=True, trans="T", check_finite=False)
        return np.asarray(out if self.root is None else self.root @ out)

    def inverse_at(self, pattern: Pattern) -> Floats:
        inverse = inverse_of_lower(self.L)
        if self.root is not None:
            inverse = self.root @ inverse @ self.root.T
        return np.asarray(inverse[pattern.rows, pattern.cols])


@dataclass(frozen=True, eq=False, repr=False)
class Elimination:
    """What all matrices of one sparse pattern share: H with its rows in another order is LDLᵀ, L with a unit diagonal.

    Attributes
    ----------
    place : array of int (n,)
        Where each row goes.
    indptr, indices : array of int
        The upper triangle of H in that order, by columns.
    into : array of int (m,)
        Where in it each entry of the pattern stands.
    parent : array of int (n,)
        The elimination tree.
    starts, below : array of int
        Columns of L, rows ascending.
    found : array of int (m,)
        Where in L, or behind it on the diagonal, each entry of the pattern stands.
    """

    place: Ints
    indptr: Ints
    indices: Ints
    into: Ints
    parent: Ints
    starts: Ints
    below: Ints
    found: Ints

    def factor(self, entries: Floats) -> SymmetricFactor:
        data = np.empty(len(self.indices))
        data[self.into] = entries
        L, D = np.empty(len(self.below)), np.empty(len(self.place))
        with deferred():
            _loops().factorize(self.indptr, self.indices, data, self.parent, self.starts, self.below, L, D)
        if not (np.isfinite(D).all() and (D > 0).all()):
            raise np.linalg.LinAlgError("Matrix is not positive definite")
        return SparseFactor(self, L, D)


@dataclass(frozen=True, eq=False, repr=False)
class SparseFactor(SymmetricFactor):
    """By the loops."""

    of: Elimination
    L: Floats
    D: Floats

    @property
    def log_det(self) -> float:
        return float(np.log(self.D).sum())

    def half(self, columns: Floats) -> Floats:
        out = np.empty_like(columns, order="C")
        out[self.of.place] = columns
        with deferred():
            _loops().solve_lower(self.of.starts, self.of.below, self.L, out)
        return np.asarray(out / np.sqrt(self.D)[:, None])

    def back(self, white: Floats) -> Floats:
        out = np.ascontiguousarray(white / np.sqrt(self.D)[:, None])
        with deferred():
            _loops().solve_upper(self.of.starts, self.of.below, self.L, out)
        return out[self.of.place]

    def inverse_at(self, pattern: Pattern) -> Floats:
        of, Z, diagonal = self.of, np.empty_like(self.L), np.empty_like(self.D)
        with deferred():
            _loops().inverse_entries(of.starts, of.below, self.L, self.D, Z, diagonal)
        return np.concatenate([Z, diagonal])[of.found]


def _loops() -> Any:
    return load("_ranef.linalg.compiled_loops")


def make_pattern(n: int, rows: Ints, cols: Ints) -> Pattern:
    """The pattern with what its factors share; no place may be there twice."""
    # a quarter of all places is dense, and so is what a few hundred rows make
    if n <= SMALL or 4 * len(rows) > n * n // 2:
        return Pattern(n, rows, cols, None)
    everything = scipy.sparse.coo_array((np.ones(len(rows)), (rows, cols)), shape=(n, n))
    own = scipy.sparse.csc_array(everything + everything.T + scipy.sparse.diags_array(np.full(n, 4.0 * len(rows))))
    order = scipy.sparse.linalg.splu(
        own, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    place = np.asarray(order.perm_c, dtype=np.int64)
    first, last = np.minimum(place[rows], place[cols]), np.maximum(place[rows], place[cols])
    sequence = np.lexsort((first, last))
    into = np.empty(len(rows), dtype=np.int64)
    into[sequence] = np.arange(len(rows))
    indices = first[sequence]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(last, minlength=n))])
    with deferred():
        parent, counts = _loops().elimination_tree(indptr, indices)
        if FASTER * float((counts.astype(float) ** 2).sum()) > n**3 / 3.0:
            return Pattern(n, rows, cols, None)
        starts = np.concatenate([[0], np.cumsum(counts)])
        below = _loops().pattern_below(indptr, indices, parent, starts)
    columns = np.repeat(np.arange(n), counts)
    off = first < last
    found = len(below) + first
    found[off] = np.searchsorted(columns * n + below, first[off] * n + last[off])
    return Pattern(n, rows, cols, Elimination(place, indptr, indices, into, parent, starts, below, found))
