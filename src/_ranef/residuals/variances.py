"""Variances of residuals in nlme's words: what users write, and what it is on the rows of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from types import ModuleType
from typing import Any, Self

import numpy as np

from _ranef.design import Factor, Numeric, Value, as_factor
from _ranef.errors import DesignError
from _ranef.residuals.base import RowVariance, Told, VarianceFunction, one_column
from _ranef.residuals.basis import Basis, BasisLaw, Part, picked
from _ranef.support.arrays import Floats, Ints

__all__ = ["VarConstPower", "VarExp", "VarFixed", "VarIdent", "VarPower", "VarProduct"]

#: standard deviations of a covariate that its mean may be from zero, where σ is said to be that of rows at zero
FARTHEST = 100.0

#: what stands for the fitted values where a variance function names no column
FITTED = "fitted values"


class _Multiplied(VarianceFunction):
    """What can be multiplied."""

    def __mul__(self, other: object) -> VarProduct:
        if not isinstance(other, VarianceFunction):
            return NotImplemented
        return VarProduct((*_parts(self), *_parts(other)))


def _parts(function: VarianceFunction) -> tuple[VarianceFunction, ...]:
    return function.parts if isinstance(function, VarProduct) else (function,)


def _check_form(word: str, form: Any, *, what: str) -> None:
    if not isinstance(form, str) or not form.strip():
        raise DesignError(f"{word}({form!r}) must name {what}, as text: {word}('x').")


@dataclass(frozen=True, repr=False)
class VarIdent(_Multiplied):
    """A standard deviation of its own for every stratum, as nlme's ``varIdent(form = ~ 1 | form)``.

    Parameters
    ----------
    form : str
        A factor, or several joined by ``:``, whose combinations are the strata.

    Raises
    ------
    DesignError
        If `form` is no text.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("Orthodont")
    >>> model = ranef.Model("distance ~ age * Sex + (1 | Subject)", data, variance=ranef.VarIdent("Sex"))
    >>> model.fit().residual_sd.round(3).to_dict()
    {'Male': 1.67, 'Female': 0.781}
    """

    form: str

    def __post_init__(self) -> None:
        _check_form("VarIdent", self.form, what="a factor, or several joined by ':'")

    @property
    def reads(self) -> tuple[str, ...]:
        """The factors."""
        return tuple(part.strip() for part in self.form.split(":"))

    def __repr__(self) -> str:
        return f"VarIdent({self.form!r})"

    def bind(self, values: Sequence[Value]) -> RowVariance:
        """One log ratio for each stratum but the first."""
        return self._bound(values, None)

    def counted(self, strata: Sequence[Value], counts: Sequence[int]) -> RowVariance:
        """By the strata and their rows."""
        return self._bound(strata, counts)

    @property
    def in_strata(self) -> bool:
        """So it is."""
        return True

    def _bound(self, values: Sequence[Value], given: Sequence[int] | None) -> RowVariance:
        joined, labels = _joined([as_factor(one_column(value, self)) for value in values])
        present, codes = np.unique(joined, return_inverse=True)
        if len(present) < 2:
            raise DesignError(
                f"{self!r} has the one stratum {labels(present)[0]!r} in the rows used; two or more are needed. Leave "
                "variance= out, or name another factor."
            )
        counts = np.bincount(codes) if given is None else np.asarray(given)
        if counts.min() < 2:
            s = int(counts.argmin())
            place = f" ({int((codes == s).argmax())} of those used)" if given is None else ""
            raise DesignError(
                f"The stratum {labels(present)[s]!r} of {self!r} has one row{place}, which says nothing of its "
                "standard deviation. Join it with another stratum, or leave it out."
                + "".join(
                    f" Where numbers are meant, VarPower({name!r}) and VarExp({name!r}) let it change with them."
                    for name, value in zip(self.reads, values, strict=True)
                    if isinstance(value, Numeric)
                )
            )
        rows = codes.astype(np.intp) if given is None else np.empty(0, dtype=np.intp)
        return _Strata(self.form, labels(present), rows, tuple(counts.tolist()) if given is not None else None)


def _joined(parts: Sequence[Factor]) -> tuple[Ints, Any]:
    """The combination of levels of every row (n,) as one number, and what names numbers."""
    joined = np.zeros(len(parts[0].codes), dtype=np.intp)
    for part in parts:
        joined = joined * len(part.levels) + part.codes

    def labels(numbers: Ints) -> tuple[str, ...]:
        out, rest = [], np.asarray(numbers)
        for part in reversed(parts):
            out.append([part.levels[code] for code in rest % len(part.levels)])
            rest = rest // len(part.levels)
        return tuple(":".join(words) for words in zip(*reversed(out), strict=True))

    return joined, labels


@dataclass(frozen=True, eq=False, repr=False)
class _Strata(RowVariance):
    """Strata (n,) of the rows by number, and what they are called; how many rows each has, where none is held."""

    form: str
    labels: tuple[str, ...]
    codes: Ints
    counts: tuple[int, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """A log ratio to the first for every other stratum."""
        return tuple(f"log ratio({label})" for label in self.labels[1:])

    def log_sds(self, rho: Floats) -> Floats:
        """Those of the strata."""
        return np.append(np.append(0.0, rho), np.nan)[self.codes]  # the code of a missing stratum is −1

    def jacobian(self, rho: Floats) -> Floats:
        """Indicators of the strata."""
        return np.asarray(self.codes == np.arange(1, len(self.labels))[:, None], dtype=float)

    @property
    def call(self) -> str:
        """As Python."""
        return f"ranef.VarIdent({self.form!r})"

    @property
    def meaning(self) -> str:
        """In words."""
        return (
            f"1 for {self.labels[0]}, a ratio of its own for each other of the {len(self.labels)} levels of {self.form}"
        )

    def mean_log_sds(self, rho: Floats) -> Floats:
        """Linear in ρ, by the share of each stratum."""
        return np.asarray(rho @ self.shares[1:])

    @cached_property
    def shares(self) -> Floats:
        """Of the rows, that of each stratum."""
        counts = np.bincount(self.codes, minlength=len(self.labels)) if self.counts is None else np.array(self.counts)
        return np.asarray(counts / counts.sum())

    def spreads(self, rho: Floats) -> Floats:
        """Standard deviations of the indicators."""
        own = self.shares[1:]
        return np.sqrt(own * (1.0 - own))

    def told(self, rho: Floats) -> list[Told]:
        """Ratios to the first, as nlme prints them."""
        ratios = tuple(np.exp(np.append(0.0, rho)).tolist())
        return [Told("Different standard deviations per stratum", self.form, self.labels, ratios, sds=True)]

    def on(self, values: Sequence[Value]) -> RowVariance:
        """By the labels of the strata."""
        parts = [as_factor(value) for value in values]
        gone = np.logical_or.reduce([part.codes < 0 for part in parts])
        joined, labels = _joined(parts)
        joined = np.where(gone, joined.max(initial=0) + 1, joined)
        present, codes = np.unique(joined, return_inverse=True)
        known = {label: place for place, label in enumerate(self.labels)}
        found = labels(present[: len(present) - int(gone.any())])
        for label in found:
            if label not in known:
                raise DesignError(
                    f"{label!r} is no stratum of {self.form} among the rows fitted ({', '.join(self.labels)}), so that "
                    "its residual standard deviation is not known. Drop those rows, or ask for interval='confidence'."
                )
        places = np.array([*(known[label] for label in found), -1], dtype=np.intp)
        return _Strata(self.form, self.labels, places[codes])

    def basis(self) -> Basis:
        """The rows of each stratum."""
        n, own = len(self.codes), [np.flatnonzero(self.codes == k) for k in range(len(self.labels))]
        parts = tuple(Part(picked(rows, n), rows) for rows in own)
        counts = np.array(self.counts or [len(rows) for rows in own], dtype=float)
        return Basis(parts, _StrataLaw(), -2.0 * np.eye(len(own))[1:], counts)

    @property
    def prior_words(self) -> list[str]:
        """One line."""
        return [f"log sd of each of the {len(self.labels)} levels of {self.form} ~ Normal(mean log sd, 1)"]

    def precision(self) -> Floats:
        """That of exchangeable log standard deviations of variance one, whichever stratum is the first."""
        k = len(self.labels)
        return np.eye(k - 1) - 1.0 / k


@dataclass(frozen=True)
class _StrataLaw(BasisLaw):
    """Precisions of strata: `numbers` (n_rho, K) are the slopes of τ, linear in ρ."""

    code = 1

    def logs(self, numbers: Any, rho: Any, xp: ModuleType) -> Any:
        """One for each stratum."""
        return rho @ numbers

    def log_prior(self, rho: Any, xp: ModuleType) -> Any:
        """Normal, of exchangeable log standard deviations of variance one."""
        k = len(rho) + 1
        log_scale = float(np.log(k)) + (k - 1) * float(np.log(2.0 * np.pi))
        return -0.5 * (log_scale + (rho**2).sum() - rho.sum() ** 2 / k)


@dataclass(frozen=True, repr=False)
class _OfCovariate(_Multiplied):
    """Functions of one number a row, or of the fitted values."""

    form: str | None = None

    def __post_init__(self) -> None:
        if self.form is not None:
            _check_form(type(self).__name__, self.form, what="a column of numbers")

    @property
    def reads(self) -> tuple[str, ...]:
        """The covariate, if it is one of the data."""
        return () if self.form is None else (self.form,)

    def _numbers(self, values: Sequence[Value]) -> Floats | None:
        return _numbers(one_column(values[0], self), str(self.form)) if values else None


def _numbers(value: Value, name: str) -> Floats:
    if isinstance(value, Factor):
        raise DesignError(
            f"The variance covariate {name} is a factor; expected are numbers. VarIdent({name!r}) gives every level a "
            "standard deviation."
        )
    return value.values


@dataclass(frozen=True, repr=False)
class VarPower(_OfCovariate):
    """Standard deviations σ|x|^power, as nlme's ``varPower``.

    Parameters
    ----------
    form : str, optional
        An expression of columns; the fitted values, of the innermost level, if it is left out.

    Raises
    ------
    DesignError
        If `form` is no text.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("Orthodont")
    >>> fit = ranef.Model("distance ~ age * Sex + (1 | Subject)", data, variance=ranef.VarPower("age")).fit()
    >>> fit.residual_parameters["parameter"].tolist()
    ['power']
    """

    def bind(self, values: Sequence[Value]) -> RowVariance:
        """One power."""
        return _Power(self.form or FITTED, _nonzero(self._numbers(values), self))


def _nonzero(x: Floats | None, function: VarianceFunction, of: str = "those used") -> Floats | None:
    if x is not None and not (x != 0).all():
        row = int((x == 0).argmax())
        raise DesignError(
            f"{function!r} reads 0 in row {row} of {of}, where |x|^power is 0 or infinite. Use "
            f"VarConstPower, or shift the covariate."
        )
    return x


@dataclass(frozen=True, eq=False, repr=False)
class _Covariate(RowVariance):
    """The covariate x (n,), or the fitted values once they are known."""

    form: str
    x: Floats | None

    @property
    def of_fitted(self) -> bool:
        """Whether the covariate is the fitted values."""
        return self.form == FITTED

    def updated(self, fitted: Floats) -> RowVariance:
        """With these as the covariate."""
        return replace(self, x=fitted) if self.of_fitted else self

    @property
    def prior_words(self) -> list[str]:
        """By the spread of the covariate, once that is known."""
        if self.x is None:
            return [f"{name} ~ Normal, such that the log sds of rows vary by about 1" for name in self.names]
        return super().prior_words

    def on(self, values: Sequence[Value]) -> RowVariance:
        """With the covariate of the other rows; their fitted values are to follow."""
        return replace(self, x=_numbers(values[0], self.form) if values else None)

    @property
    def _x(self) -> Floats:
        assert self.x is not None
        return self.x


@dataclass(frozen=True, eq=False, repr=False)
class _Power(_Covariate):
    names = ("power",)

    @property
    def _logs(self) -> Floats:
        return np.asarray(np.log(np.abs(self._x)))

    def on(self, values: Sequence[Value]) -> RowVariance:
        """With the covariate of the other rows, which must not be zero."""
        other = super().on(values)
        assert isinstance(other, _Power)
        if other.x is not None:
            _nonzero(other.x, VarPower(self.form), of="the new data")
        return other

    def log_sds(self, rho: Floats) -> Floats:
        """Power × log |x|."""
        return np.asarray(rho[0] * self._logs)

    def jacobian(self, rho: Floats) -> Floats:
        """The logarithms."""
        return self._logs[None]

    @property
    def call(self) -> str:
        """As Python."""
        return "ranef.VarPower()" if self.of_fitted else f"ranef.VarPower({self.form!r})"

    @property
    def meaning(self) -> str:
        """In words."""
        return f"|{self.form}| to the power δ"

    def mean_log_sds(self, rho: Floats) -> Floats:
        """Linear in ρ."""
        return np.asarray(rho @ self.jacobian(np.zeros(len(self.names))).mean(axis=1))

    def told(self, rho: Floats) -> list[Told]:
        """The power."""
        return [Told("Power of variance covariate", self.form, ("power",), (float(rho[0]),))]


@dataclass(frozen=True, repr=False)
class VarExp(_OfCovariate):
    """Standard deviations σ exp(expon · x), as nlme's ``varExp``.

    Parameters
    ----------
    form : str, optional
        An expression of columns; the fitted values if it is left out.

    Raises
    ------
    DesignError
        If `form` is no text.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", data, variance=ranef.VarExp("Days")).fit()
    >>> fit.residual_parameters["parameter"].tolist()
    ['expon']
    """

    def bind(self, values: Sequence[Value]) -> RowVariance:
        """One coefficient."""
        x = self._numbers(values)
        if x is not None and np.abs(x.mean()) > FARTHEST * x.std():
            middle = float(f"{x.mean():.4g}")
            raise DesignError(
                f"{self!r} reads {self.form} near {middle:g}, and rows differ by {x.std():.3g} only: σ would be the "
                f"standard deviation where it is 0, far beyond the data. Write VarExp('{self.form} - {middle:g}')."
            )
        return _Exponential(self.form or FITTED, x)


@dataclass(frozen=True, eq=False, repr=False)
class _Exponential(_Covariate):
    names = ("expon",)

    def log_sds(self, rho: Floats) -> Floats:
        """Coefficient × x."""
        return np.asarray(rho[0] * self._x)

    def jacobian(self, rho: Floats) -> Floats:
        """The covariate."""
        return self._x[None]

    @property
    def call(self) -> str:
        """As Python."""
        return "ranef.VarExp()" if self.of_fitted else f"ranef.VarExp({self.form!r})"

    @property
    def meaning(self) -> str:
        """In words."""
        return f"exp(δ × {self.form})"

    def mean_log_sds(self, rho: Floats) -> Floats:
        """Linear in ρ."""
        return np.asarray(rho @ self.jacobian(np.zeros(len(self.names))).mean(axis=1))

    def told(self, rho: Floats) -> list[Told]:
        """The coefficient."""
        return [Told("Exponential of variance covariate", self.form, ("expon",), (float(rho[0]),))]


@dataclass(frozen=True, repr=False)
class VarConstPower(_OfCovariate):
    """Standard deviations σ(const + |x|^power), as nlme's ``varConstPower``.

    Parameters
    ----------
    form : str, optional
        An expression of columns; the fitted values if it is left out.

    Raises
    ------
    DesignError
        If `form` is no text.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> model = ranef.Model("Reaction ~ Days + (1 | Subject)", data, variance=ranef.VarConstPower("Days"))
    >>> model.fit().residual_parameters["parameter"].tolist()
    ['const', 'power']
    """

    def bind(self, values: Sequence[Value]) -> RowVariance:
        """A constant and a power."""
        x = self._numbers(values)
        return _ConstPower(self.form or FITTED, x, 1.0 if x is None else _middling(x))


def _middling(x: Floats) -> float:
    """The geometric mean size of what is not zero."""
    size = np.abs(x[x != 0])
    return float(np.exp(np.log(size).mean())) if len(size) else 1.0


@dataclass(frozen=True, eq=False, repr=False)
class _ConstPower(_Covariate):
    """ρ is the logarithm of the constant over a middling |x| to the power, and the power: no unit of x matters."""

    middling: float = 1.0

    names = ("log const", "power")

    def updated(self, fitted: Floats) -> RowVariance:
        """With these as the covariate, and their size."""
        return replace(self, x=fitted, middling=_middling(fitted)) if self.of_fitted else self

    @property
    def starts(self) -> tuple[Floats, ...]:
        """Nearly constant, and nearly a power, of either sign."""
        return tuple(np.array(own) for own in ((0.0, 0.5), (2.0, 1.0), (-2.0, 0.5), (-2.0, -0.5), (0.0, -1.0)))

    def _parts(self, rho: Floats) -> tuple[Floats, Floats]:
        size = np.abs(self._x) / self.middling
        logs = np.log(np.where(size > 0, size, 1.0))
        return np.where(size > 0, np.exp(rho[1] * logs), 0.0), logs

    def log_sds(self, rho: Floats) -> Floats:
        """Of const + |x|^power."""
        return np.asarray(np.log(np.exp(rho[0]) + self._parts(rho)[0]) + rho[1] * np.log(self.middling))

    def jacobian(self, rho: Floats) -> Floats:
        """By quotients of the two parts."""
        power, logs = self._parts(rho)
        own = np.stack([np.full(len(power), np.exp(rho[0])), power * logs]) / (np.exp(rho[0]) + power)
        return np.asarray(own + np.array([[0.0], [np.log(self.middling)]]))

    @property
    def call(self) -> str:
        """As Python."""
        return "ranef.VarConstPower()" if self.of_fitted else f"ranef.VarConstPower({self.form!r})"

    def units(self, rho: Floats) -> Floats:
        """Of a constant and of a power by themselves: neither is without bounds where the other hides it."""
        spread = float(self._parts(rho)[1].std())
        return np.array([2.0, 1.0 / spread if spread > 0 else 1.0])

    @property
    def meaning(self) -> str:
        """In words."""
        return f"δ₁ + |{self.form}| to the power δ₂"

    def told(self, rho: Floats) -> list[Told]:
        """Constant and power."""
        values = (float(np.exp(rho[0] + rho[1] * np.log(self.middling))), float(rho[1]))
        return [Told("Constant plus power of variance covariate", self.form, ("const", "power"), values)]


@dataclass(frozen=True, repr=False)
class VarFixed(_Multiplied):
    """Residual variances σ²v with a known v, as nlme's ``varFixed(~ v)``: the weights are 1/v.

    Parameters
    ----------
    form : str
        An expression of columns that is positive in every row.

    Raises
    ------
    DesignError
        If `form` is no text.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> fit = ranef.Model("Reaction ~ Days + (1 | Subject)", data, variance=ranef.VarFixed("Days + 1")).fit()
    >>> len(fit.residual_parameters)
    0
    """

    form: str

    def __post_init__(self) -> None:
        _check_form("VarFixed", self.form, what="a column of positive numbers")

    @property
    def reads(self) -> tuple[str, ...]:
        """The variances."""
        return (self.form,)

    def bind(self, values: Sequence[Value]) -> RowVariance:
        """Without parameters."""
        return _Known(self.form, _positive(values[0], self))


def _positive(value: Value, function: VarianceFunction) -> Floats:
    value = one_column(value, function)
    if isinstance(value, Factor):
        raise DesignError(f"{function!r} reads a factor; expected are positive numbers.")
    if not (value.values > 0).all():
        row = int((value.values <= 0).argmax())
        raise DesignError(
            f"{function!r} reads {value.values[row]:g} in row {row} of those used; variances must be positive."
        )
    return value.values


@dataclass(frozen=True, eq=False, repr=False)
class _Known(RowVariance):
    form: str
    v: Floats

    names = ()

    def log_sds(self, rho: Floats) -> Floats:
        """½ log v."""
        return np.asarray(0.5 * np.log(self.v))

    def jacobian(self, rho: Floats) -> Floats:
        """There are no parameters."""
        return np.zeros((0, len(self.v)))

    @property
    def call(self) -> str:
        """As Python."""
        return f"ranef.VarFixed({self.form!r})"

    @property
    def meaning(self) -> str:
        """In words."""
        return f"the square root of {self.form}"

    def told(self, rho: Floats) -> list[Told]:
        """That the variances are known."""
        return [Told("Known relative variances", self.form, (), ())]

    def on(self, values: Sequence[Value]) -> RowVariance:
        """With the variances of the other rows."""
        return _Known(self.form, _positive(values[0], VarFixed(self.form)))


@dataclass(frozen=True, repr=False)
class VarProduct(_Multiplied):
    """Standard deviations that are products of those of several functions, as nlme's ``varComb``; made by ``*``.

    Parameters
    ----------
    parts : tuple of VarianceFunction

    Examples
    --------
    >>> import ranef
    >>> ranef.VarIdent("Sex") * ranef.VarPower("age")
    VarIdent('Sex') * VarPower('age')
    """

    parts: tuple[VarianceFunction, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """What its parts read, one after the other."""
        return tuple(form for part in self.parts for form in part.reads)

    def bind(self, values: Sequence[Value]) -> RowVariance:
        """Each part on its own values."""
        if len(set(self.parts)) < len(self.parts):
            raise DesignError(
                f"{self!r} has the same function twice, whose parameters nothing tells apart: write it once."
            )
        widths = tuple(len(part.reads) for part in self.parts)
        own = zip(self.parts, _split(values, widths), strict=True)
        return _Product(tuple(part.bind(read) for part, read in own), widths)

    def __repr__(self) -> str:
        return " * ".join(map(repr, self.parts))


def _split(values: Any, widths: Sequence[int]) -> list[Any]:
    return [values[a:b] for a, b in pairwise(np.cumsum([0, *widths]))]


@dataclass(frozen=True, eq=False, repr=False)
class _Product(RowVariance):
    parts: tuple[RowVariance, ...]
    widths: tuple[int, ...]

    def _own(self, rho: Floats) -> list[tuple[RowVariance, Floats]]:
        return list(zip(self.parts, _split(rho, [len(part.names) for part in self.parts]), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the parts."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def starts(self) -> tuple[Floats, ...]:
        """Those of each part with those of every other."""
        of_parts = product(*(part.starts for part in self.parts))
        return tuple(np.concatenate([np.zeros(0), *chosen]) for chosen in of_parts)

    def units(self, rho: Floats) -> Floats:
        """Those of the parts."""
        return np.concatenate([np.zeros(0), *(part.units(own) for part, own in self._own(rho))])

    def log_sds(self, rho: Floats) -> Floats:
        """The sum over the parts."""
        return np.asarray(sum(part.log_sds(own) for part, own in self._own(rho)))

    def jacobian(self, rho: Floats) -> Floats:
        """One part below the other."""
        return np.concatenate([part.jacobian(own) for part, own in self._own(rho)])

    @property
    def call(self) -> str:
        """As Python."""
        return " * ".join(part.call for part in self.parts)

    @property
    def meaning(self) -> str:
        """In words."""
        return " times ".join(part.meaning for part in self.parts)

    @property
    def prior_words(self) -> list[str]:
        """Those of the parts."""
        return [line for part in self.parts for line in part.prior_words]

    def told(self, rho: Floats) -> list[Told]:
        """One part after the other."""
        return [told for part, own in self._own(rho) for told in part.told(own)]

    def on(self, values: Sequence[Value]) -> RowVariance:
        """Each part on the values that it reads."""
        own = zip(self.parts, _split(values, self.widths), strict=True)
        return replace(self, parts=tuple(part.on(read) for part, read in own))

    def taken(self, rows: Ints) -> Self:
        """Each part of them."""
        return replace(self, parts=tuple(part.taken(rows) for part in self.parts))

    def updated(self, fitted: Floats) -> RowVariance:
        """Each part with them."""
        return replace(self, parts=tuple(part.updated(fitted) for part in self.parts))

    @property
    def of_fitted(self) -> bool:
        """Whether a part reads the fitted values."""
        return any(part.of_fitted for part in self.parts)
