"""Responses between 0 and 1: successes of trials, and shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from _ranef.design import Factor, Numeric, Value, bare_label
from _ranef.errors import DesignError, FitError
from _ranef.spec.generalised_response import (
    WHOLE,
    Generalised,
    InMean,
    Reading,
    Rows,
    Slopes,
    log_ratio,
    refuse_constant,
    refuse_text,
)
from _ranef.spec.links import Means, ShareLink, Space
from _ranef.spec.prior_families import Gamma as GammaPrior
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["Beta", "Binomial"]

#: logarithm of a share below which numbers are none
LEAST = -600.0


class _Share(Generalised):
    """A response whose mean is a share."""

    @property
    def shares(self) -> ShareLink:
        """The link."""
        link = self.linking
        assert isinstance(link, ShareLink)
        return link


@dataclass(frozen=True)
class Binomial(_Share):
    """Successes of trials: 0 and 1, two levels (the second is success), proportions of ``weights``, or ``cbind()``.

    Parameters
    ----------
    link : "logit", "probit", "cloglog", "loglog" or "cauchit"

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
    links = ("logit", "probit", "cloglog", "loglog", "cauchit")
    law = "Binomial"
    upper = 1.0

    def read(self, value: Value, name: str, weights: Floats | None, where: Callable[[int], str]) -> Reading:
        """Proportions and trials."""
        if isinstance(value, Numeric) and value.values.ndim == 2:
            y, weights = _of_counts(value.values, name, weights, where)
        elif isinstance(value, Factor):
            if len(value.levels) != 2:
                refuse_text(value, name)
                shown = ", ".join(map(repr, value.levels[:6])) + (", …" if len(value.levels) > 6 else "")
                raise DesignError(
                    f"The response {name} has {len(value.levels)} levels, {shown}; family 'binomial' takes two, of "
                    "which the second is success. Make a column of 0 and 1, or keep the rows of two levels."
                    + (" Some differ in case or blanks only." if len(set(map(bare_label, value.levels))) == 2 else "")
                )
            y = (value.codes == 1).astype(float)
        else:
            y = value.values.copy()
        self.check(y, weights, name, where)
        trials = np.ones(len(y)) if weights is None else np.round(weights)
        return Reading(self, np.round(y * trials) / trials, None if weights is None else trials)

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

    def step(self, weights: Floats) -> Floats:
        """One success."""
        return np.asarray(1.0 / weights)

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> Slopes:
        """By those of the logarithms of both probabilities."""
        hits, trials = rows.y * rows.weights, rows.weights
        misses = trials - hits
        if self.link == "logit":  # the canonical link, in few passes
            small = np.exp(-np.abs(eta))
            up, over = eta >= 0.0, 1.0 / (1.0 + small)
            p, q = np.where(up, over, small * over), np.where(up, small * over, over)
            spread = trials * p * q
            value = hits * eta - trials * (np.maximum(eta, 0.0) + np.log1p(small))
            return Slopes(value, hits - trials * p, spread, spread * (p - q))
        first, other = self.shares.tails(eta)
        value, slope, bend, third = (hits * a + misses * b for a, b in zip(first, other, strict=True))
        return Slopes(value, slope, -bend, third)

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """Both parts."""
        hits, misses = rows.weights * rows.y, rows.weights * (1.0 - rows.y)
        p, q = means.value, means.other
        value = hits * np.log(p) + misses * np.log(q)
        return InMean(value, hits / p - misses / q, -hits / p**2 - misses / q**2, 2.0 * (hits / p**3 - misses / q**3))

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """A tail that no trial has may be infinite."""
        where, gammaln = space.xp.where, space.special.gammaln
        hits, misses = y * weights, (1.0 - y) * weights
        success, failure = self.shares.log_tails(eta, space)
        ways = gammaln(weights + 1.0) - gammaln(hits + 1.0) - gammaln(misses + 1.0)
        return ways + where(hits > 0, hits * success, 0.0) + where(misses > 0, misses * failure, 0.0)

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """The binomial coefficient."""
        return _log_choose(rows.weights, rows.y * rows.weights)

    def near(self, rows: Rows) -> Floats:
        """Half a trial towards the middle."""
        return np.asarray((rows.weights * rows.y + 0.5) / (rows.weights + 1.0))

    def centre(self, rows: Rows) -> float:
        """The share of successes, half a trial towards the middle."""
        trials = float(rows.weights.sum())
        return float((np.average(rows.y, weights=rows.weights) * trials + 0.5) / (trials + 1.0))

    def latent(
        self, mean: float, rows: Rows, own: Mapping[str, float], of_logarithm: Callable[[float], float]
    ) -> float:
        """Of what the link is the distribution function of."""
        return self.shares.variance

    def absorbs(self, rows: Rows) -> bool:
        """Where all rows are single trials."""
        return bool((rows.weights == 1.0).all())

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Of a proportion."""
        return mean * (1.0 - mean) / weights

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """Both parts of the entropy."""
        y = rows.y
        return np.asarray(2.0 * rows.weights * (log_ratio(y, mean) + log_ratio(1.0 - y, 1.0 - mean)))

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Proportions."""
        return rng.binomial(np.round(weights).astype(np.int64), mean) / weights


