"""Laplace's approximation of the likelihood of generalised responses, at all parameters, with its exact gradient.

Of η = Xβ + ZΛu with u ~ N(0, I) the conditional mode û maximises h(u) = log f(y | η) − uᵀu/2, by Newton's steps on the
weighted cross-products ZᵀWZ, W being minus the second derivatives of log f in η, observed and not expected: these are
what Laplace's method expands (with canonical links both are one). Then −2 log L ≈ −2h(û) + log |I + ΛᵀZᵀWZΛ|.

û = Λᵀv with v = Zᵀ∂log f/∂η, and b = Λû = Dv, so that λ is never divided by. The gradient is derived in
``docs/generalised.md``. Arrays are on the internal scale, factors in the order of elimination.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from _ranef.likelihood.at import At, Likelihood
from _ranef.likelihood.crossproducts import CrossProducts, own_products
from _ranef.likelihood.pilot_fit import Pilot, response_rows, working_model
from _ranef.likelihood.slopes_of_rows import slopes_of
from _ranef.likelihood.sums_by_whitening import RowSums
from _ranef.linalg import AnyFactor, BlockMatrix, all_blocks, backward, factorize, forward, times_among
from _ranef.results import Modes
from _ranef.spec import Generalised, ModelSpec, Rows, Slopes
from _ranef.support.arrays import Floats, Ints

__all__ = ["Laplace", "LaplaceAt", "Mode", "make_laplace"]

#: Newton's steps towards a mode, halvings of one; the decrement after which one step is the last, for its error is the
#: square of that before; and the decrement beyond which another's effects are no place to begin
STEPS, HALVINGS, QUADRATIC, CLOSE = 100, 40, 1e-10, 10.0

#: decrement after all steps that rounding may leave
ROUNDING = 1e-6

#: step of differences in log dispersions
DIFFERENCE = 1e-4

#: working weight, beside the largest, below which a working response counts as no different from η
LEAST_WEIGHT = 1e-16


@dataclass(frozen=True, eq=False, repr=False)
class Mode:
    """Effects of some parameters: the conditional mode, or a step on the way to it.

    Attributes
    ----------
    model : Laplace
    lambdas : sequence of array (p_k, p_k)
    fixed : array (n,)
        Xβ with the offset.
    part : array (n,)
        Zb.
    v, b : tuple of array (J_k, p_k, 1)
        With u = Λᵀv and b = Λu; at the mode v is Zᵀ∂log f/∂η, up to what Λᵀ takes to zero.
    at : Slopes
    """

    model: Laplace
    lambdas: Sequence[Floats]
    fixed: Floats
    part: Floats
    v: tuple[Floats, ...]
    b: tuple[Floats, ...]
    at: Slopes

    @property
    def eta(self) -> Floats:
        """The linear predictor (n,)."""
        return self.fixed + self.part

    @property
    def u(self) -> tuple[Floats, ...]:
        """Effects (J_k, p_k, 1) whose variances are one."""
        return tuple(lam.T @ v for lam, v in zip(self.lambdas, self.v, strict=True))

    @cached_property
    def height(self) -> float:
        """h, without the constants of the log density."""
        return float(self.at.value.sum()) - 0.5 * _inner(self.v, self.b)

    @cached_property
    def A(self) -> BlockMatrix:
        """ZᵀWZ."""
        return self.model.weighted(self.at.curvature)

    @cached_property
    def factor(self) -> AnyFactor:
        """Of I + ΛᵀAΛ."""
        return factorize(self.A, self.model.products.plan, self.lambdas)

    @cached_property
    def aim(self) -> tuple[tuple[Floats, ...], tuple[Floats, ...], float]:
        """V and b of Newton's full step, and by how much it is to raise 2h.

        Where h is not concave, without the rows that bend it upwards.
        """
        try:
            if np.isfinite(self.factor.log_det):  # single effects have roots, which are no numbers
                v, b, decrement = self._solved(self.at.curvature, self.A, self.factor)
                if not (self.at.curvature < 0.0).any() or (decrement >= 0.0 and self._are_of_one_covariance(v, b)):
                    return v, b, decrement  # else several effects of a level have a root that is not theirs
        except np.linalg.LinAlgError:
            pass
        curvature = np.maximum(self.at.curvature, 0.0)
        A = self.model.weighted(curvature)
        return self._solved(curvature, A, factorize(A, self.model.products.plan, self.lambdas))

    def _are_of_one_covariance(self, v: tuple[Floats, ...], b: tuple[Floats, ...]) -> bool:
        """Whether bᵀv is vᵀDv, as it is where b = Dv."""
        if self.model.spec.related:
            return True
        squares = sum(float(((lam.T @ own) ** 2).sum()) for lam, own in zip(self.lambdas, v, strict=True))
        return abs(_inner(v, b) - squares) <= 1e-6 * squares

    def _solved(
        self, curvature: Floats, A: BlockMatrix, factor: AnyFactor
    ) -> tuple[tuple[Floats, ...], tuple[Floats, ...], float]:
        columns = self.model.summed(self.at.first + curvature * self.part)
        b = backward(factor, forward(factor, columns).white)
        v = tuple(c - own for c, own in zip(columns, A.dot(b), strict=True))
        move = [new - old for new, old in zip(b, self.b, strict=True)]
        gap = [c + own - old for c, own, old in zip(v, A.dot(move), self.v, strict=True)]
        return v, b, _inner(gap, move)


@dataclass(frozen=True, eq=False, repr=False)
class Laplace:
    """A model of a generalised response, with its rows on the internal scale.

    Attributes
    ----------
    spec : ModelSpec
    family : Generalised
    gaussian : Likelihood
        Of the working response of the pilot: its scale, order and plan serve for all parameters.
    rows : Rows
    offset : array (n,)
    X : array (n, p)
    Z : tuple of array (p_k, n)
    codes : tuple of array (n,)
    pairs : mapping (k, l) to array (n,)
        Which pair of levels each row has.
    """

    spec: ModelSpec
    family: Generalised
    gaussian: Likelihood
    rows: Rows
    offset: Floats
    X: Floats
    Z: tuple[Floats, ...]
    codes: tuple[Ints, ...]
    pairs: Mapping[tuple[int, int], Ints]

    @property
    def products(self) -> CrossProducts:
        """Those of the pilot."""
        return self.gaussian.products

    @cached_property
    def n_levels(self) -> tuple[int, ...]:
        """Numbers of levels J_k."""
        return self.products.n_levels

    @cached_property
    def _squares(self) -> dict[tuple[int, int, int], Floats]:
        return {(k, a, c): Z[a] * Z[c] for k, Z in enumerate(self.Z) for a in range(len(Z)) for c in range(a + 1)}

    def weighted(self, weights: Floats) -> BlockMatrix:
        """ZᵀWZ for weights (n,) of rows."""
        diag = []
        for k, (Z, J) in enumerate(zip(self.Z, self.n_levels, strict=True)):
            own = np.empty((J, len(Z), len(Z)))
            for a in range(len(Z)):
                for c in range(a + 1):
                    own[:, a, c] = own[:, c, a] = np.bincount(self.codes[k], weights * self._squares[k, a, c], J)
            diag.append(own)
        pairs = {}
        for (k, l), pair in self.products.A.pairs.items():
            blocks = np.empty(pair.blocks.shape)
            for a, first in enumerate(self.Z[k]):
                for c, second in enumerate(self.Z[l]):
                    blocks[:, a, c] = np.bincount(self.pairs[k, l], weights * first * second, len(blocks))
            pairs[k, l] = replace(pair, blocks=blocks)
        return BlockMatrix(tuple(diag), pairs)

    def summed(self, column: Floats) -> tuple[Floats, ...]:
        """Zᵀ times a column (n,): a (J_k, p_k, 1) for each factor."""
        out = []
        for Z, code, J in zip(self.Z, self.codes, self.n_levels, strict=True):
            own = np.empty((J, len(Z), 1))
            for a, z in enumerate(Z):
                own[:, a, 0] = np.bincount(code, column * z, J)
            out.append(own)
        return tuple(out)

    def spread(self, b: Sequence[Floats]) -> Floats:
        """Zb (n,) of effects (J_k, p_k, 1)."""
        out = np.zeros(len(self.offset))
        for Z, code, own in zip(self.Z, self.codes, b, strict=True):
            for a, z in enumerate(Z):
                out += z * own[code, a, 0]
        return out

    def quadratic(self, Q: Mapping[tuple[int, int], Floats]) -> Floats:
        """zᵀQz (n,) of the rows z of Z, by blocks of a matrix Q where A has blocks."""
        out = np.zeros(len(self.offset))
        for k, Z in enumerate(self.Z):
            for a in range(len(Z)):
                for c in range(a + 1):
                    out += (1.0 if a == c else 2.0) * self._squares[k, a, c] * Q[k, k][self.codes[k], a, c]
        for (k, l), place in self.pairs.items():
            for a, first in enumerate(self.Z[k]):
                for c, second in enumerate(self.Z[l]):
                    out += 2.0 * first * second * Q[k, l][place, a, c]
        return out

    def in_order(self, by_grouping: Sequence[Floats]) -> tuple[Floats, ...]:
        """What is by grouping in the order of elimination."""
        return tuple(by_grouping[k] for k in self.products.order)

    def by_grouping(self, in_order: Sequence[Floats]) -> tuple[Floats, ...]:
        """The way back."""
        order = self.products.order
        return tuple(in_order[order.index(k)] for k in range(len(order)))

    def inward(self, beta: Floats) -> Floats:
        """Internal β (p,) of β on the user's scale."""
        return np.linalg.solve(self.products.scaling.X, beta)

    def outward_slope(self, slope: Floats) -> Floats:
        """∂/∂β (p,) on the user's scale from that in internal β."""
        return np.linalg.solve(self.products.scaling.X.T, slope)

    @property
    def outward_map(self) -> Floats:
        """What internal β is multiplied by (p, p) to be β on the user's scale."""
        return self.products.scaling.X

    def outward(self, covariance: Floats) -> Floats:
        """A covariance (p, p) of β on the user's scale from that of internal β."""
        return np.asarray(self.outward_map @ covariance @ self.outward_map.T)

    def own(self, logs: Floats) -> dict[str, float]:
        """Dispersions of their logarithms."""
        return dict(zip(self.family.dispersions, np.exp(logs).tolist(), strict=True))

    def at(self, roots: Sequence[Floats], beta: Floats, logs: Floats, near: Mode | None = None) -> LaplaceAt:
        """Everything at square roots of D_k for standard columns, by grouping, internal β (p,) and log dispersions.

        Raises
        ------
        LinAlgError
            So far out that numbers are none.
        """
        lambdas, own = self.in_order(roots), self.own(logs)
        fixed = self.X @ beta + self.offset
        with np.errstate(all="ignore"):
            mode = self._mode(fixed, lambdas, own, near)
        constant = float(self.family.constant(self.rows, own).sum()) if own else self._constant
        return LaplaceAt(self, tuple(roots), np.asarray(beta), np.asarray(logs), mode, constant)

    @cached_property
    def _constant(self) -> float:
        return float(self.family.constant(self.rows, {}).sum())

    def _mode(self, fixed: Floats, lambdas: Sequence[Floats], own: Mapping[str, float], near: Mode | None) -> Mode:
        """The conditional mode, by Newton's steps from another's effects or from zero."""
        zero = tuple(np.zeros((J, len(Z), 1)) for J, Z in zip(self.n_levels, self.Z, strict=True))

        def moment(part: Floats, v: tuple[Floats, ...], b: tuple[Floats, ...]) -> Mode:
            return Mode(self, lambdas, fixed, part, v, b, slopes_of(self.family, fixed + part, self.rows, own))

        now = moment(np.zeros(len(fixed)), zero, zero) if near is None else None
        if now is None and near is not None:
            # effects of another λ are none of this one, but a step from them leads to such
            v, b, _ = moment(near.part, zero, zero).aim
            now = moment(self.spread(b), v, b)
            if not (np.isfinite(now.height) and now.aim[2] < CLOSE):
                return self._mode(fixed, lambdas, own, None)
        assert now is not None
        for _ in range(STEPS):
            v, b, decrement = now.aim
            if not np.isfinite(decrement):
                break
            part = self.spread(b)
            if decrement < QUADRATIC:
                return moment(part, v, b)
            lower = None
            for i in range(HALVINGS):
                t = 0.5**i
                trial = moment(now.part + t * (part - now.part), _between(now.v, v, t), _between(now.b, b, t))
                if trial.height >= now.height - 1e-13 * abs(now.height):
                    lower = trial
                    break
            if lower is None:
                return now
            now = lower
        if decrement < ROUNDING:
            return now
        raise np.linalg.LinAlgError("the conditional mode is no number")


