"""The criterion as a function of θ on the internal scale, with what Newton's method needs there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from _ranef.likelihood import At, LeastSquares, Likelihood, Undetermined, least_squares, undetermined
from _ranef.reml.newton import bending, em_thetas, least_curvature
from _ranef.support.arrays import Floats

__all__ = ["Point", "Problem"]


#: largest θ at which a row still has a digit beside its effects; and beside the response in units of a known sigma
FARTHEST, BEYOND = 1e14, 1e4


@dataclass(frozen=True, eq=False, repr=False)
class Point:
    """One θ and everything there.

    Attributes
    ----------
    theta : array (n_theta,)
        For standard columns.
    at : At
    """

    theta: Floats
    at: At

    @property
    def criterion(self) -> float:
        """Value of the criterion."""
        return self.at.criterion

    @property
    def W(self) -> list[Floats]:
        """The matrices W_k (1, p_k, p_k), as of one point among many."""
        return [W[None] for W in self.at.W]


@dataclass(frozen=True, eq=False, repr=False)
class Problem(Likelihood):
    """The criterion of one model as a function of θ for standard columns (:mod:`_ranef.likelihood.at`)."""

    def point(self, theta: Floats) -> Point:
        """Evaluate the criterion at `theta` (n_theta,)."""
        return Point(theta, self.at_standard(self.spec.lambdas(theta)))

    def gradient(self, point: Point) -> Floats:
        """∂criterion/∂θ (n_theta,); zero, not rounding, for what is undetermined by itself."""
        return np.where(self.undetermined.alone, 0.0, self.spec.pull_back(point.theta, point.at.gradient))

    def curvature(self, point: Point) -> Floats:
        """Average information and what bends the criterion near a boundary, (n_theta, n_theta)."""
        information = self.information(point) + bending(self.spec, point.theta[None], point.W)[0]
        return np.asarray(0.5 * (information + information.T))

    def information(self, point: Point) -> Floats:
        """Average information about θ in deviance units, (n_theta, n_theta)."""
        changes = [(t.grouping, root) for t, root in self.spec.root_derivatives(point.theta)]
        return point.at.average_information(changes)

    def em(self, point: Point) -> Floats:
        """θ after one EM sweep from a point."""
        return self.settled(em_thetas(self.spec, point.theta[None], point.W)[0])

    @cached_property
    def undetermined(self) -> Undetermined:
        """What the data do not determine."""
        return undetermined(self.spec, self.products, self.method)

    @cached_property
    def least_squares(self) -> LeastSquares | None:
        """What least squares says, where rows are at hand."""
        return least_squares(self.spec, self.products)

    @property
    def farthest(self) -> float:
        """θ beyond which the criterion is rounding, and no optimum: effects far larger than the response."""
        if self.spec.sigma is None:
            return FARTHEST
        return min(FARTHEST, BEYOND * max(1.0, self.response_unit / self.spec.sigma))

    def settled(self, theta: Floats) -> Floats:
        """θ (..., n_theta) with what is undetermined by itself where it stays: a variance at 1, a covariance at 0."""
        return np.where(self.undetermined.alone, self.spec.on_diagonal.astype(float), theta)

    def least_curvature(self, theta: Floats, share: float) -> Floats:
        """A share of the natural size of the curvature of every θ (n_theta,)."""
        return np.asarray(least_curvature(self.spec, theta[None], share)[0])
