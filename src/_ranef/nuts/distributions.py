"""Distributions of numpyro as a name and numbers, and back, so that priors can be stored."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from _ranef.support.interrupts import load

__all__ = ["distribution_numbers", "distribution_of"]

MODULE = "numpyro.distributions"


def distribution_numbers(distribution: Any) -> tuple[str, dict[str, Any]] | None:
    """Class name and arguments of a distribution of one number: floats, or such pairs for those it is made of.

    None where it is not one of ``numpyro.distributions``, or making it again from them gives another density.
    """
    name, numbers = type(distribution).__name__, {}
    cls = getattr(load(MODULE), name, None)
    if cls is not type(distribution):
        return None
    for argument in inspect.signature(cls.__init__).parameters:
        value = getattr(distribution, argument, None)
        if argument in ("self", "validate_args") or value is None:
            continue
        number = _number(value)
        if number is None:
            return None
        numbers[argument] = number
    return (name, numbers) if _same(distribution, name, numbers) else None


def distribution_of(name: str, numbers: Mapping[str, Any]) -> Any:
    """The distribution that :func:`distribution_numbers` took apart.

    Raises
    ------
    ValueError
        If `name` is not a distribution of ``numpyro.distributions``.
    """
    module = load(MODULE)
    cls = getattr(module, name, None) if name in module.__all__ else None
    if not (isinstance(cls, type) and issubclass(cls, module.Distribution)):
        raise ValueError(f"numpyro has no distribution called {name!r}")
    made = {k: distribution_of(*v) if isinstance(v, tuple) else v for k, v in numbers.items()}
    return cls(**made)


def _number(value: Any) -> Any:
    """A float, or the name and numbers of a distribution; None for anything else."""
    if type(value).__module__.startswith(MODULE):
        return distribution_numbers(value)
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return None
    return float(array) if array.ndim == 0 else None


def _same(distribution: Any, name: str, numbers: Mapping[str, Any]) -> bool:
    try:
        again = distribution_of(name, numbers)
    except (TypeError, ValueError):
        return False
    first, second = ([_log_density(d, x) for x in (0.1, 0.3, 0.7, 1.3, 4.0)] for d in (distribution, again))
    return bool(np.allclose(first, second, rtol=1e-5, atol=1e-6, equal_nan=True))


def _log_density(distribution: Any, x: float) -> float:
    """Of a point of the support, outside of which numpyro may warn."""
    support = distribution.support
    return float(distribution.log_prob(x)) if support is None or bool(support(x)) else -np.inf
