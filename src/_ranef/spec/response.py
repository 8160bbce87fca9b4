"""The distribution of the response: what all families say of themselves, and those of residuals round a mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from _ranef.errors import FitError
from _ranef.spec.prior_families import Gamma
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["FAMILIES", "Family", "Gaussian", "LocationScale", "Student", "family_of"]


@dataclass(frozen=True)
class Family(ABC):
    """The distribution of the response, whose parameters of its `own` go by name.

    Attributes
    ----------
    word : str
        What users and files call it.
    label : str
        What sentences call it.
    parameters : mapping str to Gamma
        Positive parameters of its own, with their default priors.
    collapses : bool
        Whether β and normal random effects can be integrated out of it in closed form, and σ is a standard deviation.
    by_rows : bool
        Whether rows must be held, since cross-products do not say all about them.
    """

    word: ClassVar[str]
    label: ClassVar[str]
    parameters: ClassVar[Mapping[str, Gamma]] = {}
    collapses: ClassVar[bool] = False
    by_rows: ClassVar[bool] = True

    def own(self, extras: Mapping[str, Any]) -> dict[str, Floats]:
        """Its parameters among further ones."""
        return {name: np.asarray(extras[name], dtype=float) for name in self.parameters}


@dataclass(frozen=True)
class LocationScale(Family):
    """The distribution of rows round their means; its methods take its `own` parameters by name, each an array."""

    @abstractmethod
    def log_density(self, residuals: Floats, log_sigma: Floats, log_weights: Floats, own: Mapping[str, Any]) -> Floats:
        """Of rows by their residuals, whose squared scale is σ²/w."""

    @abstractmethod
    def noise(self, rng: np.random.Generator, shape: int | tuple[int, ...], own: Mapping[str, Any]) -> Floats:
        """Independent residuals of scale 1."""

    @abstractmethod
    def variance(self, squared_scale: Floats, own: Mapping[str, Any]) -> Floats:
        """Of rows of a squared scale."""


@dataclass(frozen=True)
class Gaussian(LocationScale):
    """Normal."""

    word = "gaussian"
    label = "normal"
    collapses = True
    by_rows = False

    def log_density(self, residuals: Floats, log_sigma: Floats, log_weights: Floats, own: Mapping[str, Any]) -> Floats:
        """Normal."""
        squares = np.exp(log_weights - 2.0 * log_sigma) * residuals**2
        return np.asarray(-0.5 * (np.log(2.0 * np.pi) - log_weights + 2.0 * log_sigma + squares))

    def noise(self, rng: np.random.Generator, shape: int | tuple[int, ...], own: Mapping[str, Any]) -> Floats:
        """Normal."""
        return rng.standard_normal(shape)

    def variance(self, squared_scale: Floats, own: Mapping[str, Any]) -> Floats:
        """The squared scale."""
        return squared_scale


@dataclass(frozen=True)
class Student(LocationScale):
    """Student t with ``nu`` degrees of freedom, by default of the prior of Juárez & Steel (2010)."""

    word = "student"
    label = "Student t"
    parameters: ClassVar[Mapping[str, Gamma]] = {"nu": Gamma(2.0, 0.1)}

    def log_density(self, residuals: Floats, log_sigma: Floats, log_weights: Floats, own: Mapping[str, Any]) -> Floats:
        """Student t."""
        nu, gammaln = own["nu"], load("scipy.special").gammaln
        squares = np.exp(log_weights - 2.0 * log_sigma) * residuals**2
        constant = gammaln((nu + 1.0) / 2.0) - gammaln(nu / 2.0) - 0.5 * np.log(np.pi * nu)
        return np.asarray(constant + 0.5 * log_weights - log_sigma - 0.5 * (nu + 1.0) * np.log1p(squares / nu))

    def noise(self, rng: np.random.Generator, shape: int | tuple[int, ...], own: Mapping[str, Any]) -> Floats:
        """Student t."""
        return rng.standard_t(own["nu"], shape)

    def variance(self, squared_scale: Floats, own: Mapping[str, Any]) -> Floats:
        """ν/(ν − 2) times the squared scale, infinite with two degrees of freedom or less."""
        nu = np.asarray(own["nu"], dtype=float)
        return np.asarray(np.where(nu > 2.0, squared_scale * nu / np.where(nu > 2.0, nu - 2.0, 1.0), np.inf))


#: by the words that users have for them
FAMILIES: dict[str, LocationScale] = {family.word: family for family in (Gaussian(), Student())}


def family_of(given: LocationScale | str) -> LocationScale:
    """A family of residuals by its word, or one itself.

    Raises
    ------
    FitError
        If it is none.
    """
    if isinstance(given, LocationScale):
        return given
    one_of("family", given, list(FAMILIES), FitError)
    return FAMILIES[given]
