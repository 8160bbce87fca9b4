"""Residual variances on the rows of a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from types import ModuleType
from typing import Any, Self

import numpy as np

from _ranef.design import Factor, Value, as_factor
from _ranef.errors import DesignError
from _ranef.residuals.fixed_basis import Basis, LogLaw, Part, picked
from _ranef.residuals.on_rows import RowVariance, Told, apart, joined_codes
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "FITTED",
    "ConstPower",
    "Known",
    "LogLinear",
    "Power",
    "Product",
    "Strata",
    "joined_levels",
    "middling",
    "nonzero",
    "numbers_of",
    "positive",
    "split",
]

#: what stands for the fitted values where a variance function names no column
FITTED = "fitted values"


def joined_levels(parts: Sequence[Factor]) -> tuple[Ints, Any]:
    """The combination of levels of every row (n,) as one number, and what names numbers."""

    def labels(numbers: Ints) -> tuple[str, ...]:
        out, rest = [], np.asarray(numbers)
        for part in reversed(parts):
            out.append([part.levels[code] for code in rest % len(part.levels)])
            rest = rest // len(part.levels)
        return tuple(":".join(words) for words in zip(*reversed(out), strict=True))

    return joined_codes(parts), labels


@dataclass(frozen=True, eq=False, repr=False)
class Strata(RowVariance):
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
    def sigma_where(self) -> str:
        """In the first of them."""
        return f"{self.form} is {self.labels[0]}"

    @property
    def meaning(self) -> str:
        """In words."""
        return (
            f"1 for {self.labels[0]}, a ratio of its own for each other of the {len(self.labels)} levels of {self.form}"
        )

    def mean_log_sds(self, rho: Floats) -> Floats:
        """Linear in ρ, by the share of each stratum."""
        return np.asarray(rho @ self.shares[1:])

    def mean_slopes(self, rho: Floats) -> Floats:
        """The shares."""
        return self.shares[1:]

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

    @property
    def strata(self) -> list[tuple[str, Ints]]:
        """Each with its label, where rows are held."""
        own = enumerate(self.labels) if self.counts is None else []
        return [(f"{self.form} {label}", np.flatnonzero(self.codes == k)) for k, label in own]

    def told_values(self, rho: Floats) -> Floats:
        """By their exponentials."""
        return np.exp(np.column_stack([np.zeros(len(rho)), rho]))

    def on(self, values: Sequence[Value]) -> RowVariance:
        """By the labels of the strata."""
        parts = [as_factor(value) for value in values]
        gone = np.logical_or.reduce([part.codes < 0 for part in parts])
        joined, labels = joined_levels(parts)
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
        return Strata(self.form, self.labels, places[codes])

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
class _StrataLaw(LogLaw):
    """Precisions of strata: `numbers` (n_rho, K) are the slopes of τ, linear in ρ."""

    code = 1

    def logs(self, numbers: Any, rho: Any, xp: ModuleType) -> Any:
        """One for each stratum."""
        return rho @ numbers

    def at_many(self, numbers: Floats, counts: Floats, rhos: Floats) -> tuple[Floats, Floats]:
        """All at once."""
        logs = rhos @ numbers
        return np.exp(logs), logs @ counts

    def log_prior(self, rho: Any, xp: ModuleType) -> Any:
        """Normal, of exchangeable log standard deviations of variance one."""
        k = len(rho) + 1
        log_scale = float(np.log(k)) + (k - 1) * float(np.log(2.0 * np.pi))
        return -0.5 * (log_scale + (rho**2).sum() - rho.sum() ** 2 / k)


def numbers_of(value: Value, name: str) -> Floats:
    if isinstance(value, Factor):
        raise DesignError(
            f"The variance covariate {name} is a factor; expected are numbers. VarIdent({name!r}) gives every level a "
            "standard deviation."
        )
    return value.values


def nonzero(x: Floats | None, words: str, of: str = "those used") -> Floats | None:
    if x is not None and not (x != 0).all():
        row = int((x == 0).argmax())
        raise DesignError(
            f"{words} reads 0 in row {row} of {of}, where |x|^power is 0 or infinite. Use "
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

    @property
    def of_covariate(self) -> bool:
        """So it is."""
        return True

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
        return replace(self, x=numbers_of(values[0], self.form) if values else None)

    @property
    def _x(self) -> Floats:
        assert self.x is not None
        return self.x


@dataclass(frozen=True, eq=False, repr=False)
class _Linear(_Covariate):
    """One coefficient of what is read."""

    @property
    @abstractmethod
    def read(self) -> Floats:
        """What it multiplies (n,)."""

    def log_sds(self, rho: Floats) -> Floats:
        """Coefficient × what is read."""
        return np.asarray(rho[0] * self.read)

    def jacobian(self, rho: Floats) -> Floats:
        """What is read."""
        return self.read[None]

    def mean_log_sds(self, rho: Floats) -> Floats:
        """Linear in ρ."""
        return np.asarray(rho[..., 0] * self.read.mean())


@dataclass(frozen=True, eq=False, repr=False)
class Power(_Linear):
    names = ("power",)

    @property
    def read(self) -> Floats:
        """Logarithms of sizes."""
        return np.asarray(np.log(np.abs(self._x)))

    def on(self, values: Sequence[Value]) -> RowVariance:
        """With the covariate of the other rows, which must not be zero."""
        other = super().on(values)
        assert isinstance(other, Power)
        if other.x is not None:
            nonzero(other.x, f"VarPower({self.form!r})", of="the new data")
        return other

    @property
    def call(self) -> str:
        """As Python."""
        return "ranef.VarPower()" if self.of_fitted else f"ranef.VarPower({self.form!r})"

    @property
    def sigma_where(self) -> str:
        """Where the logarithm is zero."""
        return f"|{self.form}| is 1"

    @property
    def meaning(self) -> str:
        """In words."""
        return f"|{self.form}| to the power δ"

    def told(self, rho: Floats) -> list[Told]:
        """The power."""
        return [Told("Power of variance covariate", self.form, ("power",), (float(rho[0]),))]


@dataclass(frozen=True, eq=False, repr=False)
class LogLinear(_Linear):
    names = ("expon",)

    @property
    def read(self) -> Floats:
        """The covariate."""
        return self._x

    @property
    def call(self) -> str:
        """As Python."""
        return "ranef.VarExp()" if self.of_fitted else f"ranef.VarExp({self.form!r})"

    @property
    def sigma_where(self) -> str:
        """At zero."""
        return f"{self.form} is 0"

    @property
    def meaning(self) -> str:
        """In words."""
        return f"exp(δ × {self.form})"

    def told(self, rho: Floats) -> list[Told]:
        """The coefficient."""
        return [Told("Exponential of variance covariate", self.form, ("expon",), (float(rho[0]),))]


def middling(x: Floats) -> float:
    """The geometric mean size of what is not zero."""
    size = np.abs(x[x != 0])
    return float(np.exp(np.log(size).mean())) if len(size) else 1.0


@dataclass(frozen=True, eq=False, repr=False)
class ConstPower(_Covariate):
    """ρ is the logarithm of the constant over a middling |x| to the power, and the power: no unit of x matters."""

    middling: float = 1.0
    other: bool = False

    names = ("log const", "power")

    def updated(self, fitted: Floats) -> RowVariance:
        """With these as the covariate; of the rows fitted, with their size, which is what ρ stands for in others."""
        if not self.of_fitted:
            return self
        return replace(self, x=fitted, middling=self.middling if self.other else middling(fitted))

    def on(self, values: Sequence[Value]) -> RowVariance:
        """With the covariate of the other rows; their fitted values are to follow."""
        return replace(self, x=numbers_of(values[0], self.form) if values else None, other=True)

    @property
    def starts(self) -> tuple[Floats, ...]:
        """Nearly constant, nearly a power, of either sign, and constant up to where a steep power begins."""
        spread = 0.0 if self.x is None else float(self._parts(np.zeros(2))[1].std())
        steep = 2.0 / (spread or 1.0)
        some = ((0.0, 0.5), (2.0, 1.0), (-2.0, 0.5), (-2.0, -0.5), (0.0, -1.0), (3.0, steep))
        return tuple(np.array(own) for own in some)

    def _parts(self, rho: Floats) -> tuple[Floats, Floats]:
        size = np.abs(self._x) / self.middling
        logs = np.log(np.where(size == 0, 1.0, size))
        return np.where(size == 0, 0.0, np.exp(rho[1] * logs)), logs

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
    def sigma_where(self) -> str:
        """Where the sum is one."""
        return f"const + |{self.form}|^power is 1"

    @property
    def meaning(self) -> str:
        """In words."""
        return f"δ₁ + |{self.form}| to the power δ₂"

    def told(self, rho: Floats) -> list[Told]:
        """Constant and power."""
        values = (float(np.exp(rho[0] + rho[1] * np.log(self.middling))), float(rho[1]))
        return [Told("Constant plus power of variance covariate", self.form, ("const", "power"), values)]


def positive(value: Value, words: str, of: str = "those used") -> Floats:
    if isinstance(value, Factor):
        raise DesignError(f"{words} reads a factor; expected are positive numbers.")
    if (value.values <= 0).any():
        row = int((value.values <= 0).argmax())
        raise DesignError(f"{words} reads {value.values[row]:g} in row {row} of {of}; variances must be positive.")
    return value.values


@dataclass(frozen=True, eq=False, repr=False)
class Known(RowVariance):
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
    def sigma_where(self) -> str:
        """Where it is one."""
        return f"{self.form} is 1"

    @property
    def meaning(self) -> str:
        """In words."""
        return f"the square root of {self.form}"

    def told(self, rho: Floats) -> list[Told]:
        """That the variances are known."""
        return [Told("Known relative variances", self.form, (), ())]

    def on(self, values: Sequence[Value]) -> RowVariance:
        """With the variances of the other rows."""
        return Known(self.form, positive(values[0], f"VarFixed({self.form!r})", of="the new data"))


def split(values: Any, widths: Sequence[int]) -> list[Any]:
    return [values[a:b] for a, b in pairwise(np.cumsum([0, *widths]))]


@dataclass(frozen=True, eq=False, repr=False)
class Product(RowVariance):
    parts: tuple[RowVariance, ...]
    widths: tuple[int, ...]

    def _own(self, rho: Floats) -> list[tuple[RowVariance, Floats]]:
        return list(zip(self.parts, split(rho, [len(part.names) for part in self.parts]), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the parts, with what each reads where two are called the same."""
        forms = [part.told(part.starts[0])[0].form for part in self.parts]
        return tuple(apart([(n, form) for part, form in zip(self.parts, forms, strict=True) for n in part.names]))

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
    def sigma_where(self) -> str:
        """Where that of every part is one."""
        return " and ".join(part.sigma_where for part in self.parts)

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
        own = zip(self.parts, split(values, self.widths), strict=True)
        return replace(self, parts=tuple(part.on(read) for part, read in own))

    def taken(self, rows: Ints) -> Self:
        """Each part of them."""
        return replace(self, parts=tuple(part.taken(rows) for part in self.parts))

    def updated(self, fitted: Floats) -> RowVariance:
        """Each part with them."""
        return replace(self, parts=tuple(part.updated(fitted) for part in self.parts))

    @property
    def strata(self) -> list[tuple[str, Ints]]:
        """Those of the parts."""
        return [stratum for part in self.parts for stratum in part.strata]

    @property
    def of_fitted(self) -> bool:
        """Whether a part reads the fitted values."""
        return any(part.of_fitted for part in self.parts)

    @property
    def of_covariate(self) -> bool:
        """Whether a part reads a number."""
        return any(part.of_covariate for part in self.parts)
