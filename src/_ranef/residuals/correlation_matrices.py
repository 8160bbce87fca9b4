"""Correlation matrices of a group of rows, by the places of its rows.

They are analytic in ρ and take complex ones, so that a step along the imaginary axis gives derivatives without
cancellation (Squire & Trapp 1998, SIAM Rev. 40, 110-112).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import lgamma
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from _ranef.residuals.closed_correlations import logistic, of_logistic, of_tanh
from _ranef.residuals.on_rows import Told
from _ranef.support.arrays import Floats

__all__ = [
    "Arma",
    "ExponentialDecay",
    "GaussianDecay",
    "Matrices",
    "SphericalDecay",
    "Unstructured",
]

#: standard deviation of the normal prior of the logarithm of a range over a middling distance
RANGE_SD = 1.5

Numbers = NDArray[Any]


class Matrices(ABC):
    """A law of correlations by places."""

    #: whether only differences of places matter
    stationary: ClassVar[bool] = True

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    @property
    @abstractmethod
    def starts(self) -> tuple[Floats, ...]:
        """Values of ρ (n_rho,) from which estimation begins."""

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What a correlation is, in words."""

    @abstractmethod
    def of(self, rho: Numbers, places: Floats) -> Numbers:
        """Correlations (U, s, s) of rows at places (U, s, d)."""

    @abstractmethod
    def told(self, rho: Floats, form: str) -> Told:
        """The parameters as users read them."""

    @property
    @abstractmethod
    def prior_words(self) -> list[str]:
        """The default prior, a line each, as priors are printed."""

    @abstractmethod
    def prior_draws(self, rng: np.random.Generator, n: int) -> Floats:
        """Draws (n, n_rho) from the default prior."""

    @abstractmethod
    def log_prior(self, rho: Floats) -> tuple[float, Floats]:
        """Logarithm of the default prior density of ρ, and its slopes."""


@dataclass(frozen=True)
class Arma(Matrices):
    """Of an ARMA process; ρ are the inverse hyperbolic tangents of partial autocorrelations of its two parts."""

    p: int
    q: int

    @property
    def names(self) -> tuple[str, ...]:
        """As nlme's."""
        return (*(f"Phi{k + 1}" for k in range(self.p)), *(f"Theta{k + 1}" for k in range(self.q)))

    @property
    def starts(self) -> tuple[Floats, ...]:
        """A little of all, much of the first, and much of the last with the other sign."""
        unit = 1.2 * np.eye(self.p + self.q)
        return np.full(self.p + self.q, 0.1), unit[0], -unit[-1]

    def coefficients(self, rho: Numbers) -> tuple[Numbers, Numbers]:
        """φ (p,) and θ (q,), both parts stationary (Barndorff-Nielsen & Schou 1973, J. Multivar. Anal. 3, 408-419)."""
        return _of_partials(np.tanh(rho[: self.p])), -_of_partials(np.tanh(rho[self.p :]))

    @property
    def meaning(self) -> str:
        """In words."""
        return f"that of an ARMA({self.p},{self.q}) process"

    def of(self, rho: Numbers, places: Floats) -> Numbers:
        """By the autocorrelations at whole lags."""
        lags = np.abs(places[:, :, None, 0] - places[:, None, :, 0]).astype(np.intp)
        return _autocorrelations(*self.coefficients(rho), int(lags.max(initial=0)))[lags]

    def told(self, rho: Floats, form: str) -> Told:
        """φ and θ."""
        values = tuple(float(v) for part in self.coefficients(rho) for v in part)
        return Told(f"Correlation structure: ARMA({self.p},{self.q})", form, self.names, values)

    @property
    def prior_words(self) -> list[str]:
        """One line."""
        return ["partial autocorrelations of both parts ~ Uniform(-1, 1)"]

    def prior_draws(self, rng: np.random.Generator, n: int) -> Floats:
        """By the partial autocorrelations."""
        return np.arctanh(rng.uniform(-1.0, 1.0, (n, len(self.names))))

    def log_prior(self, rho: Floats) -> tuple[float, Floats]:
        """Uniform in the partial autocorrelations."""
        return of_tanh(rho)


