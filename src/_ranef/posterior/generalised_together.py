"""The posterior density of a generalised response at many points together: effects and coefficients by Laplace.

What :mod:`_ranef.posterior.density_together` is for normal responses, whose effects are integrated and drawn exactly.
Here draws come with weights, by which they are of the exact posterior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from _ranef.likelihood import LaplaceTogether, ManyPoints, RowSums, response_rows
from _ranef.posterior.density_together import log_priors
from _ranef.posterior.generalised_density import Dispersions, log_gamma
from _ranef.posterior.problem import Effects, Hyper, constrained, hyper_draws
from _ranef.posterior.start import start_vectors
from _ranef.results import RemlEstimates
from _ranef.spec import Normal
from _ranef.support.arrays import Floats, Ints

__all__ = ["DrawnEffects", "GeneralisedTogether"]

#: points for each draw asked for, at most, and of more rows than this or factors in one another
MOST_POOLED, FEW_POOLED, MANY_ROWS = 5, 2, 1_000


@dataclass(frozen=True, eq=False, repr=False)
class DrawnEffects:
    """Draws at n points, with the logarithms (n,) of their weights."""

    hyper: Hyper
    effects: Effects
    log_ratio: Floats

    def at(self, chosen: Ints) -> tuple[Hyper, Effects]:
        """Those of some places, of any shape."""
        h, (beta, b) = self.hyper, self.effects
        extras = {name: values[chosen] for name, values in h.extras.items()}
        hyper = Hyper(h.theta[chosen], h.sigma[chosen], h.sampled[chosen], extras)
        return hyper, (beta[chosen], tuple(own[chosen] for own in b))

    def plus(self, other: DrawnEffects) -> DrawnEffects:
        """Both."""
        first, second = self.hyper, other.hyper

        def joined(name: str) -> Floats:
            return np.concatenate([getattr(first, name), getattr(second, name)])

        extras = {name: np.concatenate([own, second.extras[name]]) for name, own in first.extras.items()}
        b = tuple(np.concatenate(parts) for parts in zip(self.effects[1], other.effects[1], strict=True))
        effects = np.concatenate([self.effects[0], other.effects[0]]), b
        hyper = Hyper(joined("theta"), joined("sigma"), joined("sampled"), extras)
        return DrawnEffects(hyper, effects, np.concatenate([self.log_ratio, other.log_ratio]))


@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedTogether(Dispersions):
    """The density of one model whose priors all are of this package's families.

    Coordinates are those of the layout of the problem, and after them the logarithms of dispersions that are not known.
    """

    @property
    def n_sampled(self) -> int:
        """Number d of coordinates."""
        return self.problem.layout.n_hyper + len(self.names)

    @property
    def most_pooled(self) -> int:
        """Points that may be evaluated for each draw."""
        cheap = self.problem.spec.n_obs <= MANY_ROWS and self.rows.outermost is None
        return MOST_POOLED if cheap else FEW_POOLED

    @property
    def costly(self) -> bool:
        """Whether many draws of effects are to share a point: each has a weight of its own."""
        return False

    def starts(self, start: RemlEstimates | None) -> list[Floats]:
        """Where climbs to its modes begin."""
        own = self.log_starts(start)
        return [np.concatenate([q, own]) for q in start_vectors(self.problem, start)]

    @cached_property
    def rows(self) -> LaplaceTogether:
        """The rows of the model, in standard deviations of the priors of integrated coefficients."""
        problem = self.problem
        spec, fixed, family = problem.rows_of, problem.fixed, self.family
        _, kinds = problem.priors.coordinates(spec.design.fixed_names)
        own = [None if problem.priors.flat else kinds[i] for i in fixed.integrated]
        proper = np.array([isinstance(kind, Normal) for kind in own], dtype=bool)
        loc = np.array([kind.loc if isinstance(kind, Normal) else 0.0 for kind in own])
        scale = np.array([kind.scale if isinstance(kind, Normal) else 1.0 for kind in own])
        columns = np.linalg.solve(fixed.centre.T, spec.design.X.T) if spec.n_fixed else spec.design.X.T
        inside = columns[fixed.integrated]
        offset = np.zeros(spec.n_obs) if spec.design.offset is None else spec.design.offset
        sums = RowSums(problem.spec, problem.products)
        return LaplaceTogether(
            family,
            response_rows(spec),
            offset + loc @ inside,
            scale[:, None] * inside,
            proper,
            columns[fixed.sampled],
            tuple(sums.rows[place] for place in sums.places[:-1]),
            tuple(sums.codes),
            sums.pairs,
            problem.products.A,
            often=True,
        )

    def log_density(self, flat: Floats) -> Floats:
        """Log posterior density (N,) at unconstrained coordinates (N, d) by Laplace; −∞ where it cannot be computed."""
        with np.errstate(all="ignore"):
            hyper, logs = np.split(flat, [self.problem.layout.n_hyper], axis=1)
            out = self.rows.log_density(self._points(flat)) + log_priors(self.problem, hyper)
            for q, name in zip(logs.T, self.names, strict=True):
                out = out + log_gamma(self.problem.priors.response[name], q)
        return np.where(np.isfinite(out), out, -np.inf)

    def draw(self, flat: Floats, rng: np.random.Generator, shares: Floats | None = None) -> DrawnEffects:
        """What points (n, d) stand for, of which each is worth its share (n,), with draws of β and b."""
        problem = self.problem
        found = self.rows.draw(self._points(flat), rng, shares)
        hyper = hyper_draws(problem, flat[:, : problem.layout.n_hyper])
        own = self.own(flat[:, problem.layout.n_hyper :])
        extras = dict(own)
        products, b = problem.products, []
        for grouping in range(len(problem.spec.groupings)):
            b.append(found.b[products.order.index(grouping)] @ products.scaling.Z[grouping].T)
        effects = self._beta(found.z, hyper.sampled), tuple(b)
        return DrawnEffects(replace(hyper, extras={**hyper.extras, **extras}), effects, found.log_ratio)

    def _beta(self, z: Floats, sampled: Floats) -> Floats:
        """β (n, p) on the user's scale."""
        fixed, names = self.problem.fixed, self.problem.rows_of.design.fixed_names
        _, kinds = self.problem.priors.coordinates(names)
        c = np.empty((len(z), len(names)))
        c[:, fixed.sampled] = sampled
        for j, i in enumerate(fixed.integrated):
            kind = kinds[i]
            proper = isinstance(kind, Normal) and not self.problem.priors.flat
            c[:, i] = kind.loc + kind.scale * z[:, j] if proper and isinstance(kind, Normal) else z[:, j]
        return np.asarray(np.linalg.solve(fixed.centre, c.T).T) if len(names) else c

    def _points(self, flat: Floats) -> ManyPoints:
        problem = self.problem
        inner, _, sampled, _ = constrained(problem, flat[:, : problem.layout.n_hyper])
        raveled, sizes = problem.sampled_roots.at(inner), problem.products.sizes
        ends = np.cumsum([p * p for p in sizes])[:-1]
        lambdas = [x.reshape(-1, p, p) for x, p in zip(np.split(raveled, ends, axis=1), sizes, strict=True)]
        return ManyPoints(tuple(lambdas), sampled, self.own(flat[:, problem.layout.n_hyper :]))
