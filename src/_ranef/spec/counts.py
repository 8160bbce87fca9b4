"""Counts: Poisson, and two of larger variance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from _ranef.spec.generalised import (
    Dispersion,
    Generalised,
    InMean,
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


class _Counts(Generalised):
    """A response of whole numbers."""

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
        size = w * mean
        return Slopes(w * y * eta - size, w * y - size, size, -size)

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """Y log μ − μ, where a square root may be zero without counts."""
        mean, hits = means.value, rows.weights * rows.y
        over = _over(mean, hits)
        return InMean(
            load("scipy.special").xlogy(hits, mean) - rows.weights * mean,
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
        """−log y!."""
        return np.asarray(-rows.weights * load("scipy.special").gammaln(rows.y + 1.0))

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
        """By the share s = μ/(μ + size) of a log link, in few passes."""
        if self.link != "log":
            return super().slopes(eta, rows, own)
        y, w, size, total = rows.y, rows.weights, own["size"], rows.y + own["size"]
        below = np.logaddexp(eta, np.log(size))  # log(μ + size)
        s = np.exp(eta - below)
        bend = w * total * s * (1.0 - s)
        value = y * (eta - below) + size * np.log1p(-s)
        return Slopes(w * value, w * (y - total * s), bend, -bend * (1.0 - 2.0 * s))

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """Y log μ − (y + size) log(μ + size), and what keeps its digits where the size is large."""
        w, y, size, mean = rows.weights, rows.y, own["size"], means.value
        total, below, over = y + size, mean + size, _over(mean, y)
        value = load("scipy.special").xlogy(y, mean) - y * np.log(below) - size * np.log1p(mean / size)
        first, second = y * over - total / below, total / below**2 - y * over**2
        return InMean(w * value, w * first, w * second, 2.0 * w * (y * over**3 - total / below**3))

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
        """Γ(y + size)/Γ(size)/y!, as 1/(y B(y, size)), which keeps its digits where the size is large."""
        some = np.maximum(rows.y, 1.0)
        value = -np.log(some) - load("scipy.special").betaln(some, own["size"])
        return np.where(rows.y > 0, rows.weights * value, 0.0)

    def in_dispersions(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> tuple[Dispersion, ...]:
        """In log size."""
        if self.link != "log":
            return super().in_dispersions(eta, rows, own)
        psi, size, y, w = load("scipy.special").psi, own["size"], rows.y, rows.weights
        below = np.logaddexp(eta, np.log(size))
        s = np.exp(eta - below)
        spread = s * (1.0 - s)
        value = psi(y + size) - psi(size) + np.log1p(-s) + (np.exp(eta) - y) * np.exp(-below)
        first = -size * s + (y + size) * spread
        curvature = size * spread - (y + size) * spread * (1.0 - 2.0 * s)
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
        some = np.maximum(y, 1.0)
        value = -np.where(y > 0, np.log(some) + load("scipy.special").betaln(some, r), 0.0) - r * np.log1p(phi)
        return InMean(w * value, w * (psi - np.log1p(phi)) / phi, w * one / phi**2, w * two / phi**3)

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """In log φ, with which r falls."""
        w, y, phi, (psi, one, two) = rows.weights, rows.y, own["dispersion"], _rises(means, rows, own)
        r, share = means.value / phi, phi / (1.0 + phi)
        value = y - r * psi + r * np.log1p(phi) - (r + y) * share
        first = (np.log1p(phi) - psi - r * one - share) / phi
        return ((w * value, w * first, -w * (2.0 * one + r * two) / phi**2),)

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """Of what no mean changes."""
        return np.asarray(rows.weights * rows.y * (np.log(own["dispersion"]) - np.log1p(own["dispersion"])))

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
        return (float(np.clip(0.5 * (variance / mean - 1.0), 0.05, 50.0)),)

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
