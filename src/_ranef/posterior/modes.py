"""The modes of the posterior of what is sampled: where chains begin, how much of it lies at each, and what was missed.

A chain that starts at one mode may never find another, and R-hat cannot see what no chain has seen. So the climb begins
at several places, weights of importance say how much of the posterior lies round each mode, and afterwards whether the
draws went where the weights say it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.posterior.problem import Gradient, Problem
from _ranef.posterior.start import start_vectors
from _ranef.results import RemlEstimates
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import let_through

__all__ = [
    "Laplace",
    "Modes",
    "different",
    "doubts",
    "find_modes",
    "laplace",
    "modes_of",
    "normal_at",
    "shares_of",
]

#: slope that passes for none, and how far a second, bounded climb may go where the first got lost
SMALL, REACH = 0.1, 12.0

#: step of the differences of the gradient
DIFFERENCE = 1e-4

#: the least curvature that is believed: no direction is wider than 1/√ of it
LEAST_CURVATURE = 0.25


@dataclass(frozen=True, eq=False, repr=False)
class Laplace:
    """q is about normal with mean `centre` and covariance root rootᵀ.

    Attributes
    ----------
    centre : array (d,)
    root : array (d, d)
        A sparse one where effects are among the coordinates.
    evaluations : int
        Of the gradient.
    log_mass : float
        Logarithm of the integral of the density, by this approximation.
    """

    centre: Floats
    root: Floats
    evaluations: int
    log_mass: float

    def outward(self, w: Floats) -> Floats:
        """Coordinates (..., d) of whitened ones."""
        return np.asarray(self.centre + (self.root @ w.reshape(-1, w.shape[-1]).T).T.reshape(w.shape))


def laplace(gradient: Gradient, start: Floats) -> Laplace:
    """Climb to the mode from `start` (d,), and take the curvature there by differences of the gradient."""
    count = 0

    def downhill(q: Floats) -> tuple[float, Floats]:
        nonlocal count
        count += 1
        let_through()
        value, slope = gradient(np.ascontiguousarray(q))
        finite = np.isfinite(value) and np.isfinite(slope).all()
        return (-value, -slope) if finite else (1e300, np.zeros_like(q))

    d = len(start)
    if d == 0:
        return Laplace(start, np.zeros((0, 0)), 0, 0.0)
    found = scipy.optimize.minimize(downhill, start, jac=True, method="BFGS", options={"gtol": 1e-3, "maxiter": 100})
    if not (found.fun <= downhill(start)[0] and np.abs(found.jac).max() < SMALL):
        bounds = scipy.optimize.Bounds(start - REACH, start + REACH)
        found = scipy.optimize.minimize(downhill, start, jac=True, method="L-BFGS-B", bounds=bounds)
    centre = np.asarray(found.x) if found.fun < 1e299 else start
    steps = DIFFERENCE * np.eye(d)
    hessian = np.array([downhill(centre + s)[1] - downhill(centre - s)[1] for s in steps]) / (2.0 * DIFFERENCE)
    return normal_at(centre, -float(found.fun), hessian, count)


def normal_at(centre: Floats, value: float, curvature: Floats, count: int) -> Laplace:
    """The normal approximation at a mode (d,) with the log density `value` there, and minus its second derivatives."""
    if not np.isfinite(curvature).all():
        return Laplace(centre, np.eye(len(centre)), count, -np.inf)
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
    values = np.maximum(values, LEAST_CURVATURE)
    log_mass = value + 0.5 * float((np.log(2.0 * np.pi) - np.log(values)).sum())
    return Laplace(centre, vectors / np.sqrt(values), count, log_mass)


#: proposals for each mode, and the degrees of freedom and scale of the t they come from
PROPOSALS, DF, SPREAD = 400, 5.0, 1.2

#: modes nearer than this, in standard deviations, are one; modes with less of the posterior than this are left out
NEAR, LEAST_SHARE = 1.0, 0.02

#: a weighted mean of fewer effective proposals says nothing
FEWEST = 60.0

#: share of the posterior that must not be missed, and how far a mean may be off, in standard deviations and errors
MISSED, OFF, ERRORS = 0.05, 0.5, 6.0


@dataclass(frozen=True, eq=False, repr=False)
class Modes:
    """Normal approximations at the modes, the first with most of the posterior.

    Attributes
    ----------
    at : tuple of Laplace
    shares : array (modes,)
        Of the posterior round each.
    points : array (n, d)
        Proposals, with normalised `weights` (n,) of the posterior; none where they would cost too much.
    weights : array (n,)
    """

    at: tuple[Laplace, ...]
    shares: Floats
    points: Floats
    weights: Floats

    @property
    def best(self) -> Laplace:
        """Whose coordinates the samplers use."""
        return self.at[0]

    def starts(self, chains: int, rng: np.random.Generator) -> Floats:
        """Where chains begin (chains, d), in the whitened coordinates of `best`, scattered round all modes in turn."""
        out = rng.standard_normal((chains, len(self.best.centre)))
        for c in range(chains):
            own = self.at[c % len(self.at)]
            if own is not self.best:
                away = own.centre + own.root @ out[c] - self.best.centre
                out[c] = np.linalg.solve(self.best.root, away)
        return out


def find_modes(gradient: Gradient, starts: Sequence[Floats], seed: int, *, weigh: bool = True) -> Modes:
    """Climb from every start (d,), keep the modes that differ, and weigh them unless evaluations are dear."""
    found = different(laplace(gradient, start) for start in starts)
    d = len(found[0].centre)
    shares = shares_of(found)
    points: Floats = np.zeros((0, d))
    weights: Floats = np.zeros(0)
    if weigh and d:
        points, weights = _weighted(gradient, found, shares, np.random.default_rng(seed))
        if len(found) > 1 and _effective(weights) > FEWEST:
            near = _nearest(points, found)
            shares = np.array([weights[near == k].sum() for k in range(len(found))])
    kept = [k for k in np.argsort(-shares) if shares[k] >= LEAST_SHARE] or [int(np.argmax(shares))]
    return Modes(tuple(found[k] for k in kept), shares[kept] / shares[kept].sum(), points, weights)


def different(climbed: Iterable[Laplace]) -> list[Laplace]:
    """The modes that differ, of all that were climbed to."""
    found: list[Laplace] = []
    for at in climbed:
        if not any(np.isfinite(other.log_mass) and _same(at, other) for other in found):
            found.append(at)
    return [at for at in found if np.isfinite(at.log_mass)] or found[:1]


def shares_of(found: Sequence[Laplace]) -> Floats:
    """How much of the posterior lies round each mode, by its normal approximation."""
    logs = np.array([at.log_mass for at in found])
    shares = np.exp(logs - logs.max()) if len(found) > 1 else np.ones(1)
    return np.asarray(shares / shares.sum())


def modes_of(problem: Problem, start: RemlEstimates | None, seed: int) -> Modes:
    """The modes without JAX; where the density costs too much to be weighed, the normal approximations' shares."""
    return find_modes(problem.gradient, start_vectors(problem, start), seed, weigh=problem.short)


