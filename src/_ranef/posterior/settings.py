"""The sampler's settings, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Literal, get_args

import numpy as np

from _ranef.errors import FitError
from _ranef.support.argument_remedies import one_of

__all__ = ["ChainMethod", "Parameterization", "Sampler", "Settings"]

Parameterization = Literal["auto", "marginal", "noncentered", "centered"]
Sampler = Literal["numpyro", "nutpie", "direct", "auto"]
ChainMethod = Literal["vectorized", "parallel", "sequential"]


@dataclass(frozen=True)
class Settings:
    """What :func:`_ranef.nuts.sample_posterior` is asked for, apart from the model.

    Attributes
    ----------
    draws, chains : int
    warmup : int or None
        None for what the model needs: little where chains start at the mode with its curvature for a metric.
    seed : int or None
    parameterization, sampler, chain_method : str
    target_accept : float
    progress : bool
    device : str or jax.Device, optional
    checkpoint : str or path, optional
    """

    draws: int = 1000
    warmup: int | None = None
    chains: int = 4
    seed: int | None = None
    parameterization: Parameterization = "auto"
    target_accept: float = 0.8
    progress: bool = True
    sampler: Sampler = "numpyro"
    chain_method: ChainMethod = "vectorized"
    device: Any = None
    checkpoint: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("chains", 1)):
            _require_integer(name, getattr(self, name), least)
        for name in ("warmup", "seed"):
            if getattr(self, name) is not None:
                _require_integer(name, getattr(self, name), 0)
        if not (isinstance(self.target_accept, float) and 0.0 < self.target_accept < 1.0):
            raise FitError(
                f"target_accept={self.target_accept!r} must be a number between 0 and 1. 0.8 is usual; "
                "0.95 or 0.99 cures most divergences."
            )
        for name, kind in (
            ("parameterization", Parameterization),
            ("sampler", Sampler),
            ("chain_method", ChainMethod),
        ):
            one_of(name, getattr(self, name), get_args(kind), FitError)

    def chosen(self, parameterization: Any) -> Settings:
        """The same with a parameterization in place of ``"auto"``."""
        return replace(self, parameterization=parameterization)


def _require_integer(name: str, value: object, least: int) -> None:
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (is_integer and least <= int(value) < 2**63):  # type: ignore[call-overload]
        raise FitError(f"{name}={value!r} must be an integer of at least {least}.")
