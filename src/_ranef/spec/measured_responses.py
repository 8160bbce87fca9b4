"""Measurements: positive ones whose spread grows with their mean, and normal and Student t ones round any mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from _ranef.spec.generalised_response import (
    Dispersion,
    Generalised,
    InMean,
    Rows,
    Slopes,
    refuse_constant,
    refuse_not_positive,
)
from _ranef.spec.links import Means, Space
from _ranef.spec.prior_families import Gamma as GammaPrior
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["Gamma", "Gaussian", "InverseGaussian", "Student"]


class _Positive(Generalised):
    """A response of positive numbers."""

    divided = True

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What is not positive, or does not vary."""
        refuse_not_positive(y, name, where, self.word)
        refuse_constant(y, name)

    def near(self, rows: Rows) -> Floats:
        """The response."""
        return rows.y


@dataclass(frozen=True)
class Gamma(_Positive):
    """Positive numbers of variance φμ², the ``dispersion`` φ being estimated.

    Parameters
    ----------
    link : "log", "inverse" or "identity"
        R's default for it is the inverse link, which does not keep the mean positive; lme4's and brms's users mostly
        take the log link.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> model = ranef.Model("Reaction ~ Days + (1 | Subject)", data, family=ranef.families.Gamma())
    >>> round(float(model.fit().dispersion["dispersion"]), 4)
    0.0093
    """

    link: str = "log"

    word = "gamma"
    label = "gamma"
    law = "Gamma"
    links = ("log", "inverse", "identity")
    dispersions = ("dispersion",)
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"dispersion": GammaPrior(1.0, 1.0)}

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> Slopes:
        """By the shape 1/φ; with a log link in few passes."""
        if self.link != "log":
            return super().slopes(eta, rows, own)
        shape = rows.weights / own["dispersion"]
        ratio = shape * rows.y * np.exp(-eta)
        return Slopes(-ratio - shape * eta, ratio - shape, ratio, ratio)

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """By the shape 1/φ."""
        shape, mean = rows.weights / own["dispersion"], means.value
        ratio = rows.y / mean
        return InMean(
            -shape * (ratio + np.log(mean)),
            shape * (ratio - 1.0) / mean,
            shape * (1.0 - 2.0 * ratio) / mean**2,
            shape * (6.0 * ratio - 2.0) / mean**3,
        )

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """In log φ."""
        shape, mean = rows.weights / own["dispersion"], means.value
        ratio = rows.y / mean
        value = np.log(shape) + 1.0 + np.log(ratio) - load("scipy.special").psi(shape) - ratio
        return ((-shape * value, -shape * (ratio - 1.0) / mean, -shape * (1.0 - 2.0 * ratio) / mean**2),)

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """With shape w/φ."""
        xp, shape = space.xp, weights / own["dispersion"]
        log_ratio = xp.log(y) - self.linking.log_inverse(eta, space)
        return shape * (xp.log(shape) + log_ratio - xp.exp(log_ratio)) - xp.log(y) - space.special.gammaln(shape)

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """With shape w/φ."""
        shape = rows.weights / own["dispersion"]
        log_y = np.log(rows.y)
        return np.asarray(shape * (np.log(shape) + log_y) - log_y - load("scipy.special").gammaln(shape))

    def in_dispersions(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> tuple[Dispersion, ...]:
        """In log φ, with −1 times those in the logarithm of the shape."""
        if self.link != "log":
            return super().in_dispersions(eta, rows, own)
        shape = rows.weights / own["dispersion"]
        ratio = rows.y * np.exp(-eta)
        value = np.log(shape) + 1.0 + np.log(rows.y) - load("scipy.special").psi(shape) - ratio - eta
        return (Dispersion(-shape * value, -shape * (ratio - 1.0), -shape * ratio),)

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """By the spread of logarithms."""
        return (float(np.clip(0.5 * np.log(rows.y).var(), 1e-4, 10.0)) * rows.unit,)

    def units(self, rows: Rows) -> tuple[float, ...]:
        """That of the weights."""
        return (rows.unit,)

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """φμ²/w."""
        return own["dispersion"] * mean**2 / weights

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """Not divided by φ."""
        ratio = rows.y / mean
        return np.asarray(2.0 * rows.weights * (ratio - 1.0 - np.log(ratio)))

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Of shape w/φ."""
        shape = weights / own["dispersion"]
        return rng.gamma(shape, mean / shape)


@dataclass(frozen=True)
class InverseGaussian(_Positive):
    """Positive numbers of variance φμ³, the ``dispersion`` φ being estimated.

    Parameters
    ----------
    link : "1/mu^2", "log", "inverse" or "identity"
        The first is R's default; it and the last two do not keep the mean positive.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> model = ranef.Model("Reaction ~ Days + (1 | Subject)", data, family=ranef.families.InverseGaussian("log"))
    >>> float(model.fit().fixef["Days"].round(4))
    0.0326
    """

    link: str = "1/mu^2"

    word = "inverse gaussian"
    label = "inverse Gaussian"
    law = "InvGaussian"
    links = ("1/mu^2", "log", "inverse", "identity")
    dispersions = ("dispersion",)
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"dispersion": GammaPrior(1.0, 1.0)}

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """−(y − μ)²/(2φyμ²)."""
        q, y, mean = rows.weights / own["dispersion"], rows.y, means.value
        ahead = y - mean
        return InMean(
            -0.5 * q * ahead**2 / (y * mean**2),
            q * ahead / mean**3,
            q * (2.0 * mean - 3.0 * y) / mean**4,
            q * (12.0 * y - 6.0 * mean) / mean**5,
        )

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """In log φ, by which all but the constant is divided."""
        at = self.in_mean(means, rows, own)
        return ((-0.5 - at.value, -at.first, -at.second),)

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """Of the density at y = μ."""
        return np.asarray(-0.5 * np.log(2.0 * np.pi * own["dispersion"] / rows.weights * rows.y**3))

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """By q = w/φ."""
        xp, q, mean = space.xp, weights / own["dispersion"], self.linking.inverse(eta, space)
        return 0.5 * (xp.log(q / (2.0 * np.pi)) - 3.0 * xp.log(y) - q * (y - mean) ** 2 / (y * mean**2))

    def units(self, rows: Rows) -> tuple[float, ...]:
        """That of the weights over that of the response."""
        return (rows.unit / self.centre(rows),)

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """By the spread of logarithms."""
        return (float(np.clip(0.5 * np.log(rows.y).var(), 1e-4, 10.0)) * self.units(rows)[0],)

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """φμ³/w."""
        return own["dispersion"] * mean**3 / weights

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """Not divided by φ."""
        return np.asarray(rows.weights * (rows.y - mean) ** 2 / (rows.y * mean**2))

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Wald's distribution of shape w/φ."""
        return rng.wald(mean, weights / own["dispersion"])


class _Located(Generalised):
    """A response of any sign, whose spread ``scale`` is the same at all means."""

    lower = -np.inf
    divided = True
    symbols: ClassVar[Mapping[str, str]] = {"scale": "σ", "nu": "ν"}

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What does not vary."""
        refuse_constant(y, name)

    def unit(self, rows: Rows) -> float:
        """The standard deviation of the response, on the scale of the link."""
        return float(rows.y.std()) * self.linking.slope(self.centre(rows))

    def near(self, rows: Rows) -> Floats:
        """The response where it has a link, else a tenth of its size."""
        if self.link == "identity":
            return rows.y
        return np.where(rows.y > 0, rows.y, 0.1 * np.abs(rows.y).mean())

    def centre(self, rows: Rows) -> float:
        """The mean response, or near it where that has no link."""
        mean = float(np.average(rows.y, weights=rows.weights))
        return mean if self.link == "identity" or mean > 0 else float(np.abs(rows.y).mean())


@dataclass(frozen=True)
class Gaussian(_Located):
    """Normal numbers round a mean that is not η itself, of standard deviation ``scale``.

    With the identity link it is the Gaussian model, ``family="gaussian"``, whose likelihood needs no approximation.

    Parameters
    ----------
    link : "log" or "inverse"

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> model = ranef.Model("Reaction ~ Days + (1 | Subject)", data, family=ranef.families.Gaussian("log"))
    >>> float(model.fit().dispersion["scale"].round(2))
    29.33
    """

    link: str = "log"

    word = "gaussian"
    label = "normal"
    law = "Normal"
    links = ("log", "inverse")
    dispersions = ("scale",)
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"scale": GammaPrior(1.0, 1.0)}

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """Quadratic."""
        q, ahead = rows.weights / own["scale"] ** 2, rows.y - means.value
        return InMean(-0.5 * q * ahead**2, q * ahead, -q * np.ones_like(ahead), np.zeros_like(ahead))

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """In log σ."""
        at = self.in_mean(means, rows, own)
        return ((-1.0 - 2.0 * at.value, -2.0 * at.first, -2.0 * at.second),)

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """Of the density at its top."""
        return np.asarray(-0.5 * np.log(2.0 * np.pi * own["scale"] ** 2 / rows.weights))

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """Normal."""
        q = weights / own["scale"] ** 2
        return 0.5 * (space.xp.log(q / (2.0 * np.pi)) - q * (y - self.linking.inverse(eta, space)) ** 2)

    def units(self, rows: Rows) -> tuple[float, ...]:
        """The standard deviation of the response, at a weight of one."""
        return (float(rows.y.std() * np.sqrt(rows.unit)),)

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """Some of it."""
        return (0.7 * self.units(rows)[0],)

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """σ²/w."""
        return own["scale"] ** 2 / weights * np.ones_like(mean)

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """Squares, not divided by σ²."""
        return np.asarray(rows.weights * (rows.y - mean) ** 2)

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Normal."""
        return mean + own["scale"] / np.sqrt(weights) * rng.standard_normal(len(mean))


@dataclass(frozen=True)
class Student(_Located):
    """Student t numbers round their mean, with a ``scale`` and ``nu`` degrees of freedom, both estimated.

    Far-off rows pull less than with normal ones. Weights divide the squared scale.

    Parameters
    ----------
    link : "identity", "log" or "inverse"

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", data, family=ranef.families.Student())
    >>> float(model.fit().dispersion["nu"].round(2))
    2.9
    """

    link: str = "identity"

    word = "t"
    label = "Student t"
    law = "StudentT"
    links = ("identity", "log", "inverse")
    dispersions = ("scale", "nu")
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"scale": GammaPrior(1.0, 1.0), "nu": GammaPrior(2.0, 0.1)}

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """By g = e/(a + e²) of e = y − μ and a = νσ²/w."""
        w, nu, e = rows.weights, own["nu"], rows.y - means.value
        a = nu * own["scale"] ** 2 / w
        total = a + e**2
        return InMean(
            -0.5 * (nu + 1.0) * np.log1p(e**2 / a),
            (nu + 1.0) * e / total,
            -(nu + 1.0) * (a - e**2) / total**2,
            -2.0 * (nu + 1.0) * e * (3.0 * a - e**2) / total**3,
        )

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """In log σ and log ν."""
        w, nu, e, psi = rows.weights, own["nu"], rows.y - means.value, load("scipy.special").psi
        a = nu * own["scale"] ** 2 / w
        total = a + e**2
        g, bend = e / total, (a - e**2) / total**2
        # with a, by whose logarithm both parameters enter
        value, first, second = 0.5 * e * g, -a * g / total, -a * (3.0 * e**2 - a) / total**3
        of_nu = 0.5 * nu * (psi(0.5 * (nu + 1.0)) - psi(0.5 * nu) - np.log1p(e**2 / a)) - 0.5
        return (
            (2.0 * (nu + 1.0) * value - 1.0, 2.0 * (nu + 1.0) * first, 2.0 * (nu + 1.0) * second),
            (of_nu + (nu + 1.0) * value, nu * g + (nu + 1.0) * first, -nu * bend + (nu + 1.0) * second),
        )

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """Of the density at its top."""
        nu, gammaln = own["nu"], load("scipy.special").gammaln
        a = np.pi * nu * own["scale"] ** 2 / rows.weights
        return np.asarray(gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * np.log(a))

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """Student t."""
        xp, gammaln, nu = space.xp, space.special.gammaln, own["nu"]
        a, e = nu * own["scale"] ** 2 / weights, y - self.linking.inverse(eta, space)
        top = gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * xp.log(np.pi * a)
        return top - 0.5 * (nu + 1.0) * xp.log1p(e**2 / a)

    def units(self, rows: Rows) -> tuple[float, ...]:
        """The standard deviation of the response at a weight of one, and none."""
        return float(rows.y.std() * np.sqrt(rows.unit)), 1.0

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """Some of the standard deviation, and tails between the normal's and Cauchy's."""
        return 0.6 * self.units(rows)[0], 8.0

    def without(self, dispersion: str) -> str:
        """The normal distribution is the limit."""
        return ": given the effects, rows have no heavier tails than normal ones" if dispersion == "nu" else ""

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Infinite with two degrees of freedom or less."""
        nu = own["nu"]
        factor = nu / (nu - 2.0) if nu > 2.0 else np.inf
        return factor * own["scale"] ** 2 / weights * np.ones_like(mean)

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """By the logarithm of the distance."""
        nu = own["nu"]
        return np.asarray((nu + 1.0) * np.log1p((rows.y - mean) ** 2 * rows.weights / (nu * own["scale"] ** 2)))

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Student t."""
        return mean + own["scale"] / np.sqrt(weights) * rng.standard_t(own["nu"], len(mean))
