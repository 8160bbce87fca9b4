"""The limits of pooling: an infinite variance as penalised least squares, and what is near it by the oracle."""

from __future__ import annotations

import numpy as np
import scipy

from oracle import dense, effects


def moved_theta(spec, theta, k, columns, ratio):
    """θ with the rows of λ of `columns` scaled to length `ratio`, through D and a Cholesky factor with no zero row."""
    lam = list(spec.lambdas(np.asarray(theta, float)))
    for q in columns:
        lam[k][q] *= ratio / np.linalg.norm(lam[k][q])
    return spec.theta_of(lam)


def grown(spec, theta, k, columns, ratio):
    """β̂ and b̂ (one after the other) for a large `ratio` and its double: their limit if there is one, and the growth.

    With an error of 1/r in the values, that of twice the second less the first is 1/r².
    """
    first, second = (effects(spec, moved_theta(spec, theta, k, columns, r)) for r in (ratio, 2 * ratio))
    a, b = (np.concatenate([beta, *[x.ravel() for x in each]]) for beta, each in (first, second))
    return 2 * b - a, np.abs(b - a)


def limit(spec, theta, k, columns):
    """β̂ and b̂ where the variance of `columns` of grouping k goes to infinity and correlations stay, if they do so too.

    Those effects are then free, the others of their factor have the conditional distribution given that they are zero,
    and of all solutions the one with the shortest free effects is the limit.
    """
    d, n = spec.design, spec.n_obs
    at = dense(spec, theta, "REML", spec.sigma)
    root_w = np.sqrt(np.ones(n) if d.weights is None else d.weights)
    y = d.y if d.offset is None else d.y - d.offset
    roots = [lam.copy() for lam in spec.lambdas(np.asarray(theta, float))]
    D = roots[k] @ roots[k].T
    o = [i for i in range(len(D)) if i not in columns]
    q = list(columns)
    cond = D[np.ix_(o, o)] - D[np.ix_(o, q)] @ np.linalg.pinv(D[np.ix_(q, q)]) @ D[np.ix_(q, o)]
    roots[k] = np.zeros_like(D)
    roots[k][np.ix_(o, o)] = np.real(scipy.linalg.sqrtm(cond)) if o else cond
    ZL = [Z @ np.kron(np.eye(g.n_levels), R) for Z, g, R in zip(at.Z, spec.groupings, roots, strict=True)]
    p_k = len(D)
    free = at.Z[k].reshape(n, -1, p_k)[:, :, q].reshape(n, -1)
    penalised = np.hstack(ZL)
    p, m, f = d.X.shape[1], penalised.shape[1], free.shape[1]
    M = np.vstack([np.hstack([d.X, free, penalised]) * root_w[:, None], np.eye(p + f + m)[p + f :]])
    x = np.linalg.lstsq(M, np.concatenate([y * root_w, np.zeros(m)]), rcond=1e-11)[0]
    N = scipy.linalg.null_space(M, rcond=1e-11)
    if N.shape[1]:
        x = x - N @ np.linalg.lstsq(N[p : p + f], x[p : p + f], rcond=1e-9)[0]
    b, start = [], p + f
    for g, R in zip(spec.groupings, roots, strict=True):
        size = g.n_levels * len(R)
        b.append(x[start : start + size].reshape(g.n_levels, -1) @ R.T)
        start += size
    b[k][:, q] = x[p : p + f].reshape(-1, len(q))
    return x[:p], b
