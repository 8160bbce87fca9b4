"""The posterior without a Markov chain: independent draws of what is sampled, by weights of importance.

A mixture of t's is fitted to the collapsed posterior by rounds of draws and weights, until they are nearly even. Of a
last, larger pool with Pareto-smoothed weights w the draws are taken systematically, point i about S wᵢ times: where no
S wᵢ is above one no point is taken twice, and the draws are as good as independent ones. k̂ tells whether the weights
can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from _ranef.errors import FitError
from _ranef.posterior.bounded_coordinates import Edges, make_edges
from _ranef.posterior.density_together import Together
from _ranef.posterior.generalised_together import DrawnEffects, GeneralisedTogether
from _ranef.posterior.mixture import Mixture
from _ranef.posterior.mode_search import ascend
from _ranef.posterior.modes import Laplace, different, shares_of
from _ranef.posterior.pareto import MOST_K, smoothed
from _ranef.posterior.problem import Problem
from _ranef.posterior.sampler_record import Outcome, Raw
from _ranef.posterior.settings import Settings
from _ranef.results import Importance, RemlEstimates
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = ["NotDirect", "require_direct", "run_direct"]

#: degrees of freedom of the proposal, and how much wider than the normal approximations it begins
DF, WIDER = 8.0, 1.3

#: share, width and degrees of freedom of two components for the tails, which the others do not see; and edges nearer
#: than so many standard deviations are reached by a scale of so much of the way
DEFENCE, WIDTH, LONG, NEAR_EDGE, OF_THE_WAY = 0.08, 2.0, 3.0, 12.0, 0.6

#: rounds in which it is improved, points of each for every parameter and at least, and efficiency and k̂ that will do
ROUNDS, PER_PARAMETER, LEAST_POINTS, GOOD, GOOD_K = 6, 250, 1000, 0.78, 0.5

#: points of a pool, and of a round, where many draws share each
COSTLY_POOL, COSTLY_ROUND = 600, 200

#: pools that are drawn, of which each shows what the proposal lacks
ATTEMPTS = 4

#: least share of a new component, least part of the whole covariance that it has, and the most there are
NEW_SHARE, LEAST_SPREAD, MOST_COMPONENTS = 0.05, 0.02, 8

#: a mean and a covariance are fitted to weights of at least so many effective points for each parameter
FEWEST_POINTS = 4

#: share of the draws that may be repetitions before the pool is enlarged; and where effects have weights too
REPEATED, AGAIN = 0.01, 0.05

#: fewer effective draws than this are no posterior
FEWEST_DRAWS = 200

#: more parameters are left to NUTS; and of generalised responses longer dense tails, and more rows times draws
MOST_PARAMETERS, MOST_TAIL, MOST_READ = 40, 300, 200_000_000

#: rows times draws that are left to NUTS where direct draws were not asked for by name
MOST_BY_ITSELF = 20_000_000


#: a density and where its modes are sought
Density = Together | GeneralisedTogether


class NotDirect(FitError):
    """The posterior cannot be had without a chain, and why."""


def require_direct(problem: Problem, settings: Settings) -> None:
    """Refuse what the direct posterior is not for.

    Raises
    ------
    NotDirect
        If effects and coefficients cannot be integrated out, or there are too many other parameters.
    """
    spec, kind = problem.spec, settings.parameterization
    if settings.sampler == "direct" and settings.warmup is not None:
        raise NotDirect(f"warmup={settings.warmup} is of chains, and independent draws need none")
    if settings.sampler == "direct" and settings.device is not None:
        raise NotDirect(f"device={settings.device!r} is for sampler='numpyro', and this one computes on the processor")
    if kind != "marginal" or problem.priors.effects:
        effects = [f"the random effects of {', '.join(problem.priors.effects)}"] if problem.priors.effects else []
        response = [f"the response is {spec.family.label}"] if spec.family.by_rows and problem.given is None else []
        why = " and ".join([*(f"{words} are Student t" for words in effects), *response])
        raise NotDirect(f"{why or f'the parameterization is {kind}'}, and only normal parts can be integrated out")
    if not problem.layout.plain:
        what = "R2D2" if problem.layout.r2d2 else "a distribution of numpyro"
        raise NotDirect(f"{what} as a prior is known to sampler='numpyro' alone")
    if (d := problem.layout.n_hyper) > MOST_PARAMETERS:
        raise NotDirect(f"{d} variance parameters are too many for weights of importance ({MOST_PARAMETERS} at most)")
    if problem.given is not None:
        most = MOST_READ if settings.sampler == "direct" else MOST_BY_ITSELF
        _require_few_rows(problem, settings.chains * settings.draws, most)


def _require_few_rows(problem: Problem, size: int, most: int) -> None:
    """Refuse generalised responses whose rows, read for each draw, would take NUTS less time."""
    if (tail := problem.shape.tail) > MOST_TAIL:
        raise NotDirect(
            f"crossed factors leave {tail} effects that cannot be taken level by level ({MOST_TAIL} at most)"
        )
    if (n := problem.spec.n_obs) * size > most:
        raise NotDirect(f"{size} draws would read {n} rows each, and few draws of many rows cost less by NUTS")


def run_direct(problem: Problem, settings: Settings, seed: int, start: RemlEstimates | None) -> Outcome:
    """Draw from the posterior of a model.

    Raises
    ------
    NotDirect
        If no proposal was found whose weights can be trusted.
    """
    posterior = Together(problem) if problem.given is None else GeneralisedTogether(problem)
    shape, size, rng = (settings.chains, settings.draws), settings.chains * settings.draws, np.random.default_rng(seed)
    drawn = None
    try:
        pool, more = _weighted(posterior, start, size, rng)
        if isinstance(posterior, GeneralisedTogether):
            pool, drawn = _with_effects(posterior, pool, more, size, rng)
    except np.linalg.LinAlgError as error:  # the density bends upwards where rows are far from their mean
        raise NotDirect("the density of the effects has no top that is found at some of the points") from error
    weights, k = smoothed(pool.log_ratios)
    n, count = len(weights), float(1.0 / (weights**2).sum())
    if not (k <= MOST_K and count >= min(FEWEST_DRAWS, size)):
        raise NotDirect(
            f"no proposal was found that fits the posterior of its {posterior.n_sampled} variance parameters: "
            f"Pareto k̂ of the weights is {k:.2f} ({MOST_K} is the most that is trusted), and {n} points are worth "
            f"{count:.0f}"
        )
    chosen = _chosen(weights, size, rng).reshape(shape)
    if drawn is None:
        assert isinstance(posterior, Together)
        hyper, effects = posterior.draw(pool.points[chosen], rng)
    else:
        hyper, effects = drawn.at(chosen)
    stats = {"lp": pool.log_density[chosen], "log_ratio": pool.log_ratios[chosen]}
    effective = size**2 / float((np.bincount(chosen.ravel()).astype(float) ** 2).sum())
    return Outcome(Raw({}, stats, True), hyper, effects, (), Importance(n, float(k), count / n, effective))


def _with_effects(
    posterior: GeneralisedTogether, pool: _Pool, more: More, size: int, rng: np.random.Generator
) -> tuple[_Pool, DrawnEffects]:
    """The pool with draws of effects, and weights of both; enlarged where few of them are worth much."""
    pool, drawn = pool.with_effects(posterior, rng)
    weights, n = smoothed(pool.log_ratios)[0], len(pool.points)
    times = 1.0  # as many points again and again would leave so few repetitions
    while times * n < size * posterior.most_pooled and times * _repeated(weights / times, size) > AGAIN:
        times += 0.25
    if (lacking := int((times - 1.0) * n)) > 0:
        other, own = more(lacking).with_effects(posterior, rng)
        pool, drawn = pool.plus(other), drawn.plus(own)
    return pool, drawn


@dataclass(frozen=True, eq=False, repr=False)
class _Pool:
    """Points (n, d) of a proposal, the log density (n,) there, and its ratio to the proposal's (n,)."""

    points: Floats
    log_density: Floats
    log_ratios: Floats

    def plus(self, other: _Pool) -> _Pool:
        """Both."""
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return _Pool(*map(np.concatenate, pairs))

    def with_effects(self, posterior: GeneralisedTogether, rng: np.random.Generator) -> tuple[_Pool, DrawnEffects]:
        """The points that have a density, with the weights of draws of the effects at each."""
        own = self.only(np.isfinite(self.log_ratios))
        drawn = posterior.draw(own.points, rng, smoothed(own.log_ratios)[0])
        lost = np.isnan(drawn.log_ratio)  # so far out that the exact density is no number
        drawn = replace(drawn, log_ratio=np.where(lost, -np.inf, drawn.log_ratio))
        log_density, log_ratios = own.log_density + drawn.log_ratio, own.log_ratios + drawn.log_ratio
        return _Pool(own.points, log_density, log_ratios), drawn

    def only(self, which: Bools) -> _Pool:
        """Some of the points."""
        return _Pool(*(getattr(self, f.name)[which] for f in fields(self)))


