"""What draws of ``generalised_density.py`` stand for; those of the collapsed one are weighted.

Its chain is of the posterior that Laplace's approximation gives its parameters. Effects are drawn at each of its draws,
with the ratio of the exact joint density to what they and the chain come from
(:class:`~_ranef.likelihood.LaplaceTogether`); every chain is then taken anew by these weights, in its order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from _ranef.likelihood import LaplaceTogether, ManyPoints
from _ranef.posterior.generalised_density import Collapsed, Joint
from _ranef.posterior.generalised_together import DrawnEffects
from _ranef.posterior.joint_draws import joint_effects, with_degrees
from _ranef.posterior.pareto import smoothed
from _ranef.posterior.problem import constrained, hyper_draws
from _ranef.posterior.sampler_record import Outcome, Raw
from _ranef.results import Importance
from _ranef.support.arrays import Floats, Ints

__all__ = ["joint_outcome", "weighted_outcome"]


def joint_outcome(joint: Joint, flat: Floats, raw: Raw) -> Outcome:
    """The run of the joint density, at coordinates (chains, draws, d)."""
    problem, positions = joint.problem, joint.positions(flat)
    hyper = with_degrees(problem, positions, hyper_draws(problem, flat[..., : problem.layout.n_hyper]))
    return Outcome(raw, hyper, joint_effects(problem, positions, hyper), ())


def weighted_outcome(collapsed: Collapsed, flat: Floats, raw: Raw, seed: int) -> Outcome:
    """The run of the collapsed one with effects, its draws taken by their weights."""
    rng, shape = np.random.default_rng(seed), flat.shape[:2]
    drawn = _drawn(collapsed, flat.reshape(-1, flat.shape[-1]), rng)
    weights, k = smoothed(drawn.log_ratio)
    by_chain = weights.reshape(shape)
    chosen = np.stack([_taken(own, rng) + c * shape[1] for c, own in enumerate(by_chain)])
    hyper, effects = drawn.at(chosen)
    stats = {**raw.stats, "lp": (raw.stats["lp"].ravel() + drawn.log_ratio)[chosen]}
    repeats = np.bincount(chosen.ravel(), minlength=len(weights)).astype(float)
    n, efficiency = len(weights), float(1.0 / (len(weights) * (weights**2).sum()))
    found = Importance(n, float(k), efficiency, n**2 / float(repeats @ repeats))
    return Outcome(replace(raw, stats=stats), hyper, effects, (), found)


def _taken(weights: Floats, rng: np.random.Generator) -> Ints:
    """Places (n,) in their order, each as often as its weight wants it."""
    ends, n = np.cumsum(weights), len(weights)
    return np.minimum(np.searchsorted(ends / ends[-1], (rng.random() + np.arange(n)) / n), n - 1)


def _drawn(collapsed: Collapsed, flat: Floats, rng: np.random.Generator) -> DrawnEffects:
    """Effects at every point (n, d), and the logarithms of the weights of both."""
    problem, products, d = collapsed.problem, collapsed.problem.products, collapsed.problem.layout.n_hyper
    coefficients, logs, _ = collapsed.split(flat[:, d:])
    inner, _, sampled, _ = constrained(problem, flat[:, :d])
    roots = replace(problem.sampled_roots, products=products)
    lambdas = tuple(collapsed.lambdas(roots.at(inner)))
    rows = LaplaceTogether(
        collapsed.family,
        collapsed.rows,
        collapsed.offset,
        np.zeros((0, len(collapsed.offset))),
        np.zeros(0, dtype=bool),
        collapsed.X.T,
        collapsed.Z,
        tuple(collapsed.sums.codes),
        collapsed.sums.pairs,
        products.A,
        often=True,
    )
    found = rows.draw(ManyPoints(lambdas, collapsed.w(coefficients, sampled), collapsed.own(logs)), rng)
    hyper = with_degrees(problem, dict(zip(collapsed.names, logs.T, strict=True)), hyper_draws(problem, flat[:, :d]))
    b = [found.b[products.order.index(k)] @ T.T for k, T in enumerate(products.scaling.Z)]
    return DrawnEffects(hyper, (problem.fixed.beta(coefficients, hyper.sampled), tuple(b)), found.log_ratio)
