"""Models with one variance parameter: the criterion of any response through one set of eigenvalues.

With V = I + τZZᵀ and S the projection off X, the eigenvalues ξ of ZᵀSZ with the coordinates w of ZᵀSy give

    yᵀPy = r₀ + Σ wᵢ/(1 + τξᵢ),    log|V| + log|XᵀV⁻¹X| = Σ log(1 + τξᵢ) + log|XᵀX|,

so that a criterion costs a handful of operations (Crainiceanu and Ruppert, 2004, J. R. Stat. Soc. B 66, 165-185).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.likelihood.at import Likelihood
from _ranef.likelihood.criterion import Method
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.responses import Responses
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["EffectRoots", "Spectrum", "best_ratios", "effect_roots", "has_spectrum", "make_spectrum"]

#: widest ZᵀZ that is decomposed
MOST_EFFECTS = 600

#: variance ratios τ at which all responses are looked at, times the mean eigenvalue; zero comes first, and the last is
#: where what an exact fit leaves of the response is zero to rounding
GRID = np.concatenate([[0.0], np.geomspace(1e-6, 3e13, 79)])

#: steps of bisection and Newton between two of them
REFINEMENTS = 100


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """The criterion of B responses as a function of τ.

    Attributes
    ----------
    roots : array (r,)
        Distinct eigenvalues ξ of ZᵀSZ.
    squares : array (B, r)
        w, summed over equal eigenvalues.
    rest : array (B,)
        r₀.
    det_roots, det_counts : array (m,)
        Eigenvalues whose log(1 + τ·) make up the determinant, and how often each counts: ξ (REML), those of ZᵀZ (ML).
    nu : int
        n − p (REML) or n (ML).
    sigma : array (B,) or None
        A known residual standard deviation, in the units of the responses.
    """

    roots: Floats
    squares: Floats
    rest: Floats
    det_roots: Floats
    det_counts: Floats
    nu: int
    sigma: Floats | None

    def criterion(self, tau: Floats) -> Floats:
        """Criterion up to a constant (B, m) at `tau` (B, m) or (1, m)."""
        rss = self.rest[:, None] + (self.squares[:, None, :] / (1.0 + tau[..., None] * self.roots)).sum(axis=2)
        log_det = (self.det_counts * np.log1p(tau[..., None] * self.det_roots)).sum(axis=2)
        if self.sigma is not None:
            return np.asarray(log_det + rss / self.sigma[:, None] ** 2)
        return np.asarray(log_det + self.nu * np.log(rss))

    def slope(self, tau: Floats) -> Floats:
        """∂criterion/∂τ (B,) at `tau` (B,)."""
        ratio = 1.0 / (1.0 + tau[:, None] * self.roots)
        rss = self.rest + (self.squares * ratio).sum(axis=1)
        falls = (self.squares * self.roots * ratio**2).sum(axis=1)
        grows = (self.det_counts * self.det_roots / (1.0 + tau[:, None] * self.det_roots)).sum(axis=1)
        return np.asarray(grows - falls * (self.nu / rss if self.sigma is None else self.sigma**-2.0))


def has_spectrum(spec: ModelSpec) -> bool:
    """Whether a model has one variance parameter, and few enough random effects."""
    if spec.n_theta != 1:
        return False
    return spec.groupings[0].n_levels * len(spec.groupings[0].columns) <= MOST_EFFECTS


def make_spectrum(products: CrossProducts, responses: Responses, method: Method, sigma: float | None) -> Spectrum:
    """Decompose ZᵀSZ once, and express every response in its eigenvectors."""
    p = products.n_fixed
    blocks = products.A.diag[0]
    J, size, each = len(blocks), blocks.shape[1], np.arange(len(blocks))
    A = np.zeros((J * size, J * size))
    A.reshape(J, size, J, size)[each, :, each] = blocks
    ZX, Zy = products.Xy[0][:, :, :p].reshape(len(A), p), responses.Zy[0].reshape(len(A), -1)
    among = products.among[0] if products.among else None
    if among is not None:  # of effects that are independent
        root = np.kron(among.dense_root, np.eye(size))
        A, ZX, Zy = root.T @ A @ root, root.T @ ZX, root.T @ Zy
    half, fitted = np.zeros((0, len(A))), np.zeros((0, responses.size))
    if p:  # where columns of X are nearly collinear some of the response is left in their span
        root = np.linalg.cholesky(products.corner[:p, :p])
        half, fitted = np.linalg.solve(root, ZX.T), np.linalg.solve(root, responses.Xy)
    roots, vectors = np.linalg.eigh(A - half.T @ half)
    kept = roots > 1e-10 * max(float(roots[-1]), 1e-300)
    coordinates = vectors[:, kept].T @ (Zy - half.T @ fitted)
    distinct, which = _distinct(roots[kept])
    squares = np.zeros((responses.size, len(distinct)))
    np.add.at(squares.T, which, coordinates**2 / roots[kept][:, None])
    rest = np.maximum(responses.yy - (fitted**2).sum(axis=0) - squares.sum(axis=1), 0.0)
    det_roots, det_which = (distinct, which) if method == "REML" else _distinct(np.linalg.eigvalsh(A))
    counts = np.bincount(det_which, minlength=len(det_roots)).astype(float)
    nu = products.n_obs - (p if method == "REML" else 0)
    known = None if sigma is None else sigma / responses.unit
    return Spectrum(distinct, squares, rest, det_roots, counts, nu, known)


@dataclass(frozen=True, eq=False)
class EffectRoots:
    """Eigenvalues of the columns of one term, on a scale of their own.

    Attributes
    ----------
    roots, counts : array (r,)
        Distinct ones of ZᵀSZ that are not zero, S being the projection off X, and how many each is.
    det_roots : array (q,)
        Those of ZᵀZ.
    """

    roots: Floats
    counts: Floats
    det_roots: Floats


def effect_roots(likelihood: Likelihood, k: int, where: slice) -> EffectRoots:
    """Decompose the columns `where` of grouping `k`."""
    products = likelihood.products
    at, p = products.order.index(k), products.n_fixed
    blocks, ZX = products.A.diag[at][:, where, where], products.Xy[at][:, where, :p]
    A, size = scipy.linalg.block_diag(*blocks), blocks.shape[1]
    half = np.linalg.solve(np.linalg.cholesky(products.corner[:p, :p]), ZX.reshape(len(blocks) * size, p).T)
    roots = np.linalg.eigvalsh(A - half.T @ half)
    distinct, which = _distinct(roots[roots > 1e-10 * max(float(roots[-1]), 1e-300)])
    return EffectRoots(distinct, np.bincount(which).astype(float), np.linalg.eigvalsh(A))


def _distinct(roots: Floats) -> tuple[Floats, Ints]:
    """Ascending eigenvalues with equal ones, but for rounding, made one; and which one each is."""
    if not roots.size:
        return roots, np.zeros(0, dtype=np.intp)
    new = np.append(True, np.diff(roots) > 1e-9 * np.abs(roots[1:]) + 1e-12)
    which = np.cumsum(new) - 1
    return np.bincount(which, roots) / np.bincount(which), which


def best_ratios(spectrum: Spectrum) -> Floats:
    """τ (B,) that minimises the criterion of every response, over all τ ≥ 0.

    Balanced data have one eigenvalue, and then the minimum is the ANOVA estimate cut off at zero.
    """
    if _balanced(spectrum):
        m = spectrum.det_counts[0]
        rest = np.maximum(spectrum.rest, spectrum.squares[:, 0] / GRID[-1])
        growth = (spectrum.nu - m) * spectrum.squares[:, 0] / (m * rest)
        return np.asarray(np.clip(growth - 1.0, 0.0, GRID[-1]) / spectrum.roots[0])
    grid = GRID / (spectrum.roots.mean() if spectrum.roots.size else 1.0)
    best = np.argmin(spectrum.criterion(grid[None]), axis=1)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, len(grid) - 1)]
    at_zero = (best == 0) & (spectrum.slope(np.zeros(len(best))) >= 0)
    for _ in range(REFINEMENTS):
        middle = 0.5 * (low + high)
        if (high - low <= 4e-16 * high).all():
            break
        rising = spectrum.slope(middle) > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return np.where(at_zero, 0.0, 0.5 * (low + high))


def _balanced(spectrum: Spectrum) -> bool:
    one = len(spectrum.roots) == len(spectrum.det_roots) == 1 and spectrum.sigma is None
    return one and bool(np.isclose(spectrum.roots[0], spectrum.det_roots[0], rtol=1e-12))