@dataclass(frozen=True)
class Beta(_Share):
    """Shares between 0 and 1 of variance μ(1 − μ)/(1 + ``precision``) (glmmTMB's beta_family, betareg).

    Parameters
    ----------
    link : "logit", "probit", "cloglog", "loglog" or "cauchit"

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy").assign(share=lambda d: d["Reaction"] / 500)
    >>> model = ranef.Model("share ~ Days + (1 | Subject)", data, family=ranef.families.Beta())
    >>> round(float(model.fit().dispersion["precision"]), 1)
    49.6
    """

    link: str = "logit"

    word = "beta"
    label = "beta"
    links = ("logit", "probit", "cloglog", "loglog", "cauchit")
    law = "Beta"
    upper = 1.0
    dispersions = ("precision",)
    parameters: ClassVar[Mapping[str, GammaPrior]] = {"precision": GammaPrior(1.0, 0.1)}

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What is not strictly between, or does not vary."""
        wrong = ~((y > 0) & (y < 1))
        if wrong.any():
            row = int(wrong.argmax())
            raise DesignError(
                f"The response {name} is {y[row]:g} in {where(row)}; for family 'beta' it must lie strictly between 0 "
                "and 1. Percentages are to be divided by 100; shares of whole trials are for family 'binomial'; other "
                "zeros and ones need a model of their own."
            )
        refuse_constant(y, name)

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """By both shapes."""
        special, w, phi, (a, b) = load("scipy.special"), rows.weights, own["precision"], _shapes(means, own)
        value = a * np.log(rows.y) + b * np.log1p(-rows.y) - special.betaln(a, b)
        first = special.psi(b) - special.psi(a) + np.log(rows.y) - np.log1p(-rows.y)
        second = -special.polygamma(1, a) - special.polygamma(1, b)
        third = special.polygamma(2, b) - special.polygamma(2, a)
        return InMean(w * value, w * phi * first, w * phi**2 * second, w * phi**3 * third)

    def own_in_mean(
        self, means: Means, rows: Rows, own: Mapping[str, Any]
    ) -> tuple[tuple[Floats, Floats, Floats], ...]:
        """In log precision."""
        special, w, phi, (a, b) = load("scipy.special"), rows.weights, own["precision"], _shapes(means, own)
        psi, polygamma, log_y, log_rest = special.psi, special.polygamma, np.log(rows.y), np.log1p(-rows.y)
        value = phi * psi(phi) - a * psi(a) - b * psi(b) + a * log_y + b * log_rest
        first = psi(b) - psi(a) + log_y - log_rest + b * polygamma(1, b) - a * polygamma(1, a)
        second = -2.0 * (polygamma(1, a) + polygamma(1, b)) - a * polygamma(2, a) - b * polygamma(2, b)
        return ((w * value, w * phi * first, w * phi**2 * second),)

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """−log y(1 − y)."""
        return np.asarray(-rows.weights * (np.log(rows.y) + np.log1p(-rows.y)))

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """By both shapes."""
        xp, gammaln, phi = space.xp, space.special.gammaln, own["precision"]
        a, b = (phi * xp.exp(xp.maximum(share, LEAST)) for share in self.shares.log_tails(eta, space))
        return weights * (gammaln(phi) - gammaln(a) - gammaln(b) + (a - 1.0) * xp.log(y) + (b - 1.0) * xp.log1p(-y))

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """By moments of the response."""
        mean = float(rows.y.mean())
        return (float(np.clip(2.0 * mean * (1.0 - mean) / max(float(rows.y.var()), 1e-8), 1.0, 1e4)),)

    def without(self, dispersion: str) -> str:
        """Nothing varies."""
        return ": given the effects, the response does not vary"

    def near(self, rows: Rows) -> Floats:
        """The response."""
        return rows.y

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """As of binomial proportions of 1 + precision trials."""
        return mean * (1.0 - mean) / (1.0 + own["precision"])

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Shares, kept from rounding to 0 and 1."""
        phi = own["precision"]
        return np.clip(rng.beta(phi * mean, phi * (1.0 - mean)), np.finfo(float).tiny, 1.0 - 2.0**-53)


def _shapes(means: Means, own: Mapping[str, Any]) -> tuple[Floats, Floats]:
    return own["precision"] * means.value, own["precision"] * means.other


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
    wrong = (np.abs(hits - np.round(hits)) > WHOLE * np.maximum(1.0, trials)) | (
        (np.abs(trials - np.round(trials)) > WHOLE) | (np.round(trials) < 1)
    )
    if wrong.any():
        row = int(wrong.argmax())
        told = f"of {trials[row]:g} trials is {hits[row]:g} successes" if weighted else "is neither 0 nor 1"
        raise DesignError(
            f"The response {name} is {y[row]:g} in {where(row)}, which {told}: numbers of trials and successes must be "
            "whole. Give the trials as weights=, or counts as cbind(successes, failures)."
        )


def _log_choose(n: Floats, k: Floats) -> Floats:
    gammaln = load("scipy.special").gammaln
    return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0))
