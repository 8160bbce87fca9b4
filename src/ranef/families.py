"""Distributions of the response for ``Model(family=...)``.

Examples
--------
>>> import ranef
>>> ranef.families.Binomial("cloglog")
Binomial(link='cloglog')
"""

from _ranef.spec.counts import NegativeBinomial, NegativeBinomial1, Poisson
from _ranef.spec.measures import Gamma, Gaussian, InverseGaussian, Student
from _ranef.spec.ordered import Ordinal
from _ranef.spec.shares import Beta, Binomial

__all__ = [
    "Beta",
    "Binomial",
    "Gamma",
    "Gaussian",
    "InverseGaussian",
    "NegativeBinomial",
    "NegativeBinomial1",
    "Ordinal",
    "Poisson",
    "Student",
]
