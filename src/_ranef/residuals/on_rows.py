"""What every residual variance and correlation is asked, bound to the rows of a model.

Parameters ρ have no bounds; what users read of them, in nlme's words, is :class:`Told`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np

from _ranef.design import Factor, Numeric, Value, as_factor
from _ranef.errors import DesignError, NotAvailableError
from _ranef.residuals.fixed_basis import Basis
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "Centred",
    "CorrelationFunction",
    "CorrelationRoot",
    "RowCorrelation",
    "RowVariance",
    "Told",
    "VarianceFunction",
    "apart",
    "joined_codes",
    "names_in",
    "one_column",
    "told_names",
    "told_places",
]


_B = TypeVar("_B", bound=Any)


@dataclass(frozen=True)
class Told:
    """Parameters of a residual structure as users read them.

    Attributes
    ----------
    title : str
        What they are, as nlme prints it.
    form : str
        What the structure reads, as written.
    names : tuple of str
    values : tuple of float
    sds : bool
        Whether they are ratios of standard deviations to that of the first.
    """

    title: str
    form: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    sds: bool = False


def values_at(told: Callable[[Floats], list[Told]], rho: Floats) -> Floats:
    """Values (S, m) of parameters as users read them at ρ (S, n_rho)."""
    return np.array([[value for part in told(one) for value in part.values] for one in rho])


def told_places(told: Sequence[Told]) -> list[int]:
    """Places of what varies: all but the first stratum, whose ratio to itself is one."""
    varies = [not part.sds or k > 0 for part in told for k in range(len(part.names))]
    return [k for k, own in enumerate(varies) if own]


def told_names(told: Sequence[Told]) -> list[str]:
    """What varies by the names of tables: ``ratio(B)`` for a stratum; ``ratio(B) [g]`` where two have that name."""
    pairs = [(f"ratio({name})" if part.sds else name, part.form) for part in told for name in part.names]
    return apart([pairs[k] for k in told_places(told)])


def apart(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names, with what stands beside them where one occurs twice."""
    counts = Counter(name for name, _ in pairs)
    return [name if counts[name] == 1 else f"{name} [{form}]" for name, form in pairs]


class InChunks(ABC, Generic[_B]):
    """What may be known of rows that are read in chunks."""

    def counted(self, levels: Sequence[Value], counts: Sequence[int]) -> _B:
        """Itself on such rows: of every combination of levels that it reads, so many.

        Raises
        ------
        DesignError
            If they cannot be read so.
        NotAvailableError
            If it reads more of a row than levels.
        """
        raise NotAvailableError(f"{self!r} in a model from chunks is not available: build the model from one frame.")

    @property
    def in_strata(self) -> bool:
        """Whether all that it reads of a row is levels of factors."""
        return False


