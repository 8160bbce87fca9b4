"""Λ, D, V and L at the estimates, sparse; and where Z, ZᵀZ and L are not zero, for which no matrix is made dense."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError, NotAvailableError
from _ranef.inference.engines import products_of
from _ranef.linalg import BlockMatrix, RelatedPlan
from _ranef.results import Fit
from _ranef.spec import Cluster, Maker, ModelMatrices, TermSpec
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "Block",
    "FitCluster",
    "FitMatrices",
    "LinkedCluster",
    "LinkedMatrices",
    "Pattern",
    "PenalizedLeastSquares",
    "matrix_pattern",
]

KINDS = ("Z", "ZtZ", "L")

#: name, first index and one past the last
Block = tuple[str, int, int]


@dataclass(frozen=True)
class FitCluster(Cluster):
    """Rows of one level, with covariances at the estimates.

    Attributes
    ----------
    D : DataFrame (q, q)
        Of the level's own random effects.
    R, V : DataFrame (n_j, n_j)
        Of the residuals and of the responses of its rows; V has the effects of all factors.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    >>> one = fit.matrices.cluster("308")
    >>> one.D.round(2)
               Intercept   Days
    Intercept     612.09   9.60
    Days            9.60  35.07
    >>> V = one.Z.to_numpy() @ one.D.to_numpy() @ one.Z.to_numpy().T + one.R.to_numpy()
    >>> bool(abs(V - one.V.to_numpy()).max() < 1e-9)
    True
    """

    D: pd.DataFrame
    R: pd.DataFrame
    V: pd.DataFrame


@dataclass(frozen=True)
class LinkedCluster(Cluster):
    """Rows of one level of a response with a link, at the conditional mode.

    Attributes
    ----------
    D : DataFrame (q, q)
        Of the level's own random effects.
    W : DataFrame (n_j, n_j)
        Weights of its rows.
    z : Series (n_j,)
        Their working responses.
    V_working : DataFrame (n_j, n_j)
        Covariance of these with W held.

    Examples
    --------
    >>> import ranef
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
    >>> one = fit.matrices.cluster("1")
    >>> one.D.round(3).to_numpy().tolist(), one.W.shape, one.V_working.shape
    ([[0.412]], (4, 4), (4, 4))
    >>> one.z.round(2).tolist()
    [-1.58, -0.91, 0.96, -3.48]
    """

    D: pd.DataFrame
    W: pd.DataFrame
    z: pd.Series[float]
    V_working: pd.DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class PenalizedLeastSquares:
    """‖W½(y − ZΛu − Xβ)‖² + ‖u‖² as ordinary least squares (Bates et al. 2015, eq. 13 to 15).

    Of a response with a link y is the working response, freed of Xβ̂, and u alone is found.

    Attributes
    ----------
    response : array (n + q,)
        W½y, freed of the offset, and a zero for every u: the pseudo-data.
    columns : array (n + q, q + p)
        [W½ZΛ, W½X; I, 0].
    names : tuple of str
        Of the columns.
    """

    response: Floats
    columns: Floats
    names: tuple[str, ...]

    def __repr__(self) -> str:
        m, k = self.columns.shape
        return f"<PenalizedLeastSquares: {m} rows of data and pseudo-data, {k} columns>"

    @property
    def left(self) -> Floats:
        """Left-hand side (q + p, q + p) of the normal equations."""
        return self.columns.T @ self.columns

    @property
    def right(self) -> Floats:
        """Their right-hand side (q + p,)."""
        return self.columns.T @ self.response

    @property
    def solution(self) -> pd.Series[float]:
        """û and β̂ by name."""
        return pd.Series(np.linalg.solve(self.left, self.right), index=list(self.names))

    @property
    def rss(self) -> float:
        """The penalised residual sum of squares at the solution, r²(θ)."""
        return float(((self.response - self.columns @ self.solution.to_numpy()) ** 2).sum())


@dataclass(frozen=True, eq=False, repr=False)
class EffectMatrices(ModelMatrices):
    """The matrices of a model with those of its random effects at θ̂, and of the least squares that give them.

    Attributes
    ----------
    theta : array (n_theta,)
    sigma : float
    """

    theta: Floats
    sigma: float

    @abstractmethod
    def _whitened(self, columns: Floats) -> Floats:
        """W½ times columns (n, k)."""

    @cached_property
    def Lambda(self) -> scipy.sparse.csr_array:
        """Relative Cholesky factor Λ (q, q): Var b = σ²ΛΛᵀ, in the order of Z's columns."""
        blocks = []
        for t in self.spec.terms:
            lam = scipy.sparse.csr_array(t.structure.root(self.theta[t.theta]))
            levels = self.spec.groupings[t.grouping].n_levels
            known = self.spec.groupings[t.grouping].among
            among = scipy.sparse.eye_array(levels) if known is None else scipy.sparse.csr_array(known.dense_root)
            blocks.append(scipy.sparse.kron(among, lam))
        return scipy.sparse.csr_array(scipy.sparse.block_diag(blocks)) if blocks else scipy.sparse.csr_array((0, 0))

    @property
    def D(self) -> scipy.sparse.csr_array:
        """Covariance of the random effects, σ²ΛΛᵀ (q, q)."""
        return scipy.sparse.csr_array(self.sigma**2 * (self.Lambda @ self.Lambda.T))

    @cached_property
    def L(self) -> Floats:
        """Lower Cholesky factor (q, q) of ΛᵀZᵀWZΛ + I, dense: for teaching, not for large q."""
        ZL = self._white("ZΛ")
        return np.linalg.cholesky(ZL.T @ ZL + np.eye(self.Lambda.shape[0]))

    @cached_property
    def R_ZX(self) -> Floats:
        """L⁻¹ΛᵀZᵀWX (q, p): the block of the Cholesky factor beside L (Bates et al. 2015, eq. 18)."""
        return np.asarray(scipy.linalg.solve_triangular(self.L, self._white("ZΛ").T @ self._white("X"), lower=True))

    @cached_property
    def R_X(self) -> Floats:
        """Upper triangle (p, p) with R_XᵀR_X = XᵀWX − R_ZXᵀR_ZX: σ²(R_XᵀR_X)⁻¹ is the covariance of β̂ given θ̂."""
        X = self._white("X")
        return np.linalg.cholesky(X.T @ X - self.R_ZX.T @ self.R_ZX).T

    @property
    def _u_names(self) -> tuple[str, ...]:
        return tuple(f"u {name}" for name in self.Z_names)

    def _white(self, which: str) -> Floats:
        """W½ZΛ (n, q) or W½X (n, p)."""
        return self._whitened(self.spec.held.design.X if which == "X" else (self.Z @ self.Lambda).toarray())

    def _makers(self) -> dict[str, Callable[[int], Maker]]:
        if not self.spec.terms:
            return super()._makers()
        names, fixed = self.Z_names, self.spec.design.fixed_names
        return super()._makers() | {
            "Lambda": lambda _: (self.Lambda, names, names),
            "template": lambda k: (self._template(k), self.spec.terms[k].columns, self.spec.terms[k].columns),
            "D": lambda _: (self.D, names, names),
            "L": lambda _: (self.L, names, names),
            "R_ZX": lambda _: (self.R_ZX, names, fixed),
            "R_X": lambda _: (self.R_X, fixed, fixed),
        }

    def _template(self, number: int) -> Floats:
        """λ (p, p) of a term, which Λ repeats for every level."""
        term = self.spec.terms[number]
        return np.asarray(term.structure.root(self.theta[term.theta]))

    def _own_D(self, level: str, group: str | None) -> pd.DataFrame:
        """D of one level's own effects."""
        found = [k for k, g in enumerate(self.spec.groupings) if group in (None, g.name) and str(level) in g.levels]
        lam = self.spec.lambdas(self.theta)[found[0]]
        columns = list(self.spec.groupings[found[0]].columns)
        return pd.DataFrame(self.sigma**2 * lam @ lam.T, index=columns, columns=columns)

    def _of_rows(self, rows: Ints) -> Floats:
        """ZDZᵀ of some rows."""
        Z = self.Z[rows]
        return np.asarray((Z @ self.D @ Z.T).toarray())


