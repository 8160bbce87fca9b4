"""What structures with a correlation matrix of few parameters have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy

from _ranef.structures.base import Pairs, Structure
from _ranef.structures.column_scales import non_zero
from _ranef.structures.shape_coordinates import ShapeParameter
from _ranef.support.arrays import Bools, Floats

__all__ = ["Correlated", "tanh_half"]

#: nearest to the end of its interval that a correlation is put, as a share of it, so that its coordinate is a number
EDGE = 1e-12

#: difference of second moments from those of the structure, beside their size, that is rounding
SAME = 1e-13

#: scoring steps towards the closest, halvings of one, and the decrement at which there is none left
STEPS, HALVINGS, DONE = 25, 6, 1e-13

#: least eigenvalue of correlations of second moments that have an inverse
SINGULAR = 1e-9

#: small share of a root by which it is moved to see where a variance falls
NUDGE = 1e-3

#: sizes of every second effect beside the others that are tried where all variances are zero
SECOND = (-1.0, -0.5, 0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Correlated(Structure):
    """D = S R S with S the standard deviations over σ and a correlation matrix R = LLᵀ; θ is S, then coordinates of R.

    Attributes
    ----------
    own : bool
        Whether every column has a standard deviation of its own.
    """

    own: ClassVar[bool]
    least = 2

    @property
    def n_theta(self) -> int:
        """Standard deviations and shapes."""
        return self._n_sds + len(self.shapes)

    @property
    def _n_sds(self) -> int:
        return self.size if self.own else 1

    @property
    def own_sds(self) -> range:
        """All columns, or the first."""
        return range(self._n_sds)

    @property
    def on_diagonal(self) -> Bools:
        """The standard deviations."""
        return np.arange(self.n_theta) < self._n_sds

    @property
    def not_negative(self) -> Bools:
        """Own standard deviations of three columns and more, for other signs are other correlations.

        Those of two columns may change signs: that changes the sign of their correlation, which is free.
        """
        return self.on_diagonal & (self.own and self.size > 2)

    @property
    def pairs(self) -> Pairs:
        """All, column by column."""
        return tuple((i, j) for j in range(self.size) for i in range(j + 1, self.size))

    @property
    @abstractmethod
    def shapes(self) -> tuple[ShapeParameter, ...]:
        """Those of R."""

    @abstractmethod
    def factor(self, u: Floats) -> Floats:
        """Lower-triangular L (..., p, p) of R at the coordinates `u` (..., m) of the shapes."""

    @abstractmethod
    def slopes(self, u: Floats) -> Floats:
        """∂L/∂u (..., m, p, p)."""

    @abstractmethod
    def moments(self, lags: Floats, means: Floats) -> Floats:
        """Shapes (..., m) by moments: from correlations' means by lag (..., p - 1), and the mean of all (...)."""

    def root(self, theta: Floats) -> Floats:
        """SL."""
        return np.asarray(self._sds(theta)[..., None] * self.factor(theta[..., self._n_sds :]))

    def _sds(self, theta: Floats) -> Floats:
        return theta[..., : self._n_sds] if self.own else np.repeat(theta[..., :1], self.size, axis=-1)

    def jacobian(self, theta: Floats) -> Floats:
        """Rows of L for standard deviations, S times the slopes of L for shapes."""
        u, s = theta[..., self._n_sds :], self._sds(theta)
        L, bent = self.factor(u), s[..., None, :, None] * self.slopes(u)
        rows = np.eye(self.size)[:, :, None] * L[..., None, :, :] if self.own else L[..., None, :, :]
        return np.concatenate([rows, bent], axis=-3)

    def labels(self, columns: Sequence[str]) -> list[str]:
        """Columns, or ``sd`` for one of all; then the logits of where the shapes stand between their bounds."""
        return [*(columns if self.own else ["sd"]), *(f"logit({s.name})" for s in self.shapes)]

    def closest(self, root: Floats) -> Floats:
        """By moments where RRᵀ has the structure or is singular; else where log|D| + tr(D⁻¹RRᵀ) is smallest."""
        second = root @ np.swapaxes(root, -1, -2)
        theta = self._by_moments(second)
        flat, moments = theta.reshape(-1, self.n_theta), second.reshape(-1, self.size, self.size)
        lam = self.root(flat)
        size = np.sqrt(np.diagonal(moments, axis1=1, axis2=2))
        unit = size[:, :, None] * size[:, None, :]
        apart = np.abs(lam @ np.swapaxes(lam, 1, 2) - moments)
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.where(unit > 0, moments / unit, np.nan)
        finite = np.asarray(np.isfinite(correlation).all(axis=(1, 2)))
        least = np.linalg.eigvalsh(np.where(finite[:, None, None], correlation, 0.0))[:, 0]
        going = np.flatnonzero((least > SINGULAR) & (apart > SAME * unit).any(axis=(1, 2)))
        if going.size:
            flat = flat.copy()
            flat[going] = self._scored(flat[going], moments[going])
        return flat.reshape(theta.shape)

    def _by_moments(self, second: Floats) -> Floats:
        """θ (..., n_theta) from mean variances, and means of the correlations of columns that vary."""
        p = self.size
        variances = np.diagonal(second, axis1=-2, axis2=-1)
        if not self.own:
            variances = np.repeat(variances.mean(axis=-1, keepdims=True), p, axis=-1)
        sds = np.sqrt(variances)
        unit = sds[..., :, None] * sds[..., None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.where(unit > 0, second / unit, np.nan)
        lags = np.stack([_mean(np.diagonal(correlation, k, -2, -1)) for k in range(1, p)], axis=-1)
        below = correlation[..., *np.tril_indices(p, -1)]
        inside = []
        for s, x in zip(self.shapes, np.moveaxis(self.moments(lags, _mean(below)), -1, 0), strict=True):
            margin = EDGE * (s.high - s.low)
            inside.append(s.coordinate(np.clip(np.nan_to_num(x, nan=0.0), s.low + margin, s.high - margin)))
        return np.concatenate([sds[..., : self._n_sds], np.stack(inside, axis=-1)], axis=-1)

    def _scored(self, theta: Floats, second: Floats) -> Floats:
        """Fisher scoring from θ (B, n_theta) for second moments (B, p, p), which are regular."""
        theta, active = theta.copy(), np.arange(len(theta))
        value = self._misfit(theta, second)
        for _ in range(STEPS):
            if not active.size:
                break
            step, decrement = self._scoring_step(theta[active], second[active])
            going = decrement > DONE
            active, step = active[going], step[going]
            moved, length = np.zeros(len(active), dtype=bool), 1.0
            for _ in range(HALVINGS):
                waiting = np.flatnonzero(~moved)
                trial = self._moved(theta[active[waiting]], length * step[waiting])
                there = self._misfit(trial, second[active[waiting]])
                better = there < value[active[waiting]]
                at = active[waiting[better]]
                theta[at], value[at] = trial[better], there[better]
                moved[waiting[better]] = True
                length /= 4.0
            active = active[moved]
        return theta

    def _moved(self, theta: Floats, step: Floats) -> Floats:
        """θ after a step in log standard deviations and coordinates of shapes."""
        n = self._n_sds
        return np.concatenate([theta[:, :n] * np.exp(np.clip(step[:, :n], -1.0, 1.0)), theta[:, n:] + step[:, n:]], 1)

    def _misfit(self, theta: Floats, second: Floats) -> Floats:
        """log|D| + tr(D⁻¹ second) (B,); infinite where D is singular."""
        lam = self.root(theta)
        diagonal = np.abs(np.diagonal(lam, axis1=1, axis2=2))
        regular = np.asarray((diagonal > 0).all(axis=1))
        inverse = np.linalg.inv(np.where(regular[:, None, None], lam, np.eye(self.size)))
        trace = np.einsum("bij,bjk,bik->b", inverse, second, inverse)
        return np.where(regular, 2.0 * np.log(np.where(regular[:, None], diagonal, 1.0)).sum(axis=1) + trace, np.inf)

    def _scoring_step(self, theta: Floats, second: Floats) -> tuple[Floats, Floats]:
        """Step (B, n_theta) in the coordinates of :meth:`_moved`, and the decrement (B,) there."""
        scale = np.where(np.arange(self.n_theta) < self._n_sds, theta, 1.0)
        inverse = np.linalg.inv(self.root(theta))
        half = inverse[:, None] @ (scale[:, :, None, None] * self.jacobian(theta))
        white = half + np.swapaxes(half, 2, 3)  # λ⁻¹ dD λ⁻ᵀ
        left = np.eye(self.size) - inverse @ second @ np.swapaxes(inverse, 1, 2)
        gradient = np.einsum("bijk,bjk->bi", white, left)
        flat = white.reshape(*white.shape[:2], -1)
        information = flat @ np.swapaxes(flat, 1, 2)
        size = np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-300))
        unit = information / (size[:, :, None] * size[:, None, :]) + 1e-12 * np.eye(self.n_theta)
        step = -np.linalg.solve(unit, (gradient / size)[..., None])[..., 0] / size
        return step, -(gradient * step).sum(axis=1)

    def scaling_map(self, gram: Floats) -> Floats:
        """To columns of unit mean square, each by itself or all by one factor."""
        squares = non_zero(np.diag(gram))
        return np.diag(1.0 / np.sqrt(squares if self.own else np.full(self.size, squares.mean())))

    def falls(self, inner: Floats, null: Floats, root: Floats | None = None) -> tuple[Floats, Floats]:
        """Along some directions: all variances are zero, or a correlation is at the end of its interval.

        One own standard deviation of zero among others is an end of an interval, too, and the gradient tells of it.
        """
        p = self.size
        if self.own and p == 2:
            values, vectors = np.linalg.eigh(null.T @ inner @ null)
            return values, null @ vectors
        lam = np.zeros((p, p)) if null.shape[1] == p or root is None else root
        if null.shape[1] == p:
            vectors, size = np.column_stack(list(self._candidates(inner))), 1.0
        elif self.own and (np.linalg.norm(lam, axis=1) < NUDGE * np.linalg.norm(lam, axis=1).max()).any():
            return np.zeros(0), np.zeros((p, 0))
        else:
            vectors, size = null, NUDGE * float(np.linalg.norm(lam))
        moved = np.concatenate([np.broadcast_to(lam, (vectors.shape[1], p, p)), size * vectors.T[:, :, None]], axis=2)
        away = self.root(self.closest(moved))
        change = away @ np.swapaxes(away, 1, 2) - lam @ lam.T
        return np.einsum("ij,bij->b", inner, change) / size**2, vectors

    def _candidates(self, inner: Floats) -> Iterator[Floats]:
        """Effects of one level whose second moments are of the structure's kind, steep ones among them."""
        p = self.size
        steepest = np.linalg.eigh(inner)[1][:, 0]
        yield from (steepest, np.abs(steepest))
        yield from np.eye(p) if self.own else ()
        for x in SECOND:
            yield np.where(np.arange(p) % 2 == 0, 1.0, x)
        contrast = np.linalg.eigh(inner)[1].T
        yield from (v - v.mean() for v in contrast if np.abs(v - v.mean()).max() > NUDGE)


def _mean(values: Floats) -> Floats:
    """Mean along the last axis of what is a number; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def tanh_half(u: Floats) -> tuple[Floats, Floats]:
    """tanh(u/2), a correlation ρ between −1 and 1, and √(1 − ρ²), half of whose square is dρ/du."""
    return np.tanh(0.5 * u), 2.0 * np.sqrt(scipy.special.expit(u) * scipy.special.expit(-u))
