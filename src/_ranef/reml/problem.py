"""The criterion as a function of its parameters, θ on the internal scale and ρ, with what Newton's steps need there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from _ranef.likelihood import (
    PERFECT_FIT,
    At,
    CrossProducts,
    LeastSquares,
    Likelihood,
    OverRho,
    Undetermined,
    least_squares,
    undetermined,
)
from _ranef.reml.newton import FLAT, bending, em_thetas, least_curvature, newton_steps, shortened, without_held
from _ranef.spec import ModelSpec, mean_log_sds, mean_log_sds_slopes
from _ranef.support.arrays import Bools, Floats

__all__ = ["FAR", "Follow", "JointProblem", "Minimand", "Point", "Problem"]


#: largest θ at which a row still has a digit beside its effects; and beside the response in units of a known sigma
FARTHEST, BEYOND = 1e14, 1e4


#: how far ρ may go from where it starts, and at once, in units that matter
FAR, LONGEST = 15.0, 2.0

#: step of the differences of slopes in ρ, and the least curvature that counts
DIFFERENCE, LEAST_CURVATURE = 1e-3, 1e-2


@dataclass(frozen=True, eq=False, repr=False)
class Point:
    """One set of parameters and everything there.

    Attributes
    ----------
    theta : array (n,)
        For standard columns; then ρ, where it is estimated too.
    at : At
    factor : float
        By which λ is larger than θ says.
    """

    theta: Floats
    at: At
    factor: float = 1.0

    @property
    def criterion(self) -> float:
        """Value of the criterion."""
        return self.at.criterion

    @property
    def W(self) -> list[Floats]:
        """The matrices W_k (1, p_k, p_k) beside θ, as of one point among many."""
        return [self.factor**2 * W[None] for W in self.at.W]


@dataclass(frozen=True, eq=False, repr=False)
class Follow:
    """What is known of the curvature in ρ, by differences and then by what gradients show.

    Attributes
    ----------
    along : array (n_theta, n_rho)
        Less of θ for a little more of each ρ, where the criterion is to stay lowest.
    own : array (n_rho, n_rho)
        Curvature with θ following; positive definite.
    """

    along: Floats
    own: Floats

    def around(self, of_theta: Floats) -> Floats:
        """The whole curvature, with that of θ."""
        across = of_theta @ self.along
        return np.block([[of_theta, across], [across.T, self.own + self.along.T @ across]])

    @staticmethod
    def within(whole: Floats, n_theta: int) -> Follow:
        """What a whole positive curvature says of ρ."""
        of_theta, across = whole[:n_theta, :n_theta], whole[:n_theta, n_theta:]
        along = np.linalg.solve(of_theta, across)
        values, vectors = np.linalg.eigh(whole[n_theta:, n_theta:] - across.T @ along)
        return Follow(along, (vectors * np.maximum(np.abs(values), LEAST_CURVATURE)) @ vectors.T)


class Minimand(Protocol):
    """What descends."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""

    @property
    def products(self) -> CrossProducts:
        """Those at some ρ, where they depend on it."""

    @property
    def least_squares(self) -> LeastSquares | None:
        """What least squares says, where rows are at hand."""

    @property
    def learns(self) -> bool:
        """Whether gradients correct the curvature near the end, however quick the descent."""

    @property
    def scales(self) -> Bools:
        """Which parameters (n,) scale a column of λ, so that their sign is not identified."""

    @property
    def bounds(self) -> list[tuple[float | None, float | None]] | None:
        """Of the parameters (n,), if there are any."""

    def point(self, theta: Floats) -> Point:
        """Evaluate the criterion."""

    def gradient(self, point: Point) -> Floats:
        """Its derivatives (n,)."""

    def follow(self, point: Point, gradient: Floats) -> Follow | None:
        """What is found out about the curvature in ρ before the first step."""

    def curvature(self, point: Point, follow: Follow | None) -> Floats:
        """A positive curvature (n, n)."""

    def step(self, point: Point, gradient: Floats, curvature: Floats) -> Floats:
        """Newton's (n,), as far as it is allowed at once."""

    def em(self, point: Point) -> Floats:
        """The parameters after one EM sweep."""

    def allowed(self, theta: Floats) -> Floats:
        """The nearest that there may be."""

    def too_far(self, theta: Floats) -> bool:
        """Whether the criterion is rounding there."""

    def to_written(self, theta: Floats) -> Floats:
        """θ for the columns as written."""