def _same(one: Laplace, other: Laplace) -> bool:
    if not len(one.centre):
        return True
    away = one.centre - other.centre
    return bool(min(np.linalg.norm(np.linalg.solve(at.root, away)) for at in (one, other)) < NEAR)


def _value(gradient: Gradient, q: Floats) -> float:
    let_through()
    return gradient(np.ascontiguousarray(q))[0]


def _weighted(
    gradient: Gradient, found: Sequence[Laplace], shares: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Proposals from a mixture of t's round the modes, and their normalised weights."""
    d = len(found[0].centre)
    mixture = 0.5 * shares + 0.5 / len(found)
    counts = np.maximum(np.round(mixture * PROPOSALS * len(found)).astype(int), 1)
    w = SPREAD * rng.standard_normal((counts.sum(), d))
    w /= np.sqrt(rng.chisquare(DF, (len(w), 1)) / DF)
    owner = np.repeat(np.arange(len(found)), counts)
    points = np.array([found[k].centre + found[k].root @ x for k, x in zip(owner.tolist(), w, strict=True)])
    log_proposal = np.full(len(points), -np.inf)
    for at, count in zip(found, counts, strict=True):
        log_own = np.log(count / counts.sum()) + _log_t(np.linalg.solve(at.root, (points - at.centre).T).T)
        log_proposal = np.logaddexp(log_proposal, log_own - np.linalg.slogdet(at.root)[1])
    values = np.array([_value(gradient, q) for q in points])
    logs = np.where(np.isfinite(values), values, -np.inf) - log_proposal
    weights = np.exp(logs - logs.max()) if np.isfinite(logs.max()) else np.zeros(len(logs))
    return points, weights / (weights.sum() or 1.0)


def _log_t(w: Floats) -> Floats:
    """Log density (n,) of a t with scale :data:`SPREAD` at whitened w (n, d), but for a constant of d alone."""
    return np.asarray(-0.5 * (DF + w.shape[1]) * np.log1p((w**2).sum(axis=1) / (SPREAD**2 * DF)))


def _nearest(points: Floats, found: Sequence[Laplace]) -> Ints:
    distances = [np.linalg.norm(np.linalg.solve(at.root, (points - at.centre).T), axis=0) for at in found]
    return np.asarray(np.argmin(distances, axis=0))


def _effective(weights: Floats) -> float:
    return float(1.0 / (weights**2).sum()) if weights.any() else 0.0


def doubts(modes: Modes, draws: Floats) -> tuple[str, ...]:
    """Sentences on whitened draws (chains, draws, d) that are not where modes and weights say the posterior is."""
    words: list[str] = []
    if not draws.size:
        return ()
    flat = modes.best.centre + draws.reshape(-1, draws.shape[-1]) @ modes.best.root.T
    if len(modes.at) > 1:
        near = _nearest(flat, modes.at)
        seen = np.bincount(near, minlength=len(modes.at)) / len(near)
        shares = ", ".join(f"{s:.0%} ({own:.0%} of the draws)" for s, own in zip(modes.shares, seen, strict=True))
        if np.abs(seen - modes.shares).max() > MISSED:
            words.append(
                f"The posterior has {len(modes.at)} modes, with about {shares} of it: the chains do not pass between "
                "them as they should. The priors and the data disagree, or the data cannot tell two explanations "
                "apart. Give priors that fit the scale of the variance parameters."
            )
    n = _effective(modes.weights)
    if n < FEWEST or len(flat) < 2:
        return tuple(words)
    mean, sd = flat.mean(axis=0), flat.std(axis=0)
    centre = modes.weights @ modes.points
    spread = np.sqrt(modes.weights @ (modes.points - centre) ** 2)
    off = np.abs(mean - centre) / np.maximum(sd, spread)
    low, high = flat.min(axis=0), flat.max(axis=0)
    margin = 0.5 * (high - low)
    outside = ((modes.points < low - margin) | (modes.points > high + margin)).any(axis=1)
    missed = float(modes.weights[outside].sum())
    if not words and (missed > MISSED or (off > max(OFF, ERRORS / np.sqrt(n))).any()):
        words.append(
            "The draws are not where weights of importance round the modes say that the posterior is (means differ by "
            f"{off.max():.1f} standard deviations, {missed:.0%} of it lies beyond all draws): the chains have missed a "
            "part of it. Sample longer with a longer warm-up, or give priors that fit the scale of the variance "
            "parameters."
        )
    return tuple(words)
