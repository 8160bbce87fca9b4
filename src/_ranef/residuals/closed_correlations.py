"""Correlations whose roots are known in closed form: autoregression of first order, and compound symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import scipy

from _ranef.design import Factor, Value, as_factor, with_levels
from _ranef.errors import NotAvailableError
from _ranef.residuals.fixed_basis import Basis, LogLaw, Part, picked
from _ranef.residuals.on_rows import CorrelationRoot, RowCorrelation, Told, joined_codes
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "MOST_SPREAD_SIZES",
    "Exchangeable",
    "Markov",
    "SpreadGroups",
    "logistic",
    "middling_gap",
    "of_logistic",
    "of_tanh",
]


#: different gaps of times, and sizes of groups, up to which sums of them are made once rather than rows read again
MOST_GAPS, MOST_SIZES = 6, 12

#: sizes of groups that are read in chunks
MOST_SPREAD_SIZES = 100


def logistic(rho: Floats) -> Floats:
    """1/(1 + exp(−ρ)), for complex ρ too."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * rho)))


def of_tanh(rho: Floats) -> tuple[float, Floats]:
    """Log density, and its slopes, of ρ whose tanh is uniform from −1 to 1."""
    return float((-2.0 * np.logaddexp(rho, -rho) + np.log(2.0)).sum()), -2.0 * np.tanh(rho)


def of_logistic(rho: Floats) -> tuple[float, Floats]:
    """The same of ρ whose logistic is uniform from 0 to 1."""
    return float((-2.0 * np.logaddexp(0.5 * rho, -0.5 * rho)).sum()), -np.tanh(0.5 * rho)


@dataclass(frozen=True, eq=False, repr=False)
class Markov(RowCorrelation):
    """Autocorrelation φ^d of rows of one group a time d apart.

    Attributes
    ----------
    times : array (n,)
        No two alike within a group.
    unit : float, optional
        A middling gap: ρ is −log(−log φ) of φ over it, so that no unit of time matters, and rows however close may be
        independent. None where times are whole numbers and φ may be negative: then ρ is artanh φ.
    even : bool
        Whether they are whole numbers, but all an even number apart, so that φ might be negative as well.
    """

    times: Floats
    unit: float | None
    even: bool = False

    names = ("Phi",)

    @property
    def starts(self) -> tuple[Floats, ...]:
        """Some correlation, much, nearly all, and where φ may be negative a little of that."""
        known = np.arctanh((0.3, 0.9, 0.99, -0.3)) if self.signed else (0.4, 2.2, 4.6, -0.8)
        return tuple(np.array([r]) for r in known)

    @property
    def signed(self) -> bool:
        """Whether φ may be negative."""
        return self.unit is None

    @property
    def sequence(self) -> Ints:
        """By time."""
        return self.order

    @cached_property
    def order(self) -> Ints:
        """The rows (n,) by group and time."""
        return np.lexsort((self.times, self.codes))

    @cached_property
    def back(self) -> Ints | None:
        """Where each row (n,) stands in that order; None where rows stand in it."""
        places = np.argsort(self.order, kind="stable")
        return None if (np.diff(places) == 1).all() else places

    @cached_property
    def gaps(self) -> Floats:
        """Time since the row before (n,), in that order; infinite for the first of a group."""
        out = np.full(len(self.codes), np.inf)
        same = np.diff(self.codes[self.order]) == 0
        out[1:][same] = np.diff(self.times[self.order])[same]
        return out

    def basis(self) -> Basis | None:
        """First rows less all that come before another; for every gap, sums and differences of neighbours.

        (x − r x₋)²/(1 − r²) = ½(x + x₋)²/(1 + r) + ½(x − x₋)²/(1 − r) − x₋².
        """
        steps = self.gaps / (self.unit or 1.0)
        gaps, counts = np.unique(steps[np.isfinite(steps)], return_counts=True)
        if len(gaps) > MOST_GAPS:
            return None
        n, later = len(self.codes), np.flatnonzero(np.isfinite(steps))
        first, before = self.order[~np.isfinite(steps)], self.order[later - 1]
        parts = [Part(picked(rows, n), rows) for rows in (first, before)]
        for gap in gaps:
            at = np.flatnonzero(steps == gap)
            now, then = (picked(self.order[rows], n) * np.sqrt(0.5) for rows in (at, at - 1))
            parts += [Part(scipy.sparse.csr_array(T), self.order[at]) for T in (now + then, now - then)]
        law = _SignedMarkovLaw() if self.signed else _MarkovLaw()
        mix = np.delete(np.eye(len(parts)), 1, axis=0)
        mix[0, 1] = -1.0
        return Basis(tuple(parts), law, gaps, np.append(0.0, np.repeat(counts, 2)), mix)

    def at(self, rho: Floats) -> CorrelationRoot:
        """Each row less φ^d times the one before."""
        return _MarkovRoot(self, rho)

    @property
    def meaning(self) -> str:
        """In words."""
        where = self.function.positions[0] if self.function.positions else "their order"
        sign = ", all even numbers, so that the sign of φ changes nothing: it is positive" if self.even else ""
        return f"{self.within} is φ to the power of how far apart they are by {where}{sign}"

    def told(self, rho: Floats) -> list[Told]:
        """φ, of a time of 1."""
        phi = np.tanh(rho[0]) if self.signed else np.exp(-np.exp(-rho[0]) / (self.unit or 1.0))
        title = "AR(1)" if self.signed or self.even else "Continuous AR(1)"
        return [Told(f"Correlation structure: {title}", self.form, ("Phi",), (float(phi),))]

    @property
    def prior_words(self) -> list[str]:
        """One line."""
        if self.unit is None:
            return ["Phi ~ Uniform(-1, 1)"]
        return ["Phi ~ Uniform(0, 1)" if self.unit == 1.0 else f"Phi^{self.unit:.4g} ~ Uniform(0, 1)"]

    def prior_draws(self, rng: np.random.Generator, n: int) -> Floats:
        """By φ."""
        u = rng.uniform(size=(n, 1))
        return np.arctanh(2.0 * u - 1.0) if self.signed else -np.log(-np.log(u))

    def log_prior(self, rho: Floats) -> tuple[float, Floats]:
        """Uniform in φ, of whole steps or of a middling one."""
        if self.signed:
            return of_tanh(rho)
        rate = np.exp(-rho)
        return float((-rate - rho).sum()), rate - 1.0


