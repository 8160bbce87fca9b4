"""Mixed models two ways from one lme4-style formula: REML/ML with BLUPs, and full Bayes by NUTS, side by side."""

from ranef import datasets, priors
from ranef.compared import Comparison, compare
from ranef.errors import (
    ArgumentError,
    ConvergenceWarning,
    DesignError,
    FitError,
    FormulaError,
    NotAvailableError,
    RanefError,
    RanefWarning,
    SavedFileError,
    SingularFitWarning,
)
from ranef.fits import EmpiricalBayesFit, PosteriorFit
from ranef.later import anova, anova_components, emmeans, exact_rlrt, lm_list
from ranef.loaded import load
from ranef.model import Model
from ranef.pooled import Pooling, pooling
from ranef.reml import Control
from ranef.results import Fit

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "Comparison",
    "Control",
    "ConvergenceWarning",
    "DesignError",
    "EmpiricalBayesFit",
    "Fit",
    "FitError",
    "FormulaError",
    "Model",
    "NotAvailableError",
    "Pooling",
    "PosteriorFit",
    "RanefError",
    "RanefWarning",
    "SavedFileError",
    "SingularFitWarning",
    "anova",
    "anova_components",
    "compare",
    "datasets",
    "emmeans",
    "exact_rlrt",
    "lm_list",
    "load",
    "pooling",
    "priors",
]