@dataclass(frozen=True, eq=False, repr=False)
class LaplaceAt:
    """What one conditional mode gives.

    Attributes
    ----------
    laplace : Laplace
    roots : tuple of array (p_k, p_k)
        For standard columns, by grouping.
    inner_beta : array (p,)
    logs : array (n_dispersions,)
    mode : Mode
    constant : float
        Of the log density.
    """

    laplace: Laplace
    roots: tuple[Floats, ...]
    inner_beta: Floats
    logs: Floats
    mode: Mode
    constant: float

    #: rows are never read by sums
    from_rows = False

    @cached_property
    def criterion(self) -> float:
        """−2 log-likelihood."""
        return -2.0 * (self.mode.height + self.constant) + self.mode.factor.log_det

    @cached_property
    def beta(self) -> Floats:
        """β (p,) on the user's scale."""
        return np.asarray(self.laplace.products.scaling.X @ self.inner_beta)

    @cached_property
    def first_order(self) -> FirstOrder:
        """The gradient."""
        own, v = self._parts, self.laplace.summed(self.mode.at.first)
        W = []
        for block, slope, known, other in zip(own.E, v, times_among(self.mode.factor, v), own.c, strict=True):
            across = other[:, :, 0].T @ known[:, :, 0]
            W.append(block.sum(axis=0) - slope[:, :, 0].T @ known[:, :, 0] + 0.5 * (across + across.T))
        return FirstOrder(self.laplace.by_grouping(W), self.laplace.X.T @ own.rows, own.logs.sum(axis=1))

    def scores(self, codes: Ints, m: int) -> Scores:
        """The gradient by clusters (n,) of rows, of which there are m and that share no levels."""
        own, model = self._parts, self.laplace
        W = []
        for k, (block, slope, other) in enumerate(zip(own.E, model.summed(self.mode.at.first), own.c, strict=True)):
            cluster = np.empty(len(block), dtype=np.intp)
            cluster[model.codes[k]] = codes
            across = other @ np.swapaxes(slope, 1, 2)
            levels = block - slope @ np.swapaxes(slope, 1, 2) + 0.5 * (across + np.swapaxes(across, 1, 2))
            W.append(np.zeros((m, *block.shape[1:])))
            np.add.at(W[-1], cluster, levels)
        beta = np.array([np.bincount(codes, x * own.rows, m) for x in model.X.T]).reshape(-1, m).T
        logs = np.array([np.bincount(codes, row, m) for row in own.logs], dtype=float).reshape(-1, m).T
        return Scores(self.laplace.by_grouping(W), beta, logs)

    @cached_property
    def _parts(self) -> _Parts:
        model, mode, at = self.laplace, self.mode, self.mode.at
        Q, E = all_blocks(mode.A, mode.factor)
        leverage = model.quadratic(Q)
        bent = -at.third * leverage
        turned = model.spread(backward(mode.factor, forward(mode.factor, model.summed(bent)).white))
        left = bent - at.curvature * turned
        logs = [
            -2.0 * d.value + leverage * d.curvature + turned * d.first
            for d in model.family.in_dispersions(mode.eta, model.rows, model.own(self.logs))
        ]
        rows = np.array(logs).reshape(len(logs), len(left))
        return _Parts(tuple(E), model.summed(left), left - 2.0 * at.first, rows)

    @property
    def W(self) -> tuple[Floats, ...]:
        """∂criterion/∂D_k (p_k, p_k) of covariances of standard columns."""
        return self.first_order.W

    @property
    def gradient(self) -> tuple[Floats, ...]:
        """∂criterion/∂λ_k (p_k, p_k)."""
        return tuple(2.0 * W @ lam for W, lam in zip(self.W, self.roots, strict=True))

    @cached_property
    def working(self) -> At:
        """The Gaussian model of the working response at the mode, whose σ is 1."""
        return self._working(self.mode.at.curvature, self.mode.A)

    @cached_property
    def steady(self) -> At:
        """The same without rows that bend the log density upwards: what steps are taken by."""
        curvature = self.mode.at.curvature
        if (curvature >= 0.0).all():
            return self.working
        curvature = np.maximum(curvature, 0.0)
        return self._working(curvature, self.laplace.weighted(curvature))

    def _working(self, curvature: Floats, A: BlockMatrix) -> At:
        model, mode = self.laplace, self.mode
        weighted = curvature * (mode.eta - model.offset) + mode.at.first
        columns = [*(curvature * x for x in model.X.T), weighted]
        sums = [model.summed(column) for column in columns]
        Xy = tuple(np.concatenate([own[k] for own in sums], axis=2) for k in range(len(model.Z)))
        XW = np.column_stack(columns)
        corner = np.empty((XW.shape[1], XW.shape[1]))
        corner[:-1] = model.X.T @ XW
        corner[-1, :-1] = corner[:-1, -1]
        # no estimate depends on it, but it must not be too small
        least = np.maximum(np.abs(curvature), LEAST_WEIGHT * np.abs(curvature).max())
        corner[-1, -1] = float((weighted**2 / least).sum()) * (1.0 if (curvature >= 0.0).all() else 2.0)
        scaling = replace(model.products.scaling, y=1.0, centre=0.0, inner=np.zeros(len(self.inner_beta)))
        products = replace(model.products, A=A, Xy=Xy, corner=corner, scaling=scaling, rows=None)
        return replace(model.gaussian, products=products).at_standard(self.roots, 1.0)

    @property
    def information(self) -> Floats:
        """About internal β (p, p), XᵀV⁻¹X of the working response."""
        root = self.steady.inner.inverse_root
        return np.linalg.inv(root.T @ root) if len(root) else root

    def dispersion_curvature(self) -> Floats:
        """Of the criterion in log dispersions (n_dispersions,), the mode held, by differences."""
        model, eta, out = self.laplace, self.mode.eta, []
        for k in range(len(self.logs)):
            slopes = []
            for step in (DIFFERENCE, -DIFFERENCE):
                logs = self.logs + step * np.eye(len(self.logs))[k]
                slopes.append(model.family.in_dispersions(eta, model.rows, model.own(logs))[k].value.sum())
            out.append(-(slopes[0] - slopes[1]) / DIFFERENCE)
        return np.array(out)

    @property
    def effects(self) -> tuple[Floats, ...]:
        """Conditional modes (J_k, p_k) by grouping on the user's scale."""
        maps = self.laplace.products.scaling.Z
        return tuple(b[:, :, 0] @ T.T for b, T in zip(self.laplace.by_grouping(self.mode.b), maps, strict=True))

    def modes(self) -> tuple[Modes, ...]:
        """The same with their covariances."""
        return tuple(replace(m, values=b) for m, b in zip(self.working.modes, self.effects, strict=True))