#: so many more points of the proposal
More = Callable[[int], _Pool]


@dataclass(frozen=True, eq=False, repr=False)
class _Target:
    """A posterior in coordinates w that end where its parameters do."""

    posterior: Density
    edges: Edges

    def defended(self, mixture: Mixture) -> Mixture:
        """A mixture with a wider component like it, and one along the coordinates that reaches to near edges."""
        centre, scale = mixture.moments
        sds = np.sqrt(np.diag(scale))
        away = np.abs(self.edges.ends - centre)
        reach = np.maximum(WIDTH * sds, OF_THE_WAY * np.where(away < NEAR_EDGE * sds, away, 0.0).max(axis=0))
        wide = mixture.plus(centre, WIDTH * np.linalg.cholesky(scale), DEFENCE, LONG)
        return wide.plus(centre, np.diag(reach), DEFENCE, LONG)

    def pool(self, proposal: Mixture, n: int, rng: np.random.Generator) -> tuple[Floats, _Pool]:
        """About `n` points w of a proposal, those beyond an edge left out, and what they are in the posterior."""
        proposal = self.defended(proposal)
        w = proposal.draw(n, rng)
        w = w[self.edges.inside(w)]
        if (left := n - len(w)) > 0 and 20 * len(w) > n:
            more = proposal.draw(int(n * left / len(w)), rng)
            w = np.concatenate([w, more[self.edges.inside(more)]])
        q, log_slope = self.edges.inward(w)
        log_density = self.posterior.log_density(q)
        return w, _Pool(q, log_density, log_density + log_slope - proposal.log_density(w))


