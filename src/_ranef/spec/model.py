"""The intermediate representation: one design with its covariance structures, which both engines compile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NoReturn, TypeVar

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from _ranef import residuals
from _ranef.design import Design, RandomDesign, Summed, gathered, reduced_parts, row_parts, sample_rows, without_rows
from _ranef.errors import DesignError
from _ranef.linalg import AmongLevels
from _ranef.residuals import (
    CorrelationFunction,
    Residual,
    RowCorrelation,
    RowVariance,
    VarianceFunction,
)
from _ranef.spec.response import Family, Gaussian, family_of
from _ranef.structures import STRUCTURES, Structure
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = ["Grouping", "ModelSpec", "TermSpec", "check_responses", "model_spec", "with_response"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class TermSpec:
    """One random-effects term.

    Attributes
    ----------
    group : str
        Name of the grouping factor.
    columns : tuple of str
        Names of its p columns.
    structure : Structure
        Of the covariance of one level's effects.
    theta : slice
        Where its parameters stand in θ.
    grouping, start : int
        Which grouping holds it, and its first column there.
    source : int
        Its place among the terms of the design, which are as written.
    text : str
        The term as the user wrote it.
    """

    group: str
    columns: tuple[str, ...]
    structure: Structure
    theta: slice
    grouping: int
    start: int
    source: int
    text: str

    @property
    def where(self) -> slice:
        """Columns of this term within its grouping."""
        return slice(self.start, self.start + len(self.columns))


@dataclass(frozen=True)
class Grouping:
    """One grouping factor with the columns of all its terms.

    Attributes
    ----------
    name : str
    levels : array of str (J,)
    codes : array of int (n_obs,)
    columns : tuple of str (p,)
    Z : array (n_obs, p)
        The dense columns; the indicator of the level is never built.
    root : array (J, J), optional
        L of a known covariance K = LLᵀ among the levels: Var b = K ⊗ Σ. Without it they are independent.
    inverse : sparse (J, J), optional
        K⁻¹ in the place of L.
    """

    name: str
    levels: NDArray[np.object_]
    codes: Ints
    columns: tuple[str, ...]
    Z: Floats
    root: Floats | None = None
    inverse: scipy.sparse.csr_array | None = None

    @cached_property
    def unit(self) -> float:
        """Mean variance of a level for a Σ of one: 1, or that of a known K, whose unit is thus nobody's concern."""
        return 1.0 if self.among is None else float(self.among.variances.mean())

    @cached_property
    def among(self) -> AmongLevels | None:
        """The known covariance."""
        return None if self.root is None and self.inverse is None else AmongLevels(self.root, self.inverse)

    @property
    def n_levels(self) -> int:
        """Number of levels J."""
        return len(self.levels)


