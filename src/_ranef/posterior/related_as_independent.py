"""Few related levels as independent ones: b = (L ⊗ I)u with K = LLᵀ, whose columns meet in every row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from _ranef.likelihood import CrossProducts
from _ranef.linalg import BlockMatrix, PairBlocks
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["MOST_EFFECTS", "NO_FACTOR", "among_roots", "with_independent_levels"]

#: effects of factors with related levels up to which a dense tail is quicker than the kernels of related levels
MOST_EFFECTS = 100

#: what stands for a grouping where the first factor has no levels, for all others are in the tail
NO_FACTOR = -1


def with_independent_levels(spec: ModelSpec, products: CrossProducts) -> CrossProducts | None:
    """The cross-products of u, with related factors behind a first one that is not; None where they have many levels.

    Pairs (k, k) hold what levels of such a factor share, and only the order, blocks and scale are of use.
    """
    related = [i for i, k in enumerate(products.order) if spec.groupings[k].among is not None]
    if not related or sum(products.n_levels[i] * products.sizes[i] for i in related) > MOST_EFFECTS:
        return None
    others = [i for i in range(len(products.order)) if i not in related]
    places = [*sorted(others, key=lambda i: -products.n_levels[i] * products.sizes[i]), *related]
    A, Xy = products.A.permuted(places), [products.Xy[i] for i in places]
    order = [products.order[i] for i in places]
    roots = among_roots(spec)
    diag, pairs = list(A.diag), dict(A.pairs)
    for i, k in enumerate(order):
        L = roots[k]
        if L is not None:
            Xy[i] = np.tensordot(L.T, Xy[i], 1)
            within = np.einsum("ji,jab,jk->ikab", L, diag[i], L, optimize=True)
            pairs[i, i] = _all_pairs(within)
    for i, l in A.pairs:
        left, right = roots[order[i]], roots[order[l]]
        if left is not None or right is not None:
            pairs[i, l] = _all_pairs(_spread(A, i, l, left, right))
    if not others:
        order, diag = [NO_FACTOR, *order], [np.zeros((0, 1, 1)), *diag]
        Xy = [np.zeros((0, 1, Xy[0].shape[2])), *Xy]
        pairs = {(i + 1, l + 1): pair for (i, l), pair in pairs.items()}
        pairs |= {(0, l): _all_pairs(np.zeros((0, len(diag[l]), 1, diag[l].shape[1]))) for l in range(1, len(diag))}
    return replace(products, A=BlockMatrix(tuple(diag), pairs), Xy=tuple(Xy), order=tuple(order), rows=None)


def among_roots(spec: ModelSpec) -> list[Floats | None]:
    """L (J_k, J_k) by grouping, where levels are related."""
    return [None if g.among is None else np.asarray(g.among.coloured(np.eye(g.n_levels))) for g in spec.groupings]


def _spread(A: BlockMatrix, k: int, l: int, left: Floats | None, right: Floats | None) -> Floats:
    """The blocks (J_k, J_l, p_k, p_l) between two factors, of which one at least has levels that are related."""
    pair = A.pairs[k, l]
    out = np.zeros((A.n_levels[k], A.n_levels[l], A.sizes[k], A.sizes[l]))
    out[pair.rows, pair.cols] = pair.blocks
    out = out if left is None else np.einsum("ji,jlab->ilab", left, out, optimize=True)
    return out if right is None else np.einsum("ijab,jl->ilab", out, right, optimize=True)


def _all_pairs(blocks: Floats) -> PairBlocks:
    """Blocks (J, L, p, q) of all pairs of levels."""
    J, L = blocks.shape[:2]
    return PairBlocks(np.repeat(np.arange(J), L), np.tile(np.arange(L), J), blocks.reshape(J * L, *blocks.shape[2:]))
