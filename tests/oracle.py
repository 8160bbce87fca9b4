"""The oracle: V built whole, and every quantity from its definition. It needs numpy alone, and nothing here is fast.

y = Xβ + Σ Z_k b_k + ε with Var b_k = σ² I ⊗ λ_kλ_kᵀ, level by level, and Var ε = σ²R. σ is profiled unless it is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Dense:
    """A model at one θ.

    Attributes
    ----------
    y : array (n,)
        Without the offset.
    X : array (n, p)
    Z : tuple of array (n, J_k p_k)
        By grouping, level by level.
    roots : tuple of array (p_k, p_k)
        λ_k, any roots of the covariance of one level's effects over σ².
    R : array (n, n)
        Covariance of the rows' errors over σ².
    method : "REML" or "ML"
    known : float, optional
        σ, which is profiled without it.
    """

    y: np.ndarray
    X: np.ndarray
    Z: tuple[np.ndarray, ...]
    roots: tuple[np.ndarray, ...]
    R: np.ndarray
    method: str = "REML"
    known: float | None = None

    @cached_property
    def root(self) -> tuple[np.ndarray, ...]:
        """Λ_k of all levels."""
        return tuple(np.kron(np.eye(Z.shape[1] // len(lam)), lam) for Z, lam in zip(self.Z, self.roots, strict=True))

    @cached_property
    def D(self) -> tuple[np.ndarray, ...]:
        """Var b_k over σ²."""
        return tuple(root @ root.T for root in self.root)

    @cached_property
    def V(self) -> np.ndarray:
        """Var y over σ²."""
        V = self.R.copy()
        for Z, lam in zip(self.Z, self.roots, strict=True):
            half = (Z.reshape(len(Z), -1, len(lam)) @ lam).reshape(len(Z), -1)
            V += half @ half.T
        return V

    @cached_property
    def white(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """L with V = LLᵀ, L⁻¹X and L⁻¹y."""
        L = np.linalg.cholesky(self.V)
        both = np.linalg.solve(L, np.column_stack([self.X, self.y]))
        return L, both[:, :-1], both[:, -1]

    @cached_property
    def beta(self) -> np.ndarray:
        """β̂ by generalised least squares."""
        _, X, y = self.white
        return np.linalg.lstsq(X, y, rcond=None)[0]

    @cached_property
    def information(self) -> np.ndarray:
        """XᵀV⁻¹X."""
        return self.white[1].T @ self.white[1]

    @cached_property
    def rss(self) -> float:
        """(y − Xβ̂)ᵀV⁻¹(y − Xβ̂)."""
        _, X, y = self.white
        return float(((y - X @ self.beta) ** 2).sum())

    @property
    def freedom(self) -> int:
        """Rows, less coefficients where the criterion is REML's."""
        return len(self.y) - (self.X.shape[1] if self.method == "REML" else 0)

    @property
    def sigma(self) -> float:
        """σ̂, or the known σ."""
        return float(np.sqrt(self.rss / self.freedom)) if self.known is None else self.known

    @property
    def criterion(self) -> float:
        """−2 log-likelihood, or the REML criterion."""
        log_det = 2 * np.log(np.diag(self.white[0])).sum()
        if self.method == "REML":
            log_det += np.linalg.slogdet(self.information)[1]
        return float(log_det + self.freedom * np.log(2 * np.pi * self.sigma**2) + self.rss / self.sigma**2)

    @cached_property
    def inverse(self) -> np.ndarray:
        """V⁻¹."""
        half = np.linalg.inv(self.white[0])
        return half.T @ half

    @property
    def A(self) -> np.ndarray:
        """A with β̂ = Ay."""
        return np.linalg.solve(self.information, self.X.T @ self.inverse)

    @cached_property
    def P(self) -> np.ndarray:
        """P = V⁻¹ − V⁻¹XA, so that b̂ = DZᵀPy and the residuals are RPy."""
        return self.inverse - self.inverse @ self.X @ self.A

    @property
    def vcov(self) -> np.ndarray:
        """Var β̂."""
        return self.sigma**2 * np.linalg.inv(self.information)

    @property
    def b(self) -> tuple[np.ndarray, ...]:
        """b̂_k, level by level."""
        left = self.inverse @ (self.y - self.X @ self.beta)
        return tuple(D @ Z.T @ left for Z, D in zip(self.Z, self.D, strict=True))

    @property
    def cov_b(self) -> tuple[np.ndarray, ...]:
        """Var(b_k | y) where θ, σ and β are known."""
        return self._left_of_D(self.inverse)

    @property
    def cov_prediction(self) -> tuple[np.ndarray, ...]:
        """Var(b̂_k − b_k) where β is estimated."""
        return self._left_of_D(self.P)

    def _left_of_D(self, middle: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(self.sigma**2 * (D - D @ Z.T @ middle @ Z @ D) for Z, D in zip(self.Z, self.D, strict=True))

    @property
    def leverages(self) -> np.ndarray:
        """∂ŷ_i/∂y_i of fitted values with random effects."""
        return 1 - np.diag(self.R @ self.P)

    @property
    def all_Z(self) -> np.ndarray:
        """The columns of all groupings, one after the other."""
        return np.hstack([np.zeros((len(self.y), 0)), *self.Z])

    @property
    def all_D(self) -> np.ndarray:
        """Var b over σ² in that order."""
        return block_diagonal(self.D)

    @property
    def joint_covariance(self) -> np.ndarray:
        """Var(β̂, b̂ − b) from Var y = σ²V, Cov(y, b) = σ²ZD and Var b = σ²D."""
        Z, D = self.all_Z, self.all_D
        estimates = np.vstack([self.A, D @ Z.T @ self.P])
        target = np.vstack([np.zeros((self.X.shape[1], len(D))), np.eye(len(D))])
        cross = estimates @ Z @ D @ target.T
        return self.sigma**2 * (estimates @ self.V @ estimates.T - cross - cross.T + target @ D @ target.T)


# -- from a spec -----------------------------------------------------------------------------------------------------


def dense(spec, theta, method="REML", sigma=None) -> Dense:
    """The model of a spec at θ; σ is profiled, whether the spec knows it or not, unless it is given here."""
    d = spec.design
    y = d.y if d.offset is None else d.y - d.offset
    R = np.eye(spec.n_obs) if d.weights is None else np.diag(1 / d.weights)
    if spec.rho is not None:  # tests/residuals holds the root against the definitions
        root = spec.residual.whitened(np.eye(spec.n_obs))
        R = np.linalg.inv(root @ root.T)
    Z = tuple(indicator(g) for g in spec.groupings)
    return Dense(y, d.X, Z, tuple(spec.lambdas(np.asarray(theta, float))), R, method, sigma)


def indicator(grouping) -> np.ndarray:
    """Z (n, J p) of one grouping: a row's columns in the place of its level."""
    out = np.zeros((len(grouping.codes), grouping.n_levels, len(grouping.columns)))
    out[np.arange(len(grouping.codes)), grouping.codes] = grouping.Z
    return out.reshape(len(out), -1)


def effects(spec, theta):
    """β̂, and b̂ (J_k, p_k) by grouping."""
    at = dense(spec, theta, "REML", spec.sigma)
    return at.beta, [b.reshape(g.n_levels, -1) for b, g in zip(at.b, spec.groupings, strict=True)]


def deviance(spec, method):
    """The criterion as a function of (θ, σ), neither profiled."""
    return lambda theta, sigma: dense(spec, theta, method, sigma).criterion


def term_order(spec) -> np.ndarray:
    """For every random effect in the order of ``matrices``, its place when groupings follow one another."""
    starts = np.concatenate([[0], np.cumsum([g.n_levels * len(g.columns) for g in spec.groupings])])
    return np.array(
        [
            starts[t.grouping] + level * len(spec.groupings[t.grouping].columns) + t.start + a
            for t in spec.terms
            for level in range(spec.groupings[t.grouping].n_levels)
            for a in range(len(t.columns))
        ],
        dtype=int,
    )


def joint_covariance(spec, theta, method) -> np.ndarray:
    """Var(β̂, b̂ − b) in the order of ``matrices``."""
    order = np.concatenate([np.arange(spec.n_fixed), spec.n_fixed + term_order(spec)])
    return dense(spec, theta, method, spec.sigma).joint_covariance[np.ix_(order, order)]


def interior(spec, seed) -> np.ndarray:
    """θ away from every boundary."""
    rng = np.random.default_rng(seed)
    diagonal = np.concatenate([np.zeros(0, dtype=bool), *(t.structure.on_diagonal for t in spec.terms)])
    return np.where(diagonal, rng.uniform(0.4, 1.5, spec.n_theta), rng.uniform(-0.5, 0.5, spec.n_theta))


# -- normal priors of coefficients -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class NormalPrior:
    """Cβ ~ N(loc, 1/precision), independently, and flat where the precision is zero."""

    C: np.ndarray
    loc: np.ndarray
    precision: np.ndarray


def flat(p: int) -> NormalPrior:
    """A flat prior of p coefficients."""
    return NormalPrior(np.eye(p), np.zeros(p), np.zeros(p))


def henderson(at: Dense, prior: NormalPrior) -> tuple[np.ndarray, np.ndarray]:
    """Precision of (β, b) given (y, θ, σ), and precision times mean; no λ may be singular."""
    P, rhs = _of_rows(at, np.hstack([at.X, at.all_Z]), prior)
    p = at.X.shape[1]
    P[p:, p:] += np.linalg.inv(at.sigma**2 * at.all_D)
    return P, rhs


def posterior(at: Dense, prior: NormalPrior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of (β, b) given (y, θ, σ), through b = σΛu, which a zero variance does not hurt."""
    p = at.X.shape[1]
    T = block_diagonal((np.eye(p), *(at.sigma * root for root in at.root)))
    P, rhs = _of_rows(at, np.hstack([at.X, at.all_Z]) @ T, prior)
    P[p:, p:] += np.eye(len(T) - p)
    return T @ np.linalg.solve(P, rhs), T @ np.linalg.inv(P) @ T.T


def _of_rows(at: Dense, W: np.ndarray, prior: NormalPrior) -> tuple[np.ndarray, np.ndarray]:
    """What rows and the prior of β say of the coefficients of W, whose first columns are X."""
    p = at.X.shape[1]
    weighted = np.linalg.solve(at.sigma**2 * at.R, W).T
    P, rhs = weighted @ W, weighted @ at.y
    P[:p, :p] += prior.C.T @ (prior.precision[:, None] * prior.C)
    rhs[:p] += prior.C.T @ (prior.precision * prior.loc)
    return P, rhs


def log_density(at: Dense, prior: NormalPrior) -> float:
    """log p(y | θ, σ): one normal with β integrated, and flat coefficients integrated as REML does."""
    X, proper = at.X @ np.linalg.inv(prior.C), prior.precision > 0
    own = X[:, proper]
    R = at.R + (own / prior.precision[proper]) @ own.T / at.sigma**2
    left = replace(at, y=at.y - own @ prior.loc[proper], X=X[:, ~proper], R=R, method="REML", known=at.sigma)
    return -0.5 * left.criterion


# -- numbers ---------------------------------------------------------------------------------------------------------


def block_diagonal(blocks) -> np.ndarray:
    """One matrix of square blocks."""
    size, start = sum(len(block) for block in blocks), 0
    out = np.zeros((size, size))
    for block in blocks:
        out[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return out


def jacobian(f, x, h=1e-5):
    """First derivatives of f by central differences; the last axis is that of x."""
    return np.stack([(f(x + e) - f(x - e)) / (2 * h) for e in h * np.eye(len(x))], axis=-1)


def hessian(f, x, h=2e-3):
    """Second derivatives to fourth order in h."""
    n = len(x)
    E = np.eye(n) * h

    def mixed(i, j, s):
        u, v = s * E[i], s * E[j]
        return (f(x + u + v) - f(x + u - v) - f(x - u + v) + f(x - u - v)) / (4 * (s * h) ** 2)

    out = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            out[i, j] = out[j, i] = (4 * mixed(i, j, 1) - mixed(i, j, 2)) / 3
    return out


# -- tests of coefficients -------------------------------------------------------------------------------------------


def kenward_roger(X, V, sigma, directions, phi=None):
    """Kenward & Roger 1997: adjusted covariance, Φ, P_i and W of Σ = σ²V that moves along `directions` (n, n)."""
    inverse = np.linalg.inv(sigma**2 * V)
    phi = np.linalg.inv(X.T @ inverse @ X) if phi is None else phi
    P = [-X.T @ inverse @ G @ inverse @ X for G in directions]
    U, IE = np.zeros_like(phi), np.zeros((len(directions),) * 2)
    Q = {}
    for i, Gi in enumerate(directions):
        for j, Gj in enumerate(directions):
            Q[i, j] = X.T @ inverse @ Gi @ inverse @ Gj @ inverse @ X
            IE[i, j] = np.trace(inverse @ Gi @ inverse @ Gj) - 2 * np.trace(phi @ Q[i, j])
            IE[i, j] += np.trace(phi @ P[i] @ phi @ P[j])
    W = 2 * np.linalg.pinv(IE)
    for i in range(len(P)):
        for j in range(len(P)):
            U += W[i, j] * (Q[i, j] - P[i] @ phi @ P[j])
    return phi + 2 * phi @ U @ phi, phi, P, W
