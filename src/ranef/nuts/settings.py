"""The sampler's settings, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ranef.errors import FitError, suggestion

__all__ = ["Parameterization", "Settings"]

Parameterization = Literal["auto", "marginal", "noncentered", "centered"]


@dataclass(frozen=True)
class Settings:
    """What :func:`ranef.nuts.sample_posterior` is asked for, apart from the model."""

    draws: int
    warmup: int
    chains: int
    seed: int | None
    parameterization: Parameterization
    target_accept: float
    progress: bool

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("warmup", 0), ("chains", 1)):
            _require_integer(name, getattr(self, name), least)
        if self.seed is not None:
            _require_integer("seed", self.seed, 0)
        if not (isinstance(self.target_accept, float) and 0.0 < self.target_accept < 1.0):
            raise FitError(
                f"target_accept={self.target_accept!r} must be a number between 0 and 1. 0.8 is usual; "
                "0.95 or 0.99 cures most divergences."
            )
        allowed = get_args(Parameterization)
        if self.parameterization not in allowed:
            raise FitError(
                f"parameterization={self.parameterization!r} is not one of {', '.join(map(repr, allowed))}."
                f"{suggestion(str(self.parameterization), allowed)}"
            )


def _require_integer(name: str, value: object, least: int) -> None:
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (is_integer and least <= int(value) < 2**63):  # type: ignore[call-overload]
        raise FitError(f"{name}={value!r} must be an integer of at least {least}.")