@dataclass(frozen=True, eq=False, repr=False)
class FirstOrder:
    """Derivatives of the criterion: in D_k by grouping, in internal β (p,), and in log dispersions."""

    W: tuple[Floats, ...]
    beta: Floats
    logs: Floats


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """The same of m clusters: in D_k by grouping (m, p_k, p_k), in internal β (m, p), and in log dispersions."""

    W: tuple[Floats, ...]
    beta: Floats
    logs: Floats


@dataclass(frozen=True, eq=False, repr=False)
class _Parts:
    """E (J, p, p) and c (J, p, 1) by factor; what columns of X are multiplied by (n,); slopes in logs (k, n) by row."""

    E: tuple[Floats, ...]
    c: tuple[Floats, ...]
    rows: Floats
    logs: Floats


def _inner(first: Sequence[Floats], second: Sequence[Floats]) -> float:
    return sum(float(np.vdot(a, b)) for a, b in zip(first, second, strict=True))


def _between(first: Sequence[Floats], second: Sequence[Floats], t: float) -> tuple[Floats, ...]:
    return tuple(a + t * (b - a) for a, b in zip(first, second, strict=True))


def make_laplace(spec: ModelSpec, pilot: Pilot) -> Laplace:
    """Put the rows of a model on the scale that its pilot asks for."""
    assert isinstance(spec.family, Generalised)
    working = working_model(spec, pilot)
    products = own_products(working)
    sums = RowSums(working, products)
    offset = np.zeros(spec.n_obs) if spec.design.offset is None else spec.design.offset
    *Zs, columns = (sums.rows[place] for place in sums.places)
    unit = spec.family.unit(response_rows(spec))  # internal β has none
    products = replace(products, scaling=replace(products.scaling, X=unit * products.scaling.X))
    return Laplace(
        spec,
        spec.family,
        Likelihood(working, replace(products, rows=None), "ML"),
        response_rows(spec),
        offset,
        unit * np.ascontiguousarray(columns[:-1].T),
        tuple(Zs),
        tuple(sums.codes),
        sums.pairs,
    )