@dataclass(frozen=True, eq=False, repr=False)
class FitMatrices(EffectMatrices):
    """The matrices of a model with those that depend on θ̂ and σ̂.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> m = fit.matrices
    >>> m.y.shape, m.X.shape, m.Z.shape, m.Z_names[0], m.terms[0].J.shape
    ((20,), (20, 1), (20, 4), 'operator[a].Intercept', (20, 4))
    >>> m.D.toarray().round(3)[0].tolist(), m.Lambda.toarray().round(3)[0].tolist()
    ([0.068, 0.0, 0.0, 0.0], [0.8, 0.0, 0.0, 0.0])
    >>> V = m.Z @ m.D @ m.Z.T + m.R
    >>> bool(abs(V - m.V).max() < 1e-12), m.V_cluster("a").shape
    (True, (5, 5))
    >>> inverse = m.R_X.T @ m.R_X
    >>> bool(abs(fit.sigma**2 / inverse - fit.vcov).to_numpy().max() < 1e-10)
    True
    >>> m.L.shape, m.R_ZX.shape
    ((4, 4), (4, 1))
    >>> m.names
    ('y', 'X', 'Z', 'J', 'X_i', 'Z_i', 'Lambda', 'template', 'D', 'L', 'R_ZX', 'R_X', 'R', 'V')
    >>> m.named("R_ZX").frame.index.tolist()[0], m.cluster("a").D.round(3).to_numpy().tolist()
    ('operator[a].Intercept', [[0.068]])
    >>> print(m.show("Lambda"))
    Λ: 4 × 4
                           operator[a].Intercept  operator[b].Intercept  operator[c].Intercept  operator[d].Intercept
    operator[a].Intercept                 0.8005                      .                      .                      .
    operator[b].Intercept                      .                 0.8005                      .                      .
    operator[c].Intercept                      .                      .                 0.8005                      .
    operator[d].Intercept                      .                      .                      .                 0.8005
    """

    @property
    def R(self) -> scipy.sparse.csr_array:
        """Covariance of the residuals (n, n): σ²W⁻¹ where they are independent."""
        return scipy.sparse.csr_array(self.sigma**2 * self.spec.held.residual.covariance())

    @property
    def V(self) -> scipy.sparse.csr_array:
        """Marginal covariance of the response, Z D Zᵀ + R (n, n)."""
        return scipy.sparse.csr_array(self.Z @ self.D @ self.Z.T + self.R)

    def _whitened(self, columns: Floats) -> Floats:
        return self.spec.held.residual.whitened(columns.T).T

    @cached_property
    def penalized(self) -> PenalizedLeastSquares:
        """The least-squares problem of u and β at θ̂, as data and as its normal equations; dense, for teaching.

        Examples
        --------
        >>> import numpy as np
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> problem = fit.matrices.penalized
        >>> found = np.linalg.lstsq(problem.columns, problem.response)[0]
        >>> bool(np.allclose(found[-1], fit.fixef))
        True
        """
        q, p, d = self.Lambda.shape[0], self.spec.n_fixed, self.spec.held.design
        y = d.y if d.offset is None else d.y - d.offset
        response = np.append(self.spec.held.residual.whitened(y), np.zeros(q))
        below = np.hstack([np.eye(q), np.zeros((q, p))])
        columns = np.vstack([np.hstack([self._white("ZΛ"), self._white("X")]), below])
        return PenalizedLeastSquares(response, columns, (*self._u_names, *d.fixed_names))

    def _makers(self) -> dict[str, Callable[[int], Maker]]:
        return super()._makers() | {
            "R": lambda _: (self.R, self.y.index, self.y.index),
            "V": lambda _: (self.V, self.y.index, self.y.index),
        }

    def cluster(self, level: str, group: str | None = None) -> FitCluster:
        """yⱼ, Xⱼ, Zⱼ of one level, with the covariances of its own effects, of its residuals and of its rows.

        Raises
        ------
        DesignError
            If no grouping factor has that level, or several have and `group` is not given.
        """
        own = super().cluster(level, group)
        labels = self.y.index[own.rows]
        R = self.R[own.rows][:, own.rows].toarray()
        blocks = (pd.DataFrame(block, index=labels, columns=labels) for block in (R, self._of_rows(own.rows) + R))
        return FitCluster(own.level, own.rows, own.y, own.X, own.Z, self._own_D(level, group), *blocks)

    def V_cluster(self, level: str, group: str | None = None) -> pd.DataFrame:
        """Block of V for the rows of one level."""
        return self.cluster(level, group).V


