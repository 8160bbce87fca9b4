"""Maps of columns to a common size, from their mean squares and products."""

from __future__ import annotations

import numpy as np

from _ranef.support.arrays import Bools, Floats

__all__ = ["copies", "non_zero", "orthonormalising"]

#: added to a correlation matrix before its Cholesky factor, which is only a preconditioner
RIDGE = 1e-12


def non_zero(spread: Floats) -> Floats:
    """Spreads, with one for a column that is zero in the rows looked at."""
    return np.where(spread == 0, 1.0, spread)


def orthonormalising(correlation: Floats) -> Floats:
    """Upper-triangular R⁻¹ with RᵀR near `correlation`; directions that hardly vary are only scaled."""
    ridged = correlation + RIDGE * np.eye(len(correlation))
    np.fill_diagonal(ridged, np.where(np.diag(correlation) == 0, 1.0, np.diag(ridged)))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(ridged)).T)


def copies(inverse: Floats) -> Bools:
    """Which columns the earlier ones determine, by the `inverse` triangle of :func:`orthonormalising`."""
    return np.asarray(np.diag(inverse) ** 2 > 0.1 / RIDGE)
