"""Responses whose mean is an inverse link of the linear predictor: what engines ask of their rows, by numpy alone.

All is by η, row by row: the log density with its constants, its first three derivatives, and those in dispersions.
Prior weights multiply the log density of a row, and of a binomial response they are its trials.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from _ranef.design import Factor, Numeric, Value
from _ranef.errors import DesignError, FitError
from _ranef.spec.prior_families import Gamma as GammaPrior
from _ranef.spec.response import Family, Gaussian
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load
from _ranef.support.remedies import one_of

__all__ = [
    "GENERALISED",
    "Binomial",
    "Dispersion",
    "Gamma",
    "Generalised",
    "NegativeBinomial",
    "Poisson",
    "Rows",
    "Slopes",
    "response_family",
]

#: distance from a whole number up to which a count is one
WHOLE = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """The response of rows.

    Attributes
    ----------
    y : array (n,)
        Counts, or positive numbers; of a binomial response proportions.
    weights : array (n,)
        Prior weights; of a binomial response trials.
    """

    y: Floats
    weights: Floats


@dataclass(frozen=True, eq=False, repr=False)
class Slopes:
    """The log density of rows and its derivatives in η, each (n,).

    Attributes
    ----------
    value : array (n,)
        Without what no η changes.
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
class Dispersion:
    """Derivatives in the logarithm of a dispersion parameter, each (n,): of the whole value, `first`, `curvature`."""

    value: Floats
    first: Floats
    curvature: Floats


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
    lower, upper : float
        The ends of the mean, where η has none.
    units : mapping str to float
        By link: how far on its scale default priors let effects go, about half of what a latent residual varies by.
    """

    link: str

    links: ClassVar[tuple[str, ...]]
    dispersions: ClassVar[tuple[str, ...]] = ()
    lower: ClassVar[float] = 0.0
    upper: ClassVar[float] = np.inf
    units: ClassVar[Mapping[str, float]] = {"log": 1.0, "logit": 1.0, "probit": 0.55, "cloglog": 0.7}

    def __post_init__(self) -> None:
        one_of(f"link of family {self.word!r}", self.link, self.links, FitError)

    def read(
        self, value: Value, name: str, weights: Floats | None, where: Callable[[int], str]
    ) -> tuple[Floats, Floats | None]:
        """The response (n,) and prior weights (n,), if any, from what the left side of a formula is worth.

        Raises
        ------
        DesignError
            If it is no such response, with the first such row.
        """
        if not isinstance(value, Numeric) or value.values.ndim != 1:
            raise DesignError(
                f"The response {name} must be one column of numbers for family {self.word!r}; categories, true and "
                "false, and cbind() are for family 'binomial'."
            )
        self.check(value.values, weights, name, where)
        return value.values.copy(), weights

    def check(self, y: Floats, weights: Floats | None, name: str, where: Callable[[int], str]) -> None:
        """Raise for a response (n,), as :class:`Rows` holds it, that it cannot have, or that says nothing."""
        self.refuse(y, name, where)

    @abstractmethod
    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """Raise for a response (n,) that it cannot have."""

    @abstractmethod
    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, float]) -> Slopes:
        """At η (n,), given the dispersions `own`."""

    @abstractmethod
    def constant(self, rows: Rows, own: Mapping[str, float]) -> Floats:
        """What :class:`Slopes` leaves out of the log density (n,)."""

    def in_dispersions(self, eta: Floats, rows: Rows, own: Mapping[str, float]) -> tuple[Dispersion, ...]:
        """Derivatives in the logarithm of each dispersion."""
        return ()

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """Of the dispersions."""
        return ()

    def without(self, dispersion: str) -> str:
        """What it means that a dispersion has no end, as the end of a sentence."""
        return ""

    def mean(self, eta: Floats) -> Floats:
        """The inverse link."""
        return np.exp(eta)

    def mean_slope(self, eta: Floats) -> Floats:
        """Its derivative."""
        return np.exp(eta)

    @abstractmethod
    def linked(self, mean: Floats) -> Floats:
        """η of means inside their range."""

    def central(self, rows: Rows, offset: Floats) -> float:
        """The linear predictor of the mean response, less the mean offset, for the prior of the intercept."""
        mean = np.average(rows.y, weights=rows.weights)
        if np.isfinite(self.upper):
            mean = (mean * rows.weights.sum() + 0.5) / (rows.weights.sum() + 1.0)
        return float(self.linked(np.asarray(mean))) - float(offset.mean())

    @abstractmethod
    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Of the response of rows (n,), as :class:`Rows` holds it."""

    @abstractmethod
    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """Twice the log density at the best mean of each row less that at `mean`, (n,); not divided by a dispersion."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Responses of rows, as :class:`Rows` holds them."""


