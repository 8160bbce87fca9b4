"""The posterior density of the sampled parameters at many points together, by numpy alone: priors, and the likelihood.

The same density as :mod:`_ranef.posterior.loops` has point by point, constants and Jacobians included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from _ranef.posterior.batched import Points
from _ranef.posterior.layout import unconstrained_values
from _ranef.posterior.problem import Effects, Hyper, Problem, constrained, draw_effects, hyper_draws
from _ranef.posterior.start import start_vectors
from _ranef.results import RemlEstimates
from _ranef.spec import rho_log_priors
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import let_through

__all__ = ["Together"]

#: points in one draw asked for: at most, and where every point is evaluated by itself
MOST_POOLED, MOST_SINGLE = 5, 2

#: length of a dense tail from which on a point costs more than many draws there
LONG_TAIL = 300

#: step of central differences, in coordinates whose scale is that of logarithms
STEP = 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class Together:
    """The density of one model whose priors all are of this package's families."""

    problem: Problem

    @property
    def n_sampled(self) -> int:
        """Number d of coordinates."""
        return self.problem.layout.n_hyper

    @property
    def most_pooled(self) -> int:
        """Points that may be evaluated for each draw."""
        return MOST_POOLED if self.problem.batched else MOST_SINGLE

    @property
    def costly(self) -> bool:
        """Whether many draws of effects are to share a point."""
        return not self.problem.batched and self.problem.shape.tail > LONG_TAIL

    def starts(self, start: RemlEstimates | None) -> list[Floats]:
        """Where climbs to its modes begin."""
        return start_vectors(self.problem, start)

    def log_density(self, flat: Floats) -> Floats:
        """Log posterior density (N,) at unconstrained coordinates (N, d); −∞ where it cannot be computed."""
        with np.errstate(all="ignore"):
            at = self._points(flat)
            likelihoods = self.problem.batched.log_likelihoods(at) if self.problem.batched else self._one_by_one(at)
            out = likelihoods + log_priors(self.problem, flat)
        return np.where(np.isfinite(out), out, -np.inf)

    def gradient(self, q: Floats) -> tuple[float, Floats]:
        """The density at one point (d,) with its derivatives by central differences."""
        steps = STEP * np.eye(len(q))
        values = self.log_density(np.concatenate([q[None], q + steps, q - steps]))
        ahead, behind = np.split(values[1:], 2)
        return float(values[0]), (ahead - behind) / (2.0 * STEP)

    def draw(self, flat: Floats, rng: np.random.Generator) -> tuple[Hyper, Effects]:
        """What points (chains, draws, d) stand for, with exact draws of β and b given them."""
        hyper = hyper_draws(self.problem, flat)
        return hyper, draw_effects(self.problem, hyper, rng)

    def _points(self, flat: Floats) -> Points:
        inner, sigma, sampled, rho = constrained(self.problem, flat)
        return Points(self.problem.sampled_roots.at(inner), sigma, sampled, rho)

    def _one_by_one(self, at: Points) -> Floats:
        """By the kernels of engine A."""
        problem, out = self.problem, np.empty(len(at))
        for i, (lam, sigma, sampled, rho) in enumerate(zip(at.lam, at.sigma, at.sampled, at.rho, strict=True)):
            let_through()
            try:
                density = problem.host if problem.rows is None else problem.rows.at(rho)
                out[i] = density.value(lam, float(sigma), sampled)
            except (np.linalg.LinAlgError, OverflowError):
                out[i] = np.nan
        return out


def log_priors(problem: Problem, flat: Floats) -> Floats:
    """Log prior density (N,) of unconstrained coordinates (N, d)."""
    layout, numbers, at = problem.layout, problem.numbers, unconstrained_values(problem.layout, flat)
    out: Floats = np.zeros(len(flat))
    if layout.flat:
        out += at["diagonal"].sum(axis=-1) if layout.n_sd else 0.0
    elif layout.n_sd:
        out += _scalars(layout.families, numbers["sd"], at["sd"], positive=True)
    if layout.n_partial and not layout.flat:
        a, constant = numbers["vine"].T
        away = np.abs(at["partial"])  # a log (1 − z²) less log 2: without 1 − z², which large |q| would lose
        out += (a * (2.0 * (np.log(2.0) - np.log1p(np.exp(-away))) - away) - np.log(2.0) + constant).sum(axis=-1)
    if "sigma" in at:
        out += _scalars((layout.sigma_family,), numbers["sigma"][None], at["sigma"], positive=True)
    if layout.fixed_families:
        out += _scalars(layout.fixed_families, numbers["fixef"], at["fixef"], positive=False)
    if layout.shapes:
        out += problem.shape_priors.log_density(at["shape"])[0]
    if layout.rows:
        out += rho_log_priors(problem.spec, at["rho"])
    return out


def _scalars(families: tuple[str, ...], numbers: Floats, q: Floats, *, positive: bool) -> Floats:
    """Sum (N,) of log densities of numbers, of their logarithms `q` (N, n) where they are `positive`."""
    x = np.exp(q) if positive else q
    out: Floats = q.sum(axis=-1) if positive else np.zeros(len(q))
    for i, (family, (shape, loc, scale, constant)) in enumerate(zip(families, numbers, strict=True)):
        density = DENSITIES.get(family)  # none of those that are flat
        if density is not None:
            out = out + density(shape, loc, scale, x[:, i], q[:, i] if positive else None)
        out = out + constant
    return out


def _normal(_: float, loc: float, scale: float, x: Floats, log_x: Floats | None) -> Floats:
    return -0.5 * ((x - loc) / scale) ** 2


def _student(df: float, loc: float, scale: float, x: Floats, log_x: Floats | None) -> Floats:
    return np.asarray(-0.5 * (df + 1.0) * np.log1p(((x - loc) / scale) ** 2 / df))


def _gamma(shape: float, loc: float, scale: float, x: Floats, log_x: Floats | None) -> Floats:
    return np.asarray((shape - 1.0) * (np.log(x) if log_x is None else log_x) - x / scale)


#: log densities by family, but for their constants
DENSITIES: dict[str, Callable[..., Floats]] = {"normal": _normal, "student": _student, "gamma": _gamma}
