"""The rows themselves, rotated so that few are left, for where cross-products have lost their digits.

XᵀV⁻¹X and r² are XᵀX and yᵀy less what the random effects explain. Where next to nothing is left (a residual sd of
1e-6 of the effects', or a covariate that is constant within groups beside a large variance) the difference of
cross-products is rounding. Nothing is subtracted here: with an orthogonal rotation QᵀZ = [R; 0] and K the triangle with
KKᵀ = I + RΛΛᵀRᵀ, all there is to know are the columns K⁻¹QᵀX, K⁻¹Qᵀy and K⁻¹R, and the rows that no effect touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.likelihood.level_sums import scaled_columns, scaled_effects
from _ranef.likelihood.scaling import Scaling
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["Rotated", "Whole", "rotate", "whole"]

#: most random effects of several factors, and most numbers held at once
MOST_EFFECTS, MOST_ENTRIES = 600, 10_000_000

#: share of a column that is the rounding of its rotation
NOTHING = 1e-13


@dataclass(frozen=True, eq=False, repr=False)
class Rotated:
    """Weighted rows of the internal scale after an orthogonal rotation, by blocks that share no random effect.

    Attributes
    ----------
    Z : array (B, m, q)
        The levels of one factor, or one block of everything where there are several.
    C : array (B, m, p + 1)
        [X y] of the same rows.
    rest : array (p + 1, p + 1)
        Upper triangle of the [X y] of all rows that no random effect touches.
    at : tuple of array (J_k, p_k)
        For every factor, in elimination order, where its effects stand among the B q effects.
    """

    Z: Floats
    C: Floats
    rest: Floats
    at: tuple[Ints, ...]

    def root(self, lambdas: Sequence[Floats]) -> Floats:
        """ZΛ (B, m, q)."""
        if len(self.at) == 1:
            return self.Z @ lambdas[0]
        out = np.empty_like(self.Z)
        for at, lam in zip(self.at, lambdas, strict=True):
            out[:, :, at] = self.Z[:, :, at] @ lam
        return out

    def effects(self, flat: Floats) -> tuple[Floats, ...]:
        """Rows (B, q, r) of all effects as (J_k, p_k, r) by factor."""
        rows = flat.reshape(flat.shape[0] * flat.shape[1], flat.shape[2])
        return tuple(rows[at] for at in self.at)

    def flat(self, by_factor: Sequence[Floats]) -> Floats:
        """Inverse of :meth:`effects`."""
        B, _, q = self.Z.shape
        out = np.empty((B * q, by_factor[0].shape[2]))
        for at, part in zip(self.at, by_factor, strict=True):
            out[at] = part
        return out.reshape(B, q, -1)

    def blocks(self, left: Floats, right: Floats) -> tuple[Floats, ...]:
        """Diagonal blocks (J_k, p_k, p_k) of FᵀG for columns F, G (B, m, q) of all effects, by factor."""
        if len(self.at) == 1:
            return (np.swapaxes(left, 1, 2) @ right,)
        return tuple(np.einsum("mja,mjb->jab", left[0][:, at], right[0][:, at]) for at in self.at)


def rotate(spec: ModelSpec, scaling: Scaling, order: Sequence[int]) -> Rotated | None:
    """Rotate the rows of a model, factors in the given order; None where they are not held, or would be too many."""
    if spec.design.stream is not None or not spec.groupings:
        return None
    n, p1 = spec.n_obs, spec.n_fixed + 1
    shapes = [(spec.groupings[k].n_levels, len(spec.groupings[k].columns)) for k in order]
    effects = sum(J * p for J, p in shapes)
    one = len(order) == 1
    longest = int(np.bincount(spec.groupings[order[0]].codes).max()) if one else n
    width = (shapes[0][1] if one else effects) + p1
    if (not one and effects > MOST_EFFECTS) or (shapes[0][0] if one else 1) * longest * width > MOST_ENTRIES:
        return None
    everything = slice(0, n)
    C = scaled_columns(spec, scaling, everything)
    Zs = [scaled_effects(spec, scaling, everything, k) for k in order]
    if one:
        rows = _by_level(np.hstack([Zs[0], C]), spec.groupings[order[0]].codes, shapes[0][0], longest)
        at: tuple[Ints, ...] = (np.arange(effects).reshape(shapes[0]),)
    else:
        edges = np.cumsum([0, *(J * p for J, p in shapes)])
        at = tuple(low + np.arange(J * p).reshape(J, p) for low, (J, p) in zip(edges, shapes, strict=False))
        Z = np.zeros((n, effects))
        for place, k, columns in zip(at, order, Zs, strict=True):
            Z[np.arange(n)[:, None], place[spec.groupings[k].codes]] = columns
        rows = np.hstack([Z, C])[None]
    triangle = _upper(rows)
    q = width - p1
    m = min(triangle.shape[1], q)
    rest = _square(_upper(triangle[:, m:, q:].reshape(-1, p1)))
    X = rest[:, :-1]  # of its columns in the span of Z nothing is left, to the last digit
    X[np.abs(X) <= NOTHING * np.linalg.norm(C[:, :-1], axis=0)] = 0.0
    return Rotated(triangle[:, :m, :q], triangle[:, :m, q:], rest, at)


def _by_level(rows: Floats, codes: Ints, J: int, longest: int) -> Floats:
    """Rows (n, w) as (J, longest, w), filled up with zeros."""
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=J)
    within = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    out = np.zeros((J, longest, rows.shape[1]))
    out[codes[order], within] = rows[order]
    return out


def _square(triangle: Floats) -> Floats:
    """A trapezoid (m, w) with rows of zeros added up to (w, w)."""
    m, w = triangle.shape
    return np.vstack([triangle, np.zeros((w - m, w))])


@dataclass(frozen=True, eq=False, repr=False)
class Whole:
    """Rotated rows whitened at λ.

    Attributes
    ----------
    Z : array (B, m, q)
        K⁻¹R, with ZᵀV⁻¹Z = ZᵀZ of it.
    C : array (B, m, p + 1)
        K⁻¹[X y].
    triangle : array (p + 1, p + 1)
        Upper, with CᵀV⁻¹C its square: its last entry is r.
    log_det : float
        Log det V.
    half : array (B, q, q)
        H with D − DZᵀV⁻¹ZD = HᵀH.
    """

    Z: Floats
    C: Floats
    triangle: Floats
    log_det: float
    half: Floats


def whole(rotated: Rotated, lambdas: Sequence[Floats]) -> Whole:
    """Whiten rotated rows at λ_k (p_k, p_k), in elimination order."""
    root = rotated.root(lambdas)
    B, _, q = root.shape
    upper = _triangle(np.swapaxes(root, 1, 2))
    columns = np.concatenate([rotated.Z, rotated.C], axis=2)
    white = np.empty_like(columns)
    for b in range(B):
        white[b] = scipy.linalg.solve_triangular(upper[b], columns[b], trans="T", check_finite=False)
    own = white[:, :, q:]
    triangle = _square(_upper(np.vstack([own.reshape(-1, own.shape[2]), rotated.rest])))
    triangle *= np.where(np.diag(triangle) < 0, -1.0, 1.0)[:, None]
    log_det = 2.0 * float(np.log(np.abs(np.diagonal(upper, axis1=1, axis2=2))).sum())
    inner, half = _triangle(root), np.empty((B, q, q))
    lambda_t = np.zeros((q, q))
    if len(rotated.at) == 1:
        lambda_t[:] = lambdas[0].T
    else:
        for at, lam in zip(rotated.at, lambdas, strict=True):
            lambda_t[at[:, :, None], at[:, None, :]] = lam.T
    for b in range(B):
        half[b] = scipy.linalg.solve_triangular(inner[b], lambda_t, trans="T", check_finite=False)
    return Whole(white[:, :, :q], own, triangle, log_det, half)


def _triangle(rows: Floats) -> Floats:
    """Upper triangles T (B, r, r) with TᵀT = I + GᵀG for G (B, s, r).

    By reflections of the longest rows first, after which short rows beside long ones keep their digits (Cox and Higham
    1998, Stability of Householder QR factorization for weighted least squares problems).
    """
    B, _, r = rows.shape
    both = np.concatenate([rows, np.broadcast_to(np.eye(r), (B, r, r))], axis=1)
    order = np.argsort(-np.abs(both).max(axis=2), axis=1, kind="stable")
    return _upper(np.take_along_axis(both, order[:, :, None], axis=1))


def _upper(rows: Floats) -> Floats:
    """The triangle (or trapezoid) of a QR decomposition."""
    return np.asarray(np.linalg.qr(rows, mode="r"))
