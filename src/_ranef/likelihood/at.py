"""Everything at one θ on the user's scale, groupings in the order of the spec: the door to this layer.

Outside it nobody needs to know in which order factors are eliminated or how y and X are scaled. Random effects keep two
scales: that of the columns as written, and that of *standard columns*, Z_k T_k with T_k of :attr:`Likelihood.maps`:
orthonormal over the rows, with the weights in, so that a root of 1 is a signal as large as the noise of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from _ranef.design import check_sigma
from _ranef.errors import DesignError, NotAvailableError
from _ranef.likelihood.criterion import Evaluation, Method, Score, average_information, evaluate, score
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.likelihood.responses import Responses
from _ranef.linalg import BlockMatrix, backward
from _ranef.results import Modes
from _ranef.spec import ModelSpec
from _ranef.support.argument_remedies import Answering
from _ranef.support.arrays import Floats

__all__ = ["At", "Likelihood"]


@dataclass(frozen=True, eq=False, repr=False)
class Likelihood(Answering):
    """The likelihood of one model, or its REML criterion, as a function of the variance parameters.

    Attributes
    ----------
    spec : ModelSpec
    products : CrossProducts
    method : "REML" or "ML"
    """

    spec: ModelSpec
    products: CrossProducts
    method: Method

    @property
    def maps(self) -> tuple[Floats, ...]:
        """T_k (p_k, p_k) by grouping: effects of columns as written are T_k times those of standard columns."""
        return self.products.scaling.Z

    @property
    def response_unit(self) -> float:
        """How much of the response is left by least squares: the root mean square of a row."""
        return self.products.scaling.y

    @property
    def effect_units(self) -> tuple[Floats, ...]:
        """Sizes (p_k,) by grouping of effects, on the columns as written, that move rows by that much."""
        return tuple(self.response_unit * np.linalg.norm(T, axis=1) for T in self.maps)

    @property
    def coefficient_units(self) -> Floats:
        """The same of coefficients (p,)."""
        return np.asarray(self.response_unit * np.linalg.norm(self.products.scaling.X, axis=1))

    @property
    def pilot(self) -> Floats:
        """Least-squares coefficients (p,), near which β is computed."""
        return self.products.scaling.pilot

    def standard(self, theta: Floats) -> tuple[Floats, ...]:
        """Roots λ_k (p_k, p_k) of the covariances of standard columns over σ², not triangular, at θ (n_theta,)."""
        return self.standard_roots(self.spec.lambdas(theta))

    def standard_roots(self, roots: Sequence[Floats]) -> tuple[Floats, ...]:
        """The same of any square roots of D_k for the columns as written."""
        return self.products.scaling.inward(tuple(roots))

    def to_standard(self, theta: Floats) -> Floats:
        """θ (..., n_theta) for standard columns of θ for the columns as written; of λ of the right structure."""
        return self._mapped(theta, [np.linalg.inv(T) for T in self.maps])

    def to_written(self, theta: Floats) -> Floats:
        """The way back: θ (..., n_theta) for the columns as written, λ lower-triangular, its diagonal not negative."""
        return self._mapped(theta, self.maps)

    def __repr__(self) -> str:
        return f"<{self.method} likelihood of {self.spec.design.formula!r}: .at(theta) is everything there>"

    def _mapped(self, theta: Floats, maps: Sequence[Floats]) -> Floats:
        out = np.empty_like(theta)
        for t in self.spec.terms:
            T = maps[t.grouping][t.where, t.where]
            out[..., t.theta] = t.structure.closest(T @ t.structure.root(theta[..., t.theta]))
        return out

    def at(self, theta: Sequence[float] | Floats, sigma: float | None = None) -> At:
        """Everything at θ (n_theta,), with σ profiled unless it is known, or given here.

        Raises
        ------
        DesignError
            If θ has not as many finite numbers as the model has variance parameters, or σ is not positive.
        """
        try:
            values = np.asarray(theta, dtype=float)
        except (TypeError, ValueError):
            values = np.empty(0)
        check_sigma(sigma)
        if values.shape != (self.spec.n_theta,) or not np.isfinite(values).all():
            names = ", ".join(self.spec.theta_names)
            raise DesignError(f"theta={theta!r} must hold {self.spec.n_theta} finite numbers: {names}.")
        return self.at_standard(self.standard(values), sigma)

    def at_roots(self, roots: Sequence[Floats], sigma: float | None = None) -> At:
        """The same at λ_k (p_k, p_k), any square roots of D_k for the columns as written."""
        return self.at_standard(self.standard_roots(roots), sigma)

    def at_standard(self, roots: Sequence[Floats], sigma: float | None = None) -> At:
        """The same at square roots of the covariances of standard columns."""
        ordered = [roots[k] for k in self.products.order]
        sigma = self.spec.sigma if sigma is None else sigma
        return At(self, tuple(roots), evaluate(self.products, ordered, self.method, sigma))

    def coefficients(self, responses: Responses, beta: Floats) -> Floats:
        """β (B, p) on the user's scale of the internal coefficients (B, p) of a batch of responses."""
        out = (responses.inner.T + responses.unit[:, None] * beta) @ self.products.scaling.X.T
        out[:, :1] += responses.centre[:, None]
        return np.asarray(out)

    def coefficient_covariances(self, inverse_root: Floats, sigma: Floats) -> Floats:
        """Var β̂ (B, p, p) on the user's scale, of the inverse roots (B, p, p) of XᵀV⁻¹X of a batch, and σ (B,)."""
        half = sigma[:, None, None] * (self.products.scaling.X @ np.swapaxes(inverse_root, 1, 2))
        return np.asarray(half @ np.swapaxes(half, 1, 2))

    def levels(self, k: int) -> Floats:
        """ZⱼᵀWZⱼ (J, p, p) of the levels of grouping `k`, for standard columns."""
        return self.products.A.diag[self.products.order.index(k)]


