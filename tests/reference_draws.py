"""A posterior without a sampler: draws scattered round the REML estimates."""

from __future__ import annotations

import numpy as np

from _ranef.results import PosteriorDraws
from _ranef.spec import default_priors, moments


def scattered(fit, draws=200, chains=2, seed=1, **changes):
    rng, e = np.random.default_rng(seed), fit.estimates

    def around(value, spread):
        return value + spread * rng.standard_normal((chains, draws, *np.shape(value)))

    record = {
        "theta": around(e.theta, 0.2),
        "sigma": np.abs(around(e.sigma, 0.05 * e.sigma)),
        "beta": around(e.beta, 0.1),
        "b": tuple(around(m.values, 0.1) for m in e.modes),
        "sample_stats": {},
        "parameterization": "marginal",
        "priors": default_priors(fit.spec, None, moments(fit.spec)),
        "seed": seed,
        "warmup": 0,
        "seconds": 0.0,
        "complete": True,
    }
    return PosteriorDraws(**record | changes)
