"""Cholesky factor and inverse of one large matrix by scipy's LAPACK, called so that other threads run meanwhile.

scipy's own wrappers hold Python's lock while LAPACK works, and chains that are sampled in threads would wait for each
other. A call through ctypes lets it go.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _ranef.linalg.panel_cholesky import cholesky_by_panels, invert_by_panels
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["below", "cholesky_lower", "inverse_of_lower", "invert_lower", "mirror_lower"]

#: side of the blocks in which a triangle is copied
BLOCK = 256

#: rows above which LAPACK's own routines are not trusted with several threads
LONG = 8192

_TEXT, _INT, _ARRAY = ctypes.c_char_p, ctypes.POINTER(ctypes.c_int), ctypes.c_void_p


@cache
def _routine(name: str) -> Any:
    """The routine (uplo, n, a, lda, info) that scipy offers to compiled code."""
    capsules: dict[str, Any] = dict(load("scipy.linalg.cython_lapack").__pyx_capi__)
    capsule = capsules[name]
    label, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    label.restype, label.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.CFUNCTYPE(None, _TEXT, _INT, _ARRAY, _INT, _INT)(pointer(capsule, label(capsule)))


def _in_place(name: str, a: Floats) -> int:
    """Call the routine on the lower triangle of `a`, which in C's order is the upper one of Fortran's."""
    n, info = ctypes.c_int(len(a)), ctypes.c_int(0)
    _routine(name)(b"U", ctypes.byref(n), a.ctypes.data, ctypes.byref(n), ctypes.byref(info))
    return info.value


def cholesky_lower(a: Floats) -> Floats:
    """Lower Cholesky factor (n, n) of symmetric positive definite `a`, in its place; what is above the diagonal stays.

    Raises
    ------
    numpy.linalg.LinAlgError
        If `a` is not positive definite.
    """
    out = np.ascontiguousarray(a, dtype=float)
    if len(out) > LONG:
        cholesky_by_panels(out, cholesky_lower)
        return out
    if _in_place("dpotrf", out) or not np.isfinite(np.diagonal(out)).all():  # OpenBLAS lets NaN pass
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    return out


def inverse_of_lower(L: Floats) -> Floats:
    """(L Lᵀ)⁻¹ (n, n) from a lower Cholesky factor, which is left alone; what is above its diagonal is not read."""
    out = np.array(L, order="C")
    invert_lower(out)
    mirror_lower(out)
    return out


def invert_lower(L: Floats) -> None:
    """Put (L Lᵀ)⁻¹ in the place of a lower Cholesky factor, on and below the diagonal; what is above it stays."""
    if len(L) > LONG:
        invert_by_panels(L)
        return
    if _in_place("dpotri", L):
        raise np.linalg.LinAlgError("Singular matrix")


def mirror_lower(a: Floats) -> None:
    """Make `a` (n, n) symmetric by what is below its diagonal, in place, block by block."""
    for first in range(0, len(a), BLOCK):
        rows = slice(first, first + BLOCK)
        a[rows, first + BLOCK :] = a[first + BLOCK :, rows].T
        square = a[rows, rows]
        square[:] = np.tril(square) + np.tril(square, -1).T


def below(lower: Floats, rows: NDArray[Any], cols: NDArray[Any]) -> Floats:
    """Entries of the symmetric matrix of which `lower` holds what is on and below its diagonal."""
    return np.asarray(lower[np.maximum(rows, cols), np.minimum(rows, cols)])
