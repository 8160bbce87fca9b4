"""Observed information of the variance parameters: standard errors of sds and correlations, covariance of (θ, σ).

The deviance is differentiated along a chart of the covariance matrices that have the rank of the estimates, so that a
singular fit is an interior point of it: what lies on the boundary is held there, and the rest is conditional on that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.inference.effect_frames import normal_quantile
from _ranef.likelihood import NEAR_ZERO, At, Likelihood, OverRho, over_rho, vcov_slopes
from _ranef.spec import ModelSpec, TermSpec, mean_log_sds_slopes
from _ranef.structures import lower_root
from _ranef.support.arrays import Floats

__all__ = [
    "VarianceInformation",
    "differences",
    "known_scale_information",
    "make_chart",
    "varcorr_errors",
    "varcorr_intervals",
    "variance_information",
    "vcov_derivatives",
    "vcov_theta_frame",
]

#: step of the differences, as a share of each direction's natural size
DIFFERENCE = 1e-3

#: of an sd: the largest standard error in units of itself
MOST_SDS = 2.0

#: why an sd or correlation has no standard error
ON_THE_BOUNDARY = "on the boundary, or not determined"
BEYOND = "the curvature gives a larger one than such a quantity can have"

#: weights of the gradient at one and two steps in a central difference of fourth order
STENCIL = ((1.0, 8.0 / 12.0), (2.0, -1.0 / 12.0))

#: a direction is flat if going its natural size along it changes the deviance by half of this: it would have a standard
#: error of 45 such sizes, and gradients of 1e-5 left at an optimum look like curvatures below it
FLAT = 1e-3

#: 1 − ρ² at or below this is zero to rounding
PERFECT = 1e-12

#: share of the largest curvature that is rounding
ROUNDING = 1e-11

#: share of a quantity's derivative along flat directions that is rounding
NEGLIGIBLE = 1e-4


@dataclass(frozen=True)
class _Curved:
    """A term whose structure has shapes: which coordinates of a chart change which entries of its θ.

    Attributes
    ----------
    term : TermSpec
    theta : array (n_theta,)
        Of the term, for standard columns.
    coordinates, parameters : tuple of int
    """

    term: TermSpec
    theta: Floats
    coordinates: tuple[int, ...]
    parameters: tuple[int, ...]

    def moved(self, x: Floats) -> Floats:
        """θ of the term at coordinates x."""
        out = self.theta.copy()
        out[list(self.parameters)] += x[list(self.coordinates)]
        return out


@dataclass(frozen=True)
class Chart:
    """Coordinates x of the covariance matrices of the groupings' rank: λ_k(x) = λ_k + Σ x_i E_i, standard columns.

    Where a structure has shapes, covariances are no straight lines, and x are changes of its θ.

    Attributes
    ----------
    lambdas : tuple of array (p_k, p_k)
        By grouping of the spec; any square root of D_k.
    directions : tuple of (int, array (p_k, p_k))
        For each coordinate its grouping k and E_i.
    sizes : array (n_coordinates,)
        Natural size of each: the singular value of λ that it changes, or the λ whose signal in a level is the noise.
    curved : tuple
        Terms whose directions are those at x = 0 alone.
    """

    lambdas: tuple[Floats, ...]
    directions: tuple[tuple[int, Floats], ...]
    sizes: Floats
    curved: tuple[_Curved, ...] = ()

    def at(self, x: Floats) -> tuple[Floats, ...]:
        """λ_k at coordinates x."""
        out = [lam.copy() for lam in self.lambdas]
        for value, (k, E) in zip(x, self.directions, strict=True):
            out[k] += value * E
        for c in self.curved:
            out[c.term.grouping][c.term.where, c.term.where] = c.term.structure.root(c.moved(x))
        return tuple(out)

    def along(self, gradients: Sequence[Floats], x: Floats | None = None) -> Floats:
        """∂/∂x at coordinates x, or at zero, from ∂/∂λ_k by grouping."""
        out = np.array([np.sum(gradients[k] * E) for k, E in self.directions], dtype=float)
        for c in self.curved if x is not None else ():
            assert x is not None
            own = gradients[c.term.grouping][c.term.where, c.term.where]
            out[list(c.coordinates)] = c.term.structure.pull_back(c.moved(x), own)[list(c.parameters)]
        return out


@dataclass(frozen=True)
class VarianceInformation:
    """Second derivatives of the deviance in (x, ρ, log σ) at the estimates, x the coordinates of a chart.

    ρ are the parameters of residual variances, where there are any.

    Attributes
    ----------
    hessian : array (m, m)
        Of −2 log L (ML) or of the REML criterion, σ not profiled; log σ stands last unless σ is known.
    sizes : array (m,)
        Natural sizes of (x, ρ, log σ).
    dtheta : array (n_theta, n_x)
        ∂θ/∂x, θ on the user's scale; zero for parameters on the boundary.
    interior : array of bool (n_theta,)
        Which parameters are not on the boundary.
    dcov : tuple of array (p_k, p_k, m)
        Derivatives of the covariance matrices Σ_k of the groupings; on the user's scale, as is σ.
    covs : tuple of array (p_k, p_k)
    maps : tuple of array (p_k, p_k)
        From standard columns (:mod:`_ranef.likelihood.at`).
    sigma : float
    sigma_known : bool
    basis : array (m, m), optional
        Directions that are judged for flatness in the place of the parameters: of ρ those along which the mean standard
        deviation of rows, and effects beside it, stay.
    """

    hessian: Floats
    sizes: Floats
    dtheta: Floats
    interior: NDArray[np.bool_]
    dcov: tuple[Floats, ...]
    covs: tuple[Floats, ...]
    maps: tuple[Floats, ...]
    sigma: float
    sigma_known: bool
    basis: Floats | None = None

    def covariance(self, derivatives: Sequence[Floats | None]) -> Floats:
        """Covariance (r, r) of quantities with `derivatives` (m,) in the parameters, by the delta method.

        NaN for quantities that have none (None), and for those that move along a direction in which the deviance is
        flat: there the data determine nothing.
        """
        lost = np.array([d is None for d in derivatives], dtype=bool)
        m = self.hessian.shape[0]
        jacobian = np.array([np.zeros(m) if d is None else d for d in derivatives]).reshape(len(derivatives), m)
        hessian = self.hessian
        if self.basis is not None:
            hessian, jacobian = self.basis.T @ hessian @ self.basis, jacobian @ self.basis
        values, vectors = np.linalg.eigh(hessian * np.outer(self.sizes, self.sizes))
        along = (jacobian * self.sizes) @ vectors
        flat = values <= max(FLAT, ROUNDING * np.abs(values).max(initial=0.0))
        lost |= np.linalg.norm(along[:, flat], axis=1) > NEGLIGIBLE * np.linalg.norm(along, axis=1)
        half = along[:, ~flat] * np.sqrt(2.0 / values[~flat])
        out = half @ half.T
        out[lost] = np.nan
        out[:, lost] = np.nan
        return np.asarray(out)


def variance_information(at: At, theta: Floats) -> VarianceInformation:
    """Observed information of the variance parameters `at` θ (n_theta,), by central differences of the exact gradient.

    With d(λ, σ) = log|V| + ν log 2πσ² + rss/σ² the derivatives in log σ are exact: ∂²d/∂(log σ)² = 4 rss/σ² and
    ∂²d/∂x ∂log σ = −2 (∂rss/∂x)/σ² (Pinheiro & Bates 2000, *Mixed-Effects Models in S and S-PLUS*, §2.4.2).
    """
    likelihood, sigma = at.likelihood, at.sigma
    spec = likelihood.spec
    chart = make_chart(likelihood, theta)
    hessian, sizes = _curvature(likelihood, sigma, chart), chart.sizes
    over = None if spec.rho is None else over_rho(spec, likelihood.method, likelihood.products)
    if over is not None:
        hessian, sizes = _with_rows(over, at, chart, hessian)
    dD = _covariance_derivatives(likelihood.maps, chart)
    covs = tuple(sigma**2 * (T @ lam) @ (T @ lam).T for T, lam in zip(likelihood.maps, chart.lambdas, strict=True))
    none = np.zeros(len(sizes) - len(chart.sizes))
    dcov = tuple(np.concatenate([sigma**2 * d, np.broadcast_to(none, (*d.shape[:2], len(none)))], axis=2) for d in dD)
    if spec.sigma is None:
        mixed = -2.0 * chart.along(likelihood.at_standard(chart.lambdas, sigma).rss_gradient)
        mixed = mixed if over is None else np.append(mixed, -2.0 * over.rss_slopes(at))
        corner = np.array([[4.0 * at.relative_rss]])
        hessian = np.block([[hessian, mixed[:, None]], [mixed[None, :], corner]])
        sizes = np.append(sizes, 1.0)
        dcov = tuple(np.concatenate([d, 2.0 * c[:, :, None]], axis=2) for d, c in zip(dcov, covs, strict=True))
    dtheta, interior = _theta_derivatives(likelihood, theta, dD)
    known = spec.sigma is not None
    basis = None if over is None or known else _beside_the_mean(spec, chart, len(sizes))
    return VarianceInformation(hessian, sizes, dtheta, interior, dcov, covs, likelihood.maps, sigma, known, basis)


def known_scale_information(
    likelihood: Likelihood, theta: Floats, chart: Chart, hessian: Floats
) -> VarianceInformation:
    """Of a model whose σ is 1, from second derivatives (n_x, n_x) of its criterion along a chart at θ (n_theta,)."""
    dD = _covariance_derivatives(likelihood.maps, chart)
    covs = tuple((T @ lam) @ (T @ lam).T for T, lam in zip(likelihood.maps, chart.lambdas, strict=True))
    moved = _theta_derivatives(likelihood, theta, dD)
    return VarianceInformation(hessian, chart.sizes, *moved, tuple(dD), covs, likelihood.maps, 1.0, True)


def differences(gradient: Callable[[Floats], Floats], sizes: Floats) -> Floats:
    """Derivatives (n, m) at zero of a gradient (m,) in coordinates (n,) of natural `sizes`."""
    rows = []
    for h, unit in zip(DIFFERENCE * sizes, np.eye(len(sizes)), strict=True):
        ends = [weight / h * (gradient(s * h * unit) - gradient(-s * h * unit)) for s, weight in STENCIL]
        rows.append(sum(ends, np.zeros(())))
    return np.array(rows)


def _beside_the_mean(spec: ModelSpec, chart: Chart, m: int) -> Floats:
    """Directions (m, m) of (x, ρ, log σ): for ρ those that take σ back as far as the rows' sds rise, and λ with it."""
    assert spec.rho is not None
    rho, n, out = spec.rho, len(chart.sizes), np.eye(m)
    rise = mean_log_sds_slopes(spec, rho)
    rows = slice(n, n + len(rho))
    out[-1, rows] = -rise
    if n:  # λ itself in the coordinates of the chart
        columns = np.zeros((n, sum(lam.size for lam in chart.lambdas)))
        edges = np.cumsum([0, *(lam.size for lam in chart.lambdas)])
        for i, (k, E) in enumerate(chart.directions):
            columns[i, edges[k] : edges[k + 1]] = E.ravel()
        whole = np.concatenate([lam.ravel() for lam in chart.lambdas])
        out[:n, rows] = np.outer(np.linalg.lstsq(columns.T, whole)[0], rise)
    return out


