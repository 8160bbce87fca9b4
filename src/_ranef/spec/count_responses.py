"""Counts: Poisson, and two of larger variance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from _ranef.design import Value
from _ranef.spec.generalised_response import (
    Dispersion,
    Generalised,
    InMean,
    Reading,
    Rows,
    Slopes,
    log_ratio,
    refuse_no_counts,
)
from _ranef.spec.links import Means, Space
from _ranef.spec.prior_families import Gamma as GammaPrior
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["NegativeBinomial", "NegativeBinomial1", "Poisson"]

#: mean count beyond which a dispersion is measured in means
FEW = 10.0

#: counts from which on Stirling's series has all digits
LARGE_COUNT = 20.0


class _Counts(Generalised):
    """A response of whole numbers."""

    def read(self, value: Value, name: str, weights: Floats | None, where: Callable[[int], str]) -> Reading:
        """Whole numbers, for a count of 1e-9 is one that was computed, and none of these laws."""
        found = super().read(value, name, weights, where)
        return replace(found, y=np.round(found.y))

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What is no count."""
        refuse_no_counts(y, name, where, self.word)

    def _inside(self, eta: Any, y: Any) -> Any:
        """With a square root, on one side of its zero where there are counts, so that there is one mode."""
        return (eta > 0.0) | (y == 0.0) if self.link == "sqrt" else super()._inside(eta, y)

    def step(self, weights: Floats) -> Floats:
        """One."""
        return np.ones(len(weights))


