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
        """λ (p, p) at `theta` (n_theta,)."""
        out = np.zeros((self.size, self.size))
        out[self.rows, self.cols] = theta[self.index]
        return out

    def read(self, lam: Floats) -> Floats:
        """θ (n_theta,) of a λ that has this structure; shared entries are averaged."""
        entries = lam[self.rows, self.cols]
        return np.asarray(np.bincount(self.index, entries) / np.bincount(self.index))

    def pull_back(self, gradient: Floats) -> Floats:
        """Chain rule: from ∂/∂λ (p, p) to ∂/∂θ (n_theta,)."""
        return np.asarray(np.bincount(self.index, gradient[self.rows, self.cols]), dtype=float)

    def fill_many(self, theta: Floats) -> Floats:
        """λ (B, p, p) at every row of `theta` (B, n_theta)."""
        out = np.zeros((len(theta), self.size, self.size))
        out[:, self.rows, self.cols] = theta[:, self.index]
        return out

    def read_many(self, lam: Floats) -> Floats:
        """θ (B, n_theta) of a stack of λ (B, p, p); shared entries are averaged."""
        return self.pull_back_many(lam) / np.bincount(self.index)

    def pull_back_many(self, gradient: Floats) -> Floats:
        """Chain rule for a stack: from ∂/∂λ (B, p, p) to ∂/∂θ (B, n_theta)."""
        out = np.zeros((len(gradient), self.n_theta))
        np.add.at(out.T, self.index, gradient[:, self.rows, self.cols].T)
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
    """Lower-triangular L with L Lᵀ = R Rᵀ and a non-negative diagonal, for any square root R (p, p).

    Works where R Rᵀ is singular, since no Cholesky factor is taken: it is the transposed triangle of QR(Rᵀ).
    """
    lower = np.linalg.qr(root.T)[1].T
    signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
    return np.asarray(lower * signs)
