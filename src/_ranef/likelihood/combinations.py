"""Covariances of xᵀβ̂ + zᵀ(b̂ − b) given θ, for many rows (x, z): nothing is rows × rows, or rows × effects for all rows.

From the inverse of Henderson's mixed-model equations, σ²[(XᵀV⁻¹X)⁻¹, ·; −B(XᵀV⁻¹X)⁻¹, Q + B(XᵀV⁻¹X)⁻¹Bᵀ] with
B = DZᵀV⁻¹X and Q = D − DZᵀV⁻¹ZD, which needs no inverse of D and so holds where variances are zero (Henderson 1975,
Biometrics 31, 423-447; Robinson 1991, Stat. Sci. 6, 15-32, §5).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from _ranef.likelihood.at import At
from _ranef.linalg import forward
from _ranef.support.arrays import Floats, Ints

__all__ = ["combination_roots"]


def combination_roots(
    at: At, X: Floats, codes: Sequence[Ints], Z: Sequence[Floats], groupings: Collection[int]
) -> Floats:
    """Columns (q + p, m) whose inner products are the covariances of m combinations.

    They are σ times f, the whitened Λᵀz, above g = R(x − F_Xᵀf).

    Parameters
    ----------
    X : array (m, p)
    codes, Z : by grouping, array of int (m,) and array (m, p_k)
        Levels and columns; effects of levels that are none are left out.
    groupings : collection of int
        Whose effects count.
    """
    products, inner = at.likelihood.products, at.inner
    columns: list[Floats] = []
    for i, k in enumerate(products.order):
        J, p, _ = products.A.diag[i].shape
        block = np.zeros((J, p, len(X)))
        if k in groupings:
            known = np.flatnonzero((codes[k] >= 0) & (codes[k] < J))
            block[codes[k][known], :, known] = (Z[k] @ at.likelihood.maps[k])[known]
        columns.append(block)
    white = forward(inner.factor, columns).white
    f = np.vstack([np.zeros((0, len(X))), *(w.reshape(-1, w.shape[2]) for w in white)])
    F_Xy = np.vstack([np.zeros((0, X.shape[1] + 1)), *(w.reshape(-1, w.shape[2]) for w in inner.columns.white)])
    return np.vstack([f, inner.inverse_root @ ((X @ products.scaling.X).T - F_Xy[:, :-1].T @ f)]) * at.sigma
