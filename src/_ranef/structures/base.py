"""What a covariance structure of random effects is asked, by everything that fits, samples, prints or draws it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from _ranef.structures.shape_coordinates import ShapeParameter
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = ["Linear", "Pairs", "Structure", "lower_root", "without_small"]

#: pairs of columns i > j that have a correlation, by columns as lme4 orders them
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Structure(ABC):
    """The covariances D = λλᵀ (p, p) that one term may have, by its parameters θ.

    θ are the standard deviations of `own_sds` over σ, and then the coordinates of `shapes`: these have the priors.
    (Only for a `free` structure it is a whole triangle, of which the samplers know more.)

    Attributes
    ----------
    size : int
        Number of columns p.
    word : str
        What formulas call it.
    meaning : str
        How the effects of one level go together, as the end of a sentence on several of them.
    free : bool
        Whether all covariances are of this structure, so that other columns of the same span have it too.
    kernels : bool
        Whether λ is linear in θ, without shapes, which is all that JAX and the compiled loops know. Others are sampled
        by numpy.
    least : int
        Fewest columns of which it says something.
    levels : bool
        Whether the columns must be the levels of one factor, in order.
    few : bool
        Whether so few parameters make all covariances that one row for each effect may tell them from the residual's.
    """

    size: int

    word: ClassVar[str]
    meaning: ClassVar[str]
    free: ClassVar[bool] = False
    kernels: ClassVar[bool] = False
    least: ClassVar[int] = 1
    levels: ClassVar[bool] = False
    few: ClassVar[bool] = False

    @property
    @abstractmethod
    def n_theta(self) -> int:
        """Number of parameters."""

    @property
    @abstractmethod
    def on_diagonal(self) -> Bools:
        """Which parameters (n_theta,) scale a column of λ, so that their sign is not identified."""

    @property
    def not_negative(self) -> Bools:
        """Which parameters (n_theta,) have to be zero or more, for λ at a negative one has another structure."""
        return np.zeros(self.n_theta, dtype=bool)

    @property
    def pairs(self) -> Pairs:
        """Pairs (i, j) of columns, i > j, that have a correlation."""
        return ()

    def correlation(self, i: int, j: int) -> tuple[int, int] | None:
        """Number and power of the one that columns i and j have, where few correlations make those of all `pairs`."""
        return None

    @property
    def own_pairs(self) -> Pairs:
        """Of `pairs` those whose correlation no other tells: the first of each that several have."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for i, j in self.pairs:
            number, power = self.correlation(i, j) or (0, 1)
            if self.correlation(i, j) is None:
                found[i, j] = (i, j)
            elif power == 1:
                found.setdefault((-1, number), (i, j))
        return tuple(found.values())

    @property
    def own_sds(self) -> range:
        """Columns whose standard deviation is a parameter; the others share that of the first."""
        return range(self.size)

    @property
    def shapes(self) -> tuple[ShapeParameter, ...]:
        """Parameters that are no standard deviations, of which θ holds the coordinates."""
        return ()

    @property
    def shared(self) -> bool:
        """Whether several columns have one standard deviation."""
        return len(self.own_sds) < self.size

    @abstractmethod
    def root(self, theta: Floats) -> Floats:
        """Lower-triangular λ (..., p, p) at `theta` (..., n_theta)."""

    @abstractmethod
    def jacobian(self, theta: Floats) -> Floats:
        """∂λ/∂θ (..., n_theta, p, p) at `theta` (..., n_theta); without leading axes where it is constant."""

    @abstractmethod
    def labels(self, columns: Sequence[str]) -> list[str]:
        """What each parameter is of, in lme4's way: a column, or ``row.column`` of λ."""

    @abstractmethod
    def closest(self, root: Floats) -> Floats:
        """θ (..., n_theta) of the covariance of this structure nearest to RRᵀ, for any `root` R (..., p, m).

        Exact where RRᵀ has the structure. With R a root of the second moments of all levels' effects it is the step of
        the EM algorithm.
        """

    @abstractmethod
    def scaling_map(self, gram: Floats) -> Floats:
        """Upper-triangular map (p, p) to columns of about unit mean square that have this structure again.

        `gram` (p, p) holds the mean squares and products of the columns.
        """

    @abstractmethod
    def falls(self, inner: Floats, null: Floats, root: Floats | None = None) -> tuple[Floats, Floats]:
        """Slopes (m,) of the criterion along variances that are zero, and their directions (p, m).

        `inner` (p, p) is W, along whose vᵀWv the criterion moves with a variance in direction v; `null` (p, q) spans
        the directions without variance, and `root` (p, p) is λ, where it is not zero.
        """

    def pull_back(self, theta: Floats, gradient: Floats) -> Floats:
        """Chain rule: from ∂/∂λ (..., p, p) to ∂/∂θ (..., n_theta)."""
        return np.asarray(np.einsum("...ijk,...jk->...i", self.jacobian(theta), gradient))

    def change(self, theta: Floats, of_root: Floats) -> Floats:
        """The change of θ (..., n_theta) behind a change (..., p, p) of λ that keeps the structure."""
        flat = self.jacobian(theta).reshape(*theta.shape[:-1], self.n_theta, -1)
        return np.asarray((of_root.reshape(*of_root.shape[:-2], 1, -1) @ np.linalg.pinv(flat))[..., 0, :])

    def touched(self, theta: Floats) -> Bools:
        """Which entries of λ each parameter changes (n_theta, p, p)."""
        return np.asarray(self.jacobian(theta) != 0)