Triplet = tuple[Floats, Floats, Floats, Floats]


@dataclass(frozen=True)
class Binomial(Generalised):
    """Successes of trials: 0 and 1, two levels (the second is success), proportions of ``weights``, or ``cbind()``.

    Parameters
    ----------
    link : "logit", "probit" or "cloglog"

    Examples
    --------
    >>> import ranef
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> model = ranef.Model(formula, ranef.datasets.load("cbpp"), family=ranef.families.Binomial("probit"))
    >>> round(model.fit().theta["herd.Intercept"], 3)
    np.float64(0.339)
    """

    link: str = "logit"

    word = "binomial"
    label = "binomial"
    links = ("logit", "probit", "cloglog")
    upper = 1.0

    def read(
        self, value: Value, name: str, weights: Floats | None, where: Callable[[int], str]
    ) -> tuple[Floats, Floats | None]:
        """Proportions and trials."""
        if isinstance(value, Numeric) and value.values.ndim == 2:
            y, weights = _of_counts(value.values, name, weights, where)
        elif isinstance(value, Factor):
            if len(value.levels) != 2:
                shown = ", ".join(map(repr, value.levels[:6])) + (", …" if len(value.levels) > 6 else "")
                raise DesignError(
                    f"The response {name} has {len(value.levels)} levels, {shown}; family 'binomial' takes two, of "
                    "which the second is success. Make a column of 0 and 1, or keep the rows of two levels."
                )
            y = (value.codes == 1).astype(float)
        else:
            y = value.values.copy()
        self.check(y, weights, name, where)
        return y, weights

    def check(self, y: Floats, weights: Floats | None, name: str, where: Callable[[int], str]) -> None:
        """Proportions that are whole numbers of trials, not all at one end."""
        trials = np.ones(len(y)) if weights is None else weights
        self.refuse(y, name, where)
        _check_whole(y, trials, name, where, weighted=weights is not None)
        if (y == y[0]).all() and y[0] in (0.0, 1.0):
            raise FitError(
                f"The response {name} is {'success' if y[0] else 'failure'} in all {len(y)} rows: nothing can be "
                "estimated from it. Check how it is coded."
            )

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What is no proportion."""
        wrong = (y < 0) | (y > 1)
        if wrong.any():
            row = int(wrong.argmax())
            raise DesignError(
                f"The response {name} is {y[row]:g} in {where(row)}; for family 'binomial' it is 0 or 1, or a "
                f"proportion with the trials as weights=. Counts of successes and failures are cbind({name}, failures)."
            )

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, float]) -> Slopes:
        """By those of the logarithms of both probabilities."""
        hits, trials = rows.y * rows.weights, rows.weights
        misses = trials - hits
        if self.link == "logit":
            small = np.exp(-np.abs(eta))
            up, over = eta >= 0.0, 1.0 / (1.0 + small)
            p, q = np.where(up, over, small * over), np.where(up, small * over, over)
            spread = trials * p * q
            value = hits * eta - trials * (np.maximum(eta, 0.0) + np.log1p(small))
            return Slopes(value, hits - trials * p, spread, spread * (p - q))
        first, other = _TAILS[self.link](eta)
        value, slope, bend, third = (hits * a + misses * b for a, b in zip(first, other, strict=True))
        return Slopes(value, slope, -bend, third)

    def constant(self, rows: Rows, own: Mapping[str, float]) -> Floats:
        """The binomial coefficient."""
        return _log_choose(rows.weights, rows.y * rows.weights)

    def mean(self, eta: Floats) -> Floats:
        """The probability."""
        if self.link == "logit":
            return _logistic(eta)
        if self.link == "probit":
            return np.asarray(load("scipy.special").ndtr(eta))
        return np.asarray(-np.expm1(-np.exp(np.minimum(eta, 700.0))))

    def mean_slope(self, eta: Floats) -> Floats:
        """Of the probability."""
        if self.link == "logit":
            p = _logistic(eta)
            return np.asarray(p * (1.0 - p))
        if self.link == "probit":
            return np.asarray(np.exp(-0.5 * eta**2) / np.sqrt(2.0 * np.pi))
        capped = np.minimum(eta, 700.0)
        return np.asarray(np.exp(capped - np.exp(capped)))

    def linked(self, mean: Floats) -> Floats:
        """The link."""
        if self.link == "logit":
            return np.log(mean) - np.log1p(-mean)
        if self.link == "probit":
            return np.asarray(load("scipy.special").ndtri(mean))
        return np.log(-np.log1p(-mean))

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Of a proportion."""
        return mean * (1.0 - mean) / weights

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """Both parts of the entropy."""
        y = rows.y
        return np.asarray(2.0 * rows.weights * (_log_ratio(y, mean) + _log_ratio(1.0 - y, 1.0 - mean)))

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Proportions."""
        return rng.binomial(np.round(weights).astype(np.int64), mean) / weights


@dataclass(frozen=True)
class Poisson(Generalised):
    """Counts whose variance is their mean.

    Parameters
    ----------
    link : "log"

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
    links = ("log",)

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What is no count."""
        _refuse_no_counts(y, name, where, self.word)

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, float]) -> Slopes:
        """The log link is the canonical one."""
        y, w, mean = rows.y, rows.weights, np.exp(eta)
        size = w * mean
        return Slopes(w * y * eta - size, w * y - size, size, -size)

    def constant(self, rows: Rows, own: Mapping[str, float]) -> Floats:
        """−log y!."""
        return np.asarray(-rows.weights * load("scipy.special").gammaln(rows.y + 1.0))

    def linked(self, mean: Floats) -> Floats:
        """The logarithm."""
        return np.log(mean)

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """The mean, over the weight."""
        return mean / weights

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """As McCullagh and Nelder have it."""
        return np.asarray(2.0 * rows.weights * (_log_ratio(rows.y, mean) - (rows.y - mean)))

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Counts."""
        return rng.poisson(mean).astype(float)