def vcov_derivatives(at: At, theta: Floats) -> Floats:
    """Derivatives (m, p, p) of σ²(XᵀV⁻¹X)⁻¹ in the parameters (x, ρ, log σ) of :func:`variance_information`.

    Exact in x and log σ; in ρ by the same differences as the gradient.
    """
    likelihood, sigma, spec = at.likelihood, at.sigma, at.likelihood.spec
    chart = make_chart(likelihood, theta)
    halves = [(k, E @ chart.lambdas[k].T) for k, E in chart.directions]
    parts = [vcov_slopes(likelihood.at_standard(chart.lambdas, sigma), [(k, h + h.T) for k, h in halves])]
    if spec.rho is not None:
        over = over_rho(spec, likelihood.method, likelihood.products)
        slopes = _along_rows(over, lambda there: there.at_standard(chart.lambdas, sigma).vcov)
        parts.append(slopes.reshape(-1, *at.vcov.shape))
    if spec.sigma is None:
        parts.append(2.0 * at.vcov[None])
    return np.concatenate(parts)


def _along_rows(over: OverRho, value: Callable[[Likelihood], Floats]) -> Floats:
    """Derivatives (n_rho, ...) in ρ of an array that the likelihood there has."""
    spec = over.spec
    assert spec.rho is not None
    rho, out = spec.rho, []
    for i, h in enumerate(DIFFERENCE * _row_sizes(spec)):
        steps = [(weight / h, step * h * np.eye(len(rho))[i]) for step, weight in STENCIL]
        changes = (weight * (value(over.at(rho + x)) - value(over.at(rho - x))) for weight, x in steps)
        out.append(sum(changes, np.zeros(())))
    return np.array(out)


