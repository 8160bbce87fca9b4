"""Outputs from their definitions, with V built whole."""

from __future__ import annotations

import numpy as np

from likelihood.dense import dense


def projections(spec, theta, method="REML"):
    """A, K, P with β̂ = A y, b̂ = K y by grouping, and P = V⁻¹ − V⁻¹XA; V over σ²."""
    at = dense(spec, theta, method, spec.sigma)
    inverse, X = np.linalg.inv(at.V), spec.design.X
    A = np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    P = inverse - inverse @ X @ A
    return at, A, [D @ Z.T @ P for Z, D in zip(at.Z, at.D, strict=True)], P


def deviance(spec, method):
    """−2 log-likelihood or REML criterion as a function of (θ, σ), neither profiled."""
    Zs = dense(spec, np.ones(spec.n_theta), method, 1.0).Z
    d, n = spec.design, spec.n_obs
    R = np.eye(n) if d.weights is None else np.diag(1 / d.weights)
    y = d.y if d.offset is None else d.y - d.offset

    def value(theta, sigma):
        b = [Z.reshape(n, -1, len(lam)) @ lam for Z, lam in zip(Zs, spec.lambdas(np.asarray(theta)), strict=True)]
        V = R + sum(ZL.reshape(n, -1) @ ZL.reshape(n, -1).T for ZL in b)
        L = np.linalg.cholesky(V)
        white = np.linalg.solve(L, np.column_stack([d.X, y]))
        X, r = white[:, :-1], white[:, -1]
        r = r - X @ np.linalg.lstsq(X, r, rcond=None)[0]
        nu = n - (X.shape[1] if method == "REML" else 0)
        log_det = 2 * np.log(np.diag(L)).sum() + (np.linalg.slogdet(X.T @ X)[1] if method == "REML" else 0.0)
        return log_det + nu * np.log(2 * np.pi * sigma**2) + r @ r / sigma**2

    return value


def leverages(spec, theta):
    """1 − P_ii/w_i, since y − Xβ̂ − Zb̂ = W⁻¹Py."""
    _, _, _, P = projections(spec, theta)
    w = np.ones(spec.n_obs) if spec.design.weights is None else spec.design.weights
    return 1 - np.diag(P) / w


def term_order(spec):
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


def joint_covariance(spec, theta, method):
    """Var of (β̂, b̂ − b) from Var y = σ²V, Cov(y, b) = σ²ZD and Var b = σ²D, in the order of ``matrices``."""
    at, A, K, _ = projections(spec, theta, method)
    n = spec.n_obs
    K = np.vstack([np.zeros((0, n)), *K])
    Z = np.hstack([np.zeros((n, 0)), *at.Z])
    D = np.zeros((Z.shape[1],) * 2)
    start = 0
    for block in at.D:
        D[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    order = term_order(spec)
    both = np.vstack([A, K[order]])
    c = np.vstack([np.zeros((A.shape[0], D.shape[0])), np.eye(D.shape[0])[order]])  # picks b
    cross = both @ Z @ D @ c.T
    return at.sigma**2 * (both @ at.V @ both.T - cross - cross.T + c @ D @ c.T)


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


def jacobian(f, x, h=1e-5):
    return np.array([(f(x + e) - f(x - e)) / (2 * h) for e in h * np.eye(len(x))]).T
