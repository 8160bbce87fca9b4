"""Adaptive Gauss-Hermite quadrature of the likelihood: one factor with one effect a level, with its exact gradient.

The integral of every level is taken at points û + κx_m round its mode, κ² being one over minus the second derivative of
h there, so that one point is Laplace's approximation. Points move with the parameters, and the gradient with them.

References: Pinheiro & Bates 1995, J. Comput. Graph. Stat. 4, 12-35.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import logsumexp, softmax

from _ranef.errors import FitError
from _ranef.likelihood.laplace import FirstOrder, LaplaceAt
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["QuadratureAt", "at_points", "check_points"]

#: most points of quadrature: beyond them weights are rounding
MOST_POINTS = 50

#: λ below which the slope in the variance is that of Laplace's approximation, which is the same at zero
NO_EFFECT = 1e-6


def check_points(spec: ModelSpec, points: int) -> None:
    """Refuse quadrature where there is no integral of one dimension for every level.

    Raises
    ------
    FitError
        For crossed or nested factors, several effects of a level, or too many points.
    """
    if points > MOST_POINTS:
        raise FitError(f"nagq={points} is too many: {MOST_POINTS} points at most, and 10 or 20 will do.")
    if points > 1 and [len(g.columns) for g in spec.groupings] != [1]:
        words = ", ".join(f"{len(g.columns)} of {g.name}" for g in spec.groupings) or "none"
        raise FitError(
            f"nagq={points} is for one grouping factor with one effect of each level; this model has effects {words}. "
            "nagq=1 is Laplace's approximation, for any model."
        )


@dataclass(frozen=True, eq=False, repr=False)
class QuadratureAt(LaplaceAt):
    """What one conditional mode gives, with an integral of several points round it.

    Attributes
    ----------
    x, log_weights : array (m,)
        Points, and logarithms of what the integrand is multiplied by there.
    """

    x: Floats
    log_weights: Floats

    @cached_property
    def _points(self) -> _Points:
        model, mode = self.laplace, self.mode
        lam, code, z = float(self.roots[0][0, 0]), model.codes[0], model.Z[0][0]
        H = 1.0 + lam**2 * mode.A.diag[0][:, 0, 0]
        u = lam * mode.v[0][:, :, 0] + self.x / np.sqrt(H)[:, None]
        fixed, own = mode.eta - mode.part, model.own(self.logs)
        heights, first = np.empty(u.shape), np.empty((len(z), len(self.x)))
        for m in range(len(self.x)):
            at = model.family.slopes(fixed + lam * z * u[code, m], model.rows, own)
            heights[:, m] = np.bincount(code, at.value, len(u)) - 0.5 * u[:, m] ** 2
            first[:, m] = at.first
        logs = heights + self.log_weights
        return _Points(lam, H, u, first, logsumexp(logs, axis=1), softmax(logs, axis=1))

    @cached_property
    def criterion(self) -> float:
        """−2 log-likelihood."""
        own = self._points
        return float(np.log(own.H).sum() - 2.0 * own.integrals.sum()) - 2.0 * self.constant

    @cached_property
    def first_order(self) -> FirstOrder:
        """The gradient: that of the points by their shares, and of how they move."""
        model, mode, at, own = self.laplace, self.mode, self.mode.at, self._points
        code, z, J = model.codes[0], model.Z[0][0], len(own.H)
        lam, p = own.lam, own.shares
        slopes = np.stack([np.bincount(code, z * d, J) for d in own.first.T], axis=1)  # in Zb
        downhill = lam * slopes - own.u
        alpha = (p * downhill).sum(axis=1)
        gamma = 1.0 + (p * downhill) @ self.x / np.sqrt(own.H)
        leverage = (gamma * lam**2 / own.H)[code] * z**2
        bent = -at.third * leverage
        v, A = np.bincount(code, z * at.first, J), mode.A.diag[0][:, 0, 0]
        a = (lam * np.bincount(code, z * bent, J) - 2.0 * alpha) / own.H
        moved = lam * z * a[code]
        mean_first = (own.first * p[code]).sum(axis=1)
        left = bent - at.curvature * moved
        explicit = -2.0 * (p * slopes * own.u).sum() + (2.0 * lam * gamma * A / own.H).sum()
        slope = explicit + lam * (np.bincount(code, z * bent, J) * v).sum() + (a * v * (1.0 - lam**2 * A)).sum()
        small = abs(lam) < NO_EFFECT
        W = (A - v**2).sum() if small else slope / (2.0 * lam)
        logs = self._in_dispersions(leverage, moved) if len(self.logs) else np.zeros(0)
        return FirstOrder((np.array([[W]]),), model.X.T @ (left - 2.0 * mean_first), logs)

    def _in_dispersions(self, leverage: Floats, moved: Floats) -> Floats:
        model, mode, own = self.laplace, self.mode, self._points
        named, code, z = model.own(self.logs), model.codes[0], model.Z[0][0]
        fixed, out = mode.eta - mode.part, np.zeros(len(self.logs))
        for m in range(len(self.x)):
            eta = fixed + own.lam * z * own.u[code, m]
            parts = model.family.in_dispersions(eta, model.rows, named)
            out -= 2.0 * np.array([d.value @ own.shares[code, m] for d in parts])
        there = model.family.in_dispersions(mode.eta, model.rows, named)
        return np.asarray(out + np.array([leverage @ d.curvature + moved @ d.first for d in there]))


@dataclass(frozen=True, eq=False, repr=False)
class _Points:
    """λ; minus second derivatives H (J,); points u (J, m); first derivatives (n, m); logarithms (J,); shares (J, m)."""

    lam: float
    H: Floats
    u: Floats
    first: Floats
    integrals: Floats
    shares: Floats


def at_points(at: LaplaceAt, points: int) -> LaplaceAt:
    """The same by quadrature with so many points."""
    if points == 1:
        return at
    x, weights = np.polynomial.hermite_e.hermegauss(points)
    log_weights = np.log(weights) - 0.5 * np.log(2.0 * np.pi) + 0.5 * x**2
    return QuadratureAt(at.laplace, at.roots, at.inner_beta, at.logs, at.mode, at.constant, x, log_weights)
