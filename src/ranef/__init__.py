"""Mixed models two ways from one lme4-style formula: REML/ML with BLUPs, and full Bayes by NUTS, side by side."""

from ranef.interrupts import as_command

as_command()  # before the rest, which takes half a second to load

from ranef import datasets, priors
from ranef.compared import Comparison, compare
from ranef.errors import (
    ConvergenceWarning,
    DesignError,
    FitError,
    FormulaError,
    RanefError,
    RanefWarning,
    SingularFitWarning,
)
from ranef.fits import EmpiricalBayesFit, PosteriorFit
from ranef.later import anova, anova_components, emmeans, exact_rlrt, lm_list
from ranef.model import Model
from ranef.pooled import Pooling, pooling
from ranef.reml import Control
from ranef.results import Fit

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Control",
    "ConvergenceWarning",
    "DesignError",
    "EmpiricalBayesFit",
    "Fit",
    "FitError",
    "FormulaError",
    "Model",
    "Pooling",
    "PosteriorFit",
    "RanefError",
    "RanefWarning",
    "SingularFitWarning",
    "anova",
    "anova_components",
    "compare",
    "datasets",
    "emmeans",
    "exact_rlrt",
    "lm_list",
    "pooling",
    "priors",
]