class VarianceFunction(InChunks["RowVariance"]):
    """How residual standard deviations differ from row to row: the argument ``variance`` of :class:`Model`.

    Products of two multiply the standard deviations: ``VarIdent("g") * VarPower("x")``.
    """

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """The expressions that it reads."""

    @abstractmethod
    def bind(self, values: Sequence[Value]) -> RowVariance:
        """Itself on rows, for which the expressions that it reads have `values`.

        Raises
        ------
        DesignError
            If they cannot be read so.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.reads))})"


def _taken(bound: _B, rows: Ints) -> _B:
    """A bound structure whose arrays, one entry a row, keep some of them."""
    held = {f.name: getattr(bound, f.name) for f in fields(bound)}
    return replace(bound, **{name: value[rows] for name, value in held.items() if isinstance(value, np.ndarray)})


@dataclass(frozen=True, eq=False, repr=False)
class RowVariance(ABC):
    """How residual standard deviations σ exp(η(ρ)) of the n rows depend on parameters ρ without bounds."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the parameters ρ."""

    @abstractmethod
    def log_sds(self, rho: Floats) -> Floats:
        """η (n,): logarithms of the standard deviations over σ."""

    @abstractmethod
    def jacobian(self, rho: Floats) -> Floats:
        """∂η/∂ρ (n_rho, n)."""

    @property
    @abstractmethod
    def call(self) -> str:
        """What the user wrote, as Python."""

    @property
    @abstractmethod
    def sigma_where(self) -> str:
        """Which rows have the standard deviation σ, in words that follow "where"."""

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What the standard deviation of a row is over σ, in words that follow "over σ it is"."""

    @abstractmethod
    def told(self, rho: Floats) -> list[Told]:
        """The parameters as users read them."""

    def told_values(self, rho: Floats) -> Floats:
        """Their values (S, m) at many ρ (S, n_rho), one part after the other."""
        return values_at(self.told, rho)

    @abstractmethod
    def on(self, values: Sequence[Value]) -> RowVariance:
        """The same of other rows, for which the columns that it reads have `values`.

        Raises
        ------
        DesignError
            If they hold what the rows fitted do not, so that the variance there is not known.
        """

    def taken(self, rows: Ints) -> Self:
        """The same of some of the rows."""
        return _taken(self, rows)

    @property
    def starts(self) -> tuple[Floats, ...]:
        """Values of ρ (n_rho,) from which estimation begins; by default zeros, where all rows are alike."""
        return (np.zeros(len(self.names)),)

    def updated(self, fitted: Floats) -> RowVariance:
        """The same with the fitted values (n,) as what it reads, where it reads them; else itself."""
        return self

    @property
    def of_fitted(self) -> bool:
        """Whether it reads the fitted values, so that it changes with them."""
        return False

    @property
    def of_covariate(self) -> bool:
        """Whether σ is the standard deviation where a number is one or zero, which need not be near any row."""
        return False

    @property
    def strata(self) -> list[tuple[str, Ints]]:
        """Rows that have a standard deviation of their own, by what they are called; by default none."""
        return []

    def spreads(self, rho: Floats) -> Floats:
        """How much the η of rows vary for a unit of each parameter (n_rho,): sets the scale of its prior."""
        return np.asarray(self.jacobian(rho).std(axis=1))

    def units(self, rho: Floats) -> Floats:
        """Sizes of ρ (n_rho,) that matter: those that change sds of rows, beside their mean, by about their size."""
        spread = self.spreads(rho)
        return 1.0 / np.where(spread > 0, spread, 1.0)

    def mean_log_sds(self, rho: Floats) -> Floats:
        """Mean η (...) of the rows at ρ (..., n_rho)."""
        flat = [self.log_sds(one).mean() for one in rho.reshape(-1, rho.shape[-1])]
        return np.array(flat).reshape(rho.shape[:-1])

    def mean_slopes(self, rho: Floats) -> Floats:
        """Its derivatives (n_rho,) at ρ (n_rho,)."""
        return np.asarray(self.jacobian(rho).mean(axis=1))

    def basis(self) -> Basis | None:
        """The covariance of the rows by fixed matrices, where it is one of few; None where rows are read at every ρ."""
        return None

    @property
    def prior_words(self) -> list[str]:
        """The default prior, a line each, as priors are printed."""
        if not self.names:
            return []
        sds = 1.0 / np.sqrt(np.maximum(np.diag(self.precision()), np.finfo(float).tiny))
        rows = zip(self.names, self.starts[0], sds, strict=True)
        return [f"{name} ~ Normal({centre:.4g}, {sd:.4g})" for name, centre, sd in rows]

    def precision(self) -> Floats:
        """Matrix (n_rho, n_rho) of the default prior of ρ, normal round the start: η of rows vary by about one."""
        return np.diag(self.spreads(self.starts[0]) ** 2)


@dataclass(frozen=True, eq=False, repr=False)
class Centred(RowVariance):
    """Another variance with its η less their mean: σ is the geometric mean of the standard deviations of rows."""

    own: RowVariance

    @property
    def names(self) -> tuple[str, ...]:
        """The same."""
        return self.own.names

    @property
    def starts(self) -> tuple[Floats, ...]:
        """The same."""
        return self.own.starts

    def units(self, rho: Floats) -> Floats:
        """The same."""
        return self.own.units(rho)

    def log_sds(self, rho: Floats) -> Floats:
        """Less their mean."""
        eta = self.own.log_sds(rho)
        return np.asarray(eta - eta.mean())

    def jacobian(self, rho: Floats) -> Floats:
        """Less its means."""
        J = self.own.jacobian(rho)
        return np.asarray(J - J.mean(axis=1, keepdims=True))

    @property
    def call(self) -> str:
        """The same."""
        return self.own.call

    @property
    def sigma_where(self) -> str:
        """At their geometric mean."""
        return "it is the geometric mean"

    @property
    def meaning(self) -> str:
        """The same."""
        return self.own.meaning

    def told(self, rho: Floats) -> list[Told]:
        """The same."""
        return self.own.told(rho)

    def on(self, values: Sequence[Value]) -> RowVariance:
        """Of other rows, it is not centred."""
        return self.own.on(values)

    def basis(self) -> Basis | None:
        """That of the other, centred; it is of strata, whose τ are linear."""
        own = self.own.basis()
        return (
            None
            if own is None
            else replace(own, numbers=own.numbers - (own.numbers @ own.counts)[:, None] / own.counts.sum())
        )


class CorrelationFunction(InChunks["RowCorrelation"]):
    """How residuals of one group of rows are correlated: the argument ``correlation`` of :class:`Model`.

    Rows of different groups are independent. The group must be a factor whose levels lie within those of every grouping
    factor of the formula; all rows are one group if it is left out.
    """

    group: str | None

    def __post_init__(self) -> None:
        call = f"{type(self).__name__}(group={self.group!r})"
        if not (self.group is None or (isinstance(self.group, str) and self.group.strip())):
            raise DesignError(f"{call}: the group is named by text, several factors as 'a:b', or None.")
        given = self.positions
        if not all(isinstance(name, str) and name.strip() for name in given):
            raise DesignError(f"{type(self).__name__} reads {given!r}: expected is text, a column or an expression.")

    @property
    @abstractmethod
    def positions(self) -> tuple[str, ...]:
        """The expressions that say where in its group a row stands."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The factors whose combinations are the groups."""
        return () if self.group is None else names_in(self.group, ":/")

    @property
    def reads(self) -> tuple[str, ...]:
        """All the expressions that it reads."""
        return (*self.positions, *self.groups)

    @property
    def form(self) -> str:
        """What it reads, in nlme's words."""
        return f"~ {' + '.join(self.positions) or '1'}" + (f" | {self.group}" if self.group else "")

    def bind(self, values: Sequence[Value], n: int) -> RowCorrelation:
        """Itself on n rows, for which the expressions that it reads have `values`.

        Raises
        ------
        DesignError
            If they cannot be read so.
        """
        k = len(self.positions)
        codes = np.zeros(n, dtype=np.intp)
        for value in values[k:]:
            part = as_factor(one_column(value, self))
            codes = np.unique(codes * len(part.levels) + part.codes, return_inverse=True)[1]
        self._refuse_single(np.bincount(codes))
        found = self.bound(values[:k], codes.astype(np.intp))
        self._refuse_singular(found)
        return found

    def _refuse_singular(self, found: RowCorrelation) -> None:
        """Refuse rows so near one another that there is no matrix to begin with."""
        try:
            found.at(found.starts[0])
        except np.linalg.LinAlgError:
            remedy = "nugget=True" if hasattr(self, "nugget") else "another correlation"
            raise DesignError(
                f"{self!r}: some rows of a group are so near one another, beside others, that their residuals would be "
                f"the same to rounding. Join such rows, name a finer group, or use {remedy}."
            ) from None

    def _refuse_single(self, sizes: Ints) -> None:
        """Refuse groups of one row."""
        if sizes.max() < 2:
            raise DesignError(
                f"Every group of {self!r} has one row: nothing says how residuals of a group are correlated. Name a "
                "coarser group."
            )

    @abstractmethod
    def bound(self, positions: Sequence[Value], codes: Ints) -> RowCorrelation:
        """Itself on rows at `positions` in groups `codes` (n,)."""