@dataclass(frozen=True)
class Linear(Structure):
    """A structure whose parameters are entries of λ."""

    kernels = True

    @cached_property
    @abstractmethod
    def places(self) -> tuple[Ints, Ints, Ints]:
        """Rows, columns and parameters: ``λ[rows[e], columns[e]]`` is ``θ[parameters[e]]``."""

    @property
    def n_theta(self) -> int:
        """Number of parameters."""
        return int(self.places[2].max()) + 1

    @property
    def on_diagonal(self) -> Bools:
        """Entries on the diagonal of λ."""
        rows, columns, parameters = self.places
        out = np.zeros(self.n_theta, dtype=bool)
        out[parameters[rows == columns]] = True
        return out

    def labels(self, columns: Sequence[str]) -> list[str]:
        """By the first place of each parameter."""
        rows, cols, parameters = (p.tolist() for p in self.places)
        first = [parameters.index(i) for i in range(self.n_theta)]
        pairs = [(columns[rows[e]], columns[cols[e]]) for e in first]
        return [row if row == column else f"{row}.{column}" for row, column in pairs]

    def root(self, theta: Floats) -> Floats:
        """Fill the places."""
        rows, columns, parameters = self.places
        out = np.zeros((*theta.shape[:-1], self.size, self.size))
        out[..., rows, columns] = theta[..., parameters]
        return out

    @cached_property
    def _basis(self) -> Floats:
        return self.root(np.eye(self.n_theta))

    def jacobian(self, theta: Floats) -> Floats:
        """Constant (n_theta, p, p)."""
        return self._basis

    def pull_back(self, theta: Floats, gradient: Floats) -> Floats:
        """Sum over the places of each parameter."""
        rows, columns, parameters = self.places
        entries = gradient[..., rows, columns]
        out = np.zeros((*entries.shape[:-1], self.n_theta))
        np.add.at(np.moveaxis(out, -1, 0), parameters, np.moveaxis(entries, -1, 0))
        return out

    def change(self, theta: Floats, of_root: Floats) -> Floats:
        """Mean over the places of each parameter."""
        return np.asarray(self.pull_back(theta, of_root) / np.bincount(self.places[2]))


def lower_root(root: Floats) -> Floats:
    """Lower-triangular L (..., p, p) with L Lᵀ = R Rᵀ and a non-negative diagonal, for any square root R (..., p, m).

    Works where R Rᵀ is singular, since no Cholesky factor is taken: it is the transposed triangle of QR(Rᵀ).
    """
    p, m = root.shape[-2:]
    if m < p:
        root = np.concatenate([root, np.zeros((*root.shape[:-1], p - m))], axis=-1)
    lower = np.swapaxes(np.linalg.qr(np.swapaxes(root, -1, -2))[1], -1, -2)
    signs = np.where(np.diagonal(lower, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return np.asarray(lower * signs[..., None, :])


def without_small(lam: Floats, least: float) -> Floats:
    """A root of λλᵀ (..., p, p) with directions whose singular value is below `least` taken out of it."""
    left, values, right = np.linalg.svd(lam)
    return np.asarray((left * np.where(values < least, 0.0, values)[..., None, :]) @ right)
