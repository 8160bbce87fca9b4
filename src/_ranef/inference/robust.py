"""Cluster-robust covariance of the coefficients, with the model's covariance as the working one.

With Φ_c = σ²V_c of a cluster and M = (XᵀΦ⁻¹X)⁻¹ it is Σ F_c e_c e_cᵀ F_cᵀ with F_c = M X_cᵀ Φ_c⁻¹ A_c. A_c is I (CR0),
√(m/(m − 1)) I (CR1), or D_cᵀ B_c^{+½} D_c with D_cᵀD_c = Φ_c, D_c upper-triangular, and B_c = D_c(Φ_c − X_c M X_cᵀ)D_cᵀ
(CR2), which has no bias if the model holds: Bell & McCaffrey 2002, Surv. Methodol. 28, 169-181; Pustejovsky & Tipton
2018, J. Bus. Econ. Stat. 36, 672-683, §2. Matrices are of the rows of one cluster, never of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from _ranef.errors import DesignError, NotAvailableError
from _ranef.inference.ddf import CoefficientLaw, Fixed
from _ranef.inference.engines import Maximum
from _ranef.inference.joint_hessian import joint_information, refuse_quadrature
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised, ModelSpec, covariance_arrays
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats, Ints

__all__ = ["ROBUST", "Robust", "clusters_of", "robust_law"]

#: what ``vcov=`` may be
ROBUST = ("CR0", "CR1", "CR2")

#: share of what residuals' errors add to a variance that is left beside the coefficients', below which it is rounding
ROUNDING = 1e-10

#: rows of one cluster whose covariance is held
MOST_ROWS = 10_000

#: share of the largest eigenvalue of B below which one is zero
ZERO = 1e-10


@dataclass(frozen=True, eq=False)
class Robust:
    """The sandwich as the reference of tests, with degrees of freedom by the working model.

    Of one combination they are Satterthwaite's (Bell & McCaffrey 2002), of several those of Hotelling's T² with Zhang's
    approximation (Pustejovsky & Tipton 2018, §4).

    Attributes
    ----------
    vcov : array (p, p)
    model : array (p, p)
        M, the covariance if the model holds.
    own : array (m, p, p)
        F_c Φ_c F_cᵀ by cluster.
    loads : array (m, p, p)
        F_c X_c by cluster.
    words : str
    """

    vcov: Floats
    model: Floats
    own: Floats
    loads: Floats
    words: str

    def ddf(self, L: Floats) -> Floats:
        """Of each row."""
        return np.array([self._degrees(row[None]) for row in L])

    def joint(self, L: Floats) -> tuple[float, float]:
        """T² of q combinations is (η q)/(η − q + 1) times F(q, η − q + 1).

        Raises
        ------
        DesignError
            If there are too few clusters for so many combinations.
        """
        q, eta = len(L), self._degrees(L)
        if not eta > q - 1:
            raise DesignError(
                f"{len(self.own)} clusters are too few to test {q} hypotheses at once by a robust covariance: it has "
                f"{eta:.2g} degrees of freedom. Test fewer together, or use the model's covariance."
            )
        return (eta - q + 1.0) / eta, eta - q + 1.0

    def _degrees(self, L: Floats) -> float:
        """η: q(q + 1) over the sum of the variances of all entries of LVLᵀ, standardised by its mean.

        NaN where residuals say nothing of a combination, because the cluster that it is of is fitted exactly.
        """
        q, reach = len(L), L @ self.loads @ np.linalg.cholesky(self.model)
        plain = np.einsum("ra,cab,sb->rs", L, self.own, L)
        expected = plain - np.einsum("cra,csa->rs", reach, reach)
        if np.linalg.eigvalsh(expected)[0] <= ROUNDING * np.linalg.eigvalsh(plain)[-1]:
            return float("nan")
        unit = np.linalg.inv(np.linalg.cholesky(expected)) @ L
        D = np.einsum("ra,cab,sb->rsc", unit, self.own, unit)
        A = np.swapaxes(unit @ self.loads @ np.linalg.cholesky(self.model), 0, 1)  # (q, m, p)
        K = np.einsum("rcp,scp->rsc", A, A)
        total = 0.0
        for s in range(q):
            for t in range(q):
                Y = A[s].T @ A[t]
                total += (D[s, s] * D[t, t] + D[s, t] ** 2 - D[s, s] * K[t, t] - D[t, t] * K[s, s]).sum()
                total += float((Y**2).sum() + (Y * Y.T).sum() - 2.0 * (D[s, t] * K[s, t]).sum())
        return q * (q + 1.0) / total


def robust_law(fit: Maximum, kind: str, cluster: Any = None) -> CoefficientLaw:
    """The cluster-robust covariance of a fit's coefficients.

    Parameters
    ----------
    fit : Maximum
    kind : "CR0", "CR1" or "CR2"
    cluster : str or array (n_obs,), optional
        A grouping factor of the model, or labels of the rows used; by default the factor whose levels hold those of all
        others whole.

    Raises
    ------
    DesignError
        If there is no such kind, one cluster only, or rows of several clusters are correlated by the model.
    """
    name = kind.upper() if isinstance(kind, str) else kind
    one_of("vcov", name, ROBUST)
    spec, e = fit.spec.held, fit.estimates
    codes, label = clusters_of(spec, cluster)
    if isinstance(spec.family, Generalised):
        return _generalised(spec, e, name, codes, label)
    covariances = covariance_arrays(spec, e.theta, np.asarray(e.sigma))
    m, p, M = int(codes.max()) + 1, spec.n_fixed, e.vcov
    own, loads, vcov = np.zeros((m, p, p)), np.zeros((m, p, p)), np.zeros((p, p))
    left = spec.design.y - spec.design.X @ e.beta - (0.0 if spec.design.offset is None else spec.design.offset)
    for c, (rows, Phi) in enumerate(_working(spec, covariances, e.sigma, codes)):
        X = spec.design.X[rows]
        F = np.linalg.solve(Phi, X @ M).T
        if name == "CR2":
            F = F @ _adjustment(Phi, X @ M @ X.T)
        elif name == "CR1":
            F = F * np.sqrt(m / (m - 1.0))
        own[c], loads[c] = F @ Phi @ F.T, F @ X
        score = F @ left[rows]
        vcov += np.outer(score, score)
    return Robust(vcov, M, own, loads, f"{name} clustered by {label}, with Satterthwaite's method")


def _generalised(spec: ModelSpec, e: RemlEstimates, name: str, codes: Ints, label: str) -> CoefficientLaw:
    """The sandwich of Laplace's likelihood in all parameters, whose tests are by z and χ²."""
    if name == "CR2":
        raise NotAvailableError(
            "vcov='CR2' is not available for generalised responses: it makes residuals of a linear model free of bias, "
            "and these have no such. 'CR1' is the sandwich times m/(m - 1) for m clusters, 'CR0' the plain one."
        )
    refuse_quadrature(e, "A cluster-robust covariance")
    m = int(codes.max()) + 1
    vcov = joint_information(spec, e).sandwich(codes, m, m / (m - 1.0) if name == "CR1" else 1.0)
    return Fixed(vcov, np.inf, f"{name} clustered by {label}")