@dataclass(frozen=True)
class NegativeBinomial(Generalised):
    """Counts of variance μ + μ²/``size`` (glmmTMB's nbinom2, lme4's ``glmer.nb``), ``size`` being estimated.

    Parameters
    ----------
    link : "log"

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
    links = ("log",)
    dispersions = ("size",)
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"size": GammaPrior(1.0, 0.1)}

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What is no count."""
        _refuse_no_counts(y, name, where, self.word)

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, float]) -> Slopes:
        """By the share s = μ/(μ + size)."""
        y, w, size, total = rows.y, rows.weights, own["size"], rows.y + own["size"]
        below = np.logaddexp(eta, np.log(size))  # log(μ + size)
        s = np.exp(eta - below)
        bend = w * total * s * (1.0 - s)
        value = y * (eta - below) + size * np.log1p(-s)
        return Slopes(w * value, w * (y - total * s), bend, -bend * (1.0 - 2.0 * s))

    def constant(self, rows: Rows, own: Mapping[str, float]) -> Floats:
        """Γ(y + size)/Γ(size)/y!, as 1/(y B(y, size)), which keeps its digits where the size is large."""
        some = np.maximum(rows.y, 1.0)
        value = -np.log(some) - load("scipy.special").betaln(some, own["size"])
        return np.where(rows.y > 0, rows.weights * value, 0.0)

    def in_dispersions(self, eta: Floats, rows: Rows, own: Mapping[str, float]) -> tuple[Dispersion, ...]:
        """In log size."""
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

    def linked(self, mean: Floats) -> Floats:
        """The logarithm."""
        return np.log(mean)

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Quadratic in the mean."""
        return (mean + mean**2 / own["size"]) / weights

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """With the same size at the best mean."""
        y, size = rows.y, own["size"]
        return np.asarray(
            2.0 * rows.weights * (_log_ratio(y, mean) - (y + size) * (np.log(y + size) - np.log(mean + size)))
        )

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Poisson round a gamma mean."""
        size = own["size"]
        return rng.poisson(rng.gamma(size, mean / size)).astype(float)