def _row_sizes(spec: ModelSpec) -> Floats:
    """Changes of ρ (n_rho,) that move no row's standard deviation by more than its size, nor matter by more than that.

    Where all rows have a large covariate, a ρ that hardly matters beside σ still moves σ's part far.
    """
    out = spec.residual.units.copy()
    reach = np.abs(spec.residual.jacobian).max(axis=1, initial=0.0)
    out[: len(reach)] = np.minimum(out[: len(reach)], 1.0 / np.where(reach > 0, reach, 1.0))
    return out


def make_chart(likelihood: Likelihood, theta: Floats) -> Chart:
    """The chart at θ: of an unstructured λ = USVᵀ of rank r the directions U e_a e_cᵀ with c ≤ a, c < r.

    With Uᵀλ diagonal these lower trapezoids meet each covariance matrix of rank r near D once.
    """
    spec, lambdas = likelihood.spec, [lam.copy() for lam in likelihood.standard(theta)]
    directions: list[tuple[int, Floats]] = []
    sizes: list[float] = []
    curved: list[_Curved] = []
    for t in spec.terms:
        lam = lambdas[t.grouping][t.where, t.where]
        noise = np.sqrt(spec.groupings[t.grouping].n_levels / spec.n_obs)
        if t.structure.shapes:
            bent, own = _shape_chart(t, lam, len(directions), noise)
            curved.append(bent)
            root = t.structure.root(bent.theta)
        else:
            root, own = _term_chart(t, lam)
        lambdas[t.grouping][t.where, t.where] = root
        for size, E in own:
            whole = np.zeros_like(lambdas[t.grouping])
            whole[t.where, t.where] = E
            directions.append((t.grouping, whole))
            sizes.append(size if t.structure.shapes else max(size, noise))
    return Chart(tuple(lambdas), tuple(directions), np.array(sizes, dtype=float), tuple(curved))


