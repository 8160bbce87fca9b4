"""Links of the mean of a response to the linear predictor, with the derivatives of their inverses.

What samplers differentiate themselves is written once for numpy and JAX, by the :class:`Space` it is computed in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["LINKS", "Derivatives", "Link", "Means", "ShareLink", "Space"]

#: a value with its first three derivatives in η, each (n,)
Derivatives = tuple[Floats, Floats, Floats, Floats]

#: linear predictors beyond which exp(η) is not taken
LARGEST = 700.0

#: exp(η) below which 1 − exp(−exp(η)) is exp(η) to rounding
SMALL = 1e-8


@dataclass(frozen=True, eq=False, repr=False)
class Space:
    """Where arrays are computed: ``numpy`` or ``jax.numpy``, with the special functions that both have."""

    xp: Any
    special: Any


@dataclass(frozen=True, eq=False, repr=False)
class Means:
    """Means of rows (n,), what is left to their upper end, and the first three derivatives of means in η."""

    value: Floats
    other: Floats
    first: Floats
    second: Floats
    third: Floats


class Link(ABC):
    """A link g, η = g(μ).

    Attributes
    ----------
    word : str
        What users and files call it.
    name : str
        What equations call it.
    half_line : bool
        Whether means that have to be positive are those of positive η alone.
    endless : bool
        Whether the mean comes to the ends of its range only where η has no end.
    falling : bool
        Whether means fall where η rises.
    """

    word: ClassVar[str]
    half_line: ClassVar[bool] = False
    endless: ClassVar[bool] = False
    falling: ClassVar[bool] = False

    @abstractmethod
    def inverse(self, eta: Any, space: Space) -> Any:
        """Means."""

    def log_inverse(self, eta: Any, space: Space) -> Any:
        """Logarithms of means."""
        return space.xp.log(self.inverse(eta, space))

    @abstractmethod
    def means(self, eta: Floats) -> Means:
        """Means and their derivatives."""

    @abstractmethod
    def linked(self, mean: Floats) -> Floats:
        """The linear predictor of means inside their range."""

    def slope(self, mean: float) -> float:
        """How fast η moves with a mean inside its range, without its sign."""
        return abs(1.0 / float(self.means(self.linked(np.array([mean]))).first[0]))


class Identity(Link):
    """η = μ."""

    word = "identity"
    half_line = True

    def inverse(self, eta: Any, space: Space) -> Any:
        """Itself."""
        return eta

    def means(self, eta: Floats) -> Means:
        """One and zeros."""
        zero = np.zeros_like(eta)
        return Means(eta, zero, np.ones_like(eta), zero, zero)

    def linked(self, mean: Floats) -> Floats:
        """Itself."""
        return mean


class Log(Link):
    """η = log μ."""

    word = "log"
    endless = True

    def inverse(self, eta: Any, space: Space) -> Any:
        """The exponential."""
        return space.xp.exp(eta)

    def log_inverse(self, eta: Any, space: Space) -> Any:
        """Η."""
        return eta

    def means(self, eta: Floats) -> Means:
        """All the same."""
        mean = np.exp(eta)
        return Means(mean, mean, mean, mean, mean)

    def linked(self, mean: Floats) -> Floats:
        """The logarithm."""
        return np.log(mean)


class Power(Link):
    """η = μᵖ."""

    power: ClassVar[float]

    def inverse(self, eta: Any, space: Space) -> Any:
        """A power."""
        return eta ** (1.0 / self.power)

    def log_inverse(self, eta: Any, space: Space) -> Any:
        """A multiple of the logarithm."""
        return space.xp.log(space.xp.abs(eta)) / self.power

    def means(self, eta: Floats) -> Means:
        """Powers."""
        q = 1.0 / self.power
        mean = eta**q
        if q == 2.0:
            return Means(mean, mean, 2.0 * eta, np.full_like(eta, 2.0), np.zeros_like(eta))
        first = q * mean / eta
        second = (q - 1.0) * first / eta
        return Means(mean, mean, first, second, (q - 2.0) * second / eta)

    def linked(self, mean: Floats) -> Floats:
        """The power."""
        return np.asarray(mean**self.power)


class Root(Power):
    """η = √μ; what is not positive has a mean, too, but for rows without counts alone."""

    word = "sqrt"
    power = 0.5


class Inverse(Power):
    """η = 1/μ."""

    word = "inverse"
    power = -1.0
    half_line = True
    falling = True


class InverseSquare(Power):
    """η = 1/μ²."""

    word = "1/mu^2"
    power = -2.0
    half_line = True
    falling = True


class ShareLink(Link):
    """A link of shares, which are a distribution function of η."""

    endless = True

    #: variance of what it is the distribution function of, and about half of its standard deviation: how far default
    #: priors let effects go
    variance: ClassVar[float]
    unit: ClassVar[float]

    @abstractmethod
    def log_tails(self, eta: Any, space: Space) -> tuple[Any, Any]:
        """Logarithms of both shares."""

    @abstractmethod
    def tails(self, eta: Floats) -> tuple[Derivatives, Derivatives]:
        """Logarithms of both shares with their derivatives."""

    def inverse(self, eta: Any, space: Space) -> Any:
        """The share."""
        return space.xp.exp(self.log_tails(eta, space)[0])

    def means(self, eta: Floats) -> Means:
        """By the logarithms of the shares."""
        (value, a, b, c), (other, *_) = self.tails(eta)
        mean = np.exp(value)
        return Means(mean, np.exp(other), mean * a, mean * (b + a**2), mean * (c + 3.0 * a * b + a**3))


class Logit(ShareLink):
    """Of the logistic distribution."""

    word = "logit"
    variance = np.pi**2 / 3.0
    unit = 1.0

    def log_tails(self, eta: Any, space: Space) -> tuple[Any, Any]:
        """By log(1 + exp(±η))."""
        return -space.xp.logaddexp(0.0, -eta), -space.xp.logaddexp(0.0, eta)

    def tails(self, eta: Floats) -> tuple[Derivatives, Derivatives]:
        """By both shares."""
        small = np.exp(-np.abs(eta))
        up, over, rest = eta >= 0.0, 1.0 / (1.0 + small), np.log1p(small)
        p, q = np.where(up, over, small * over), np.where(up, small * over, over)
        bend = -p * q
        third = bend * (q - p)
        return (np.minimum(eta, 0.0) - rest, q, bend, third), (-np.maximum(eta, 0.0) - rest, -p, bend, third)

    def linked(self, mean: Floats) -> Floats:
        """The logarithm of the odds."""
        return np.asarray(load("scipy.special").logit(mean))


class Probit(ShareLink):
    """Of the normal distribution."""

    word = "probit"
    variance = 1.0
    unit = 0.55

    def log_tails(self, eta: Any, space: Space) -> tuple[Any, Any]:
        """Log Φ(±η)."""
        return space.special.log_ndtr(eta), space.special.log_ndtr(-eta)

    def tails(self, eta: Floats) -> tuple[Derivatives, Derivatives]:
        """By symmetry."""
        return _log_normal(eta), _mirrored(_log_normal(-eta))

    def linked(self, mean: Floats) -> Floats:
        """The quantile."""
        return np.asarray(load("scipy.special").ndtri(mean))


class Cauchit(ShareLink):
    """Of the Cauchy distribution, which has no variance."""

    word = "cauchit"
    variance = np.nan
    unit = 0.8

    def log_tails(self, eta: Any, space: Space) -> tuple[Any, Any]:
        """By angles, which keep their digits in both tails."""
        xp = space.xp
        return xp.log(xp.arctan2(1.0, -eta) / np.pi), xp.log(xp.arctan2(1.0, eta) / np.pi)

    def tails(self, eta: Floats) -> tuple[Derivatives, Derivatives]:
        """By symmetry."""
        return _log_cauchy(eta), _mirrored(_log_cauchy(-eta))

    def linked(self, mean: Floats) -> Floats:
        """The quantile."""
        return np.asarray(np.tan(np.pi * (mean - 0.5)))


class Cloglog(ShareLink):
    """Of the smallest of exponential times: 1 − exp(−exp(η))."""

    word = "cloglog"
    variance = np.pi**2 / 6.0
    unit = 0.7

    def log_tails(self, eta: Any, space: Space) -> tuple[Any, Any]:
        """Without a loss of digits where the share is small."""
        xp, far = space.xp, np.log(SMALL) * 2.0
        inside = xp.maximum(eta, far)
        return xp.where(eta < far, eta, xp.log(-xp.expm1(-xp.exp(inside)))), -xp.exp(eta)

    def tails(self, eta: Floats) -> tuple[Derivatives, Derivatives]:
        """By t = exp(η)."""
        t = np.exp(np.minimum(eta, LARGEST))
        m = np.where(t > SMALL, t / np.maximum(np.expm1(np.minimum(t, LARGEST)), 1e-300), 1.0 - 0.5 * t)
        rest = 1.0 - t - m
        second = m * rest
        value = np.where(t > SMALL, np.log(-np.expm1(-np.maximum(t, 1e-300))), eta - 0.5 * t)
        return (value, m, second, second * rest - m * (t + second)), (-t, -t, -t, -t)

    def linked(self, mean: Floats) -> Floats:
        """Log −log(1 − μ)."""
        return np.log(-np.log1p(-mean))


class Loglog(ShareLink):
    """Of the largest of them: exp(−exp(−η)), cloglog of failures turned round."""

    word = "loglog"
    variance = np.pi**2 / 6.0
    unit = 0.7

    def log_tails(self, eta: Any, space: Space) -> tuple[Any, Any]:
        """Those of cloglog, turned."""
        first, other = Cloglog().log_tails(-eta, space)
        return other, first

    def tails(self, eta: Floats) -> tuple[Derivatives, Derivatives]:
        """Those of cloglog, turned."""
        first, other = Cloglog().tails(-eta)
        return _mirrored(other), _mirrored(first)

    def linked(self, mean: Floats) -> Floats:
        """−log −log μ."""
        return -np.log(-np.log(mean))


def _mirrored(of: Derivatives) -> Derivatives:
    """Of a function of −η."""
    return of[0], -of[1], of[2], -of[3]


def _log_normal(eta: Floats) -> Derivatives:
    """Log Φ."""
    value = load("scipy.special").log_ndtr(eta)
    r = np.exp(-0.5 * eta**2 - 0.5 * np.log(2.0 * np.pi) - value)
    second = -r * (eta + r)
    return np.asarray(value), r, second, -second * (eta + r) - r * (1.0 + second)


def _log_cauchy(eta: Floats) -> Derivatives:
    """Log of the share below η of the Cauchy distribution."""
    share, bend = np.arctan2(1.0, -eta) / np.pi, 1.0 + eta**2
    density = 1.0 / (np.pi * bend)
    first = density / share
    m2, m3 = -2.0 * eta * density / bend, density * (6.0 * eta**2 - 2.0) / bend**2
    second = m2 / share - first**2
    return np.asarray(np.log(share)), first, second, m3 / share - 3.0 * first * second - first**3


#: by their words
LINKS: Mapping[str, Link] = {
    link.word: link
    for link in (
        Identity(),
        Log(),
        Root(),
        Inverse(),
        InverseSquare(),
        Logit(),
        Probit(),
        Cauchit(),
        Cloglog(),
        Loglog(),
    )
}
