"""Variances of residuals in nlme's words: what users write; ``row_variances.py`` has what it is on rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from _ranef.design import Numeric, Value, as_factor
from _ranef.errors import DesignError
from _ranef.residuals.on_rows import RowVariance, VarianceFunction, names_in, one_column
from _ranef.residuals.row_variances import (
    FITTED,
    ConstPower,
    Known,
    LogLinear,
    Power,
    Product,
    Strata,
    joined_levels,
    middling,
    nonzero,
    numbers_of,
    positive,
    split,
)
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats

__all__ = ["VarConstPower", "VarExp", "VarFixed", "VarIdent", "VarPower", "VarProduct"]

#: standard deviations of a covariate that its mean may be from zero, where σ is said to be that of rows at zero
FARTHEST = 100.0


class _Multiplied(VarianceFunction):
    """What can be multiplied."""

    def __mul__(self, other: object) -> VarProduct:
        if not isinstance(other, VarianceFunction):
            raise DesignError(f"{self!r} * {other!r}: both must be variances, as {self!r} * ranef.VarPower('x').")
        return VarProduct((*_parts(self), *_parts(other)))

    def __add__(self, other: object) -> NoReturn:
        raise DesignError(f"Variances are combined by products of standard deviations: {self!r} * {other!r}.")


def _parts(function: VarianceFunction) -> tuple[VarianceFunction, ...]:
    return function.parts if isinstance(function, VarProduct) else (function,)


def _check_form(word: str, form: Any, *, what: str) -> None:
    if not isinstance(form, str) or not form.strip():
        raise DesignError(f"{word}({form!r}) must name {what}, as text: {word}('x').")


@helpful
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
        return names_in(self.form, ":")

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
        joined, labels = joined_levels([as_factor(one_column(value, self)) for value in values])
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
        return Strata(self.form, labels(present), rows, tuple(counts.tolist()) if given is not None else None)


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

    def _read(self, values: Sequence[Value]) -> Floats | None:
        if not values:
            return None
        x = numbers_of(one_column(values[0], self), str(self.form))
        if np.ptp(x) == 0:
            raise DesignError(
                f"{self!r} reads {x[0]:g} in every row: all rows have one standard deviation, which is σ. Leave "
                "variance= out, or name another column."
            )
        return x


@helpful
@dataclass(frozen=True, repr=False)
class VarPower(_OfCovariate):
    """Standard deviations ``σ|x|^power``, as nlme's ``varPower``.

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
        return Power(self.form or FITTED, nonzero(self._read(values), repr(self)))


@helpful
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
        x = self._read(values)
        if x is not None and np.abs(x.mean()) > FARTHEST * x.std():
            middle = float(f"{x.mean():.4g}")
            raise DesignError(
                f"{self!r} reads {self.form} near {middle:g}, and rows differ by {x.std():.3g} only: σ would be the "
                f"standard deviation where it is 0, far beyond the data. Write VarExp('{self.form} - {middle:g}')."
            )
        return LogLinear(self.form or FITTED, x)


@helpful
@dataclass(frozen=True, repr=False)
class VarConstPower(_OfCovariate):
    """Standard deviations ``σ(const + |x|^power)``, as nlme's ``varConstPower``.

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
        x = self._read(values)
        return ConstPower(self.form or FITTED, x, 1.0 if x is None else middling(x))


@helpful
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
        return Known(self.form, positive(one_column(values[0], self), repr(self)))


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
        own = zip(self.parts, split(values, widths), strict=True)
        return Product(tuple(part.bind(read) for part, read in own), widths)

    def __repr__(self) -> str:
        return " * ".join(map(repr, self.parts))