def _shape_chart(term: TermSpec, lam: Floats, start: int, noise: float) -> tuple[_Curved, list[tuple[float, Floats]]]:
    """θ of a term with shapes, and the directions of the parameters that are not on the boundary, with their sizes."""
    own = term.structure
    theta = own.closest(lam)
    derivatives = own.jacobian(theta)
    sds = np.arange(own.n_theta) < len(own.own_sds)
    live = np.where(sds, np.abs(theta), np.abs(derivatives).max(axis=(1, 2))) >= NEAR_ZERO
    at = np.flatnonzero(live).tolist()
    curved = _Curved(term, theta, tuple(range(start, start + len(at))), tuple(at))
    return curved, [(max(float(theta[i]), noise) if sds[i] else 1.0, derivatives[i]) for i in at]


def _term_chart(term: TermSpec, lam: Floats) -> tuple[Floats, list[tuple[float, Floats]]]:
    """A square root of λλᵀ, and the directions with the size of what each of them changes."""
    p = term.structure.size
    if not term.structure.free:
        own = term.structure.jacobian(term.structure.closest(lam))
        directions = [(float(np.abs(E * lam).max()), E) for E in own]
        return lam, [(size, E) for size, E in directions if size >= NEAR_ZERO]
    U, values, _ = np.linalg.svd(lam)
    values = np.where(values < NEAR_ZERO, 0.0, values)
    rank = int(np.count_nonzero(values))
    unit = np.eye(p)
    return U * values, [(float(values[a]), np.outer(U[:, a], unit[c])) for c in range(rank) for a in range(c, p)]


