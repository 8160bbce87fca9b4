"""Engine B: a NumPyro model compiled from the same spec, sampled with NUTS.

Importing this package loads neither jax nor numpyro nor numba: what needs them stands behind a gate that the first call
of a function here opens.
"""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.nuts.datatree import predictive_array, prior_tree, to_datatree, to_inference_data
    from _ranef.nuts.distributions import distribution_numbers, distribution_of
    from _ranef.nuts.prior_draws import draw_components, sample_prior
    from _ranef.nuts.run import log_density, require_sampler, sample_posterior
    from _ranef.posterior.settings import Settings

__all__ = [
    "Settings",
    "distribution_numbers",
    "distribution_of",
    "draw_components",
    "log_density",
    "predictive_array",
    "prior_tree",
    "require_sampler",
    "sample_posterior",
    "sample_prior",
    "to_datatree",
    "to_inference_data",
]