def middling_gap(codes: Ints, times: Floats) -> float:
    """The median time between neighbours of a group."""
    order = np.lexsort((times, codes))
    return float(np.median(np.diff(times[order])[np.diff(codes[order]) == 0]))


@dataclass(frozen=True)
class _MarkovLaw(LogLaw):
    """`numbers` are the gaps; r is the autocorrelation of neighbours at each: τ = −log(1 ± r) behind a 0."""

    code = 2

    def _r(self, gaps: Any, rho: Any, xp: ModuleType) -> Any:
        return xp.exp(-gaps * xp.exp(-rho[0]))

    def logs(self, numbers: Any, rho: Any, xp: ModuleType) -> Any:
        """Of sums and differences, gap by gap."""
        r = self._r(numbers, rho, xp)
        return xp.concatenate([xp.zeros_like(rho), -xp.log(xp.stack([1.0 + r, 1.0 - r], axis=1)).ravel()])

    def log_prior(self, rho: Any, xp: ModuleType) -> Any:
        """Uniform in φ of a middling step."""
        return -xp.exp(-rho[0]) - rho[0]


class _SignedMarkovLaw(_MarkovLaw):
    """The same of φ that may be negative, and gaps that are whole numbers."""

    code = 3

    def _r(self, gaps: Any, rho: Any, xp: ModuleType) -> Any:
        phi, odd = xp.tanh(rho[0]), gaps % 2.0
        return (odd * phi + 1.0 - odd) * (phi * phi) ** ((gaps - odd) / 2.0)

    def log_prior(self, rho: Any, xp: ModuleType) -> Any:
        """Uniform in φ."""
        return float(np.log(2.0)) - 2.0 * xp.logaddexp(rho[0], -rho[0])


