"""Draws of variance components from their priors, where these stand in other coordinates than the columns."""

from __future__ import annotations

import numpy as np

from _ranef.nuts import draw_components
from _ranef.spec import Flat, ModelSpec, Priors, varcorr_arrays
from _ranef.support.arrays import Floats

__all__ = ["prior_component_draws"]

#: enough for a density without visible noise
DRAWS = 40_000


def prior_component_draws(spec: ModelSpec, priors: Priors, place: int) -> Floats | None:
    """Draws (n,) of the standard deviation or correlation in row `place` of ``varcorr``; None of improper priors.

    They are the same at every call. Correlations with an effect that has no variance are left out.
    """
    if any(isinstance(p, Flat) for p in [*priors.sd.values(), priors.sigma]):
        return None
    theta, sigma = draw_components(spec, priors, np.random.default_rng(0), (DRAWS,))
    values = np.asarray(varcorr_arrays(spec, theta, sigma)[place][4])
    return np.asarray(values[np.isfinite(values)])