def joined_codes(factors: Sequence[Factor]) -> Ints:
    """The combination of levels (n,) as one number."""
    joined = np.zeros(len(factors[0].codes), dtype=np.intp)
    for factor in factors:
        joined = joined * len(factor.levels) + factor.codes
    return joined


def names_in(form: str, separators: str) -> tuple[str, ...]:
    """The parts of a text between separators that are in no backquotes."""
    parts = re.findall(rf"(?:`[^`]*`|[^`{separators}])+", form)
    return tuple(part.strip() for part in parts)


def one_column(value: Value, function: VarianceFunction | CorrelationFunction) -> Value:
    """The value itself, refused where it is a matrix."""
    if isinstance(value, Numeric) and value.values.ndim == 2:
        raise DesignError(f"{function!r} reads a matrix of {value.values.shape[1]} columns; expected is one column.")
    return value


class CorrelationRoot(ABC):
    """A root W of C⁻¹ = WᵀW at some ρ; values have the n rows on their last axis."""

    @abstractmethod
    def whitened(self, values: Floats) -> Floats:
        """W values (..., n)."""

    @abstractmethod
    def changes(self, values: Floats) -> Floats:
        """∂(W values)/∂ρ (n_rho, ..., n)."""

    @abstractmethod
    def coloured(self, values: Floats) -> Floats:
        """W⁻¹ values (..., n): independent ones of variance one become correlated."""

    @property
    @abstractmethod
    def log_dets(self) -> Floats:
        """Shares (n,) of the rows in the logarithm of |C|; those of a group sum to that of its own."""

    @property
    def log_det(self) -> float:
        """Logarithm of |C|."""
        return float(self.log_dets.sum())

    @property
    @abstractmethod
    def log_det_slopes(self) -> Floats:
        """Its derivatives (n_rho,)."""


