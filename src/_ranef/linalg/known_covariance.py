"""Known covariances K among the levels of factors: b = Λu with u ~ N(0, σ²K ⊗ I), through H = ΛᵀAΛ + K⁻¹ ⊗ I.

These are Henderson's equations (1976, Biometrics 32, 69-83) in coordinates in which no λ is inverted; K⁻¹ of a pedigree
is sparse, and with it H. Blocks of H⁻¹ where A has some give conditional covariances and slopes: with C = H⁻¹,
∂log|H|/∂λ_k = 2 Σ_j (AΛC)_jj, so that K is never formed. All factors are eliminated together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from _ranef.linalg.blocks import BlockMatrix, Whitened
from _ranef.linalg.lapack import cholesky_lower
from _ranef.linalg.symmetric import DenseFactor, Pattern, SymmetricFactor, make_pattern
from _ranef.support.arrays import Floats, Ints

__all__ = ["AmongLevels", "RelatedFactor", "RelatedPlan", "make_related_plan"]

#: least over largest diagonal of a root of K below which K is not inverted
SINGULAR = 1e-5

#: λ²A below which a direction of λ is taken to be this large where slopes are divided by it
TINY = 1e-10

#: λ²A above which ZᵀV⁻¹W is what D⁻¹ makes of effects
STRONG = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class AmongLevels:
    """The covariance K among the levels of a factor, by a root L of K = LLᵀ, or by its inverse.

    Attributes
    ----------
    root : array (J, J), optional
        K may be singular.
    inverse : sparse (J, J), optional
        K⁻¹, where there is no root.
    """

    root: Floats | None = None
    inverse: scipy.sparse.csr_array | None = None

    @property
    def n_levels(self) -> int:
        """Number of levels J."""
        return int(self.given.shape[0])

    @property
    def given(self) -> Floats | scipy.sparse.csr_array:
        """The root or the inverse."""
        assert self.root is not None or self.inverse is not None
        return self.inverse if self.root is None else self.root  # type: ignore[return-value]

    @cached_property
    def precision(self) -> tuple[Ints, Ints, Floats] | None:
        """Rows, columns and entries of the upper triangle of K⁻¹; None where K is singular, or nearly."""
        if self.inverse is not None:
            upper = scipy.sparse.coo_array(scipy.sparse.triu(self.inverse))
            return upper.coords[0].astype(np.int64), upper.coords[1].astype(np.int64), upper.data
        assert self.root is not None
        diagonal = np.abs(np.diagonal(self.root))
        triangular = not np.triu(self.root, 1).any()
        if not triangular or diagonal.min() < SINGULAR * diagonal.max():
            return None
        half = scipy.linalg.solve_triangular(self.root, np.eye(self.n_levels), lower=True)
        rows, cols = np.triu_indices(self.n_levels)
        return rows, cols, (half.T @ half)[rows, cols]

    @cached_property
    def _pattern(self) -> tuple[Pattern, SymmetricFactor]:
        assert self.precision is not None
        rows, cols, entries = self.precision
        pattern = make_pattern(self.n_levels, rows, cols)
        return pattern, pattern.factor(entries)

    @property
    def log_det_inverse(self) -> float:
        """Log |K⁻¹|."""
        return self._pattern[1].log_det

    def times(self, columns: Floats) -> Floats:
        """K columns (J, ...)."""
        flat = columns.reshape(self.n_levels, -1)
        if self.root is not None:
            return np.asarray((self.root @ (self.root.T @ flat)).reshape(columns.shape))
        factor = self._pattern[1]
        return factor.back(factor.half(flat)).reshape(columns.shape)

    def over(self, columns: Floats) -> Floats:
        """K⁻¹ columns (J, ...), where there is one."""
        flat = columns.reshape(self.n_levels, -1)
        if self.inverse is not None:
            return np.asarray((self.inverse @ flat).reshape(columns.shape))
        assert self.root is not None
        return np.asarray(scipy.linalg.cho_solve((self.root, True), flat).reshape(columns.shape))

    def coloured(self, independent: Floats) -> Floats:
        """Effects (..., J, p) with covariance K among levels of independent ones."""
        if self.root is not None:
            return np.asarray(self.root @ independent)
        first = np.moveaxis(independent, -2, 0)
        return np.moveaxis(self._pattern[1].back(first.reshape(self.n_levels, -1)).reshape(first.shape), 0, -2)

    @cached_property
    def variances(self) -> Floats:
        """The diagonal of K (J,)."""
        if self.root is not None:
            return np.asarray((self.root**2).sum(axis=1))
        pattern, factor = self._pattern
        out, own = np.empty(self.n_levels), pattern.rows == pattern.cols
        out[pattern.rows[own]] = factor.inverse_at(pattern)[own]
        return out

    @cached_property
    def dense_root(self) -> Floats:
        """A root of K (J, J)."""
        return self.coloured(np.eye(self.n_levels)) if self.root is None else self.root


@dataclass(frozen=True, eq=False, repr=False)
class RelatedPlan:
    """What all factorisations of one model share.

    Attributes
    ----------
    among : tuple of (AmongLevels or None)
        By factor, in the order of A.
    pattern : Pattern
        Of H: the entries of A, then those of the K⁻¹.
    n_own : int
        How many of them are those of A; an entry that both have stands among these.
    inverse : array (m,)
        K⁻¹ ⊗ I at those places.
    log_det : float
        Log |K⁻¹ ⊗ I|.
    root : array (n, n), optional
        L ⊗ I where some K is singular.
    """

    among: tuple[AmongLevels | None, ...]
    pattern: Pattern
    n_own: int
    inverse: Floats
    log_det: float
    root: Floats | None

    def taken_often(self) -> RelatedPlan:
        """The same."""
        return self


@dataclass(frozen=True, eq=False, repr=False)
class RelatedFactor:
    """The factor of H at λ."""

    A: BlockMatrix
    plan: RelatedPlan
    lambdas: tuple[Floats, ...]
    of: SymmetricFactor

    @property
    def log_det(self) -> float:
        """Log |I + ΛᵀAΛ(K ⊗ I)|."""
        return self.of.log_det - self.plan.log_det

    def forward(self, columns: Sequence[Floats]) -> Whitened:
        """As :func:`~_ranef.linalg.forward`."""
        scaled = [lam.T @ own for lam, own in zip(self.lambdas, columns, strict=True)]
        return Whitened(tuple(columns), self._apart(self.of.half(_joined(scaled))))

    def backward(self, white: Sequence[Floats]) -> tuple[Floats, ...]:
        """As :func:`~_ranef.linalg.backward`: (K ⊗ D) ZᵀV⁻¹W."""
        u = self._apart(self.of.back(_joined(white)))
        return tuple(lam @ own for lam, own in zip(self.lambdas, u, strict=True))

    def solved(self, columns: Whitened, b: Sequence[Floats]) -> tuple[Floats, ...]:
        """ZᵀV⁻¹W given b = (K ⊗ D) ZᵀV⁻¹W."""
        out: list[Floats] = [raw - gone for raw, gone in zip(columns.raw, self.A.dot(b), strict=True)]
        for k, (lam, among) in enumerate(zip(self.lambdas, self.plan.among, strict=True)):
            strong = np.linalg.svd(lam, compute_uv=False)[-1] ** 2 * self._size(k) > STRONG
            if strong and (among is None or among.precision is not None):
                own = np.linalg.solve(lam @ lam.T, b[k])
                out[k] = own if among is None else among.over(own)
        return tuple(out)

    def times_among(self, columns: Sequence[Floats]) -> tuple[Floats, ...]:
        """(K ⊗ I) columns (J_k, p_k, r)."""
        return tuple(c if one is None else one.times(c) for c, one in zip(columns, self.plan.among, strict=True))

    @cached_property
    def covariances(self) -> tuple[tuple[Floats, ...], Mapping[tuple[int, int], Floats]]:
        """C by level (J_k, p_k, p_k), and where A has blocks between factors."""
        entries, at = self.of.inverse_at(self.plan.pattern), 0
        diag, pairs = [], {}
        for own in self.A.diag:
            J, p, _ = own.shape
            i, j = np.triu_indices(p)
            upper = entries[at : at + J * len(i)].reshape(J, -1)
            blocks = np.empty((J, p, p))
            blocks[:, i, j] = blocks[:, j, i] = upper
            diag.append(blocks)
            at += upper.size
        for key, pair in self.A.pairs.items():
            pairs[key] = entries[at : at + pair.blocks.size].reshape(pair.blocks.shape)
            at += pair.blocks.size
        return tuple(diag), pairs

    def blocks(self) -> dict[tuple[int, int], Floats]:
        """ΛCΛᵀ as :func:`~_ranef.linalg.paired_blocks` has it."""
        diag, pairs = self.covariances
        lam = self.lambdas
        out: dict[tuple[int, int], Floats] = {(k, k): lam[k] @ own @ lam[k].T for k, own in enumerate(diag)}
        return out | {(k, l): lam[k] @ own @ lam[l].T for (k, l), own in pairs.items()}

    def traces(self) -> tuple[Floats, ...]:
        """Σ_jl K_jl (ZᵀV⁻¹Z)_lj (1, p_k, p_k) of every factor: Σ_j (AΛC)_jj over λ.

        A direction in which λ is next to nothing is given so much that λ²A is :data:`TINY`.
        """
        used = tuple(self._enlarged(k, lam) for k, lam in enumerate(self.lambdas))
        if any(one is not other for one, other in zip(used, self.lambdas, strict=True)):
            return factorize_related(self.A, self.plan, used).traces()
        diag, pairs = self.covariances
        totals = [np.einsum("jab,bc,jcd->ad", A, lam, C) for A, lam, C in zip(self.A.diag, used, diag, strict=True)]
        for (k, l), C in pairs.items():
            blocks = self.A.pairs[k, l].blocks
            totals[k] = totals[k] + np.einsum("jab,bc,jdc->ad", blocks, used[l], C)
            totals[l] = totals[l] + np.einsum("jba,bc,jcd->ad", blocks, used[k], C)
        out = [np.linalg.solve(lam.T, total.T) for total, lam in zip(totals, used, strict=True)]
        return tuple(0.5 * (own + own.T)[None] for own in out)

    def _enlarged(self, k: int, lam: Floats) -> Floats:
        least = np.sqrt(TINY / self._size(k))
        U, values, V = np.linalg.svd(lam)
        return lam if (values >= 0.999 * least).all() else (U * np.maximum(values, least)) @ V

    def _size(self, k: int) -> float:
        """What A of a level with rows has on its diagonal."""
        own = np.diagonal(self.A.diag[k], axis1=1, axis2=2)
        return float(np.median(own[own > 0])) if (own > 0).any() else 1.0

    def _apart(self, rows: Floats) -> tuple[Floats, ...]:
        shapes = [(J, p, rows.shape[1]) for J, p in zip(self.A.n_levels, self.A.sizes, strict=True)]
        ends = np.cumsum([J * p for J, p, _ in shapes])
        return tuple(part.reshape(s) for part, s in zip(np.split(rows, ends[:-1]), shapes, strict=True))


def _joined(columns: Sequence[Floats]) -> Floats:
    return np.concatenate([own.reshape(-1, own.shape[2]) for own in columns])


def factorize_related(A: BlockMatrix, plan: RelatedPlan, lambdas: Sequence[Floats]) -> RelatedFactor:
    """Factor H at λ."""
    own = [_upper(lam.T @ block @ lam).ravel() for lam, block in zip(lambdas, A.diag, strict=True)]
    own += [(lambdas[k].T @ pair.blocks @ lambdas[l]).ravel() for (k, l), pair in A.pairs.items()]
    values = np.concatenate(own)
    if plan.root is None:
        entries = plan.inverse.copy()
        entries[: plan.n_own] += values
        return RelatedFactor(A, plan, tuple(lambdas), plan.pattern.factor(entries))
    pattern, n = plan.pattern, plan.pattern.n
    H = np.zeros((n, n))
    H[pattern.rows, pattern.cols] = H[pattern.cols, pattern.rows] = values
    M = plan.root.T @ (H @ plan.root)
    M[np.diag_indices(n)] += 1.0
    return RelatedFactor(A, plan, tuple(lambdas), DenseFactor(cholesky_lower(M), plan.root))


def _upper(blocks: Floats) -> Floats:
    i, j = np.triu_indices(blocks.shape[1])
    return blocks[:, i, j]


def make_related_plan(A: BlockMatrix, among: Sequence[AmongLevels | None]) -> RelatedPlan:
    """Places of H, and the K⁻¹ there."""
    starts = np.cumsum([0, *(J * p for J, p in zip(A.n_levels, A.sizes, strict=True))])
    rows, cols = [], []
    for k, p in enumerate(A.sizes):
        i, j = np.triu_indices(p)
        first = starts[k] + p * np.arange(A.n_levels[k])[:, None]
        rows.append((first + i).ravel())
        cols.append((first + j).ravel())
    for (k, l), pair in A.pairs.items():
        i, j = np.indices((A.sizes[k], A.sizes[l]))
        rows.append((starts[k] + A.sizes[k] * pair.rows[:, None, None] + i).ravel())
        cols.append((starts[l] + A.sizes[l] * pair.cols[:, None, None] + j).ravel())
    own, n = (np.concatenate(rows), np.concatenate(cols)), int(starts[-1])
    if any(one is not None and one.precision is None for one in among):
        parts = [np.kron(np.eye(J) if one is None else one.dense_root, np.eye(p)) for one, J, p in _each(A, among)]
        pattern = Pattern(n, *own, None)
        return RelatedPlan(tuple(among), pattern, len(own[0]), np.zeros(0), 0.0, scipy.linalg.block_diag(*parts))
    given, log_det = [], 0.0
    for start, (one, J, p) in zip(starts, _each(A, among), strict=False):
        i, j, entries = (
            (np.arange(J), np.arange(J), np.ones(J)) if one is None or one.precision is None else one.precision
        )
        each = np.arange(p)
        given.append(
            [start + p * i[:, None] + each, start + p * j[:, None] + each, np.repeat(entries, p).reshape(-1, p)]
        )
        log_det += 0.0 if one is None else p * one.log_det_inverse
    more_rows, more_cols, entries = (
        np.concatenate([part.ravel() for part in parts]) for parts in zip(*given, strict=True)
    )
    keys, more = own[0] * n + own[1], more_rows.astype(np.int64) * n + more_cols
    sequence = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[sequence], more), len(keys) - 1)
    known = keys[sequence][place] == more
    inverse = np.concatenate([np.zeros(len(keys)), entries[~known]])
    inverse[sequence[place[known]]] = entries[known]
    pattern = make_pattern(n, np.append(own[0], more_rows[~known]), np.append(own[1], more_cols[~known]))
    return RelatedPlan(tuple(among), pattern, len(keys), inverse, log_det, None)


def _each(A: BlockMatrix, among: Sequence[AmongLevels | None]) -> list[tuple[AmongLevels | None, int, int]]:
    return list(zip(among, A.n_levels, A.sizes, strict=True))
