"""Which columns of a matrix to keep, so that the rest have full rank: left to right, as R's ``lm`` does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from _ranef.design.expression_values import Array, Codes

__all__ = ["aliasing", "independent_columns", "independent_in_gram", "is_orthonormal", "not_determined"]

_TOLERANCE = 1e-7
# the Gram matrix squares the condition: below this distance it decides nothing
_SAFE = 1e-4
# a row this far, relative to the sizes that enter, from what aliased columns should be is none of the rows fitted
_AWAY = 1e-6
# what orthonormal columns may lack of it
_ROUNDING = 1e-6
# a centred column this small beside the column itself is rounding error
_CONSTANT = 1e-13


def independent_columns(X: Array, *, intercept: bool) -> Codes:
    """Find the columns that no earlier ones determine.

    A column goes where its distance to the span of the columns kept before it is below 1e-7 of its length, R's
    tolerance. With an intercept lengths are those of the centred columns, so that large numbers that vary little
    count by their variation.

    Parameters
    ----------
    X : ndarray
        Shape (n, p).
    intercept : bool
        Whether the first column is the intercept.

    Returns
    -------
    ndarray of intp
        Shape (r,): positions of the columns kept, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> from _ranef.design.rank import independent_columns
    >>> x = np.arange(5.0)
    >>> independent_columns(np.column_stack([np.ones(5), x, 2 - x, x**2]), intercept=True).tolist()
    [0, 1, 3]
    """
    first = int(intercept)
    scaled, alive = _standardized(X[:, first:], intercept)
    kept = alive[_independent(scaled)] + first
    return np.concatenate([np.arange(first), kept]).astype(np.intp)


def _standardized(X: Array, intercept: bool) -> tuple[Array, NDArray[np.intp]]:
    """Give the columns at unit length, centred with an intercept, and which columns those are: no null ones."""
    # a first scaling keeps squares from overflow
    size = np.abs(X).max(axis=0, initial=0.0)
    alive = np.flatnonzero(size > 0)
    scaled = X[:, alive] / size[alive]
    before = np.linalg.norm(scaled, axis=0)
    if intercept:
        scaled -= scaled.mean(axis=0)
    after = np.linalg.norm(scaled, axis=0)
    varies = after > _CONSTANT * before
    if not varies.all():
        scaled = scaled[:, varies]
    scaled /= after[varies]
    return scaled, alive[varies]


def _independent(scaled: Array) -> NDArray[np.intp]:
    p = scaled.shape[1]
    if p == 0 or (p <= len(scaled) and _clearly_independent(scaled.T @ scaled)):
        return np.arange(p)
    triangle = np.asarray(np.linalg.qr(scaled, mode="r"))
    return _left_to_right(triangle)


def _clearly_independent(gram: Array) -> bool:
    """Tell whether every column keeps a distance from the span of the earlier ones: the pivots of Cholesky."""
    try:
        return bool(np.linalg.cholesky(gram).diagonal().min() > _SAFE)
    except np.linalg.LinAlgError:
        return False


def _left_to_right(R: Array) -> NDArray[np.intp]:
    """Orthogonalise unit columns one after the other, twice for accuracy (Gram-Schmidt), and leave out null ones."""
    basis = np.empty((R.shape[0], min(R.shape)))
    kept: list[int] = []
    for column in range(R.shape[1]):
        if len(kept) == R.shape[0]:
            break
        known = basis[:, : len(kept)]
        rest = R[:, column] - known @ (known.T @ R[:, column])
        rest -= known @ (known.T @ rest)
        distance = np.linalg.norm(rest)
        if distance > _TOLERANCE:
            basis[:, len(kept)] = rest / distance
            kept.append(column)
    return np.array(kept, dtype=np.intp)


def aliasing(kept: Array, dropped: Array) -> Array:
    """The combinations A (r, d) of the columns kept (n, r) that the columns left out (n, d) are: dropped = kept A."""
    size, left_out = _lengths(kept), _lengths(dropped)
    found = np.linalg.lstsq(kept / size, dropped / left_out, rcond=None)[0]
    found[np.abs(found) < _TOLERANCE * np.abs(found).max(axis=0, initial=0.0)] = 0.0  # rounding
    return np.asarray(found * (left_out / size[:, None]))


def _lengths(X: Array) -> Array:
    """Lengths of columns, 1 for null ones; without overflow."""
    size = np.abs(X).max(axis=0, initial=0.0)
    size[size == 0] = 1.0
    length = size * np.linalg.norm(X / size, axis=0)
    length[length == 0] = 1.0
    return np.asarray(length)


def is_orthonormal(X: Array) -> bool:
    """Whether the columns are orthonormal, as those of orthogonal polynomials of a high degree no longer are."""
    return bool(np.abs(X.T @ X - np.eye(X.shape[1])).max(initial=0.0) < _ROUNDING)


def not_determined(kept: Array, dropped: Array, combinations: Array) -> NDArray[np.bool_]:
    """Rows (m,) whose mean depends on which of the aliased columns were left out: no combination of rows fitted.

    Parameters
    ----------
    kept, dropped : ndarray
        Shapes (m, r) and (m, d): the columns of new rows.
    combinations : ndarray
        Shape (r, d): what :func:`aliasing` found in the rows fitted.
    """
    size = np.abs(kept) @ np.abs(combinations) + np.abs(dropped)
    away = np.abs(dropped - kept @ combinations) > _AWAY * size
    return np.asarray(away.any(axis=1))


def independent_in_gram(gram: Array, triangle: Array, *, intercept: bool) -> Codes:
    """Find the columns that no earlier ones determine, from cross-products only.

    A Gram matrix in the columns' own units shows no distance below 1e-8 of their length. Here the columns X come in
    coordinates in which those of a sample are orthonormal, so that in all rows they nearly are: X = U R.

    Parameters
    ----------
    gram : ndarray
        Shape (p, p): UᵀU.
    triangle : ndarray
        Shape (p, p): R, upper triangular.
    intercept : bool
        Whether the first column is the intercept; then lengths are those of the centred columns.

    Returns
    -------
    ndarray of intp
        Shape (r,): positions of the columns kept, ascending.
    """
    size = np.sqrt(np.diag(gram))
    whole = np.sqrt(np.einsum("ij,ik,kj->j", triangle, gram, triangle))
    own = triangle.copy()
    own[:1, 1:] *= not intercept
    length = np.sqrt(np.einsum("ij,ik,kj->j", own, gram, own))
    kept: list[int] = []
    for column in np.flatnonzero((size > 0) & (length > _CONSTANT * whole)).tolist():
        among = gram[np.ix_(kept, kept)] / np.outer(size[kept], size[kept])
        known = gram[kept, column] / size[kept]
        rest = gram[column, column] - known @ np.linalg.solve(among, known)
        if abs(triangle[column, column]) * np.sqrt(max(rest, 0.0)) > _TOLERANCE * length[column]:
            kept.append(column)
    return np.array(kept, dtype=np.intp)
