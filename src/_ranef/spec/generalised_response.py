"""Responses whose mean is an inverse link of the linear predictor: what engines ask of their rows, by numpy alone.

All is by η, row by row: the log density with its constants, its first three derivatives, and those in dispersions.
A family says them in its mean, and links say how means move with η. The density that samplers differentiate themselves
is written once for numpy and JAX.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from _ranef.design import Factor, Numeric, Value, told_text
from _ranef.errors import DesignError, FitError
from _ranef.spec.links import LINKS, Link, Means, ShareLink, Space
from _ranef.spec.prior_families import Gamma as GammaPrior
from _ranef.spec.response import Family
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats

__all__ = [
    "WHOLE",
    "Dispersion",
    "Generalised",
    "InMean",
    "Reader",
    "Reading",
    "Rows",
    "Slopes",
    "log_ratio",
    "refuse_constant",
    "refuse_no_counts",
    "refuse_not_positive",
    "refuse_text",
]

#: distance from a whole number up to which a count is one
WHOLE = 1e-6

#: halvings by which the best mean of a row is found, and logarithms, or logits, between which it is
BISECTIONS, LARGE = 60, 40.0


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """The response of rows.

    Attributes
    ----------
    y : array (n,)
        Counts, or numbers; of a binomial response proportions, of an ordinal one classes from 0.
    weights : array (n,)
        Prior weights; of a binomial response trials.
    """

    y: Floats
    weights: Floats

    @cached_property
    def log_y(self) -> Floats:
        """Logarithms of what is positive, zeros for the rest."""
        return np.log(np.where(self.y > 0, self.y, 1.0))

    @property
    def unit(self) -> float:
        """The mean weight, in whose unit dispersions stand that weights divide."""
        return float(self.weights.mean())


@dataclass(frozen=True, eq=False, repr=False)
class Slopes:
    """The log density of rows and its derivatives in η, each (n,).

    Attributes
    ----------
    value : array (n,)
        Without what no η changes; −∞ where η stands for no mean that the family has.
    first : array (n,)
    curvature : array (n,)
        Minus the second derivative.
    third : array (n,)
    """

    value: Floats
    first: Floats
    curvature: Floats
    third: Floats


@dataclass(frozen=True, eq=False, repr=False)
class InMean:
    """The log density of rows and its first three derivatives in their mean, each (n,)."""

    value: Floats
    first: Floats
    second: Floats
    third: Floats


@dataclass(frozen=True, eq=False, repr=False)
class Dispersion:
    """Derivatives in the logarithm of a dispersion parameter, each (n,): of the whole value, `first`, `curvature`."""

    value: Floats
    first: Floats
    curvature: Floats


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """A response as rows hold it, by the family that has seen it."""

    family: Generalised
    y: Floats
    weights: Floats | None


@dataclass(eq=False, repr=False)
class Reader:
    """Reads the response of a model by its family, which afterwards knows what it has seen."""

    family: Generalised

    def __call__(
        self, value: Value, name: str, weights: Floats | None, where: Callable[[int], str]
    ) -> tuple[Floats, Floats | None]:
        """The response (n,) and prior weights (n,), if any."""
        found = self.family.read(value, name, weights, where)
        self.family = found.family
        return found.y, found.weights


@dataclass(frozen=True)
class Generalised(Family):
    """A response with a link between its mean and the linear predictor.

    Parameters
    ----------
    link : str
        One of `links`.

    Attributes
    ----------
    links : tuple of str
    dispersions : tuple of str
        Positive parameters besides, estimated with the others.
    symbols : mapping str to str
        What equations call them, where it is not φ.
    law : str
        What equations call the distribution.
    lower, upper : float
        The ends of the mean.
    divided : bool
        Whether weights divide the variance of rows, so that their unit is that of a dispersion.
    """

    link: str

    links: ClassVar[tuple[str, ...]]
    dispersions: ClassVar[tuple[str, ...]] = ()
    symbols: ClassVar[Mapping[str, str]] = {}
    law: ClassVar[str]
    lower: ClassVar[float] = 0.0
    upper: ClassVar[float] = np.inf
    divided: ClassVar[bool] = False

    def __post_init__(self) -> None:
        one_of(f"family {self.word!r} with link", self.link, self.links, FitError)

    @property
    def linking(self) -> Link:
        """The link."""
        return LINKS[self.link]

    @property
    def classes(self) -> tuple[str, ...]:
        """Of an ordinal response, in their order."""
        return ()

    # the response

    def read(self, value: Value, name: str, weights: Floats | None, where: Callable[[int], str]) -> Reading:
        """The response and prior weights, if any, from what the left side of a formula is worth.

        Raises
        ------
        DesignError
            If it is no such response, with the first such row.
        """
        refuse_text(value, name)
        if not isinstance(value, Numeric) or value.values.ndim != 1:
            raise DesignError(
                f"The response {name} must be one column of numbers for family {self.word!r}; true and false, two "
                "categories, and cbind() are for family 'binomial', ordered categories for 'ordinal'."
            )
        self.check(value.values, weights, name, where)
        return Reading(self, value.values.copy(), weights)

    def check(self, y: Floats, weights: Floats | None, name: str, where: Callable[[int], str]) -> None:
        """Raise for a response (n,), as :class:`Rows` holds it, that it cannot have, or that says nothing."""
        self.refuse(y, name, where)

    @abstractmethod
    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """Raise for a response (n,) that it cannot have."""

    def step(self, weights: Floats) -> Floats:
        """Distances (n,) of the values that the response of a row can take; zero where it takes all."""
        return np.zeros(len(weights))

    # the density

    @abstractmethod
    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """By the mean of rows, given the dispersions `own`."""

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """Derivatives in the logarithm of each dispersion: of the whole value, and of two derivatives in the mean."""
        return ()

    @abstractmethod
    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """What :class:`Slopes` leaves out of the log density (n,)."""

    @abstractmethod
    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """The log density (n,), whole, where η has a mean, for samplers."""

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> Slopes:
        """At η (n,), given the dispersions `own`."""
        inside = self._inside(eta, rows.y)
        means = self.linking.means(eta if inside is None else np.where(inside, eta, 1.0))
        at, m1, m2, m3 = self.in_mean(means, rows, own), means.first, means.second, means.third
        out = (
            at.value,
            at.first * m1,
            -at.second * m1**2 - at.first * m2,
            at.third * m1**3 + 3.0 * at.second * m1 * m2 + at.first * m3,
        )
        if inside is None or inside.all():
            return Slopes(*out)
        return Slopes(*(np.where(inside, x, rest) for x, rest in zip(out, (-np.inf, 0.0, 0.0, 0.0), strict=True)))

    def in_dispersions(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> tuple[Dispersion, ...]:
        """Derivatives in the logarithm of each dispersion, where η has a mean."""
        inside = self._inside(eta, rows.y)
        means = self.linking.means(eta if inside is None else np.where(inside, eta, 1.0))
        return tuple(
            Dispersion(value, first * means.first, -second * means.first**2 - first * means.second)
            for value, first, second in self.own_in_mean(means, rows, own)
        )

    def log_density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """The log density (n,), whole; −∞ where η has no mean."""
        inside = self._inside(eta, y)
        if inside is None:
            return self.density(eta, y, weights, own, space)
        value = self.density(space.xp.where(inside, eta, 1.0), y, weights, own, space)
        return space.xp.where(inside, value, -np.inf)

    def _inside(self, eta: Any, y: Any) -> Any:
        """Which η have a mean in the range; None where all have."""
        return eta > 0.0 if self.linking.half_line and self.lower == 0.0 else None

    # dispersions

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """Of the dispersions."""
        return ()

    def units(self, rows: Rows) -> tuple[float, ...]:
        """What dispersions are measured in: 1, or something in the unit of the response."""
        return (1.0,) * len(self.dispersions)

    def own_priors(self, rows: Rows) -> Mapping[str, GammaPrior]:
        """Default priors of the dispersions, in the unit of the response."""
        units = zip(self.dispersions, self.units(rows), strict=True)
        return {n: GammaPrior(self.parameters[n].shape, self.parameters[n].rate / unit) for n, unit in units}

    def without(self, dispersion: str) -> str:
        """What it means that a dispersion has no end, as the end of a sentence."""
        return ""

    # means

    def mean(self, eta: Floats) -> Floats:
        """The inverse link."""
        return self.linking.means(eta).value

    def mean_slope(self, eta: Floats) -> Floats:
        """Its derivative."""
        return self.linking.means(eta).first

    def predicted(self, eta: Floats, own: Mapping[str, Any]) -> Floats:
        """What predictions are: means, or probabilities (..., K) of classes."""
        return self.mean(eta)

    def predicted_slopes(self, eta: Floats, own: Mapping[str, Any]) -> Floats:
        """Derivatives (..., 1 + n_dispersions) of those in η, and in the logarithms of dispersions."""
        none = np.zeros((len(eta), len(self.dispersions)))
        return np.column_stack([self.mean_slope(eta), none])

    def expected(self, eta: Floats, own: Mapping[str, Any]) -> Floats:
        """What residuals are taken from."""
        return self.mean(eta)

    def spread(self, eta: Floats, weights: Floats, own: Mapping[str, Any]) -> Floats:
        """The variance of rows round it."""
        return self.row_variance(self.mean(eta), weights, own)

    def linked(self, mean: Floats) -> Floats:
        """η of means inside their range."""
        return self.linking.linked(mean)

    def near(self, rows: Rows) -> Floats:
        """Means near the response and inside their range, where the search begins."""
        return np.where(rows.y > 0, rows.y, 0.1)

    def centre(self, rows: Rows) -> float:
        """The mean response, inside its range."""
        return float(np.average(rows.y, weights=rows.weights))

    def central(self, rows: Rows, offset: Floats) -> float:
        """The linear predictor of the mean response, less the mean offset, for the prior of the intercept."""
        return float(self.linked(np.asarray(self.centre(rows)))) - float(offset.mean())

    def unit(self, rows: Rows) -> float:
        """How far on the scale of the link default priors let effects go.

        About half of what a latent residual varies by; where there is none, what changes the mean by itself, as one
        does on the scale of logarithms.
        """
        link, centre = self.linking, self.centre(rows)
        return link.unit if isinstance(link, ShareLink) else abs(centre) * link.slope(centre)

    def latent(
        self, mean: float, rows: Rows, own: Mapping[str, float], of_logarithm: Callable[[float], float]
    ) -> float:
        """The variance of rows on the scale of the link (Nakagawa, Johnson & Schielzeth 2017).

        With a log link that of a logarithm, by V(μ)/μ²; else by the delta method. Where weights divide the variance,
        V is its mean over rows.
        """
        weights = rows.weights if self.divided else np.ones(1)
        variance = float(self.row_variance(np.full(len(weights), mean), weights, own).mean())
        if self.link == "log":
            return of_logarithm(variance / mean**2)
        return variance * self.linking.slope(mean) ** 2

    @abstractmethod
    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Of the response of rows (n,), as :class:`Rows` holds it."""

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """Twice the log density at the best mean of each row less that at `mean`, (n,); not divided by a dispersion."""
        link = LINKS["logit" if np.isfinite(self.upper) else "log"]
        low, high = (np.full(len(rows.y), end) for end in (-LARGE, LARGE))
        best = self.in_mean(link.means(0.5 * (low + high)), rows, own)
        for _ in range(BISECTIONS):
            middle, rising = 0.5 * (low + high), best.first > 0
            low, high = np.where(rising, middle, low), np.where(rising, high, middle)
            best = self.in_mean(link.means(0.5 * (low + high)), rows, own)
        value = best.value - self.in_mean(link.means(link.linked(mean)), rows, own).value
        return np.asarray(2.0 * np.maximum(value, 0.0))

    @abstractmethod
    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Responses of rows, as :class:`Rows` holds them."""

    def drawn(self, rng: np.random.Generator, eta: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """The same by linear predictors η (n,).

        Raises
        ------
        FitError
            If one has no mean, as those of the other sign by the inverse link.
        """
        inside = self._inside(eta, np.ones_like(eta))
        if inside is not None and not inside.all():
            raise FitError(
                f"By the link {self.link!r} a linear predictor of {eta.min():.3g} has no mean of the {self.label} "
                "response, so that none can be drawn: effects, or priors, are too wide for this link. Make them "
                "tighter, or take a link that has a mean everywhere, such as 'log'."
            )
        return self.draw(rng, self.mean(eta), weights, own)

    def absorbs(self, rows: Rows) -> bool:
        """Whether effects that each row has for itself cannot be told from the link, as of zeros and ones."""
        return False


def refuse_text(value: Value, name: str) -> None:
    """Raise for text that looks like numbers, with what makes numbers of it."""
    if isinstance(value, Factor) and (told := told_text(name, value)) is not None:
        raise DesignError(f"The response {name} is {told}.")


def refuse_not_positive(y: Floats, name: str, where: Callable[[int], str], word: str) -> None:
    """Raise for what is not positive."""
    wrong = ~(y > 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise DesignError(
            f"The response {name} is {y[row]:g} in {where(row)}; for family {word!r} it must be positive. Leave out "
            "such rows if they are errors of measurement; zeros that belong there need another model."
        )


def refuse_constant(y: Floats, name: str) -> None:
    """Raise for what has no spread, of a family that has a dispersion to be estimated."""
    if len(y) > 1 and (y == y[0]).all():
        raise DesignError(f"The response {name} is {y[0]:g} in every row: it has no spread. Check the data.")


def refuse_no_counts(y: Floats, name: str, where: Callable[[int], str], word: str) -> None:
    """Raise for what is no count, and for zeros alone."""
    wrong = (y < -WHOLE) | (np.abs(y - np.round(y)) > WHOLE)
    if wrong.any():
        row = int(wrong.argmax())
        raise DesignError(
            f"The response {name} is {y[row]:g} in {where(row)}; for family {word!r} it must be a count: 0, 1, 2 and "
            "so on. A rate is its count with offset(log(exposure))."
        )
    if not np.round(y).any():
        raise FitError(f"The response {name} is 0 in every row: its mean has no estimate. Check the data.")


def log_ratio(y: Floats, mean: Floats) -> Floats:
    """Y log(y/μ), zero where y is."""
    return np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0) / np.where(y > 0, mean, 1.0)), 0.0)
