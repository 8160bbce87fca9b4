"""Sums over rows that share all their levels, in the place of the rows.

Within such a cell every column of X and Z is affine in the numeric columns, so that all that a fit reads of its rows is
Σ w a aᵀ of a = (1, numeric columns).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from _ranef.design.expression_values import Array
from _ranef.design.table import Table, read_table

__all__ = ["CellSums"]


@dataclass(frozen=True, eq=False, repr=False)
class CellSums:
    """Sums over the rows of every cell; C cells, m numeric columns.

    Attributes
    ----------
    keys : mapping str to column
        The levels of each cell, as the engine gives them.
    atoms : tuple of str
        The m numeric columns, with the response.
    shift, scale : array (m,)
        What is taken off them, and what they are divided by, before they are multiplied.
    products : array (C, m + 1, m + 1)
        Σ w a aᵀ of a = (1, scaled columns).
    weights, log_weights, squares : float
        Σ w, Σ log w, and Σ y² of the response as given.
    """

    keys: Mapping[str, Any]
    atoms: tuple[str, ...]
    shift: Array
    scale: Array
    products: Array
    weights: float
    log_weights: float
    squares: float

    @property
    def n(self) -> int:
        """The number of cells C."""
        return len(self.products)

    def table(self, values: Array, others: Mapping[str, Array] | None = None) -> Table:
        """A row for each cell, with `values` (C, m) or (m,) of the numeric columns, and `others` (C,) besides."""
        wide = np.broadcast_to(values, (self.n, len(self.atoms)))
        columns = dict(zip(self.atoms, wide.T, strict=True))
        return read_table({**columns, **self.keys, **(others or {})})

    @property
    def means(self) -> Array:
        """Of the numeric columns by cell (C, m)."""
        return np.asarray(self.shift + self.scale * self.products[:, 0, 1:] / self.products[:, :1, 0])
