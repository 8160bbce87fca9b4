"""The density of what is sampled of a model, its modes, and draws from it without a chain, by numpy and compiled loops.

No sampler's package is known here; :mod:`_ranef.nuts` runs chains on these densities.
"""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.posterior.pareto import MOST_K
    from _ranef.posterior.proposal import wide_draws
    from _ranef.posterior.settings import Settings

__all__ = ["MOST_K", "Settings", "wide_draws"]
