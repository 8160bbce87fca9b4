"""Leverages and Cook's distances of the observations, and the joint covariance they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranef.arrays import Floats, Ints
from ranef.errors import FitError
from ranef.inference.effects import grouping_named
from ranef.inference.prediction import Rows, whitened_rows
from ranef.likelihood import CrossProducts, Evaluation
from ranef.linalg import backward, paired_blocks
from ranef.spec import ModelSpec

__all__ = ["RowCovariance", "cooks_distances", "joint_covariance", "leverages", "row_covariance"]

#: entries of covariance blocks gathered by row at once
CHUNK_ENTRIES = 4_000_000

#: effects of which a dense joint covariance may be asked
MAX_EFFECTS = 5000

#: 1 − h below this is zero to rounding: the model fits the row exactly, whatever its response
EXACT_ROW = 1e-10


@dataclass(frozen=True)
class RowCovariance:
    """What the leverage of a row is made of, given θ; groupings in elimination order, internal scale.

    Attributes
    ----------
    Q : mapping (k, l) to array
        Blocks of the conditional covariance of b over σ²: (J_k, p_k, p_k) for k = l, else in the order of ``A.pairs``.
    B : tuple of array (J_k, p_k, p)
        DZᵀV⁻¹X.
    root : array (p, p)
        R with RᵀR = (XᵀV⁻¹X)⁻¹.
    """

    Q: Mapping[tuple[int, int], Floats]
    B: tuple[Floats, ...]
    root: Floats


def row_covariance(products: CrossProducts, at: Evaluation) -> RowCovariance:
    """The blocks of Q for levels that share a row, and DZᵀV⁻¹X: nothing is n×n or n×q."""
    B = tuple(b[:, :, :-1] for b in backward(at.factor, at.columns.white))
    return RowCovariance(paired_blocks(products.A, at.factor), B, at.inverse_root)


def leverages(spec: ModelSpec, products: CrossProducts, given: RowCovariance) -> Floats:
    """Diagonal (n,) of the matrix H that maps y to the conditional fitted values, given θ, for rows in memory.

    h = w Var(xᵀβ̂ + zᵀ(b̂ − b))/σ², in two parts: zᵀQz, and gᵀ(XᵀV⁻¹X)⁻¹g with g = x − XᵀV⁻¹ZDz (Demidenko & Stukel
    2005, Stat. Med. 24, 893-909, §3; lme4's ``hatvalues``).
    """
    out = np.zeros(spec.n_obs)
    X = spec.design.X @ products.scaling.X
    Z = [spec.groupings[k].Z @ products.scaling.Z[k] for k in products.order]
    codes = [spec.groupings[k].codes for k in products.order]
    for k, (z, code) in enumerate(zip(Z, codes, strict=True)):
        X = X - _by_rows(z, given.B[k], code)
        out += _forms(z, given.Q[k, k], code, z)
    for (k, l), pair in products.A.pairs.items():
        width = products.A.n_levels[l]
        place = np.searchsorted(pair.rows * width + pair.cols, codes[k] * width + codes[l])
        out += 2.0 * _forms(Z[k], given.Q[k, l], place, Z[l])
    out += ((X @ given.root.T) ** 2).sum(axis=1)
    return np.asarray(spec.residual.precision * out)


def _forms(left: Floats, blocks: Floats, place: Ints, right: Floats) -> Floats:
    """Bilinear forms lᵀBr (n,) with the block that each row names."""
    return np.asarray((_by_rows(left, blocks, place) * right).sum(axis=1))


def _by_rows(left: Floats, blocks: Floats, place: Ints) -> Floats:
    """lᵀB (n, r) with the block (p, r) that each row names."""
    n, (_, p, r) = left.shape[0], blocks.shape
    out = np.empty((n, r))
    step = max(1, CHUNK_ENTRIES // max(1, p * r))
    for first in range(0, n, step):
        part = slice(first, first + step)
        out[part] = np.einsum("na,nar->nr", left[part], blocks[place[part]])
    return out


def cooks_distances(pearson: Floats, leverage: Floats, n_fixed: int) -> Floats:
    """Cook's distance (n,) of every observation, (r/(1 − h))² h/p with r the Pearson residual over σ.

    The one-step value of lme4's ``cooks.distance`` (Cook & Weisberg 1982, *Residuals and Influence in Regression*,
    §3.5, with the leverage of the mixed model). NaN where h = 1.

    Raises
    ------
    FitError
        If the model has no fixed effects, by whose number the distance is divided.
    """
    if n_fixed == 0:
        raise FitError(
            "Cook's distance needs at least one fixed effect, and the model has 0: it measures how far they move. Take "
            "hatvalues() and residuals('pearson'), or put an intercept into the formula."
        )
    rest = np.where(1.0 - leverage > EXACT_ROW, 1.0 - leverage, np.nan)
    return np.asarray((pearson / rest) ** 2 * leverage / n_fixed)


def joint_covariance(
    spec: ModelSpec, products: CrossProducts, at: Evaluation, group: str | None = None
) -> pd.DataFrame:
    """Covariance of (β̂, b̂ − b) given θ, σ² times the inverse of Henderson's mixed-model equations, by name.

    It is σ²[(XᵀV⁻¹X)⁻¹, ·; −B(XᵀV⁻¹X)⁻¹, Q + B(XᵀV⁻¹X)⁻¹Bᵀ] with B = DZᵀV⁻¹X and Q = D − DZᵀV⁻¹ZD, which needs no
    inverse of D and so holds where variances are zero (Henderson 1975, Biometrics 31, 423-447; Robinson 1991,
    Stat. Sci. 6, 15-32, §5).

    Raises
    ------
    DesignError
        If the model has no grouping factor `group`.
    FitError
        If the matrix, or what it is made from, would be too large to hold.
    """
    chosen = range(len(spec.groupings)) if group is None else [grouping_named(spec, group)[0]]
    rows = _effects(spec, chosen)
    q = sum(g.n_levels * len(g.columns) for g in spec.groupings)
    m = len(rows.index)
    if (q + spec.n_fixed) * m > MAX_EFFECTS**2:
        raise FitError(
            f"The joint covariance of {m} effects in a model of {q + spec.n_fixed} is too large to hold densely: their "
            f"product must not exceed {MAX_EFFECTS}². Take one grouping factor with group=, vcov for the coefficients, "
            "ranef() for the sd of each effect, or predict(data, interval='confidence') for sums of effects."
        )
    white = whitened_rows(spec, products, at, rows, range(len(spec.groupings)), slice(0, m))
    return pd.DataFrame(white.T @ white, index=rows.index, columns=rows.index)


def _effects(spec: ModelSpec, chosen: Sequence[int]) -> Rows:
    """One row for each coefficient and each random effect of the groupings chosen, in the order of ``matrices``."""
    p = spec.n_fixed
    names = list(spec.design.fixed_names)
    placed: list[tuple[int, int, int]] = []
    for t in spec.terms:
        if t.grouping in chosen:
            levels = spec.groupings[t.grouping].levels
            names += [f"{t.group}[{level}].{c}" for level in levels for c in t.columns]
            placed += [(t.grouping, j, t.start + a) for j in range(len(levels)) for a in range(len(t.columns))]
    m = p + len(placed)
    codes = [np.full(m, -1, dtype=np.intp) for _ in spec.groupings]
    Z = [np.zeros((m, len(g.columns))) for g in spec.groupings]
    for row, (k, level, column) in enumerate(placed, start=p):
        codes[k][row], Z[k][row, column] = level, 1.0
    none: tuple[tuple[str, ...], ...] = ((),) * len(spec.groupings)
    return Rows(np.eye(m, p), np.zeros(m), tuple(codes), tuple(Z), pd.Index(names), none)
