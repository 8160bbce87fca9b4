"""Cross-products of the rows, the only thing the likelihood reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import scipy

from _ranef.design import condensed
from _ranef.likelihood.level_sums import Sums, add_up, aliased_fixed, independent_fixed, rescaled, row_sums, with_fixed
from _ranef.likelihood.rotated_rows import Rotated, rotate
from _ranef.likelihood.scaling import Scaling, make_scaling
from _ranef.linalg import (
    AmongLevels,
    AnyPlan,
    BlockMatrix,
    RelatedPlan,
    elimination_order,
    make_plan,
    make_related_plan,
)
from _ranef.spec import ModelSpec, Moments, moments
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load
from _ranef.support.progress import LateBar

__all__ = ["CrossProducts", "arranged", "of_sums", "other_columns", "own_products", "streamed_products", "summed"]

#: rows by whose look all rows are scaled, until their sums are known
SAMPLE = 20_000


@dataclass(frozen=True, eq=False, repr=False)
class CrossProducts:
    """[Z X y]ᵀW[Z X y] on the internal scale, with the plan for eliminating Z.

    Attributes
    ----------
    A : BlockMatrix
        ZᵀWZ, its factors in elimination order.
    Xy : tuple of array (J_k, p_k, p + 1)
        ZᵀW[X y] by factor, in elimination order.
    corner : array (p + 1, p + 1)
        [X y]ᵀW[X y].
    order : tuple of int
        Grouping of the spec that stands at each place of the elimination order.
    plan : Plan or RelatedPlan
    scaling : Scaling
    n_obs : int
    log_weights : float
        Σ log wᵢ.
    mean_square : float
        Of the response as given.
    rows : ModelSpec, optional
        The model whose rows these are, where they are held and few enough to be read again.
    """

    A: BlockMatrix
    Xy: tuple[Floats, ...]
    corner: Floats
    order: tuple[int, ...]
    plan: AnyPlan
    scaling: Scaling
    n_obs: int
    log_weights: float
    mean_square: float
    rows: ModelSpec | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of columns p_k of one level, in elimination order."""
        return self.A.sizes

    @property
    def n_levels(self) -> tuple[int, ...]:
        """Numbers of levels J_k, in elimination order."""
        return self.A.n_levels

    @property
    def among(self) -> tuple[AmongLevels | None, ...]:
        """Known covariances among levels, in elimination order; empty where there are none."""
        return self.plan.among if isinstance(self.plan, RelatedPlan) else ()

    @cached_property
    def rotated(self) -> Rotated | None:
        """The rows, for λ at which these sums have lost their digits; None where they are not at hand."""
        return None if self.rows is None else rotate(self.rows, self.scaling, self.order)

    @property
    def marks(self) -> Floats:
        """A few numbers that other rows would change, and levels in another order."""
        scale, wide = self.scaling, [*self.Xy, *self.A.diag]
        mixed = [float(np.cos(np.arange(array.size)) @ np.ravel(array)) for array in wide]
        others = [scale.centre, scale.y, self.mean_square, self.n_obs, *mixed]
        return np.concatenate([self.corner.ravel(), scale.inner, np.array(others)])

    @property
    def n_fixed(self) -> int:
        """Number of fixed-effect coefficients p."""
        return int(self.corner.shape[0]) - 1


def own_products(spec: ModelSpec) -> CrossProducts:
    """The cross-products of a model of which correlated rows, if any, are not in several chunks."""
    return arranged(spec, summed(spec))


def streamed_products(spec: ModelSpec) -> tuple[ModelSpec, CrossProducts]:
    """Read chunks into cross-products, and leave out the columns of X that turn out to be aliased.

    Where an engine made sums that tell the moments, too, the model keeps both: a file of it then answers as it does.
    """
    stream = spec.design.stream
    told = stream is not None and stream.cells is not None and stream.weights is None
    return of_sums(spec, summed(spec), moments(spec) if told else None)


