"""Draws of what is conditioned on, where moments of effects and predictions are taken given it."""

from __future__ import annotations

import numpy as np

from _ranef.errors import DesignError
from _ranef.likelihood import FixedPart, Given
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Ints

__all__ = ["DRAWS", "given_draws", "thinned"]

#: draws that give a variance within 10 %, if they are independent
DRAWS = 200


def thinned(available: int, wanted: int) -> Ints:
    """Places of `wanted` draws, evenly spaced among those available, or of all.

    Raises
    ------
    DesignError
        If that leaves fewer than two.
    """
    if wanted < 2 or available < 2:
        raise DesignError(
            f"draws={wanted!r} of {available} are too few for a variance: two at least are needed, and some {DRAWS} "
            "for a variance within 10 %."
        )
    return np.linspace(0, available - 1, min(wanted, available)).round().astype(np.intp)


def given_draws(spec: ModelSpec, draws: PosteriorDraws, fixed: FixedPart) -> Given:
    """All draws of θ, σ and of coefficients that are sampled, with the normal priors of the others."""
    S = draws.sigma.size
    sampled = (draws.beta.reshape(S, spec.n_fixed) @ fixed.centre.T)[:, fixed.sampled]
    sigma, K = draws.sigma.ravel(), fixed.K[None]
    if draws.priors.r2d2 is not None:  # the normal priors of the coefficients move with a global scale
        K = fixed.under_global_scale(draws.extras["R2"].ravel(), draws.extras["phi"].reshape(S, -1), sigma)
    return Given(draws.theta.reshape(S, -1), sigma, sampled, K)
