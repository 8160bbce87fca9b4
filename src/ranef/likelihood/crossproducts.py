"""Cross-products of the rows, the only thing the likelihood reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from ranef.arrays import Floats, Ints
from ranef.likelihood.scaling import Scaling, make_scaling
from ranef.linalg import BlockMatrix, PairBlocks, Plan, elimination_order, make_plan
from ranef.spec import ModelSpec

__all__ = ["CrossProducts", "cross_products"]


@dataclass(frozen=True)
class CrossProducts:
    """[Z X y]ᵀW[Z X y] on the internal scale, with the plan for eliminating Z.

    Attributes
    ----------
    A : BlockMatrix
        ZᵀWZ, its factors in elimination order.
    Xy : tuple of array (J_k, p_k, p + 1)
        ZᵀW[X y] by factor, in elimination order.
    corner : array (p + 1, p + 1)
        [X y]ᵀW[X y].
    order : tuple of int
        Grouping of the spec that stands at each place of the elimination order.
    plan : Plan
    scaling : Scaling
    n_obs : int
    log_weights : float
        Σ log wᵢ.
    """

    A: BlockMatrix
    Xy: tuple[Floats, ...]
    corner: Floats
    order: tuple[int, ...]
    plan: Plan
    scaling: Scaling
    n_obs: int
    log_weights: float

    @property
    def n_fixed(self) -> int:
        """Number of fixed-effect coefficients p."""
        return int(self.corner.shape[0]) - 1


def cross_products(spec: ModelSpec) -> CrossProducts:
    """Read the rows of a model once (centred, scaled, weighted) into its cross-products."""
    scaling, X, y = make_scaling(spec)
    w = spec.design.weights
    root = np.ones((spec.n_obs, 1)) if w is None else np.sqrt(w)[:, None]
    Xy = np.column_stack([X, y]) * root
    Zs = [g.Z @ T * root for g, T in zip(spec.groupings, scaling.Z, strict=True)]
    codes = [g.codes for g in spec.groupings]
    shape = [g.n_levels for g in spec.groupings]
    diag = tuple(_grouped_products(c, J, Z, Z) for c, J, Z in zip(codes, shape, Zs, strict=True))
    columns = tuple(_grouped_products(c, J, Z, Xy) for c, J, Z in zip(codes, shape, Zs, strict=True))
    pairs = {
        (k, l): _pair_products(codes[k], codes[l], (shape[k], shape[l]), Zs[k], Zs[l])
        for l in range(len(codes))
        for k in range(l)
    }
    A = BlockMatrix(diag, pairs)
    order = elimination_order(A)
    A = A.permuted(order)
    Xy_blocks = tuple(columns[k] for k in order)
    return CrossProducts(A, Xy_blocks, Xy.T @ Xy, tuple(order), make_plan(A), scaling, spec.n_obs, spec.log_weights)


def _grouped_products(codes: Ints, n_levels: int, left: Floats, right: Floats) -> Floats:
    """Σ over the rows of each level of leftᵀright: (J, p, m)."""
    n = codes.shape[0]
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=n_levels))])
    out = np.empty((n_levels, left.shape[1], right.shape[1]))
    for a in range(left.shape[1]):
        column = scipy.sparse.csr_array((left[order, a], order, starts), shape=(n_levels, n))
        out[:, a, :] = column @ right
    return out


def _pair_products(first: Ints, second: Ints, shape: tuple[int, int], left: Floats, right: Floats) -> PairBlocks:
    """Blocks Σ leftᵀright over the rows that share a level of both factors."""
    keys = first * shape[1] + second
    present, position = np.unique(keys, return_inverse=True)
    blocks = np.empty((present.shape[0], left.shape[1], right.shape[1]))
    for a in range(left.shape[1]):
        for b in range(right.shape[1]):
            blocks[:, a, b] = np.bincount(position, left[:, a] * right[:, b], minlength=present.shape[0])
    return PairBlocks(present // shape[1], present % shape[1], blocks)
