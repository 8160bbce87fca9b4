"""The criterion at given λ, and everything else that one factorisation there gives.

Notation and formulas follow Bates, Mächler, Bolker and Walker (2015, J. Stat. Softw. 67(1)) for the criterion;
the gradient and the average information are derived in ``shared/numerics.md`` §3–4 and checked in the tests.
All arrays are on the internal scale of :class:`~ranef.likelihood.scaling.Scaling`, factors in elimination order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from ranef.arrays import Floats
from ranef.likelihood.crossproducts import CrossProducts
from ranef.linalg import BlockedFactor, Whitened, backward, factorize, forward, gram, selected_blocks, solve_columns

__all__ = ["Evaluation", "Method", "Score", "average_information", "evaluate", "score"]

Method = Literal["REML", "ML"]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The criterion at λ.

    Attributes
    ----------
    criterion : float
        −2 log-likelihood (ML) or REML criterion, profiled over β and (unless it is known) σ; user's units.
    factor : BlockedFactor
        Of I + ΛᵀAΛ.
    columns : Whitened
        [X y] carried through it.
    inverse_root : array (p, p)
        R, the inverse of the lower Cholesky factor of XᵀV⁻¹X: RᵀR = (XᵀV⁻¹X)⁻¹.
    z : array (p,)
        R XᵀV⁻¹y, with β̂ = Rᵀz.
    rss : float
        Penalised weighted residual sum of squares r².
    sigma : float
        σ̂, or the known σ, internal scale.
    nu : int
        n − p (REML) or n (ML).
    method : str
    """

    criterion: float
    factor: BlockedFactor
    columns: Whitened
    inverse_root: Floats
    z: Floats
    rss: float
    sigma: float
    nu: int
    method: Method

    @property
    def beta(self) -> Floats:
        """β̂ (p,)."""
        return np.asarray(self.inverse_root.T @ self.z)


def evaluate(
    products: CrossProducts, lambdas: Sequence[Floats], method: Method, sigma: float | None = None
) -> Evaluation:
    """Criterion at λ_k (p_k, p_k), any square roots of D_k, from one blocked Cholesky factorisation.

    criterion = log|I + ΛᵀAΛ| + [REML] log|XᵀV⁻¹X| + ν (1 + log(2π r²/ν)) − Σ log w.
    """
    p, scale = products.n_fixed, products.scaling
    factor = factorize(products.A, products.plan, lambdas)
    columns = forward(factor, products.Xy)
    corner = products.corner - (gram(columns.white, columns.white) if columns.white else 0.0)
    root = _inverse_triangle(np.linalg.cholesky(corner[:p, :p]))
    z = root @ corner[:p, p]
    rss = float(corner[p, p] - z @ z)
    nu = products.n_obs - (p if method == "REML" else 0)
    log_det = factor.log_det - products.log_weights
    if method == "REML":
        log_det -= 2.0 * (float(np.log(np.diag(root)).sum()) + scale.log_det_X)
    s = float(np.sqrt(max(rss, 0.0) / nu)) if sigma is None else sigma / scale.y
    with np.errstate(divide="ignore"):
        criterion = log_det + nu * np.log(2.0 * np.pi * (s * scale.y) ** 2) + (nu if sigma is None else rss / s**2)
    return Evaluation(float(criterion), factor, columns, root, z, rss, s, nu, method)


def _inverse_triangle(lower: Floats) -> Floats:
    if lower.shape[0] == 0:
        return lower
    inverse, _ = scipy.linalg.lapack.dtrtri(lower, lower=1)
    return np.asarray(np.tril(inverse))


@dataclass(frozen=True, eq=False, repr=False)
class Score:
    """First-order quantities at λ.

    Attributes
    ----------
    b : tuple of array (J_k, p_k)
        Conditional modes.
    c : tuple of array (J_k, p_k)
        ZᵀV⁻¹(y − Xβ̂), so that b = D c.
    Q : tuple of array (J_k, p_k, p_k)
        Diagonal blocks of (ZᵀZ + D⁻¹)⁻¹; Var(b | y, β) = σ²Q.
    E : tuple of array (J_k, p_k, p_k)
        Diagonal blocks of ZᵀV⁻¹Z.
    T : tuple of array (J_k, p_k, p)
        ZᵀV⁻¹X Rᵀ; Var(b − b̂) adds σ² D T Tᵀ D for the estimation of β.
    W : tuple of array (p_k, p_k)
        Σ over levels of (ZᵀPZ)_ll − c cᵀ/σ², with P = V⁻¹ under ML.
    """

    b: tuple[Floats, ...]
    c: tuple[Floats, ...]
    Q: tuple[Floats, ...]
    E: tuple[Floats, ...]
    T: tuple[Floats, ...]
    W: tuple[Floats, ...]

    def gradient(self, lambdas: Sequence[Floats]) -> tuple[Floats, ...]:
        """∂criterion/∂λ_k = 2 W_k λ_k."""
        return tuple(2.0 * W @ lam for W, lam in zip(self.W, lambdas, strict=True))


def score(products: CrossProducts, at: Evaluation) -> Score:
    """Conditional modes, the blocks of ZᵀV⁻¹Z, and the matrices W_k of the gradient."""
    p, beta = products.n_fixed, at.beta
    contrast = np.append(-beta, 1.0)
    solved = backward(at.factor, at.columns.white)
    b = tuple(s @ contrast for s in solved)
    full = solve_columns(at.factor, at.columns, solved)
    c = tuple(f @ contrast for f in full)
    T = tuple(f[:, :, :p] @ at.inverse_root.T for f in full)
    Q, E = selected_blocks(products.A, at.factor)
    W = []
    for k in range(len(E)):
        total = E[k].sum(axis=0) - c[k].T @ c[k] / at.sigma**2
        if at.method == "REML":
            total = total - np.einsum("jap,jbp->ab", T[k], T[k])
        W.append(0.5 * (total + total.T))
    return Score(b, c, Q, E, T, tuple(W))


def average_information(
    products: CrossProducts, at: Evaluation, first: Score, directions: Sequence[tuple[int, Floats]], *, profiled: bool
) -> Floats:
    """Average information (q, q) in deviance units for q directions, each a grouping k and a ∂D_k (p_k, p_k).

    With h = ∂D c, F_pq = h_pᵀ(ZᵀPZ)h_q/σ² − (cᵀh_p)(cᵀh_q)/(σ⁴ν); the last term only where σ is profiled.
    """
    q = len(directions)
    h = [np.zeros((*c.shape, q)) for c in first.c]
    slope = np.empty(q)
    for i, (k, dD) in enumerate(directions):
        h[k][:, :, i] = first.c[k] @ dD
        slope[i] = np.einsum("ja,ja->", first.c[k], h[k][:, :, i])
    Ah = products.A.dot(h)
    carried = forward(at.factor, Ah)
    information = gram(h, Ah) - gram(carried.white, carried.white)
    if products.n_fixed:
        X = [c[:, :, :-1] for c in products.Xy]
        X_white = [c[:, :, :-1] for c in at.columns.white]
        half = at.inverse_root @ (gram(X, h) - gram(X_white, carried.white))
        information = information - half.T @ half
    information = information / at.sigma**2
    return information - np.outer(slope, slope) / (at.sigma**4 * at.nu) if profiled else information