@dataclass(frozen=True)
class ModelSpec:
    """Everything both engines need, and nothing an engine computed.

    Attributes
    ----------
    design : Design
    terms : tuple of TermSpec
        In lme4's order: by decreasing number of levels, ties as written; θ is laid out in this order.
    groupings : tuple of Grouping
        One for each grouping factor, in order of its first term.
    sigma : float or None
        A residual standard deviation that is known.
    family : Family
        Distribution of the response; files have it with the draws of a posterior.
    variance : RowVariance, optional
        How residual variances depend on parameters ρ, besides the weights.
    correlation : RowCorrelation, optional
        How residuals are correlated, by the last of the parameters ρ.
    rho : array (n_rho,), optional
        Those parameters, where they are known.
    """

    design: Design
    terms: tuple[TermSpec, ...]
    groupings: tuple[Grouping, ...]
    sigma: float | None = None
    family: Family = field(default=Gaussian(), metadata={"saved": False})
    variance: RowVariance | None = None
    correlation: RowCorrelation | None = None
    rho: Floats | None = None

    @property
    def n_obs(self) -> int:
        """Number of rows used."""
        return self.design.n_obs

    @property
    def n_fixed(self) -> int:
        """Number of fixed-effect coefficients (rank of X)."""
        return len(self.design.fixed_names)

    @property
    def n_theta(self) -> int:
        """Number of variance parameters besides σ."""
        return sum(t.structure.n_theta for t in self.terms)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """All variance parameters in one row: θ, those of residual variances, and σ unless it is known."""
        return (*self.theta_names, *self.rho_names, *(("sigma",) if self.sigma is None else ()))

    @property
    def rho_names(self) -> tuple[str, ...]:
        """The parameters ρ of residual variances and correlations."""
        return tuple(name for part in (self.variance, self.correlation) if part is not None for name in part.names)

    @property
    def rho_start(self) -> Floats:
        """The first of the values of ρ (n_rho,) from which estimation begins."""
        parts = [part.starts[0] for part in (self.variance, self.correlation) if part is not None]
        return np.concatenate([np.zeros(0), *parts])

    def residual_prior_words(self, given: Collection[str] = ()) -> list[str]:
        """Default priors of the parameters ρ, a line each, and what a σ that is not known stands for beside them.

        Of those that are `given` priors by name they say nothing.
        """
        varies = self.variance is not None and self.variance.names and self.sigma is None
        mean = ["sigma stands for the geometric mean of the rows' standard deviations"] if varies else []
        return [*mean, *self.residual.prior_words(given)]

    @property
    def n_correlation_columns(self) -> int:
        """How many of the last of what the design reads besides are the correlation's."""
        return 0 if self.correlation is None else len(self.correlation.function.reads)

    @property
    def sigma_afar(self) -> bool:
        """Whether σ is the standard deviation of no row: of one whose covariate is one, or zero, as nlme has it."""
        return self.sigma is None and self.variance is not None and self.variance.of_covariate

    @property
    def structured(self) -> bool:
        """Whether residual variances or correlations are more than weights."""
        return self.variance is not None or self.correlation is not None

    @cached_property
    def residual(self) -> Residual:
        """How residuals vary from row to row, and together."""
        return Residual(self.n_obs, self.design.weights, self.variance, self.correlation, self.rho)

    def parts(self) -> Iterator[ModelSpec]:
        """The model with its rows: itself, or one part after the other where rows are read in chunks."""
        return (self.with_design(part) for part in row_parts(self.design))

    def reduced(self, work: Callable[[ModelSpec], Result], merge: Callable[[Result, Result], Result]) -> Result | None:
        """What `work` makes of the rows, part by part on the workers where they stand; None where they do not."""
        if self.design.stream is None:
            return None
        bare = self.with_design(without_rows(self.design))
        return reduced_parts(self.design, partial(_of_part, bare, work), merge)

    @cached_property
    def held(self) -> ModelSpec:
        """The model with its rows in memory, read again where they are in chunks."""
        return self.with_design(gathered(self.design))

    def thinned(self, most: int) -> ModelSpec:
        """The same model with at most `most` of its rows, evenly chosen, in memory."""
        return self.with_design(sample_rows(self.design, most))

    @property
    def summed(self) -> Summed | None:
        """What stands for rows that are elsewhere; None where there is none of these columns."""
        own = None if self.design.stream is None else self.design.stream.summed
        return own if own is not None and own.columns == _columns(self.design) else None

    def with_sums(self, sums: Any, moments: Any) -> ModelSpec:
        """The model with what stands for its rows, which are elsewhere."""
        design = self.design
        assert design.stream is not None
        own = Summed(sums, moments, _columns(design))
        return self.with_design(replace(design, stream=replace(design.stream, summed=own)))

    def with_fixed(self, kept: Ints, aliases: Floats) -> ModelSpec:
        """The model without the fixed-effects columns that are not `kept`; for rows that are read in chunks.

        `aliases` (len(kept), d) are the combinations of the columns kept that the others are.
        """
        d = self.design
        names = tuple(d.fixed_names[k] for k in kept)
        encoding = replace(d.encoding, kept=kept, aliases=np.asarray(aliases, dtype=np.float64))
        dropped = tuple(name for name in d.fixed_names if name not in names)
        return self.with_design(
            replace(d, fixed_names=names, dropped=dropped, assign=d.assign[kept], encoding=encoding)
        )

    def with_family(self, family: Family | str) -> ModelSpec:
        """The model with another distribution of the response, or itself."""
        own = family if isinstance(family, Family) else family_of(family)
        return self if own == self.family else replace(self, family=own)

    def with_rho(self, rho: Floats | None) -> ModelSpec:
        """The model with known parameters of its residual variances and correlations, or with unknown ones again."""
        known = np.zeros(0) if self.structured and not self.rho_names else rho
        return replace(self, rho=None if known is None else np.array(known, dtype=np.float64))

    def with_fitted(self, fitted: Floats) -> ModelSpec:
        """The model with the fitted values (n,) as what its residual variance reads, where it reads them."""
        return self if self.variance is None else replace(self, variance=self.variance.updated(fitted))

    def with_design(self, design: Design) -> ModelSpec:
        """The model of another design of the same rows, or of some: what is known of levels and residuals stays."""
        if design is self.design:
            return self
        among = {g.name: g.among for g in self.groupings}
        spec = model_spec(design, self.sigma).with_family(self.family).with_among(among)
        if not self.structured:
            return spec
        if design.stream is not None:
            return replace(spec, variance=self.variance, correlation=self.correlation, rho=self.rho)
        if self.design.stream is not None:
            split = len(design.others) - self.n_correlation_columns
            return replace(
                spec,
                variance=None if self.variance is None else self.variance.on(design.others[:split]),
                correlation=None if self.correlation is None else self.correlation.on(design.others[split:]),
                rho=self.rho,
            )
        rows = np.searchsorted(self.design.rows, design.rows)
        return replace(
            spec,
            variance=None if self.variance is None else self.variance.taken(rows),
            correlation=None if self.correlation is None else self.correlation.taken(rows),
            rho=self.rho,
        )

    def with_among(self, among: Mapping[str, AmongLevels | None]) -> ModelSpec:
        """The model with known covariances among levels of some groupings."""
        known = {name: own for name, own in among.items() if own is not None}
        groupings = [
            replace(g, root=known[g.name].root, inverse=known[g.name].inverse) if g.name in known else g
            for g in self.groupings
        ]
        return replace(self, groupings=tuple(groupings)) if known else self

    @property
    def related(self) -> bool:
        """Whether levels of some grouping have a known covariance."""
        return any(g.among is not None for g in self.groupings)

    def lambdas(self, theta: Floats) -> tuple[Floats, ...]:
        """Block-diagonal λ_k (..., p_k, p_k) of every grouping at `theta` (..., n_theta)."""
        out = tuple(np.zeros((*theta.shape[:-1], len(g.columns), len(g.columns))) for g in self.groupings)
        for t in self.terms:
            out[t.grouping][..., t.where, t.where] = t.structure.root(theta[..., t.theta])
        return out

    def theta_of(self, lambdas: Sequence[Floats]) -> Floats:
        """Inverse of :meth:`lambdas`, for any square roots of the same covariances."""
        parts = [t.structure.closest(lambdas[t.grouping][..., t.where, t.where]) for t in self.terms]
        return np.concatenate(parts, axis=-1) if parts else np.zeros(0)

    def times(self, theta: Floats, factor: Floats) -> Floats:
        """θ (..., n_theta) of λ times `factor` (...)."""
        out = np.array(theta, dtype=np.float64)
        for t in self.terms:
            scales = slice(t.theta.start, t.theta.stop - len(t.structure.shapes))
            out[..., scales] *= np.asarray(factor)[..., None]
        return out

    def pull_back(self, theta: Floats, gradients: Sequence[Floats]) -> Floats:
        """∂/∂θ (n_theta,) from ∂/∂λ_k (p_k, p_k) at `theta`."""
        return np.concatenate(
            [t.structure.pull_back(theta[t.theta], gradients[t.grouping][t.where, t.where]) for t in self.terms]
        )

    def root_derivatives(self, theta: Floats) -> list[tuple[TermSpec, Floats]]:
        """For every entry of `theta` (..., n_theta) its term, and ∂λ_k (..., p_k, p_k) of its grouping."""
        out: list[tuple[TermSpec, Floats]] = []
        for t in self.terms:
            p = len(self.groupings[t.grouping].columns)
            own = t.structure.jacobian(theta[..., t.theta])
            whole = np.zeros((*own.shape[:-2], p, p))
            whole[..., t.where, t.where] = own
            out += [(t, whole[..., i, :, :]) for i in range(t.structure.n_theta)]
        return out

    @cached_property
    def on_diagonal(self) -> Bools:
        """Which entries of θ (n_theta,) scale a column of λ, so that their sign is not identified."""
        return np.concatenate([np.zeros(0, dtype=bool), *(t.structure.on_diagonal for t in self.terms)])

    @cached_property
    def is_shape(self) -> Bools:
        """Which entries of θ (n_theta,) are coordinates of shapes, which have no size."""
        parts = [np.arange(t.structure.n_theta) >= t.structure.n_theta - len(t.structure.shapes) for t in self.terms]
        return np.concatenate([np.zeros(0, dtype=bool), *parts])

    @cached_property
    def not_negative(self) -> Bools:
        """Which entries of θ (n_theta,) have to be zero or more."""
        return np.concatenate([np.zeros(0, dtype=bool), *(t.structure.not_negative for t in self.terms)])

    def allowed(self, theta: Floats) -> Floats:
        """θ (..., n_theta) with zero for what is negative and has to be zero or more."""
        return np.where(self.not_negative & (theta < 0), 0.0, theta) if self.not_negative.any() else theta

    @property
    def theta_names(self) -> tuple[str, ...]:
        """lme4's names: ``Subject.(Intercept)``, ``Subject.Days.(Intercept)`` and so on, with our column names."""
        return tuple(f"{t.group}.{label}" for t in self.terms for label in t.structure.labels(t.columns))


