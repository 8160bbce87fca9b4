"""What draws of models that sample β and b too stand for, by sites; none of it needs JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from _ranef.posterior.problem import Effects, Hyper, Problem
from _ranef.posterior.related_as_independent import among_roots
from _ranef.spec import inward_theta
from _ranef.support.arrays import Floats

__all__ = ["joint_effects", "with_degrees"]


def with_degrees(problem: Problem, positions: Mapping[str, Any], hyper: Hyper) -> Hyper:
    """The draws with parameters of the response, and degrees of freedom ``nu_g`` of the effects of a factor g."""
    extras, priors = dict(hyper.extras), problem.priors
    known = {f"df{k}": priors.effects.get(problem.spec.groupings[g].name) for k, g in enumerate(problem.products.order)}
    names = {f"df{k}": f"nu_{problem.spec.groupings[g].name}" for k, g in enumerate(problem.products.order)}
    for name in problem.spec.family.parameters:
        known[name], names[name] = priors.response[name], name
    for site, df in known.items():
        if site in positions:
            extras[names[site]] = np.exp(positions[site])
        elif df is not None:
            extras[names[site]] = np.full(hyper.sigma.shape, float(df))  # type: ignore[arg-type]
    return Hyper(hyper.theta, hyper.sigma, hyper.sampled, extras)


def joint_effects(problem: Problem, positions: Mapping[str, Any], hyper: Hyper) -> Effects:
    """β and b on the user's scale from their own sites.

    Of non-centred ones b = σ z (Tλ)ᵀ with λ of the θ that is sampled: another root of the same covariance would turn z.
    """
    spec, shape = problem.spec, hyper.sigma.shape
    internal = positions.get("beta", np.zeros((*shape, 0)))
    lambdas = spec.lambdas(inward_theta(spec, problem.priors.columns, hyper.theta))
    b: list[Floats] = []
    for grouping, (T, root, L) in enumerate(zip(problem.outward, lambdas, among_roots(spec), strict=True)):
        k = problem.products.order.index(grouping)
        if f"b{k}" in positions:
            b.append(positions[f"b{k}"] @ T.T)
            continue
        z = positions[f"z{k}"]
        if f"mix{k}" in positions:
            z = z * np.exp(-0.5 * positions[f"mix{k}"])[..., None]
        own = hyper.sigma[..., None, None] * (z @ np.swapaxes(T @ root, -1, -2))
        b.append(own if L is None else L @ own)
    return problem.fixed.beta(internal, hyper.sampled), tuple(b)
