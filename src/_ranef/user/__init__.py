"""What users hold: models, fits, posteriors, comparisons, poolings. Each method is one call to what does the work."""

from _ranef.support.late_names import late
from _ranef.user.model import Model
from _ranef.user.posterior import PosteriorFit
from _ranef.user.reml_fit import EmpiricalBayesFit, empirical_bayes
from _ranef.user.row_sums import RowSums, sums

with late(globals()):
    from _ranef.user.classical import anova_components, lm_list
    from _ranef.user.comparison import Comparison, compare
    from _ranef.user.generalised_comparison import GeneralisedComparison
    from _ranef.user.generalised_fit import GeneralisedFit
    from _ranef.user.generalised_pooled import GeneralisedPooling
    from _ranef.user.generalised_posterior import GeneralisedPosterior
    from _ranef.user.loading import load
    from _ranef.user.marginal_means import Means, emmeans
    from _ranef.user.matrices import FitMatrices, LinkedMatrices, Matrices
    from _ranef.user.pooled import Pooling, pooling
    from _ranef.user.power_curve import Power, power
    from _ranef.user.tests import anova, ranova

__all__ = [
    "Comparison",
    "EmpiricalBayesFit",
    "FitMatrices",
    "GeneralisedComparison",
    "GeneralisedFit",
    "GeneralisedPooling",
    "GeneralisedPosterior",
    "LinkedMatrices",
    "Matrices",
    "Means",
    "Model",
    "Pooling",
    "PosteriorFit",
    "Power",
    "RowSums",
    "anova",
    "anova_components",
    "compare",
    "emmeans",
    "empirical_bayes",
    "lm_list",
    "load",
    "pooling",
    "power",
    "ranova",
    "sums",
]
