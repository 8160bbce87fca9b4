"""What a sampler recorded, before it is given the names of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _ranef.posterior.problem import Effects, Hyper
from _ranef.results import Importance

__all__ = ["Outcome", "Raw", "nothing_to_sample"]


@dataclass(frozen=True, eq=False, repr=False)
class Raw:
    """Draws as a sampler sees them.

    Attributes
    ----------
    positions : mapping str to array (chains, draws, ...)
        Values by site; ``"hyper"`` is in whitened coordinates.
    stats : mapping str to array (chains, draws)
        ``diverging``, ``n_steps``, ``tree_depth``, ``energy``, ``acceptance_rate``, ``lp``, ``step_size``.
    complete : bool
        False where the run was interrupted.
    """

    positions: Mapping[str, NDArray[Any]]
    stats: Mapping[str, NDArray[Any]]
    complete: bool


@dataclass(frozen=True, eq=False, repr=False)
class Outcome:
    """A run in the model's own terms.

    Attributes
    ----------
    raw : Raw
    hyper : Hyper
    effects : tuple
        β (chains, draws, p), and b by grouping.
    doubts : tuple of str
        Why the draws may not be those of the whole posterior.
    importance : Importance, optional
        How independent draws were chosen.
    """

    raw: Raw
    hyper: Hyper
    effects: Effects
    doubts: tuple[str, ...]
    importance: Importance | None = None


def nothing_to_sample(chains: int, draws: int) -> Raw:
    """The record where all variance parameters are known: every draw is exact and independent."""
    shape = (chains, draws)
    counts = {name: np.zeros(shape, dtype=int) for name in ("n_steps", "tree_depth")}
    others = {name: np.zeros(shape) for name in ("energy", "lp", "step_size")}
    stats = {"diverging": np.zeros(shape, dtype=bool), "acceptance_rate": np.ones(shape), **counts, **others}
    return Raw({"hyper": np.zeros((*shape, 0))}, stats, True)