def _weighted(
    posterior: Density, start: RemlEstimates | None, size: int, rng: np.random.Generator
) -> tuple[_Pool, More]:
    """Points of the best proposal that is found, enough to choose `size` draws of, and what gives more of them."""
    if not posterior.n_sampled:
        return _nothing(size), _nothing
    modes = different(ascend(posterior.log_density, q) for q in posterior.starts(start))
    if not np.isfinite(modes[0].log_mass):
        raise NotDirect("the density is no number, or has no top, near where its mode is sought")
    layout = posterior.problem.layout
    target = _Target(posterior, make_edges(layout, modes[0].centre, np.linalg.norm(modes[0].root, axis=1)))
    proposal, most = _improved(target, _around(modes, target.edges), rng)
    limit = posterior.most_pooled
    for attempt in range(ATTEMPTS):
        n = min(size, COSTLY_POOL) if posterior.costly else int(size * min(most, limit))
        w, pool = target.pool(proposal, n, rng)
        weights, k = smoothed(pool.log_ratios)
        enough = posterior.costly or most >= limit or _repeated(weights, size) < REPEATED
        if attempt == ATTEMPTS - 1 or (k < GOOD_K and enough):
            break
        most = max(most, len(w) * weights.max())
        proposal = _with_steepest(proposal, w, weights, rng).fitted(w, weights)
    return pool, lambda n: target.pool(proposal, n, rng)[1]