@dataclass(frozen=True, eq=False, repr=False)
class LinkedMatrices(EffectMatrices):
    """The matrices of a model of a response with a link, at the conditional mode of its random effects; σ is 1.

    Attributes
    ----------
    weights : array (n,)
        ω, minus the second derivatives of the log density of rows in η.
    working : array (n,)
        Working responses z = η + g/ω.
    fixed : array (n,)
        Xβ̂ with the offset.

    Examples
    --------
    >>> import ranef
    >>> import numpy as np
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
    >>> m = fit.matrices
    >>> m.y.shape, m.X.shape, m.Z.shape, m.Z_names[0], m.terms[0].J.shape
    ((56,), (56, 4), (56, 15), 'herd[1].Intercept', (56, 15))
    >>> m.D.diagonal()[:2].round(3).tolist(), m.Lambda.diagonal()[:2].round(3).tolist()
    ([0.412, 0.412], [0.642, 0.642])
    >>> m.W.diagonal()[:2].round(2).tolist(), m.z.iloc[:2].round(2).tolist()
    ([2.99, 1.46], [-1.58, -0.91])
    >>> one = m.cluster("1")
    >>> Z, D = one.Z.to_numpy(), one.D.to_numpy()
    >>> bool(np.allclose(Z @ D @ Z.T + np.linalg.inv(one.W), one.V_working)), m.V_working.shape
    (True, (56, 56))
    >>> m.L.shape, m.R_ZX.shape, m.R_X.shape
    ((15, 15), (15, 4), (4, 4))
    >>> m.names[:5], m.named("D").frame.shape
    (('y', 'X', 'Z', 'J', 'X_i'), (15, 15))
    >>> m.V  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ranef.NotAvailableError: binomial responses have no V in closed form: ...
    """

    weights: Floats
    working: Floats
    fixed: Floats

    @property
    def W(self) -> scipy.sparse.csr_array:
        """Weights ω of rows at the conditional mode, diagonal (n, n)."""
        return scipy.sparse.csr_array(scipy.sparse.diags_array(self.weights))

    @property
    def z(self) -> pd.Series[float]:
        """Working responses (n,)."""
        return pd.Series(self.working, index=self.y.index, name="z")

    @property
    def V_working(self) -> scipy.sparse.csr_array:
        """Covariance of the working response with W held, Z D Zᵀ + W⁻¹ (n, n)."""
        inverse = scipy.sparse.diags_array(1.0 / self.weights)
        return scipy.sparse.csr_array(self.Z @ self.D @ self.Z.T + inverse)

    @property
    def V(self) -> scipy.sparse.csr_array:
        """Not there.

        Raises
        ------
        NotAvailableError
            That says what stands in its place.
        """
        raise NotAvailableError(
            f"{self.spec.family.label} responses have no V in closed form: it averages over the random effects, "
            "through the link. V_working is that of the working response at the conditional mode; simulate() draws "
            "responses, whose covariance can be taken."
        )

    def _whitened(self, columns: Floats) -> Floats:
        return np.sqrt(self.weights)[:, None] * columns

    @cached_property
    def penalized(self) -> PenalizedLeastSquares:
        """The least-squares problem of u at θ̂ and β̂: the last step of penalised iteratively reweighted least squares.

        β̂ is held: Laplace's approximation counts how W changes with it, which least squares do not.

        Examples
        --------
        >>> import numpy as np
        >>> import ranef
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
        >>> u = fit.matrices.penalized.solution.to_numpy()
        >>> bool(np.allclose(fit.matrices.Lambda @ u, fit.ranef()["estimate"]))
        True
        """
        q, aim = self.Lambda.shape[0], np.sqrt(self.weights) * (self.working - self.fixed)
        columns = np.vstack([self._white("ZΛ"), np.eye(q)])
        return PenalizedLeastSquares(np.append(aim, np.zeros(q)), columns, self._u_names)

    def _makers(self) -> dict[str, Callable[[int], Maker]]:
        return super()._makers() | {
            "W": lambda _: (self.W, self.y.index, self.y.index),
            "z": lambda _: (self.working[:, None], self.y.index, ("z",)),
            "V_working": lambda _: (self.V_working, self.y.index, self.y.index),
        }

    def cluster(self, level: str, group: str | None = None) -> LinkedCluster:
        """yⱼ, Xⱼ, Zⱼ of one level, its working responses with their weights, and what these vary by.

        Raises
        ------
        DesignError
            If no grouping factor has that level, or several have and `group` is not given.
        """
        own = super().cluster(level, group)
        labels, weights = self.y.index[own.rows], self.weights[own.rows]
        blocks = (np.diag(weights), self._of_rows(own.rows) + np.diag(1.0 / weights))
        W, V = (pd.DataFrame(block, index=labels, columns=labels) for block in blocks)
        z = self.z.iloc[own.rows]
        return LinkedCluster(own.level, own.rows, own.y, own.X, own.Z, self._own_D(level, group), W, z, V)


