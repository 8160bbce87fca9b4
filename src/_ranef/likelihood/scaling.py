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

from _ranef.errors import DesignError
from _ranef.spec import ModelSpec, TermSpec
from _ranef.structures import non_zero, orthonormalising
from _ranef.support.arrays import Floats

__all__ = ["Scaling", "make_scaling", "term_maps"]

#: sizes of numbers whose squares, and sums of them, are numbers too
SMALLEST, LARGEST = 1e-140, 1e140

#: spread below which, beside its mean, a column is constant to rounding
CONSTANT = 1e-13


@dataclass(frozen=True, eq=False, repr=False)
class Scaling:
    """Maps between the user's scale and the internal one.

    Attributes
    ----------
    X : array (p, p)
        Internal X̃ is ``X @ scaling.X``, so β = scaling.y scaling.X β̃ + scaling.pilot.
    centre : float
        Taken out of y before anything else; zero without an intercept.
    inner : array (p,)
        Least-squares coefficients of X̃ taken out of what is left.
    y : float
        Unit of y: internal y is (y − offset − centre − X̃ inner) / scaling.y.
    Z : tuple of array (p_k, p_k)
        Internal columns of grouping k are ``Z @ scaling.Z[k]``, so b = scaling.Z b̃ and D = scaling.Z D̃ scaling.Zᵀ.
        With the weights in, they have unit mean square: an internal λ of 1 is a signal as large as a row's noise.
    """

    X: Floats
    centre: float
    inner: Floats
    y: float
    Z: tuple[Floats, ...]

    @property
    def pilot(self) -> Floats:
        """Coefficients (p,) on the user's scale of all that is taken out of y."""
        out = np.asarray(self.X @ self.inner)
        out[:1] += self.centre
        return out

    def inward(self, lambdas: tuple[Floats, ...]) -> tuple[Floats, ...]:
        """Square roots of D̃ for the user's λ_k (not triangular, which no formula here needs)."""
        return tuple(scipy.linalg.solve_triangular(T, lam) for T, lam in zip(self.Z, lambdas, strict=True))

    @property
    def log_det_X(self) -> float:
        """Log |det| of the map of X, which REML's log |XᵀV⁻¹X| carries twice."""
        return float(np.log(np.abs(np.diag(self.X))).sum())


def make_scaling(spec: ModelSpec) -> Scaling:
    """The scaling of the rows that `spec` holds.

    Raises
    ------
    DesignError
        If numbers are so large or so small that their squares are none.
    """
    d = spec.design
    _refuse_extremes(spec)
    n, raw = d.y.shape[0], spec.residual.precision
    w = raw / raw.mean()
    y = d.y if d.offset is None else d.y - d.offset
    T, centre = np.eye(spec.n_fixed), 0.0
    if d.has_intercept:
        T[0, 1:] = -d.X[:, 1:].mean(axis=0)
        centre = float(y.mean())
    X = d.X @ T
    spread, size = np.sqrt(w @ X**2 / n), np.sqrt(w @ d.X**2 / n)
    spread = non_zero(np.where(spread <= CONSTANT * size, size, spread))
    T = (T / spread) @ orthonormalising((X / spread * w[:, None]).T @ (X / spread) / n)
    X = d.X @ T
    y = y - centre  # without rounding where y is large, which a product with the intercept's column is not
    inner = (X * w[:, None]).T @ y / n
    inner = inner + (X * w[:, None]).T @ (y - X @ inner) / n  # once more, for the rounding of the first
    unit = float(np.sqrt(w @ (y - X @ inner) ** 2 / n)) or 1.0
    centring = [_centring(spec.terms, k, g.Z) for k, g in enumerate(spec.groupings)]
    Zs = [g.Z @ C for g, C in zip(spec.groupings, centring, strict=True)]
    maps = [
        C @ M for C, M in zip(centring, term_maps(spec.terms, [(Z * raw[:, None]).T @ Z / n for Z in Zs]), strict=True)
    ]
    for t in spec.terms:  # the same columns on the same scale, up to a factor, so that their sums are the same
        if t.structure.free and t.columns == d.fixed_names == spec.groupings[t.grouping].columns:
            maps[t.grouping] = T / np.sqrt(raw.mean())
    return Scaling(T, centre, inner, unit, tuple(maps))


def _refuse_extremes(spec: ModelSpec) -> None:
    d = spec.design
    columns: list[tuple[str, Floats]] = [(f"The response {d.response}", d.y)]
    columns += [(f"The column {name} of the fixed effects", d.X[:, k]) for k, name in enumerate(d.fixed_names)]
    columns += [
        (f"The column {name} of {g.name}", g.Z[:, k]) for g in spec.groupings for k, name in enumerate(g.columns)
    ]
    columns += [] if d.weights is None else [("The column of weights", d.weights)]
    for name, values in columns:
        size = float(np.abs(values).max(initial=0.0))
        if size and not SMALLEST < size < LARGEST:
            raise DesignError(
                f"{name} is of the size of {size:.2g}, whose square is beyond the range of floating-point numbers. "
                f"Express it in another unit: divide it by 1e{int(np.floor(np.log10(size)))}."
            )


def _centring(terms: Sequence[TermSpec], k: int, Z: Floats) -> Floats:
    """Map (p_k, p_k) that takes the mean out of the columns that stand beside an intercept, but for constant ones."""
    C = np.eye(Z.shape[1])
    for t in terms:
        if t.grouping == k and t.structure.free and t.columns[0] == "Intercept":
            columns = Z[:, t.where]
            mean = columns.mean(axis=0)
            varies = columns.std(axis=0) > CONSTANT * np.abs(mean)
            C[t.start, t.where] -= np.where(varies, mean, 0.0)
    return C


def term_maps(terms: Sequence[TermSpec], grams: Sequence[Floats]) -> tuple[Floats, ...]:
    """Upper-triangular maps (p_k, p_k) to columns of unit mean square that keep each term's structure.

    `grams` (p_k, p_k) are the mean squares and products of the weighted columns of every grouping.
    """
    maps = [np.zeros_like(gram) for gram in grams]
    for t in terms:
        maps[t.grouping][t.where, t.where] = t.structure.scaling_map(grams[t.grouping][t.where, t.where])
    return tuple(maps)
