"""The internal scale: X centred and orthonormal, y freed of its least-squares fit, Z orthonormal within each term.

Every map here is exact whatever the accuracy of the numbers in it: they only decide how well-conditioned the
cross-products are, so that y + 1e8 or a slope measured in nanometres changes no estimate beyond rounding. Many rows
are therefore scaled by the look of some of them, and the sums of all rows are put right afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from ranef.arrays import Floats
from ranef.spec import ModelSpec, TermSpec

__all__ = ["Scaling", "make_scaling", "orthonormalising", "term_maps"]

#: added to a correlation matrix before its Cholesky factor, which is only a preconditioner
RIDGE = 1e-12


@dataclass(frozen=True)
class Scaling:
    """Maps between the user's scale and the internal one.

    Attributes
    ----------
    X : array (p, p)
        Internal X is ``X @ scaling.X``, so β = scaling.X β̃ (+ pilot).
    pilot : array (p,)
        Least-squares coefficients taken out of y.
    y : float
        Unit of y: internal y is (y − offset − X pilot) / scaling.y.
    Z : tuple of array (p_k, p_k)
        Internal columns of grouping k are ``Z @ scaling.Z[k]``, so b = scaling.Z b̃ and D = scaling.Z D̃ scaling.Zᵀ.
        With the weights in, they have unit mean square: an internal λ of 1 is a signal as large as a row's noise.
    """

    X: Floats
    pilot: Floats
    y: float
    Z: tuple[Floats, ...]

    def inward(self, lambdas: tuple[Floats, ...]) -> tuple[Floats, ...]:
        """Square roots of D̃ for the user's λ_k (not triangular, which no formula here needs)."""
        return tuple(scipy.linalg.solve_triangular(T, lam) for T, lam in zip(self.Z, lambdas, strict=True))

    def outward(self, lambdas: tuple[Floats, ...]) -> tuple[Floats, ...]:
        """Square roots of D on the user's scale for internal λ_k."""
        return tuple(T @ lam for T, lam in zip(self.Z, lambdas, strict=True))

    @property
    def log_det_X(self) -> float:
        """Log |det| of the map of X, which REML's log |XᵀV⁻¹X| carries twice."""
        return float(np.log(np.abs(np.diag(self.X))).sum())


def make_scaling(spec: ModelSpec) -> Scaling:
    """The scaling of the rows that `spec` holds."""
    d = spec.design
    n, raw = d.y.shape[0], np.ones(d.y.shape[0]) if d.weights is None else d.weights
    w = raw / raw.mean()
    y = d.y if d.offset is None else d.y - d.offset
    T = np.eye(spec.n_fixed)
    if d.fixed_names[:1] == ("Intercept",):
        T[0, 1:] = -d.X[:, 1:].mean(axis=0)
    X = d.X @ T
    spread = _non_zero(np.sqrt(w @ X**2 / n))
    T = (T / spread) @ orthonormalising((X / spread * w[:, None]).T @ (X / spread) / n)
    X = d.X @ T
    ones, mean = (X * w[:, None]).mean(axis=0), y.mean() if spec.n_fixed else 0.0
    pilot = mean * ones + (X * w[:, None]).T @ (y - mean) / n
    pilot = pilot + (X * w[:, None]).T @ (y - X @ pilot) / n  # once more, for the rounding of the first
    rest = y - X @ pilot
    unit = float(np.sqrt(w @ rest**2 / n)) or 1.0
    grams = [(g.Z * raw[:, None]).T @ g.Z / n for g in spec.groupings]
    return Scaling(T, T @ pilot, unit, term_maps(spec.terms, grams))


def term_maps(terms: Sequence[TermSpec], grams: Sequence[Floats]) -> tuple[Floats, ...]:
    """Upper-triangular maps (p_k, p_k) to columns of unit mean square that keep each term's structure.

    `grams` (p_k, p_k) are the mean squares and products of the weighted columns of every grouping.
    """
    maps = [np.zeros_like(gram) for gram in grams]
    for t in terms:
        maps[t.grouping][t.where, t.where] = _term_map(t, grams[t.grouping][t.where, t.where])
    return tuple(maps)


def _term_map(term: TermSpec, gram: Floats) -> Floats:
    spread = _non_zero(np.sqrt(np.diag(gram)))
    if term.template.kind == "ident":
        return np.eye(term.template.size) / float(np.sqrt((spread**2).mean()))
    if term.template.kind == "diag":
        return np.diag(1.0 / spread)
    return np.asarray(orthonormalising(gram / np.outer(spread, spread)) / spread[:, None])


def _non_zero(spread: Floats) -> Floats:
    """Spreads, with one for a column that is zero in the rows looked at."""
    return np.where(spread == 0, 1.0, spread)


def orthonormalising(correlation: Floats) -> Floats:
    """Upper-triangular R⁻¹ with RᵀR near `correlation`; directions that hardly vary are only scaled."""
    ridged = correlation + RIDGE * np.eye(len(correlation))
    np.fill_diagonal(ridged, np.where(np.diag(correlation) == 0, 1.0, np.diag(ridged)))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(ridged)).T)
