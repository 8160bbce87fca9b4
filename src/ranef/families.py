"""Distributions of the response for ``Model(family=...)``.

Examples
--------
>>> import ranef
>>> ranef.families.Binomial("cloglog")
Binomial(link='cloglog')
"""

from _ranef.spec.count_responses import NegativeBinomial, NegativeBinomial1, Poisson
from _ranef.spec.measured_responses import Gamma, Gaussian, InverseGaussian, Student
from _ranef.spec.ordinal_responses import Ordinal
from _ranef.spec.share_responses import Beta, Binomial

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