@dataclass(frozen=True)
class Gamma(Generalised):
    """Positive numbers of variance φμ², the ``dispersion`` φ being estimated.

    Parameters
    ----------
    link : "log"
        R's default for it is the inverse link, which is not here: it does not keep the mean positive.

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
    links = ("log",)
    dispersions = ("dispersion",)
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"dispersion": GammaPrior(1.0, 1.0)}

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What is not positive."""
        wrong = ~(y > 0)
        if wrong.any():
            row = int(wrong.argmax())
            raise DesignError(
                f"The response {name} is {y[row]:g} in {where(row)}; for family 'gamma' it must be positive. Leave out "
                "such rows if they are errors of measurement; zeros that belong there need another model."
            )

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, float]) -> Slopes:
        """By the shape 1/φ."""
        shape = rows.weights / own["dispersion"]
        ratio = shape * rows.y * np.exp(-eta)
        return Slopes(-ratio - shape * eta, ratio - shape, ratio, ratio)

    def constant(self, rows: Rows, own: Mapping[str, float]) -> Floats:
        """With shape w/φ."""
        shape = rows.weights / own["dispersion"]
        log_y = np.log(rows.y)
        return np.asarray(shape * (np.log(shape) + log_y) - log_y - load("scipy.special").gammaln(shape))

    def in_dispersions(self, eta: Floats, rows: Rows, own: Mapping[str, float]) -> tuple[Dispersion, ...]:
        """In log φ, with −1 times those in the logarithm of the shape."""
        shape = rows.weights / own["dispersion"]
        ratio = rows.y * np.exp(-eta)
        value = np.log(shape) + 1.0 + np.log(rows.y) - load("scipy.special").psi(shape) - ratio - eta
        return (Dispersion(-shape * value, -shape * (ratio - 1.0), -shape * ratio),)

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """By the spread of logarithms."""
        return (float(np.clip(0.5 * np.log(rows.y).var(), 1e-4, 10.0)),)

    def linked(self, mean: Floats) -> Floats:
        """The logarithm."""
        return np.log(mean)

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


def _of_counts(counts: Floats, name: str, weights: Floats | None, where: Callable[[int], str]) -> tuple[Floats, Floats]:
    """Proportions and trials of successes and failures (n, 2)."""
    if counts.shape[1] != 2:
        raise DesignError(
            f"The response {name} has {counts.shape[1]} columns; family 'binomial' takes two, cbind(successes, "
            "failures)."
        )
    if weights is not None:
        raise DesignError(
            f"The response {name} holds its trials, so weights= has nothing to say. Leave weights= out, or give the "
            "proportion as the response."
        )
    for what, column in zip(("successes", "failures"), counts.T, strict=True):
        wrong = (column < 0) | (np.abs(column - np.round(column)) > WHOLE)
        if wrong.any():
            row = int(wrong.argmax())
            hint = " The second column of cbind() is failures, as size - successes." if column[row] < 0 else ""
            raise DesignError(
                f"The {what} of the response {name} are {column[row]:g} in {where(row)}; they must be whole numbers, "
                f"zero or more.{hint}"
            )
    trials = np.round(counts).sum(axis=1)
    if not trials.all():
        raise DesignError(
            f"The response {name} has no trials in {where(int((trials == 0).argmax()))}: that row says nothing. Leave "
            "out rows without trials."
        )
    return np.round(counts[:, 0]) / trials, trials


def _check_whole(y: Floats, trials: Floats, name: str, where: Callable[[int], str], *, weighted: bool) -> None:
    """Refuse proportions that are no whole numbers of the trials."""
    hits = y * trials
    wrong = (np.abs(hits - np.round(hits)) > WHOLE * np.maximum(1.0, trials)) | (trials != np.round(trials))
    if wrong.any():
        row = int(wrong.argmax())
        told = f"of {trials[row]:g} trials is {hits[row]:g} successes" if weighted else "is neither 0 nor 1"
        raise DesignError(
            f"The response {name} is {y[row]:g} in {where(row)}, which {told}: numbers of trials and successes must be "
            "whole. Give the trials as weights=, or counts as cbind(successes, failures)."
        )


