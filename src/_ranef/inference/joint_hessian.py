"""What the likelihood of a generalised response says of all its parameters together: its Hessian, and its scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from _ranef.errors import NotAvailableError
from _ranef.inference.engines import laplace_at
from _ranef.inference.information import VarianceInformation, differences, known_scale_information, make_chart
from _ranef.likelihood import LaplaceAt, at_points
from _ranef.reml import GeneralisedProblem, without_flat
from _ranef.results import RemlEstimates
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["JointInformation", "joint_information", "refuse_quadrature"]

#: step of differences in a parameter, as a share of its standard error
DIFFERENCE = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class JointInformation:
    """The criterion near the estimates, in x = (θ for standard columns | internal β | log dispersions).

    Attributes
    ----------
    problem : GeneralisedProblem
    x : array (m,)
    at : LaplaceAt
    hessian : array (m, m)
    """

    problem: GeneralisedProblem
    x: Floats
    at: LaplaceAt
    hessian: Floats

    @cached_property
    def covariance(self) -> Floats:
        """Of x̂ (m, m); zero for what has no curvature, which is taken as known."""
        return 2.0 * without_flat(self.hessian, np.eye(len(self.x)))

    @cached_property
    def effect_slopes(self) -> tuple[Floats, ...]:
        """How conditional modes (J_k, p_k, m) by grouping, on the user's scale, move with x."""
        shapes = [b.shape for b in self.at.effects]
        if not shapes:
            return ()
        steps, slopes = DIFFERENCE * np.sqrt(np.diag(self.covariance)), []
        for h, unit in zip(steps, np.eye(len(steps)), strict=True):
            ahead, behind = (self._effects(self.x + side * h * unit) for side in (1.0, -1.0))
            slopes.append((ahead - behind) / (2.0 * h) if h else np.zeros_like(ahead))
        ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1].astype(int)
        parts = np.split(np.stack(slopes, axis=-1), ends)
        return tuple(part.reshape(*shape, -1) for part, shape in zip(parts, shapes, strict=True))

    @cached_property
    def of_variances(self) -> VarianceInformation:
        """What it says of the random effects' covariances, coefficients and dispersions following to their optimum.

        By differences along a chart, of which a variance of zero is no edge.
        """
        problem, n, at = self.problem, self.problem.n_theta, self.at
        theta, likelihood = problem.to_written(self.x), problem.laplace.gaussian
        chart = make_chart(likelihood, theta)

        def gradient(x: Floats) -> Floats:
            moved = problem.laplace.at(chart.at(x), at.inner_beta, at.logs, at.mode)
            there = at_points(moved, problem.points)
            return np.concatenate([chart.along(there.gradient, x), there.first_order.beta, there.first_order.logs])

        m = len(chart.sizes)
        rows = differences(gradient, chart.sizes).reshape(m, m + len(self.x) - n)
        own, across = rows[:, :m], rows[:, m:]
        hessian = 0.5 * (own + own.T) - across @ without_flat(self.hessian[n:, n:], across.T)
        return known_scale_information(likelihood, theta, chart, hessian)

    @property
    def coefficient_slopes(self) -> Floats:
        """The same of β (p, m)."""
        n, p = self.problem.n_theta, self.problem.spec.n_fixed
        out = np.zeros((p, len(self.x)))
        out[:, n : n + p] = self.problem.laplace.outward_map
        return out

    def variances(self, slopes: Floats) -> Floats:
        """Of quantities that move so (..., m), by the delta method."""
        return np.asarray(np.einsum("...a,ab,...b->...", slopes, self.covariance, slopes, optimize=True))

    def _effects(self, x: Floats) -> Floats:
        at = self.problem.point(x).at
        assert isinstance(at, LaplaceAt)
        return np.concatenate([b.ravel() for b in at.effects])

    def sandwich(self, codes: Ints, m: int, scale: float) -> Floats:
        """Covariance (p, p) of β̂ on the user's scale from the scores of m clusters, times a scale.

        H⁻¹ Σ s_c s_cᵀ H⁻¹ with H half the Hessian and s half the gradient of a cluster's −2 log L, in all parameters
        (Huber 1967; White 1982, Econometrica 50, 1-25).
        """
        spec, scores, theta = self.problem.spec, self.at.scores(codes, m), self.x[: self.problem.n_theta]
        lambdas = spec.lambdas(theta)
        in_theta = [
            2.0 * np.einsum("cab,bd,ad->c", scores.W[t.grouping], lambdas[t.grouping], slope, optimize=True)
            for t, slope in spec.root_derivatives(theta)
        ]
        rows = np.column_stack([*in_theta, scores.beta, scores.logs])
        moved = without_flat(self.hessian, rows.T)
        at = slice(len(theta), len(theta) + spec.n_fixed)
        return scale * self.problem.laplace.outward(moved[at] @ moved[at].T)


def joint_information(spec: ModelSpec, estimates: RemlEstimates) -> JointInformation:
    """Differentiate the gradient at the estimates."""
    at = laplace_at(spec, estimates)
    problem = GeneralisedProblem(at.laplace, estimates.nagq)
    point = problem.at_estimates(estimates)
    return JointInformation(problem, point.theta, at, problem.hessian(point, problem.curvature(point)))


def refuse_quadrature(estimates: RemlEstimates, what: str) -> None:
    """Raise where the likelihood is not Laplace's.

    Raises
    ------
    NotAvailableError
    """
    if estimates.nagq > 1:
        raise NotAvailableError(
            f"{what} is not available for fits by quadrature (nagq={estimates.nagq}); it is for those by Laplace's "
            "approximation, nagq=1."
        )