def model_spec(
    design: Design,
    sigma: float | None = None,
    variance: VarianceFunction | None = None,
    correlation: CorrelationFunction | None = None,
) -> ModelSpec:
    """Order the terms as lme4 does, and gather the terms of one grouping factor.

    Raises
    ------
    DesignError
        If the rows cannot have such residual variances or correlations.
    """
    ordered = sorted(enumerate(design.random), key=lambda item: -len(item[1].levels))
    members: dict[str, list[RandomDesign]] = {}
    for _, random in ordered:
        members.setdefault(random.group, []).append(random)
    groups = list(members)
    terms: list[TermSpec] = []
    filled: dict[str, int] = dict.fromkeys(groups, 0)
    n_theta = 0
    for source, random in ordered:
        structure = STRUCTURES[random.structure](len(random.columns))
        theta = slice(n_theta, n_theta + structure.n_theta)
        k, start = groups.index(random.group), filled[random.group]
        terms.append(TermSpec(random.group, random.columns, structure, theta, k, start, source, random.text))
        n_theta, filled[random.group] = theta.stop, start + structure.size
    groupings = tuple(_grouping(m, held=design.stream is None) for m in members.values())
    split, read = 0 if variance is None else len(variance.reads), design.others
    if design.stream is not None:
        counts = design.stream.counts
        row_variance = None if variance is None else variance.counted(read[:split], counts)
        row_correlation = None if correlation is None else correlation.counted(read[split:], counts)
    else:
        row_variance = None if variance is None else variance.bind(read[:split])
        row_correlation = None if correlation is None else correlation.bind(read[split:], design.n_obs)
    spec = ModelSpec(
        design, tuple(terms), groupings, sigma, variance=row_variance, correlation=row_correlation
    ).with_rho(None)
    if row_correlation is not None:
        _check_nested(spec, row_correlation)
    _check_coefficient_names(spec)
    return spec