class _MarkovRoot(CorrelationRoot):
    def __init__(self, law: Markov, rho: Floats) -> None:
        self.law = law
        inside = np.isfinite(law.gaps)
        steps = np.where(inside, law.gaps, 1.0) / (law.unit or 1.0)
        if law.signed:
            phi = float(np.tanh(rho[0]))
            r, change = phi**steps, steps * phi ** (steps - 1.0) * (1.0 - phi**2)
        else:  # with the logarithm of φ, which may be too small to be a number
            rate = float(np.exp(-rho[0]))
            r = np.exp(-steps * rate)
            change = r * steps * rate
        self.r, self.dr = np.where(inside, r, 0.0), np.where(inside, change, 0.0)
        left = (1.0 - self.r) * (1.0 + self.r)
        if not (left > 0).all():
            raise np.linalg.LinAlgError("the autocorrelation is 1 to rounding")
        self.s = np.sqrt(left)

    def _of_neighbours(self, values: Floats, own: Floats, before: Floats) -> Floats:
        """`own` times each row less `before` times the one before it, both in order."""
        ordered = values if self.law.back is None else values[..., self.law.order]
        out = own * ordered
        out[..., 1:] -= before[1:] * ordered[..., :-1]
        return self._back(out)

    def _back(self, ordered: Floats) -> Floats:
        return ordered if self.law.back is None else ordered[..., self.law.back]

    def whitened(self, values: Floats) -> Floats:
        return self._of_neighbours(values, 1.0 / self.s, self.r / self.s)

    def changes(self, values: Floats) -> Floats:
        change = self.dr / (self.s * self.s * self.s)
        return self._of_neighbours(values, self.r * change, change)[None]

    def coloured(self, values: Floats) -> Floats:
        out = values[..., self.law.order] * self.s
        first = ~np.isfinite(self.law.gaps)
        place = np.arange(len(self.r)) - np.maximum.accumulate(np.where(first, np.arange(len(self.r)), 0))
        for step in range(1, int(place.max(initial=0)) + 1):
            rows = np.flatnonzero(place == step)
            out[..., rows] += self.r[rows] * out[..., rows - 1]
        return self._back(out)

    @property
    def log_dets(self) -> Floats:
        return self._back(2.0 * np.log(self.s))

    @property
    def log_det_slopes(self) -> Floats:
        return np.array([-2.0 * (self.r * self.dr / self.s**2).sum()])


@dataclass(frozen=True, eq=False)
class SpreadGroups:
    """G groups of rows that are read in chunks.

    Attributes
    ----------
    levels : tuple of tuple of str
        Of every factor whose combinations of levels they are.
    cells : array of int (G,)
        The combinations, as one number each.
    sizes : array of int (G,)
        Rows of each.
    """

    levels: tuple[tuple[str, ...], ...]
    cells: Ints
    sizes: Ints

    @classmethod
    def of(cls, factors: Sequence[Factor], counts: Sequence[int]) -> SpreadGroups:
        """By the levels (m,) of combinations that may be listed several times, and their rows."""
        cells, place = np.unique(joined_codes(factors), return_inverse=True)
        sizes = np.bincount(place, np.asarray(counts)).astype(np.intp)
        return cls(tuple(factor.levels for factor in factors), cells, sizes)

    def codes(self, values: Sequence[Value]) -> Ints:
        """Group (n,) of the rows of a chunk."""
        own = [with_levels(as_factor(value), known) for value, known in zip(values, self.levels, strict=True)]
        return np.searchsorted(self.cells, joined_codes(own))


@dataclass(frozen=True, eq=False, repr=False)
class Exchangeable(RowCorrelation):
    """One correlation c of any two rows of a group, from −1/(m − 1), m being the size of the largest, to 1.

    ρ is the logit of how far c lies between them.

    Attributes
    ----------
    largest : int
        The size m.
    spread : SpreadGroups, optional
        The groups, where their rows are read in chunks; rows held are then some of theirs.
    """

    largest: int
    spread: SpreadGroups | None = None

    names = ("Rho",)

    @cached_property
    def group_sizes(self) -> Ints:
        """Rows of every group."""
        return np.bincount(self.codes) if self.spread is None else self.spread.sizes

    @property
    def n_groups(self) -> int:
        """Number of the groups."""
        return len(self.group_sizes)

    @cached_property
    def sizes(self) -> Floats:
        """Rows of the group of every row (n,)."""
        return self.group_sizes[self.codes].astype(float)

    def on(self, values: Sequence[Value]) -> RowCorrelation:
        """Of the rows of a chunk."""
        assert self.spread is not None
        return replace(self, codes=self.spread.codes(values))

    @property
    def least(self) -> float:
        """The correlation below which C is no correlation matrix."""
        return -1.0 / (self.largest - 1.0)

    @property
    def starts(self) -> tuple[Floats, ...]:
        """None, and middling."""
        low = self.least
        return tuple(np.log(np.array([(c - low) / (1.0 - c)])) for c in (0.0, 0.5))

    def value(self, rho: Floats) -> float:
        """The correlation c."""
        return float(self.least + (1.0 - self.least) * logistic(rho[0]))

    def basis(self) -> Basis | None:
        """All rows less the means of groups, and the means of groups of each size."""
        sizes, counts = np.unique(self.group_sizes, return_counts=True)
        sizes, counts = sizes[sizes > 0], counts[sizes > 0]
        if self.spread is None and len(sizes) > MOST_SIZES:
            return None
        n, everything = len(self.codes), np.arange(len(self.codes))
        parts = (Part(picked(everything, n), everything), *(self._means_of(s) for s in sizes))
        mix = np.eye(len(parts))
        mix[0, 1:] = -1.0
        numbers = np.concatenate([[self.least], sizes])
        return Basis(parts, _ExchangeableLaw(), numbers, np.append((sizes - 1) @ counts, counts).astype(float), mix)

    def _means_of(self, size: int) -> Part:
        """Means of the groups of one size, times √size."""
        own, rows = np.flatnonzero(self.group_sizes == size), np.flatnonzero(self.sizes == size)
        groups, first, place = np.unique(self.codes[rows], return_index=True, return_inverse=True)
        entries = np.full(len(rows), 1.0 / np.sqrt(size))
        transform = scipy.sparse.csr_array((entries, (place, rows)), shape=(len(groups), len(self.codes)))
        places = None if self.spread is None else np.searchsorted(own, groups)
        return Part(transform, rows[first], places, len(own))

    def at(self, rho: Floats) -> CorrelationRoot:
        """The symmetric root: deviations from a group's mean, and the mean, each by its own factor."""
        if self.spread is not None:
            raise NotAvailableError(
                f"Rows of one group of {self.function!r} may be in several chunks, and this reads them together: build "
                "the model from one frame, if need be of some of the groups."
            )
        return _ExchangeableRoot(self, rho)

    @property
    def meaning(self) -> str:
        """In words."""
        return f"{self.within} is ρ"

    def told(self, rho: Floats) -> list[Told]:
        """The correlation."""
        return [Told("Correlation structure: Compound symmetry", self.form, ("Rho",), (self.value(rho),))]

    @property
    def prior_words(self) -> list[str]:
        """One line."""
        return [f"Rho ~ Uniform({self.least:.4g}, 1)"]

    def prior_draws(self, rng: np.random.Generator, n: int) -> Floats:
        """By the share."""
        return rng.logistic(size=(n, 1))

    def log_prior(self, rho: Floats) -> tuple[float, Floats]:
        """Uniform in c."""
        return of_logistic(rho)


