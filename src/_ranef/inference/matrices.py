"""Λ, D, V and L at the estimates, sparse; and where Z, ZᵀZ and L are not zero, for which no matrix is made dense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError
from _ranef.inference.engines import products_of
from _ranef.linalg import BlockMatrix, RelatedPlan
from _ranef.results import Fit
from _ranef.spec import ModelMatrices, TermSpec
from _ranef.support.arrays import Floats, Ints
from _ranef.support.remedies import one_of

__all__ = ["Block", "FitMatrices", "Pattern", "matrix_pattern"]

KINDS = ("Z", "ZtZ", "L")

#: name, first index and one past the last
Block = tuple[str, int, int]


@dataclass(frozen=True, eq=False, repr=False)
class FitMatrices(ModelMatrices):
    """The matrices of a model with those that depend on θ̂ and σ̂.

    Attributes
    ----------
    theta : array (n_theta,)
    sigma : float
    """

    theta: Floats
    sigma: float

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

    @property
    def R(self) -> scipy.sparse.csr_array:
        """Covariance of the residuals (n, n): σ²W⁻¹ where they are independent."""
        return scipy.sparse.csr_array(self.sigma**2 * self.spec.residual.covariance())

    @property
    def V(self) -> scipy.sparse.csr_array:
        """Marginal covariance of the response, Z D Zᵀ + R (n, n)."""
        return scipy.sparse.csr_array(self.Z @ self.D @ self.Z.T + self.R)

    @property
    def L(self) -> Floats:
        """Lower Cholesky factor (q, q) of ΛᵀZᵀWZΛ + I, dense: for teaching, not for large q."""
        ZL = self.spec.residual.whitened((self.Z @ self.Lambda).toarray().T)
        return np.linalg.cholesky(ZL @ ZL.T + np.eye(self.Lambda.shape[0]))

    def V_cluster(self, level: str, group: str | None = None) -> pd.DataFrame:
        """Block of V for the rows of one level."""
        rows = self.cluster(level, group).rows
        block = self.V[rows][:, rows].toarray()
        labels = self.spec.design.index[rows]
        return pd.DataFrame(block, index=labels, columns=labels)


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