@dataclass(frozen=True, eq=False, repr=False)
class Problem(Likelihood):
    """The criterion of one model as a function of θ for standard columns (:mod:`_ranef.likelihood.at`).

    Attributes
    ----------
    known : Undetermined, optional
        What the data do not determine, where that has been found at another ρ.
    """

    known: Undetermined | None = None

    #: the average information is a good curvature near an optimum
    learns = False

    @property
    def scales(self) -> Bools:
        """Which of θ (n_theta,) scale a column of λ."""
        return self.spec.on_diagonal

    @property
    def bounds(self) -> list[tuple[float | None, float | None]] | None:
        """Zero for what may not be less."""
        least = self.spec.not_negative
        return [(0.0 if own else None, None) for own in least.tolist()] if least.any() else None

    def point(self, theta: Floats) -> Point:
        """Evaluate the criterion at `theta` (n_theta,)."""
        return Point(theta, self.at_standard(self.spec.lambdas(theta)))

    def gradient(self, point: Point) -> Floats:
        """∂criterion/∂θ (n_theta,); zero, not rounding, for what is undetermined by itself."""
        slopes = [point.factor * slope for slope in point.at.gradient] if point.factor != 1.0 else point.at.gradient
        return np.where(self.undetermined.alone, 0.0, self.spec.pull_back(point.theta, slopes))

    def follow(self, point: Point, gradient: Floats) -> None:
        """Nothing, for there is no ρ."""

    def curvature(self, point: Point, follow: Follow | None = None) -> Floats:
        """Average information and what bends the criterion near a boundary, (n_theta, n_theta)."""
        theta = point.theta[: self.spec.n_theta]
        information = self.information(point) + bending(self.spec, theta[None], point.W)[0]
        return np.asarray(0.5 * (information + information.T))

    def information(self, point: Point) -> Floats:
        """Average information about θ in deviance units, (n_theta, n_theta)."""
        derivatives = self.spec.root_derivatives(point.theta)
        return point.at.average_information([(t.grouping, point.factor * root) for t, root in derivatives])

    def step(self, point: Point, gradient: Floats, curvature: Floats) -> Floats:
        """Newton's, with curvatures no less than believed, and none along what is undetermined."""
        smallest = least_curvature(self.spec, point.theta[None], FLAT)
        slope, bend = without_held(self.spec, point.theta[None], gradient[None], curvature[None])
        step = shortened(self.spec, newton_steps(point.theta[None], slope, bend, smallest)[0])
        step[: self.spec.n_theta][self.undetermined.alone] = 0.0
        return step

    def em(self, point: Point) -> Floats:
        """θ after one EM sweep from a point."""
        return self.settled(em_thetas(self.spec, point.theta[None], point.W)[0])

    def allowed(self, theta: Floats) -> Floats:
        """θ with zero for what is negative and has to be zero or more."""
        return self.spec.allowed(theta)

    def too_far(self, theta: Floats) -> bool:
        """Whether effects are so large that the criterion is rounding."""
        return float(np.abs(theta).max()) > self.farthest

    @cached_property
    def undetermined(self) -> Undetermined:
        """What the data do not determine."""
        return self.known or undetermined(self.spec, self.products, self.method)

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


