"""The criterion at given λ, and everything else that one factorisation there gives.

Notation and formulas follow Bates, Mächler, Bolker and Walker (2015, J. Stat. Softw. 67(1)) for the criterion;
the gradient and the average information are derived in ``docs/mathematics.md`` §3 and 4 and checked in the tests.
All arrays are on the internal scale of :class:`~_ranef.likelihood.scaling.Scaling`, factors in elimination order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.rotated_rows import Rotated, Whole, whole
from _ranef.linalg import (
    AnyFactor,
    Whitened,
    backward,
    factorize,
    forward,
    gram,
    selected_blocks,
    solve_columns,
    times_among,
    times_one,
)
from _ranef.results import Method
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["Evaluation", "Method", "Score", "average_information", "evaluate", "score"]

#: share of a column's sum of squares below which what is left of it after the random effects is taken from the rows
LOST = 1e-5

#: columns of X up to which a triangle is inverted row by row; scipy, which takes 0.1 s to load, pays for more
FEW_COLUMNS = 3


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The criterion at λ.

    Attributes
    ----------
    criterion : float
        −2 log-likelihood (ML) or REML criterion, profiled over β and (unless it is known) σ; user's units.
    factor : BlockedFactor or RelatedFactor
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
    whole : Whole, optional
        The rows whitened, where cross-products have lost the digits.
    """

    criterion: float
    factor: AnyFactor
    columns: Whitened
    inverse_root: Floats
    z: Floats
    rss: float
    sigma: float
    nu: int
    method: Method
    whole: Whole | None = None

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
    p = products.n_fixed
    factor = factorize(products.A, products.plan, lambdas)
    columns = forward(factor, products.Xy)
    corner = products.corner - (gram(columns.white, columns.white) if columns.white else 0.0)
    triangle = _upper_root(corner)
    rows, log_det = None, factor.log_det
    if _digits_are_lost(triangle, products.corner):
        if products.rotated is not None:
            rows = whole(products.rotated, lambdas)
            triangle, log_det = rows.triangle, rows.log_det
        elif triangle is None or not np.isfinite(triangle).all():
            raise np.linalg.LinAlgError("XᵀV⁻¹X is singular to rounding")
    assert triangle is not None
    root, rss = _inverse_triangle(triangle[:p, :p].T), float(triangle[p, p] ** 2)
    nu = products.n_obs - (p if method == "REML" else 0)
    log_det -= products.log_weights
    if method == "REML":
        log_det -= 2.0 * (float(np.log(np.abs(np.diag(root))).sum()) + products.scaling.log_det_X)
    unit = products.scaling.y
    s = float(np.sqrt(rss / nu)) if sigma is None else sigma / unit
    with np.errstate(divide="ignore"):
        criterion = log_det + 2.0 * nu * (np.log(s) + np.log(unit)) + nu * np.log(2.0 * np.pi)
    criterion += nu if sigma is None else rss / s**2
    return Evaluation(float(criterion), factor, columns, root, triangle[:p, p], rss, s, nu, method, rows)


def _upper_root(corner: Floats) -> Floats | None:
    """Upper triangle (p + 1, p + 1) whose square is [X y]ᵀV⁻¹[X y]; None where that is not positive definite in X."""
    p = corner.shape[0] - 1
    out = np.zeros_like(corner)
    try:
        lower = np.linalg.cholesky(corner[:p, :p])
    except np.linalg.LinAlgError:
        return None
    out[:p, :p] = lower.T
    out[:p, p] = _inverse_triangle(lower) @ corner[:p, p]
    out[p, p] = np.sqrt(max(corner[p, p] - out[:p, p] @ out[:p, p], 0.0))
    return out


def _digits_are_lost(triangle: Floats | None, corner: Floats) -> bool:
    """Whether next to nothing is left of some column of [X y]."""
    return triangle is None or not bool((np.diag(triangle) ** 2 >= LOST * np.diag(corner)).all())


def _inverse_triangle(lower: Floats) -> Floats:
    if len(lower) > FEW_COLUMNS:
        return np.tril(load("scipy.linalg").lapack.dtrtri(lower, lower=1)[0])
    out = np.zeros(lower.shape)
    for i, row in enumerate(lower):
        out[i, i] = 1.0 / row[i]
        out[i, :i] = -out[i, i] * (row[:i] @ out[:i, :i])
    return out


