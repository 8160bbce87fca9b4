"""Mixed models two ways from one lme4-style formula: REML/ML with BLUPs, and full Bayes by NUTS, side by side.

A session begins with a formula and a data frame, and goes on with what comes back:

=========================  =========================================================================================
``Model(formula, data)``   the model; ``describe()`` says what it is made of
``model.fit()``            :class:`EmpiricalBayesFit`: REML or ML, with BLUPs
``model.sample(seed=1)``   :class:`PosteriorFit`: the posterior by NUTS
``VarIdent``, ``AR1``, …   for ``Model(..., variance=, correlation=)``: residuals in nlme's words
``compare(eb, fb)``        :class:`Comparison`: any number of fits side by side; ``report()`` writes a page
``anova(small, large)``     nested fits compared; of one fit ``eb.anova()``, ``eb.test("x = 0")``, ``ranova(eb)``
``pooling(eb, fb)``        :class:`Pooling`: no, partial and complete pooling of every level
``fit.plot.…``             figures: ``ranef()``, ``shrinkage()``, ``lines()``, ``diagnostics()``
``fit.save(path)``         to a file, which :func:`load` reads; ``Model.of(fit)`` is its model again
``datasets``, ``priors``   bundled data: ``datasets.names()``; prior families for ``sample(priors=...)``
``families``               of counts, proportions, zeros and ones, for ``Model(family=...)``
=========================  =========================================================================================

Every error is a :class:`RanefError` and says what to do next, every warning a :class:`RanefWarning`. The public face is
``ranef.__all__``, ``datasets`` and ``priors``.

Examples
--------
>>> import ranef
>>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
>>> eb = model.fit()
>>> eb.varcorr["sdcor"].round(3).tolist()
[0.261, 0.326]
>>> fb = model.sample(draws=200, seed=1, progress=False)
>>> both = ranef.compare(eb, fb)
>>> both.random_effects["level"].tolist()
['a', 'b', 'c', 'd']
"""

from _ranef.errors import (
    ArgumentError,
    ConvergenceWarning,
    DataWarning,
    DesignError,
    FitError,
    FormulaError,
    NotAvailableError,
    RanefError,
    RanefWarning,
    SavedFileError,
    SingularFitWarning,
)
from _ranef.support.late_names import late

with late(globals()):
    from _ranef.inference import exact_rlrt
    from _ranef.reml import Control
    from _ranef.residuals import (
        AR1,
        ARMA,
        CAR1,
        CompSymm,
        Exponential,
        Gaussian,
        Spherical,
        Symm,
        VarConstPower,
        VarExp,
        VarFixed,
        VarIdent,
        VarPower,
    )
    from _ranef.results import Fit
    from _ranef.spec import Precision
    from _ranef.user import (
        Comparison,
        EmpiricalBayesFit,
        GeneralisedComparison,
        GeneralisedFit,
        GeneralisedPooling,
        GeneralisedPosterior,
        Means,
        Model,
        Pooling,
        PosteriorFit,
        Power,
        RowSums,
        anova,
        anova_components,
        compare,
        emmeans,
        lm_list,
        load,
        pooling,
        power,
        ranova,
        sums,
    )
    from ranef import datasets, families, priors

__version__ = "0.2.0"

__all__ = [
    "AR1",
    "ARMA",
    "CAR1",
    "ArgumentError",
    "CompSymm",
    "Comparison",
    "Control",
    "ConvergenceWarning",
    "DataWarning",
    "DesignError",
    "EmpiricalBayesFit",
    "Exponential",
    "Fit",
    "FitError",
    "FormulaError",
    "Gaussian",
    "GeneralisedComparison",
    "GeneralisedFit",
    "GeneralisedPooling",
    "GeneralisedPosterior",
    "Means",
    "Model",
    "NotAvailableError",
    "Pooling",
    "PosteriorFit",
    "Power",
    "Precision",
    "RanefError",
    "RanefWarning",
    "RowSums",
    "SavedFileError",
    "SingularFitWarning",
    "Spherical",
    "Symm",
    "VarConstPower",
    "VarExp",
    "VarFixed",
    "VarIdent",
    "VarPower",
    "anova",
    "anova_components",
    "compare",
    "datasets",
    "emmeans",
    "exact_rlrt",
    "families",
    "lm_list",
    "load",
    "pooling",
    "power",
    "priors",
    "ranova",
    "sums",
]


def __dir__() -> list[str]:
    """The public face alone: modules that were loaded besides are how it is built."""
    return [*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__version__"]
