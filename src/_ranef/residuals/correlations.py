"""Correlations of residuals in nlme's words: what users write, and what it is on the rows of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from _ranef.design import Factor, Value, as_factor
from _ranef.errors import DesignError, NotAvailableError
from _ranef.residuals.blocks import blocks_of
from _ranef.residuals.closed_correlations import MOST_SPREAD_SIZES, Exchangeable, Markov, SpreadGroups, middling_gap
from _ranef.residuals.correlation_matrices import (
    Arma,
    ExponentialDecay,
    GaussianDecay,
    SphericalDecay,
    Unstructured,
)
from _ranef.residuals.on_rows import CorrelationFunction, RowCorrelation, one_column
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "AR1",
    "ARMA",
    "CAR1",
    "CompSymm",
    "Exponential",
    "Gaussian",
    "Spherical",
    "Symm",
]

#: terms of an ARMA process that are told apart
MOST_TERMS = 20

#: size of times and places, or of one over them, beyond which they are refused
LARGEST = 1e140


def _numbers(value: Value, name: str, function: CorrelationFunction) -> Floats:
    value = one_column(value, function)
    if not isinstance(value, Factor):
        return _measurable(value.values, name, function)
    if value.numbers:
        return _measurable(np.asarray([float(level) for level in value.levels])[value.codes], name, function)
    raise DesignError(
        f"{function!r} reads {name}, which holds categories such as {value.levels[0]!r}; expected are numbers. Convert "
        "it to the number of the occasion, or use Symm(), which takes any occasions."
    )


def _measurable(values: Floats, name: str, function: CorrelationFunction) -> Floats:
    """The values themselves, unless squares of their differences are no numbers."""
    size = float(np.abs(values).max(initial=0.0))
    if size and not 1.0 / LARGEST < size < LARGEST:
        raise DesignError(
            f"{function!r} reads {name}, which is of size {size:.3g}: distances are beyond what can be squared. Change "
            f"its unit: divide it by {size:.0e}."
        )
    return values


def _refuse_ties(times: Floats, codes: Ints, name: str, function: CorrelationFunction) -> None:
    order = np.lexsort((times, codes))
    same = (np.diff(times[order]) == 0) & (np.diff(codes[order]) == 0)
    if same.any():
        first, second = sorted(order[int(same.argmax()) + np.arange(2)].tolist())
        finer = "Name a finer group" if function.group else "Without group= all rows are one group: name it"
        raise DesignError(
            f"{function!r} orders the rows of a group by {name}, but rows {first} and {second} of those used have the "
            f"same group and {name} = {times[first]:g}. {finer}, or a time that tells them apart."
        )


@helpful
@dataclass(frozen=True)
class AR1(CorrelationFunction):
    """Autocorrelation φ^d of rows d whole steps apart, −1 < φ < 1, as nlme's ``corAR1``.

    Where all rows of a group are an even number of steps apart, as ages of 8, 10 and 12 are, the sign of φ changes
    nothing, and φ is positive.

    Parameters
    ----------
    time : str, optional
        An expression of whole numbers, which rows of one group must not share; the order of the rows in the data if it
        is left out.
    group : str, optional
        A factor, or several joined by ``:`` or ``/``.

    Raises
    ------
    DesignError
        When the model is built, if times are no whole numbers or are tied within a group.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> ar1 = ranef.AR1("Days", group="Subject")
    >>> fit = ranef.Model("Reaction ~ Days + (1 | Subject)", data, correlation=ar1).fit()
    >>> fit.residual_parameters["parameter"].tolist()
    ['Phi']
    """

    time: str | None = None
    group: str | None = None

    @property
    def positions(self) -> tuple[str, ...]:
        """The time."""
        return () if self.time is None else (self.time,)

    def bound(self, positions: Sequence[Value], codes: Ints) -> RowCorrelation:
        """Itself on rows at `positions`."""
        if self.time is None:
            times = _places(codes)
        else:
            times = _numbers(positions[0], self.time, self)
            _refuse_fractions(times, self.time, self)
            _refuse_ties(times, codes, self.time, self)
        found = Markov(self, codes, times, None)
        gaps = found.gaps[np.isfinite(found.gaps)]
        if (gaps % 2 == 0).all():  # φ and −φ are one model
            return replace(found, unit=middling_gap(codes, times), even=True)
        return found


def _places(codes: Ints) -> Floats:
    """Which row of its group each row is (n,), from 0."""
    order = np.argsort(codes, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(codes[order])) + 1]
    sizes = np.diff(np.r_[starts, len(codes)])
    out = np.empty(len(codes))
    out[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
    return out


def _refuse_fractions(times: Floats, name: str, function: CorrelationFunction) -> None:
    if (times != np.round(times)).any():
        row = int((times != np.round(times)).argmax())
        raise DesignError(
            f"{function!r} needs whole numbers for {name}; it is {times[row]:g} in row {row} of those used. "
            f"CAR1({name!r}, group={function.group!r}) takes any times, or number the occasions."
        )


@helpful
@dataclass(frozen=True)
class CAR1(CorrelationFunction):
    """Autocorrelation φ^d of rows a time d apart, 0 < φ < 1, as nlme's ``corCAR1``.

    Parameters
    ----------
    time : str
        An expression of numbers, which rows of one group must not share.
    group : str, optional
        A factor, or several joined by ``:`` or ``/``.

    Raises
    ------
    DesignError
        When the model is built, if times are no numbers or are tied within a group.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("BodyWeight")
    >>> car1 = ranef.CAR1("Time", group="Rat")
    >>> fit = ranef.Model("weight ~ Time * Diet + (Time | Rat)", data, correlation=car1).fit()
    >>> fit.residual_parameters["parameter"].tolist()
    ['Phi']
    """

    time: str
    group: str | None = None

    @property
    def positions(self) -> tuple[str, ...]:
        """The time."""
        return (self.time,)

    def bound(self, positions: Sequence[Value], codes: Ints) -> RowCorrelation:
        """Itself on rows at `positions`."""
        times = _numbers(positions[0], self.time, self)
        _refuse_ties(times, codes, self.time, self)
        return Markov(self, codes, times, middling_gap(codes, times))


@helpful
@dataclass(frozen=True)
class CompSymm(CorrelationFunction):
    """One correlation of any two residuals of a group, which may be negative, as nlme's ``corCompSymm``.

    Parameters
    ----------
    group : str, optional
        A factor, or several joined by ``:`` or ``/``.

    Raises
    ------
    DesignError
        When the model is built, if every group has one row.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("Orthodont")
    >>> model = ranef.Model("distance ~ age * Sex", data, correlation=ranef.CompSymm(group="Subject"))
    >>> model.fit().residual_parameters["estimate"].round(4).tolist()
    [0.6318]
    """

    group: str | None = None

    @property
    def positions(self) -> tuple[str, ...]:
        """A row's place in its group does not matter."""
        return ()

    def counted(self, groups: Sequence[Value], counts: Sequence[int]) -> RowCorrelation:
        """By the groups and their rows."""
        spread = SpreadGroups.of([as_factor(one_column(value, self)) for value in groups], counts)
        self._refuse_single(spread.sizes)
        if (different := len(np.unique(spread.sizes))) > MOST_SPREAD_SIZES:
            raise NotAvailableError(
                f"The groups of {self!r} have {different} sizes, each of which has sums of its own, and up to "
                f"{MOST_SPREAD_SIZES} are added up over chunks. Build the model from one frame."
            )
        return Exchangeable(self, np.empty(0, dtype=np.intp), int(spread.sizes.max()), spread)

    @property
    def in_strata(self) -> bool:
        """So it is."""
        return self.group is not None

    def bound(self, positions: Sequence[Value], codes: Ints) -> RowCorrelation:
        """Itself on rows at `positions`."""
        return Exchangeable(self, codes, int(np.bincount(codes).max()))


