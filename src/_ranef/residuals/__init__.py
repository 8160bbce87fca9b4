"""Variances and correlations of residuals: what users write in nlme's words, and what is asked of it on rows.

A variance function is a class in ``variances.py``, what it is on rows in ``row_variances.py``; a correlation one in
``correlations.py``, whose law is closed (``closed_correlations.py``) or a matrix of each group
(``correlation_matrices.py``).
"""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.residuals.basis_by_numbers import numeric_basis
    from _ranef.residuals.correlations import (
        AR1,
        ARMA,
        CAR1,
        CompSymm,
        Exponential,
        Gaussian,
        Spherical,
        Symm,
    )
    from _ranef.residuals.fixed_basis import Basis, BasisLaw, LogLaw, Part
    from _ranef.residuals.on_rows import (
        Centred,
        CorrelationFunction,
        CorrelationRoot,
        RowCorrelation,
        RowVariance,
        Told,
        VarianceFunction,
        told_names,
        told_places,
    )
    from _ranef.residuals.residual import Residual
    from _ranef.residuals.variances import (
        VarConstPower,
        VarExp,
        VarFixed,
        VarIdent,
        VarPower,
    )

__all__ = [
    "AR1",
    "ARMA",
    "CAR1",
    "Basis",
    "BasisLaw",
    "Centred",
    "CompSymm",
    "CorrelationFunction",
    "CorrelationRoot",
    "Exponential",
    "Gaussian",
    "LogLaw",
    "Part",
    "Residual",
    "RowCorrelation",
    "RowVariance",
    "Spherical",
    "Symm",
    "Told",
    "VarConstPower",
    "VarExp",
    "VarFixed",
    "VarIdent",
    "VarPower",
    "VarianceFunction",
    "numeric_basis",
    "told_names",
    "told_places",
]