def _curvature(likelihood: Likelihood, sigma: float, chart: Chart) -> Floats:
    """∂²deviance/∂x² (n_x, n_x) by differences, with σ held."""

    def gradient(x: Floats) -> Floats:
        return chart.along(likelihood.at_standard(chart.at(x), sigma).gradient, x)

    n = len(chart.sizes)
    out = differences(gradient, chart.sizes).reshape(n, n)
    return 0.5 * (out + out.T)


def _with_rows(over: OverRho, at: At, chart: Chart, hessian: Floats) -> tuple[Floats, Floats]:
    """∂²deviance/∂(x, ρ)² by differences in ρ beside those in x, with σ held; and natural sizes."""
    likelihood, sigma = at.likelihood, at.sigma
    spec = likelihood.spec
    own = spec.residual.units

    def gradient(moved: Likelihood) -> Floats:  # on the same scale
        there = moved.at_standard(chart.lambdas, sigma)
        return np.append(chart.along(there.gradient), over.slopes(there))

    n, r = len(chart.sizes), len(own)
    out = np.zeros((n + r, n + r))
    out[:n, :n] = hessian
    rows = _along_rows(over, gradient).reshape(r, n + r)
    out[n:, :n], out[:n, n:], out[n:, n:] = rows[:, :n], rows[:, :n].T, rows[:, n:]
    out[n:, n:] = 0.5 * (out[n:, n:] + out[n:, n:].T)
    return out, np.append(chart.sizes, own)


def _covariance_derivatives(maps: Sequence[Floats], chart: Chart) -> list[Floats]:
    """∂D_k/∂x (p_k, p_k, n_x) for the columns as written, D_k relative to σ²."""
    out = [np.zeros((*lam.shape, len(chart.directions))) for lam in chart.lambdas]
    for i, (k, E) in enumerate(chart.directions):
        half = maps[k] @ E @ (maps[k] @ chart.lambdas[k]).T
        out[k][:, :, i] = half + half.T
    return out


def _theta_derivatives(likelihood: Likelihood, theta: Floats, dD: Sequence[Floats]) -> tuple[Floats, NDArray[np.bool_]]:
    """∂θ/∂x (n_theta, n_x), zero on the boundary, and which parameters (n_theta,) are not on it."""
    spec, internal = likelihood.spec, likelihood.standard(theta)
    out, interior = np.zeros((spec.n_theta, dD[0].shape[2] if dD else 0)), np.zeros(spec.n_theta, dtype=bool)
    for t in spec.terms:
        own = dD[t.grouping][t.where, t.where]
        T, inner = likelihood.maps[t.grouping][t.where, t.where], internal[t.grouping][t.where, t.where]
        if t.structure.shapes:
            out[t.theta], interior[t.theta] = _shape_derivatives(t, theta[t.theta], inner, own)
            continue
        of_term = _triangle_derivatives if t.structure.free else _diagonal_derivatives
        changes, free = of_term(T, inner, own)
        interior[t.theta] = t.structure.change(theta[t.theta], free) > 0
        for i in range(own.shape[2]):
            out[t.theta, i] = t.structure.change(theta[t.theta], changes[:, :, i])
    return out, interior