@helpful
@dataclass(frozen=True)
class ARMA(CorrelationFunction):
    """Autocorrelations of a process with `p` autoregressive and `q` moving-average terms, as nlme's ``corARMA``.

    Parameters
    ----------
    p, q : int
        Not both zero.
    time : str, optional
        An expression of whole numbers, which rows of one group must not share; the order of the rows in the data if it
        is left out.
    group : str, optional
        A factor, or several joined by ``:`` or ``/``.

    Raises
    ------
    DesignError
        If `p` or `q` is no whole number from 0, or both are 0.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> arma = ranef.ARMA(1, 1, "Days", group="Subject")
    >>> fit = ranef.Model("Reaction ~ Days", data, correlation=arma).fit()
    >>> fit.residual_parameters["parameter"].tolist()
    ['Phi1', 'Theta1']
    """

    p: int = 0
    q: int = 0
    time: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if not all(type(k) is int and k >= 0 for k in (self.p, self.q)) or self.p + self.q == 0:
            raise DesignError(f"ARMA(p={self.p!r}, q={self.q!r}): both are whole numbers from 0, and not both 0.")
        super().__post_init__()

    @property
    def positions(self) -> tuple[str, ...]:
        """The time."""
        return () if self.time is None else (self.time,)

    def bound(self, positions: Sequence[Value], codes: Ints) -> RowCorrelation:
        """Itself on rows at `positions`."""
        if self.time is None:
            times = _places(codes)
        else:
            times = _numbers(positions[0], self.time, self)
            _refuse_fractions(times, self.time, self)
            _refuse_ties(times, codes, self.time, self)
        longest = int(np.bincount(codes).max())
        if max(self.p, self.q) >= longest or self.p + self.q > MOST_TERMS:
            raise DesignError(
                f"{self!r} has more terms than its groups can tell: the longest has {longest} rows, and at most "
                f"{min(longest - 1, MOST_TERMS)} terms are told apart. ARMA(1, 1) is often enough."
            )
        return blocks_of(Arma(self.p, self.q), self, codes, times[:, None])


