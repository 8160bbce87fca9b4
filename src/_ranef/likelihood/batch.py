"""The criterion of one model for many responses, each at a θ of its own, with its derivatives.

The random effects stand as J blocks of p columns that share one λ for each response: the levels of a single grouping
factor, or one block of everything where several factors are small. Arrays begin with the responses (B, ...); the
formulas are those of ``likelihood/criterion.py``, with K = λ(I + λᵀAλ)⁻¹λᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import scipy

from _ranef.likelihood.criterion import Method
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.responses import Responses
from _ranef.linalg import cholesky_or_nan
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = [
    "PERFECT_FIT",
    "Batch",
    "BatchPoint",
    "Slopes",
    "evaluate_together",
    "has_blocks",
    "have_digits",
    "make_batch",
    "slopes_together",
]

#: most random effects of several factors that are worked on as one dense block
MOST_EFFECTS = 120

#: size of triangles from which on they are solved one by one
WIDE = 8

#: share of the sum of squares below which a penalised residual sum of squares is zero to rounding
PERFECT_FIT = 1e-13


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """What B responses of one model share, and the sums that are their own.

    Attributes
    ----------
    spec : ModelSpec
    method : "REML" or "ML"
    A : array (J, p, p)
    ZX : array (J, p, P)
    XX : array (P, P)
    Zy : array (B, J, p)
    Xy : array (B, P)
    yy : array (B,)
    unit : array (B,)
        Units of the responses.
    columns : tuple of array (J_k, p_k)
        For every grouping, where its effects stand among the J p effects.
    nu : int
    log_det : float
        What the internal scale of X and the weights add to the criterion.
    penalty : float
        How often −log|D| of every term is added to the criterion, which keeps variances off zero and correlations off
        ±1 (Chung, Gelman, Rabe-Hesketh, Liu & Dorie 2015, J. Educ. Behav. Stat. 40, 136-157).
    """

    spec: ModelSpec
    method: Method
    A: Floats
    ZX: Floats
    XX: Floats
    Zy: Floats
    Xy: Floats
    yy: Floats
    unit: Floats
    columns: tuple[Ints, ...]
    nu: int
    log_det: float
    penalty: float = 0.0

    def only(self, which: Ints) -> Batch:
        """The batch of some of the responses."""
        return replace(self, Zy=self.Zy[which], Xy=self.Xy[which], yy=self.yy[which], unit=self.unit[which])


def has_blocks(spec: ModelSpec) -> bool:
    """Whether a model's random effects fit the blocks of a batch."""
    if not spec.groupings or spec.related:
        return False
    return len(spec.groupings) == 1 or sum(g.n_levels * len(g.columns) for g in spec.groupings) <= MOST_EFFECTS


def make_batch(spec: ModelSpec, products: CrossProducts, responses: Responses, method: Method) -> Batch:
    """Gather the blocks of a model and its responses."""
    P, B = products.n_fixed, responses.size
    shapes = [products.A.diag[products.order.index(k)].shape[:2] for k in range(len(spec.groupings))]
    if len(shapes) == 1:
        J, p = shapes[0]
        A, columns = products.A.diag[0], (np.arange(J * p).reshape(J, p),)
    else:
        edges = np.cumsum([0, *(J * p for J, p in shapes)])
        columns = tuple(start + np.arange(J * p).reshape(J, p) for start, (J, p) in zip(edges, shapes, strict=False))
        J, p = 1, int(edges[-1])
        A = _dense(products, columns, p)[None]
    in_order = [products.order.index(k) for k in range(len(shapes))]
    ZX = np.concatenate([products.Xy[i][:, :, :P].reshape(products.Xy[i][:, :, 0].size, P) for i in in_order]).reshape(
        J, p, P
    )
    Zy = np.concatenate([responses.Zy[i].reshape(-1, B) for i in in_order]).T.reshape(B, J, p)
    nu = products.n_obs - (P if method == "REML" else 0)
    log_det = -products.log_weights - (2.0 * products.scaling.log_det_X if method == "REML" else 0.0)
    XX = products.corner[:P, :P]
    return Batch(spec, method, A, ZX, XX, Zy, responses.Xy.T, responses.yy, responses.unit, columns, nu, log_det)


def _dense(products: CrossProducts, columns: tuple[Ints, ...], q: int) -> Floats:
    out = np.zeros((q, q))
    at = [columns[k] for k in products.order]
    for place, block in zip(at, products.A.diag, strict=True):
        out[place[:, :, None], place[:, None, :]] = block
    for (a, b), pair in products.A.pairs.items():
        rows, cols = at[a][pair.rows], at[b][pair.cols]
        out[rows[:, :, None], cols[:, None, :]] = pair.blocks
        out[cols[:, None, :], rows[:, :, None]] = pair.blocks
    return out