@dataclass(frozen=True)
class _ExchangeableLaw(LogLaw):
    """`numbers` are the least c and the sizes s of groups: C⁻¹ = (I − P)/(1 − c) + P/(1 + (s − 1)c), P to the means."""

    code = 4

    def logs(self, numbers: Any, rho: Any, xp: ModuleType) -> Any:
        """One within groups, and one for the means of each size."""
        least, sizes, share = numbers[0], numbers[1:], 0.5 * (1.0 + xp.tanh(0.5 * rho))
        within, c = (1.0 - least) * (1.0 - share), least + (1.0 - least) * share
        return -xp.log(xp.concatenate([within, 1.0 + (sizes - 1.0) * c]))

    def log_prior(self, rho: Any, xp: ModuleType) -> Any:
        """Uniform in the correlation."""
        return -2.0 * xp.logaddexp(0.5 * rho[0], -0.5 * rho[0])


class _ExchangeableRoot(CorrelationRoot):
    def __init__(self, law: Exchangeable, rho: Floats) -> None:
        share = float(logistic(rho[0]))
        self.slope = (1.0 - law.least) * share * (1.0 - share)
        self.law, c = law, law.value(rho)
        self.within = (1.0 - law.least) * (1.0 - share)  # 1 − c
        self.between = 1.0 + (law.sizes - 1.0) * c
        if self.within <= 0 or (self.between <= 0).any():
            raise np.linalg.LinAlgError("the correlation is at its bound to rounding")

    def _means(self, values: Floats) -> Floats:
        flat = values.reshape(-1, values.shape[-1])
        sums = np.stack([np.bincount(self.law.codes, row)[self.law.codes] for row in flat])
        return np.asarray((sums / self.law.sizes).reshape(values.shape))

    def whitened(self, values: Floats) -> Floats:
        means = self._means(values)
        return np.asarray((values - means) / np.sqrt(self.within) + means / np.sqrt(self.between))

    def changes(self, values: Floats) -> Floats:
        means = self._means(values)
        within = 0.5 * (values - means) / self.within**1.5
        return np.asarray((self.slope * (within - 0.5 * (self.law.sizes - 1.0) * means / self.between**1.5))[None])

    def coloured(self, values: Floats) -> Floats:
        means = self._means(values)
        return np.asarray((values - means) * np.sqrt(self.within) + means * np.sqrt(self.between))

    @property
    def log_dets(self) -> Floats:
        each = (self.law.sizes - 1.0) * np.log(self.within) + np.log(self.between)
        return np.asarray(each / self.law.sizes)

    @property
    def log_det_slopes(self) -> Floats:
        each = (self.law.sizes - 1.0) * (1.0 / self.between - 1.0 / self.within)
        return np.array([self.slope * (each / self.law.sizes).sum()])