@helpful
@dataclass(frozen=True)
class Symm(CorrelationFunction):
    """A correlation of its own for every two occasions, as nlme's ``corSymm``.

    Parameters
    ----------
    occasion : str
        A factor or numbers, which rows of one group must not share; groups may lack some of the occasions.
    group : str, optional
        A factor, or several joined by ``:`` or ``/``.

    Raises
    ------
    DesignError
        When the model is built, if a group has an occasion twice.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("Orthodont")
    >>> model = ranef.Model("distance ~ age * Sex", data, correlation=ranef.Symm("age", group="Subject"))
    >>> len(model.fit().residual_parameters)
    6
    """

    occasion: str
    group: str | None = None

    @property
    def positions(self) -> tuple[str, ...]:
        """The occasion."""
        return (self.occasion,)

    def bound(self, positions: Sequence[Value], codes: Ints) -> RowCorrelation:
        """Itself on rows at `positions`."""
        factor = as_factor(one_column(positions[0], self))
        present = np.unique(factor.codes)
        law = Unstructured(tuple(factor.levels[k] for k in present))
        pairs = len(present) * (len(present) - 1) // 2
        if pairs > len(codes):
            raise DesignError(
                f"{self!r} has {pairs} correlations of {len(present)} occasions, more than {len(codes)} rows can tell. "
                "AR1 and CAR1 have one; or join occasions."
            )
        places = np.searchsorted(present, factor.codes).astype(float)
        _refuse_ties(places, codes, self.occasion, self)
        return blocks_of(law, self, codes, places[:, None])


