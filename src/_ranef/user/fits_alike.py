"""Fits of one model that is written in several ways, in the words of the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from _ranef import comparison as cmp
from _ranef.likelihood import cross_products
from _ranef.spec import ModelSpec
from _ranef.user.generalised_fit import GeneralisedFit
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.posterior import PosteriorFit
from _ranef.user.posterior_base import Drawn
from _ranef.user.reml_fit import EmpiricalBayesFit

__all__ = ["AnyFit", "alike"]

AnyFit: TypeAlias = EmpiricalBayesFit | PosteriorFit


def alike(fits: Mapping[str, Any]) -> dict[str, Any]:
    """Fits of one model, of a Gaussian response or not, with the order, coding, names and levels of the first.

    Raises
    ------
    DesignError
        If one is of another model, or of other data.
    """
    first = next(iter(fits.values())).spec
    found = cmp.require_same_model({name: fit.spec for name, fit in fits.items()})
    return {name: fit if found[name].alike else _expressed(first, fit, found[name]) for name, fit in fits.items()}


def _expressed(first: ModelSpec, fit: Any, found: cmp.Correspondence) -> Any:
    spec = cmp.expressed_spec(first, fit.spec)
    if isinstance(fit, Drawn):
        kind = GeneralisedPosterior if isinstance(fit, GeneralisedPosterior) else PosteriorFit
        return kind(spec, cmp.expressed_draws(first, fit.spec, found, fit.draws))
    estimates = cmp.expressed_estimates(first, fit.spec, found, fit.estimates)
    if isinstance(fit, GeneralisedFit):
        return GeneralisedFit(spec, estimates)
    return EmpiricalBayesFit(spec, estimates, cross_products(spec))
