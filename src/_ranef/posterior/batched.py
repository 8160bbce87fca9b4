"""The collapsed density at many points together, and exact draws there, by numpy alone.

With M_i = I + λᵀA_iλ = LLᵀ of a level of the first factor and K_i = λM_i⁻¹λᵀ, what is left of the other cross-products
is Q = T − Σ C_iᵀK_iC_i (:mod:`_ranef.posterior.loops`). Entries of M_i are linear in those of A_i, and Q is linear in
those of K_i, so that both are one matrix product for all points and levels; levels with the same A_i share K_i, and of
balanced data there is one. Where cross-products are Σ_k c_k(ρ) S_k, M_i is linear in the c_k, and Q in their products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from _ranef.likelihood import FixedPart
from _ranef.linalg import cholesky_or_nan
from _ranef.posterior.blocks import Shape
from _ranef.residuals import Basis
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import let_through

__all__ = ["Batched", "Points", "has_batches", "make_batched"]

#: numbers of the cross-products of levels that are held, and of one block of points
MOST_PRODUCTS, BLOCK = 4_000_000, 100_000

#: blocks of levels that agree to this part of their size are the same
SAME = 1e-13


@dataclass(frozen=True, eq=False, repr=False)
class Points:
    """Where the density is asked for.

    Attributes
    ----------
    lam : array (N, Σ p_k²)
        Internal λ_k in elimination order, raveled one after the other.
    sigma : array (N,)
        On the user's scale; of rows at the mean of their standard deviations.
    sampled : array (N, s)
        Coefficients that are not integrated out.
    rho : array (N, r)
        Parameters of residual variances and correlations.
    K : array (N, g + s + 1, g + s + 1), optional
        Normal priors of the coefficients, where they are not those of the model at all points.
    """

    lam: Floats
    sigma: Floats
    sampled: Floats
    rho: Floats
    K: Floats | None = None

    @classmethod
    def one(cls, lam: Floats, sigma: float) -> Points:
        """A single one, all coefficients integrated out."""
        return cls(lam[None], np.array([float(sigma)]), np.zeros((1, 0)), np.zeros((1, 0)))

    def __len__(self) -> int:
        return len(self.sigma)

    def part(self, which: slice) -> Points:
        """Some of them."""
        K = None if self.K is None else self.K[which]
        return Points(self.lam[which], self.sigma[which], self.sampled[which], self.rho[which], K)


@dataclass(frozen=True, eq=False, repr=False)
class Batched:
    """A model whose cross-products are few enough; q = p(p + 1)/2 for the p columns of the first factor.

    Attributes
    ----------
    shape : Shape
    fixed : FixedPart
    A : array (K, q, G)
        Lower triangles of the G different blocks of levels, of each of K fixed parts.
    C : array (K, m, p, J)
    T : array (K, m, m)
    block : array of int (J,)
        Which block each level has.
    basis : Basis, optional
        Of the coefficients of the parts; without one there is one part.
    constant : float
        What −2 log p adds at any point.
    nu : float
    """

    shape: Shape
    fixed: FixedPart
    A: Floats
    C: Floats
    T: Floats
    block: Ints
    basis: Basis | None
    constant: float
    nu: float

    @cached_property
    def sizes(self) -> Floats:
        """How many levels have each block (G,)."""
        return np.bincount(self.block, minlength=self.A.shape[2]).astype(float)

    @cached_property
    def lower(self) -> tuple[Ints, Ints]:
        """Places of the lower triangle of (m, m)."""
        return np.tril_indices(self.T.shape[1])

    @cached_property
    def squares(self) -> list[tuple[int, int, Floats]]:
        """Sums of C_kᵀC_l over levels of a block (q G, m(m + 1)/2), for each pair k ≤ l of parts."""
        K, _, p, _ = self.C.shape
        order, pairs = np.argsort(self.block, kind="stable"), _pairs(p)
        out: list[tuple[int, int, Floats]] = []
        starts = np.searchsorted(self.block[order], np.arange(self.A.shape[2]))
        rows, columns = self.lower
        ordered = self.C[..., order]
        for k in range(K):
            for l in range(k, K):
                own = np.zeros((len(pairs), len(starts), len(rows)))
                for i, (a, b) in enumerate(pairs):
                    for first, second in {(a, b), (b, a)}:
                        x, y = ordered[k, :, first], ordered[l, :, second]
                        both = x[rows] * y[columns] if k == l else x[rows] * y[columns] + x[columns] * y[rows]
                        own[i] += np.add.reduceat(both, starts, axis=1).T
                out.append((k, l, own.reshape(-1, len(rows))))
        return out

    def log_likelihoods(self, at: Points) -> Floats:
        """Log p(y | λ, σ, ρ, sampled coefficients) (N,); NaN where λ is too far out."""
        with np.errstate(all="ignore"):
            return np.concatenate([np.zeros(0), *(self._log_likelihoods(at.part(b)) for b in self._blocks(len(at)))])

    def _blocks(self, n: int) -> Iterator[slice]:
        each = max(self.A.shape[2] * max(self.A.shape[1], 1), self.T.shape[1] ** 2)
        step = max(1, BLOCK // each)
        for first in range(0, n, step):
            let_through()
            yield slice(first, min(first + step, n))

    def _log_likelihoods(self, at: Points) -> Floats:
        c, of_rows = self._coefficients(at.rho)
        log_det, _, L = self._factorized(at, c)
        e, v = self.shape.n_sampled + 1, self.fixed.contrast(at.sampled)
        a = L.shape[1] - e
        s2 = (at.sigma / self.fixed.unit) ** 2
        left = (L[:, a:, a:] * v[:, :, None]).sum(axis=1)
        log_det += -of_rows + 2.0 * np.log(np.diagonal(L, axis1=1, axis2=2)[:, :a]).sum(axis=1)
        deviance = log_det + (left**2).sum(axis=1) / s2 + self.nu * np.log(2.0 * np.pi * at.sigma**2) + self.constant
        return np.asarray(-0.5 * deviance)

    def _factorized(self, at: Points, c: Floats) -> tuple[Floats, list[list[Floats]], Floats]:
        """Σ log|M_i| (N,), L⁻¹λᵀ of the blocks by entries (N, G), and the Cholesky factors of H."""
        p = self.C.shape[2]
        half, own = self._levels(at.lam[:, : p * p].reshape(len(at), p, p), c)
        n, m = len(at), self.T.shape[1]
        rows, columns = self.lower
        packed = c @ self.T[:, rows, columns]
        if p:
            kernel = np.stack([_dots(half, a, b) for a, b in _pairs(p)], axis=1).reshape(n, -1)
            for k, l, squares in self.squares:
                packed -= (c[:, k] * c[:, l])[:, None] * (kernel @ squares)
        H = np.empty((n, m, m))
        H[:, rows, columns] = packed
        H[:, columns, rows] = packed
        self._scale_tail(at.lam, H)
        t = self.shape.tail
        H[:, np.arange(t), np.arange(t)] += 1.0
        H[:, t:, t:] += ((at.sigma / self.fixed.unit) ** 2)[:, None, None] * (self.fixed.K if at.K is None else at.K)
        return own, half, cholesky_or_nan(H)

    def _coefficients(self, rho: Floats) -> tuple[Floats, Floats]:
        """Coefficients (N, K) of the parts, and what log|Λ⁻¹| has of them (N,)."""
        if self.basis is None:
            return np.ones((len(rho), 1)), np.zeros(len(rho))
        return self.basis.law.at_many(self.basis.numbers, self.basis.counts, rho)

    def _levels(self, lam: Floats, c: Floats) -> tuple[list[list[Floats]], Floats]:
        """N = L⁻¹λᵀ of every point and block, as entries N[k][a] (N, G), and Σ log|M_i| (N,)."""
        p = lam.shape[1]
        L: list[list[Floats]] = []
        det: Floats = np.ones((len(lam), self.A.shape[2]))
        for i in range(p):
            L.append([])
            for j in range(i + 1):
                entry = self._entry(lam, c, i, j)
                for l in range(j):
                    entry -= L[i][l] * L[j][l]
                if i == j:
                    det *= entry
                    np.sqrt(entry, out=entry)
                    np.divide(1.0, entry, out=entry)  # the inverse of the diagonal stands in its place
                else:
                    entry *= L[j][j]
                L[i].append(entry)
        half: list[list[Floats]] = []
        for i in range(p):
            half.append([])
            for a in range(p):
                known = lam[:, a, i, None]
                for l in range(i):
                    known = known - L[i][l] * half[l][a]
                half[i].append(known * L[i][i])
        return half, np.log(det) @ self.sizes if p else np.zeros(len(lam))

    def _entry(self, lam: Floats, c: Floats, i: int, j: int) -> Floats:
        """Entry (i, j) of I + λᵀAλ of every point and block (N, G)."""
        pairs = _pairs(lam.shape[1])
        weights = [lam[:, a, i] * lam[:, b, j] + (lam[:, b, i] * lam[:, a, j] if a != b else 0.0) for a, b in pairs]
        K, q, G = self.A.shape
        out = np.einsum("nk,qn->nkq", c, np.array(weights)).reshape(len(lam), K * q) @ self.A.reshape(K * q, G)
        return np.asarray(out + 1.0 if i == j else out)

    def _scale_tail(self, lam: Floats, H: Floats) -> None:
        """ΛᵀHΛ in place, Λ of the tail."""
        for rows, own in self._tail(lam):
            p = own.shape[1]
            for axis in (H, np.swapaxes(H, 1, 2)):
                part = axis[:, rows]
                if p == 1:
                    axis[:, rows] = part * own
                else:
                    shaped = part.reshape(len(own), -1, p, part.shape[2])
                    axis[:, rows] = np.einsum("nab,njax->njbx", own, shaped).reshape(part.shape)

    def _tail(self, lam: Floats) -> Iterator[tuple[slice, Floats]]:
        """Rows of the tail and λ (N, p, p), by factor."""
        row, at = 0, 0
        for k, (p, J) in enumerate(zip(self.shape.sizes, self.shape.levels, strict=True)):
            own = lam[:, at : at + p * p].reshape(len(lam), p, p)
            at += p * p
            if k:
                yield slice(row, row + p * J), own
                row += p * J

    def draw(self, at: Points, rng: np.random.Generator) -> tuple[Floats, list[Floats]]:
        """An exact draw at each point of the integrated coefficients (N, g) and b̃_k (N, J_k, p_k), internal scale."""
        (_, m, p, J), t, g = self.C.shape, self.shape.tail, self.shape.n_integrated
        coefficients, tail, first = np.empty((len(at), g)), np.empty((len(at), t)), np.empty((len(at), J, p))
        step = max(1, BLOCK // max(J * p, m * m, 1))
        for start in range(0, len(at), step):
            let_through()
            part = slice(start, start + step)
            tail[part], coefficients[part], first[part] = self._draw(at.part(part), rng)
        b: list[Floats] = [first] if self.shape.sizes else []
        for rows, own in self._tail(at.lam):
            b.append(tail[:, rows].reshape(len(at), -1, own.shape[1]))
        return coefficients, b

    def _draw(self, at: Points, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """The tail's effects, coefficients, and effects of the first factor."""
        c, _ = self._coefficients(at.rho)
        _, half, L = self._factorized(at, c)
        n, t, s = len(at), self.shape.tail, (at.sigma / self.fixed.unit)[:, None]
        v, a = self.fixed.contrast(at.sampled), t + self.shape.n_integrated
        x = s * rng.standard_normal((n, a)) + np.einsum("nia,ni->na", L[:, a:, :a], v)
        for i in reversed(range(a)):
            x[:, i] -= np.einsum("nj,nj->n", L[:, i + 1 : a, i], x[:, i + 1 :])
            x[:, i] /= L[:, i, i]
        for rows, own in self._tail(at.lam):
            shaped = x[:, rows].reshape(n, -1, own.shape[1])
            x[:, rows] = np.einsum("nab,njb->nja", own, shaped).reshape(n, -1)
        contrast = np.concatenate([-x, v], axis=1)
        return x[:, :t], x[:, t:], self._first(half, c, contrast, s, rng)

    def _first(
        self, half: list[list[Floats]], c: Floats, contrast: Floats, s: Floats, rng: np.random.Generator
    ) -> Floats:
        """Effects K C v + σ λL⁻ᵀε (N, J, p) of the first factor, with K = NᵀN and λL⁻ᵀ = Nᵀ."""
        (K, m, p, J), n = self.C.shape, len(contrast)
        weighted = (c[:, :, None] * contrast[:, None, :]).reshape(n, -1)
        right = (weighted @ self.C.reshape(K * m, p * J)).reshape(n, p, J)
        white = s[..., None] * rng.standard_normal((n, p, J))
        spread = [[entry[:, self.block] if len(self.sizes) > 1 else entry for entry in row] for row in half]
        for k in range(p):
            for a in range(p):
                white[:, k] += spread[k][a] * right[:, a]
        out = np.zeros((n, J, p))
        for a in range(p):
            for k in range(p):
                out[:, :, a] += spread[k][a] * white[:, k]
        return out