@dataclass(frozen=True)
class _Spatial(CorrelationFunction):
    """Correlations by the distance of two rows of a group."""

    coordinates: str | Sequence[str]
    group: str | None = None
    nugget: bool = False

    @property
    def positions(self) -> tuple[str, ...]:
        """The coordinates."""
        return (self.coordinates,) if isinstance(self.coordinates, str) else tuple(self.coordinates)

    def __post_init__(self) -> None:
        own = self.coordinates
        if not isinstance(own, str) and (not isinstance(own, Sequence) or not own):
            raise DesignError(f"{type(self).__name__}({own!r}): coordinates are a column by name, or a list of some.")
        if not isinstance(self.nugget, bool):
            raise DesignError(f"nugget={self.nugget!r} must be True or False.")
        super().__post_init__()

    def bound(self, positions: Sequence[Value], codes: Ints) -> RowCorrelation:
        """Itself on rows at `positions`."""
        columns = [_numbers(v, name, self) for v, name in zip(positions, self.positions, strict=True)]
        places = np.column_stack(columns)
        if not self.nugget:
            _refuse_one_place(places, codes, self)
        return blocks_of(_LAWS[type(self).__name__](self.nugget, _apart(places, codes)), self, codes, places)


def _refuse_one_place(places: Floats, codes: Ints, function: CorrelationFunction) -> None:
    order = np.lexsort((*places.T[::-1], codes))
    same = (np.diff(places[order], axis=0) == 0).all(axis=1) & (np.diff(codes[order]) == 0)
    if same.any():
        first, second = sorted(order[int(same.argmax()) + np.arange(2)].tolist())
        raise DesignError(
            f"{function!r}: rows {first} and {second} of those used have one group and one place, so that their "
            "residuals would be the same. Use nugget=True, or name a finer group."
        )


def _apart(places: Floats, codes: Ints) -> float:
    """A middling distance of rows that are neighbours in a group."""
    order = np.lexsort((*places.T[::-1], codes))
    steps = np.sqrt((np.diff(places[order], axis=0) ** 2).sum(axis=1))[np.diff(codes[order]) == 0]
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 1.0


@helpful
@dataclass(frozen=True)
class Exponential(_Spatial):
    """Correlations exp(−d/range) by distance d, times 1 − nugget between rows, as nlme's ``corExp``.

    Parameters
    ----------
    coordinates : str or sequence of str
        Expressions of numbers: one for times, two for places in a plane.
    group : str, optional
        A factor, or several joined by ``:`` or ``/``.
    nugget : bool
        Whether correlations at no distance are below one.

    Raises
    ------
    DesignError
        When the model is built, if two rows of a group have one place and there is no nugget.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("BodyWeight")
    >>> by_time = ranef.Exponential("Time", group="Rat", nugget=True)
    >>> fit = ranef.Model("weight ~ Time * Diet + (Time | Rat)", data, correlation=by_time).fit()
    >>> fit.residual_parameters["parameter"].tolist()
    ['range', 'nugget']
    """


@helpful
@dataclass(frozen=True)
class Gaussian(_Spatial):
    """Correlations exp(−(d/range)²) by distance d, times 1 − nugget between rows, as nlme's ``corGaus``.

    Parameters
    ----------
    coordinates : str or sequence of str
        Expressions of numbers: one for times, two for places in a plane.
    group : str, optional
        A factor, or several joined by ``:`` or ``/``.
    nugget : bool
        Whether correlations at no distance are below one.

    Raises
    ------
    DesignError
        When the model is built, if two rows of a group have one place and there is no nugget.

    Examples
    --------
    >>> import ranef
    >>> ranef.Gaussian(["east", "north"], nugget=True).positions
    ('east', 'north')
    """


@helpful
@dataclass(frozen=True)
class Spherical(_Spatial):
    """Correlations 1 − 1.5 d/range + 0.5 (d/range)³ up to the range, as nlme's ``corSpher``.

    Parameters
    ----------
    coordinates : str or sequence of str
        Expressions of numbers: one for times, two for places in a plane.
    group : str, optional
        A factor, or several joined by ``:`` or ``/``.
    nugget : bool
        Whether correlations at no distance are below one.

    Raises
    ------
    DesignError
        When the model is built, if two rows of a group have one place and there is no nugget.

    Examples
    --------
    >>> import ranef
    >>> ranef.Spherical("metres", group="plot").groups
    ('plot',)
    """


_LAWS: dict[str, Any] = {
    "Exponential": ExponentialDecay,
    "Gaussian": GaussianDecay,
    "Spherical": SphericalDecay,
}
