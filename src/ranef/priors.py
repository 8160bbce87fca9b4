"""Prior families for ``Model.sample(priors=...)``.

Examples
--------
>>> import ranef
>>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
>>> print(model.priors({"sigma": ranef.priors.HalfNormal(1.0)}).lines()[-1])
sigma ~ HalfNormal(1)
"""

from _ranef.spec import (
    LKJ,
    R2D2,
    Cauchy,
    Exponential,
    Flat,
    Gamma,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Normal,
    Priors,
    StudentT,
)

__all__ = [
    "LKJ",
    "R2D2",
    "Cauchy",
    "Exponential",
    "Flat",
    "Gamma",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Normal",
    "Priors",
    "StudentT",
]