def _of_partials(partial: Numbers) -> Numbers:
    """Coefficients of a stationary autoregression by its partial autocorrelations (Durbin and Levinson)."""
    out: Numbers = np.zeros(0, dtype=partial.dtype)
    for r in partial:
        out = np.append(out - r * out[::-1], r)
    return out


def _autocorrelations(phi: Numbers, theta: Numbers, most: int) -> Numbers:
    """Autocorrelations at lags 0 to `most` (Box & Jenkins 1976, §3.4)."""
    p, q = len(phi), len(theta)
    m = max(p, q)
    dtype = np.result_type(phi.dtype, theta.dtype)
    weights: Numbers = np.zeros(q + 1, dtype=dtype)  # ψ
    weights[0] = 1.0
    for k in range(1, q + 1):
        weights[k] = theta[k - 1] + sum(phi[i] * weights[k - 1 - i] for i in range(min(k, p)))
    moving = np.append(1.0, theta)
    right: Numbers = np.zeros(m + 1, dtype=dtype)
    for k in range(q + 1):
        right[k] = (moving[k:] * weights[: q + 1 - k]).sum()
    left: Numbers = np.eye(m + 1, dtype=dtype)
    for k in range(m + 1):
        for i in range(p):
            left[k, abs(k - 1 - i)] -= phi[i]
    out: Numbers = np.zeros(max(most, m) + 1, dtype=dtype)
    out[: m + 1] = np.linalg.solve(left, right)
    for k in range(m + 1, most + 1):
        out[k] = (phi * out[k - 1 - np.arange(p)]).sum() if p else 0.0
    return np.asarray((out / out[0])[: most + 1])


@dataclass(frozen=True)
class Unstructured(Matrices):
    """A correlation of its own for every two occasions; ρ are artanh of canonical partial correlations, by rows."""

    labels: tuple[str, ...]
    stationary: ClassVar[bool] = False

    @property
    def names(self) -> tuple[str, ...]:
        """Pairs of occasions, by rows."""
        return tuple(f"cor({self.labels[j]},{self.labels[i]})" for i in range(len(self.labels)) for j in range(i))

    @property
    def starts(self) -> tuple[Floats, ...]:
        """Nearly none, and some."""
        n = len(self.names)
        return np.full(n, 0.05), np.full(n, 0.3)

    def whole(self, rho: Numbers) -> Numbers:
        """The correlations (k, k) of all occasions (Lewandowski, Kurowicka & Joe 2009, J. Multivar. Anal. 100, §2)."""
        k = len(self.labels)
        root: Numbers = np.zeros((k, k), dtype=rho.dtype)
        partial = iter(np.tanh(rho))
        for i in range(k):
            rest: Any = 1.0
            for j in range(i):
                z = next(partial)
                root[i, j] = z * rest
                rest = rest * np.sqrt(1.0 - z**2)
            root[i, i] = rest
        return np.asarray(root @ root.T)

    @property
    def meaning(self) -> str:
        """In words."""
        return "one of its own for every two occasions"

    def of(self, rho: Numbers, places: Floats) -> Numbers:
        """Those of the occasions that a group has."""
        at = places[:, :, 0].astype(np.intp)
        return np.asarray(self.whole(rho)[at[:, :, None], at[:, None, :]])

    def told(self, rho: Floats, form: str) -> Told:
        """The correlations, by rows."""
        whole = self.whole(rho)
        values = tuple(float(whole[i, j]) for i in range(len(self.labels)) for j in range(i))
        return Told("Correlation structure: General", form, self.names, values)

    @property
    def prior_words(self) -> list[str]:
        """One line."""
        return ["correlations ~ LKJ(1)"]

    @property
    def _shape(self) -> Floats:
        """Of the beta distributions of the partial correlations, by rows."""
        k = len(self.labels)
        return np.array([1.0 + (k - 2 - j) / 2.0 for i in range(k) for j in range(i)])

    def prior_draws(self, rng: np.random.Generator, n: int) -> Floats:
        """By the canonical partial correlations."""
        a = self._shape
        return np.arctanh(2.0 * rng.beta(a, a, (n, len(a))) - 1.0)

    def log_prior(self, rho: Floats) -> tuple[float, Floats]:
        """Uniform over correlation matrices."""
        shape = self._shape
        constant = sum(lgamma(2.0 * a) - 2.0 * lgamma(a) - (2.0 * a - 1.0) * np.log(2.0) for a in shape)
        log_rest = -2.0 * (np.logaddexp(rho, -rho) - np.log(2.0))  # log(1 − tanh²)
        return float(constant + (shape * log_rest).sum()), -2.0 * shape * np.tanh(rho)