def _adjustment(Phi: Floats, fitted: Floats) -> Floats:
    """A = DᵀB^{+½}D of one cluster, B = D(Φ − XMXᵀ)Dᵀ."""
    D = np.linalg.cholesky(Phi).T
    values, vectors = np.linalg.eigh(D @ (Phi - fitted) @ D.T)
    kept = values > ZERO * values.max(initial=0.0)
    half = D.T @ vectors[:, kept]
    return np.asarray((half / np.sqrt(values[kept])) @ half.T)


def _working(
    spec: ModelSpec, covariances: list[Floats] | tuple[Floats, ...], sigma: float, codes: Ints
) -> Iterator[tuple[Ints, Floats]]:
    """Rows of every cluster, and their covariance by the model."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))
    R = scipy.sparse.csr_array(spec.residual.covariance())[order][:, order]
    for start, end in zip(ends - np.bincount(codes), ends, strict=True):
        rows = order[start:end]
        Phi = sigma**2 * R[start:end, start:end].toarray()
        for g, D in zip(spec.groupings, covariances, strict=True):
            same = g.codes[rows][:, None] == g.codes[rows][None, :]
            Phi += np.where(same, g.Z[rows] @ D @ g.Z[rows].T, 0.0)
        yield rows, Phi


def clusters_of(spec: ModelSpec, cluster: Any = None) -> tuple[Ints, str]:
    """The cluster of every row (n,), numbered from 0, and what clusters are called.

    Raises
    ------
    DesignError
        If there is one cluster only, or rows of several clusters are correlated by the model.
    """
    if spec.related:
        raise NotAvailableError(
            "A cluster-robust covariance is of independent clusters, and levels of this model have a known covariance "
            "(cov=). Use ddf='satterthwaite'."
        )
    if cluster is None:
        labels, name = _outermost(spec)
    elif isinstance(cluster, str):
        own = {g.name: g.codes for g in spec.groupings}
        one_of("cluster", cluster, list(own), but="an array with the cluster of every row used")
        labels, name = own[cluster], cluster
    else:
        labels, name = np.asarray(cluster), "the clusters given"
        if labels.shape != (spec.n_obs,):
            raise DesignError(
                f"cluster= has the shape {labels.shape}; it must have one label a row used: {spec.n_obs}."
            )
    codes = np.unique(labels, return_inverse=True)[1].ravel()
    m = int(codes.max()) + 1
    if m < 2:
        raise DesignError(f"All rows are of one cluster of {name}: a cluster-robust covariance needs several.")
    largest = int(np.bincount(codes).max())
    if largest > MOST_ROWS:
        raise DesignError(
            f"A cluster of {name} has {largest} rows, and its covariance would not fit into memory (at most "
            f"{MOST_ROWS} rows). With clusters so large take ddf='satterthwaite'."
        )
    _refuse_crossing(spec, codes, m, name)
    return codes, name


def _outermost(spec: ModelSpec) -> tuple[Ints, str]:
    for g in sorted(spec.groupings, key=lambda g: g.n_levels):
        if all(len(np.unique(h.codes * g.n_levels + g.codes)) == h.n_levels for h in spec.groupings):
            return g.codes, g.name
    if not spec.groupings and spec.correlation is not None and spec.correlation.codes.max() > 0:
        return spec.correlation.codes, "the groups of its correlation"
    if not spec.groupings:
        raise DesignError(
            "The model has no grouping factor: give cluster=, an array with the cluster of every row used."
        )
    raise DesignError(
        "The grouping factors are crossed, so that no level of one holds all rows that are correlated. A robust "
        "covariance is not defined for such a model; use ddf='satterthwaite' or 'kenward-roger'."
    )


def _refuse_crossing(spec: ModelSpec, codes: Ints, m: int, name: str) -> None:
    """Refuse clusters whose rows are correlated with those of others."""
    parts = [(g.name, g.codes, g.n_levels) for g in spec.groupings]
    if spec.correlation is not None:
        parts.append(("the residual correlation", spec.correlation.codes, int(spec.correlation.codes.max()) + 1))
    for what, own, n_levels in parts:
        if len(np.unique(own * m + codes)) != n_levels:
            raise DesignError(
                f"A level of {what} has rows of several clusters of {name}, so that clusters are not independent. "
                "Cluster by a factor whose levels hold those of all others whole."
            )