@dataclass(frozen=True, eq=False, repr=False)
class Score:
    """First-order quantities at λ.

    Attributes
    ----------
    b : tuple of array (J_k, p_k)
        Conditional modes.
    c : tuple of array (J_k, p_k)
        ZᵀV⁻¹(y − Xβ̂), so that b = D c; where levels are related it is this times K, and so is T.
    Q : tuple of array (J_k, p_k, p_k)
        Diagonal blocks of (ZᵀZ + D⁻¹)⁻¹; Var(b | y, β) = σ²Q.
    E : tuple of array (J_k, p_k, p_k)
        Diagonal blocks of ZᵀV⁻¹Z.
    T : tuple of array (J_k, p_k, p)
        ZᵀV⁻¹X Rᵀ; Var(b − b̂) adds σ² D T Tᵀ D for the estimation of β.
    W : tuple of array (p_k, p_k)
        Σ over levels of (ZᵀPZ)_ll − c cᵀ/σ², with P = V⁻¹ under ML.
    plain_c, plain_T : tuple of array (J_k, p_k), (J_k, p_k, p)
        Without K.
    """

    b: tuple[Floats, ...]
    c: tuple[Floats, ...]
    Q: tuple[Floats, ...]
    E: tuple[Floats, ...]
    T: tuple[Floats, ...]
    W: tuple[Floats, ...]
    plain_c: tuple[Floats, ...]
    plain_T: tuple[Floats, ...]

    def gradient(self, lambdas: Sequence[Floats]) -> tuple[Floats, ...]:
        """∂criterion/∂λ_k = 2 W_k λ_k."""
        return tuple(2.0 * W @ lam for W, lam in zip(self.W, lambdas, strict=True))


def score(products: CrossProducts, at: Evaluation) -> Score:
    """Conditional modes, the blocks of ZᵀV⁻¹Z, and the matrices W_k of the gradient."""
    p, beta = products.n_fixed, at.beta
    contrast = np.append(-beta, 1.0)
    if at.whole is not None and products.rotated is not None:
        return _score_of_rows(products.rotated, at, at.whole, contrast)
    solved = backward(at.factor, at.columns.white)
    b = tuple(times_one(s, contrast) for s in solved)
    full = solve_columns(at.factor, at.columns, solved)
    back = np.vstack([at.inverse_root.T, np.zeros((1, p))])

    def of_columns(columns: Sequence[Floats]) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
        return tuple(times_one(f, contrast) for f in columns), tuple(times_one(f, back) for f in columns)

    c, T = plain_c, plain_T = of_columns(full)
    if products.among:
        c, T = of_columns(times_among(at.factor, full))
    Q, E = selected_blocks(products.A, at.factor)
    return Score(b, c, Q, E, T, _slopes(at, (plain_c, c), E, (plain_T, T)), plain_c, plain_T)


Both = tuple[Sequence[Floats], Sequence[Floats]]


def _slopes(at: Evaluation, c: Both, E: Sequence[Floats], T: Both) -> tuple[Floats, ...]:
    """W_k (p_k, p_k) of every factor, from c and T without and with K."""
    W = []
    for k in range(len(E)):
        total = E[k].sum(axis=0) - (c[0][k] / at.sigma).T @ (c[1][k] / at.sigma)
        if at.method == "REML":
            total = total - np.tensordot(T[0][k], T[1][k], axes=([0, 2], [0, 2]))
        W.append(0.5 * (total + total.T))
    return tuple(W)


def _score_of_rows(rotated: Rotated, at: Evaluation, rows: Whole, contrast: Floats) -> Score:
    """The same from whitened rows."""
    across = np.swapaxes(rows.Z, 1, 2)
    c = tuple(part[:, :, 0] for part in rotated.effects(across @ (rows.C @ contrast)[:, :, None]))
    b = tuple(own @ (lam @ lam.T) for own, lam in zip(c, at.factor.lambdas, strict=True))
    T = rotated.effects(across @ (rows.C[:, :, :-1] @ at.inverse_root.T))
    Q, E = rotated.blocks(rows.half, rows.half), rotated.blocks(rows.Z, rows.Z)
    return Score(b, c, Q, E, T, _slopes(at, (c, c), E, (T, T)), c, T)


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
        slope[i] = np.einsum("ja,ja->", first.plain_c[k], h[k][:, :, i])
    if at.whole is not None and products.rotated is not None:
        white = at.whole.Z @ products.rotated.flat(h)
        information = np.einsum("bmq,bmr->qr", white, white)
        across = at.inverse_root @ np.einsum("bmp,bmq->pq", at.whole.C[:, :, :-1], white)
        information = (information - across.T @ across) / at.sigma**2
        slope = slope / at.sigma**2
        return np.asarray(information - np.outer(slope, slope) / at.nu if profiled else information)
    Ah = products.A.dot(h)
    carried = forward(at.factor, Ah)
    information = gram(h, Ah) - gram(carried.white, carried.white)
    if products.n_fixed:
        X = [c[:, :, :-1] for c in products.Xy]
        X_white = [c[:, :, :-1] for c in at.columns.white]
        half = at.inverse_root @ (gram(X, h) - gram(X_white, carried.white))
        information = information - half.T @ half
    information, slope = information / at.sigma**2, slope / at.sigma**2
    return information - np.outer(slope, slope) / at.nu if profiled else information