@dataclass(frozen=True)
class _ByDistance(Matrices):
    """ρ is the logarithm of the range over a middling distance, and the logit of the nugget where there is one."""

    nugget: bool
    apart: float
    title: ClassVar[str]

    @property
    def names(self) -> tuple[str, ...]:
        """As nlme's."""
        return ("range", "nugget") if self.nugget else ("range",)

    @property
    def starts(self) -> tuple[Floats, ...]:
        """A short range, a long one, and one beyond most distances."""
        own = [-1.0] if self.nugget else []
        return np.array([0.0, *own]), np.array([1.5, *own]), np.array([4.0, *own])

    @abstractmethod
    def shape(self, u: Numbers) -> Numbers:
        """Correlation by distance over range."""

    @property
    def meaning(self) -> str:
        """In words."""
        return f"the {self.title.lower()} function of their distance over the range" + (
            ", times 1 − nugget" if self.nugget else ""
        )

    def of(self, rho: Numbers, places: Floats) -> Numbers:
        """By the distances of rows."""
        d = np.sqrt(((places[:, :, None] - places[:, None, :]) ** 2).sum(axis=-1))
        share = logistic(rho[1]) if self.nugget else 0.0
        out: Numbers = (1.0 - share) * self.shape(d / (self.apart * np.exp(rho[0])))
        i = np.arange(places.shape[1])
        out[:, i, i] = 1.0
        return out

    def told(self, rho: Floats, form: str) -> Told:
        """Range and nugget."""
        values = (float(self.apart * np.exp(rho[0])), *((float(logistic(rho[1])),) if self.nugget else ()))
        return Told(f"Correlation structure: {self.title} spatial correlation", form, self.names, values)

    @property
    def prior_words(self) -> list[str]:
        """Of range and nugget."""
        return [
            f"log(range / {self.apart:.4g}) ~ Normal(0, {RANGE_SD:g})",
            *(["nugget ~ Uniform(0, 1)"] if self.nugget else []),
        ]

    def prior_draws(self, rng: np.random.Generator, n: int) -> Floats:
        """Of range and nugget."""
        own = [RANGE_SD * rng.standard_normal(n), *([rng.logistic(size=n)] if self.nugget else [])]
        return np.stack(own, axis=1)

    def log_prior(self, rho: Floats) -> tuple[float, Floats]:
        """Log-normal range, uniform nugget."""
        z = rho[0] / RANGE_SD
        value, slope = -0.5 * z**2 - np.log(RANGE_SD * np.sqrt(2.0 * np.pi)), [-z / RANGE_SD]
        if self.nugget:
            own, more = of_logistic(rho[1:])
            value, slope = value + own, [*slope, *more]
        return float(value), np.array(slope)


class ExponentialDecay(_ByDistance):
    """Exponential decay."""

    title: ClassVar[str] = "Exponential"

    def shape(self, u: Numbers) -> Numbers:
        """exp(−u)."""
        return np.asarray(np.exp(-u))


class GaussianDecay(_ByDistance):
    """The decay of a normal density."""

    title: ClassVar[str] = "Gaussian"

    def shape(self, u: Numbers) -> Numbers:
        """exp(−u²)."""
        return np.asarray(np.exp(-(u**2)))


class SphericalDecay(_ByDistance):
    """What two balls have in common."""

    title: ClassVar[str] = "Spherical"

    def shape(self, u: Numbers) -> Numbers:
        """1 − 1.5 u + 0.5 u³, and nothing from 1 on."""
        return np.where(u.real < 1.0, 1.0 - 1.5 * u + 0.5 * u**3, 0.0)
