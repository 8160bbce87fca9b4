"""The internal scale: X centred and orthonormal, y freed of its least-squares fit, Z orthonormal within each term.

Every map here is exact whatever the accuracy of the numbers in it: they only decide how well-conditioned the
cross-products are, so that y + 1e8 or a slope measured in nanometres changes no estimate beyond rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from ranef.arrays import Floats
from ranef.spec import Grouping, ModelSpec, TermSpec

__all__ = ["Scaling", "make_scaling"]

#: added to a correlation matrix before its Cholesky factor, which is only a preconditioner
RIDGE = 1e-12

#: spread below which, beside its mean, a column is constant to rounding
CONSTANT = 1e-13


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


def make_scaling(spec: ModelSpec) -> tuple[Scaling, Floats, Floats]:
    """The scaling of a model, with internal X (n, p) and internal y (n,), not yet multiplied by √w."""
    d = spec.design
    raw = np.ones(spec.n_obs) if d.weights is None else d.weights
    w = raw / raw.mean()
    y = d.y if d.offset is None else d.y - d.offset
    T, centre = np.eye(spec.n_fixed), 0.0
    if d.fixed_names[:1] == ("Intercept",) and (d.X[:, 0] == 1.0).all():  # a column of the data may have that name
        T[0, 1:] = -d.X[:, 1:].mean(axis=0)
        centre = float(y.mean())
    X = d.X @ T
    spread = np.sqrt(w @ X**2 / spec.n_obs)
    T = (T / spread) @ _orthonormalising((X / spread * w[:, None]).T @ (X / spread) / spec.n_obs)
    X = d.X @ T
    y = y - centre  # without rounding where y is large, which a product with the intercept's column is not
    pilot = (X * w[:, None]).T @ y / spec.n_obs
    pilot = pilot + (X * w[:, None]).T @ (y - X @ pilot) / spec.n_obs  # once more, for the rounding of the first
    rest = y - X @ pilot
    pilot = T @ pilot
    pilot[:1] += centre
    unit = float(np.sqrt(w @ rest**2 / spec.n_obs)) or 1.0
    maps = tuple(_column_map(spec, k, raw) for k in range(len(spec.groupings)))
    return Scaling(T, pilot, unit, maps), X, rest / unit


def _column_map(spec: ModelSpec, k: int, w: Floats) -> Floats:
    """Upper-triangular map (p_k, p_k) that keeps each term's structure."""
    grouping = spec.groupings[k]
    out = np.zeros((len(grouping.columns),) * 2)
    for term in spec.terms:
        if term.grouping == k:
            out[term.where, term.where] = _term_map(grouping, term, w)
    return out


def _term_map(grouping: Grouping, term: TermSpec, w: Floats) -> Floats:
    Z = grouping.Z[:, term.where]
    C = np.eye(term.template.size)
    if term.template.kind == "us" and term.columns[0] == "Intercept":
        mean = Z.mean(axis=0)
        varies = Z.std(axis=0) > CONSTANT * np.abs(mean)
        C[0, varies] = -mean[varies]
        Z = Z @ C
    gram = (Z * w[:, None]).T @ Z / Z.shape[0]
    spread = np.sqrt(np.diag(gram))
    spread[spread == 0] = 1.0
    if term.template.kind == "ident":
        return np.eye(term.template.size) / float(np.sqrt((spread**2).mean()))
    if term.template.kind == "diag":
        return np.diag(1.0 / spread)
    R = _orthonormalising(gram / np.outer(spread, spread))
    # a column that the earlier ones determine has nothing left to be scaled up: it stays a copy of them
    copies = np.diag(R) ** 2 > 0.1 / RIDGE
    R[:, copies] = np.eye(len(R))[:, copies]
    return np.asarray(C @ (R / spread[:, None]))


def _orthonormalising(correlation: Floats) -> Floats:
    """Upper-triangular R⁻¹ with RᵀR near `correlation`."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(correlation + RIDGE * np.eye(len(correlation)))).T)