def _pairs(p: int) -> list[tuple[int, int]]:
    """Places of a lower triangle, by rows."""
    return [(a, b) for a in range(p) for b in range(a + 1)]


def _dots(half: list[list[Floats]], a: int, b: int) -> Floats:
    """Entry (a, b) of NᵀN (N, G)."""
    out = half[0][a] * half[0][b]
    for row in half[1:]:
        out += row[a] * row[b]
    return np.asarray(out)


def has_batches(shape: Shape) -> bool:
    """Whether the products of the levels' rows of C are few enough to be held."""
    p, J = (shape.sizes[0], shape.levels[0]) if shape.sizes else (0, 0)
    m = shape.tail + shape.n_integrated + shape.n_sampled + 1
    return J * p * (p + 1) * m * (m + 1) <= 4 * MOST_PRODUCTS


def make_batched(shape: Shape, fixed: FixedPart, data: Mapping[str, Floats], basis: Basis | None) -> Batched:
    """Arrange cross-products as :func:`~_ranef.posterior.blocks.collapsed_arrays` do, or in parts, of a `basis`."""

    def parts(name: str) -> Floats:
        return data[name][None] if basis is None else data[f"{name}_parts"]

    T = parts("T")
    none = np.zeros((len(T), 0, 0, 0)), np.zeros((len(T), 0, T.shape[1], 0))
    A, C = (parts("A"), parts("C")) if shape.sizes else none
    rows, columns = np.tril_indices(A.shape[1])
    lower = A[:, rows, columns]
    block, first = _alike(lower)
    return Batched(
        shape=shape,
        fixed=fixed,
        A=lower[:, :, first],
        C=np.ascontiguousarray(np.swapaxes(C, 1, 2)),
        T=T,
        block=block,
        basis=basis,
        constant=float(data["constant"]),
        nu=float(data["nu"]),
    )


def _alike(lower: Floats) -> tuple[Ints, Ints]:
    """Which of the different blocks each level has (J,), and a level of each (G,)."""
    J = lower.shape[2]
    if not J:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    flat = lower.reshape(-1, J)
    size = np.abs(flat).max() or 1.0
    rounded = np.round(flat / size * (0.1 / SAME)) + 0.0
    _, first, block = np.unique(rounded, axis=1, return_index=True, return_inverse=True)
    return block.ravel(), first