def of_sums(spec: ModelSpec, sums: Sums, known: Moments | None = None) -> tuple[ModelSpec, CrossProducts]:
    """The same of rows that were read into their sums, with every column of X.

    With `known` moments these and the sums are kept by the model, in the place of rows that are elsewhere.
    """
    kept = independent_fixed(sums, intercept=spec.design.has_intercept)
    if len(kept) < spec.n_fixed:
        spec, sums = spec.with_fixed(kept, aliased_fixed(sums, kept)), with_fixed(sums, kept)
    if known is not None:
        spec = spec.with_sums(sums, known.with_fixed(kept))
    return spec, arranged(spec, sums)


def summed(spec: ModelSpec) -> Sums:
    """The sums over all rows of a model, on a scaling found by some of them."""
    if spec.summed is not None:
        known: Sums = spec.summed.sums
        return known
    if len(spec.groupings) > 1:  # which scipy loads when they are first asked for, and Ctrl-C must not leave half made
        load("scipy.linalg")
        load("scipy.sparse")
    scaling = make_scaling(spec.thinned(SAMPLE))
    if (cells := None if spec.design.stream is None else spec.design.stream.cells) is not None:
        few = row_sums(spec.with_design(condensed(spec.design, cells, scaling.centre).design), scaling)
        return replace(
            few, n_obs=spec.n_obs, weights=cells.weights, log_weights=cells.log_weights, squares=cells.squares
        )
    if (total := spec.reduced(partial(row_sums, scaling=scaling), Sums.merge)) is not None:
        return total
    with LateBar("Reading rows", "row", spec.n_obs) as bar:
        return add_up(_counted(row_sums(part, scaling), bar) for part in spec.parts())


def _counted(sums: Sums, bar: LateBar) -> Sums:
    bar.update(sums.n_obs)
    return sums


def arranged(spec: ModelSpec, sums: Sums) -> CrossProducts:
    """Sums put on their own scaling and in the order of elimination."""
    sums = rescaled(sums, spec.terms) if sums.n_obs > SAMPLE else sums
    A = BlockMatrix(sums.diag, sums.pairs)
    order = elimination_order(A)
    A = A.permuted(order)
    plan = make_related_plan(A, [spec.groupings[k].among for k in order]) if spec.related else make_plan(A)
    return CrossProducts(
        A,
        tuple(sums.Xy[k] for k in order),
        sums.corner,
        tuple(order),
        plan,
        sums.scaling,
        sums.n_obs,
        sums.log_weights,
        sums.squares / sums.n_obs,
        spec if spec.design.stream is None and not spec.related else None,
    )


def other_columns(products: CrossProducts, spec: ModelSpec, B: Floats) -> CrossProducts:
    """The cross-products of a model with columns XB (n, r) in the place of X, without a look at the rows.

    What is taken out of y along columns that are gone is put back.

    Parameters
    ----------
    products : CrossProducts
    spec : ModelSpec
        The new model; an intercept stands first.
    B : array (p, r)
    """
    scaling, p = products.scaling, products.n_fixed
    inward = scipy.linalg.solve_triangular(scaling.X, np.column_stack([B, np.eye(p)[:, :1]]))
    Q, R = np.linalg.qr(inward[:, :-1])
    kept = spec.design.has_intercept
    inner = scaling.inner + (0.0 if kept else scaling.centre) * inward[:, -1]
    own = Q.T @ inner
    M = np.block([[Q, (inner - Q @ own)[:, None] / scaling.y], [np.zeros((1, Q.shape[1])), np.ones((1, 1))]])
    root = scipy.linalg.solve_triangular(R, np.eye(len(R)))
    return replace(
        products,
        Xy=tuple(part @ M for part in products.Xy),
        corner=M.T @ products.corner @ M,
        scaling=replace(scaling, X=root, inner=own, centre=scaling.centre if kept else 0.0),
        rows=None if products.rows is None else spec,
    )