@dataclass(frozen=True, eq=False, repr=False)
class BatchPoint:
    """The criterion of every response at its own θ (internal scale).

    Attributes
    ----------
    theta : array (B, n_theta)
    half : array (B, J, p, p)
        L⁻¹λᵀ, whose square is K.
    criterion, rss, sigma : array (B,)
        The criterion in the units of the responses; the others on the internal scale.
    inverse_root : array (B, P, P)
    beta : array (B, P)
    """

    theta: Floats
    half: Floats
    criterion: Floats
    rss: Floats
    sigma: Floats
    inverse_root: Floats
    beta: Floats

    def put(self, which: Ints, other: BatchPoint) -> BatchPoint:
        """The point with the responses `which` taken from another."""
        out: dict[str, Any] = {}
        for f in fields(self):
            values = getattr(self, f.name).copy()
            values[which] = getattr(other, f.name)
            out[f.name] = values
        return BatchPoint(**out)

    def only(self, which: Ints) -> BatchPoint:
        """The point of some of the responses."""
        return BatchPoint(*(getattr(self, f.name)[which] for f in fields(self)))


def _lambdas(batch: Batch, theta: Floats) -> list[Floats]:
    """λ_k (B, p_k, p_k) of every grouping."""
    out: list[Floats] = [np.zeros((len(theta), len(g.columns), len(g.columns))) for g in batch.spec.groupings]
    for t in batch.spec.terms:
        out[t.grouping][:, t.where, t.where] = t.structure.root(theta[:, t.theta])
    return out


def _whole(batch: Batch, by_grouping: list[Floats]) -> Floats:
    """Matrices (B, p_k, p_k) of every grouping as (B, p, p), repeated over levels where all stand in one block."""
    if len(by_grouping) == 1:
        return by_grouping[0]
    p = batch.A.shape[1]
    out = np.zeros((len(by_grouping[0]), p, p))
    for at, block in zip(batch.columns, by_grouping, strict=True):
        out[:, at[:, :, None], at[:, None, :]] = block[:, None]
    return out


def evaluate_together(batch: Batch, theta: Floats) -> BatchPoint:
    """The criterion of all responses at `theta` (B, n_theta)."""
    lam_t = np.swapaxes(_whole(batch, _lambdas(batch, theta)), 1, 2)[:, None]
    M = lam_t @ batch.A @ np.swapaxes(lam_t, 2, 3) + np.eye(batch.A.shape[1])
    L = np.sqrt(M) if M.shape[-1] == 1 else cholesky_or_nan(M)
    half = _solve_lower(L, np.broadcast_to(lam_t, M.shape))
    FX, Fy = half @ batch.ZX, np.einsum("bjac,bjc->bja", half, batch.Zy)
    XVX = batch.XX - np.einsum("bjap,bjaq->bpq", FX, FX)
    XVy = batch.Xy - np.einsum("bjap,bja->bp", FX, Fy)
    root = cholesky_or_nan(XVX)
    inverse_root = np.linalg.inv(root)
    z = np.einsum("bpq,bq->bp", inverse_root, XVy)
    # an exact fit ends where no more of the response is left than rounding; the caller refuses it there
    rss = np.maximum(batch.yy - (Fy**2).sum(axis=(1, 2)) - (z**2).sum(axis=1), 0.1 * PERFECT_FIT * batch.yy)
    log_det = 2.0 * np.log(np.diagonal(L, axis1=2, axis2=3)).sum(axis=(1, 2)) + batch.log_det
    if batch.method == "REML":
        log_det = log_det + 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    known = batch.spec.sigma
    sigma = np.sqrt(rss / batch.nu) if known is None else known / batch.unit
    spread = batch.nu if known is None else rss / sigma**2
    criterion = log_det + batch.nu * (np.log(2.0 * np.pi) + 2.0 * np.log(sigma) + 2.0 * np.log(batch.unit)) + spread
    if batch.penalty:
        roots = [t.structure.root(theta[:, t.theta]) for t in batch.spec.terms]
        criterion = criterion - 2.0 * batch.penalty * sum(np.linalg.slogdet(lam)[1] for lam in roots)
    return BatchPoint(theta, half, criterion, rss, sigma, inverse_root, np.einsum("bqp,bq->bp", inverse_root, z))


def _solve_lower(L: Floats, rhs: Floats) -> Floats:
    """L⁻¹ rhs for stacks of small lower triangles."""
    p = L.shape[-1]
    out = np.empty_like(rhs)
    if p > WIDE:
        for at in np.ndindex(L.shape[:-2]):
            out[at] = scipy.linalg.blas.dtrsm(1.0, L[at], rhs[at], lower=1)
        return out
    for i in range(p):
        known = (L[..., i, None, :i] @ out[..., :i, :])[..., 0, :] if i else 0.0
        out[..., i, :] = (rhs[..., i, :] - known) / L[..., i, i, None]
    return out