@dataclass(frozen=True, eq=False, repr=False)
class JointProblem:
    """The criterion as a function of (θ | ρ), ρ in units that matter from where they are made.

    θ is beside the mean standard deviation of rows, so that effects stay as large as they are when ρ moves.

    Attributes
    ----------
    over : OverRho
    at_start : Problem
        With ρ known, where units are made.
    """

    over: OverRho
    at_start: Problem

    #: that in ρ is learnt anyway
    learns = False

    @property
    def spec(self) -> ModelSpec:
        """With the ρ of the start."""
        return self.at_start.spec

    @property
    def products(self) -> CrossProducts:
        """Those there."""
        return self.at_start.products

    @property
    def least_squares(self) -> LeastSquares | None:
        """What least squares says there."""
        return self.at_start.least_squares

    @cached_property
    def units(self) -> Floats:
        """Changes of ρ (n_rho,) that matter."""
        return self.spec.residual.units

    @property
    def centre(self) -> Floats:
        """ρ (n_rho,) of the start."""
        assert self.spec.rho is not None
        return self.spec.rho

    @cached_property
    def scales(self) -> Bools:
        """Which parameters scale a column of λ."""
        return np.append(self.spec.on_diagonal, np.zeros(len(self.units), dtype=bool))

    @property
    def bounds(self) -> list[tuple[float | None, float | None]]:
        """Those of θ, and how far ρ may go."""
        return [*(self.at_start.bounds or [(None, None)] * self.n_theta), *([(-FAR, FAR)] * len(self.units))]

    @property
    def n_theta(self) -> int:
        """How many come before ρ."""
        return self.spec.n_theta

    def rho(self, x: Floats) -> Floats:
        """ρ (n_rho,) of parameters (n,)."""
        return np.asarray(self.centre + self.units * x[self.n_theta :])

    def at_rho(self, rho: Floats) -> tuple[Problem, float]:
        """The problem with ρ known, and the factor of its θ."""
        own = self.over.at(rho)
        change = mean_log_sds(self.spec, rho) - mean_log_sds(self.spec, self.centre)
        return Problem(own.spec, own.products, own.method, self.at_start.undetermined), float(np.exp(change))

    def joined(self, theta: Floats, factor: float, rho: Floats) -> Floats:
        """Parameters (n,) of θ at ρ."""
        own = self.spec.times(theta, np.array(1.0 / factor))
        return np.append(own, (rho - self.centre) / self.units)

    def point(self, theta: Floats) -> Point:
        """Evaluate the criterion.

        Raises
        ------
        LinAlgError
            So far out that it is no number, or that nothing is left of the response.
        """
        with np.errstate(all="ignore"):
            problem, factor = self.at_rho(self.rho(theta))
            at = problem.at_standard([factor * lam for lam in self.spec.lambdas(theta)])
        nothing_left = self.spec.sigma is None and not at.from_rows and not at.unexplained > PERFECT_FIT
        if nothing_left or not np.isfinite(at.criterion):
            raise np.linalg.LinAlgError("the criterion is no number")
        return Point(theta, at, factor)

    def gradient(self, point: Point) -> Floats:
        """∂criterion/∂(θ, ρ) (n,)."""
        at, slopes = point.at, self.over.slopes(point.at)
        of_size = sum(float((slope * lam).sum()) for slope, lam in zip(at.gradient, at.roots, strict=True))
        slopes = slopes + of_size * mean_log_sds_slopes(self.spec, self.rho(point.theta))
        return np.append(self.at_start.gradient(point) if self.n_theta else np.zeros(0), self.units * slopes)

    def follow(self, point: Point, gradient: Floats) -> Follow:
        """The curvature in ρ by differences; where either side is next to singular, one."""
        n, columns = self.n_theta, np.eye(len(point.theta))[:, self.n_theta :]
        for k, column in enumerate(columns.T):
            for step in (DIFFERENCE, -DIFFERENCE):
                with suppress(np.linalg.LinAlgError):
                    moved = self.gradient(self.point(point.theta + step * np.eye(len(point.theta))[n + k]))
                    found = (moved - gradient) / step
                    if np.isfinite(found).all():
                        column[:] = found
                        break
        of_theta = self._of_theta(point)
        whole = np.block([[of_theta, columns[:n]], [columns[:n].T, 0.5 * (columns[n:] + columns[n:].T)]])
        return Follow.within(whole, n)

    def _of_theta(self, point: Point) -> Floats:
        own = self.at_start.curvature(point) if self.n_theta else np.zeros((0, 0))
        return own + np.diag(least_curvature(self.spec, point.theta[None, : self.n_theta], FLAT)[0])

    def curvature(self, point: Point, follow: Follow | None) -> Floats:
        """That of θ as ever, and what is known of ρ."""
        assert follow is not None
        return follow.around(self._of_theta(point))

    def step(self, point: Point, gradient: Floats, curvature: Floats) -> Floats:
        """Newton's in all parameters; at a bound, what leads out of it is no way."""
        n, u, slope = self.n_theta, point.theta[self.n_theta :], gradient.copy()
        held = (np.abs(u) >= FAR) & (u * gradient[n:] < 0)
        slope[n:][held] = 0.0
        free = np.append(np.ones(n, dtype=bool), ~held)
        step = self.at_start.step(point, slope, np.where(free[:, None] & free, curvature, np.diag(np.diag(curvature))))
        return np.asarray(step * min(1.0, LONGEST / max(float(np.abs(step[n:]).max()), LONGEST)))

    def em(self, point: Point) -> Floats:
        """One EM sweep of θ."""
        theta = em_thetas(self.spec, point.theta[None], point.W)[0]
        return np.append(self.at_start.settled(theta[: self.n_theta]), theta[self.n_theta :])

    def allowed(self, theta: Floats) -> Floats:
        """θ as ever, and ρ not farther than it may."""
        return np.append(self.spec.allowed(theta[: self.n_theta]), np.clip(theta[self.n_theta :], -FAR, FAR))

    def too_far(self, theta: Floats) -> bool:
        """Whether effects are."""
        return bool(self.n_theta) and self.at_start.too_far(theta[: self.n_theta])

    def to_written(self, theta: Floats) -> Floats:
        """θ for the columns as written."""
        change = mean_log_sds(self.spec, self.rho(theta)) - mean_log_sds(self.spec, self.centre)
        return self.at_start.to_written(self.spec.times(theta[: self.n_theta], np.exp(change)))
