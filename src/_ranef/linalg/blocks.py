"""A symmetric block matrix of several factors, each block-diagonal in itself, sparse between factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from _ranef.linalg.batched import transpose
from _ranef.support.arrays import Floats, Ints

__all__ = ["BlockMatrix", "PairBlocks"]


@dataclass(frozen=True, eq=False, repr=False)
class PairBlocks:
    """The non-zero blocks between two factors.

    Attributes
    ----------
    rows, cols : array of int (nnz,)
        Levels of the first and of the second factor, sorted by row, then by column.
    blocks : array (nnz, p, q)
    """

    rows: Ints
    cols: Ints
    blocks: Floats

    def flipped(self) -> PairBlocks:
        """The same blocks seen from the second factor."""
        order = np.lexsort((self.rows, self.cols))
        return PairBlocks(self.cols[order], self.rows[order], transpose(self.blocks[order]))


@dataclass(frozen=True, eq=False, repr=False)
class BlockMatrix:
    """A = ZᵀZ by factors.

    Attributes
    ----------
    diag : tuple of array (J_k, p_k, p_k)
    pairs : mapping (k, l), k < l, to PairBlocks
    """

    diag: tuple[Floats, ...]
    pairs: Mapping[tuple[int, int], PairBlocks]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of columns p_k."""
        return tuple(d.shape[1] for d in self.diag)

    @property
    def n_levels(self) -> tuple[int, ...]:
        """Numbers of levels J_k."""
        return tuple(d.shape[0] for d in self.diag)

    def pair(self, k: int, l: int) -> PairBlocks:
        """Blocks between factors `k` and `l`, seen from `k`."""
        return self.pairs[k, l] if k < l else self.pairs[l, k].flipped()

    def permuted(self, order: Sequence[int]) -> BlockMatrix:
        """The same matrix with its factors in another order."""
        pairs = {(a, b): self.pair(order[a], order[b]) for b in range(len(order)) for a in range(b)}
        return BlockMatrix(tuple(self.diag[k] for k in order), pairs)

    def dot(self, columns: Sequence[Floats]) -> tuple[Floats, ...]:
        """A times `columns`, a (J_k, p_k, r) for each factor."""
        out = [d @ c for d, c in zip(self.diag, columns, strict=True)]
        for (k, l), pair in self.pairs.items():
            np.add.at(out[k], pair.rows, pair.blocks @ columns[l][pair.cols])
            np.add.at(out[l], pair.cols, transpose(pair.blocks) @ columns[k][pair.rows])
        return tuple(out)