def _check_coefficient_names(spec: ModelSpec) -> None:
    """Refuse a coefficient by the name that tables give to a parameter of the residuals."""
    parts = [part for part in (spec.variance, spec.correlation) if part is not None]
    taken = {"sigma", "sd(rows)", *(name for part in parts for name in residuals.told_names(part.told(part.starts[0])))}
    for name in taken.intersection(spec.design.fixed_names):
        raise DesignError(
            f"A coefficient would have the name {name!r}, by which tables, priors and intervals know a parameter of "
            "the residuals. Rename that column."
        )


def _check_nested(spec: ModelSpec, correlation: RowCorrelation) -> None:
    """Refuse correlated rows of several levels: whitened, they would belong to all of them."""
    G, groupings, before = correlation.n_groups, spec.groupings, 0
    homes, firsts = np.full((len(groupings), G), -1), np.full(G, -1)
    for part in spec.parts():
        assert part.correlation is not None
        codes = part.correlation.codes
        new, first = np.unique(codes, return_index=True)
        new, first = new[firsts[new] < 0], first[firsts[new] < 0]
        firsts[new] = before + first
        for home, g in zip(homes, part.groupings, strict=True):
            home[new] = g.codes[first]
            apart = home[codes] != g.codes
            if apart.any():
                row = int(apart.argmax())
                j = codes[row]
                levels = g.levels[home[j]], g.levels[g.codes[row]]
                _refuse_apart(correlation, g.name, (int(firsts[j]), before + row), levels)
        before += len(codes)
    if isinstance(correlation.function, residuals.CompSymm):
        for home, g in zip(homes, groupings, strict=True):
            if len(np.unique(home)) == g.n_levels == G and "Intercept" in g.columns:
                raise DesignError(
                    f"(1 | {g.name}) and {correlation.function!r} both make rows of one {g.name} alike: nothing tells "
                    "them apart. Leave one of them out; the correlation of CompSymm may be negative."
                )