@dataclass(frozen=True)
class Poisson(_Counts):
    """Counts whose variance is their mean.

    Parameters
    ----------
    link : "log", "sqrt" or "identity"

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("grouseticks")
    >>> model = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family=ranef.families.Poisson())
    >>> model.fit().fixef.round(2).tolist()[1:]
    [1.34, -0.9]
    """

    link: str = "log"

    word = "poisson"
    label = "Poisson"
    law = "Poisson"
    links = ("log", "sqrt", "identity")

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> Slopes:
        """The log link is the canonical one, in few passes."""
        if self.link != "log":
            return super().slopes(eta, rows, own)
        y, w, mean = rows.y, rows.weights, np.exp(eta)
        size, ahead = w * mean, eta - rows.log_y
        value = np.where(y > 0, y * (ahead - np.expm1(ahead)), -mean)
        return Slopes(w * value, w * y - size, size, -size)

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """Y log(μ/y) − μ + y, where a square root may be zero without counts."""
        mean, hits = means.value, rows.weights * rows.y
        over, some = _over(mean, hits), np.where(rows.y > 0, rows.y, 1.0)
        ahead = mean / some - 1.0
        return InMean(
            rows.weights * np.where(rows.y > 0, some * (np.log1p(ahead) - ahead), -mean),
            hits * over - rows.weights,
            -hits * over**2,
            2.0 * hits * over**3,
        )

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """A logarithm that no count has may be infinite."""
        mean, log_mean = (
            self.linking.inverse(eta, space),
            self.linking.log_inverse(space.xp.where(y > 0, eta, 1.0), space),
        )
        return weights * (y * log_mean - mean - space.special.gammaln(y + 1.0))

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """Of the density at μ = y, so that large counts keep their digits."""
        return np.asarray(rows.weights * _log_top(rows.y))

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """The mean, over the weight."""
        return mean / weights

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """As McCullagh and Nelder have it."""
        return np.asarray(2.0 * rows.weights * (log_ratio(rows.y, mean) - (rows.y - mean)))

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Counts."""
        return rng.poisson(mean).astype(float)


@dataclass(frozen=True)
class NegativeBinomial(_Counts):
    """Counts of variance μ + μ²/``size`` (glmmTMB's nbinom2, lme4's ``glmer.nb``), ``size`` being estimated.

    Parameters
    ----------
    link : "log", "sqrt" or "identity"

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("grouseticks")
    >>> model = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family=ranef.families.NegativeBinomial())
    >>> round(model.fit().dispersion["size"], 3)
    np.float64(3.309)
    """

    link: str = "log"

    word = "negative binomial"
    label = "negative binomial"
    law = "NegBinomial"
    links = ("log", "sqrt", "identity")
    dispersions = ("size",)
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"size": GammaPrior(1.0, 0.1)}

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> Slopes:
        """By the share s = μ/(μ + size) of a log link and what is left to 1, each with its own digits."""
        if self.link != "log":
            return super().slopes(eta, rows, own)
        y, w, size = rows.y, rows.weights, own["size"]
        s, q, log_s, log_q = _both_shares(eta, size)
        bend = w * (y + size) * s * q
        return Slopes(w * (y * log_s + size * log_q), w * (q * y - size * s), bend, -bend * (q - s))

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """Y log μ − (y + size) log(μ + size), in what keeps its digits where the size is large or counts are."""
        w, y, size, mean = rows.weights, rows.y, own["size"], means.value
        below, over = mean + size, _over(mean, y)
        hits, rest, part = y * over, size * over, w * size / below
        value = -load("scipy.special").xlog1py(y, rest) - size * np.log1p(mean / size)
        second, third = 1.0 - hits * (2.0 + rest), hits * (3.0 + rest * (3.0 + rest)) - 1.0
        return InMean(w * value, part * (hits - 1.0), part * second / below, 2.0 * part * third / below**2)

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """In log size."""
        w, y, size, psi = rows.weights, rows.y, own["size"], load("scipy.special").psi
        below, ahead = means.value + size, y - means.value
        value = psi(y + size) - psi(size) - np.log1p(means.value / size) - ahead / below
        second = -(1.0 + 2.0 * ahead / below) / below**2
        return ((w * size * value, w * size * ahead / below**2, w * size * second),)

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """By log(μ + size)."""
        xp, gammaln, size = space.xp, space.special.gammaln, own["size"]
        log_mean = self.linking.log_inverse(xp.where(y > 0, eta, 1.0), space)
        if self.link == "log":
            below = xp.logaddexp(eta, xp.log(size))
        else:
            below = xp.log(self.linking.inverse(eta, space) + size)
        ways = gammaln(y + size) - gammaln(size) - gammaln(y + 1.0)
        return weights * (ways + size * (xp.log(size) - below) + y * (log_mean - below))

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """Γ(y + size)/Γ(size)/y!."""
        return rows.weights * _log_ways(rows.y, own["size"])

    def in_dispersions(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> tuple[Dispersion, ...]:
        """In log size."""
        if self.link != "log":
            return super().in_dispersions(eta, rows, own)
        psi, size, y, w = load("scipy.special").psi, own["size"], rows.y, rows.weights
        s, q, _, log_q = _both_shares(eta, size)
        value = psi(y + size) - psi(size) + log_q + s - q * y / size
        first = s * (q * y - size * s)
        curvature = s * q * (size - (y + size) * (q - s))
        return (Dispersion(w * size * value, w * first, w * curvature),)

    def without(self, dispersion: str) -> str:
        """The Poisson distribution is the limit."""
        return ": given the effects, counts vary no more than Poisson ones, and family='poisson' is the simpler model"

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """By moments of the response."""
        mean, variance = float(rows.y.mean()), float(rows.y.var())
        return (float(np.clip(2.0 * mean**2 / max(variance - mean, 1e-8), 0.1, 1e3)),)

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Quadratic in the mean."""
        return (mean + mean**2 / own["size"]) / weights

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """With the same size at the best mean."""
        y, size = rows.y, own["size"]
        return np.asarray(
            2.0 * rows.weights * (log_ratio(y, mean) - (y + size) * (np.log(y + size) - np.log(mean + size)))
        )

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Poisson round a gamma mean."""
        size = own["size"]
        return rng.poisson(rng.gamma(size, mean / size)).astype(float)


@dataclass(frozen=True)
class NegativeBinomial1(_Counts):
    """Counts of variance μ(1 + ``dispersion``) (glmmTMB's nbinom1), the dispersion being estimated.

    Parameters
    ----------
    link : "log", "sqrt" or "identity"

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("grouseticks")
    >>> model = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", data, family=ranef.families.NegativeBinomial1())
    >>> round(float(model.fit().dispersion["dispersion"]), 3)
    2.031
    """

    link: str = "log"

    word = "negative binomial 1"
    label = "negative binomial (linear variance)"
    law = "NegBinomial1"
    links = ("log", "sqrt", "identity")
    dispersions = ("dispersion",)
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"dispersion": GammaPrior(1.0, 0.5)}

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """By the size r = μ/φ of every row."""
        w, y, phi, (psi, one, two) = rows.weights, rows.y, own["dispersion"], _rises(means, rows, own)
        r = means.value / phi
        value = _log_ways(y, r) - r * np.log1p(phi)
        return InMean(w * value, w * (psi - np.log1p(phi)) / phi, w * one / phi**2, w * two / phi**3)

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """In log φ, with which r falls."""
        w, y, phi, (psi, one, two) = rows.weights, rows.y, own["dispersion"], _rises(means, rows, own)
        r, share = means.value / phi, phi / (1.0 + phi)
        value = y / (1.0 + phi) - r * (psi - np.log1p(phi) + share)
        first = (np.log1p(phi) - psi - r * one - share) / phi
        return ((w * value, w * first, -w * (2.0 * one + r * two) / phi**2),)

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """Of what no mean changes."""
        return np.asarray(-rows.weights * rows.y * np.log1p(1.0 / own["dispersion"]))

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """By the size of every row."""
        xp, gammaln, phi = space.xp, space.special.gammaln, own["dispersion"]
        r = self.linking.inverse(eta, space) / phi
        ways = gammaln(y + r) - gammaln(r) - gammaln(y + 1.0)
        return weights * (xp.where(y > 0, ways + y * xp.log(phi), 0.0) - (r + y) * xp.log1p(phi))

    def without(self, dispersion: str) -> str:
        """The Poisson distribution is the limit."""
        return ": given the effects, counts vary no more than Poisson ones, and family='poisson' is the simpler model"

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """By moments of the response."""
        mean, variance = float(rows.y.mean()), float(rows.y.var())
        return (float(np.clip(0.5 * (variance / mean - 1.0), 0.05, 50.0 * self.units(rows)[0])),)

    def units(self, rows: Rows) -> tuple[float, ...]:
        """Where counts are large, a share of their mean: φ/μ is what varies then."""
        return (max(1.0, float(rows.y.mean()) / FEW),)

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """A multiple of the mean."""
        return mean * (1.0 + own["dispersion"]) / weights

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Poisson round a gamma mean."""
        return rng.poisson(rng.gamma(mean / own["dispersion"], own["dispersion"])).astype(float)


def _rises(means: Means, rows: Rows, own: Mapping[str, Any]) -> tuple[Floats, Floats, Floats]:
    """By how much ψ, ψ′ and ψ″ rise from r to y + r."""
    special, y = load("scipy.special"), rows.y
    r = np.where(y > 0, means.value / own["dispersion"], 1.0)
    return special.psi(y + r) - special.psi(r), *(special.polygamma(k, y + r) - special.polygamma(k, r) for k in (1, 2))


def _over(mean: Floats, y: Floats) -> Floats:
    """1/μ, zero where neither is: a square root may be zero without counts."""
    return np.where(y > 0, 1.0 / np.where(y > 0, mean, 1.0), 0.0)


def _both_shares(eta: Floats, size: float) -> tuple[Floats, Floats, Floats, Floats]:
    """μ/(μ + size) and size/(μ + size) of μ = exp(η), and their logarithms."""
    ahead = eta - np.log(size)
    log_s, log_q = -np.logaddexp(0.0, -ahead), -np.logaddexp(0.0, ahead)
    return np.exp(log_s), np.exp(log_q), log_s, log_q


def _log_top(y: Floats) -> Floats:
    """Log density of a Poisson count at its mean, y log y − y − log y!."""
    special, some, few = load("scipy.special"), np.maximum(y, LARGE_COUNT), np.minimum(y, LARGE_COUNT)
    near = special.xlogy(few, few) - few - special.gammaln(few + 1.0)
    return np.where(y < LARGE_COUNT, near, -0.5 * np.log(2.0 * np.pi * some) - _series(some))


def _log_ways(y: Floats, r: Floats | float) -> Floats:
    """Log Γ(y + r)/Γ(r)/y! of counts, whose digits a difference of large log Γ would lose."""
    special, some = load("scipy.special"), np.maximum(y, 1.0)
    large, small = np.maximum(some, r), np.minimum(some, r)
    far = np.maximum(large, LARGE_COUNT)
    rise = (far + small - 0.5) * np.log1p(small / far) + small * np.log(far) - small
    rise += _series(far + small) - _series(far) - special.gammaln(small)
    value = np.where(large < LARGE_COUNT, -special.betaln(some, r), rise)
    return np.where(y > 0, value - np.log(some), 0.0)


def _series(z: Floats) -> Floats:
    """What Stirling's formula lacks of log Γ(z)."""
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * z**2)) / z**2) / z
