"""Covariance structures of the random effects as templates of a lower-triangular λ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranef.arrays import Floats, Ints

__all__ = ["Template", "covariance_template", "lower_root"]


@dataclass(frozen=True)
class Template:
    """How a stretch of θ fills the lower-triangular p×p factor λ of one term.

    Attributes
    ----------
    kind : str
        ``"us"`` (unstructured), ``"diag"`` or ``"ident"``.
    size : int
        Number of columns p.
    rows, cols, index : array (n_entries,)
        Entry ``λ[rows[e], cols[e]]`` is ``θ[index[e]]``.
    """

    kind: str
    size: int
    rows: Ints
    cols: Ints
    index: Ints

    @property
    def n_theta(self) -> int:
        """Number of parameters."""
        return int(self.index.max()) + 1

    def fill(self, theta: Floats) -> Floats:
        """λ (..., p, p) at `theta` (..., n_theta)."""
        out = np.zeros((*theta.shape[:-1], self.size, self.size))
        out[..., self.rows, self.cols] = theta[..., self.index]
        return out

    def read(self, lam: Floats) -> Floats:
        """θ (..., n_theta) of λ (..., p, p) that have this structure; shared entries are averaged."""
        return np.asarray(self.pull_back(lam) / np.bincount(self.index))

    def pull_back(self, gradient: Floats) -> Floats:
        """Chain rule: from ∂/∂λ (..., p, p) to ∂/∂θ (..., n_theta)."""
        entries = gradient[..., self.rows, self.cols]
        out = np.zeros((*entries.shape[:-1], self.n_theta))
        np.add.at(np.moveaxis(out, -1, 0), self.index, np.moveaxis(entries, -1, 0))
        return out

    @property
    def on_diagonal(self) -> tuple[bool, ...]:
        """Which parameters are diagonal entries, whose sign is not identified."""
        flags = np.zeros(self.n_theta, dtype=bool)
        flags[self.index[self.rows == self.cols]] = True
        return tuple(bool(f) for f in flags)


def covariance_template(kind: str, size: int) -> Template:
    """Template of a structure: lower triangle by columns as lme4 orders θ, or the diagonal."""
    if kind == "us":
        cols, rows = np.triu_indices(size)
        return Template(kind, size, rows, cols, np.arange(rows.size))
    diagonal = np.arange(size)
    index = diagonal if kind == "diag" else np.zeros(size, dtype=np.intp)
    return Template(kind, size, diagonal, diagonal, index)


def lower_root(root: Floats) -> Floats:
    """Lower-triangular L (..., p, p) with L Lᵀ = R Rᵀ and a non-negative diagonal, for any square root R (..., p, m).

    Works where R Rᵀ is singular, since no Cholesky factor is taken: it is the transposed triangle of QR(Rᵀ).
    """
    lower = np.swapaxes(np.linalg.qr(np.swapaxes(root, -1, -2))[1], -1, -2)
    signs = np.where(np.diagonal(lower, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return np.asarray(lower * signs[..., None, :])
