"""The oracle: V built whole, and every quantity from its definition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dense:
    V: np.ndarray  # over σ²
    Z: tuple[np.ndarray, ...]  # by grouping, level by level
    D: tuple[np.ndarray, ...]  # Kronecker products, over σ²
    criterion: float
    beta: np.ndarray
    vcov: np.ndarray
    sigma: float
    b: tuple[np.ndarray, ...]
    cov_b: tuple[np.ndarray, ...]  # θ and β known
    cov_prediction: tuple[np.ndarray, ...]  # β estimated


def dense(spec, theta, method, sigma=None) -> Dense:
    d, n = spec.design, spec.n_obs
    w = np.ones(n) if d.weights is None else d.weights
    y = d.y if d.offset is None else d.y - d.offset
    Zs, Ds = [], []
    for g, lam in zip(spec.groupings, spec.lambdas(np.asarray(theta, float)), strict=True):
        p = len(g.columns)
        Z = np.zeros((n, g.n_levels * p))
        for i in range(n):
            Z[i, g.codes[i] * p : (g.codes[i] + 1) * p] = g.Z[i]
        Zs.append(Z)
        Ds.append(np.kron(np.eye(g.n_levels), lam @ lam.T))
    V = np.diag(1 / w) + sum(Z @ D @ Z.T for Z, D in zip(Zs, Ds, strict=True))
    inverse = np.linalg.inv(V)
    X = d.X
    information = X.T @ inverse @ X
    beta = np.linalg.solve(information, X.T @ inverse @ y)
    r = y - X @ beta
    rss = r @ inverse @ r
    nu = n - (X.shape[1] if method == "REML" else 0)
    log_det = np.linalg.slogdet(V)[1] + (np.linalg.slogdet(information)[1] if method == "REML" else 0.0)
    if sigma is None:
        s, criterion = np.sqrt(rss / nu), log_det + nu * (1 + np.log(2 * np.pi * rss / nu))
    else:
        s, criterion = sigma, log_det + nu * np.log(2 * np.pi * sigma**2) + rss / sigma**2
    P = inverse - inverse @ X @ np.linalg.solve(information, X.T @ inverse)
    return Dense(
        V,
        tuple(Zs),
        tuple(Ds),
        float(criterion),
        beta,
        s**2 * np.linalg.inv(information),
        float(s),
        tuple(D @ Z.T @ inverse @ r for Z, D in zip(Zs, Ds, strict=True)),
        tuple(s**2 * (D - D @ Z.T @ inverse @ Z @ D) for Z, D in zip(Zs, Ds, strict=True)),
        tuple(s**2 * (D - D @ Z.T @ P @ Z @ D) for Z, D in zip(Zs, Ds, strict=True)),
    )
