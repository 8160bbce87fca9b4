"""Cholesky factor and inverse of one large matrix by scipy's LAPACK, called so that other threads run meanwhile.

scipy's own wrappers hold Python's lock while LAPACK works, and chains that are sampled in threads would wait for each
other. A call through ctypes lets it go.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["cholesky_lower", "inverse_of_lower"]

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
    """Lower Cholesky factor (n, n) of symmetric positive definite `a`, which is left alone; zeros above the diagonal.

    Raises
    ------
    numpy.linalg.LinAlgError
        If `a` is not positive definite.
    """
    out = np.ascontiguousarray(np.tril(a), dtype=float)
    if _in_place("dpotrf", out) or not np.isfinite(np.diagonal(out)).all():  # OpenBLAS lets NaN pass
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    return out


def inverse_of_lower(L: Floats) -> Floats:
    """(L Lᵀ)⁻¹ (n, n) from a lower Cholesky factor with zeros above its diagonal, which is left alone."""
    lower = np.array(L, order="C")
    if _in_place("dpotri", lower):
        raise np.linalg.LinAlgError("Singular matrix")
    out = lower + lower.T
    out[np.diag_indices_from(out)] *= 0.5
    return out