@dataclass(frozen=True, eq=False, repr=False)
class RowCorrelation(ABC):
    """Correlations C(ρ) of the n residuals within groups of rows.

    Attributes
    ----------
    function : CorrelationFunction
        As the user wrote it.
    codes : array of int (n,)
        Group of every row; rows of different groups are independent.
    """

    function: CorrelationFunction
    codes: Ints

    @property
    def form(self) -> str:
        """What it reads, in nlme's words."""
        return self.function.form

    @property
    def n_groups(self) -> int:
        """Number of the groups."""
        return int(self.codes.max()) + 1

    @property
    def within(self) -> str:
        """The groups, in words."""
        return f"of one {self.function.group}" if self.function.group else "of all rows"

    @property
    def sequence(self) -> Ints:
        """The rows (n,) group by group, each in the order of what the correlation reads, or as they stand."""
        return np.argsort(self.codes, kind="stable")

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What the correlation of two rows is, in words that follow "the correlation"."""

    def taken(self, rows: Ints) -> Self:
        """The same of some of the rows."""
        return _taken(self, rows)

    def on(self, values: Sequence[Value]) -> RowCorrelation:
        """The same of the rows of a chunk, for which the factors of its groups have `values`."""
        raise NotAvailableError(f"{self.function!r} is not of rows that are read in chunks.")

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the parameters ρ, which have no bounds."""

    @property
    @abstractmethod
    def starts(self) -> tuple[Floats, ...]:
        """Values of ρ (n_rho,) from which estimation begins."""

    @abstractmethod
    def at(self, rho: Floats) -> CorrelationRoot:
        """The root of C⁻¹ there.

        Raises
        ------
        LinAlgError
            So far out that C is singular to rounding.
        """

    def basis(self) -> Basis | None:
        """The correlations by fixed matrices, where they are those of few; None where rows are read at every ρ."""
        return None

    @abstractmethod
    def told(self, rho: Floats) -> list[Told]:
        """The parameters as users read them."""

    def told_values(self, rho: Floats) -> Floats:
        """Their values (S, m) at many ρ (S, n_rho)."""
        return values_at(self.told, rho)

    @property
    @abstractmethod
    def prior_words(self) -> list[str]:
        """The default prior, a line each, as priors are printed."""

    @abstractmethod
    def prior_draws(self, rng: np.random.Generator, n: int) -> Floats:
        """Draws (n, n_rho) from the default prior."""

    @abstractmethod
    def log_prior(self, rho: Floats) -> tuple[float, Floats]:
        """Logarithm of the default prior density of ρ, and its slopes (n_rho,)."""
