"""Correlations within groups by their matrices, those of groups whose rows stand alike made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from _ranef.errors import DesignError
from _ranef.residuals.correlation_matrices import Matrices
from _ranef.residuals.on_rows import CorrelationFunction, CorrelationRoot, RowCorrelation, Told
from _ranef.support.arrays import Floats, Ints

__all__ = ["Blocks", "blocks_of"]

#: imaginary step of derivatives, which are exact to rounding
STEP = 1e-30

#: standard deviation of a row given those before it, over its own, from which on it has lost its digits
LEAST_LEFT = 1e-6

#: rows of a group up to which their correlations are made as a matrix
MOST_ROWS = 5_000


@dataclass(frozen=True, eq=False)
class Size:
    """Groups of one size s.

    Attributes
    ----------
    rows : array of int (G, s)
        The rows of each group, in order of their places.
    pattern : array of int (G,)
        Which of the patterns its rows stand in.
    places : array (U, s, d)
        The patterns.
    """

    rows: Ints
    pattern: Ints
    places: Floats


@dataclass(frozen=True, eq=False, repr=False)
class Blocks(RowCorrelation):
    """Groups of rows by size, and a law of their correlations."""

    law: Matrices
    places: Floats

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the law."""
        return self.law.names

    @property
    def starts(self) -> tuple[Floats, ...]:
        """Those of the law."""
        return self.law.starts

    @property
    def sequence(self) -> Ints:
        """By their places."""
        return np.lexsort((*self.places.T[::-1], self.codes))

    @cached_property
    def sizes(self) -> tuple[Size, ...]:
        """The groups, those of one size together."""
        order = self.sequence
        counts = np.bincount(self.codes)
        ends = np.cumsum(counts)
        out = []
        for s in np.unique(counts[counts > 0]).tolist():
            first = (ends - counts)[counts == s]
            rows = order[first[:, None] + np.arange(s)]
            places = self.places[rows]
            if self.law.stationary:
                places = places - places[:, :1]
            flat, pattern = np.unique(places.reshape(len(rows), -1), axis=0, return_inverse=True)
            out.append(Size(rows, pattern.ravel(), flat.reshape(len(flat), s, -1)))
        return tuple(out)

    def at(self, rho: Floats) -> CorrelationRoot:
        """By Cholesky factors."""
        return _BlocksRoot(self, rho)

    @property
    def meaning(self) -> str:
        """In words."""
        return f"{self.within} is {self.law.meaning} ({self.form})"

    def told(self, rho: Floats) -> list[Told]:
        """As the law has it."""
        return [self.law.told(rho, self.form)]

    @property
    def prior_words(self) -> list[str]:
        """That of the law."""
        return self.law.prior_words

    def prior_draws(self, rng: np.random.Generator, n: int) -> Floats:
        """Those of the law."""
        return self.law.prior_draws(rng, n)

    def log_prior(self, rho: Floats) -> tuple[float, Floats]:
        """That of the law."""
        return self.law.log_prior(rho)


def blocks_of(law: Matrices, function: CorrelationFunction, codes: Ints, places: Floats) -> Blocks:
    """Groups `codes` (n,) of rows at `places` (n, d).

    Raises
    ------
    DesignError
        If a group is so large that its correlations are no matrix to be made.
    """
    if (most := int(np.bincount(codes).max())) > MOST_ROWS:
        raise DesignError(
            f"A group of {function!r} has {most} rows, and their correlations are a matrix of {most} × {most}; up to "
            f"{MOST_ROWS} rows can be had. Name a finer group, or use AR1, CAR1 or CompSymm, which need no matrix."
        )
    return Blocks(function, codes, law, places)


class _BlocksRoot(CorrelationRoot):
    def __init__(self, own: Blocks, rho: Floats) -> None:
        self.own, self.rho = own, np.asarray(rho, dtype=float)
        self.lower = [np.linalg.cholesky(own.law.of(self.rho, size.places)) for size in own.sizes]
        if any(np.diagonal(lower, axis1=1, axis2=2).min(initial=1.0) < LEAST_LEFT for lower in self.lower):
            raise np.linalg.LinAlgError("the correlations are singular to rounding")
        self.roots = [_inverse(lower) for lower in self.lower]

    @cached_property
    def _halves(self) -> list[Floats]:
        """∂W/∂ρ (n_rho, U, s, s) by size: −Φ(W ∂C Wᵀ) W, Φ keeping the lower triangle and half the diagonal."""
        out: list[Floats] = []
        for size, W in zip(self.own.sizes, self.roots, strict=True):
            own = []
            for k in range(len(self.rho)):
                step = 1j * STEP * (np.arange(len(self.rho)) == k)
                change = self.own.law.of(self.rho + step, size.places).imag / STEP
                inner = np.tril(W @ change @ np.swapaxes(W, 1, 2))
                i = np.arange(inner.shape[1])
                inner[:, i, i] *= 0.5
                own.append(-inner @ W)
            out.append(np.stack(own))
        return out

    def _apply(self, maps: Any, values: Floats) -> Floats:
        flat = values.reshape(-1, values.shape[-1])
        out = np.empty_like(flat)
        for size, M in zip(self.own.sizes, maps, strict=True):
            columns = np.moveaxis(flat[:, size.rows], 0, 2)  # (G, s, m)
            each = M[0] if len(M) == 1 else M[size.pattern]
            out[:, size.rows] = np.moveaxis(each @ columns, 2, 0)
        return out.reshape(values.shape)

    def whitened(self, values: Floats) -> Floats:
        return self._apply(self.roots, values)

    def changes(self, values: Floats) -> Floats:
        return np.stack([self._apply([half[k] for half in self._halves], values) for k in range(len(self.rho))])

    def coloured(self, values: Floats) -> Floats:
        return self._apply(self.lower, values)

    def _counted(self, each: list[Floats]) -> Floats:
        """Numbers (..., U) by size, summed over the groups."""
        total: Any = 0.0
        for size, numbers in zip(self.own.sizes, each, strict=True):
            total = total + numbers @ np.bincount(size.pattern, minlength=len(size.places))
        return np.asarray(total)

    @property
    def log_dets(self) -> Floats:
        out = np.empty(len(self.own.codes))
        for size, lower in zip(self.own.sizes, self.lower, strict=True):
            out[size.rows] = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2))[size.pattern]
        return out

    @property
    def log_det_slopes(self) -> Floats:
        # tr C⁻¹∂C is −2 tr ∂W W⁻¹, of lower triangles
        traces = [
            -2.0 * np.einsum("kuii,uii->ku", half, lower) for half, lower in zip(self._halves, self.lower, strict=True)
        ]
        return self._counted(traces)


def _inverse(lower: Floats) -> Floats:
    """Inverses (U, s, s) of lower triangles."""
    unit = np.eye(lower.shape[1])
    return np.stack([np.tril(scipy.linalg.solve_triangular(one, unit, lower=True)) for one in lower])