def _shape_derivatives(term: TermSpec, theta: Floats, inner: Floats, dD: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """∂θ/∂x (n_theta, n_x) of a term with shapes, and which of θ are not on the boundary, from its internal λ."""
    own = term.structure
    curved, _ = _shape_chart(term, inner, 0, 0.0)
    free = list(curved.parameters)
    half = own.jacobian(theta)[free] @ own.root(theta).T
    moves = (half + np.swapaxes(half, 1, 2)).reshape(len(free), own.size**2)
    out, interior = np.zeros((own.n_theta, dD.shape[2])), np.zeros(own.n_theta, dtype=bool)
    interior[free] = True
    out[free] = np.linalg.lstsq(moves.T, dD.reshape(own.size**2, dD.shape[2]))[0]
    return out, interior


def _diagonal_derivatives(T: Floats, inner: Floats, dD: Floats) -> tuple[Floats, Floats]:
    """∂λ/∂x (p, p, n_x) of a diagonal λ, its internal value and map given, and where it is not zero (p, p)."""
    live = np.abs(np.diag(inner)) >= NEAR_ZERO
    double = 2.0 * np.where(live, np.diag(T @ inner), np.inf)
    changes = np.zeros(dD.shape)
    at = np.diag_indices(len(live))
    changes[at] = dD[at] / double[:, None]
    return changes, np.diag(live).astype(float)


def _triangle_derivatives(T: Floats, inner: Floats, dD: Floats) -> tuple[Floats, Floats]:
    """As :func:`_diagonal_derivatives`, of a lower triangle with as many columns as its rank that are not zero.

    Where its first rows are dependent the triangle jumps as D moves, and all of it counts as on the boundary.
    """
    p, L = len(T), lower_root(T @ inner)
    rank = int((np.linalg.svd(inner, compute_uv=False) >= NEAR_ZERO).sum())
    size = np.sqrt((L[:rank] ** 2).sum(axis=1))
    if rank < p and np.any(np.diag(L)[:rank] <= NEAR_ZERO * size):
        return np.zeros(dD.shape), np.zeros((p, p))
    changes = [_trapezoid_derivative(L, dD[:, :, i], rank) for i in range(dD.shape[2])]
    free = np.tril(np.arange(p) < rank).astype(float)
    return np.stack([np.zeros((p, p)), *changes], axis=2)[:, :, 1:], free


def _trapezoid_derivative(L: Floats, dD: Floats, rank: int) -> Floats:
    """Derivative of the lower trapezoid L (p, p), its first `rank` columns not zero, where LLᵀ = D moves by dD."""
    out = np.zeros(L.shape)
    inverse = np.linalg.inv(L[:rank, :rank])
    inner = np.tril(inverse @ dD[:rank, :rank] @ inverse.T)
    inner[np.diag_indices(rank)] *= 0.5
    out[:rank, :rank] = L[:rank, :rank] @ inner
    out[rank:, :rank] = (dD[rank:, :rank] - L[rank:, :rank] @ out[:rank, :rank].T) @ inverse.T
    return out


def vcov_theta_frame(spec: ModelSpec, information: VarianceInformation) -> pd.DataFrame:
    """Covariance of all variance parameters, named as ``spec.parameter_names``."""
    m, n = information.hessian.shape[0], information.dtheta.shape[1]
    rows: list[Floats | None] = [
        np.append(d, np.zeros(m - len(d))) if inside else None
        for d, inside in zip(information.dtheta, information.interior, strict=True)
    ]
    rows += list(np.eye(m)[n : m - (not information.sigma_known)])
    if not information.sigma_known:
        rows.append(_sigma_derivative(information))
    names = list(spec.parameter_names)
    return pd.DataFrame(information.covariance(rows), index=names, columns=names)


def _sigma_derivative(information: VarianceInformation) -> Floats:
    """∂σ/∂(x, log σ)."""
    return np.append(np.zeros(information.hessian.shape[0] - 1), information.sigma)


def varcorr_errors(spec: ModelSpec, varcorr: pd.DataFrame, information: VarianceInformation) -> pd.DataFrame:
    """``group, term1, term2, estimate, std_error, note`` of the sds and correlations; no residual row if σ is known.

    A standard error from the curvature is one of a straight line through a curve. It is left out, as NaN and with a
    note, where it could not be the standard error of such a quantity: for a correlation ρ above √(1 − ρ²), the largest
    of anything between −1 and 1 with that mean; for an sd above twice the sd, where the line has crossed zero long ago.

    Parameters
    ----------
    varcorr : DataFrame
        As :func:`~_ranef.inference.effect_frames.varcorr_frame` gives it, whose rows these are.
    """
    rows: list[Floats | None] = []
    for t in spec.terms:
        cov, dcov = information.covs[t.grouping][t.where, t.where], information.dcov[t.grouping][t.where, t.where]
        size = _relative_sizes(information.maps[t.grouping][t.where, t.where], cov, information.sigma)
        rows += _sd_derivatives(cov, dcov, size)
        if t.structure.pairs:
            rows += _correlation_derivatives(cov, dcov, size)
    if not information.sigma_known:
        rows.append(_sigma_derivative(information))
    errors = np.sqrt(np.diag(information.covariance(rows)))
    frame = varcorr[["group", "term1", "term2"]].iloc[: len(rows)]
    estimate, sds = varcorr["sdcor"].to_numpy(dtype=float)[: len(rows)], frame["term2"].isna().to_numpy()
    largest = np.where(sds, MOST_SDS * estimate, np.sqrt(np.maximum(1.0 - np.where(sds, 0.0, estimate) ** 2, 0.0)))
    beyond = errors > largest
    notes = np.where(np.isnan(errors), ON_THE_BOUNDARY, np.where(beyond, BEYOND, ""))
    return frame.assign(estimate=estimate, std_error=np.where(beyond, np.nan, errors), note=notes)


def varcorr_intervals(errors: pd.DataFrame, level: float) -> pd.DataFrame:
    """``std_error, lower, upper`` of the rows of :func:`varcorr_errors`: normal intervals of log sds and of atanh ρ."""
    value, se = (errors[name].to_numpy(dtype=float) for name in ("estimate", "std_error"))
    half, sds = normal_quantile(level) * se, errors["term2"].isna().to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        lower, upper = (
            np.where(sds, value * np.exp(s * half / value), np.tanh(np.arctanh(value) + s * half / (1.0 - value**2)))
            for s in (-1.0, 1.0)
        )
    return pd.DataFrame({"std_error": se, "lower": lower, "upper": upper}, index=component_names(errors))


def component_names(rows: pd.DataFrame) -> list[str]:
    """Of sds and correlations ``group, term1, term2`` what ``confint`` calls them."""
    return [
        f"sd({a} | {g})" if missing else f"cor({a}, {b} | {g})"
        for g, a, b, missing in zip(rows["group"], rows["term1"], rows["term2"], rows["term2"].isna(), strict=True)
    ]


def _relative_sizes(T: Floats, cov: Floats, sigma: float) -> Floats:
    """Sds (p,) as the signal they add to a row, over σ, by the map T (p, p) from standard columns."""
    squares = (np.linalg.inv(T) ** 2).sum(axis=0)
    return np.asarray(np.sqrt(np.diag(cov) * squares) / sigma)


def _sd_derivatives(cov: Floats, dcov: Floats, size: Floats) -> list[Floats | None]:
    """Of each sd; None where it is zero."""
    return [dcov[a, a] / (2.0 * np.sqrt(cov[a, a])) if size[a] >= NEAR_ZERO else None for a in range(len(cov))]


def _correlation_derivatives(cov: Floats, dcov: Floats, size: Floats) -> list[Floats | None]:
    """Of each correlation, in the order of ``varcorr``; None where it is ±1 or an sd is zero."""
    out: list[Floats | None] = []
    for b in range(len(cov)):
        for a in range(b + 1, len(cov)):
            if min(size[a], size[b]) < NEAR_ZERO:
                out.append(None)
                continue
            scale = np.sqrt(cov[a, a] * cov[b, b])
            rho = cov[a, b] / scale
            slope = dcov[a, b] / scale - 0.5 * rho * (dcov[a, a] / cov[a, a] + dcov[b, b] / cov[b, b])
            out.append(slope if 1.0 - rho**2 > PERFECT else None)
    return out