def _refuse_apart(correlation: RowCorrelation, name: str, rows: tuple[int, int], levels: tuple[str, str]) -> NoReturn:
    """Of two correlated rows that belong to two levels of a grouping factor."""
    group = correlation.function.group
    finer = name if group is None else f"{group}:{name}"
    raise DesignError(
        f"{correlation.function!r} correlates rows {rows[0]} and {rows[1]} of those used, which belong to the "
        f"levels {levels[0]!r} and {levels[1]!r} of {name}: correlated rows must share their level of every grouping "
        f"factor. Give group={finer!r}, or leave one of the two out."
    )


def _of_part(spec: ModelSpec, work: Callable[[ModelSpec], Result], design: Design) -> Result:
    return work(spec.with_design(design))


def _columns(design: Design) -> tuple[Any, ...]:
    return design.fixed_names, tuple((random.text, random.columns) for random in design.random)


def with_response(spec: ModelSpec, y: Any) -> ModelSpec:
    """The same model for another response, as :func:`check_responses` takes it, with one dimension."""
    spec, values = spec.held, check_responses(spec, y)
    return replace(spec, design=replace(spec.design, y=np.ascontiguousarray(values[:, 0])))


def check_responses(spec: ModelSpec, given: Any) -> Floats:
    """One response (n_obs,) or several (n_obs, B) as numbers (n_obs, B), in the order of the rows used.

    A Series or DataFrame of pandas is aligned by its index.

    Raises
    ------
    DesignError
        If the length is wrong or a value is not a finite number.
    """
    design = spec.held.design
    if isinstance(given, pd.Series | pd.DataFrame) and not given.index.equals(design.index):
        given = _aligned(given, design.index)
    if np.ndim(given) not in (1, 2) or np.iscomplexobj(given):
        raise DesignError(
            f"The new response is {type(given).__name__} of {np.ndim(given)} dimensions; expected are numbers, one for "
            "each row used, or an array (rows, B) of several responses."
        )
    try:
        values = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise DesignError(f"The new response does not hold numbers: {error}. Convert it.") from error
    values = values[:, None] if values.ndim == 1 else values
    if len(values) != spec.n_obs:
        raise DesignError(
            f"The new response has {len(values)} rows; it must have {spec.n_obs}, one for each row used"
            + (f" ({design.n_dropped} rows with missing values were left out)." if design.n_dropped else ".")
            + (" It looks transposed." if values.shape[1] == spec.n_obs else "")
        )
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        where = f"row {row}" + (f" of column {column}" if values.shape[1] > 1 else "")
        raise DesignError(f"The new response is {values[row, column]} in {where}; it must be finite everywhere.")
    return values


def _aligned(given: Any, index: pd.Index[Any]) -> Any:
    """A Series or DataFrame in the order of the rows used."""
    if not given.index.is_unique or not index.isin(given.index).all():
        raise DesignError(
            "The index of the new response is not that of the rows used. Give an array in their order, or an index "
            "that holds their labels, each once."
        )
    return given.loc[index]


def _grouping(terms: list[RandomDesign], *, held: bool) -> Grouping:
    first: Any = terms[0]
    columns = tuple(c for t in terms for c in t.columns)
    Z = first.values if len(terms) == 1 or not held else np.hstack([t.values for t in terms])
    return Grouping(first.group, first.levels, first.codes, columns, Z)