def _refuse_no_counts(y: Floats, name: str, where: Callable[[int], str], word: str) -> None:
    wrong = (y < 0) | (np.abs(y - np.round(y)) > WHOLE)
    if wrong.any():
        row = int(wrong.argmax())
        raise DesignError(
            f"The response {name} is {y[row]:g} in {where(row)}; for family {word!r} it must be a count: 0, 1, 2 and "
            "so on. A rate is its count with offset(log(exposure))."
        )
    if not y.any():
        raise FitError(f"The response {name} is 0 in every row: its mean has no estimate. Check the data.")


def _logistic(eta: Floats) -> Floats:
    return np.asarray(load("scipy.special").expit(eta))


def _log_choose(n: Floats, k: Floats) -> Floats:
    gammaln = load("scipy.special").gammaln
    return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0))


def _log_ratio(y: Floats, mean: Floats) -> Floats:
    """Y log(y/μ), zero where y is."""
    return np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0) / np.where(y > 0, mean, 1.0)), 0.0)


def _log_normal(eta: Floats) -> Triplet:
    """Log Φ with three derivatives."""
    value = load("scipy.special").log_ndtr(eta)
    r = np.exp(-0.5 * eta**2 - 0.5 * np.log(2.0 * np.pi) - value)
    second = -r * (eta + r)
    return value, r, second, -second * (eta + r) - r * (1.0 + second)


def _probit_tails(eta: Floats) -> tuple[Triplet, Triplet]:
    a, b, c, d = _log_normal(-eta)
    return _log_normal(eta), (a, -b, c, -d)


def _cloglog_tails(eta: Floats) -> tuple[Triplet, Triplet]:
    t = np.exp(np.minimum(eta, 700.0))
    m = np.where(t > 1e-8, t / np.maximum(np.expm1(np.minimum(t, 700.0)), 1e-300), 1.0 - 0.5 * t)
    rest = 1.0 - t - m
    second = m * rest
    value = np.where(t > 1e-8, np.log(-np.expm1(-np.maximum(t, 1e-300))), eta - 0.5 * t)
    return (value, m, second, second * rest - m * (t + second)), (-t, -t, -t, -t)


_TAILS: Mapping[str, Callable[[Floats], tuple[Triplet, Triplet]]] = {
    "probit": _probit_tails,
    "cloglog": _cloglog_tails,
}


#: by the words that users have for them
GENERALISED: Mapping[str, type[Generalised]] = {
    kind.word: kind for kind in (Binomial, Poisson, NegativeBinomial, Gamma)
}

#: what other packages call them
ALIASES = {
    "nbinom2": "negative binomial",
    "negativebinomial": "negative binomial",
    "negbinomial": "negative binomial",
    "bernoulli": "binomial",
}


def response_family(family: Any, link: Any = None) -> Family:
    """The distribution of a model's response by its word and link, or one itself.

    Raises
    ------
    FitError
        If there is no such family, or it has no such link.
    """
    if isinstance(family, type) and issubclass(family, Generalised):
        raise FitError(f"family={family.__name__} is a class; call it: ranef.families.{family.__name__}().")
    if isinstance(family, Generalised):
        if link not in (None, family.link):
            raise FitError(f"family={family!r} has its link already; leave link={link!r} out.")
        return family
    if isinstance(family, Gaussian):
        family = family.word
    word = ALIASES.get(family.lower(), family.lower()) if isinstance(family, str) else family
    if word == "student":
        raise FitError("A Student t response is for Model.sample(family='student'), of a model without family=.")
    one_of("family", word, ["gaussian", *GENERALISED], FitError, but="one of ranef.families")
    if word == "gaussian":
        if link not in (None, "identity"):
            raise FitError(f"link={link!r} is not available for family 'gaussian', whose link is the identity.")
        return Gaussian()
    return GENERALISED[word]() if link is None else GENERALISED[word](link)  # type: ignore[call-arg]
