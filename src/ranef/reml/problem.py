"""The criterion as a function of θ on the internal scale, with what Newton's method needs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ranef.arrays import Floats
from ranef.likelihood import (
    At,
    Evaluation,
    LeastSquares,
    Likelihood,
    Score,
    Undetermined,
    average_information,
    evaluate,
    least_squares,
    score,
    undetermined,
)
from ranef.reml.newton import bending, em_thetas, least_curvature

__all__ = ["Point", "Problem"]


#: largest θ at which a row still has a digit beside its effects; and beside the response in units of a known sigma
FARTHEST, BEYOND = 1e14, 1e4


@dataclass(frozen=True, eq=False, repr=False)
class Point:
    """The criterion at one θ.

    Attributes
    ----------
    theta : array (n_theta,)
        Internal scale.
    lambdas : tuple of array (p_k, p_k)
        In elimination order.
    at : Evaluation
    """

    theta: Floats
    lambdas: tuple[Floats, ...]
    at: Evaluation

    @property
    def criterion(self) -> float:
        """Value of the criterion."""
        return self.at.criterion


@dataclass(frozen=True, eq=False, repr=False)
class Problem(Likelihood):
    """The criterion of one model as a function of θ on the internal scale, that of standard columns."""

    def point(self, theta: Floats) -> Point:
        """Evaluate the criterion at internal `theta` (n_theta,)."""
        lambdas = self._ordered(self.spec.lambdas(theta))
        return Point(theta, lambdas, evaluate(self.products, lambdas, self.method, self.spec.sigma))

    def score(self, point: Point) -> Score:
        """First-order quantities at a point."""
        return score(self.products, point.at)

    def gradient(self, point: Point, first: Score) -> Floats:
        """∂criterion/∂θ (n_theta,); zero, not rounding, for what is undetermined by itself."""
        slope = self.spec.pull_back(point.theta, self._by_grouping(first.gradient(point.lambdas)))
        return np.where(self.undetermined.alone, 0.0, slope)

    def curvature(self, point: Point, first: Score) -> Floats:
        """Average information and what bends the criterion near a boundary, (n_theta, n_theta)."""
        bent = bending(self.spec, point.theta[None], [W[None] for W in self.W(first)])[0]
        information = self.information(point, first) + bent
        return np.asarray(0.5 * (information + information.T))

    def information(self, point: Point, first: Score) -> Floats:
        """Average information about θ in deviance units, (n_theta, n_theta)."""
        place = {k: i for i, k in enumerate(self.products.order)}
        directions = []
        for t, root in self.spec.root_derivatives(point.theta):
            half = root @ point.lambdas[place[t.grouping]].T
            directions.append((place[t.grouping], half + half.T))
        profiled = self.spec.sigma is None
        return average_information(self.products, point.at, first, directions, profiled=profiled)

    def em(self, point: Point, first: Score) -> Floats:
        """θ after one EM sweep from a point."""
        return self.settled(em_thetas(self.spec, point.theta[None], [W[None] for W in self.W(first)])[0])

    def known(self, point: Point, first: Score) -> At:
        """What is known at a point, on the user's scale."""
        return At(self, self.spec.lambdas(point.theta), point.at, first)

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
        """Internal θ beyond which the criterion is rounding, and no optimum: effects far larger than the response."""
        if self.spec.sigma is None:
            return FARTHEST
        return min(FARTHEST, BEYOND * max(1.0, self.response_unit / self.spec.sigma))

    def settled(self, theta: Floats) -> Floats:
        """θ (..., n_theta) with what is undetermined by itself where it stays: a variance at 1, a covariance at 0."""
        return np.where(self.undetermined.alone, self.spec.on_diagonal.astype(float), theta)

    def least_curvature(self, theta: Floats, share: float) -> Floats:
        """A share of the natural size of the curvature of every θ (n_theta,)."""
        return np.asarray(least_curvature(self.spec, theta[None], share)[0])

    def W(self, first: Score) -> list[Floats]:
        """The matrices W_k in the order of the spec's groupings."""
        return self._by_grouping(first.W)

    def _ordered(self, by_grouping: Sequence[Floats]) -> tuple[Floats, ...]:
        return tuple(by_grouping[k] for k in self.products.order)

    def _by_grouping(self, ordered: Sequence[Floats]) -> list[Floats]:
        return [ordered[self.products.order.index(k)] for k in range(len(ordered))]
