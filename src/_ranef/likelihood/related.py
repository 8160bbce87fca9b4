"""Known covariances K = LLᵀ among the levels of a factor: b = (L ⊗ I)a with independent a, Z̃ = Z(L ⊗ I).

Every row touches all levels of a then. So the factor becomes one of a single level, with the columns of all levels, and
D̃ = I ⊗ D; nothing else of the likelihood changes. L ⊗ I and I ⊗ D commute, so that modes and their covariances, taken
back to b, have the shapes that they have of any other factor. (Henderson 1976, Biometrics 32, 69–83, for pedigrees.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from _ranef.linalg import PairBlocks
from _ranef.support.arrays import Floats, Ints

__all__ = ["Relation", "related_sums"]


@dataclass(frozen=True, eq=False, repr=False)
class Relation:
    """The map L (J, J) between the levels of one factor of p columns."""

    root: Floats
    size: int

    @property
    def n_levels(self) -> int:
        """Number of levels J."""
        return len(self.root)

    def expanded(self, own: Floats) -> Floats:
        """I ⊗ λ (Jp, Jp)."""
        return np.kron(np.eye(self.n_levels), own)

    def summed(self, W: Floats) -> Floats:
        """Sum (p, p) of the diagonal blocks of a matrix (Jp, Jp): what a change of D, which all share, moves."""
        J, p = self.n_levels, self.size
        return np.asarray(np.einsum("apaq->pq", W.reshape(J, p, J, p)))

    def by_level(self, own: Floats) -> Floats:
        """Columns (1, Jp, ...) of a as (J, p, ...)."""
        return own.reshape(self.n_levels, self.size, *own.shape[2:])

    def joined(self, own: Floats) -> Floats:
        """The way back."""
        return own.reshape(1, self.n_levels * self.size, *own.shape[2:])

    def outward(self, own: Floats) -> Floats:
        """Columns (1, Jp, ...) of a as those (J, p, ...) of b."""
        return np.asarray(np.tensordot(self.root, self.by_level(own), axes=1))

    def inward(self, sums: Floats) -> Floats:
        """Sums (J, p, ...) by level of rows of Z as those (1, Jp, ...) of Z̃."""
        return self.joined(np.tensordot(self.root.T, sums, axes=1))

    def blocks(self, Q: Floats) -> Floats:
        """Diagonal blocks (J, p, p) of (L ⊗ I)Q(L ⊗ I)ᵀ for Q (1, Jp, Jp)."""
        J, p = self.n_levels, self.size
        half = np.tensordot(self.root, Q.reshape(J, p, J, p), axes=1)  # (J, p, J, p)
        return np.asarray(np.einsum("jpbq,jb->jpq", half, self.root))

    def rows(self, codes: Ints, Z: Floats) -> Floats:
        """Rows (m, Jp) of Z̃ of rows of Z (m, p); those of no level are zero."""
        known = (codes >= 0) & (codes < self.n_levels)
        L = np.where(known[:, None], self.root[np.where(known, codes, 0)], 0.0)
        return np.asarray((L[:, :, None] * Z[:, None, :]).reshape(len(Z), -1))


Sums = tuple[tuple[Floats, ...], Mapping[tuple[int, int], PairBlocks], tuple[Floats, ...]]


def related_sums(
    relations: Sequence[Relation | None],
    diag: Sequence[Floats],
    pairs: Mapping[tuple[int, int], PairBlocks],
    Xy: Sequence[Floats],
) -> Sums:
    """ZᵀWZ by level, by pair of levels, and ZᵀW[X y], with Z̃ in the place of Z for factors that have a relation."""
    new_diag = [d if r is None else _square(r, d) for r, d in zip(relations, diag, strict=True)]
    new_Xy = [x if r is None else r.inward(x) for r, x in zip(relations, Xy, strict=True)]
    out = {}
    for (k, l), pair in pairs.items():
        first, second = relations[k], relations[l]
        own = pair
        if first is not None:
            own = _across(first, own, diag[l].shape[0])
        if second is not None:
            own = _across(second, own.flipped(), new_diag[k].shape[0]).flipped()
        out[k, l] = own
    return tuple(new_diag), out, tuple(new_Xy)


def _square(relation: Relation, diag: Floats) -> Floats:
    """(L ⊗ I)ᵀ diag(A_j) (L ⊗ I), (1, Jp, Jp)."""
    J, p = relation.n_levels, relation.size
    out = np.empty((J, p, J, p))
    for a in range(p):
        for b in range(p):
            out[:, a, :, b] = relation.root.T @ (diag[:, a, b, None] * relation.root)
    return out.reshape(1, J * p, J * p)


def _across(relation: Relation, pair: PairBlocks, other: int) -> PairBlocks:
    """Blocks (n, Jp, q) of the one level with every level of another factor that has rows."""
    touched = np.unique(pair.cols)
    place = np.zeros(other, dtype=np.intp)
    place[touched] = np.arange(len(touched))
    J, p, q = relation.n_levels, relation.size, pair.blocks.shape[2]
    out = np.zeros((len(touched), J, p, q))
    for row, col, block in zip(pair.rows.tolist(), place[pair.cols].tolist(), pair.blocks, strict=True):
        out[col] += relation.root[row][:, None, None] * block
    return PairBlocks(np.zeros(len(touched), dtype=np.intp), touched, out.reshape(len(touched), J * p, q))
