"""Adaptive Gauss-Hermite quadrature of the likelihood: one factor with up to three effects a level, with its gradient.

The integral of every level is taken at points û + L⁻ᵀx_m round its mode, LLᵀ being minus the second derivatives of h
there, so that one point is Laplace's approximation (Pinheiro & Bates 1995, J. Comput. Graph. Stat. 4, 12-35). Points
move with the parameters, and the gradient with them: with p_m the shares of the points of a level in its integral and
g = L⁻¹∂h/∂u there, what multiplies a change of LLᵀ is L⁻ᵀ(I + M)L⁻¹ with M the symmetric matrix that has the lower
triangle of Σ p_m x_m g_mᵀ, in the place of (LLᵀ)⁻¹.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from _ranef.errors import FitError
from _ranef.likelihood.laplace import FirstOrder, LaplaceAt
from _ranef.spec import ModelSpec, Slopes
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["QuadratureAt", "at_points", "check_points"]

#: most points of quadrature along an effect: beyond them weights are rounding; and in all, and effects of a level
MOST_POINTS, MOST_IN_ALL, MOST_EFFECTS = 50, 4_000, 3


def check_points(spec: ModelSpec, points: int) -> None:
    """Refuse quadrature where there is no integral of few dimensions for every level.

    Raises
    ------
    FitError
        For crossed or nested factors, more than three effects of a level, or too many points.
    """
    if points == 1:
        return
    if spec.related:
        raise FitError(
            f"nagq={points} takes an integral for every level alone, and here levels are related (cov=). nagq=1 is "
            "Laplace's approximation, for any model."
        )
    sizes = [len(g.columns) for g in spec.groupings]
    if len(sizes) != 1 or sizes[0] > MOST_EFFECTS:
        words = ", ".join(f"{len(g.columns)} of {g.name}" for g in spec.groupings) or "none"
        raise FitError(
            f"nagq={points} is for one grouping factor with up to three effects of each level; this model has effects "
            f"{words}. nagq=1 is Laplace's approximation, for any model."
        )
    if points > MOST_POINTS or points ** sizes[0] > MOST_IN_ALL:
        raise FitError(
            f"nagq={points} is too many: these are {points ** sizes[0]} points of every level, and {MOST_POINTS} along "
            f"an effect, {MOST_IN_ALL} in all, are the most; 7 or 10 along an effect will do."
        )


@dataclass(frozen=True, eq=False, repr=False)
class QuadratureAt(LaplaceAt):
    """What one conditional mode gives, with an integral of several points round it.

    Attributes
    ----------
    x : array (m, p)
        Points.
    log_weights : array (m,)
        Logarithms of what the integrand is multiplied by there.
    """

    x: Floats
    log_weights: Floats

    @cached_property
    def _integrals(self) -> _Integrals:
        code, J, lam = self.laplace.codes[0], self.laplace.n_levels[0], self._lam
        H = np.eye(len(lam)) + lam.T @ self.mode.A.diag[0] @ lam
        L = np.linalg.cholesky(H)
        u = self.mode.v[0][:, :, 0] @ lam
        out = _Integrals(lam, H, np.linalg.inv(L), u, np.zeros(J), np.zeros((J, 0)))
        logs = np.empty((J, len(self.x)))
        for m, (points, at) in enumerate(self._at_points(out)):
            logs[:, m] = np.bincount(code, at.value, J) - 0.5 * (points**2).sum(axis=1) + self.log_weights[m]
        special = load("scipy.special")
        sums = special.logsumexp(logs, axis=1) - np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
        return _Integrals(lam, H, out.inverse, u, sums, special.softmax(logs, axis=1))

    @property
    def _lam(self) -> Floats:
        return self.roots[0]

    def _at_points(self, of: _Integrals) -> Iterator[tuple[Floats, Slopes]]:
        """Effects u (J, p) at every point, and the derivatives of the rows there."""
        model, own = self.laplace, self.laplace.own(self.logs)
        code, rows = model.codes[0], of.lam.T @ model.Z[0]
        for x in self.x:
            u = of.u + x @ of.inverse
            yield u, model.family.slopes(self.mode.fixed + (rows * u[code].T).sum(axis=0), model.rows, own)

    @cached_property
    def criterion(self) -> float:
        """−2 log-likelihood."""
        return -2.0 * (float(self._integrals.logs.sum()) + self.constant)

    @cached_property
    def _moved(self) -> _Moved:
        """What the points have seen, and how the mode and the spread of the points move."""
        model, mode, of = self.laplace, self.mode, self._integrals
        code, J, Z, lam = model.codes[0], len(of.u), model.Z[0], of.lam
        mean, alpha = np.zeros(len(code)), np.zeros(of.u.shape)
        turned, explicit = np.zeros(of.H.shape), np.zeros(lam.shape)
        for x, p, (u, at) in zip(self.x, of.shares.T, self._at_points(of), strict=True):
            slopes = np.stack([np.bincount(code, z * at.first, J) for z in Z], axis=1)
            downhill = slopes @ lam - u
            mean += p[code] * at.first
            alpha += p[:, None] * downhill
            turned += (p[:, None] * (of.inverse @ downhill[:, :, None])[:, :, 0])[:, None, :] * x[:, None]
            explicit -= 2.0 * (p[:, None] * slopes).T @ u
        lower = np.tril(turned, -1)
        M = lower + np.swapaxes(lower, 1, 2) + turned * np.eye(len(lam))
        K = np.swapaxes(of.inverse, 1, 2) @ (np.eye(len(lam)) + M) @ of.inverse
        rows = lam.T @ Z
        leverage = np.einsum("an,nab,bn->n", rows, K[code], rows)
        bent = -mode.at.third * leverage
        c = np.stack([np.bincount(code, z * bent, J) for z in Z], axis=1)
        a = np.linalg.solve(of.H, (c @ lam - 2.0 * alpha)[:, :, None])[:, :, 0]
        A, v = mode.A.diag[0], np.stack([np.bincount(code, z * mode.at.first, J) for z in Z], axis=1)
        slope = explicit + 2.0 * (A @ lam @ K).sum(axis=0) + v.T @ a
        slope = slope + (c - (A @ (a @ lam.T)[:, :, None])[:, :, 0]).T @ of.u
        return _Moved(slope, mean, leverage, bent, (rows * a[code].T).sum(axis=0))

    @property
    def gradient(self) -> tuple[Floats, ...]:
        """∂criterion/∂λ (p, p)."""
        return (self._moved.roots,)

    @cached_property
    def first_order(self) -> FirstOrder:
        """The gradient; W is that of Laplace's approximation, which judges the boundary: there both are one."""
        model, at, own = self.laplace, self.mode.at, self._moved
        left = own.bent - at.curvature * own.turned - 2.0 * own.mean
        return FirstOrder(super().first_order.W, model.X.T @ left, self._in_dispersions())

    def _in_dispersions(self) -> Floats:
        model, of, own = self.laplace, self._integrals, self._moved
        named, code, rows = model.own(self.logs), model.codes[0], of.lam.T @ model.Z[0]
        out = np.zeros(len(self.logs))
        for x, p in zip(self.x, of.shares.T, strict=True) if len(out) else ():
            u = of.u + x @ of.inverse
            eta = self.mode.fixed + (rows * u[code].T).sum(axis=0)
            out -= 2.0 * np.array([p[code] @ d.value for d in model.family.in_dispersions(eta, model.rows, named)])
        there = model.family.in_dispersions(self.mode.eta, model.rows, named)
        return np.asarray(out + np.array([own.leverage @ d.curvature + own.turned @ d.first for d in there]))


@dataclass(frozen=True, eq=False, repr=False)
class _Integrals:
    """λ; minus second derivatives H and L⁻¹ (J, p, p); modes u (J, p); logarithms (J,); shares of points (J, m)."""

    lam: Floats
    H: Floats
    inverse: Floats
    u: Floats
    logs: Floats
    shares: Floats


@dataclass(frozen=True, eq=False, repr=False)
class _Moved:
    """∂/∂λ; and of rows (n,): mean first derivatives, leverages, what W's change makes of them, and ZΛa."""

    roots: Floats
    mean: Floats
    leverage: Floats
    bent: Floats
    turned: Floats


def at_points(at: LaplaceAt, points: int) -> LaplaceAt:
    """The same by quadrature with so many points along every effect."""
    if points == 1:
        return at
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    logs = np.log(weights) - 0.5 * np.log(2.0 * np.pi) + 0.5 * nodes**2
    places = list(product(range(points), repeat=len(at.roots[0])))
    x = np.array([[nodes[i] for i in place] for place in places])
    log_weights = np.array([sum(logs[i] for i in place) for place in places])
    return QuadratureAt(at.laplace, at.roots, at.inner_beta, at.logs, at.mode, at.constant, x, log_weights)
