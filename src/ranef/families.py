"""Distributions of the response for ``Model(family=...)``.

Examples
--------
>>> import ranef
>>> ranef.families.Binomial("cloglog")
Binomial(link='cloglog')
"""

from _ranef.spec.generalised import Binomial, Gamma, NegativeBinomial, Poisson

__all__ = ["Binomial", "Gamma", "NegativeBinomial", "Poisson"]