@dataclass(frozen=True, eq=False)
class Pattern:
    """The places of a matrix that are not zero by structure.

    Attributes
    ----------
    name : str
        ``"Z"``, ``"ZtZ"`` or ``"L"``.
    shape : (int, int)
    rows, cols : array of int (nnz,)
    row_blocks, col_blocks : tuple of (str, int, int)
        Name, first index and one past the last of the stretch of each grouping factor or term; none for rows of data.
    """

    name: str
    shape: tuple[int, int]
    rows: Ints
    cols: Ints
    row_blocks: tuple[Block, ...]
    col_blocks: tuple[Block, ...]

    @property
    def filled(self) -> float:
        """Share of the places that are not zero; of the lower triangle for L."""
        m, n = self.shape
        places = m * (m + 1) / 2 if self.name == "L" else m * n
        return len(self.rows) / max(places, 1)


def matrix_pattern(fit: Fit, which: str) -> Pattern:
    """The pattern of Z or ZᵀZ (columns term by term, level by level), or of L (factors in the order of elimination).

    L is the lower Cholesky factor of ΛᵀZᵀWZΛ + I as this package factors it: nested factors first, which fill
    nothing in, then one crossed factor, and a dense tail of the others. The pattern is read from the plan of
    elimination, not from numbers: it is that of any θ.

    Raises
    ------
    DesignError
        For another name, or a model without random effects.
    """
    one_of("which", which, KINDS)
    if not fit.spec.terms:
        raise DesignError("There is no Z to draw: the model has no (… | group) term.")
    if which == "L":
        return _factor_pattern(fit)
    Z = ModelMatrices(fit.spec).Z
    sizes = [(_term_name(t), fit.spec.groupings[t.grouping].n_levels * len(t.columns)) for t in fit.spec.terms]
    if which == "Z":
        return Pattern("Z", Z.shape, *_places(Z), (), _stretches(sizes))
    ones = scipy.sparse.csr_array((np.ones(Z.nnz), Z.indices, Z.indptr), shape=Z.shape)
    products = scipy.sparse.csr_array(ones.T @ ones)
    return Pattern("ZtZ", products.shape, *_places(products), _stretches(sizes), _stretches(sizes))


