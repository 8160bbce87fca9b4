"""Ordered classes: cumulative links, with the first threshold in the intercept and steps between thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from _ranef.design import Factor, Value
from _ranef.errors import DataWarning, DesignError, warn
from _ranef.spec.generalised_response import WHOLE, Dispersion, Generalised, InMean, Reading, Rows, Slopes
from _ranef.spec.links import Means, ShareLink, Space
from _ranef.spec.prior_families import Gamma as GammaPrior
from _ranef.support.arrays import Floats, Ints

__all__ = ["Ordinal", "thresholds"]

#: most classes: beyond them a response is better taken as numbers
MOST_CLASSES = 50


def _places(levels: Sequence[str], labels: Sequence[str], name: str) -> Ints:
    """Where labels stand among the levels that were given."""
    if sorted(levels) != sorted(labels):
        raise DesignError(
            f"The response {name} has the classes {', '.join(labels)}, and levels= gives {', '.join(levels)}. Give "
            "each class of the data once, from the lowest to the highest."
        )
    return np.array([levels.index(label) for label in labels])


def _warn_of_letters(value: Factor, name: str) -> None:
    """Say in which order classes stand that are not in that of numbers, where nobody has said that they have one."""
    if value.ordered or value.numbers or _counted(value.levels):
        return
    letters = list(value.levels) == sorted(value.levels)
    kind = "text without an order and were" if letters else "categories that are not said to be ordered, and were"
    warn(
        f"The classes of the response {name} are {kind} taken in {'that of their letters' if letters else 'theirs'}: "
        f"{' < '.join(value.levels)}. If they have another, give family=ranef.families.Ordinal(levels=(...)) from the "
        "lowest to the highest, or the column as an ordered pandas.Categorical.",
        DataWarning,
    )


def _counted(levels: Sequence[str]) -> bool:
    """Whether labels are numbers in their order."""
    try:
        numbers = [float(level) for level in levels]
    except ValueError:
        return False
    return numbers == sorted(numbers)


@dataclass(frozen=True)
class Ordinal(Generalised):
    """Ordered classes: P(y ≤ k) = F(α_k − η), F being the inverse link, with thresholds α (R's ``ordinal::clmm``).

    η has an intercept, which is −α₁; parameters ``gap2``, ``gap3``, ... are the steps α_k − α_{k−1}. The thresholds are
    ``fit.thresholds``.

    Parameters
    ----------
    link : "logit", "probit", "cloglog", "loglog" or "cauchit"
    levels : tuple of str
        The classes in their order. A model reads them off its data where they are not given: ordered categories
        and numbers have an order, text has that of its letters, with a warning.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy").assign(slow=lambda d: (d["Reaction"] // 60).astype(int).clip(3, 6))
    >>> fit = ranef.Model("slow ~ Days + (1 | Subject)", data, family=ranef.families.Ordinal()).fit()
    >>> fit.thresholds.round(2).to_dict()
    {'3|4': -0.59, '4|5': 3.62, '5|6': 6.44}
    """

    link: str = "logit"
    levels: tuple[str, ...] = ()

    word = "ordinal"
    label = "ordinal"
    law = "Ordinal"
    links = ("logit", "probit", "cloglog", "loglog", "cauchit")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.levels, str) or not isinstance(self.levels, Sequence):
            raise DesignError(f"levels={self.levels!r:.60} must be the levels in order, as ('no', 'some', 'much').")
        names = tuple(f"gap{k}" for k in range(2, len(self.levels)))
        object.__setattr__(self, "dispersions", names)
        object.__setattr__(self, "parameters", dict.fromkeys(names, GammaPrior(1.0, 0.5)))
        object.__setattr__(self, "symbols", {name: f"δ{name[3:]}" for name in names})
        object.__setattr__(self, "upper", float(max(len(self.levels) - 1, 1)))

    @property
    def shares(self) -> ShareLink:
        """The link."""
        link = self.linking
        assert isinstance(link, ShareLink)
        return link

    @property
    def classes(self) -> tuple[str, ...]:
        """In their order."""
        return self.levels

    def read(self, value: Value, name: str, weights: Floats | None, where: Callable[[int], str]) -> Reading:
        """Classes from 0, by the order of levels or of whole numbers."""
        if isinstance(value, Factor):
            labels, codes = [str(level) for level in value.levels], np.asarray(value.codes)
        else:
            wrong = np.abs(value.values - np.round(value.values)) > WHOLE
            if value.values.ndim != 1 or wrong.any():
                row = int(wrong.argmax()) if value.values.ndim == 1 else 0
                raise DesignError(
                    f"The response {name} is no class in {where(row)}; for family 'ordinal' it must be ordered "
                    "categories, or whole numbers in their order."
                )
            numbers, codes = np.unique(np.round(value.values), return_inverse=True)
            labels = [f"{number:g}" for number in numbers]
        if not 3 <= len(labels) <= MOST_CLASSES:
            raise DesignError(
                f"The response {name} has {len(labels)} classes; family 'ordinal' takes 3 to {MOST_CLASSES}. Two are "
                "for family 'binomial', many for a model of numbers."
            )
        if self.levels:
            codes = _places(self.levels, labels, name)[codes]
        elif isinstance(value, Factor):
            _warn_of_letters(value, name)
        return Reading(Ordinal(self.link, self.levels or tuple(labels)), codes.astype(float), weights)

    def refuse(self, y: Floats, name: str, where: Callable[[int], str]) -> None:
        """What is no class by its place."""
        wrong = (y < 0) | (y > self.upper) | (y != np.round(y))
        if wrong.any():
            row = int(wrong.argmax())
            raise DesignError(
                f"The response {name} is {y[row]:g} in {where(row)}; it must be the place of a class, 0 to "
                f"{self.upper:g}."
            )

    def step(self, weights: Floats) -> Floats:
        """One class."""
        return np.ones(len(weights))

    def slopes(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> Slopes:
        """By differences of the distribution function and of its derivatives."""
        at = self._ends(eta, rows, own)
        w, first, second = rows.weights, at.first, at.second
        third = at.p3 / at.p - 3.0 * first * second - first**3
        return Slopes(w * np.log(at.p), w * first, -w * second, w * third)

    def in_dispersions(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> tuple[Dispersion, ...]:
        """In the logarithms of steps, which move the thresholds above."""
        at, out = self._ends(eta, rows, own), []
        for k, name in enumerate(self.dispersions, start=1):
            above, below = rows.weights * own[name] * (rows.y >= k), rows.weights * own[name] * (rows.y >= k + 1)
            p = (above * at.upper.first - below * at.lower.first) / at.p
            p1 = (below * at.lower.second - above * at.upper.second) / at.p
            p2 = (above * at.upper.third - below * at.lower.third) / at.p
            first = p1 - at.first * p
            second = p2 - (at.second + at.first**2) * p - 2.0 * at.first * first
            out.append(Dispersion(p, first, -second))
        return tuple(out)

    def _ends(self, eta: Floats, rows: Rows, own: Mapping[str, Any]) -> _Ends:
        alphas = thresholds(own)
        top, bottom = rows.y == len(alphas), rows.y == 0
        upper, lower = np.zeros_like(eta), np.zeros_like(eta)
        for k, alpha in enumerate(alphas):
            upper = np.where(rows.y == k, alpha - eta, upper)
            lower = np.where(rows.y == k + 1, alpha - eta, lower)
        return _Ends(_held(self.shares.means(upper), top, 1.0), _held(self.shares.means(lower), bottom, 0.0))

    def in_mean(self, means: Means, rows: Rows, own: Mapping[str, Any]) -> InMean:
        """Not by a mean."""
        raise NotImplementedError

    def constant(self, rows: Rows, own: Mapping[str, Any]) -> Floats:
        """None."""
        return np.zeros(len(rows.y))

    def density(self, eta: Any, y: Any, weights: Any, own: Mapping[str, Any], space: Space) -> Any:
        """Of two shares by the tail in which both are small."""
        xp, alphas = space.xp, thresholds(own)
        upper = lower = xp.zeros_like(eta)
        for k, alpha in enumerate(alphas):
            upper = xp.where(y == k, alpha - eta, upper)
            lower = xp.where(y == k + 1, alpha - eta, lower)
        top, bottom = y == len(alphas), y == 0
        (at_upper, over_upper), (at_lower, over_lower) = (self.shares.log_tails(x, space) for x in (upper, lower))
        below = at_upper < over_lower
        more, less = xp.where(below, at_upper, over_lower), xp.where(below, at_lower, over_upper)
        inside = ~(top | bottom)
        gap = xp.where(inside, less - more, -1.0)
        value = more + xp.log(-xp.expm1(gap))
        return weights * xp.where(top, over_lower, xp.where(bottom, at_upper, value))

    def starts(self, rows: Rows) -> tuple[float, ...]:
        """By shares of all rows."""
        return tuple(np.maximum(np.diff(self._marginal(rows)), 1e-3).tolist())

    def _marginal(self, rows: Rows) -> Floats:
        counts = np.bincount(rows.y.astype(int), rows.weights, len(self.levels))
        return self.shares.linked(np.asarray(np.cumsum(counts)[:-1] / counts.sum()))

    def linked(self, mean: Floats) -> Floats:
        """Itself: places of classes stand on the scale of η."""
        return mean

    def mean(self, eta: Floats) -> Floats:
        """The place of the latent response."""
        return eta

    def mean_slope(self, eta: Floats) -> Floats:
        """One."""
        return np.ones_like(eta)

    def near(self, rows: Rows) -> Floats:
        """Between the thresholds of each class, were it alone."""
        alphas = self._marginal(rows)
        middles = np.concatenate([[alphas[0] - 1.0], 0.5 * (alphas[1:] + alphas[:-1]), [alphas[-1] + 1.0]])
        return np.asarray(middles[rows.y.astype(int)] - alphas[0])

    def centre(self, rows: Rows) -> float:
        """Minus the first threshold, of all rows."""
        return -float(self._marginal(rows)[0])

    def latent(
        self, mean: float, rows: Rows, own: Mapping[str, float], of_logarithm: Callable[[float], float]
    ) -> float:
        """Of what the link is the distribution function of."""
        return self.shares.variance

    def absorbs(self, rows: Rows) -> bool:
        """A class of each row says no more."""
        return True

    def predicted(self, eta: Floats, own: Mapping[str, Any]) -> Floats:
        """Probabilities (..., K) of the classes."""
        below = [self.shares.means(alpha - eta).value for alpha in thresholds(own)]
        return np.diff(np.stack([np.zeros_like(eta), *below, np.ones_like(eta)], axis=-1), axis=-1)

    def predicted_slopes(self, eta: Floats, own: Mapping[str, Any]) -> Floats:
        """Derivatives (m, K, 1 + K − 2) of those probabilities in η, and in the logarithms of steps."""
        alphas = np.array(thresholds(own))
        density = self.shares.means(alphas - eta[:, None]).first
        none = np.zeros((len(eta), 1))
        steps = np.array([own[name] for name in self.dispersions])
        rises = np.tril(np.ones((len(alphas), len(steps))), -1) * steps  # of thresholds
        by_eta, by_steps = -density[:, :, None], density[:, :, None] * rises
        below = np.concatenate([by_eta, by_steps], axis=2)
        ends = np.broadcast_to(none[:, :, None], (len(eta), 1, below.shape[2]))
        return np.diff(np.concatenate([ends, below, ends], axis=1), axis=1)

    def expected(self, eta: Floats, own: Mapping[str, Any]) -> Floats:
        """The mean place."""
        return self.predicted(eta, own) @ np.arange(len(self.levels))

    def spread(self, eta: Floats, weights: Floats, own: Mapping[str, Any]) -> Floats:
        """Of the place."""
        return self.predicted(eta, own) @ np.arange(len(self.levels)) ** 2 - self.expected(eta, own) ** 2

    def row_variance(self, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Of the latent response, roughly."""
        return np.ones_like(mean)

    def deviances(self, rows: Rows, mean: Floats, own: Mapping[str, float]) -> Floats:
        """−2 log of the probability of the class."""
        return -2.0 * self.slopes(mean, rows, own).value

    def draw(self, rng: np.random.Generator, mean: Floats, weights: Floats, own: Mapping[str, float]) -> Floats:
        """Places of classes."""
        below = np.cumsum(self.predicted(mean, own), axis=1)[:, :-1]
        return np.asarray((rng.uniform(size=len(mean))[:, None] > below).sum(axis=1), dtype=float)


def thresholds(own: Mapping[str, Any]) -> list[Any]:
    """Thresholds less the first, by steps."""
    out: list[Any] = [0.0]
    for name in sorted(own, key=lambda name: int(name[3:])):
        out.append(out[-1] + own[name])
    return out


def _held(means: Means, where: Floats, value: float) -> Means:
    """Of a threshold that lies at an end of the line in some rows."""
    parts: Sequence[Floats] = (means.first, means.second, means.third)
    return Means(
        np.where(where, value, means.value),
        np.where(where, 1.0 - value, means.other),
        *(np.where(where, 0.0, part) for part in parts),
    )


@dataclass(frozen=True, eq=False, repr=False)
class _Ends:
    """Both thresholds of the rows' classes, with the probabilities p between and the derivatives in η of log p."""

    upper: Means
    lower: Means

    @property
    def p(self) -> Floats:
        """By the tail in which both shares are small."""
        upper, lower = self.upper, self.lower
        return np.where(upper.other < upper.value, lower.other - upper.other, upper.value - lower.value)

    @property
    def p3(self) -> Floats:
        """The third derivative of p."""
        return self.lower.third - self.upper.third

    @property
    def first(self) -> Floats:
        """Of log p."""
        return (self.lower.first - self.upper.first) / self.p

    @property
    def second(self) -> Floats:
        """Of log p."""
        return (self.upper.second - self.lower.second) / self.p - self.first**2