def _nothing(n: int) -> _Pool:
    """Points without coordinates."""
    return _Pool(np.zeros((n, 0)), np.zeros(n), np.zeros(n))


def _around(modes: Sequence[Laplace], edges: Edges) -> Mixture:
    """A t for each mode, a little wider than the normal approximation."""
    centres, slopes = zip(*(edges.outward(at.centre) for at in modes), strict=True)
    halves = [slope[:, None] * at.root for at, slope in zip(modes, slopes, strict=True)]
    roots = np.array([np.linalg.cholesky(half @ half.T) for half in halves])
    return Mixture(shares_of(modes), np.array(centres), WIDER * roots, np.full(len(modes), DF))


def _improved(target: _Target, mixture: Mixture, rng: np.random.Generator) -> tuple[Mixture, float]:
    """The best of the mixtures fitted to the density in turn, and the largest of its weights over their mean."""
    d = mixture.centres.shape[1]
    n = COSTLY_ROUND if target.posterior.costly else max(LEAST_POINTS, PER_PARAMETER * d)
    best, worth, most = mixture, 0.0, 1.0
    seen: list[tuple[Floats, Floats]] = []
    for r in range(ROUNDS):
        w, pool = target.pool(mixture, n, rng)
        weights, k = smoothed(pool.log_ratios)
        efficiency = float(1.0 / (len(w) * (weights**2).sum()))
        if efficiency > worth:
            best, worth, most = mixture, efficiency, float(len(w) * weights.max())
        if (efficiency > GOOD and k < GOOD_K) or r == ROUNDS - 1:
            break
        tempered = _tempered(weights, FEWEST_POINTS * d)
        seen = [*seen[-1:], (w, efficiency * tempered)]
        points, together = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        mixture = (_with_steepest(mixture, w, tempered, rng) if r else mixture).fitted(
            points, together / together.sum()
        )
    return best, most


def _with_steepest(mixture: Mixture, w: Floats, weights: Floats, rng: np.random.Generator) -> Mixture:
    """The same with a component for some of the points (n, d) with the largest weights (n,), where it lacks most."""
    if len(mixture.shares) >= MOST_COMPONENTS:
        return mixture
    d, largest = w.shape[1], np.argsort(weights)[-int(3 * np.sqrt(len(w))) :]
    scale = mixture.moments[1]
    scaled = np.linalg.solve(np.linalg.cholesky(scale), w[largest].T)
    away = ((scaled - scaled[:, [rng.integers(len(largest))]]) ** 2).sum(axis=0)
    own = largest[np.argsort(away)[: max(len(largest) // 3, 4 * d)]]
    spread = np.cov(w[own].T).reshape(d, d) + LEAST_SPREAD * scale
    share = max(float(weights[own].sum()), NEW_SHARE)
    return mixture.plus(w[own].mean(axis=0), np.linalg.cholesky(spread), share, float(mixture.df.max()))


def _tempered(weights: Floats, fewest: float) -> Floats:
    """Normalised weights, raised to a power below one until at least so many points count."""
    out = weights
    while 1.0 / (out**2).sum() < min(fewest, 0.5 * len(out)):
        out = np.sqrt(out)
        out = out / out.sum()
    return out


def _repeated(weights: Floats, size: int) -> float:
    """Share of `size` draws that must be repetitions of others."""
    return float(np.maximum(size * weights - 1.0, 0.0).sum() / size)


def _chosen(weights: Floats, size: int, rng: np.random.Generator) -> Ints:
    """Places (size,) in random order, each about ``size * weights`` times."""
    ends = np.cumsum(weights)
    marks = (rng.random() + np.arange(size)) / size
    places = np.minimum(np.searchsorted(ends / ends[-1], marks), len(weights) - 1)
    return np.asarray(rng.permutation(places))