def _places(matrix: scipy.sparse.csr_array) -> tuple[Ints, Ints]:
    at = scipy.sparse.coo_array(matrix)
    return at.row.astype(np.intp), at.col.astype(np.intp)


def _term_name(term: TermSpec) -> str:
    return term.group if term.columns == ("Intercept",) else f"{term.group}: {', '.join(term.columns)}"


def _stretches(sizes: Sequence[tuple[str, int]]) -> tuple[Block, ...]:
    ends = np.cumsum([0, *(n for _, n in sizes)]).tolist()
    return tuple((name, a, b) for (name, _), a, b in zip(sizes, ends, ends[1:], strict=False))


def _factor_pattern(fit: Fit) -> Pattern:
    products = products_of({"": fit})
    A, plan = products.A, products.plan
    names = [fit.spec.groupings[k].name for k in products.order]
    blocks = _stretches([(name, J * p) for name, J, p in zip(names, A.n_levels, A.sizes, strict=True)])
    starts = [start for _, start, _ in blocks]
    places: list[tuple[Ints, Ints]] = []
    if isinstance(plan, RelatedPlan):
        return Pattern("L", (blocks[-1][2],) * 2, *plan.pattern.lower(), blocks, blocks)
    for step in plan.nested:
        places.append(_diagonal(A, step.k, starts))
        levels = np.arange(A.n_levels[step.k])
        places += [_blocks(step.parents[l], levels, A.sizes, starts, (l, step.k)) for l in step.rest]
    if plan.crossed:
        k, rest = plan.crossed.k, plan.crossed.rest
        places.append(_diagonal(A, k, starts))
        places += [_blocks(A.pairs[k, l].cols, A.pairs[k, l].rows, A.sizes, starts, (l, k)) for l in rest]
        tail = blocks[k][2]  # where the other factors stand side by side, filled in
        row, col = np.tril_indices(plan.crossed.size)
        places.append((tail + row, tail + col))
    rows, cols = (np.concatenate(part) for part in zip(*places, strict=True))
    total = blocks[-1][2]
    return Pattern("L", (total, total), rows, cols, blocks, blocks)


def _diagonal(A: BlockMatrix, k: int, starts: Sequence[int]) -> tuple[Ints, Ints]:
    """Places of the lower triangles on the diagonal of one factor."""
    p = A.sizes[k]
    row, col = np.tril_indices(p)
    first = starts[k] + p * np.arange(A.n_levels[k])[:, None]
    return (first + row).ravel(), (first + col).ravel()


def _blocks(
    rows: Ints, cols: Ints, sizes: Sequence[int], starts: Sequence[int], pair: tuple[int, int]
) -> tuple[Ints, Ints]:
    """Places of full blocks at levels `rows` of one factor and `cols` of another."""
    (p, q), (first, second) = ((s[pair[0]], s[pair[1]]) for s in (sizes, starts))
    row, col = np.indices((p, q)).reshape(2, -1)
    return (first + p * rows[:, None] + row).ravel(), (second + q * cols[:, None] + col).ravel()