@dataclass(frozen=True, eq=False, repr=False)
class Slopes:
    """Derivatives at a point: W_k (B, p_k, p_k), the gradient (B, n_theta) and the average information."""

    W: list[Floats]
    gradient: Floats
    information: Floats


def slopes_together(batch: Batch, at: BatchPoint) -> Slopes:
    """Derivatives of every criterion at its point."""
    A, half = batch.A, at.half
    r = batch.Zy - np.einsum("jap,bp->bja", batch.ZX, at.beta)
    b = np.einsum("bjca,bjc->bja", half, np.einsum("bjac,bjc->bja", half, r))
    c = r - np.einsum("jac,bjc->bja", A, b)
    HA = half @ A
    E = A - np.swapaxes(HA, 2, 3) @ HA
    T = (batch.ZX - np.swapaxes(HA, 2, 3) @ (half @ batch.ZX)) @ np.swapaxes(at.inverse_root, 1, 2)[:, None]
    W = [_inner(batch, k, E, c / at.sigma[:, None, None], T) for k in range(len(batch.columns))]
    lambdas = _lambdas(batch, at.theta)
    information = _information(batch, at, lambdas, c, E, T)
    if batch.penalty:
        information += _penalize(batch, at.theta, W)
    gradient = np.empty(at.theta.shape)
    for t in batch.spec.terms:
        slope = 2.0 * (W[t.grouping] @ lambdas[t.grouping])[:, t.where, t.where]
        gradient[:, t.theta] = t.structure.pull_back(at.theta[:, t.theta], slope)
    return Slopes(W, gradient, information)


def _penalize(batch: Batch, theta: Floats, W: list[Floats]) -> Floats:
    """Take D⁻¹ of every term from W, and give the curvature 2 tr λ⁻¹(∂λ/∂θᵢ)λ⁻¹(∂λ/∂θⱼ) (B, n_theta, n_theta)."""
    out = np.zeros((*theta.shape, theta.shape[1]))
    for t in batch.spec.terms:
        inverse = np.linalg.inv(t.structure.root(theta[:, t.theta]))
        W[t.grouping][:, t.where, t.where] -= batch.penalty * np.swapaxes(inverse, 1, 2) @ inverse
        moves = inverse[:, None] @ t.structure.jacobian(theta[:, t.theta])
        out[:, t.theta, t.theta] = 2.0 * batch.penalty * np.einsum("biac,bjca->bij", moves, moves)
    return out


def _inner(batch: Batch, k: int, E: Floats, c: Floats, T: Floats) -> Floats:
    """W_k (B, p_k, p_k): the sum over levels of the blocks of ZᵀPZ − ccᵀ/σ²."""
    at = batch.columns[k]
    B, P = c.shape[0], T.shape[-1]
    own_c, own_T = c.reshape(B, -1)[:, at], T.reshape(B, c[0].size, P)[:, at]
    blocks = E if len(batch.columns) == 1 else E[:, 0][:, at[:, :, None], at[:, None, :]]
    out = blocks.sum(axis=1) - np.einsum("bja,bjc->bac", own_c, own_c)
    return out - np.einsum("bjap,bjcp->bac", own_T, own_T) if batch.method == "REML" else np.asarray(out)


def _information(batch: Batch, at: BatchPoint, lambdas: list[Floats], c: Floats, E: Floats, T: Floats) -> Floats:
    """Average information (B, n_theta, n_theta), as :func:`~_ranef.likelihood.criterion.average_information`."""
    directions = batch.spec.root_derivatives(at.theta)
    B, J, p = c.shape
    h = np.zeros((B, J * p, len(directions)))
    flat = c.reshape(B, J * p)
    for i, (t, root) in enumerate(directions):
        half = root @ np.swapaxes(lambdas[t.grouping], 1, 2)
        where = batch.columns[t.grouping]
        h[:, where, i] = flat[:, where] @ (half + np.swapaxes(half, 1, 2))
    slope = np.einsum("bq,bqi->bi", flat, h)
    h = h.reshape(B, J, p, -1)
    information = np.einsum("bjai,bjak->bik", h, E @ h)
    across = np.einsum("bjap,bjai->bpi", T, h)
    information -= np.swapaxes(across, 1, 2) @ across
    information /= at.sigma[:, None, None] ** 2
    if batch.spec.sigma is None:
        slope = slope / at.sigma[:, None] ** 2
        information -= slope[:, :, None] * slope[:, None, :] / batch.nu
    return np.asarray(0.5 * (information + np.swapaxes(information, 1, 2)))


def have_digits(batch: Batch, at: BatchPoint, share: float) -> Bools:
    """Where at least a `share` of every column of [X y] is left beside the random effects: cross-products tell it."""
    squares = np.diagonal(batch.XX) * np.diagonal(at.inverse_root, axis1=1, axis2=2) ** 2
    return np.asarray((at.rss >= share * batch.yy) & (share * squares <= 1.0).all(axis=1))