@dataclass(frozen=True, eq=False, repr=False)
class At(Answering):
    """What one factorisation gives at one θ.

    Attributes
    ----------
    likelihood : Likelihood
    roots : tuple of array (p_k, p_k)
        For standard columns, by grouping.
    inner : Evaluation
        Factors in elimination order, X and y on the internal scale: read in this layer alone.
    """

    likelihood: Likelihood
    roots: tuple[Floats, ...]
    inner: Evaluation

    @property
    def criterion(self) -> float:
        """−2 log-likelihood or REML criterion."""
        return self.inner.criterion

    @property
    def sigma(self) -> float:
        """σ̂, or the known σ."""
        return self.inner.sigma * self._unit

    @property
    def relative_sigma(self) -> float:
        """σ over :attr:`Likelihood.response_unit`."""
        return self.inner.sigma

    @property
    def unexplained(self) -> float:
        """Share of the sum of squares, about the least-squares fit, that the effects leave."""
        whole = float(self.likelihood.products.corner[-1, -1])
        return self.inner.rss / whole if whole else 0.0

    @property
    def from_rows(self) -> bool:
        """Whether rows were read again, because their sums have lost the digits."""
        return self.inner.whole is not None

    @property
    def relative_rss(self) -> float:
        """Penalised residual sum of squares over σ²."""
        return self.inner.rss / self.inner.sigma**2

    @property
    def beta(self) -> Floats:
        """β̂ (p,) by generalised least squares."""
        scale = self.likelihood.products.scaling
        return np.asarray(scale.pilot + scale.y * (scale.X @ self.inner.beta))

    @cached_property
    def vcov(self) -> Floats:
        """σ²(XᵀV⁻¹X)⁻¹ (p, p)."""
        half = self.likelihood.products.scaling.X @ self.inner.inverse_root.T
        return np.asarray(self.sigma**2 * (half @ half.T))

    @cached_property
    def effects(self) -> tuple[Floats, ...]:
        """b̂ (J_k, p_k), with no selected inverse."""
        pairs = zip(self._solved, self.likelihood.maps, strict=True)
        return tuple(self._unit * b[:, :, 0] @ T.T for b, T in pairs)

    @cached_property
    def left(self) -> tuple[Floats, ...]:
        """Z_kᵀW(y − Xβ̂ − Σ Z_l b̂_l) (J_k, p_k) for standard columns of Z_k, l being the other factors."""
        products = self.likelihood.products
        modes = [self._solved[k] for k in products.order]
        A, Xys = products.A, products.Xy
        own = [Xy @ self._contrast - far for Xy, far in zip(Xys, _of_others(A, modes), strict=True)]
        return tuple(self._unit * part for part in self._by_grouping(own))

    @cached_property
    def modes(self) -> tuple[Modes, ...]:
        """Conditional modes with their covariances."""
        s2, out = self.sigma**2, []
        parts = zip(self.roots, self.likelihood.maps, self.conditional, self._by_grouping(self._first.T), strict=True)
        for (lam, T, known, across), b in zip(parts, self._by_grouping(self._first.b), strict=True):
            half = lam @ lam.T @ across
            total = known + half @ np.swapaxes(half, 1, 2)
            out.append(Modes(self._unit * b @ T.T, s2 * (T @ known @ T.T), s2 * (T @ total @ T.T)))
        return tuple(out)

    def holding(self, j: int, value: float) -> At:
        """The same under ML with coefficient `j` held at a value, and the others at their best for it; σ stays.

        β̂ moves by C_j (β_j − β̂_j)/C_jj, C being (XᵀV⁻¹X)⁻¹, and r² grows by (β_j − β̂_j)²/C_jj; the gradient follows.
        """
        half = self.inner.inverse_root @ self.likelihood.products.scaling.X[j]
        moved, size = (value - float(self.beta[j])) / self._unit, float(half @ half)
        more = moved**2 / size
        inner = replace(
            self.inner,
            z=self.inner.z + half * (moved / size),
            rss=self.inner.rss + more,
            criterion=self.criterion + more / self.inner.sigma**2,
        )
        return At(self.likelihood, self.roots, inner)

    @property
    def across(self) -> tuple[tuple[Floats, Floats], ...]:
        """ZᵀV⁻¹XRᵀ (J_k, p_k, p) by grouping, and K times it; RᵀR = (XᵀV⁻¹X)⁻¹. For this layer."""
        return tuple(zip(*map(self._by_grouping, (self._first.plain_T, self._first.T)), strict=True))

    @property
    def conditional(self) -> tuple[Floats, ...]:
        """Var(b | y, β)/σ² (J_k, p_k, p_k) of every level, for standard columns."""
        return self._by_grouping(self._first.Q)

    @cached_property
    def information(self) -> tuple[Floats, ...]:
        """What each level's rows say of its effects (J_k, p_k, p_k) for standard columns, other factors unknown.

        E(I − DE)⁻¹ of the blocks E of ZᵀV⁻¹Z: the level's own effects taken out of V again. With one grouping factor
        it is ZⱼᵀWZⱼ.

        Raises
        ------
        NotAvailableError
            Where levels are related, so that the rows of other levels say something, too.
        """
        if self.likelihood.spec.related:
            raise NotAvailableError(
                "Pooling by level is of independent levels, and this model has a known covariance among some (cov=). "
                "ranef() has the effects with their conditional sds."
            )
        covariances = [lam @ lam.T for lam in self.roots]
        blocks = zip(self._by_grouping(self._first.E), covariances, strict=True)
        return tuple(np.linalg.solve(np.eye(len(D)) - E @ D, E) for E, D in blocks)

    @property
    def gradient(self) -> tuple[Floats, ...]:
        """∂criterion/∂λ_k (p_k, p_k) of roots for standard columns."""
        return tuple(2.0 * W @ lam for W, lam in zip(self.W, self.roots, strict=True))

    @property
    def W(self) -> tuple[Floats, ...]:
        """∂criterion/∂D_k (p_k, p_k) of covariances over σ² of standard columns (``docs/mathematics.md`` §3)."""
        return self._by_grouping(self._first.W)

    def average_information(self, changes: Sequence[tuple[int, Floats]]) -> Floats:
        """Average information (q, q), in deviance units, about q changes of roots for standard columns.

        Each is a grouping k and a ∂λ_k (p_k, p_k); σ is profiled unless it is known.
        """
        order, directions = self.likelihood.products.order, []
        for k, change in changes:
            half = change @ self.roots[k].T
            directions.append((order.index(k), half + half.T))
        profiled = self.likelihood.spec.sigma is None
        return average_information(self.likelihood.products, self.inner, self._first, directions, profiled=profiled)

    @property
    def rss_gradient(self) -> tuple[Floats, ...]:
        """∂(rss/σ²)/∂λ_k = −2 (Σ ccᵀ/σ²) λ_k of the same, with σ held."""
        s, both = self.inner.sigma, (self._by_grouping(self._first.plain_c), self._by_grouping(self._first.c))
        return tuple(-2.0 * (c.T @ own / s**2) @ lam for c, own, lam in zip(*both, self.roots, strict=True))

    def __repr__(self) -> str:
        return f"<{self.likelihood.method} at one θ: criterion {self.criterion:.4f}, sigma {self.sigma:.4g}>"

    @property
    def _unit(self) -> float:
        return self.likelihood.products.scaling.y

    @property
    def _contrast(self) -> Floats:
        return np.append(-self.inner.beta, 1.0)

    @cached_property
    def _first(self) -> Score:
        return score(self.likelihood.products, self.inner)

    @cached_property
    def _solved(self) -> tuple[Floats, ...]:
        """b̃ (J_k, p_k, 1) by grouping, internal."""
        white = [(w @ self._contrast)[:, :, None] for w in self.inner.columns.white]
        return self._by_grouping(backward(self.inner.factor, white))

    def _by_grouping(self, ordered: Sequence[Floats]) -> tuple[Floats, ...]:
        order = self.likelihood.products.order
        return tuple(ordered[order.index(k)] for k in range(len(order)))


def _of_others(A: BlockMatrix, b: Sequence[Floats]) -> list[Floats]:
    """Σ_{l ≠ k} A_kl b_l (J_k, p_k) for every factor, given b (J_k, p_k, 1)."""
    out: list[Floats] = [np.zeros(d.shape[:2]) for d in A.diag]
    for (k, l), pair in A.pairs.items():
        np.add.at(out[k], pair.rows, (pair.blocks @ b[l][pair.cols])[:, :, 0])
        np.add.at(out[l], pair.cols, (np.swapaxes(pair.blocks, 1, 2) @ b[k][pair.rows])[:, :, 0])
    return out
